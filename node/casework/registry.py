"""Who takes part: authorities, their access, their data, their users. The door for pages, REST, commands and jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy.orm import Session

from node.casework import desk as at_desk
from node.casework import registering, staff, stewarding
from node.casework.desk import Basis, Desk
from node.casework.errors import MissingName, NotCoordinator, UnknownInvitation, UnknownUser
from node.casework.profiles import Profile, check, lookalikes
from node.casework.registering import Access, FirstUser, Registration, new_code
from node.casework.staff import Colleague
from node.casework.stewarding import AccessRequest, Decision
from node.casework.users import Users, check_language, folded
from node.casework.views import Official
from node.directory import Directory, rules
from node.directory.model import Authority, By, Change, Link, read_change
from node.errors import ImiError
from node.ids import AuthorityId, state_of
from node.local_store import registrations, users
from node.local_store.database import Database

P = ParamSpec("P")
T = TypeVar("T")
Publish = Callable[[Change, By], object]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """The first user of an authority, as typed."""

    login: str
    name: str
    password: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """An authority for its own people, or for its coordinator."""

    authority: Authority  # with its last change, in the log or on its way there
    publishing: bool  # a change is on its way into the directory
    is_stale: bool  # the yearly review is due
    access: tuple[AccessRequest, ...]
    decisions: tuple[Decision, ...]
    colleagues: tuple[Colleague, ...]  # those who may sign in
    scopes: Mapping[str, tuple[str, ...]]  # areas and procedures -> roles that can be asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordination:
    """What waits for a coordinator's data administrator."""

    registrations: tuple[Registration, ...]
    access: tuple[AccessRequest, ...]
    linked: tuple[Authority, ...]
    stale: tuple[AuthorityId, ...]
    publishing: tuple[AuthorityId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """For the page of work: what an administrator should look at."""

    review_due: bool = False
    submitted: int = 0
    access: int = 0
    stale: int = 0
    suspended: bool = False


class Registry:
    """The acts. Each is one transaction, with its audit row and what it changes in the directory, or nothing.

    After the commit the change goes into the log at once; what a crash leaves is taken up by `publish_pending`.
    """

    def __init__(
        self, basis: Basis, *, database: Database, directory: Directory, users: Users, publish: Publish | None
    ) -> None:
        """Args.

        publish: appends one change to this node's log (called on a thread); None: changes wait for a process that can.
        """
        self.database = database
        self.desk = Desk(tools=basis, directory=directory)
        self._users, self._publish = users, publish
        self._publishing = asyncio.Lock()

    # Invitations and registrations.

    async def invite(
        self, official: Official, *, name: str, scopes: Sequence[str], language: str
    ) -> tuple[Registration, str]:
        """An invitation, and the code of its link, which is shown only this once.

        Raises:
            NotAdministrator, NotCoordinator, UnknownScope, UnknownLanguage, MissingName.
        """
        check_language(language)
        if not name.strip():
            raise MissingName("say which authority the invitation is for")
        code = new_code()
        made = await self._act(
            registering.invite, official, name=name.strip(), scopes=tuple(scopes), language=language, code=code
        )
        return made, code

    async def withdraw_invitation(self, official: Official, registration: int) -> None:
        """The link opens nothing any more. Raises UnknownRegistration, AlreadyDecided and others."""
        await self._act(registering.withdraw, official, registration)

    async def invitation(self, code: str, *, source: str) -> Registration:
        """What a link shows.

        Args:
            source: network address, for throttling.

        Raises:
            UnknownInvitation, TooManyGuesses (`details["seconds"]`).
        """
        await self._read(registering.check_guesses, source)
        try:
            return await self._read(registering.by_code, code[:100])
        except UnknownInvitation:
            await self.database.transact(_with(registering.count_guess, self.desk), source)
            raise

    async def lookalikes(self, profile: Profile) -> tuple[Authority, ...]:
        """Authorities of our State that this may be: is it one of these?"""
        return await asyncio.to_thread(lookalikes, self.desk.directory, profile, state_of(self.desk.node))

    def check_profile(self, profile: Profile) -> None:
        """Raises InvalidProfile."""
        state = state_of(self.desk.node)
        check(profile, state=state, catalogue=self.desk.tools.catalogue, find=self.desk.directory.get)

    async def submit(self, code: str, profile: Profile, *, asked: Access, first: NewUser) -> Registration:
        """Register oneself with an invitation.

        Raises:
            UnknownInvitation, AlreadyDecided, InvalidProfile, UnknownScope, UnknownRole, LoginTaken, WeakPassword,
            MissingName, UnknownLanguage.
        """
        return await self._act(registering.submit, code[:100], profile, asked=asked, first=await self._first(first))

    async def registration(self, official: Official, registration: int) -> Registration:
        """One of the coordinator's registrations. Raises UnknownRegistration and others."""
        return await self._read(registering.of_number, official, registration)

    async def validate(self, official: Official, registration: int, granted: Access) -> Registration:
        """Into the directory with it. Raises UnknownRegistration, AlreadyDecided, NoRequestCoordinator, LoginTaken and others."""
        await self._act(registering.validate, official, registration, granted)
        return await self.registration(official, registration)

    async def reject(self, official: Official, registration: int, reason: str) -> Registration:
        """Turn a registration down. Raises UnknownRegistration, AlreadyDecided, ReasonMissing and others."""
        return await self._act(registering.reject, official, registration, reason)

    async def register(
        self, official: Official, profile: Profile, *, granted: Access, first: NewUser | None = None
    ) -> Authority:
        """Register an authority without invitation; without a first user the coordinator acts for it.

        Raises:
            as `submit` and `validate`.
        """
        user = await self._first(first) if first else None
        return await self._act(registering.register, official, profile, granted=granted, first=user)

    # An authority's own data, or that of one which the official coordinates.

    async def ours(self, official: Official, authority: AuthorityId | None = None) -> Ours:
        """Everything about the official's own authority, or one it coordinates. Raises UnknownAuthority, NotCoordinator and others."""
        return await self._read(_ours, official, authority or official.authority)

    async def theirs(self, official: Official, authority: AuthorityId) -> Ours:
        """The same for a coordinator only. Raises NotAdministrator, NotCoordinator, UnknownAuthority."""
        await self._read(at_desk.check_coordinator, official)
        return await self.ours(official, authority)

    async def edit(self, official: Official, authority: AuthorityId, profile: Profile) -> None:
        """Raises NotAdministrator, NotCoordinator, InvalidProfile."""
        await self._act(stewarding.edit, official, authority, profile)

    async def set_settings(
        self, official: Official, authority: AuthorityId, scope: str, settings: Mapping[str, str]
    ) -> None:
        """How an authority works in an area or procedure. Raises UnknownScope, InvalidProfile, UnknownLanguage and others."""
        await self._act(stewarding.set_settings, official, authority, scope=scope, settings=settings)

    async def set_coordinators(self, official: Official, authority: AuthorityId, links: Sequence[Link]) -> None:
        """Raises InvalidProfile, NotCoordinator, NoRequestCoordinator and others."""
        await self._act(stewarding.set_coordinators, official, authority, links)

    async def review(self, official: Official, authority: AuthorityId) -> None:
        """All is right. Raises NotAdministrator, NotCoordinator."""
        await self._act(stewarding.review, official, authority)

    async def leave(self, official: Official, authority: AuthorityId, reason: str) -> None:
        """Raises NothingToChange, NotCoordinator, ReasonMissing and others."""
        await self._act(stewarding.leave, official, authority, reason)

    # Access.

    async def ask_access(self, official: Official, scope: str, roles: Sequence[str]) -> AccessRequest:
        """Raises NotAdministrator, UnknownScope, UnknownRole, AlreadyDecided, NotCoordinator."""
        return await self._act(stewarding.ask_access, official, scope, tuple(roles))

    async def grant(self, official: Official, request: int, roles: Sequence[str]) -> None:
        """Raises UnknownRegistration, AlreadyDecided, UnknownRole, NoRequestCoordinator and others."""
        await self._act(stewarding.grant, official, request, tuple(roles))

    async def refuse(self, official: Official, request: int, reason: str) -> None:
        """Raises UnknownRegistration, AlreadyDecided, ReasonMissing and others."""
        await self._act(stewarding.refuse, official, request, reason)

    async def withdraw_access(self, official: Official, authority: AuthorityId, scope: str, reason: str) -> None:
        """Raises NotCoordinator, NothingToChange, OpenCases, ReasonMissing and others."""
        await self._act(stewarding.withdraw_access, official, authority, scope=scope, reason=reason)

    # Coordination.

    async def coordination(self, official: Official) -> Coordination:
        """What waits, and who is linked. Raises NotAdministrator, NotCoordinator."""
        return await self._read(_coordination, official)

    async def suspend(self, official: Official, authority: AuthorityId, reason: str) -> None:
        """Raises NotCoordinator, NothingToChange, ReasonMissing and others."""
        await self._act(stewarding.suspend, official, authority, reason)

    async def lift(self, official: Official, authority: AuthorityId) -> None:
        """Raises NotCoordinator, NothingToChange and others."""
        await self._act(stewarding.lift, official, authority)

    async def tasks(self, official: Official) -> Tasks:
        """What an administrator should look at; nothing for everybody else."""
        return await self._read(_tasks, official)

    # Users.

    async def colleagues(self, authority: AuthorityId) -> tuple[Colleague, ...]:
        """Those who may sign in for an authority."""
        return await self.database.read(staff.listed, authority)

    async def colleague(self, official: Official, user: int) -> Colleague:
        """Raises UnknownUser, NotAdministrator, NotCoordinator."""
        return await self._read(staff.one, official, user)

    async def operator_for(self, login: str) -> tuple[Official, int]:
        """The operator, who acts for the authority of a user, and the user's number. Raises UnknownUser."""
        row = await self.database.read(users.by_login, folded(login))
        if row is None or row.closed_at is not None:
            raise UnknownUser("no user has this login")
        return at_desk.operator(AuthorityId(row.authority)), row.id

    def user_roles(self) -> tuple[str, ...]:
        """The roles a user may have."""
        return registering.all_roles(self.desk)

    async def add_user(
        self, official: Official, *, login: str, name: str, roles: Sequence[str], language: str
    ) -> tuple[Colleague, str]:
        """A user, and the code of the link to set the password, which is shown only this once.

        Raises:
            NotAdministrator, LoginTaken, MissingName, UnknownRole, UnknownLanguage.
        """
        check_language(language)
        code, unusable = new_code(), await self._users.unusable_password()
        made = await self._act(
            staff.add,
            official,
            login=folded(login),
            name=name.strip(),
            roles=tuple(roles),
            language=language,
            unusable=unusable,
            code=code,
        )
        return made, code

    async def change_user(self, official: Official, user: int, *, name: str, roles: Sequence[str]) -> Colleague:
        """Raises NotAdministrator, UnknownUser, MissingName, UnknownRole, LastAdministrator."""
        return await self._act(staff.change, official, user, name=name.strip(), roles=tuple(roles))

    async def reset_password(self, official: Official, user: int) -> tuple[Colleague, str]:
        """The code of a link to set a new password, shown only this once. Raises UnknownUser, NotAdministrator and others."""
        code, unusable = new_code(), await self._users.unusable_password()
        return await self._act(staff.reset, official, user, unusable=unusable, code=code), code

    async def close_user(self, official: Official, user: int) -> None:
        """Raises NotAdministrator, UnknownUser, LastAdministrator."""
        await self._act(staff.close, official, user)

    async def password_link(self, code: str, *, source: str) -> str:
        """The login of the user whose password a link sets. Raises UnknownInvitation, TooManyGuesses."""
        await self._read(registering.check_guesses, source)
        try:
            return await self._read(_login_of_code, code[:100])
        except UnknownInvitation:
            await self.database.transact(_with(registering.count_guess, self.desk), source)
            raise

    async def set_password(self, code: str, password: str, *, source: str) -> None:
        """Set a password with a link, once. Raises UnknownInvitation, TooManyGuesses, WeakPassword."""
        login = await self.password_link(code, source=source)
        hashed = await self._users.hash_password(password, login=login)
        await self._act(staff.set_password, code[:100], hashed)

    # Jobs.

    async def publish_pending(self) -> None:
        """Take changes over into the directory's log, in order. Raises what the log raises; the rest waits, then."""
        if self._publish is None:
            return
        async with self._publishing:
            while (found := await self.database.read(registrations.next_change)) is not None:
                number, body = found
                change, by = read_change(body, node=self.desk.node)
                await asyncio.to_thread(self._take_over, change, by)
                # If we crash here, the entry is found in the directory when this change is taken up again.
                await self.database.transact(registrations.drop_change, number)

    def _take_over(self, change: Change, by: By) -> None:
        assert self._publish is not None
        directory = self.desk.directory
        known = directory.replica.find(change.id)
        if known is not None and known.node != self.desk.node:
            log.warning("directory change dropped: the authority moved to another node", authority=change.id)
        elif known != change or directory.changed_by(change.id) != by:
            self._publish(change, by)

    async def sweep(self) -> None:
        """Erase who left long ago, and forget what was decided long ago."""
        await self.database.transact(_with(_sweep, self.desk))

    async def _first(self, first: NewUser) -> FirstUser:
        login, name = folded(first.login), first.name.strip()
        check_language(first.language)
        if not login or not name or len(login) > staff.LONGEST or len(name) > staff.LONGEST:
            raise MissingName("the first user has a login and a name")
        hashed = await self._users.hash_password(first.password, login=login)
        return FirstUser(login=login, name=name, language=first.language, password=hashed)

    async def _act(self, unit: Callable[Concatenate[Desk, Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """One transaction; then what it changed in the directory is on its way."""
        done = await self.database.transact(_with(unit, self.desk), *args, **kwargs)
        try:
            await self.publish_pending()
        except ImiError as error:  # the act stands: it says "being published", and the job tries again
            log.warning("directory change put off", code=error.code)
        return done

    async def _read(self, unit: Callable[Concatenate[Desk, Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.read(_with(unit, self.desk), *args, **kwargs)


def _with(unit: Callable[Concatenate[Desk, Session, P], T], desk: Desk) -> Callable[Concatenate[Session, P], T]:
    def bound(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return unit(desk, session, *args, **kwargs)

    return bound


def _ours(desk: Desk, session: Session, official: Official, authority: AuthorityId) -> Ours:
    if authority == official.authority:
        found = at_desk.current(desk, session, authority)
    else:
        found = _linked(desk, session, official, authority)
    return Ours(
        authority=found,
        publishing=registrations.pending_change(session, authority) is not None,
        is_stale=stewarding.is_stale(found, desk.tools.clock.now().date()),
        access=stewarding.access_of(session, authority),
        decisions=stewarding.decisions_of(session, authority),
        colleagues=staff.listed(session, authority),
        scopes=desk.scopes(),
    )


def _linked(desk: Desk, session: Session, official: Official, authority: AuthorityId) -> Authority:
    """One that the official's authority validates, or decides on the access of, if only in one area."""
    areas = {rules.area_of(scope) for scope in desk.scopes()}
    for area in ("", *sorted(areas)):
        with suppress(NotCoordinator):
            return at_desk.coordinated(desk, session, official, authority, "access", scope=area)
    return at_desk.coordinated(desk, session, official, authority, "validating")


def _coordination(desk: Desk, session: Session, official: Official) -> Coordination:
    at_desk.check_coordinator(desk, session, official)
    pending = tuple(AuthorityId(name) for name in registrations.pending_authorities(session))
    known = {found.id: found for found in desk.directory.linked_to(official.authority) if found.node == desk.node}
    for name in pending:
        found = at_desk.current(desk, session, name)
        if official.authority in {link.coordinator for link in found.coordinators}:
            known[name] = found
    linked = tuple(sorted(known.values(), key=lambda found: found.name.casefold()))
    today = desk.tools.clock.now().date()
    return Coordination(
        registrations=registering.of_coordinator(desk, session, official.authority),
        access=stewarding.open_access(session, official.authority),
        linked=linked,
        stale=tuple(found.id for found in linked if stewarding.is_stale(found, today)),
        publishing=tuple(name for name in pending if name in known),
    )


def _tasks(desk: Desk, session: Session, official: Official) -> Tasks:
    try:
        own = at_desk.current(desk, session, official.authority)
    except ImiError:
        return Tasks()
    is_local = at_desk.LOCAL in official.roles
    due = is_local and stewarding.is_stale(own, desk.tools.clock.now().date())
    if at_desk.DATA not in official.roles or not at_desk.is_coordinator(own):
        return Tasks(review_due=due, suspended=own.status == "suspended")
    waiting = _coordination(desk, session, official) if own.status == "active" and own.node == desk.node else None
    return Tasks(
        review_due=due,
        submitted=sum(one.state == "submitted" for one in waiting.registrations) if waiting else 0,
        access=len(waiting.access) if waiting else 0,
        stale=len(waiting.stale) if waiting else 0,
        suspended=own.status == "suspended",
    )


def _login_of_code(desk: Desk, session: Session, code: str) -> str:
    return staff.user_of_code(desk, session, code).login


def _sweep(desk: Desk, session: Session) -> None:
    now = desk.tools.clock.now()
    if count := staff.erase_blocked(desk, session):
        log.info("users erased", count=count)
    registrations.forget_decided(session, now - registering.KEPT)
    registrations.sweep_codes(session, now)
