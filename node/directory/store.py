"""Two SQLite files: the logs a node owns (`logs.db`, the original, never lost) and its replica of all (`directory.db`).

The replica holds verified entries, the authorities they make, and the search index; it can be rebuilt from the logs of
all nodes, so it is committed page by page with less ceremony. Staged entries are those fetched but not yet proven to
lead to a signed root. One writer at a time; readers are not held up (WAL).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.directory.replication import PAGE, Checkpoint, Entry, frontier_after
from node.errors import SetupError
from node.merkle import HASH_BYTES, Frontier

FORMAT: Final = 1  # of logs.db, which is never rebuilt

_LOGS: Final = """
CREATE TABLE IF NOT EXISTS logs (
  log TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL, note TEXT NOT NULL,
  staged_size INTEGER NOT NULL, staged_frontier BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
  log TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL, salt BLOB, body BLOB,
  PRIMARY KEY (log, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, log TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
  held TEXT NOT NULL, seen TEXT NOT NULL, UNIQUE (log, kind, seen));
"""


class CannotOpenDirectory(SetupError):
    """A directory file cannot be used; the message says what to do."""

    code = "setup.directory"


class LogStore:
    """Logs in one SQLite file; callable from any thread."""

    schema = _LOGS
    format = FORMAT

    def __init__(self, path: Path, *, durable: bool, crash_at: Callable[[str], None] = lambda _line: None) -> None:
        self.path = path
        self._durable, self._crash_at = durable, crash_at
        self._write_lock = threading.RLock()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        if not path.parent.is_dir():
            raise CannotOpenDirectory(
                f"the folder {path.parent} does not exist; make it, or correct `data` in the settings"
            )
        try:
            self._prepare()
        except sqlite3.Error as error:
            raise CannotOpenDirectory(f"{path} cannot be used: {error}") from error

    def _prepare(self) -> None:
        found = self.connection().execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, self.format):
            self._other_format(found)
        connection = self.connection()
        connection.executescript(self.schema)
        connection.execute(f"PRAGMA user_version={self.format}")

    def _other_format(self, found: int) -> None:
        raise CannotOpenDirectory(
            f"{self.path} is of format {found}; this version reads {self.format}: update imi-node"
        )

    def _put_aside(self, name: str) -> Path:
        """Move the file away, to begin a new one; nobody else has it open."""
        self.close()
        self._open.clear()
        self._local = threading.local()
        aside = self.path.with_name(name)
        for tail in ("", "-wal", "-shm"):
            if (part := self.path.with_name(self.path.name + tail)).exists():
                part.replace(aside.with_name(aside.name + tail))
        return aside

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self.path, isolation_level=None, timeout=30.0, check_same_thread=False)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
            self._local.connection = found
            self._open.append(found)
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; nested uses join it."""
        with self._write_lock:
            connection = self.connection()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._crash_at(f"{self.path.name} not committed")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            self._crash_at(f"{self.path.name} committed")

    def close(self) -> None:
        """Close every thread's connection."""
        for connection in self._open:
            connection.close()

    def logs(self) -> list[str]:
        """The names of all logs held."""
        return [row[0] for row in self.connection().execute("SELECT log FROM logs ORDER BY log")]

    def held(self, log: str) -> Checkpoint | None:
        """The newest checkpoint whose entries are all here."""
        row = self.connection().execute("SELECT size, root, note FROM logs WHERE log = ?", (log,)).fetchone()
        return Checkpoint(log=log, size=row[0], root=row[1], note=row[2]) if row and row[2] else None

    def frontier(self, log: str) -> Frontier:
        """Of the proven entries."""
        row = self.connection().execute("SELECT size, frontier FROM logs WHERE log = ?", (log,)).fetchone()
        return _read_frontier(row[0], row[1]) if row else Frontier()

    def staged(self, log: str) -> Frontier:
        """Of the proven and the staged entries."""
        row = (
            self.connection().execute("SELECT staged_size, staged_frontier FROM logs WHERE log = ?", (log,)).fetchone()
        )
        return _read_frontier(row[0], row[1]) if row else Frontier()

    def stage(self, log: str, entries: Sequence[Entry]) -> Frontier:
        """Append fetched entries behind the staged ones; the frontier after them."""
        before = self.staged(log)
        after = frontier_after(before, entries)
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO logs VALUES (?, 0, x'', x'', '', 0, x'') ON CONFLICT (log) DO NOTHING", (log,)
            )
            connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                ((log, before.size + i, e.leaf, e.salt, e.body) for i, e in enumerate(entries)),
            )
            connection.execute(
                "UPDATE logs SET staged_size = ?, staged_frontier = ? WHERE log = ?",
                (after.size, b"".join(after.roots), log),
            )
        return after

    def unstage(self, log: str) -> None:
        """Forget what is not proven."""
        with self.writing() as connection:
            connection.execute(
                "DELETE FROM entries WHERE log = ? AND seq >= (SELECT size FROM logs WHERE log = ?)", (log, log)
            )
            connection.execute("UPDATE logs SET staged_size = size, staged_frontier = frontier WHERE log = ?", (log,))

    def prove(self, checkpoint: Checkpoint) -> None:
        """The staged entries are those the checkpoint signs: they count."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE logs SET size = ?, root = ?, frontier = staged_frontier, note = ? WHERE log = ?",
                (checkpoint.size, checkpoint.root, checkpoint.note, checkpoint.log),
            )

    def entries(self, log: str, first: int, last: int) -> list[Entry]:
        """Entries [first, last), proven or staged."""
        rows = self.connection().execute(
            "SELECT leaf, salt, body FROM entries WHERE log = ? AND seq >= ? AND seq < ? ORDER BY seq",
            (log, first, last),
        )
        return [Entry(*row) for row in rows]

    def page(self, log: str, number: int) -> list[Entry]:
        """The proven entries of a page; fewer than a full page only at the end."""
        held = self.held(log)
        last = min((number + 1) * PAGE, held.size if held else 0)
        return self.entries(log, number * PAGE, last)

    def keep_evidence(self, *, at: str, kind: str, source: str, held: str, seen: Checkpoint) -> None:
        """Two checkpoints that contradict each other, both signed by the log's owner; each contradiction once."""
        with self.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO evidence (at, log, kind, source, held, seen) VALUES (?, ?, ?, ?, ?, ?)",
                (at, seen.log, kind, source, held, seen.note),
            )

    def evidence(self) -> list[tuple[str, str, str, str]]:
        """What was kept: (at, log, kind, source)."""
        return list(self.connection().execute("SELECT at, log, kind, source FROM evidence ORDER BY id"))


def _read_frontier(size: int, blob: bytes) -> Frontier:
    return Frontier(size, tuple(blob[i : i + HASH_BYTES] for i in range(0, len(blob), HASH_BYTES)))
