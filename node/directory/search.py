"""The replica's authorities and their search index: one FTS5 table over folded text, filters by exact codes."""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import structlog

from node.directory.copies import COPIES, Copies
from node.directory.folding import sound, sounds, spellings, words
from node.directory.homes import resolve
from node.directory.model import (
    Authority,
    By,
    Change,
    Deleted,
    Move,
    Record,
    read_authority,
    read_by,
    read_record,
    write_by,
    write_record,
)
from node.ids import AuthorityId, NodeId, State, state_of

FORMAT: Final = 5
MAX_HITS: Final = 100

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS authorities (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, node TEXT NOT NULL, state TEXT NOT NULL,
  has_roles INTEGER NOT NULL, data BLOB NOT NULL, by BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS authorities_state ON authorities (state);
CREATE TABLE IF NOT EXISTS codes (kind TEXT NOT NULL, code TEXT NOT NULL, number INTEGER NOT NULL,
  PRIMARY KEY (kind, code, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS codes_number ON codes (number);
CREATE TABLE IF NOT EXISTS records (kind TEXT NOT NULL, id TEXT NOT NULL, node TEXT NOT NULL, state TEXT NOT NULL,
  data BLOB NOT NULL, by BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (id TEXT NOT NULL, node TEXT NOT NULL, data BLOB NOT NULL, by BLOB NOT NULL,
  PRIMARY KEY (id, node)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moves (id TEXT NOT NULL, node TEXT NOT NULL, to_node TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (id, node)) WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (
  names, competence, place, sound, tokenize = 'unicode61 remove_diacritics 0', prefix = '3');
"""
# bm25 takes more negative for better; names weigh most, and bodies with a role come first among equals
_BM25: Final = "bm25(search, 10.0, 4.0, 2.0, 3.0)"
_RANK: Final = f"{_BM25} - 3.0 * a.has_roles"
_MOVES_OF: Final = "SELECT data FROM moves WHERE id = ?"
_MIN_BEGINNING: Final = 4
_MAX_CODES: Final = 20


log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hit:
    """One authority found."""

    authority: Authority
    rank: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What was found, best first; `understood`: professions and activities that the words name.

    `partial`: no authority has all words; these are the ones that have most of them.
    """

    hits: tuple[Hit, ...]
    understood: tuple[str, ...] = ()
    has_more: bool = False
    partial: bool = False


class Replica(Copies):
    """All logs, the authorities they make, and their index.

    `vocabulary` gives a code's words in all languages, so that `teacher` and `õpetaja` find the same bodies.
    """

    schema = COPIES + _SCHEMA
    format = FORMAT
    vocabulary: Mapping[str, Sequence[str]] = {}
    left_behind: Sequence[tuple[str, str, str, str, str, str]] = ()  # evidence that a copy of an older format held

    def _other_format(self, found: int) -> None:
        """A copy is not converted but made again from the logs; what was kept as evidence in it is no copy."""
        aside = self._put_aside(f"{self.path.name}.format-{found}")
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(aside)) as old:
            query = "SELECT at, log, kind, source, held, seen FROM evidence ORDER BY id"  # formats up to 4 kept it
            self.left_behind = old.execute(query).fetchall()
        log.warning("directory copy of another format is made again", found=found, format=self.format, kept=str(aside))

    def apply(self, changes: Iterable[tuple[Change, By]], node: NodeId) -> None:
        """Make the records what these entries of a node's log say, in one transaction."""
        newest = {(change.kind, change.id): (change, by) for change, by in changes}
        authorities = [(c, by) for c, by in newest.values() if c.kind == Authority.kind]
        moves = [c for c, _ in newest.values() if isinstance(c, Move)]  # one is never taken back
        others = [(c, by) for c, by in newest.values() if c.kind not in (Authority.kind, Move.kind)]
        with self.writing() as connection:
            disputed = self._disputed(connection, [c for c, _ in authorities], node)
            plain = [(c, by) for c, by in authorities if c.id not in disputed]
            self._forget(connection, [change for change, _ in plain], node)
            self._insert(connection, [(c, by) for c, by in plain if isinstance(c, Authority)])
            self._settle_homes(connection, [(c, by) for c, by in authorities if c.id in disputed], moves, node)
            connection.executemany(
                "DELETE FROM records WHERE kind = ? AND id = ? AND node = ?", ((c.kind, c.id, node) for c, _ in others)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (c.kind, c.id, c.node, state_of(c.id), write_record(c), write_by(by))
                    for c, by in others
                    if not isinstance(c, Deleted)
                ),
            )

    def _disputed(
        self, connection: sqlite3.Connection, changes: Sequence[Change], node: NodeId
    ) -> frozenset[AuthorityId]:
        """The authorities that more than one node of their State has spoken of, or that one has deleted."""
        known = {AuthorityId(row[0]) for row in connection.execute("SELECT DISTINCT id FROM claims")}
        query = "SELECT 1 FROM authorities WHERE id = ? AND node <> ?"
        return frozenset(
            c.id
            for c in changes
            if c.id in known
            or isinstance(c, Deleted)
            or (isinstance(c, Authority) and c.former)
            or connection.execute(query, (c.id, node)).fetchone()
        )

    def _settle_homes(
        self,
        connection: sqlite3.Connection,
        changes: Sequence[tuple[Change, By]],
        moves: Sequence[Move],
        node: NodeId,
    ) -> None:
        """Keep what each node says of an authority that is not one node's alone, and show what counts of it."""
        for change, by in changes:
            connection.execute(
                "INSERT OR IGNORE INTO claims SELECT id, node, data, by FROM authorities WHERE id = ?", (change.id,)
            )
            data = write_record(change) if isinstance(change, Authority) else b""
            connection.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", (change.id, node, data, write_by(by))
            )
        connection.executemany(
            "INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?)", ((m.id, node, m.to, write_record(m)) for m in moves)
        )
        for authority in dict.fromkeys([*(c.id for c, _ in changes), *(m.id for m in moves)]):
            claims = connection.execute("SELECT node, data, by FROM claims WHERE id = ?", (authority,)).fetchall()
            if not claims:
                continue  # a move that nobody has answered
            said = {row[0]: (read_authority(row[1]), read_by(row[2])) for row in claims if row[1]}
            announced = [self._move(row) for row in connection.execute(_MOVES_OF, (authority,))]
            deleted_by = {NodeId(row[0]) for row in claims if not row[1]}
            found = resolve([a for a, _ in said.values()], announced, deleted_by)
            row = connection.execute("SELECT number FROM authorities WHERE id = ?", (authority,)).fetchone()
            self._drop(connection, [row] if row else [])
            self._insert(connection, [said[found.node]] if found else [])

    @staticmethod
    def _move(row: tuple[bytes]) -> Move:
        found = read_record(Move.kind, row[0])
        assert isinstance(found, Move)
        return found

    def moves_to(self, node: NodeId) -> list[Move]:
        """The moves to a node that the nodes left have announced, whether it has answered or not."""
        rows = self.connection().execute("SELECT data FROM moves WHERE to_node = ? ORDER BY id", (node,))
        return [self._move(row) for row in rows]

    def moved(self) -> list[Authority]:
        """The authorities that are no longer on the node where they began."""
        query = "SELECT DISTINCT a.data FROM codes c JOIN authorities a USING (number) WHERE c.kind = 'former'"
        return [read_authority(row[0]) for row in self.connection().execute(query)]

    def _forget(self, connection: sqlite3.Connection, changes: Sequence[Change], node: NodeId) -> None:
        """Drop what is replaced or deleted; a log deletes only what its own node hosts."""
        query = "SELECT number, node FROM authorities WHERE id = ?"
        found = ((c, connection.execute(query, (c.id,)).fetchone()) for c in changes)
        gone = [(row[0],) for c, row in found if row and not (isinstance(c, Deleted) and row[1] != node)]
        self._drop(connection, gone)

    def _drop(self, connection: sqlite3.Connection, gone: Sequence[tuple[int]]) -> None:
        for table, column in (("authorities", "number"), ("codes", "number"), ("search", "rowid")):
            connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", gone)  # noqa: S608  # our own names

    def _insert(self, connection: sqlite3.Connection, found: Sequence[tuple[Authority, By]]) -> None:
        first = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM authorities").fetchone()[0]
        numbered = [(n, authority, by) for n, (authority, by) in enumerate(found, first)]
        connection.executemany(
            "INSERT INTO authorities VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((n, a.id, a.node, a.state, int(bool(a.roles)), write_record(a), write_by(by)) for n, a, by in numbered),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO codes VALUES (?, ?, ?)",
            ((kind, code, n) for n, a, _ in numbered for kind, code in _codes(a)),
        )
        connection.executemany(
            "INSERT INTO search (rowid, names, competence, place, sound) VALUES (?, ?, ?, ?, ?)",
            ((n, *self._text(a)) for n, a, _ in numbered),
        )

    def _text(self, authority: Authority) -> tuple[str, str, str, str]:
        named = (*authority.names.values(), *authority.informal.values(), authority.short_name)
        codes = (*authority.professions, *authority.activities)
        competence = (*authority.keywords, *(word for code in codes for word in (code, *self.vocabulary.get(code, ()))))
        place = (authority.address.get("city", ""), *authority.territory)
        return (
            spellings(" ".join(named)),
            spellings(" ".join(competence)),
            spellings(" ".join(place)),
            sounds(" ".join((*named, *authority.keywords, *place))),
        )

    def changed_elsewhere(self) -> bool:
        """Whether another connection (thread or process) has written since this thread last asked; at first: yes."""
        version = self.connection().execute("PRAGMA data_version").fetchone()[0]
        known = getattr(self._local, "data_version", None)
        self._local.data_version = version
        return bool(known != version)

    def find(self, authority: AuthorityId) -> Authority | None:
        """One authority, or None."""
        row = self.connection().execute("SELECT data FROM authorities WHERE id = ?", (authority,)).fetchone()
        return read_authority(row[0]) if row else None

    def changed_by(self, authority: AuthorityId) -> By | None:
        """Who last changed an authority's entry, or None if there is none."""
        row = self.connection().execute("SELECT by FROM authorities WHERE id = ?", (authority,)).fetchone()
        return read_by(row[0]) if row else None

    def record(self, kind: str, name: AuthorityId) -> tuple[Record, By] | None:
        """A group, register or repository entry and who last changed it, or None."""
        query = "SELECT data, by FROM records WHERE kind = ? AND id = ?"
        row = self.connection().execute(query, (kind, name)).fetchone()
        return (read_record(kind, row[0]), read_by(row[1])) if row else None

    def records(self, kind: str, state: State | None = None) -> list[Record]:
        """All groups, registers or repository entries, of one State or of all."""
        query = "SELECT data FROM records WHERE kind = ? AND (? IS NULL OR state = ?) ORDER BY id"
        return [read_record(kind, row[0]) for row in self.connection().execute(query, (kind, state, state))]

    def each(self, kind: str, state: State) -> Iterator[Record]:
        """The records of one kind of a State, one after the other."""
        table, which = ("authorities", "") if kind == Authority.kind else ("records", " AND kind = :kind")
        query = f"SELECT data FROM {table} WHERE state = :state{which}"  # noqa: S608  # our own names
        rows = self.connection().execute(query, {"state": state, "kind": kind})
        return (read_record(kind, row[0]) for row in rows)

    def with_code(self, kind: str, code: str, state: State | None = None) -> list[Authority]:
        """Those that carry a code: kind is area, profession, activity, role, nuts or coordinator; a role is `area/role`."""
        rows = self.connection().execute(
            "SELECT a.data FROM codes c JOIN authorities a USING (number) WHERE c.kind = ? AND c.code = ?"
            " AND (? IS NULL OR a.state = ?) ORDER BY a.id",
            (kind, code, state, state),
        )
        return [read_authority(row[0]) for row in rows]

    def count(self) -> int:
        """How many authorities there are."""
        return int(self.connection().execute("SELECT count(*) FROM authorities").fetchone()[0])

    def search(
        self, text: str, *, state: State | None = None, codes: Sequence[tuple[str, str]] = (), limit: int = 20
    ) -> SearchResult:
        """Every word must occur, as the beginning of a word, by its sound, or by a code it names; all filters must hold.

        Where no authority has all words, those that have most of them are found.

        Args:
            codes: (kind, code) filters.
        """
        typed = words(text)
        where = ["(? IS NULL OR a.state = ?)"]
        values: list[object] = [state, state]
        for kind, code in codes:
            where.append("EXISTS (SELECT 1 FROM codes c WHERE c.kind = ? AND c.code = ? AND c.number = a.number)")
            values += [kind, code]
        size = min(limit, MAX_HITS)
        rows = self._rows(typed, " AND ".join(where), values, size + 1)
        partial = not rows and len(typed) > 1
        if partial:
            rows = self._rows_with_most(typed, " AND ".join(where), values, size + 1)
        hits = tuple(Hit(read_authority(data), rank) for data, rank in rows[:size])
        return SearchResult(
            hits=hits,
            understood=self._understood(typed),
            has_more=len(rows) > size,
            partial=partial and bool(rows),
        )

    def _rows(
        self, typed: Sequence[str], where: str, values: Sequence[object], limit: int
    ) -> list[tuple[bytes, float]]:
        connection = self.connection()
        if not typed:
            query = f"SELECT data, 0.0 FROM authorities a WHERE {where} ORDER BY has_roles DESC, id LIMIT ?"  # noqa: S608  # placeholders only
            return connection.execute(query, (*values, limit)).fetchall()
        match = " AND ".join(f"({self._match(word)})" for word in typed)
        query = (
            f"SELECT a.data, {_RANK} AS rank FROM search JOIN authorities a ON a.number = search.rowid"  # noqa: S608
            f" WHERE search MATCH ? AND {where} ORDER BY rank, a.id LIMIT ?"
        )
        return connection.execute(query, (match, *values, limit)).fetchall()

    def _rows_with_most(
        self, typed: Sequence[str], where: str, values: Sequence[object], limit: int
    ) -> list[tuple[bytes, float]]:
        """Those that have most of the words, however many that are."""
        each = f"SELECT rowid AS number, {_BM25} AS rank FROM search WHERE search MATCH ?"  # noqa: S608  # our own names
        query = (
            f"WITH found AS ({' UNION ALL '.join([each] * len(typed))}),"  # noqa: S608  # placeholders only
            " counted AS (SELECT a.data, a.id, sum(f.rank) - 3.0 * a.has_roles AS rank, count(*) AS words"
            f" FROM found f JOIN authorities a USING (number) WHERE {where} GROUP BY a.number)"
            " SELECT data, rank FROM counted WHERE words = (SELECT max(words) FROM counted) ORDER BY rank, id LIMIT ?"
        )
        return self.connection().execute(query, (*map(self._match, typed), *values, limit)).fetchall()

    def _match(self, word: str) -> str:
        """The full-text query of one typed word; a word is letters and digits only, so quotes hold it."""
        ways = [f'{{names competence place}} : "{word}"*']
        if heard := sound(word):
            ways.append(f'sound : "{heard}"*')
        ways += [f'competence : "{code}"' for code in self._named(word)[:_MAX_CODES]]
        return " OR ".join(ways)

    @cached_property
    def _by_word(self) -> tuple[list[str], list[tuple[str, ...]]]:
        """The vocabulary turned round: its words in order, and the codes that each names."""
        codes: dict[str, list[str]] = {}
        for code, names in self.vocabulary.items():
            for word in dict.fromkeys(word for name in names for word in words(name)):
                codes.setdefault(word, []).append(code)
        ordered = sorted(codes)
        return ordered, [tuple(codes[word]) for word in ordered]

    def _named(self, typed: str) -> tuple[str, ...]:
        """The codes that a word names, or its beginning if that is long enough to tell."""
        known, codes = self._by_word
        first = bisect_left(known, typed)
        last = bisect_left(known, typed + "\U0010ffff") if len(typed) >= _MIN_BEGINNING else bisect_right(known, typed)
        return tuple(dict.fromkeys(code for found in codes[first:last] for code in found))

    def _understood(self, typed: Sequence[str]) -> tuple[str, ...]:
        known, codes = self._by_word
        at = ((bisect_left(known, word), word) for word in typed)
        named = {code for n, word in at if n < len(known) and known[n] == word for code in codes[n]}
        return tuple(code for code in self.vocabulary if code in named)[:5]


def _codes(authority: Authority) -> Iterable[tuple[str, str]]:
    yield from (("former", node) for node in authority.former)
    yield from (("area", area) for area in authority.areas)
    yield from (("profession", code) for code in authority.professions)
    yield from (("activity", code) for code in authority.activities)
    regions = {*authority.territory, *filter(None, [authority.address.get("nuts")])}  # of the seat, too
    yield from {("nuts", code[:n]) for code in regions for n in range(2, len(code) + 1)}
    yield from (("role", f"{area}/{role}") for area, roles in authority.roles.items() for role in roles)
    yield from (("coordinator", link.coordinator) for link in authority.coordinators)
