"""Taking a file of authorities or registers into a log: what each row would change, and then only what changes.

A row is recognised by its own identifier; without one, by a number it shares (`identifiers`); without one, by its folded
name and town. So an identifier, once given, stays, and a second import of the same file appends nothing. Rows are read
and judged one by one, and published a few thousand at a time, each time with a checkpoint: an import that is broken off
has done part of its work, and run again does the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from pydantic import ValidationError

from node.directory.directory import Directory, LogSigner
from node.directory.folding import fold
from node.directory.model import Authority, Change, Deleted, Record, Register
from node.directory.rows import (
    AuthorityRow,
    BadRow,
    RegisterRow,
    Row,
    authority_from,
    complaint,
    id_of,
    parse,
    read_rows,
    register_from,
    remarks,
)
from node.ids import AuthorityId, NodeId, state_of

AT_ONCE: Final = 2000  # entries under one checkpoint: a node beside it waits no longer than these take to write
Verdict = Literal["new", "changed", "unchanged", "refused", "other node", "missing", "deleted"]
_WORDS: Final = re.compile(r"\w+")
_SEVERAL: Final = AuthorityId("")  # a number or a name that several bodies share recognises none of them


class _Makes(Protocol):
    def __call__(self, row: Any, base: Any, name: AuthorityId, node: NodeId, /) -> Authority | Register: ...


@dataclass(frozen=True, slots=True)
class Intake:
    """What kind of records a file holds, and how a row makes one."""

    kind: Literal["authority", "register"]
    row: type[AuthorityRow | RegisterRow]
    make: _Makes

    @property
    def columns(self) -> frozenset[str]:
        """The names of everything a row may say."""
        return frozenset({*self.row.model_fields, "sources", "id_scheme", "id_value"})


AUTHORITIES: Final = Intake("authority", AuthorityRow, authority_from)
REGISTERS: Final = Intake("register", RegisterRow, register_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of one row, or of a record that no row speaks of."""

    verdict: Verdict
    line: int = 0
    id: AuthorityId | None = None
    name: str = ""
    reason: str = ""
    changed: tuple[str, ...] = ()  # names of fields
    matched: str = ""  # by what else than its identifier it was recognised
    remarks: tuple[str, ...] = ()
    change: Change | None = field(default=None, repr=False)


@dataclass(slots=True)
class Known:
    """What a State's records can be recognised by, whatever node hosts them; about 400 bytes a record."""

    ids: dict[AuthorityId, NodeId] = field(default_factory=dict)
    numbers: dict[tuple[str, str], AuthorityId] = field(default_factory=dict)
    names: dict[str, AuthorityId] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Known:
        """All of them."""
        known = cls()
        for record in records:
            if isinstance(record, Authority | Register):
                known.add(record)
        return known

    def add(self, record: Authority | Register) -> None:
        """One more."""
        self.ids[record.id] = record.node
        for number in record.identifiers.items():
            self._note(self.numbers, number, record.id)
        self._note(self.names, name_key(record.name, _town(record)), record.id)

    @staticmethod
    def _note(index: dict[Any, AuthorityId], key: object, name: AuthorityId) -> None:
        index[key] = name if index.get(key, name) == name else _SEVERAL

    def recognise(self, row: AuthorityRow | RegisterRow) -> tuple[AuthorityId | None, str]:
        """The record a row without an identifier speaks of, and by what it is recognised."""
        for scheme, value in row.identifiers.items():
            if found := self.numbers.get((scheme, value)):
                return found, f"matched by {scheme} {value}"
        town = row.city if isinstance(row, AuthorityRow) else row.operator_name
        found = self.names.get(name_key(row.name, town))
        return (found, "matched by name") if found else (None, "")


def name_key(name: str, town: str) -> str:
    """A name and a town, however they are written."""
    return f"{' '.join(_WORDS.findall(fold(name)))}|{' '.join(_WORDS.findall(fold(town)))}"


def _town(record: Authority | Register) -> str:
    return record.address.get("city", "") if isinstance(record, Authority) else record.operator_name


@dataclass(slots=True)
class Judge:
    """Says of rows what they would change in the records of one node, and publishes nothing.

    `after` may change what a row made: an overlay does.
    """

    intake: Intake
    node: NodeId
    known: Known
    find: Callable[[AuthorityId], Authority | Register | None]
    after: Callable[[Any], Authority | Register] = lambda record: record
    seen: dict[AuthorityId, int] = field(default_factory=dict)  # -> the line that spoke of it
    has_unreadable: bool = False

    def row(self, row: Row | BadRow) -> Outcome:
        """One row."""
        parsed = row if isinstance(row, BadRow) else parse(self.intake.row, row)
        if isinstance(parsed, BadRow):
            return self._refused(row, parsed.reason)
        name, matched, fault = self._name(parsed)
        if name is None:
            return self._refused(row, fault, name=parsed.name)
        if name in self.seen:
            return self._refused(row, f"the same as line {self.seen[name]}", name=parsed.name)
        self.seen[name] = row.line
        base = self.find(name)
        if base is not None and base.node != self.node:
            return self._elsewhere(base, row.line)
        try:
            made = self.after(self.intake.make(parsed, base, name, self.node))
        except ValidationError as error:
            return self._refused(row, complaint(error), name=parsed.name)
        return self._outcome(base, made, line=row.line, matched=matched, remarks=tuple(remarks(parsed, made)))

    def record(self, made: Authority | Register) -> Outcome:
        """A record that comes from elsewhere than a row."""
        self.seen[made.id] = 0
        return self._outcome(self.find(made.id), made, line=0, matched="", remarks=())

    def missing(self) -> Iterator[Outcome]:
        """The records that no row spoke of."""
        ours = {name for name, node in self.known.ids.items() if node == self.node}
        for name in sorted(ours - self.seen.keys()):
            found = self.find(name)
            if found is not None:
                gone = Deleted(name, self.intake.kind)
                yield Outcome(verdict="missing", id=name, name=found.name, change=gone)

    def _name(self, row: AuthorityRow | RegisterRow) -> tuple[AuthorityId | None, str, str]:
        """Identifier, by what it was recognised, or why there is none."""
        if row.id:
            own = id_of(row.id, self.node)
            return own, "", f"{row.id[:60]} is no identifier of {self.node[:2]}"
        found, matched = self.known.recognise(row)
        return found or self._minted(row), matched, ""

    def _minted(self, row: AuthorityRow | RegisterRow) -> AuthorityId:
        """A new identifier: the same for the same row however often it is tried, and nobody else's."""
        town = row.city if isinstance(row, AuthorityRow) else row.operator_name
        text = "|".join([name_key(row.name, town), *(f"{s}={v}" for s, v in sorted(row.identifiers.items()))])
        for attempt in range(100):
            digits = hashlib.sha256(f"{self.node}|{self.intake.kind}|{text}|{attempt}".encode()).hexdigest()[:10]
            name = AuthorityId(f"{self.node[:2]}:{digits}")
            if name not in self.known.ids:
                return name
        raise AssertionError("a hundred digests in a row are taken")

    def _outcome(
        self, base: Authority | Register | None, made: Authority | Register, *, line: int, matched: str, remarks: Any
    ) -> Outcome:
        if made.node != self.node:
            return self._elsewhere(made, line)
        changed = () if base is None else tuple(
            one.name for one in fields(made) if getattr(made, one.name) != getattr(base, one.name)
        )  # fmt: skip
        verdict: Verdict = "new" if base is None else "changed" if changed else "unchanged"
        return Outcome(
            verdict=verdict, line=line, id=made.id, name=made.name, changed=changed, matched=matched, remarks=remarks,
            change=None if verdict == "unchanged" else made,
        )  # fmt: skip

    def _elsewhere(self, record: Authority | Register, line: int) -> Outcome:
        reason = f"belongs to {record.node}"
        return Outcome(verdict="other node", line=line, id=record.id, name=record.name, reason=reason)

    def _refused(self, row: Row | BadRow, reason: str, *, name: str = "") -> Outcome:
        self.has_unreadable = True
        return Outcome(verdict="refused", line=row.line, name=name[:120], reason=reason)


def judge_for(
    directory: Directory, intake: Intake, node: NodeId, *, after: Callable[[Any], Any] = lambda record: record
) -> Judge:
    """A judge of rows for the records of one node, as they are in the directory now."""

    def find(name: AuthorityId) -> Authority | Register | None:
        found = directory.replica.find(name) if intake is AUTHORITIES else directory.record("register", name)
        record = found[0] if isinstance(found, tuple) else found
        return record if isinstance(record, Authority | Register) else None

    return Judge(intake, node, Known.of(directory.each(intake.kind, state_of(node))), find, after)


def judged(
    judge: Judge, path: Path, extra: Sequence[Authority | Register], progress: Callable[[int], None]
) -> Iterator[Outcome]:
    """What becomes of every row of a file, and of the records that come beside it."""
    for row in read_rows(path, progress):
        yield judge.row(row)
    for record in extra:
        yield judge.record(record)


def publish(
    directory: Directory, node: NodeId, signer: LogSigner, outcomes: Iterable[Outcome], *, collection: str
) -> Iterator[Outcome]:
    """Publish what the outcomes change, some thousands at a time; each outcome is given on once it is in the log."""
    waiting: list[Outcome] = []
    changes = 0
    for outcome in outcomes:
        waiting.append(outcome)
        changes += outcome.change is not None
        if changes >= AT_ONCE or len(waiting) >= 5 * AT_ONCE:
            yield from _published(directory, node, signer, waiting, collection)
            waiting, changes = [], 0
    yield from _published(directory, node, signer, waiting, collection)


def _published(
    directory: Directory, node: NodeId, signer: LogSigner, outcomes: Sequence[Outcome], collection: str
) -> Sequence[Outcome]:
    changes = [outcome.change for outcome in outcomes if outcome.change is not None]
    if changes:
        directory.publish(node, changes, signer, collection=collection)
    return outcomes
