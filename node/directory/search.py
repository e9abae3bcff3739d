"""The replica's records and the search among them: which words and codes an authority or a register is found by."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import structlog

from node.directory.copies import COPIES, Copies
from node.directory.folding import MAX_TYPED, fold, typed, ways, words
from node.directory.fts5 import SCHEMA as INDEX_SCHEMA
from node.directory.fts5 import Fts5Index
from node.directory.hearing import readings
from node.directory.homes import resolve
from node.directory.index import (
    MAX_WORDS,
    All,
    Asked,
    Document,
    Expression,
    Found,
    Match,
    Query,
    Some,
    code,
    code_word,
    document,
    find,
)
from node.directory.model import (
    Authority,
    By,
    Change,
    Deleted,
    Move,
    Record,
    Register,
    read_authority,
    read_by,
    read_record,
    write_by,
    write_record,
)
from node.ids import AuthorityId, NodeId, State, state_of

FORMAT: Final = 7
MAX_HITS: Final = 100
FEW: Final = 3  # with fewer hits than this, the coordinators are shown too
MAX_FALLBACK: Final = 5

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
  number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, node TEXT NOT NULL, state TEXT NOT NULL,
  has_moved INTEGER NOT NULL, data BLOB NOT NULL, by BLOB NOT NULL, UNIQUE (kind, id));
CREATE INDEX IF NOT EXISTS records_moved ON records (id) WHERE has_moved;
CREATE TABLE IF NOT EXISTS claims (id TEXT NOT NULL, node TEXT NOT NULL, data BLOB NOT NULL, by BLOB NOT NULL,
  PRIMARY KEY (id, node)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moves (id TEXT NOT NULL, node TEXT NOT NULL, to_node TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (id, node)) WITHOUT ROWID;
"""
_MOVES_OF: Final = "SELECT data FROM moves WHERE id = ?"
_MIN_BEGINNING: Final = 4
_MAX_CODES: Final = 20
LOCAL: Final = ("local", "regional", "regional_or_local")
ACTIVE: Final = ("status", "active")
_LONGEST_NUTS: Final = 5
ANY: Final = "any"  # the area of a role, whichever it is

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hit:
    """One authority found, and how well it fits."""

    authority: Authority
    match: Match


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What was found, best first; `understood`: professions and activities that the words name.

    `partial`: no authority has all words; these are the ones that have most of them. `fallback`: where few or none
    were found, the coordinators of the States in question, who know whom to ask.
    """

    hits: tuple[Hit, ...]
    understood: tuple[str, ...] = ()
    has_more: bool = False
    partial: bool = False
    fallback: tuple[Authority, ...] = ()


class Replica(Copies):
    """All logs, the authorities they make, and their index.

    `vocabulary` gives a code's words in all languages, so that `teacher` and `õpetaja` find the same bodies;
    `regions` gives a NUTS code's name.
    """

    schema = COPIES + _SCHEMA + INDEX_SCHEMA
    format = FORMAT
    vocabulary: Mapping[str, Sequence[str]] = {}
    regions: Mapping[str, str] = {}
    left_behind: Sequence[tuple[str, str, str, str, str, str]] = ()  # evidence that a copy of an older format held

    @cached_property
    def index(self) -> Fts5Index:
        """The index, in the same file; its writes join the transaction of `writing`."""
        return Fts5Index(self.connection)

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
            self._insert(connection, [(c, by) for c, by in (*plain, *others) if not isinstance(c, Deleted)])
            self._forget(connection, [c for c, _ in others if isinstance(c, Deleted)], node)
            self._settle_homes(connection, [(c, by) for c, by in authorities if c.id in disputed], moves, node)

    def _disputed(
        self, connection: sqlite3.Connection, changes: Sequence[Change], node: NodeId
    ) -> frozenset[AuthorityId]:
        """The authorities that more than one node of their State has spoken of, or that one has deleted."""
        known = {row[0] for row in connection.execute("SELECT DISTINCT id FROM claims")}
        query = (
            "SELECT records.id FROM json_each(?) CROSS JOIN records"
            " ON records.kind = 'authority' AND records.id = json_each.value WHERE node <> ?"
        )
        known.update(row[0] for row in connection.execute(query, (json.dumps([c.id for c in changes]), node)))
        return frozenset(
            c.id for c in changes if c.id in known or isinstance(c, Deleted) or (isinstance(c, Authority) and c.former)
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
                "INSERT OR IGNORE INTO claims SELECT id, node, data, by FROM records WHERE kind = 'authority' AND id = ?",
                (change.id,),
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
            if found:
                self._insert(connection, [said[found.node]])
            else:
                self._drop(connection, Authority.kind, authority)

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
        query = "SELECT data FROM records WHERE has_moved ORDER BY id"
        return [read_authority(row[0]) for row in self.connection().execute(query)]

    def _forget(self, connection: sqlite3.Connection, gone: Sequence[Deleted], node: NodeId) -> None:
        """Drop what is deleted; a log deletes only what its own node hosts."""
        query = "SELECT 1 FROM records WHERE kind = ? AND id = ? AND node = ?"
        for change in gone:
            if connection.execute(query, (change.kind, change.id, node)).fetchone():
                self._drop(connection, change.kind, change.id)

    def _drop(self, connection: sqlite3.Connection, kind: str, name: str) -> None:
        connection.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, name))
        self.index.remove(kind, [name])

    def _insert(self, connection: sqlite3.Connection, found: Sequence[tuple[Record, By]]) -> None:
        """Store records in the place of those of the same kind and id, and index them."""
        connection.executemany(
            "INSERT INTO records (kind, id, node, state, has_moved, data, by) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET node = excluded.node, has_moved = excluded.has_moved,"
            " data = excluded.data, by = excluded.by",
            ((r.kind, r.id, r.node, state_of(r.id), _has_moved(r), write_record(r), write_by(by)) for r, by in found),
        )
        documents = {(record.kind, record.id): self._document(record) for record, _ in found}
        for (kind, name), document_ in documents.items():
            if document_ is None:
                self.index.remove(kind, [name])
        self.index.put([one for one in documents.values() if one])

    def _document(self, record: Record) -> Document | None:
        """What the index holds of a record: of authorities and of registers."""
        if isinstance(record, Register):
            return document(
                Register.kind, record.id, names=_official(record),
                competence=(*record.contents.values(), record.operator_name, record.type, *record.identifiers.values()),
                places=self._places(record.territory), codes=_codes(record),
            )  # fmt: skip
        if isinstance(record, Authority):
            address = [record.address[part] for part in ("city", "postal_code") if record.address.get(part)]
            return document(
                Authority.kind, record.id, names=_official(record),
                more_names=(*record.informal.values(), record.short_name) if record.short_name else record.informal.values(),
                competence=(*record.keywords, *record.competence.values()),
                places=(*address, *self._places(record.territory)), codes=_codes(record),
                is_preferred=bool(record.roles),
            )  # fmt: skip
        return None

    def _places(self, territory: Sequence[str]) -> list[str]:
        """The codes of a territory, and the names of its regions and of those around them."""
        around = dict.fromkeys(nuts[:end] for nuts in territory for end in range(len(nuts), 2, -1))
        return [*territory, *(self.regions[nuts] for nuts in around if nuts in self.regions)]

    def changed_elsewhere(self) -> bool:
        """Whether another connection (thread or process) has written since this thread last asked; at first: yes."""
        version = self.connection().execute("PRAGMA data_version").fetchone()[0]
        known = getattr(self._local, "data_version", None)
        self._local.data_version = version
        return bool(known != version)

    def find(self, authority: AuthorityId) -> Authority | None:
        """One authority, or None."""
        found = self._read(Authority.kind, authority)
        return read_authority(found[0]) if found else None

    def changed_by(self, authority: AuthorityId) -> By | None:
        """Who last changed an authority's entry, or None if there is none."""
        found = self._read(Authority.kind, authority)
        return read_by(found[1]) if found else None

    def record(self, kind: str, name: AuthorityId) -> tuple[Record, By] | None:
        """A group, register or repository entry and who last changed it, or None."""
        found = self._read(kind, name)
        return (read_record(kind, found[0]), read_by(found[1])) if found else None

    def _read(self, kind: str, name: str) -> tuple[bytes, bytes] | None:
        query = "SELECT data, by FROM records WHERE kind = ? AND id = ?"
        row: tuple[bytes, bytes] | None = self.connection().execute(query, (kind, name)).fetchone()
        return row

    def records(self, kind: str, state: State | None = None) -> list[Record]:
        """All groups, registers or repository entries, of one State or of all."""
        query = "SELECT data FROM records WHERE kind = ? AND (? IS NULL OR state = ?) ORDER BY id"
        return [read_record(kind, row[0]) for row in self.connection().execute(query, (kind, state, state))]

    def each(self, kind: str, state: State) -> Iterator[Record]:
        """The records of one kind of a State, one after the other."""
        rows = self.connection().execute("SELECT data FROM records WHERE kind = ? AND state = ?", (kind, state))
        return (read_record(kind, row[0]) for row in rows)

    def with_code(self, kind: str, value: str, state: State | None = None) -> list[Authority]:
        """Those that carry a code, active or not.

        Kind is area, profession, activity, role, language, status, nuts or coordinator; a role is `area/role`.
        """
        wanted = [code("kind", Authority.kind), code(kind, value), *([code("state", state)] if state else [])]
        rows = self.index.first(All(tuple(wanted)), limit=None)
        return sorted(self._authorities(row.id for row in rows), key=lambda found: found.id)

    def ids_with_code(self, kind: str, value: str) -> tuple[AuthorityId, ...]:
        """The identifiers of the authorities that carry a code."""
        rows = self.index.first(All((code("kind", Authority.kind), code(kind, value))), limit=None)
        return tuple(sorted(AuthorityId(row.id) for row in rows))

    def count(self) -> int:
        """How many authorities there are."""
        query = "SELECT count(*) FROM records WHERE kind = ?"
        return int(self.connection().execute(query, (Authority.kind,)).fetchone()[0])

    def search(
        self,
        text: str,
        *,
        state: State | None = None,
        codes: Sequence[tuple[str, str]] = (),
        region: str = "",
        limit: int = 20,
    ) -> SearchResult:
        """The active authorities that have every word, as the beginning of a word, by its sound, or by a code it names, and fit all filters.

        Where no authority has all words, those that have most of them are found.

        Args:
            codes: (kind, code) filters.
            region: NUTS code; found are the bodies of the region and its parts, and those whose territory holds it.
        """
        wanted = (ACTIVE, *codes)
        found, asked = self._look_up(Authority.kind, text, state=state, codes=wanted, region=region, limit=limit)
        matches = dict(found.rows)
        hits = tuple(Hit(authority, matches[authority.id]) for authority in self._authorities(matches))
        return SearchResult(
            hits=hits,
            understood=self._understood(asked),
            has_more=found.has_more,
            partial=found.partial,
            fallback=self._coordinators(hits, state, codes) if _is_meagre(hits) else (),
        )

    def registers(
        self, text: str, *, state: State | None = None, codes: Sequence[tuple[str, str]] = (), limit: int = 20
    ) -> tuple[Register, ...]:
        """Registers by name, what is found in them, profession and State, best first; all words must fit."""
        found, _ = self._look_up(Register.kind, text, state=state, codes=codes, limit=limit)
        rows = () if found.partial else found.rows
        records = (self.record(Register.kind, AuthorityId(name)) for name, _ in rows)
        return tuple(one[0] for one in records if one and isinstance(one[0], Register))

    def _look_up(
        self,
        kind: str,
        text: str,
        *,
        state: State | None = None,
        codes: Sequence[tuple[str, str]] = (),
        region: str = "",
        limit: int = 20,
    ) -> tuple[Found, list[str]]:
        """What an index of one kind has for a text, and the words that were understood of it, folded."""
        asked = typed(text, limit=MAX_WORDS)
        folded = [fold(word) for word in asked]
        filters: list[Expression] = [code(*pair) for pair in codes]
        if state:
            filters.append(code("state", state))
        if region:
            filters.append(in_region(region))
        query = Query(
            kind=kind,
            asked=tuple(
                Asked(spelt=ways(word), heard=readings(word), codes=self._named(plain)[:_MAX_CODES])
                for word, plain in zip(asked, folded, strict=True)
            ),
            name=" ".join(words(text[:MAX_TYPED])),
            filters=tuple(filters),
            limit=min(limit, MAX_HITS),
        )
        return find(self.index, query), folded

    def _authorities(self, names: Iterable[str]) -> list[Authority]:
        found = (self.find(AuthorityId(name)) for name in names)
        return [authority for authority in found if authority]

    def _coordinators(
        self, hits: Sequence[Hit], state: State | None, codes: Sequence[tuple[str, str]]
    ) -> tuple[Authority, ...]:
        """Who coordinates the area asked for, or any, in the State asked for, or in those of the hits."""
        states = [state] if state else list(dict.fromkeys(hit.authority.state for hit in hits))
        given = dict(codes)
        if not states or "role" in given:
            return ()
        role = given["area"] + "/coordinator" if "area" in given else f"{ANY}/coordinator"
        wanted = (
            code("kind", Authority.kind),
            code(*ACTIVE),
            code("role", role),
            Some(tuple(code("state", one) for one in states)),
        )
        rows = self.index.first(All(wanted), limit=MAX_FALLBACK)
        known = {hit.authority.id for hit in hits}
        return tuple(one for one in self._authorities(row.id for row in rows) if one.id not in known)

    @cached_property
    def _by_word(self) -> tuple[list[str], list[tuple[str, ...]]]:
        """The vocabulary turned round: its words in order, and the codes that each names."""
        codes: dict[str, list[str]] = {}
        for named, names in self.vocabulary.items():
            for word in dict.fromkeys(word for name in names for word in words(name)):
                codes.setdefault(word, []).append(named)
        ordered = sorted(codes)
        return ordered, [tuple(codes[word]) for word in ordered]

    def _named(self, folded: str) -> tuple[str, ...]:
        """The codes, as words of the index, that a word names, or its beginning if that is long enough to tell."""
        known, codes = self._by_word
        first = bisect_left(known, folded)
        last = (
            bisect_left(known, folded + "\U0010ffff") if len(folded) >= _MIN_BEGINNING else bisect_right(known, folded)
        )
        named = dict.fromkeys(found for some in codes[first:last] for found in some)
        return tuple(code_word(kind, found) for found in named for kind in ("profession", "activity"))

    def _understood(self, folded: Sequence[str]) -> tuple[str, ...]:
        known, codes = self._by_word
        at = ((bisect_left(known, word), word) for word in folded)
        named = {found for n, word in at if n < len(known) and known[n] == word for found in codes[n]}
        return tuple(found for found in self.vocabulary if found in named)[:5]


def _has_moved(record: Record) -> bool:
    return isinstance(record, Authority) and bool(record.former)


def _is_meagre(hits: Sequence[Hit]) -> bool:
    return len(hits) < FEW and not any(hit.match is Match.EXACT for hit in hits)


def in_region(nuts: str) -> Expression:
    """Holds for bodies of a region and its parts, and for those whose territory holds the region: national ones too."""
    known = nuts[:_LONGEST_NUTS]
    around = (code("at", known[:end]) for end in range(len(known), 1, -1))
    return Some((code("nuts", nuts), *around))


def _official(record: Authority | Register) -> list[tuple[str, str]]:
    first = (record.names.get(record.name_lang, ""), record.name_lang)
    names = dict.fromkeys((first, *((name, lang) for lang, name in record.names.items())))
    return [pair for pair in names if pair[0]]


def _codes(record: Authority | Register) -> Iterable[tuple[str, str]]:
    yield "state", record.state
    yield from (("area", area) for area in record.areas)
    yield from (("profession", named) for named in record.professions)
    yield from (("activity", named) for named in record.activities)
    yield from (("language", lang) for lang in record.languages)
    yield from {("nuts", nuts[:end]) for nuts in _regions(record) for end in range(2, len(nuts) + 1)}
    yield from (("at", nuts) for nuts in _territory(record))
    if isinstance(record, Register):
        yield "access", record.access
        yield from (("type", record.type),) if record.type else ()
    if isinstance(record, Authority):
        yield "status", record.status
        yield from (("coordinator", link.coordinator) for link in record.coordinators)
        yield from (("represented-by", record.represented_by),) if record.represented_by else ()
        yield from (("role", f"{area}/{role}") for area, roles in record.roles.items() for role in roles)
        yield from (("role", f"{ANY}/{role}") for roles in record.roles.values() for role in roles)


def _regions(record: Authority | Register) -> tuple[str, ...]:
    """The regions a body is for, and the one of its seat."""
    seat = record.address.get("nuts", "") if isinstance(record, Authority) else ""
    return (*record.territory, seat) if seat else record.territory


def _territory(record: Authority | Register) -> tuple[str, ...]:
    """The regions a body is for; without any it is for its whole State, unless it says that it is a local one."""
    is_local = isinstance(record, Authority) and record.level in LOCAL
    return record.territory or (() if is_local else (record.state,))
