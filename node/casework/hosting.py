"""For which parties of a case this node signs, and the two steps by which it hands one over or takes one over."""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from node.casework.loading import Case
from node.domain.events import Event, Scope, SignedEvent, signing_input
from node.domain.fold import View
from node.domain.handover import MOVED, is_on_its_way, is_well_formed, moved, names_nothing, nth, taken_over
from node.ids import AuthorityId, NodeId
from node.local_store import audit, moves
from node.local_store.audit import AuditEntry
from node.local_store.cases import StoredEvent
from node.local_store.moves import Leaving

log = structlog.get_logger()


def sign(case: Case, event: Event) -> SignedEvent:
    """The event, signed by this node for its authority."""
    return SignedEvent(
        event_bytes=event.canonical,
        event=event,
        signature=case.tools.signer.sign(signing_input(event.id)),
        certificate=case.tools.certificate,
    )


def our_parties(case: Case, view: View) -> list[AuthorityId]:
    """This node's authorities that hold a role now."""
    holders = {a for role in case.procedure.roles for a in view.holders(role)}
    return sorted(a for a in holders if case.tools.is_ours(a))


def acting_parties(case: Case, view: View) -> list[AuthorityId]:
    """Those of them that this node signs for: not one that leaves, nor one that has not come whole."""
    return [party for party in our_parties(case, view) if signs_for(case, party)]


def signs_for(case: Case, party: AuthorityId) -> bool:
    """Whether this node may sign for an authority of its own in this case now."""
    if party in leaving(case):
        return False
    chosen = moves.accepted(case.session, case.id).get(party)
    event = next((s.signed.event for s in case.stored if s.signed.event.id == chosen), None) if chosen else None
    return event is None or not is_on_its_way(case.events(), event, signers=case.signers())


def leaving(case: Case) -> dict[AuthorityId, Leaving]:
    """The parties of this case that leave this node, or have left it."""
    found = moves.leaving(case.session)
    return {party: going for party, going in found.items() if party in case.parties()}


def handed_over(case: Case) -> dict[AuthorityId, NodeId]:
    """Those of them whose new node has taken the case over."""
    done = case.view().hand_overs
    return {a: going.to for a, going in leaving(case).items() if a in done and done[a].to == going.to}


def expected(case: Case) -> set[AuthorityId]:
    """Authorities that are on their way here: the node they leave says so, the directory not yet."""
    return {
        event.author
        for event in _moves(case)
        if event.control["to"] == case.tools.node and nth(event) >= len(case.tools.homes(event.author))
    }


def left(case: Case, party: AuthorityId) -> set[NodeId]:
    """The nodes a party of ours was on while the case ran: they keep the file card."""
    signers = case.signers()
    return {signers[e.id] for e in _moves(case) if e.author == party and e.id in signers} - {case.tools.node}


def _moves(case: Case) -> Iterator[Event]:
    """Every `moved` here, also those that the directory does not bear out yet."""
    for stored in case.stored:
        event = stored.signed.event
        if event.step == MOVED and is_well_formed(event):
            yield event


def leave(case: Case) -> None:
    """Sign `moved` for each party that leaves, once; also in a case that reaches this node for it later."""
    for party, going in leaving(case).items():
        try:
            event = _moved(case, party, going)
        except ValueError:
            log.critical("too many steps to hand over", case_id=case.id, authority=party)
            continue
        if event:
            _add(case, event)


def _moved(case: Case, party: AuthorityId, going: Leaving) -> Event | None:
    return moved(
        case.events(),
        party,
        after=case.shared().head,
        scope=_scope(case, party),
        to=going.to,
        number=going.nth,
        signers=case.signers(),
        at=case.tools.clock.now(),
        edition=case.tools.catalogue.edition,
    )


def _scope(case: Case, party: AuthorityId) -> Scope:
    """What only one State knows of, that a party takes part, the others must not learn from its moving."""
    return "case" if party in case.shared_parties() else "state"


def answer(case: Case) -> None:
    """Sign `taken-over` for each party that came here, once all that it brings is here.

    Where a `moved` was accepted, no other is answered: an emptier one would end what the authority did.
    """
    coming = [event for event in _moves(case) if event.control["to"] == case.tools.node and _is_current(case, event)]
    chosen = moves.accepted(case.session, case.id) if coming else {}
    for event in coming:
        accepted = chosen.get(event.author)
        if event.id != accepted and (accepted or not names_nothing(event)):
            continue
        taken = taken_over(
            case.events(),
            event,
            after=case.shared().head,
            signers=case.signers(),
            at=case.tools.clock.now(),
            edition=case.tools.catalogue.edition,
        )
        if taken:
            _add(case, taken)


def _is_current(case: Case, event: Event) -> bool:
    """Whether it tells of the move that brought the authority to where the directory says it is now."""
    return case.tools.is_ours(event.author) and nth(event) == len(case.tools.homes(event.author)) - 1


def _add(case: Case, event: Event) -> None:
    now = case.tools.clock.now()
    case.add(StoredEvent(signed=sign(case, event), door="", sender="", login="", only_to=frozenset(), arrived_at=now))
    entry = AuditEntry(
        at=now, act="hand-over", authority=event.author, case=case.id, subject=f"{event.step} {event.id}"
    )
    audit.record(case.session, entry)
