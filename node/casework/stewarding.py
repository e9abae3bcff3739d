"""Keeping an authority's entry true: its profile, how it works, its links and access, suspension, leaving, review."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from node.casework import desk as at_desk
from node.casework import staff
from node.casework.desk import Desk
from node.casework.errors import (
    AlreadyDecided,
    InvalidProfile,
    NotCoordinator,
    NothingToChange,
    OpenCases,
    ReasonMissing,
    UnknownLanguage,
    UnknownRegistration,
    UnknownRole,
)
from node.casework.profiles import Profile, check, with_profile
from node.casework.views import Official
from node.catalogue.texts import LANGUAGES
from node.directory import rules
from node.directory.model import Authority, Link
from node.errors import ImiError
from node.ids import AuthorityId, state_of
from node.local_store import cases, registrations
from node.local_store.registrations import AccessRow

REVIEW: Final = timedelta(days=365)  # an entry is looked over at least so often
MOST_LINKS: Final = 40
_OPEN_SEEN: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """Access to an area or procedure that an authority asked for, and what became of it."""

    id: int
    authority: AuthorityId
    scope: str
    roles: tuple[str, ...]
    state: str  # requested, granted, refused
    asked_at: datetime
    decided_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about an authority, and why. `coordinator` empty: by the node's operator."""

    act: str
    subject: str
    reason: str
    at: datetime
    coordinator: str


def edit(desk: Desk, session: Session, official: Official, authority: AuthorityId, profile: Profile) -> None:
    """Change what an authority says of itself; looked over today, then."""
    found = at_desk.stewarded(desk, session, official, authority)
    check(profile, state=state_of(authority), catalogue=desk.tools.catalogue, find=desk.directory.get)
    if profile.parent == authority:
        raise InvalidProfile("an authority is not its own parent", (("parent", "unknown"),))
    entry = replace(with_profile(found, profile), reviewed=desk.tools.clock.now().date())
    at_desk.put(desk, session, official, entry)
    at_desk.record(desk, session, official, "authority-edited", "", authority=authority)


def set_settings(
    desk: Desk, session: Session, official: Official, authority: AuthorityId, *, scope: str, settings: Mapping[str, str]
) -> None:
    """How the authority works in an area or procedure; what is left out or empty counts from the area or the State."""
    found = at_desk.stewarded(desk, session, official, authority)
    desk.check_scope(scope)
    for name, value in settings.items():
        if value and name == rules.REPLY_LANGUAGE and value not in LANGUAGES:
            raise UnknownLanguage("not the code of an official language", lang=value[:8])
        is_known = name == rules.REPLY_LANGUAGE or (name in rules.SETTINGS and value in ("", *rules.YES_NO))
        if not is_known:
            raise InvalidProfile("no such setting, or not yes or no", ((name[:40], "choice"),))
    kept = {name: value for name, value in sorted(settings.items()) if value}
    others = {name: values for name, values in found.settings.items() if name != scope}
    entry = replace(found, settings={**others, scope: kept} if kept else others)
    at_desk.put(desk, session, official, entry)
    at_desk.record(desk, session, official, "settings-changed", scope, authority=authority)


def set_coordinators(
    desk: Desk, session: Session, official: Official, authority: AuthorityId, links: Sequence[Link]
) -> None:
    """Link the authority to coordinators of its State.

    Who validates it and who decides on its access is changed by its validating coordinator only, never by itself.

    Raises:
        NoRequestCoordinator: none would be left for an area in which it sends and answers requests.
    """
    found = at_desk.stewarded(desk, session, official, authority)
    wanted = tuple(dict.fromkeys(links))[:MOST_LINKS]
    for link in wanted:
        _check_link(desk, session, found, link)
    entry = replace(found, coordinators=wanted)
    rules.check(entry, desk.request_scopes())
    areas = {"", *(link.area for link in (*found.coordinators, *wanted))}
    is_bound = official.authority == authority and at_desk.coordinators(found, "validating")
    if is_bound and _deciders(found, areas) != _deciders(entry, areas):
        raise NotCoordinator("only the validating coordinator changes who validates it or decides on its access")
    at_desk.put(desk, session, official, entry)
    at_desk.record(desk, session, official, "coordinators-changed", str(len(wanted)), authority=authority)


def _deciders(authority: Authority, areas: Collection[str]) -> object:
    """Who validates it and decides on its access: by links for just that, or by request where it names none."""
    said = {link for link in authority.coordinators if link.function in ("validating", "access")}
    follows = [set(at_desk.coordinators(authority, "validating"))]
    follows += [set(at_desk.coordinators(authority, "access", area)) for area in sorted(areas)]
    return said, follows


def _check_link(desk: Desk, session: Session, authority: Authority, link: Link) -> None:
    if link.area and link.area not in {rules.area_of(scope) for scope in desk.scopes()}:
        raise InvalidProfile("no such area", (("coordinators", "choice"),))
    if link in authority.coordinators:
        return
    try:
        other = at_desk.current(desk, session, link.coordinator)
    except ImiError:
        raise InvalidProfile("no such coordinator", (("coordinators", "unknown"),)) from None
    if other.state != authority.state or not at_desk.is_coordinator(other) or other.status != "active":
        raise InvalidProfile("not an active coordinator of this State", (("coordinators", "unknown"),))


def review(desk: Desk, session: Session, official: Official, authority: AuthorityId) -> None:
    """All is right: the entry was looked over today."""
    found = at_desk.stewarded(desk, session, official, authority)
    at_desk.put(desk, session, official, replace(found, reviewed=desk.tools.clock.now().date()))
    at_desk.record(desk, session, official, "reviewed", "", authority=authority)


def is_stale(authority: Authority, today: date) -> bool:
    """Whether the yearly review is due."""
    last = authority.reviewed or authority.registered
    return authority.status != "left" and (last is None or today - last > REVIEW)


# Access.


def ask_access(desk: Desk, session: Session, official: Official, scope: str, roles: Sequence[str]) -> AccessRequest:
    """Ask the access coordinator for roles in an area or procedure."""
    at_desk.check_local(official)
    found = at_desk.stewarded(desk, session, official, official.authority)
    _check_roles(desk, scope, roles)
    deciders = at_desk.coordinators(found, "access", rules.area_of(scope))
    if not deciders:
        raise NotCoordinator("this authority is linked to no coordinator: its operator must link it to one")
    waiting = [a for a in registrations.access_of(session, found.id) if a.state == "requested" and a.scope == scope]
    if waiting:
        raise AlreadyDecided("this was asked for already and waits for the coordinator")
    row = AccessRow(
        authority=found.id,
        scope=scope,
        roles=",".join(dict.fromkeys(roles)),
        state="requested",
        coordinator=deciders[0],
        asked_at=desk.tools.clock.now(),
        asked_by=at_desk.user_of(official),
    )
    session.add(row)
    session.flush()
    at_desk.record(desk, session, official, "access-requested", f"{scope} {row.roles}", authority=found.id)
    return _request(row)


def grant(desk: Desk, session: Session, official: Official, request: int, roles: Sequence[str]) -> None:
    """Grant a request, in full or in part: `roles` are of those asked for. Raises NoRequestCoordinator."""
    row = _waiting(desk, session, official, request)
    asked = row.roles.split(",")
    if not roles or any(role not in asked for role in roles):
        raise UnknownRole("grant one or more of the roles asked for", role=",".join(roles)[:40])
    authority = AuthorityId(row.authority)
    entry = at_desk.coordinated(desk, session, official, authority, "access", scope=row.scope)
    held = entry.roles.get(row.scope, ())
    entry = replace(
        entry,
        roles={**entry.roles, row.scope: tuple(dict.fromkeys((*held, *roles)))},
        areas=tuple(sorted({*entry.areas, rules.area_of(row.scope)})),
    )
    rules.check(entry, desk.request_scopes())
    at_desk.put(desk, session, official, entry)
    _close(desk, row, official, "granted", "")
    at_desk.decide(desk, session, official, authority, "access-granted", subject=f"{row.scope} {','.join(roles)}")


def refuse(desk: Desk, session: Session, official: Official, request: int, reason: str) -> None:
    """Refuse a request; the authority reads why."""
    row = _waiting(desk, session, official, request)
    authority = AuthorityId(row.authority)
    _check_reason(reason)
    _close(desk, row, official, "refused", reason.strip()[:2000])
    at_desk.decide(desk, session, official, authority, "access-refused", subject=row.scope, reason=reason.strip())


def withdraw_access(
    desk: Desk, session: Session, official: Official, authority: AuthorityId, *, scope: str, reason: str
) -> None:
    """Take the roles in an area or procedure away.

    Raises:
        OpenCases: without access no node would take the authority's steps, and its open cases could not be finished.
    """
    entry = at_desk.coordinated(desk, session, official, authority, "access", scope=scope)
    if scope not in entry.roles:
        raise NothingToChange("the authority has no access to this area or procedure")
    _check_reason(reason)
    _check_no_open_cases(session, authority, scope)
    roles = {name: held for name, held in entry.roles.items() if name != scope}
    gone = {rules.area_of(scope)} - {rules.area_of(name) for name in roles}
    areas = tuple(area for area in entry.areas if area not in gone)
    at_desk.put(desk, session, official, replace(entry, roles=roles, areas=areas))
    at_desk.decide(desk, session, official, authority, "access-withdrawn", subject=scope, reason=reason.strip())


def _check_no_open_cases(session: Session, authority: AuthorityId, scope: str) -> None:
    rows = cases.standings(session, [authority], open_only=True, limit=_OPEN_SEEN)
    if any(scope in (case.area, case.procedure) for standing, case in rows if standing.roles):
        raise OpenCases("the authority has open cases there: suspend it, and withdraw access once they are closed")


def _check_roles(desk: Desk, scope: str, roles: Sequence[str]) -> None:
    desk.check_scope(scope)
    if not roles or any(role not in desk.scopes()[scope] for role in roles):
        raise UnknownRole("name one or more roles of this area or procedure", role=",".join(roles)[:40])


def _waiting(desk: Desk, session: Session, official: Official, request: int) -> AccessRow:
    at_desk.check_coordinator(desk, session, official)
    row = session.get(AccessRow, request)
    if row is None or row.coordinator != official.authority:
        raise UnknownRegistration("there is no such request for access")
    if row.state != "requested":
        raise AlreadyDecided("this request was decided before")
    return row


def _close(desk: Desk, row: AccessRow, official: Official, state: str, reason: str) -> None:
    row.state, row.reason = state, reason
    row.decided_at, row.decided_by = desk.tools.clock.now(), at_desk.user_of(official)


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ReasonMissing("this decision needs a reason")


# Suspension and leaving.


def suspend(desk: Desk, session: Session, official: Official, authority: AuthorityId, reason: str) -> None:
    """The authority finishes its cases and opens none, until this is lifted."""
    entry = at_desk.coordinated(desk, session, official, authority, "validating")
    if entry.status != "active":
        raise NothingToChange("the authority is not active")
    _check_reason(reason)
    at_desk.put(desk, session, official, replace(entry, status="suspended"))
    at_desk.decide(desk, session, official, authority, "suspended", reason=reason.strip())


def lift(desk: Desk, session: Session, official: Official, authority: AuthorityId) -> None:
    """The authority may open cases again."""
    entry = at_desk.coordinated(desk, session, official, authority, "validating")
    if entry.status != "suspended":
        raise NothingToChange("the authority is not suspended")
    at_desk.put(desk, session, official, replace(entry, status="active"))
    at_desk.decide(desk, session, official, authority, "lifted")


def leave(desk: Desk, session: Session, official: Official, authority: AuthorityId, reason: str) -> None:
    """The authority takes part no more: its users are closed, its coordinator finishes its cases for it (A23).

    So it goes on with what waited for the authority itself: those it finished cases for, registrations to decide on.

    Raises:
        NothingToChange: it left before.
        NotCoordinator: it coordinates others, or nobody could finish its cases.
    """
    entry = at_desk.stewarded(desk, session, official, authority)
    if entry.status == "left":
        raise NothingToChange("the authority has left already")
    _check_reason(reason)
    if any(other.status != "left" for other in desk.directory.linked_to(authority) if other.id != authority):
        raise NotCoordinator("hand the authorities it coordinates to another coordinator first")
    heir = _heir(desk, session, entry)
    at_desk.put(desk, session, official, replace(entry, status="left", represented_by=heir))
    for body in desk.directory.represented_by(authority):
        handed = at_desk.current(desk, session, body)
        if handed.node == desk.node:
            at_desk.put(desk, session, official, replace(handed, represented_by=heir))
            at_desk.record(desk, session, official, "represented", heir, authority=body)
    registrations.hand_over(session, authority, heir)
    at_desk.decide(desk, session, official, authority, "left", reason=reason.strip())
    staff.close_all(desk, session, authority)


def _heir(desk: Desk, session: Session, entry: Authority) -> AuthorityId:
    """The coordinator whose users can finish its cases: one of this node, since only it signs for them."""
    linked = (link.coordinator for link in entry.coordinators)
    for name in dict.fromkeys((*at_desk.coordinators(entry, "validating"), *linked)):
        try:
            other = at_desk.current(desk, session, name)
        except ImiError:
            continue  # no such authority (any more)
        if name != entry.id and other.node == desk.node and other.status == "active":
            return name
    raise NotCoordinator("link it to an active coordinator on this node first, who finishes its cases")


# What is shown.


def access_of(session: Session, authority: AuthorityId) -> tuple[AccessRequest, ...]:
    return tuple(_request(row) for row in registrations.access_of(session, authority))


def open_access(session: Session, coordinator: AuthorityId) -> tuple[AccessRequest, ...]:
    return tuple(_request(row) for row in registrations.open_access(session, coordinator))


def decisions_of(session: Session, authority: AuthorityId) -> tuple[Decision, ...]:
    return tuple(
        Decision(act=row.act, subject=row.subject, reason=row.reason, at=row.at, coordinator=row.coordinator)
        for row in registrations.decisions_of(session, authority)
    )


def _request(row: AccessRow) -> AccessRequest:
    return AccessRequest(
        id=row.id,
        authority=AuthorityId(row.authority),
        scope=row.scope,
        roles=tuple(row.roles.split(",")),
        state=row.state,
        asked_at=row.asked_at,
        decided_at=row.decided_at,
        reason=row.reason,
    )
