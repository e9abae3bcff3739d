"""The audit trail: who did or read what, when, why. Written in the transaction of the act; never personal data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Index, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.ids import AuthorityId, CaseId
from node.local_store.tables import Base


class AuditRow(Base):
    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    act: Mapped[str]
    user: Mapped[int | None]  # NULL: the node itself, or a peer
    login: Mapped[str]
    authority: Mapped[str]
    case_id: Mapped[str]
    subject: Mapped[str]  # step, file digest, parts read: codes and ids only
    purpose: Mapped[str]

    __table_args__ = (Index("ix_audit_case", "case_id", "id"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the trail."""

    at: datetime
    act: str  # step, step-arrived, read, read-file, draft, sign-in, …
    user: int | None = None
    login: str = ""
    authority: AuthorityId | None = None
    case: CaseId | None = None
    subject: str = ""
    purpose: str = ""


def record(session: Session, entry: AuditEntry) -> None:
    """Add a line; it is stored if the act is."""
    values = {
        "at": entry.at,
        "act": entry.act,
        "user": entry.user,
        "login": entry.login,
        "authority": entry.authority or "",
        "case_id": entry.case or "",
        "subject": entry.subject,
        "purpose": entry.purpose,
    }
    session.connection().execute(_RECORD, values)


_RECORD: Final = insert(AuditRow)


def pseudonymise(session: Session, user: int, login: str) -> None:
    """Write `login` where the trail has the login of a user: who it was is no longer told by it."""
    session.execute(update(AuditRow).where(AuditRow.user == user).values(login=login))


def entries_of(session: Session, case: CaseId) -> tuple[AuditEntry, ...]:
    """The trail of one case, oldest first."""
    rows = session.scalars(select(AuditRow).where(AuditRow.case_id == case).order_by(AuditRow.id))
    return tuple(_entry(row) for row in rows)


def latest(session: Session, limit: int = 100) -> tuple[AuditEntry, ...]:
    """The newest lines, newest first."""
    return tuple(_entry(row) for row in session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)))


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        act=row.act,
        user=row.user,
        login=row.login,
        authority=AuthorityId(row.authority) if row.authority else None,
        case=CaseId(row.case_id) if row.case_id else None,
        subject=row.subject,
        purpose=row.purpose,
    )
