"""Drafts: acts not taken yet, sealed, known to this node alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import LargeBinary, delete, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.ids import AuthorityId, CaseNumber
from node.local_store.cases import CaseRow
from node.local_store.tables import Base, among


class DraftRow(Base):
    """A draft of a new case (`step` empty) or of a step within one; one an authority, case and step."""

    __tablename__ = "drafts"

    authority: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    procedure: Mapped[str]
    version: Mapped[int]
    key: Mapped[bytes] = mapped_column(LargeBinary)  # wrapped
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    edition: Mapped[int] = mapped_column(default=1)  # of the draft: counts its savings
    user: Mapped[int]
    login: Mapped[str]
    updated_at: Mapped[datetime]


def find(session: Session, authority: AuthorityId, number: CaseNumber, step: str) -> DraftRow | None:
    return session.get(DraftRow, (authority, number, step))


def named(session: Session, number: CaseNumber, step: str) -> tuple[DraftRow, ...]:
    """Every authority's draft of a step of a case, or of the new case."""
    return tuple(session.scalars(select(DraftRow).where(DraftRow.number == number, DraftRow.step == step)))


def of_authorities(session: Session, authorities: Sequence[AuthorityId]) -> tuple[DraftRow, ...]:
    """Newest first."""
    query = select(DraftRow).where(among(DraftRow.authority, authorities))
    return tuple(session.scalars(query.order_by(DraftRow.updated_at.desc()).limit(500)))


def count_of(session: Session, authority: AuthorityId) -> int:
    """How many drafts an authority has."""
    return session.scalar(select(func.count()).select_from(DraftRow).where(DraftRow.authority == authority)) or 0


def of_case(session: Session, authority: AuthorityId, number: CaseNumber) -> tuple[DraftRow, ...]:
    query = select(DraftRow).where(DraftRow.authority == authority, DraftRow.number == number)
    return tuple(session.scalars(query))


def of_number(session: Session, number: CaseNumber) -> tuple[DraftRow, ...]:
    """All drafts with a case number."""
    return tuple(session.scalars(select(DraftRow).where(DraftRow.number == number)))


def forget(session: Session, authority: AuthorityId, number: CaseNumber, step: str) -> None:
    session.execute(
        delete(DraftRow).where(DraftRow.authority == authority, DraftRow.number == number, DraftRow.step == step)
    )


def forget_blocked(session: Session, at: datetime) -> None:
    """Forget drafts within cases whose personal data is out of reach by now; closure alone keeps what was typed."""
    over = select(CaseRow.number).where(
        or_(CaseRow.block_at <= at, CaseRow.delete_at <= at), CaseRow.number.is_not(None)
    )
    session.execute(delete(DraftRow).where(DraftRow.number.in_(over)))


def pseudonymise(session: Session, user: int, login: str) -> None:
    """Write `login` where drafts have the login of a user."""
    session.execute(update(DraftRow).where(DraftRow.user == user).values(login=login))
