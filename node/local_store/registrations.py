"""Registrations of authorities, requests for access, what was decided, and what still has to enter the directory's log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.ids import AuthorityId
from node.local_store.tables import Base


class RegistrationRow(Base):
    """An invitation and what became of it; also an authority that its coordinator registers itself.

    `profile` and `first_user` are JSON. The first user's name and login leave this row when it is decided.
    """

    __tablename__ = "registrations"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    state: Mapped[str]  # invited, submitted, validated, rejected, withdrawn
    coordinator: Mapped[str] = mapped_column(index=True)  # who invites and validates
    code: Mapped[str | None] = mapped_column(unique=True)  # SHA-256 of the link's code; NULL without an invitation
    name: Mapped[str]  # of the authority it is meant for
    scopes: Mapped[str]  # areas and procedures it is meant for, comma separated
    language: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    profile: Mapped[str] = mapped_column(default="")
    asked: Mapped[str] = mapped_column(default="")  # access asked for, JSON: scope -> roles
    first_user: Mapped[str] = mapped_column(default="")
    password: Mapped[str] = mapped_column(default="")  # argon2id
    submitted_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None] = mapped_column(index=True)
    decided_by: Mapped[int | None]  # user; NULL: the operator, by a command
    reason: Mapped[str] = mapped_column(default="")
    authority: Mapped[str] = mapped_column(default="")  # minted when validated


class AccessRow(Base):
    """A request for access to an area or procedure, and its decision."""

    __tablename__ = "access_requests"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    authority: Mapped[str] = mapped_column(index=True)
    scope: Mapped[str]
    roles: Mapped[str]  # asked for, comma separated
    state: Mapped[str]  # requested, granted, refused
    coordinator: Mapped[str] = mapped_column(index=True)  # who decides
    asked_at: Mapped[datetime]
    asked_by: Mapped[int | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[int | None]
    reason: Mapped[str] = mapped_column(default="")


class DecisionRow(Base):
    """What was decided about an authority and why, for its coordinator and its own administrator."""

    __tablename__ = "decisions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    authority: Mapped[str]
    act: Mapped[str]  # validated, suspended, lifted, left, access-granted, access-refused, access-withdrawn
    subject: Mapped[str]  # codes only
    reason: Mapped[str]
    at: Mapped[datetime]
    coordinator: Mapped[str]  # who decided; empty: the operator

    __table_args__ = (Index("ix_decisions_authority", "authority", "id"),)


class PasswordCodeRow(Base):
    """A link with which a user sets a new password, once. The code is stored as SHA-256."""

    __tablename__ = "password_codes"

    code: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    expires_at: Mapped[datetime]


class PendingChangeRow(Base):
    """A change of the directory, written with the act that makes it; it enters the log after the commit, in this order."""

    __tablename__ = "directory_changes"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    authority: Mapped[str] = mapped_column(index=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)  # as the log's entry will have it


def by_code(session: Session, code: str) -> RegistrationRow | None:
    return session.scalar(select(RegistrationRow).where(RegistrationRow.code == code))


def of_coordinator(session: Session, coordinator: AuthorityId) -> tuple[RegistrationRow, ...]:
    """Newest first, those under way before those decided."""
    query = (
        select(RegistrationRow)
        .where(RegistrationRow.coordinator == coordinator)
        .order_by(RegistrationRow.decided_at.is_not(None), RegistrationRow.id.desc())
        .limit(200)
    )
    return tuple(session.scalars(query))


def hand_over(session: Session, coordinator: AuthorityId, to: AuthorityId) -> None:
    """What waits for a coordinator waits for another one."""
    for table, states in ((RegistrationRow, ("invited", "submitted")), (AccessRow, ("requested",))):
        waiting = update(table).where(table.coordinator == coordinator, table.state.in_(states))
        session.execute(waiting.values(coordinator=to))


def listed(session: Session) -> list[RegistrationRow]:
    """All, newest first; for the operator's list."""
    return list(session.scalars(select(RegistrationRow).order_by(RegistrationRow.id.desc()).limit(1000)))


def forget_decided(session: Session, before: datetime) -> None:
    """Forget what was decided, withdrawn or ran out before an instant, and what nobody decided since it was submitted."""
    session.execute(
        delete(RegistrationRow).where(
            (RegistrationRow.decided_at < before)
            | ((RegistrationRow.state == "invited") & (RegistrationRow.expires_at < before))
            | ((RegistrationRow.state == "submitted") & (RegistrationRow.submitted_at < before))
        )
    )


def access_of(session: Session, authority: AuthorityId) -> tuple[AccessRow, ...]:
    """An authority's requests, newest first."""
    query = select(AccessRow).where(AccessRow.authority == authority).order_by(AccessRow.id.desc()).limit(200)
    return tuple(session.scalars(query))


def open_access(session: Session, coordinator: AuthorityId) -> tuple[AccessRow, ...]:
    """Requests that wait for a coordinator, oldest first."""
    query = select(AccessRow).where(AccessRow.coordinator == coordinator, AccessRow.state == "requested")
    return tuple(session.scalars(query.order_by(AccessRow.id).limit(500)))


def decisions_of(session: Session, authority: AuthorityId) -> tuple[DecisionRow, ...]:
    """Newest first."""
    query = select(DecisionRow).where(DecisionRow.authority == authority).order_by(DecisionRow.id.desc()).limit(50)
    return tuple(session.scalars(query))


def next_change(session: Session) -> tuple[int, bytes] | None:
    """The first change that is not in the log yet."""
    found = session.scalar(select(PendingChangeRow).order_by(PendingChangeRow.id).limit(1))
    return (found.id, found.body) if found else None


def pending_change(session: Session, authority: AuthorityId) -> bytes | None:
    """The newest change of an authority that is not in the log yet."""
    query = select(PendingChangeRow.body).where(PendingChangeRow.authority == authority)
    return session.scalar(query.order_by(PendingChangeRow.id.desc()).limit(1))


def pending_authorities(session: Session) -> Sequence[str]:
    """The authorities with changes on their way."""
    return tuple(session.scalars(select(PendingChangeRow.authority).distinct()))


def drop_change(session: Session, change: int) -> None:
    session.execute(delete(PendingChangeRow).where(PendingChangeRow.id == change))


def pending_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(PendingChangeRow)) or 0


def drop_codes(session: Session, user: int) -> None:
    """Make a user's password links worthless."""
    session.execute(delete(PasswordCodeRow).where(PasswordCodeRow.user_id == user))


def sweep_codes(session: Session, at: datetime) -> None:
    session.execute(delete(PasswordCodeRow).where(PasswordCodeRow.expires_at < at))
