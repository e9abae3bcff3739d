"""Authorities that move between nodes of their State: what this node has begun, accepted, and caught up with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.ids import AuthorityId, CaseId, EventId, NodeId
from node.local_store.cases import CaseRow, SentRow, StandingRow
from node.local_store.tables import Base


class LeavingRow(Base):
    """An authority of ours that leaves, or has left: nothing is signed for it here any more."""

    __tablename__ = "leaving"

    authority: Mapped[str] = mapped_column(primary_key=True)
    to_node: Mapped[str]
    nth: Mapped[int]  # the how manieth move of this authority it is
    at: Mapped[datetime]


class AcceptedRow(Base):
    """A case that comes with an authority, and the `moved` that this node accepted and goes on from."""

    __tablename__ = "accepted_moves"

    authority: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(primary_key=True)
    moved: Mapped[str]
    nth: Mapped[int]


class CaughtUpRow(Base):
    """How many moves of an authority the cases here have been brought up to date with."""

    __tablename__ = "caught_up"

    authority: Mapped[str] = mapped_column(primary_key=True)
    moves: Mapped[int]


@dataclass(frozen=True, slots=True)
class Leaving:
    """Where an authority of ours goes, and the how manieth of its moves that is."""

    to: NodeId
    nth: int


_leaving = LeavingRow.__table__.c
_LEAVING: Final = select(_leaving.authority, _leaving.to_node, _leaving.nth)
_accepted = AcceptedRow.__table__.c


def leaving(session: Session) -> Mapping[AuthorityId, Leaving]:
    """The authorities that leave this node or have left it."""
    rows = session.connection().execute(_LEAVING)
    return {AuthorityId(row.authority): Leaving(NodeId(row.to_node), row.nth) for row in rows}


def begin(session: Session, authority: AuthorityId, going: Leaving, *, at: datetime) -> None:
    """Note that an authority leaves; the same again changes nothing."""
    row = {"authority": authority, "to_node": going.to, "nth": going.nth, "at": at}
    statement = insert(LeavingRow).values(row)
    newer = statement.on_conflict_do_update(
        index_elements=["authority"], set_=row, where=_leaving.nth < statement.excluded.nth
    )
    session.execute(newer)


def stay(session: Session, authority: AuthorityId) -> None:
    """Forget that an authority left: it comes back."""
    session.execute(delete(LeavingRow).where(LeavingRow.authority == authority))


def accept(session: Session, authority: AuthorityId, nth: int, moved: Mapping[CaseId, EventId]) -> None:
    """Remember the `moved` of each case that this node goes on from; the same again changes nothing."""
    rows = [{"authority": authority, "case_id": case, "moved": event, "nth": nth} for case, event in moved.items()]
    if rows:
        statement = insert(AcceptedRow)
        newer = statement.on_conflict_do_update(
            index_elements=["authority", "case_id"],
            set_={"moved": statement.excluded.moved, "nth": statement.excluded.nth},
            where=_accepted.nth < statement.excluded.nth,
        )
        session.execute(newer, rows)


def accepted(session: Session, case: CaseId) -> Mapping[AuthorityId, EventId]:
    """Per authority of ours that came with this case: the `moved` that was accepted."""
    query = select(_accepted.authority, _accepted.moved).where(_accepted.case_id == case)
    return {AuthorityId(row.authority): EventId(row.moved) for row in session.connection().execute(query)}


def cases_of(session: Session, authority: AuthorityId) -> tuple[CaseId, ...]:
    """The cases of one of our authorities that still have their content."""
    query = select(StandingRow.case_id).where(StandingRow.authority == authority).order_by(StandingRow.case_id)
    return tuple(CaseId(case) for case in session.scalars(query))


def cases_touched(session: Session, authority: AuthorityId, homes: Iterable[NodeId]) -> tuple[CaseId, ...]:
    """The cases in which the move of an authority changes what is owed: its own, and those its nodes were sent."""
    sent = select(SentRow.case_id).where(SentRow.node.in_(list(homes)))
    own = select(StandingRow.case_id).where(StandingRow.authority == authority)
    coming = select(AcceptedRow.case_id).where(AcceptedRow.authority == authority)
    query = select(CaseRow.case_id).where(
        CaseRow.key.is_not(None),
        or_(CaseRow.case_id.in_(sent), CaseRow.case_id.in_(own), CaseRow.case_id.in_(coming), CaseRow.held > 0),
    )
    return tuple(CaseId(case) for case in session.scalars(query.order_by(CaseRow.case_id)))


def caught_up(session: Session) -> Mapping[AuthorityId, int]:
    """How many moves of each authority that moved the cases here know of."""
    return {AuthorityId(row.authority): row.moves for row in session.scalars(select(CaughtUpRow))}


def catch_up(session: Session, authority: AuthorityId, count: int) -> None:
    """Note that the cases here know of so many moves of an authority."""
    if not session.execute(update(CaughtUpRow).where(CaughtUpRow.authority == authority).values(moves=count)).rowcount:  # type: ignore[attr-defined]
        session.add(CaughtUpRow(authority=authority, moves=count))
