"""Cases at rest: signed events, sealed parts, who was sent what, and the columns that lists are read from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, LargeBinary, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.domain.events import SignedEvent, parse_event
from node.ids import AuthorityId, CaseId, CaseNumber, EventId, NodeId
from node.local_store.tables import Base, among


class CaseRow(Base):
    """One case: what lists show, folded again at every change, and its wrapped key (NULL once erased)."""

    __tablename__ = "cases"

    case_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str | None] = mapped_column(unique=True)  # NULL until the first event passed the door
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    procedure: Mapped[str] = mapped_column(default="")
    version: Mapped[int] = mapped_column(default=0)
    digest: Mapped[str] = mapped_column(default="")
    kind: Mapped[str] = mapped_column(default="")
    area: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(default="")
    final: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    block_at: Mapped[datetime | None]
    delete_at: Mapped[datetime | None] = mapped_column(index=True)
    held: Mapped[int] = mapped_column(default=0)  # events that wait at the door


class EventRow(Base):
    """A signed event, as it came. `door` empty: it passed the checks before the fold; else why it is held."""

    __tablename__ = "events"

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    event_id: Mapped[str] = mapped_column(unique=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), index=True)
    event: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    certificate: Mapped[str]
    door: Mapped[str] = mapped_column(default="")
    sender: Mapped[str] = mapped_column(default="")  # node that brought it; empty: taken here
    user: Mapped[int | None]
    login: Mapped[str] = mapped_column(default="")
    only_to: Mapped[str] = mapped_column(default="")  # nodes a `receipt` goes to, comma separated
    arrived_at: Mapped[datetime]


class PartRow(Base):
    """Content for one audience of one event, sealed with the case's key (NULL once deleted)."""

    __tablename__ = "parts"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    audience: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), index=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    checked: Mapped[bool]  # against the event's commitment; False while the event is not here
    used: Mapped[bool] = mapped_column(default=False)  # some authority here was entitled to it since it came
    arrived_at: Mapped[datetime]


class SentRow(Base):
    """What was given to the outbox for which node; without a message: owed by another, who knew of that party."""

    __tablename__ = "sent"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)  # event id, event id/audience, file:sha256
    message_id: Mapped[str] = mapped_column(default="", index=True)


class OutgoingRow(Base):
    """A message's content between its posting and its building, sealed with the case's key."""

    __tablename__ = "outgoing"

    message_id: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), index=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class StandingRow(Base):
    """How one of our authorities stands in a case: what its lists show."""

    __tablename__ = "standings"

    authority: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    roles: Mapped[str]  # comma separated; empty: a former party
    our_turn: Mapped[bool]
    opened: Mapped[bool]  # this authority took the first step
    acted: Mapped[bool]  # it took any step
    other: Mapped[str]
    others: Mapped[int]
    facts: Mapped[str]  # JSON
    due_name: Mapped[str] = mapped_column(default="")
    due_role: Mapped[str] = mapped_column(default="")
    due_day: Mapped[str] = mapped_column(default="")
    due_at: Mapped[datetime | None]
    final: Mapped[bool]
    updated_at: Mapped[datetime]

    __table_args__ = (Index("ix_standings_list", "authority", "updated_at"),)


class DeadlineRow(Base):
    """A running deadline of a case here."""

    __tablename__ = "deadlines"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    day: Mapped[str]
    ends: Mapped[datetime] = mapped_column(index=True)


class RefusedRow(Base):
    """A message from a peer that said nothing we could store: receipted, remembered, for the operator."""

    __tablename__ = "refused_messages"

    message_id: Mapped[str] = mapped_column(primary_key=True)
    sender: Mapped[str]
    code: Mapped[str]
    at: Mapped[datetime]


class NumberRow(Base):
    """The last case number drawn in a year."""

    __tablename__ = "numbers"

    year: Mapped[int] = mapped_column(primary_key=True)
    last: Mapped[int]


class OnceRow(Base):
    """The outcome of an act that its caller may repeat."""

    __tablename__ = "once"

    user: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    outcome: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A signed event with how it came here."""

    signed: SignedEvent
    door: str
    sender: str
    login: str
    only_to: frozenset[NodeId]
    arrived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPart:
    event: EventId
    audience: str
    salt: bytes
    sealed: bytes | None
    checked: bool
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A row of StandingRow."""

    authority: AuthorityId
    case_id: CaseId
    roles: str
    our_turn: bool
    opened: bool
    acted: bool
    other: str
    others: int
    facts: str
    due_name: str
    due_role: str
    due_day: str
    due_at: datetime | None
    final: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A row of DeadlineRow."""

    case_id: CaseId
    name: str
    role: str
    day: str
    ends: datetime


# Statements of every act, built once: building and compiling them costs more than running them.
_event, _part = EventRow.__table__.c, PartRow.__table__.c
_ADD_EVENT: Final = insert(EventRow)
_EVENTS: Final = select(EventRow.__table__).where(_event.case_id == bindparam("case")).order_by(_event.position)
_IS_HELD: Final = select(_event.position).where(_event.event_id == bindparam("event"))
_PARTS: Final = select(PartRow.__table__).where(_part.case_id == bindparam("case"))
_this_part = (_part.event_id == bindparam("event")) & (_part.audience == bindparam("of"))
_MARK_CHECKED: Final = update(PartRow).where(_this_part).values(checked=True)
_MARK_USED: Final = update(PartRow).where(_this_part).values(used=True)
_new_part = insert(PartRow)
_ADD_PART: Final = _new_part.on_conflict_do_update(
    index_elements=["event_id", "audience"],
    set_={name: _new_part.excluded[name] for name in ("salt", "sealed", "checked", "used", "arrived_at")},
    where=_part.sealed.is_(None) & (_part.case_id == _new_part.excluded.case_id),
)
_SENT: Final = select(SentRow.__table__.c.node, SentRow.__table__.c.item).where(
    SentRow.__table__.c.case_id == bindparam("case")
)
_MARK_SENT: Final = insert(SentRow)
_OUTGOING: Final = insert(OutgoingRow)
_FORGET_STANDINGS: Final = delete(StandingRow).where(StandingRow.__table__.c.case_id == bindparam("case"))
_ADD_STANDING: Final = insert(StandingRow)
_STANDINGS: Final = select(*(StandingRow.__table__.c[field.name] for field in fields(Standing))).where(
    StandingRow.__table__.c.case_id == bindparam("case")
)
_FORGET_DEADLINES: Final = delete(DeadlineRow).where(DeadlineRow.__table__.c.case_id == bindparam("case"))
_ADD_DEADLINE: Final = insert(DeadlineRow)
_DEADLINES: Final = select(*(DeadlineRow.__table__.c[field.name] for field in fields(Running))).where(
    DeadlineRow.__table__.c.case_id == bindparam("case")
)
_OUTGOING_OF: Final = (
    select(OutgoingRow.__table__.c.case_id, OutgoingRow.__table__.c.sealed, CaseRow.__table__.c.key)
    .join(CaseRow.__table__, CaseRow.__table__.c.case_id == OutgoingRow.__table__.c.case_id)
    .where(OutgoingRow.__table__.c.message_id == bindparam("message"), CaseRow.__table__.c.key.is_not(None))
)
_once = OnceRow.__table__.c
_ONCE: Final = select(_once.digest, _once.outcome).where(_once.user == bindparam("by"), _once.key == bindparam("of"))
_REMEMBER: Final = insert(OnceRow)
_number = NumberRow.__table__.c
_DRAW: Final = (
    insert(NumberRow)
    .values(year=bindparam("year"), last=1)
    .on_conflict_do_update(index_elements=["year"], set_={"last": _number.last + 1})
    .returning(_number.last)
)
_BY_NUMBER: Final = select(CaseRow).where(CaseRow.number == bindparam("number"))
_CASE_OF_NUMBER: Final = select(CaseRow.__table__.c.case_id).where(CaseRow.__table__.c.number == bindparam("number"))


def find(session: Session, case: CaseId) -> CaseRow | None:
    return session.get(CaseRow, case)


def find_by_number(session: Session, number: CaseNumber) -> CaseRow | None:
    return session.scalar(_BY_NUMBER, {"number": number})


def case_of_number(session: Session, number: CaseNumber) -> CaseId | None:
    """The id of the case that has a number, without the case."""
    case = session.connection().execute(_CASE_OF_NUMBER, {"number": number}).scalar()
    return CaseId(case) if case else None


def draw_number(session: Session, node: NodeId, year: int) -> CaseNumber:
    """The next number of the year; a draft that is thrown away leaves a gap."""
    last = session.connection().execute(_DRAW, {"year": year}).scalar_one()
    return CaseNumber(f"{node}-{year}-{last:06d}")


def add_event(session: Session, stored: StoredEvent, *, user: int | None = None) -> None:
    signed = stored.signed
    values = {
        "event_id": signed.event.id,
        "case_id": signed.event.case_id,
        "event": signed.event_bytes,
        "signature": signed.signature,
        "certificate": signed.certificate,
        "door": stored.door,
        "sender": stored.sender,
        "user": user,
        "login": stored.login,
        "only_to": ",".join(sorted(stored.only_to)),
        "arrived_at": stored.arrived_at,
    }
    session.connection().execute(_ADD_EVENT, values)


def events_of(session: Session, case: CaseId) -> tuple[StoredEvent, ...]:
    """Every event held, in the order of arrival."""
    rows = session.connection().execute(_EVENTS, {"case": case})
    return tuple(
        StoredEvent(
            signed=SignedEvent(
                event_bytes=row.event,
                event=parse_event(row.event, stored=True),
                signature=row.signature,
                certificate=row.certificate,
            ),
            door=row.door,
            sender=row.sender,
            login=row.login,
            only_to=frozenset(NodeId(node) for node in row.only_to.split(",") if node),
            arrived_at=row.arrived_at,
        )
        for row in rows
    )


def is_held(session: Session, event: EventId) -> bool:
    """Whether an event is stored here already."""
    return session.connection().execute(_IS_HELD, {"event": event}).first() is not None


def set_door(session: Session, event: EventId, door: str) -> None:
    session.execute(update(EventRow).where(EventRow.event_id == event).values(door=door))


def drop_event(session: Session, event: EventId) -> None:
    """Forget an event that turned out forged while it was held."""
    session.execute(delete(EventRow).where(EventRow.event_id == event))
    session.execute(delete(PartRow).where(PartRow.event_id == event))


def cases_with_held_events(session: Session) -> tuple[CaseId, ...]:
    return tuple(CaseId(c) for c in session.scalars(select(CaseRow.case_id).where(CaseRow.held > 0)))


def count_held(session: Session, case: CaseId) -> int:
    count = select(func.count()).select_from(EventRow).where(EventRow.case_id == case, EventRow.door != "")
    return session.scalar(count) or 0


def add_part(session: Session, case: CaseId, part: SealedPart, *, at: datetime) -> None:
    """Store a part. One that is here stays as it is; one that was deleted comes back, as its reader may have."""
    values = {
        "event_id": part.event,
        "audience": part.audience,
        "case_id": case,
        "salt": part.salt,
        "sealed": part.sealed,
        "checked": part.checked,
        "used": part.used,
        "arrived_at": at,
    }
    session.connection().execute(_ADD_PART, values)


def parts_of(session: Session, case: CaseId) -> dict[tuple[EventId, str], SealedPart]:
    rows = session.connection().execute(_PARTS, {"case": case})
    return {
        (EventId(row.event_id), row.audience): SealedPart(
            event=EventId(row.event_id),
            audience=row.audience,
            salt=row.salt,
            sealed=row.sealed,
            checked=row.checked,
            used=row.used,
        )
        for row in rows
    }


def mark_checked(session: Session, event: EventId, audience: str) -> None:
    session.connection().execute(_MARK_CHECKED, {"event": event, "of": audience})


def mark_used(session: Session, event: EventId, audience: str) -> None:
    session.connection().execute(_MARK_USED, {"event": event, "of": audience})


def drop_part(session: Session, event: EventId, audience: str) -> None:
    """Forget a part that does not match its commitment, so that the right one may still come."""
    session.execute(delete(PartRow).where(PartRow.event_id == event, PartRow.audience == audience))


def erase_part(session: Session, event: EventId, audience: str) -> None:
    """Delete a part's content for good; that it was here stays known."""
    session.execute(update(PartRow).where(PartRow.event_id == event, PartRow.audience == audience).values(sealed=None))


def sent_items(session: Session, case: CaseId) -> set[tuple[NodeId, str]]:
    rows = session.connection().execute(_SENT, {"case": case})
    return {(NodeId(row.node), row.item) for row in rows}


def messages_of(session: Session, case: CaseId) -> dict[tuple[NodeId, str], str]:
    """(node, item) -> message id, for what we sent."""
    rows = session.execute(
        select(SentRow.node, SentRow.item, SentRow.message_id).where(SentRow.case_id == case, SentRow.message_id != "")
    )
    return {(NodeId(node), item): message for node, item, message in rows}


def mark_sent(session: Session, case: CaseId, node: NodeId, items: Iterable[str], message_id: str) -> None:
    rows = [{"case_id": case, "node": node, "item": item, "message_id": message_id} for item in items]
    if rows:
        session.connection().execute(_MARK_SENT, rows)


def keep_outgoing(session: Session, case: CaseId, message_id: str, sealed: bytes) -> None:
    """Keep a message's content until it is built."""
    session.connection().execute(_OUTGOING, {"message_id": message_id, "case_id": case, "sealed": sealed})


def outgoing(session: Session, message_id: str) -> tuple[CaseId, bytes, bytes] | None:
    """A message's case, its sealed content, and the case's wrapped key; None once it is sent or erased."""
    row = session.connection().execute(_OUTGOING_OF, {"message": message_id}).first()
    return (CaseId(row.case_id), row.sealed, row.key) if row else None


def outcome_of(session: Session, user: int, key: str) -> tuple[str, str] | None:
    """Digest and outcome of an act that was done under this key."""
    row = session.connection().execute(_ONCE, {"by": user, "of": key}).first()
    return (row.digest, row.outcome) if row else None


def remember_outcome(session: Session, user: int, key: str, *, digest: str, outcome: str, at: datetime) -> None:
    """Keep what came of an act, for whoever asks it again with the same key."""
    values = {"user": user, "key": key, "digest": digest, "outcome": outcome, "at": at}
    session.connection().execute(_REMEMBER, values)


def unmark_sent(session: Session, case: CaseId, node: NodeId, items: Iterable[str]) -> None:
    """Forget that a node was given something it lost since: it is owed again if it may have it again."""
    session.execute(
        delete(SentRow).where(SentRow.case_id == case, SentRow.node == node, SentRow.item.in_(sorted(items)))
    )


def replace_standings(session: Session, case: CaseId, rows: Sequence[Standing]) -> None:
    _replace(session, case, rows, held=_STANDINGS, forget=_FORGET_STANDINGS, add=_ADD_STANDING)


def replace_deadlines(session: Session, case: CaseId, rows: Sequence[Running]) -> None:
    _replace(session, case, rows, held=_DEADLINES, forget=_FORGET_DEADLINES, add=_ADD_DEADLINE)


def _replace(
    session: Session, case: CaseId, rows: Sequence[Standing | Running], *, held: Any, forget: Any, add: Any
) -> None:
    """Write a case's rows anew if they changed: most receipts change none."""
    connection = session.connection()
    values = [{field.name: getattr(row, field.name) for field in fields(row)} for row in rows]
    before = {tuple(row) for row in connection.execute(held, {"case": case})}
    if before == {tuple(row.values()) for row in values}:
        return
    if before:
        connection.execute(forget, {"case": case})
    if values:
        connection.execute(add, values)


def standings(
    session: Session,
    authorities: Sequence[AuthorityId],
    *,
    kind: str = "",
    open_only: bool = False,
    before: tuple[datetime, str, str] | None = None,
    limit: int,
) -> list[tuple[StandingRow, CaseRow]]:
    """The cases of some authorities, one row for each party among them, last changed first.

    Args:
        before: (updated_at, case id, authority) of the last row shown.
    """
    query = select(StandingRow, CaseRow).join(CaseRow, CaseRow.case_id == StandingRow.case_id)
    query = query.where(among(StandingRow.authority, authorities), CaseRow.number.is_not(None))
    if kind:
        query = query.where(CaseRow.kind == kind)
    if open_only:
        query = query.where(StandingRow.final.is_(False))
    if before:
        place = (StandingRow.updated_at, StandingRow.case_id, StandingRow.authority)
        query = query.where(tuple_(*place) < tuple_(*before, types=[column.type for column in place]))
    order = (StandingRow.updated_at.desc(), StandingRow.case_id.desc(), StandingRow.authority.desc())
    query = query.order_by(*order).limit(limit)
    return [(standing, case) for standing, case in session.execute(query)]


def cases_to_delete(session: Session, at: datetime) -> tuple[CaseId, ...]:
    due = select(CaseRow.case_id).where(CaseRow.delete_at <= at, CaseRow.key.is_not(None))
    return tuple(CaseId(case) for case in session.scalars(due))


def erase_case(session: Session, case: CaseId) -> None:
    """Destroy a case's key and content; its events, which hold neither personal data nor text, stay for the proof."""
    session.execute(update(CaseRow).where(CaseRow.case_id == case).values(key=None))
    session.execute(update(PartRow).where(PartRow.case_id == case).values(sealed=None))
    for table in (OutgoingRow, StandingRow, DeadlineRow):
        session.execute(delete(table).where(table.case_id == case))


def pseudonymise(session: Session, user: int, login: str) -> None:
    """Write `login` where events taken here have the login of a user."""
    session.execute(update(EventRow).where(EventRow.user == user).values(login=login))
