"""Logs in SQLite: what `logs.db` (the logs a node owns) and `directory.db` (its copy of all) have in common.

Staged entries are those fetched but not yet proven to lead to a signed root. Beside the entries lie the roots of full
tiles (256 leaves, 256 of those, and so on), so a proof costs one tile a step however long the log is. One writer at a
time; readers are not held up (WAL).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node import merkle
from node.directory.replication import PAGE, Checkpoint, Entry, batches, leaf_of
from node.errors import SetupError, Unavailable
from node.merkle import HASH_BYTES, TILE, TILE_HEIGHT, Frontier, Subtree, leaf_hash

LOGS: Final = """
CREATE TABLE IF NOT EXISTS logs (
  log TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL, note TEXT NOT NULL,
  staged_size INTEGER NOT NULL, staged_frontier BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
  log TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL, salt BLOB, body BLOB,
  PRIMARY KEY (log, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tiles (
  log TEXT NOT NULL, level INTEGER NOT NULL, number INTEGER NOT NULL, root BLOB NOT NULL,
  PRIMARY KEY (log, level, number)) WITHOUT ROWID;
"""
AT_ONCE: Final = 20 * PAGE  # entries handled together
BUSY_SECONDS: Final = 30.0  # that a writer waits for its turn


class CannotOpenDirectory(SetupError):
    """A directory file cannot be used; the message says what to do."""

    code = "setup.directory"


class DirectoryBusy(Unavailable):
    """Another process has been writing a directory file for longer than we wait; what it holds up may be tried again."""

    code = "unavailable.directory-busy"


class DirectoryFull(Unavailable):
    """A directory file cannot grow: the disk is full. Nothing acknowledged is lost; it goes on once there is room."""

    code = "unavailable.directory-full"


class LogStore:
    """Logs in one SQLite file; callable from any thread."""

    schema = LOGS
    format = 1

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
            raise _explained(path, error) or CannotOpenDirectory(f"{path} cannot be used: {error}") from error

    def _prepare(self) -> None:
        found = self.connection().execute("PRAGMA user_version").fetchone()[0]
        if found == self.format:
            return  # whole: what is written below would take a writer's turn
        if found:
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
            found = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
            self._local.connection = found
            self._open.append(found)
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; nested uses join it. Raises DirectoryBusy, DirectoryFull: then nothing of it was written."""
        with self._write_lock:
            connection = self.connection()
            if self.is_writing():
                yield connection
                return
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                self._crash_at(f"{self.path.name} not committed")
                connection.execute("COMMIT")
            except BaseException as error:
                if self.is_writing():  # a failed COMMIT may have ended it, or not: the disk is full
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and (told := _explained(self.path, error)):
                    raise told from error
                raise
            self._crash_at(f"{self.path.name} committed")

    def is_writing(self) -> bool:
        """Whether this thread is in a transaction."""
        return self.connection().in_transaction

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
        with self.writing() as connection:
            before = self.staged(log)
            after, full = before.grow(leaf_hash(entry.leaf) for entry in entries)
            connection.execute(
                "INSERT INTO logs VALUES (?, 0, x'', x'', '', 0, x'') ON CONFLICT (log) DO NOTHING", (log,)
            )
            connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                ((log, before.size + i, e.leaf, e.salt, e.body) for i, e in enumerate(entries)),
            )
            connection.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", ((log, *tile) for tile in full))
            connection.execute(
                "UPDATE logs SET staged_size = ?, staged_frontier = ? WHERE log = ?",
                (after.size, b"".join(after.roots), log),
            )
        return after

    def unstage(self, log: str) -> None:
        """Forget what is not proven."""
        with self.writing() as connection:
            row = connection.execute("SELECT size FROM logs WHERE log = ? AND staged_size > size", (log,)).fetchone()
            if row is None:
                return
            connection.execute("DELETE FROM entries WHERE log = ? AND seq >= ?", (log, row[0]))
            connection.execute("DELETE FROM tiles WHERE log = ? AND number >= ? >> (8 * level)", (log, row[0]))
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

    def drop(self, log: str) -> None:
        """Forget the entries of an epoch that is over; its last checkpoint stays."""
        with self.writing() as connection:
            connection.execute("DELETE FROM entries WHERE log = ?", (log,))
            connection.execute("DELETE FROM tiles WHERE log = ?", (log,))
            connection.execute("UPDATE logs SET staged_size = size, staged_frontier = frontier WHERE log = ?", (log,))

    def has_entries(self, log: str) -> bool:
        """Whether the entries of a log's checkpoint lie here still."""
        return bool(self.connection().execute("SELECT 1 FROM entries WHERE log = ? LIMIT 1", (log,)).fetchone())

    # -- proofs ----------------------------------------------------------------------------------------------------

    def tile(self, log: str, level: int, number: int) -> bytes:
        """The hashes of a tile, proven ones only, up to 256 side by side; level 0 has those of the leaves."""
        held = self.held(log)
        last = min((number + 1) * TILE, held.size >> TILE_HEIGHT * level if held else 0)
        return b"".join(self._hashes(log, level, number * TILE, last))

    def _hashes(self, log: str, level: int, first: int, last: int) -> list[bytes]:
        connection = self.connection()
        if level:
            query = "SELECT root FROM tiles WHERE log = ? AND level = ? AND number >= ? AND number < ? ORDER BY number"
            return [row[0] for row in connection.execute(query, (log, level, first, last))]
        query = "SELECT leaf FROM entries WHERE log = ? AND seq >= ? AND seq < ? ORDER BY seq"
        return [leaf_hash(row[0]) for row in connection.execute(query, (log, first, last))]

    def subtree(self, log: str) -> Subtree:
        """The roots of a log's complete subtrees, each from a single tile."""

        def found(height: int, number: int) -> bytes:
            level = height // TILE_HEIGHT
            width = 1 << height % TILE_HEIGHT
            return merkle.root(self._hashes(log, level, number * width, (number + 1) * width))

        return found

    def root_at(self, log: str, size: int) -> bytes:
        """The root the log had when it held so many entries; not more than are proven."""
        return merkle.range_root(0, size, self.subtree(log))

    def prove_inclusion(self, log: str, index: int, size: int) -> tuple[bytes, ...]:
        """The audit path of an entry in the log of `size` entries. Raises ValueError for what is not here."""
        self._check_held(log, size)
        return merkle.inclusion_proof(index, size, self.subtree(log))

    def prove_consistency(self, log: str, old: int, size: int) -> tuple[bytes, ...]:
        """Proof that the log of `size` entries begins with that of `old`. Raises ValueError for what is not here."""
        self._check_held(log, size)
        return merkle.consistency_proof(old, size, self.subtree(log))

    def _check_held(self, log: str, size: int) -> None:
        held = self.held(log)
        if held is None or size > held.size or not self.has_entries(log):
            raise ValueError(f"{log} is not here with {size} entries")

    def is_whole(self, log: str) -> bool:
        """Whether every leaf, and every body that is here, is the one the log's checkpoint signs. Reads all."""
        held = self.held(log)
        frontier = Frontier()
        for first, last in batches(0, held.size if held else 0, AT_ONCE):
            entries = self.entries(log, first, last)
            if any(e.body is not None and e.leaf != leaf_of(e.salt or b"", e.body) for e in entries):
                return False
            frontier = frontier.append(leaf_hash(entry.leaf) for entry in entries)
        return held is None or (frontier.size, frontier.root) == (held.size, held.root)


def _explained(path: Path, error: sqlite3.Error) -> Unavailable | None:
    """What an operator can do something about; None for all else."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the lower byte of what SQLite calls an extended code
        case sqlite3.SQLITE_BUSY:
            return DirectoryBusy(
                f"{path} is being written by another process (an import, or the node itself) for longer than "
                f"{BUSY_SECONDS:g} seconds: try again when that has ended"
            )
        case sqlite3.SQLITE_FULL:
            return DirectoryFull(
                f"{path} cannot grow, the disk is full: free some space; nothing acknowledged was lost, and what was put "
                f"off is tried again"
            )
        case _:
            return None


def _read_frontier(size: int, blob: bytes) -> Frontier:
    return Frontier(size, tuple(blob[i : i + HASH_BYTES] for i in range(0, len(blob), HASH_BYTES)))
