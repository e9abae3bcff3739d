"""Registering authorities: by invitation and validation, or by a coordinator directly (imi.md section 2.2).

INVITED -> SUBMITTED -> VALIDATED | REJECTED. Nothing of it is in the directory before it is validated.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from node.casework import desk as at_desk
from node.casework.desk import Desk
from node.casework.errors import (
    AlreadyDecided,
    LoginTaken,
    ReasonMissing,
    TooManyGuesses,
    UnknownInvitation,
    UnknownRegistration,
    UnknownRole,
)
from node.casework.profiles import Profile, blank, check, with_profile
from node.casework.views import Official
from node.directory import rules
from node.directory.model import Authority, Link
from node.ids import AuthorityId, new_token, state_of
from node.local_store import audit, registrations, users
from node.local_store.audit import AuditEntry
from node.local_store.registrations import RegistrationRow
from node.local_store.users import ThrottleRow, UserRow

VALID: Final = timedelta(days=30)  # an invitation
KEPT: Final = timedelta(days=180)  # what was decided (the registrant reads it at the link), what waits to be decided
FREE_GUESSES: Final = 20  # wrong codes from one address
NOT_GIVEN: Final = frozenset({"applicant", "system"})  # roles that no user of an authority has
_LONGEST_WAIT: Final = timedelta(minutes=15)

Access = Mapping[str, Sequence[str]]  # area or procedure -> directory roles


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUser:
    """Who gets all rights in a new authority; the password is hashed already."""

    login: str
    name: str
    language: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A registration as its coordinator, or whoever has its link, may see it."""

    id: int
    state: str  # invited, submitted, validated, rejected, withdrawn, expired
    coordinator: AuthorityId
    name: str
    scopes: tuple[str, ...]
    language: str
    created_at: datetime
    expires_at: datetime
    submitted_at: datetime | None
    decided_at: datetime | None
    reason: str
    profile: Profile | None
    asked: Mapping[str, tuple[str, ...]]
    first_user: str  # name, while it waits for the decision
    authority: AuthorityId | None
    published: bool  # its entry is in the directory


def invite(
    desk: Desk, session: Session, official: Official, *, name: str, scopes: Sequence[str], language: str, code: str
) -> Registration:
    """An invitation; `code` goes into the link and is stored as a hash."""
    at_desk.check_coordinator(desk, session, official)
    for scope in scopes:
        desk.check_scope(scope)
    now = desk.tools.clock.now()
    row = RegistrationRow(
        state="invited",
        coordinator=official.authority,
        code=hashed(code),
        name=name[:400],
        scopes=",".join(scopes),
        language=language,
        created_at=now,
        expires_at=now + VALID,
    )
    session.add(row)
    session.flush()
    at_desk.record(desk, session, official, "invited", str(row.id))
    return view(desk, session, row)


def withdraw(desk: Desk, session: Session, official: Official, number: int) -> None:
    """An invitation that nobody used: its link opens nothing any more."""
    row = _of(desk, session, official, number)
    if row.state != "invited":
        raise AlreadyDecided("this invitation was used or withdrawn before")
    row.state, row.decided_at, row.decided_by = "withdrawn", desk.tools.clock.now(), at_desk.user_of(official)
    at_desk.record(desk, session, official, "invitation-withdrawn", str(number))


def by_code(desk: Desk, session: Session, code: str) -> Registration:
    """What a link shows."""
    return view(desk, session, _by_code(desk, session, code))


def check_guesses(desk: Desk, session: Session, source: str) -> None:
    """Raises TooManyGuesses for an address that tried too many wrong codes."""
    row, now = session.get(ThrottleRow, _subject(source)), desk.tools.clock.now()
    if row and row.locked_until > now:
        wait = math.ceil((row.locked_until - now).total_seconds())
        raise TooManyGuesses(f"too many wrong codes: wait {wait} seconds", seconds=wait)


def count_guess(desk: Desk, session: Session, source: str) -> None:
    """A wrong code from an address: after some, each takes twice as long as the one before."""
    now = desk.tools.clock.now()
    row = session.get(ThrottleRow, _subject(source))
    row = row or ThrottleRow(subject=_subject(source), failures=0, locked_until=now, updated_at=now)
    row.failures, row.updated_at = row.failures + 1, now
    if row.failures >= FREE_GUESSES:
        row.locked_until = now + min(timedelta(seconds=15 << min(row.failures - FREE_GUESSES, 10)), _LONGEST_WAIT)
    session.add(row)


def submit(
    desk: Desk, session: Session, code: str, profile: Profile, *, asked: Access, first: FirstUser
) -> Registration:
    """The self-registration at an invitation's link, once."""
    row = _by_code(desk, session, code)
    if row.state != "invited":
        raise AlreadyDecided("this invitation was used before")
    check(profile, state=state_of(desk.node), catalogue=desk.tools.catalogue, find=desk.directory.get)
    access = _checked(desk, asked)
    # Last: with anything to fail after it, one invitation would tell of any number of logins whether they are taken.
    if users.by_login(session, first.login) is not None:
        raise LoginTaken("another user has this login")
    row.state, row.submitted_at = "submitted", desk.tools.clock.now()
    row.profile = json.dumps(asdict(profile), ensure_ascii=False)
    row.asked = json.dumps(access)
    row.first_user = json.dumps({"login": first.login, "name": first.name, "language": first.language})
    row.password = first.password
    entry = AuditEntry(at=row.submitted_at, act="registration-submitted", subject=str(row.id))
    audit.record(session, entry)
    return view(desk, session, row)


def validate(desk: Desk, session: Session, official: Official, number: int, granted: Access) -> Registration:
    """The authority enters the directory, its first user gets all rights.

    Args:
        granted: access, in full or in part of what was asked for.
    """
    row = _of(desk, session, official, number)
    if row.state != "submitted":
        raise AlreadyDecided("this registration does not wait for a decision")
    entry = _new(desk, official, _profile(row), granted)
    rules.check(entry, desk.request_scopes())
    at_desk.put(desk, session, official, entry)
    _first_user(desk, session, row, entry.id)
    row.state, row.authority = "validated", entry.id
    row.decided_at, row.decided_by = desk.tools.clock.now(), at_desk.user_of(official)
    row.first_user, row.password = "", ""
    at_desk.decide(desk, session, official, entry.id, "validated", subject=_codes(granted))
    return view(desk, session, row)


def reject(desk: Desk, session: Session, official: Official, number: int, reason: str) -> Registration:
    """Turned down; the registrant reads why at the same link."""
    row = _of(desk, session, official, number)
    if row.state != "submitted":
        raise AlreadyDecided("this registration does not wait for a decision")
    if not reason.strip():
        raise ReasonMissing("a rejection says why")
    row.state, row.reason = "rejected", reason.strip()[:2000]
    row.decided_at, row.decided_by = desk.tools.clock.now(), at_desk.user_of(official)
    row.first_user, row.password = "", ""
    at_desk.record(desk, session, official, "registration-rejected", str(number))
    return view(desk, session, row)


def register(
    desk: Desk,
    session: Session,
    official: Official,
    profile: Profile,
    *,
    granted: Access,
    first: FirstUser | None = None,
) -> Authority:
    """An authority that its coordinator registers itself; without a user the coordinator acts for it."""
    at_desk.check_coordinator(desk, session, official)
    check(profile, state=state_of(desk.node), catalogue=desk.tools.catalogue, find=desk.directory.get)
    entry = _new(desk, official, profile, granted)
    if first is None:
        entry = replace(entry, represented_by=official.authority)
    rules.check(entry, desk.request_scopes())
    at_desk.put(desk, session, official, entry)
    if first is not None:
        _add_user(desk, session, entry.id, first)
    at_desk.decide(desk, session, official, entry.id, "validated", subject=_codes(granted))
    return entry


def of_coordinator(desk: Desk, session: Session, coordinator: AuthorityId) -> tuple[Registration, ...]:
    return tuple(view(desk, session, row) for row in registrations.of_coordinator(session, coordinator))


def of_number(desk: Desk, session: Session, official: Official, number: int) -> Registration:
    """One of the official's own registrations. Raises UnknownRegistration, NotAdministrator, NotCoordinator."""
    return view(desk, session, _of(desk, session, official, number))


def view(desk: Desk, session: Session, row: RegistrationRow) -> Registration:
    ran_out = row.state == "invited" and row.expires_at <= desk.tools.clock.now()
    authority = AuthorityId(row.authority) if row.authority else None
    return Registration(
        id=row.id,
        state="expired" if ran_out else row.state,
        coordinator=AuthorityId(row.coordinator),
        name=row.name,
        scopes=tuple(scope for scope in row.scopes.split(",") if scope),
        language=row.language,
        created_at=row.created_at,
        expires_at=row.expires_at,
        submitted_at=row.submitted_at,
        decided_at=row.decided_at,
        reason=row.reason,
        profile=_profile(row) if row.profile else None,
        asked={scope: tuple(roles) for scope, roles in json.loads(row.asked or "{}").items()},
        first_user=json.loads(row.first_user)["name"] if row.first_user else "",
        authority=authority,
        published=bool(authority) and registrations.pending_change(session, AuthorityId(row.authority)) is None,
    )


def hashed(code: str) -> str:
    """How a code is stored."""
    return hashlib.sha256(code.encode()).hexdigest()


def new_code() -> str:
    """A code nobody guesses: 128 random bits."""
    return secrets.token_urlsafe(16)


def all_roles(desk: Desk) -> tuple[str, ...]:
    """Every role a user of an authority may have."""
    return tuple(role for role in desk.tools.catalogue.lists["user-role"] if role not in NOT_GIVEN)


def _by_code(desk: Desk, session: Session, code: str) -> RegistrationRow:
    row = registrations.by_code(session, hashed(code))
    if row is None or row.state == "withdrawn" or (row.state == "invited" and row.expires_at <= desk.tools.clock.now()):
        raise UnknownInvitation("no invitation has this code, or its time is over: ask the coordinator for another")
    return row


def _of(desk: Desk, session: Session, official: Official, number: int) -> RegistrationRow:
    at_desk.check_coordinator(desk, session, official)
    row = session.get(RegistrationRow, number)
    if row is None or row.coordinator != official.authority:
        raise UnknownRegistration("there is no such registration")
    return row


def _profile(row: RegistrationRow) -> Profile:
    said: dict[str, Any] = json.loads(row.profile)
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    return Profile(**fields)


def _new(desk: Desk, official: Official, profile: Profile, granted: Access) -> Authority:
    """The entry of a new authority, linked to its coordinator for everything."""
    state, today = state_of(desk.node), desk.tools.clock.now().date()
    roles = _checked(desk, granted)
    entry = replace(
        blank(desk.node, AuthorityId(f"{state}:{new_token(8)}")),
        areas=tuple(sorted({rules.area_of(scope) for scope in roles})),
        roles={scope: tuple(found) for scope, found in roles.items()},
        coordinators=tuple(
            Link(coordinator=official.authority, function=function) for function in ("validating", "access", "request")
        ),
        registered=today,
        reviewed=today,
    )
    return with_profile(entry, profile)


def _checked(desk: Desk, access: Access) -> dict[str, list[str]]:
    """Access by known scopes and roles only, nothing empty. Raises UnknownScope, UnknownRole."""
    known = desk.scopes()
    for scope, roles in access.items():
        desk.check_scope(scope)
        for role in roles:
            if role not in known[scope]:
                raise UnknownRole("no role of this area or procedure", role=str(role)[:40])
    return {scope: list(dict.fromkeys(roles)) for scope, roles in sorted(access.items()) if roles}


def _codes(access: Access) -> str:
    return " ".join(f"{scope}:{'+'.join(roles)}" for scope, roles in sorted(access.items()) if roles)[:400]


def _first_user(desk: Desk, session: Session, row: RegistrationRow, authority: AuthorityId) -> None:
    said = json.loads(row.first_user)
    _add_user(desk, session, authority, FirstUser(**said, password=row.password))


def _add_user(desk: Desk, session: Session, authority: AuthorityId, first: FirstUser) -> None:
    if users.by_login(session, first.login) is not None:
        raise LoginTaken("another user has this login")
    now = desk.tools.clock.now()
    made = UserRow(
        login=first.login,
        name=first.name,
        password=first.password,
        authority=authority,
        roles=",".join(sorted(all_roles(desk))),
        language=first.language,
        created_at=now,
    )
    session.add(made)
    session.flush()
    entry = AuditEntry(at=now, act="user-created", user=made.id, login=made.login, authority=authority)
    audit.record(session, entry)


def _subject(source: str) -> str:
    return hashlib.sha256(f"code:{source}".encode()).hexdigest()
