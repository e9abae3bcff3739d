"""What the replica knows of each log besides its entries: which epoch counts, where its head came from, what is invalid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from node.directory.model import Authority, BadEntry, By, Change, Deleted, Kind, read_change
from node.directory.replication import CLOSE, Closing, Entry, LogId, batches, read_closing, read_opening
from node.directory.store import AT_ONCE, LOGS, LogStore
from node.ids import AuthorityId, NodeId

COPIES: Final = (
    LOGS
    + """
CREATE TABLE IF NOT EXISTS standing (
  name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, host TEXT NOT NULL, next_host TEXT NOT NULL,
  adopted TEXT NOT NULL, source TEXT NOT NULL, largest_epoch INTEGER NOT NULL, largest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS invalid (
  log TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (log, seq)) WITHOUT ROWID;
"""
)


NOBODY: Final = NodeId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the copy of one log stands.

    `epoch` 0: nothing counts yet. `next_host`: this epoch is closed, and that node serves the next. `adopted`: when the
    head we hold was taken (RFC 3339), from `source`. `largest`: the largest head anybody showed, in its epoch.
    """

    name: str
    epoch: int = 0
    host: NodeId = NOBODY
    next_host: NodeId = NOBODY
    adopted: str = ""
    source: str = ""
    largest_epoch: int = 0
    largest: int = 0

    @property
    def log(self) -> LogId:
        """The epoch that counts; the first before any does."""
        found = LogId.parse(self.name)
        assert found is not None, "names are written by us"
        return found.at(max(self.epoch, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A run of entries, read: what they change, which have no effect (seq, reason), and whether they end the epoch."""

    changes: list[tuple[Change, By]]
    bodies: list[bytes]  # of each change
    invalid: list[tuple[int, str]]
    closing: Closing | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How an epoch's snapshot differs from what its predecessor ended with: identifiers, each with its kind."""

    returned: list[str]  # deleted before
    changed: list[str]  # other words, or not there before
    missing: list[str]

    def __bool__(self) -> bool:
        return bool(self.returned or self.changed or self.missing)


class Copies(LogStore):
    """Copies of all logs, and where each stands."""

    schema = COPIES

    def standing(self, name: str) -> Standing:
        """Of one log, in whatever epoch."""
        row = self.connection().execute("SELECT * FROM standing WHERE name = ?", (name,)).fetchone()
        return _standing(row) if row else Standing(name=name)

    def standings(self) -> list[Standing]:
        """Of every log that anybody has shown."""
        return [_standing(row) for row in self.connection().execute("SELECT * FROM standing ORDER BY name")]

    def put_standing(self, standing: Standing) -> None:
        """Remember where a log stands."""
        values = tuple(getattr(standing, name) for name in Standing.__dataclass_fields__)
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def saw(self, log: LogId, size: int) -> None:
        """Somebody shows a head of this size."""
        known = self.standing(log.name)
        if (log.epoch, size) > (known.largest_epoch, known.largest):
            with self.writing():
                self.put_standing(replace(self.standing(log.name), largest_epoch=log.epoch, largest=size))

    def flag(self, log: LogId, found: Iterable[tuple[int, str]]) -> None:
        """These entries have no effect: (seq, reason)."""
        with self.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO invalid VALUES (?, ?, ?)", ((str(log), seq, reason) for seq, reason in found)
            )

    def invalid(self, log: LogId) -> list[tuple[int, str]]:
        """The entries of a log that have no effect, and why: (seq, reason)."""
        return list(
            self.connection().execute("SELECT seq, reason FROM invalid WHERE log = ? ORDER BY seq", (str(log),))
        )

    def invalid_counts(self) -> dict[str, int]:
        """How many entries have no effect, by log (with its epoch)."""
        return dict(self.connection().execute("SELECT log, count(*) FROM invalid GROUP BY log").fetchall())

    # -- what counts -----------------------------------------------------------------------------------------------

    def note_changes(self, log: LogId, last: int, store: LogStore) -> None:
        """Fill the temporary table `was` with what an epoch says of each record: its seq, a digest, NULL if deleted.

        `moved`: the authority came from another node, whose log still has it. Its deletion must be repeated for ever, or
        it would be on its old node again for whoever reads the new epoch alone. Of an epoch that repeats such a deletion
        nothing else is left: what was never there is deleted.
        """
        connection = self.connection()
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS was (kind TEXT, id TEXT, seq INTEGER, digest BLOB, again INTEGER,"
            " moved INTEGER, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )
        connection.execute("DELETE FROM was")
        for first, end in batches(0, last, AT_ONCE):
            connection.executemany(
                "INSERT OR REPLACE INTO was VALUES (?1, ?2, ?3, ?4, 0,"
                " max(?5, coalesce((SELECT moved FROM was WHERE kind = ?1 AND id = ?2), ?4 IS NULL)))",
                (
                    (change.kind, change.id, seq, _digest(change, body), _has_moved(change))
                    for seq, change, body in _numbered(store.entries(str(log), first, end), log, first)
                ),
            )

    def live(self, log: LogId, store: LogStore) -> Iterator[bytes]:
        """The bodies of an epoch that still count, in the order in which they were written."""
        held = store.held(str(log))
        self.note_changes(log, held.size if held else 0, store)
        query = "SELECT seq FROM was WHERE digest IS NOT NULL OR moved ORDER BY seq"
        for (seq,) in self.connection().execute(query).fetchall():
            (entry,) = store.entries(str(log), seq, seq + 1)
            if entry.body is not None:
                yield entry.body

    def compare(
        self, changes: list[tuple[Change, By]], bodies: list[bytes], differs: Difference
    ) -> list[tuple[Change, By]]:
        """Those of a snapshot's entries that are not what `was` says; what differs is added to `differs`."""
        connection, new = self.connection(), []
        for (change, by), body in zip(changes, bodies, strict=True):
            key = (change.kind, change.id)
            row = connection.execute("SELECT digest FROM was WHERE kind = ? AND id = ?", key).fetchone()
            connection.execute("UPDATE was SET again = 1 WHERE kind = ? AND id = ?", key)
            if row is not None and row[0] == _digest(change, body):
                continue
            was_deleted = row is not None and row[0] is None
            where = (
                differs.missing if isinstance(change, Deleted) else differs.returned if was_deleted else differs.changed
            )
            where.append(f"{key[0]} {key[1]}")
            new.append((change, by))
        return new

    def missing(self, differs: Difference) -> list[tuple[Change, By]]:
        """Deletions of what `was` there and the snapshot lacks."""
        query = "SELECT kind, id FROM was WHERE digest IS NOT NULL AND NOT again ORDER BY kind, id"
        rows: list[tuple[Kind, str]] = self.connection().execute(query).fetchall()
        differs.missing.extend(f"{kind} {name}" for kind, name in rows)
        return [(Deleted(AuthorityId(name), kind), By()) for kind, name in rows]


def read_entries(entries: Iterable[Entry], log: LogId, first: int, *, closed: bool = False) -> Reading:
    """Read a run of entries of a log that begins at `first`; a body that was deleted says nothing any more.

    Args:
        closed: the epoch was closed before these entries.
    """
    reading = Reading(changes=[], bodies=[], invalid=[], closing=None)
    closing: Closing | None = None
    for seq, entry in enumerate(entries, first):
        if entry.body is None:
            continue
        if closed or closing:
            reading.invalid.append((seq, "it stands behind the end of its epoch"))
        elif entry.body.startswith(CLOSE) and (found := read_closing(entry.body, log)):
            closing = found
        elif seq == 0 and log.epoch > 1 and read_opening(entry.body):
            continue
        else:
            try:
                reading.changes.append(read_change(entry.body, node=log.node, collection=log.collection))
                reading.bodies.append(entry.body)
            except BadEntry as error:
                reading.invalid.append((seq, str(error)))
    return replace(reading, closing=closing)


def _digest(change: Change, body: bytes) -> bytes | None:
    return None if isinstance(change, Deleted) else sha256(body).digest()


def _has_moved(change: Change) -> bool:
    return isinstance(change, Authority) and bool(change.former)


def _numbered(entries: Iterable[Entry], log: LogId, first: int) -> Iterator[tuple[int, Change, bytes]]:
    """The entries of a log that say something valid, with their numbers."""
    for seq, entry in enumerate(entries, first):
        reading = read_entries((entry,), log, seq)
        for (change, _), body in zip(reading.changes, reading.bodies, strict=True):
            yield seq, change, body


def _standing(row: tuple[object, ...]) -> Standing:
    return Standing(**dict(zip(Standing.__dataclass_fields__, row, strict=True)))  # type: ignore[arg-type]  # as put


def stamp(at: datetime) -> str:
    """An instant as it is kept here."""
    return at.isoformat(timespec="seconds")
