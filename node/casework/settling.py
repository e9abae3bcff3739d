"""What follows from any change of a case, in the same transaction: receipts, debts, deletions, lists, deadlines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import structlog

from node.casework.hosting import acting_parties, answer, expected, handed_over, leave, leaving, our_parties, sign
from node.casework.loading import Case, PartKey
from node.casework.sending import send_owed
from node.domain.deadlines import Due, due_dates, keeping
from node.domain.events import RECEIVED, Event
from node.domain.fold import View, readable, received_by
from node.domain.forms import documents
from node.domain.procedures import ANSWERS, COMMENTS
from node.domain.steps import receipt
from node.ids import AuthorityId, NodeId
from node.local_store import cases, files
from node.local_store.cases import Running, Standing, StoredEvent

log = structlog.get_logger()


def settle(case: Case) -> None:
    """Bring everything that depends on the events up to date.

    Debts come before deletions: what a former holder's node is about to forget may still be owed to the next one.
    """
    leave(case)
    answer(case)
    _acknowledge(case)
    send_owed(case)
    _close_parts(case)
    _update_row(case)
    _update_lists(case)


def _acknowledge(case: Case) -> None:
    """The automatic `received`, once for each of our parties that something new came to."""
    shared, inside = case.shared(), case.view()
    for party in acting_parties(case, inside):
        for view, internal in ((shared, False), (inside, True)):
            news = [event for event in _news(view, party) if (event.scope == "state") == internal]
            event = receipt(
                case.procedure, view, party, at=case.tools.clock.now(), edition=case.tools.catalogue.edition
            ) if news else None  # fmt: skip
            if event:
                _add_receipt(case, event, news)


def _news(view: View, party: AuthorityId) -> list[Event]:
    """What counts and this party has not said it holds; its own steps and receipts left out."""
    return [
        event
        for event in view.counting()
        if event.author != party and event.step != RECEIVED and party not in received_by(view, event)
    ]


def _add_receipt(case: Case, event: Event, news: Iterable[Event]) -> None:
    homes = {case.tools.home(other.author) for other in news} - {None, case.tools.node}
    only_to = frozenset(NodeId(home) for home in homes if home) if event.scope == "receipt" else frozenset[NodeId]()
    case.add(
        StoredEvent(
            signed=sign(case, event), door="", sender="", login="", only_to=only_to, arrived_at=case.tools.clock.now()
        )
    )


def _close_parts(case: Case) -> None:
    """Delete the parts some authority of ours was entitled to and none is any more, and files only they name.

    One that moves to another node is entitled until that node has taken the case over; one that comes, from when its
    old node says so. A part that came before the step that entitles us (its sender knew of it sooner) is kept until then.
    """
    held = {key: part for key, part in case.sealed_parts().items() if part.sealed is not None and part.checked}
    if not held:
        return
    view = case.view()
    still = {*our_parties(case, view), *leaving(case), *expected(case)} - handed_over(case).keys()
    may_hold = {key for party in still for key in readable(case.procedure, view, party, carried=True)}
    counting = {event.id for event in view.counting()}
    for key in held.keys() & may_hold:
        if not held[key].used:
            case.use_part(*key)
    gone = {key for key, part in held.items() if part.used and key not in may_hold and key[0] in counting}
    if gone:
        _forget(case, gone)


def _forget(case: Case, gone: set[PartKey]) -> None:
    for event, audience in gone:
        case.forget_part(event, audience)
    named: set[str] = set()
    for key in case.sealed_parts():
        if part := case.part(*key):
            named.update(str(document["sha256"]) for document in documents(part.content))
    for sha256 in files.digests_in_case(case.session, case.id) - named:
        files.drop(case.session, case.id, sha256)


def _update_row(case: Case) -> None:
    row, view = case.row, case.view()
    kept = keeping(case.procedure, view, case.tools.catalogue.calendars)
    row.state = view.state
    row.final = case.procedure.states[view.state].final
    row.updated_at = max((event.at for event in view.counting() if event.step != RECEIVED), default=row.updated_at)
    row.block_at, row.delete_at = kept.block, kept.delete
    row.held = cases.count_held(case.session, case.id) if row.held else 0
    for lane, seq in view.forked:
        # Two steps of one author with one number: its node was restored from a backup and went on.
        log.critical("a lane is forked", case_id=case.id, lane=lane, seq=seq)
    case.session.flush()


def _update_lists(case: Case) -> None:
    view = case.view()
    running = [
        due for due in due_dates(case.procedure, view, case.tools.catalogue.calendars).values() if due.is_running
    ]
    if case.row.final:
        running = []
    cases.replace_deadlines(case.session, case.id, [_deadline(case, due) for due in running])
    everyone = case.parties()
    ours = [party for party in everyone if case.tools.is_ours(party)]
    rows = [_standing(case, view, party, everyone, running) for party in ours] if case.row.number else []
    cases.replace_standings(case.session, case.id, rows)


def due_role(case: Case, due: Due) -> str:
    """Who must act by a date: the role whose turn it is, if its step would stop the clock; else nobody in particular."""
    stops = case.procedure.deadlines[due.name].stop
    turn = case.procedure.states[case.view().state].turn
    steps = (case.procedure.steps[name] for name in stops)
    return turn if any(turn in step.by and case.view().state in step.sources for step in steps) else ""


def _deadline(case: Case, due: Due) -> Running:
    return Running(case_id=case.id, name=due.name, role=due_role(case, due), day=due.day.isoformat(), ends=due.ends)


def _standing(
    case: Case, view: View, party: AuthorityId, everyone: Iterable[AuthorityId], running: list[Due]
) -> Standing:
    roles = sorted(view.roles_of(party))
    turn = case.procedure.states[view.state].turn
    ours = turn in roles and not case.row.final
    due = min((d for d in running if due_role(case, d)), key=lambda d: d.ends, default=None)
    return Standing(
        authority=party,
        case_id=case.id,
        roles=",".join(roles),
        our_turn=ours,
        opened=bool(view.moves) and view.moves[0].author == party,
        acted=any(event.author == party and event.step != RECEIVED for event in view.counting()),
        other=_other(view, party, turn),
        others=len([a for a in everyone if a != party]),
        facts=json.dumps(facts(case, view, party)),
        due_name=due.name if due else "",
        due_role=due_role(case, due) if due else "",
        due_day=due.day.isoformat() if due else "",
        due_at=due.ends if due else None,
        final=case.row.final,
        updated_at=case.row.updated_at,
    )


def _other(view: View, party: AuthorityId, turn: str) -> str:
    """The other side that matters most: who has the turn, else who opened, else whom the opener asked."""
    opener = view.moves[0].author if view.moves else ""
    candidates = [*sorted(view.holders(turn)), opener, *view.roles.values(), *sorted(_members(view))]
    return next((str(a) for a in candidates if a and a != party), "")


def _members(view: View) -> Iterator[AuthorityId]:
    for members in view.members.values():
        yield from members


def facts(case: Case, view: View, party: AuthorityId) -> Mapping[str, str]:
    """What a list may say of the subject: codes from fields without personal data; never a text, date or answer."""
    found: dict[str, str] = {}
    may_read = readable(case.procedure, view, party)
    for event in view.moves:
        for audience in sorted(event.parts):
            part = case.part(event.id, audience) if (event.id, audience) in may_read else None
            for form, given in part.content.items() if part else ():
                found |= _codes(case, form, given)
    return found


def _codes(case: Case, form: str, given: Mapping[str, object]) -> dict[str, str]:
    spec = case.procedure.forms.get(form)
    if form in (ANSWERS, COMMENTS) or spec is None or not isinstance(given, dict):
        return {}
    return {
        f"{spec.name}.{field.key}": value
        for field in spec.fields
        if field.answers == ("list",) and field.data == "none" and isinstance(value := given.get(field.key), str)
        and value in case.tools.catalogue.lists.get(field.list, ())
    }  # fmt: skip


def is_blocked(case: Case, at: datetime) -> bool:
    return case.row.block_at is not None and at > case.row.block_at
