"""What the fold does with events that are early, missing, hostile or many; and what composing takes care of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from node.domain.events import Event
from node.domain.fold import received_by
from node.domain.steps import compose, receipt

FR, RO, RO2 = "FR:schools", "RO:ministry", "RO:university"
ASK = {"to": RO, "questions": ["Q1", "Q3"], "wanted": "2026-12-10", "urgency": "normal"}
DATE = {"date": "2026-12-15"}


@pytest.fixture
def case(play):
    case = play("professional-qualifications/information-request")
    case.take("send", FR, "requesting", ASK)
    return case


def changed(event: Event, **fields: object) -> Event:
    return replace(event, **fields)


def test_nothing_makes_an_empty_case(play):
    view = play("services/alert").view([])
    assert (view.case, view.state, view.head, view.moves) == ("", "draft", "", ())


def test_an_event_waits_for_the_move_it_follows(case):
    accept = case.make("accept", RO, "responding", DATE)
    view = case.view([accept])
    assert view.waiting == {accept.id}
    assert view.unknown == {case.everything[0].id}
    assert view.wanted == {FR: 1}
    assert case.view([accept, *case.everything]).state == "accepted"


def test_an_event_waits_for_what_it_has_seen(case):
    message = case.take("message", FR, "requesting")
    accept = case.make("accept", RO, "responding", DATE)
    view = case.view([case.everything[0], accept])
    assert view.waiting == {accept.id}
    assert view.wanted == {FR: message.seq}


def test_what_follows_a_waiting_event_waits_too(case):
    first = case.everything[0]
    case.take("message", FR, "requesting")
    accept = case.take("accept", RO, "responding", DATE)
    answer = case.make("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    assert case.view([first, accept, answer]).waiting == {accept.id, answer.id}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"step": "fly"}, "unknown-step"),
        ({"role": "requesting"}, "role"),
        ({"author": RO2, "seq": 1}, "role-not-held"),
        ({"scope": "state"}, ""),  # not taken at all: outside the State it does not exist
        ({"control": {}}, "control"),
        ({"control": {"date": "tomorrow"}}, "control"),
        ({"control": {"date": "2026-02-30"}}, "control"),
        ({"control": {"date": "2026-W01-1"}}, "control"),
        ({"control": {"date": "2999-01-01"}}, "control"),
        ({"control": {"date": ("2026-12-15",)}}, "control"),
        ({"control": {**DATE, "why": "because"}}, "control"),
        ({"parts": {"content": "0" * 64}}, "parts"),
        ({"seen": {FR: 1, f"{FR}#state": 0}}, "seen"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_reason(case, fields, reason):
    event = changed(case.make("accept", RO, "responding", DATE), **fields)
    view = case.view([*case.everything, event])
    assert view.refused.get(event.id, "") == reason
    assert view.state == "awaiting-acceptance"


@pytest.mark.parametrize(
    ("control", "fits"),
    [
        ({"to": RO2}, True),
        ({"to": "nonsense"}, False),
        ({"to": (RO2,)}, False),
        ({"to": "HU:other"}, False),  # another State: forwarding stays inside
    ],
)
def test_control_values_are_of_their_type(case, control, fits):
    event = changed(case.make("forward", RO, "responding", {"to": RO2}), control=control)
    assert (event.id in {m.id for m in case.view([*case.everything, event]).moves}) == fits


def test_questions_are_those_of_the_set_and_named_once(case):
    for keys in (("Q99",), ("Q1", "Q1"), "Q1"):
        event = changed(
            case.make("split", RO, "responding", {"to": RO2, "questions": ["Q1"]}),
            control={"to": RO2, "questions": keys},
        )
        assert case.view([*case.everything, event]).refused[event.id] == "control"


def test_an_event_before_the_one_it_follows_is_refused(case):
    first = case.everything[0]
    early = changed(case.make("accept", RO, "responding", DATE), at=first.at)
    assert case.view([first, early]).refused[early.id] in ("clock", "follows-refused")
    earlier = changed(early, at=first.at - timedelta(days=1))
    assert case.view([first, earlier]).refused[earlier.id] == "follows-refused"


def test_a_case_opens_once_by_a_step_that_opens_under_its_own_definition(play):
    case = play("professional-qualifications/information-request")
    first = case.make("send", FR, "requesting", ASK)
    other = changed(first, opening=replace(first.opening, digest="0" * 64))
    assert case.view([other]).refused[other.id] == "definition"
    closing = changed(first, step="withdraw", control={}, parts={})
    assert case.view([closing]).refused[closing.id] == "not-first"


def test_the_start_state_is_left_by_its_turn_only(play):
    case = play("services/alert")
    case.take("submit", "EE:labour", "alert-authority", {"coordinator": "EE:ttja"})
    case.take("return", "EE:ttja", "sender")
    assert case.view().state == "draft"
    control = {"to": ["FR:a"], "establishment": "FR:a"}
    assert case.refused("broadcast-directly", "EE:ttja", "sender", control) == "turn"
    assert "broadcast-directly" not in case.offers("EE:ttja", "disseminator")
    assert case.offers("EE:labour", "handler") == {"submit"}


def test_thousands_of_moves_do_not_exhaust_the_stack(case):
    """A hostile peer may make a case long; it can cost time, it must not break the node."""
    chain = list(case.everything)
    view = case.view()
    step = case.procedure.steps["edit"]
    event = case.make("edit", FR, "requesting", {"questions": ["Q1"], "wanted": "2026-12-20"})
    for _ in range(1500):
        chain.append(event)
        event = changed(event, seq=event.seq + 1, after=event.id, at=event.at + timedelta(seconds=1), seen={})
    view = case.view(chain)
    assert len(view.moves) == 1501
    assert step.name == view.moves[-1].step


def test_receipts_are_counted_and_kept_out_of_what_all_share(case):
    first = case.everything[0]
    view = case.view()
    acknowledged = receipt(case.procedure, view, RO, at=case.at, edition=0)
    assert acknowledged.scope == "receipt", "no deadline of this procedure counts from it"
    after = case.view([first, acknowledged])
    assert received_by(after, first) == {RO}
    assert after.shared() == view.shared()
    assert acknowledged not in after.lanes
    later = case.take("message", FR, "requesting")
    assert received_by(case.view([*case.everything, acknowledged]), later) == set()
    assert receipt(case.procedure, view, "EE:stranger", at=case.at, edition=0) is None


def test_a_receipt_a_deadline_counts_from_is_for_all(play):
    case = play("posting-of-workers/information-request", of_tried=True)
    case.take("send", FR, "requesting", {**ASK, "questions": ["P1"]})
    assert receipt(case.procedure, case.view(), RO, at=case.at, edition=0).scope == "case"


def test_a_slow_clock_is_pushed_behind_what_it_has_seen(case):
    accept = case.make("accept", RO, "responding", DATE, at=case.at - timedelta(days=3))
    assert accept.at == case.everything[0].at + timedelta(milliseconds=1)
    assert not case.view([*case.everything, accept]).refused


def test_what_was_refused_is_not_counted_on(case):
    bad = changed(case.make("message", FR, "requesting"), parts={})
    held = [*case.everything, bad]
    assert case.view(held).refused == {bad.id: "parts"}
    accept = case.make("accept", RO, "responding", DATE, after=held)
    assert accept.seen == {FR: 1}, "others need not hold what has no right"
    again = case.make("message", FR, "requesting", after=held)
    assert again.seq == bad.seq + 1, "its author goes on behind it"


def test_parts_are_split_by_audience(play):
    case = play("services/alert")
    text = {"text": "Metz Gerüstbau", "lang": "de"}
    step = case.procedure.steps["broadcast-directly"]
    composed = compose(
        case.procedure,
        None,
        step,
        author="EE:ttja",
        role="sender",
        control={"to": ("FR:b", "FR:a"), "establishment": "DE:a"},
        content={"service-danger": {"provider": text, "damage": "safety", "severity": "serious"}},
        at=case.at,
        edition=3,
        salt=lambda: bytes(16),
    )
    assert composed.event.control["to"] == ("FR:a", "FR:b")
    assert composed.event.catalogue == 3
    assert composed.parts["summary"].content == {"service-danger": {"damage": "safety", "severity": "serious"}}
    assert composed.parts["content"].content == {"service-danger": {"provider": text}}


def test_silence_is_offered_to_the_node_alone(play):
    case = play("professional-qualifications/professional-card", of_tried=True)
    case.take("submit", "EE:guild", "applicant", {"regime": "automatic"})
    case.take("acknowledge", "EE:guild", "home")
    case.take("transmit", "EE:guild", "home", {"host": "DE:guild"})
    case.at = case.due("grace").ends + timedelta(seconds=1)
    assert "deem-issued" in case.offers("EE:guild", "system")
    assert "deem-issued" not in case.offers("EE:guild", "handler")


def test_internal_steps_are_numbered_apart(case):
    case.take("received", RO, "responding")
    note = case.take("note", RO, "responding")
    accept = case.take("accept", RO, "responding", DATE)
    assert (note.seq, accept.seq) == (1, 1), "a receipt and a note have lanes of their own"
