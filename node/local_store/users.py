"""Users, sessions and tokens at rest: secrets only as hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.ids import AuthorityId
from node.local_store.tables import Base


class UserRow(Base):
    """A user of one authority. `login` is stored folded to lower case."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    login: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password: Mapped[str]  # argon2id, in its own encoding
    authority: Mapped[str] = mapped_column(index=True)
    roles: Mapped[str]  # comma separated
    language: Mapped[str]
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class SessionRow(Base):
    """A signed-in browser. The cookie's secret is stored as SHA-256."""

    __tablename__ = "sessions"

    secret: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    csrf: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ends_at: Mapped[datetime]


class TokenRow(Base):
    """A token of a national system, stored as SHA-256."""

    __tablename__ = "tokens"

    token: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    label: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ThrottleRow(Base):
    """Failed sign-ins of one name or from one address."""

    __tablename__ = "throttles"

    subject: Mapped[str] = mapped_column(primary_key=True)  # login:… or source:…, as SHA-256
    failures: Mapped[int]
    locked_until: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(index=True)


def by_login(session: Session, login: str) -> UserRow | None:
    return session.scalar(select(UserRow).where(UserRow.login == login))


def of_authority(session: Session, authority: AuthorityId) -> tuple[UserRow, ...]:
    return tuple(session.scalars(select(UserRow).where(UserRow.authority == authority).order_by(UserRow.login)))


def listed(session: Session) -> list[UserRow]:
    """All users, by login; for the operator's list."""
    return list(session.scalars(select(UserRow).order_by(UserRow.login)))


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(UserRow)) or 0


def open_of_authority(session: Session, authority: AuthorityId) -> tuple[UserRow, ...]:
    """Those who may sign in, by name."""
    return tuple(row for row in of_authority(session, authority) if row.closed_at is None)


def closed_before(session: Session, at: datetime) -> tuple[UserRow, ...]:
    """Those who left before an instant and are not erased yet."""
    return tuple(session.scalars(select(UserRow).where(UserRow.closed_at < at, UserRow.password != "")))


def erase(row: UserRow, pseudonym: str) -> None:
    """Nothing personal is left of a user; the number stays taken, for the audit trail tells users by it."""
    row.login, row.name, row.password, row.roles = pseudonym, "", "", ""


def end_sessions_of(session: Session, user: int) -> None:
    session.execute(delete(SessionRow).where(SessionRow.user_id == user))


def sweep(session: Session, at: datetime, *, throttles_before: datetime) -> None:
    """Forget sessions that are over and throttles that no longer bind."""
    session.execute(delete(SessionRow).where(SessionRow.expires_at < at))
    session.execute(delete(ThrottleRow).where(ThrottleRow.updated_at < throttles_before))


def drop_tokens(session: Session, user: int, label: str | None) -> int:
    """Revoke a user's tokens, or those with a label; how many."""
    wanted = select(TokenRow).where(TokenRow.user_id == user)
    rows = session.scalars(wanted if label is None else wanted.where(TokenRow.label == label)).all()
    for row in rows:
        session.delete(row)
    return len(rows)
