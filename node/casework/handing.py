"""Moving an authority to another node of its State, case by case (ADR 10).

On the node it leaves:

1. `begin`: from this transaction on nothing is signed for it here.
2. `look_at`, a transaction a case: `moved`, and everything the authority has in the case, goes to the new node and `moved`
   to every party. If we crash here, the same again goes on with the cases that lack it.
3. The directory log says that it moves, and with how many cases.

On the node it moves to:

4. `accept`: when so many cases have come whole. It remembers which `moved` it accepts; from then on no other counts.
5. The directory log says that it is here. Now, and not before, every node that hears of both takes its steps from here.
6. `look_at`, on every node as it hears of it: debts are computed anew; the new node signs `taken-over` in each case, and
   the old one, when that arrives, deletes what only this authority might read.

Whatever still reaches the old node is handed on like the rest: `leave` and `answer` run with every change of a case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog
from sqlalchemy.orm import Session

from node.casework.arriving import check_parts, recheck
from node.casework.errors import AuthorityMoving, NotYetArrived
from node.casework.loading import load
from node.casework.settling import settle
from node.casework.tools import Tools
from node.domain.events import Event
from node.domain.handover import MOVED, is_complete, is_well_formed, nth
from node.ids import AuthorityId, CaseId, EventId, NodeId, state_of
from node.local_store import audit, cases, drafts, moves
from node.local_store.audit import AuditEntry
from node.local_store.moves import Leaving

log = structlog.get_logger()


def begin(
    tools: Tools, session: Session, authority: AuthorityId, to: NodeId, *, leave_drafts: bool
) -> tuple[CaseId, ...]:
    """From now on nothing is signed for an authority of ours here; the cases to hand over. Repeating changes nothing.

    Raises:
        AuthorityMoving: it is not ours, the node is none of its State or not listed, it is leaving for another node,
            or there are drafts (which do not travel) and they are not to be left.
    """
    homes = tools.homes(authority)
    known = moves.leaving(session).get(authority)
    if not homes or homes[-1] != tools.node:
        raise AuthorityMoving("the directory says that this authority is not hosted by this node")
    if to == tools.node or state_of(to) != state_of(authority):
        raise AuthorityMoving("an authority moves to another node of its own State")
    tools.peers.get(to)
    if known and known.to != to:
        raise AuthorityMoving(f"this authority is already moving to {known.to}")
    count = drafts.count_of(session, authority)
    if count and not leave_drafts:
        raise AuthorityMoving(f"{count} drafts do not travel: finish or delete them, or say that they are to be left")
    if known is None:
        moves.begin(session, authority, Leaving(to, len(homes)), at=tools.clock.now())
        entry = AuditEntry(at=tools.clock.now(), act="authority-leaves", authority=authority, subject=f"to {to}")
        audit.record(session, entry)
    return moves.cases_of(session, authority)


def look_at(tools: Tools, session: Session, case_id: CaseId) -> None:
    """Bring one case up to date with moves: `moved`, `taken-over`, debts. Where that is done, nothing changes."""
    row = cases.find(session, case_id)
    if row is None or row.key is None:
        return
    recheck(tools, session, row)
    if case := load(tools, session, row):
        check_parts(case)
        settle(case)


def arrived(tools: Tools, session: Session, authority: AuthorityId, number: int) -> Mapping[CaseId, EventId]:
    """The cases that have come whole with an authority that moves here, and the `moved` to go on from in each.

    Of two (the old node was restored from a backup) the one that hands over most, then the earlier.
    """
    found: dict[CaseId, EventId] = {}
    for case_id in cases.cases_with_held_events(session):
        events = [stored.signed.event for stored in cases.events_of(session, case_id)]
        whole = [e for e in _coming(events, authority, tools.node) if nth(e) == number and is_complete(events, e)]
        if whole:
            found[case_id] = min(whole, key=lambda e: (-len(e.control["events"]), e.at, e.id)).id
    return found


def _coming(events: list[Event], authority: AuthorityId, node: NodeId) -> Iterator[Event]:
    for event in events:
        if event.step == MOVED and event.author == authority and is_well_formed(event) and event.control["to"] == node:
            yield event


def accept(tools: Tools, session: Session, authority: AuthorityId, *, number: int, expected: int) -> int:
    """Remember what this node goes on from, so that the directory may say that the authority is here; how many cases.

    Raises:
        NotYetArrived: with how many cases have come and how many are expected.
    """
    found = arrived(tools, session, authority, number)
    if len(found) < expected:
        raise NotYetArrived(
            f"{len(found)} of {expected} cases have arrived: try again later", arrived=len(found), expected=expected
        )
    moves.accept(session, authority, number, found)
    moves.stay(session, authority)
    entry = AuditEntry(at=tools.clock.now(), act="authority-comes", authority=authority, subject=f"{len(found)} cases")
    audit.record(session, entry)
    return len(found)


def behind(tools: Tools, session: Session) -> Mapping[AuthorityId, int]:
    """The authorities whose move the directory tells of and the cases here have not caught up with."""
    known = moves.caught_up(session)
    return {
        authority: len(homes) - 1
        for authority, homes in tools.directory.moved().items()
        if len(homes) - 1 > known.get(authority, 0)
    }


def touched(tools: Tools, session: Session, authority: AuthorityId) -> tuple[CaseId, ...]:
    """The cases to look at again after an authority moved."""
    return moves.cases_touched(session, authority, tools.homes(authority))


def caught_up(_tools: Tools, session: Session, authority: AuthorityId, count: int) -> None:
    """Note that the cases here know of a move."""
    moves.catch_up(session, authority, count)
    log.info("cases follow an authority that moved", authority=authority, moves=count)
