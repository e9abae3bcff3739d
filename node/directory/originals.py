"""`logs.db`: the logs a node owns or hosts, what was seen against any log, and which logs are frozen for it.

It is an original: never rebuilt, converted in place when its format changes, and part of every backup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from node.directory.replication import Divergence, LogId, batches
from node.directory.store import AT_ONCE, LOGS, LogStore
from node.errors import Unavailable
from node.merkle import Frontier, leaf_hash

FORMAT: Final = 2
Kept = Literal["new", "known", "full"]
MAX_EVIDENCE: Final = 100  # pieces kept against one log

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS evidence (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, log TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
  held TEXT NOT NULL, seen TEXT NOT NULL, more TEXT NOT NULL DEFAULT '', told TEXT NOT NULL DEFAULT '',
  UNIQUE (log, kind, seen));
CREATE TABLE IF NOT EXISTS frozen (
  log TEXT PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, released TEXT NOT NULL DEFAULT '',
  because TEXT NOT NULL DEFAULT '');
"""


class LogFrozen(Unavailable):
    """A log contradicted itself: nothing more of it counts until an operator releases it, or a new epoch begins."""

    code = "unavailable.log-frozen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Two signed notes of one log that cannot both stand, or a difference found; `told`: when the publisher took it.

    `kind` is an error's code (`peer.log-rolled-back`, `peer.log-forked`) or `snapshot-differs`; `source` the node that
    showed `seen`, or that reported it to us; `more` a proof or what differs, JSON.
    """

    id: int
    at: str
    log: str
    kind: str
    source: str
    held: str
    seen: str
    more: str
    told: str

    @property
    def proof(self) -> Divergence | None:
        """The proof that comes with it, if one does."""
        found = json.loads(self.more or "{}").get("proof")
        return Divergence.from_json(found) if found else None


class Originals(LogStore):
    """The node's own file of logs."""

    schema = LOGS + _SCHEMA
    format = FORMAT

    def _other_format(self, found: int) -> None:
        if found != 1:
            super()._other_format(found)
        with self.writing() as connection:
            for statement in LOGS.split(";"):
                connection.execute(statement)
            for column in ("more", "told"):
                connection.execute(f"ALTER TABLE evidence ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
            for log in self.logs():
                self._fill_tiles(log)
            connection.execute(f"PRAGMA user_version={FORMAT}")

    def _fill_tiles(self, log: str) -> None:
        frontier = Frontier()
        for first, last in batches(0, self.staged(log).size, AT_ONCE):
            frontier, full = frontier.grow(leaf_hash(entry.leaf) for entry in self.entries(log, first, last))
            self.connection().executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", ((log, *tile) for tile in full))

    def epoch(self, name: str) -> int:
        """The newest epoch of a log that lies here; 0 if none does."""
        found = (LogId.parse(log) for log in self.logs())
        return max((each.epoch for each in found if each and each.name == name and self.held(str(each))), default=0)

    def drop_before(self, current: LogId) -> None:
        """Forget the entries of epochs before the last: who lags behind by one can still catch up here."""
        for epoch in range(1, current.epoch - 1):
            self.drop(str(current.at(epoch)))

    # -- evidence --------------------------------------------------------------------------------------------------

    def keep_evidence(
        self, *, at: datetime, log: str, kind: str, source: str, held: str, seen: str, more: dict[str, Any]
    ) -> Kept:
        """Keep a contradiction, each once; `full`: there is more than enough of this log, it is not kept."""
        with self.writing() as connection:
            known = connection.execute(
                "SELECT 1 FROM evidence WHERE log = ? AND kind = ? AND seen = ?", (log, kind, seen)
            ).fetchone()
            count = connection.execute("SELECT count(*) FROM evidence WHERE log = ?", (log,)).fetchone()[0]
            if known or count >= MAX_EVIDENCE:
                return "known" if known else "full"
            connection.execute(
                "INSERT INTO evidence (at, log, kind, source, held, seen, more) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (at.isoformat(), log, kind, source, held, seen, json.dumps(more) if more else ""),
            )
            return "new"

    def take_evidence(self, rows: Sequence[tuple[str, str, str, str, str, str]]) -> None:
        """Take over what an older copy of the directory kept: (at, log, kind, source, held, seen)."""
        if not rows:
            return  # most openings only read: they wait for no writer
        with self.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO evidence (at, log, kind, source, held, seen) VALUES (?, ?, ?, ?, ?, ?)", rows
            )

    def evidence(self, *, untold: bool = False) -> list[Evidence]:
        """What was kept, oldest first."""
        rows = self.connection().execute(
            "SELECT id, at, log, kind, source, held, seen, more, told FROM evidence WHERE told = '' OR ? ORDER BY id",
            (not untold,),
        )
        names = ("id", "at", "log", "kind", "source", "held", "seen", "more", "told")
        return [Evidence(**dict(zip(names, row, strict=True))) for row in rows]

    def told(self, evidence: int, *, at: datetime) -> None:
        """The publisher of the trust list has it."""
        with self.writing() as connection:
            connection.execute("UPDATE evidence SET told = ? WHERE id = ?", (at.isoformat(), evidence))

    # -- frozen logs -----------------------------------------------------------------------------------------------

    def freeze(self, log: str, *, kind: str, at: datetime) -> None:
        """Apply nothing more of this epoch of a log until it is released."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO frozen (log, at, kind) VALUES (?, ?, ?) ON CONFLICT (log) DO UPDATE"
                " SET at = excluded.at, kind = excluded.kind, released = '', because = '' WHERE released != ''",
                (log, at.isoformat(), kind),
            )

    def release(self, log: str, *, because: str, at: datetime) -> bool:
        """An operator lets a log go on; False if it was not frozen."""
        with self.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE frozen SET released = ?, because = ? WHERE log = ? AND released = ''",
                    (at.isoformat(), because, log),
                ).rowcount
            )

    def check_not_frozen(self, log: str) -> None:
        """Raises LogFrozen."""
        if self.frozen(log):
            raise LogFrozen(f"{log} is frozen here: imi-node directory release {log} --because ...", log=log)

    def frozen(self, log: str) -> str:
        """Why a log is frozen (an error's code); empty if it is not."""
        row = self.connection().execute("SELECT kind FROM frozen WHERE log = ? AND released = ''", (log,)).fetchone()
        return str(row[0]) if row else ""
