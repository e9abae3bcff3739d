"""The users of an authority, looked after by its local data administrator (imi.md section 2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from node.casework import desk as at_desk
from node.casework.desk import LOCAL, Desk
from node.casework.errors import LastAdministrator, LoginTaken, MissingName, UnknownInvitation, UnknownRole, UnknownUser
from node.casework.registering import all_roles, hashed
from node.casework.views import Official
from node.ids import AuthorityId
from node.local_store import audit, cases, drafts, registrations, users
from node.local_store.audit import AuditEntry
from node.local_store.registrations import PasswordCodeRow
from node.local_store.users import UserRow

LINK_VALID: Final = timedelta(days=3)  # with which a password is set
BLOCKED: Final = timedelta(days=3 * 365 + 1)  # Reg. 1024/2012 Art. 15: three years after a user left
LONGEST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Colleague:
    """A user who may sign in."""

    id: int
    login: str
    name: str
    roles: tuple[str, ...]
    language: str


def listed(session: Session, authority: AuthorityId) -> tuple[Colleague, ...]:
    """Those who may sign in for an authority, by login."""
    return tuple(_colleague(row) for row in users.open_of_authority(session, authority))


def one(desk: Desk, session: Session, official: Official, user: int) -> Colleague:
    """A user of the official's authority, or a local administrator of one it validates. Raises UnknownUser and others."""
    return _colleague(_user(desk, session, official, user))


def add(
    desk: Desk,
    session: Session,
    official: Official,
    *,
    login: str,
    name: str,
    roles: Sequence[str],
    language: str,
    unusable: str,
    code: str,
) -> Colleague:
    """A user who sets the password with a link.

    Args:
        unusable: a hashed password that nobody knows.
        code: goes into the link and is stored as a hash.
    """
    at_desk.check_local(official)
    at_desk.stewarded(desk, session, official, official.authority)
    _check_text(login, name)
    kept = check_roles(desk, roles)
    if users.by_login(session, login) is not None:
        raise LoginTaken("another user has this login")
    now = desk.tools.clock.now()
    row = UserRow(
        login=login,
        name=name,
        password=unusable,
        authority=official.authority,
        roles=",".join(kept),
        language=language,
        created_at=now,
    )
    session.add(row)
    session.flush()
    session.add(PasswordCodeRow(code=hashed(code), user_id=row.id, expires_at=now + LINK_VALID))
    at_desk.record(desk, session, official, "user-created", str(row.id))
    return _colleague(row)


def change(
    desk: Desk, session: Session, official: Official, user: int, *, name: str, roles: Sequence[str]
) -> Colleague:
    """Another name, other roles; sessions under way see them at once. Raises LastAdministrator and others."""
    at_desk.check_local(official)
    row = _own_user(session, official, user)
    _check_text(row.login, name)
    kept = check_roles(desk, roles)
    if LOCAL not in kept:
        _check_not_last(session, row)
    row.name, row.roles = name, ",".join(kept)
    at_desk.record(desk, session, official, "user-changed", f"{row.id} {row.roles}")
    return _colleague(row)


def reset(desk: Desk, session: Session, official: Official, user: int, *, unusable: str, code: str) -> Colleague:
    """The old password is worthless at once, sessions end; a link sets a new one.

    For users of the own authority, and for local administrators of an authority that the official's one validates.
    """
    row = _user(desk, session, official, user)
    row.password = unusable
    users.end_sessions_of(session, row.id)
    users.drop_tokens(session, row.id, None)
    registrations.drop_codes(session, row.id)
    expires = desk.tools.clock.now() + LINK_VALID
    session.add(PasswordCodeRow(code=hashed(code), user_id=row.id, expires_at=expires))
    at_desk.record(desk, session, official, "password-reset", str(row.id), authority=AuthorityId(row.authority))
    return _colleague(row)


def close(desk: Desk, session: Session, official: Official, user: int) -> None:
    """The user signs in no more: blocked for three years, then erased. Raises LastAdministrator and others."""
    at_desk.check_local(official)
    row = _own_user(session, official, user)
    _check_not_last(session, row)
    _close(desk, session, row)
    at_desk.record(desk, session, official, "user-closed", str(row.id))


def close_all(desk: Desk, session: Session, authority: AuthorityId) -> None:
    """All users of an authority that left."""
    for row in users.open_of_authority(session, authority):
        _close(desk, session, row)


def user_of_code(desk: Desk, session: Session, code: str) -> UserRow:
    """Whose password a link sets. Raises UnknownInvitation."""
    link = session.get(PasswordCodeRow, hashed(code))
    row = session.get(UserRow, link.user_id) if link else None
    if link is None or row is None or row.closed_at is not None or link.expires_at <= desk.tools.clock.now():
        raise UnknownInvitation("this link was used before, or its time is over: ask for another")
    return row


def set_password(desk: Desk, session: Session, code: str, password: str) -> None:
    """The password, hashed, and the end of the link."""
    row = user_of_code(desk, session, code)
    row.password = password
    registrations.drop_codes(session, row.id)
    entry = AuditEntry(
        at=desk.tools.clock.now(),
        act="password-set",
        user=row.id,
        login=row.login,
        authority=AuthorityId(row.authority),
    )
    audit.record(session, entry)


def check_roles(desk: Desk, roles: Iterable[str]) -> tuple[str, ...]:
    """Roles in the list's order. Raises UnknownRole."""
    wanted, known = set(roles), all_roles(desk)
    if unknown := wanted - set(known):
        raise UnknownRole("no role that a user may have", role=min(unknown)[:40])
    return tuple(role for role in known if role in wanted)


def erase_blocked(desk: Desk, session: Session) -> int:
    """Erase users who left more than three years ago; the trail keeps their number, not their login. How many."""
    gone = users.closed_before(session, desk.tools.clock.now() - BLOCKED)
    for row in gone:
        pseudonym = f"erased-user-{row.id}"
        audit.pseudonymise(session, row.id, pseudonym)
        cases.pseudonymise(session, row.id, pseudonym)
        drafts.pseudonymise(session, row.id, pseudonym)
        registrations.drop_codes(session, row.id)
        users.end_sessions_of(session, row.id)
        users.drop_tokens(session, row.id, None)
        users.erase(row, pseudonym)
        audit.record(session, AuditEntry(at=desk.tools.clock.now(), act="user-erased", user=row.id, login=pseudonym))
    return len(gone)


def _close(desk: Desk, session: Session, row: UserRow) -> None:
    row.closed_at = desk.tools.clock.now()
    users.end_sessions_of(session, row.id)
    users.drop_tokens(session, row.id, None)
    registrations.drop_codes(session, row.id)


def _own_user(session: Session, official: Official, user: int) -> UserRow:
    row = session.get(UserRow, user)
    if row is None or row.authority != official.authority or row.closed_at is not None:
        raise UnknownUser("this authority has no such user")
    return row


def _user(desk: Desk, session: Session, official: Official, user: int) -> UserRow:
    row = session.get(UserRow, user)
    if row is None or row.closed_at is not None:
        raise UnknownUser("there is no such user")
    if row.authority == official.authority:
        at_desk.check_local(official)
    else:
        at_desk.coordinated(desk, session, official, AuthorityId(row.authority), "validating")
        if LOCAL not in row.roles.split(","):
            raise UnknownUser("a coordinator resets local administrators only")
    return row


def _check_not_last(session: Session, row: UserRow) -> None:
    others = users.open_of_authority(session, AuthorityId(row.authority))
    is_one = LOCAL in row.roles.split(",")
    if is_one and not any(LOCAL in other.roles.split(",") for other in others if other.id != row.id):
        raise LastAdministrator("an authority keeps at least one local data administrator")


def _check_text(login: str, name: str) -> None:
    if not login or not name.strip() or len(login) > LONGEST or len(name) > LONGEST or "," in login:
        raise MissingName("a user has a login and a name, of at most 200 characters each")


def _colleague(row: UserRow) -> Colleague:
    return Colleague(
        id=row.id,
        login=row.login,
        name=row.name,
        roles=tuple(role for role in row.roles.split(",") if role),
        language=row.language,
    )
