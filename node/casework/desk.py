"""What the acts about authorities share: whose data it is, who may act, and how a change gets into the directory.

An act writes its change beside everything else it stores, as the log entry it will be; after the commit it is taken over
into the log, in order. If we crash before that, the next run does it; if we crash between log and database, the entry is
found in the directory and not written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

from node.casework.errors import InvalidProfile, NotAdministrator, NotCoordinator, UnknownScope
from node.casework.views import Official
from node.catalogue import Catalogue
from node.clock import Clock
from node.directory import Directory
from node.directory.model import Authority, BadEntry, By, Function, read_change, write_change
from node.directory.rules import area_of
from node.ids import AuthorityId, NodeId
from node.local_store import audit, registrations
from node.local_store.audit import AuditEntry
from node.local_store.registrations import DecisionRow, PendingChangeRow

LOCAL = "local-administrator"
DATA = "data-administrator"
COORDINATOR = "coordinator"
OPERATOR_USER = 0  # the operator of the node, by a command


class Basis(Protocol):
    """Of what a node has, what these acts need; `casework.tools.Tools` has it all."""

    @property
    def node(self) -> NodeId: ...
    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What these acts may use."""

    tools: Basis
    directory: Directory

    @property
    def node(self) -> NodeId:
        return self.tools.node

    def scopes(self) -> dict[str, tuple[str, ...]]:
        """Areas and procedures of the catalogue, with the directory roles that mean something in them."""
        found: dict[str, set[str]] = {}
        for procedure in self.tools.catalogue.current():
            used = {*procedure.participants.values(), *procedure.recipients.values()}
            known = used & set(self.tools.catalogue.lists["directory-role"])
            for scope in (procedure.area, procedure.id):
                found.setdefault(scope, set()).update(known)
        order = self.tools.catalogue.lists["directory-role"]
        return {scope: tuple(sorted(roles, key=order.index)) for scope, roles in sorted(found.items())}

    def request_scopes(self) -> frozenset[str]:
        """Those in which requests are sent: access to them needs a request coordinator."""
        requests = [p for p in self.tools.catalogue.current() if p.kind == "request"]
        return frozenset(name for p in requests for name in (p.area, p.id))

    def check_scope(self, scope: str) -> None:
        """Raises UnknownScope."""
        if scope not in self.scopes():
            raise UnknownScope("not an area or procedure of the catalogue", scope=scope[:130])


def operator(coordinator: AuthorityId) -> Official:
    """The operator of the node, who acts by commands for a coordinator."""
    roles = frozenset({LOCAL, DATA})
    return Official(user=OPERATOR_USER, login="", authority=coordinator, roles=roles, language="en")


def user_of(official: Official) -> int | None:
    """The user's number; None for the operator."""
    return official.user if official.user != OPERATOR_USER else None


def record(
    desk: Desk, session: Session, official: Official, act: str, subject: str, *, authority: AuthorityId | None = None
) -> None:
    """A line of the audit trail: ids and codes only."""
    entry = AuditEntry(
        at=desk.tools.clock.now(),
        act=act,
        user=user_of(official),
        login=official.login,
        authority=official.authority,
        subject=f"{authority} {subject}".strip() if authority else subject,
    )
    audit.record(session, entry)


def decide(
    desk: Desk,
    session: Session,
    official: Official,
    authority: AuthorityId,
    act: str,
    *,
    subject: str = "",
    reason: str = "",
) -> None:
    """Write down a decision for those whom it concerns, and in the trail (there without the reason's words)."""
    session.add(
        DecisionRow(
            authority=authority,
            act=act,
            subject=subject,
            reason=reason[:2000],
            at=desk.tools.clock.now(),
            coordinator=official.authority if user_of(official) is not None else "",
        )
    )
    record(desk, session, official, act, subject, authority=authority)


def current(desk: Desk, session: Session, authority: AuthorityId) -> Authority:
    """An authority as it is, or will be once its last change is in the log. Raises UnknownAuthority."""
    pending = registrations.pending_change(session, authority)
    if pending is not None:
        change, _ = read_change(pending, node=desk.node)
        assert isinstance(change, Authority)
        return change
    return desk.directory.get(authority)


def put(desk: Desk, session: Session, official: Official, entry: Authority) -> None:
    """Have an entry written into our log after this transaction. Raises InvalidProfile for what no log would take."""
    user = user_of(official)
    by = By(authority=official.authority if user is not None else "", user=user, at=desk.tools.clock.now())
    try:
        body = write_change(entry, by)
        read_change(body, node=desk.node)
    except BadEntry as error:
        raise InvalidProfile("the directory does not take such an entry", (("", "malformed"),)) from error
    session.add(PendingChangeRow(authority=entry.id, body=body))
    session.flush()


def coordinators(authority: Authority, function: Function, area: str = "") -> tuple[AuthorityId, ...]:
    """Who validates an authority or decides on its access; one that names nobody for it: its request coordinators.

    Nobody decides on itself, whatever its links say: a coordinator of one area would give itself all others.
    """
    linked = tuple(dict.fromkeys(link.coordinator for link in authority.coordinators))
    named = (authority.coordinators_for(function, area), authority.coordinators_for("request", area), linked)
    others = (tuple(name for name in names if name != authority.id) for names in named)
    return next(filter(None, others), ())


def is_coordinator(authority: Authority) -> bool:
    """Whether it coordinates anything: it holds that role in some area or procedure."""
    return any(COORDINATOR in roles for roles in authority.roles.values())


def check_local(official: Official) -> None:
    """Raises NotAdministrator."""
    if LOCAL not in official.roles:
        raise NotAdministrator("this is for a local data administrator")


def check_coordinator(desk: Desk, session: Session, official: Official) -> Authority:
    """The official's own authority, a coordinator. Raises NotAdministrator, NotCoordinator, UnknownAuthority."""
    if DATA not in official.roles:
        raise NotAdministrator("this is for a data administrator of a coordinator")
    own = current(desk, session, official.authority)
    if not is_coordinator(own) or own.node != desk.node or own.status != "active":
        raise NotCoordinator("this authority is no active coordinator on this node")
    return own


def coordinated(
    desk: Desk, session: Session, official: Official, authority: AuthorityId, function: Function, *, scope: str = ""
) -> Authority:
    """An authority that the official's one coordinates. Raises NotAdministrator, NotCoordinator, UnknownAuthority."""
    check_coordinator(desk, session, official)
    found = current(desk, session, authority)
    if found.node != desk.node or official.authority not in coordinators(found, function, area_of(scope)):
        raise NotCoordinator("this authority is linked to another coordinator, or lives on another node")
    return found


def stewarded(desk: Desk, session: Session, official: Official, authority: AuthorityId) -> Authority:
    """An authority whose data the official may change: its own, or one that it validates.

    Raises NotAdministrator, NotCoordinator, UnknownAuthority.
    """
    if authority != official.authority:
        return coordinated(desk, session, official, authority, "validating")
    check_local(official)
    found = current(desk, session, authority)
    if found.node != desk.node:
        raise NotCoordinator("this authority lives on another node")
    return found
