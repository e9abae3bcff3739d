"""For whom an official acts: their own authority, and the bodies without users that it represents.

A body names the coordinator that represents it in its own directory entry; while it does, that coordinator's users act
for it, on the node that hosts both, since a step is signed by its author's node. The body is the party and the author
of every step; the audit trail says which user of which coordinator acted. A body that gets users of its own, and whose
entry names nobody any more, goes on with its cases by itself. Nothing is inherited: whoever represents a coordinator
does not act for those whom that one represents.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from node.casework.errors import NoAccess, UnknownCase
from node.casework.tools import Tools
from node.casework.views import Official
from node.ids import AuthorityId, CaseId, CaseNumber
from node.local_store import drafts
from node.local_store.audit import AuditEntry
from node.local_store.drafts import DraftRow


def may_act_for(tools: Tools, official: Official, authority: AuthorityId) -> bool:
    """Whether the directory lets this user act for an authority now."""
    if authority == official.own:
        return True
    return tools.handled_by(authority) == official.own and tools.is_ours(authority) and tools.is_ours(official.own)


def check(tools: Tools, official: Official) -> None:
    """Raises NoAccess for an authority that was chosen and is neither the user's own nor represented by it."""
    if not may_act_for(tools, official, official.authority):
        raise NoAccess("this user's authority does not represent the one acted for", authority=official.authority)


def authorities(tools: Tools, official: Official) -> tuple[AuthorityId, ...]:
    """All that the official may act for, the user's own first; the chosen one alone. Raises NoAccess."""
    if official.via:
        check(tools, official)
        return (official.authority,)
    represented = tools.directory.represented_by(official.own)
    return (official.own, *(body for body in represented if may_act_for(tools, official, body)))


def among(tools: Tools, official: Official, parties: Iterable[AuthorityId]) -> tuple[Official, ...]:
    """The official for each of these authorities that they act for: the chosen one, else their own first."""
    mine = sorted((a for a in parties if may_act_for(tools, official, a)), key=lambda a: (a != official.own, a))
    return tuple(official.acting_for(a) for a in mine if not official.via or a == official.authority)


def draft(tools: Tools, session: Session, official: Official, number: CaseNumber, step: str) -> DraftRow | None:
    """The draft of a new case (`step` empty) or of a step within one, if the official acts for its authority."""
    rows = {AuthorityId(row.authority): row for row in drafts.named(session, number, step)}
    found = among(tools, official, rows)
    return rows[found[0].authority] if found else None


def for_draft(
    tools: Tools, session: Session, official: Official, number: CaseNumber, step: str
) -> tuple[DraftRow, Official]:
    """A draft, and the official for its authority. Raises UnknownCase."""
    row = draft(tools, session, official, number, step)
    if row is None:
        raise UnknownCase("there is no such draft")
    return row, official.acting_for(AuthorityId(row.authority))


def audit_entry(
    tools: Tools, official: Official, act: str, *, subject: str = "", case: CaseId | None = None
) -> AuditEntry:
    """A line of the trail: the authority acted for, the user, and where that is not the user's own, whose user it is."""
    via = f"via {official.own}" if official.own != official.authority else ""
    return AuditEntry(
        at=tools.clock.now(),
        act=act,
        user=official.user,
        login=official.login,
        authority=official.authority,
        case=case,
        subject=" ".join(filter(None, (subject, via))),
    )
