"""A hand-over by hand: what both nodes sign, and what counts then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from node.domain.fold import fold, parties
from node.domain.handover import is_complete, is_on_its_way, is_well_formed, moved, taken_over

FR, RO = "FR:schools", "RO:ministry"
ASK = {"to": RO, "questions": ["Q1", "Q3"], "wanted": "2026-12-10", "urgency": "normal"}
DATE = {"date": "2026-12-15"}


@pytest.fixture
def case(play):
    case = play("professional-qualifications/information-request")
    case.take("send", FR, "requesting", ASK)
    case.take("accept", RO, "responding", DATE)
    return case


def signers(case, **nodes: str) -> dict[str, str]:
    return {e.id: nodes.get(e.step.replace("-", "_"), "RO") for e in case.everything}


def leave(case, *, to="RO-CJ", number=1, held=None, at=None):
    held = held or case.everything
    return moved(
        held, RO, after=case.view(held).head, scope="case", to=to, number=number, signers=signers(case),
        at=at or case.at, edition=0,
    )  # fmt: skip


def hand_over(case):
    """Adds both steps; returns who signed what."""
    gone = leave(case)
    case.everything.append(gone)
    taken = taken_over(case.everything, gone, after=case.view().head, signers=signers(case), at=case.at, edition=0)
    case.everything.append(taken)
    case.wait(hours=1)
    return {**signers(case), taken.id: "RO-CJ"}


def test_the_case_is_what_it_was(case):
    before, due = case.view(), case.due("answer")
    signed = hand_over(case)
    view = fold(case.procedure, case.everything, case.definitions.calendars, signers=signed)
    assert view.hand_overs[RO].to == "RO-CJ"
    assert (view.state, view.moves, view.lanes, view.roles) == (before.state, before.moves, before.lanes, before.roles)
    assert case.due("answer") == due
    assert parties(case.procedure, case.everything, case.definitions.calendars, signers=signed) == case.parties()


def test_moved_names_what_counts_and_is_signed_once(case):
    gone = leave(case)
    assert gone.control["events"] == (case.everything[1].id,)
    assert (gone.seq, gone.control["nth"]) == (2, "1")
    case.everything.append(gone)
    assert leave(case) is None
    assert leave(case, number=2, to="RO") is not None


@pytest.mark.parametrize(
    ("signer", "change", "counts"),
    [
        ("RO-CJ", {}, True),
        ("RO", {}, False),
        ("RO-TM", {}, False),
        ("RO", {"seq": 2}, False),
        ("RO", {"seq": 1, "at": -2}, False),
        ("RO-CJ", {"seq": 1}, False),  # below what was handed over: a number that is taken
    ],
)
def test_afterwards_only_the_new_node_signs(case, signer, change, counts):
    signed = hand_over(case)
    answer = case.make("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    if "at" in change:
        change = {**change, "at": answer.at + timedelta(hours=change["at"])}
    answer = replace(answer, **change)
    view = fold(
        case.procedure, [*case.everything, answer], case.definitions.calendars, signers={**signed, answer.id: signer}
    )
    assert (view.state == "answered") == counts
    assert (answer.id in view.ended) != counts


def test_what_followed_is_ended_with_it(case):
    signed = hand_over(case)
    answer = case.make("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    held = [*case.everything, answer]
    close = case.make("close", FR, "requesting", after=held, at=case.at + timedelta(hours=1))
    view = fold(case.procedure, [*held, close], case.definitions.calendars, signers={**signed, answer.id: "RO"})
    assert view.ended.keys() == {answer.id, close.id}
    assert view.state == "accepted"


def test_without_an_answer_nothing_is_ended(case):
    case.everything.append(leave(case))
    answer = case.make("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    view = fold(case.procedure, [*case.everything, answer], case.definitions.calendars, signers=signers(case))
    assert (view.state, view.hand_overs) == ("answered", {})


def test_the_new_node_answers_when_all_is_there_and_once(case):
    gone = leave(case)
    some = [case.everything[0], gone]
    assert not is_complete(some, gone)
    ask = {"after": case.view().head, "signers": signers(case), "at": case.at, "edition": 0}
    assert taken_over(some, gone, **ask) is None
    signed = hand_over(case)
    assert not is_on_its_way(case.everything, gone, signers=signed)
    assert taken_over(case.everything, gone, **{**ask, "signers": signed}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"control": {"to": "RO-CJ", "nth": "1"}},
        {"control": {"to": "RO-CJ", "nth": "0", "events": ()}},
        {"control": {"to": "nowhere", "nth": "1", "events": ()}},
        {"control": {"to": "RO-CJ", "nth": "1", "events": ("words",)}},
        {"control": {"to": "RO-CJ", "nth": "1", "events": (), "why": "because"}},
        {"parts": {"content": "0" * 64}},
        {"role": "responding"},
        {"scope": "authority"},
    ],
)
def test_a_malformed_hand_over_is_refused_and_says_nothing(case, change):
    wrong = replace(leave(case), **change)
    assert not is_well_formed(wrong)
    view = case.view([*case.everything, wrong])
    assert view.refused.get(wrong.id, "control") == "control"
    assert view.state == "accepted"


def come_back(case, *, back_by):
    """RO gives the authority to RO-CJ, which gives it back; RO signs a step before it has accepted, or after."""
    signed = hand_over(case)
    calendars = case.definitions.calendars

    def head():
        return fold(case.procedure, case.everything, calendars, signers=signed).head

    def last():
        return max(e.seq for e in case.everything if e.author == RO)

    def take_step():
        answer = replace(case.make("answer", RO, "responding", {"questions": ["Q1", "Q3"]}), seq=1 + last())
        signed[answer.id] = "RO"
        case.everything.append(answer)
        case.wait(hours=1)
        return answer

    gone = moved(
        case.everything, RO, after=head(), scope="case", to="RO", number=2, signers=signed, at=case.at, edition=0
    )
    signed[gone.id] = "RO-CJ"
    case.everything.append(gone)
    case.wait(hours=1)
    early = take_step() if back_by == "before" else None
    before = fold(case.procedure, case.everything, calendars, signers=signed)
    taken = taken_over(case.everything, gone, after=head(), signers=signed, at=case.at, edition=0)
    signed[taken.id] = "RO"
    case.everything.append(taken)
    case.wait(hours=1)
    return early or take_step(), before, fold(case.procedure, case.everything, calendars, signers=signed)


def test_an_authority_that_comes_back_does_not_bring_back_what_its_node_signed_on_the_way(case):
    answer, before, after = come_back(case, back_by="before")
    assert answer.id in before.ended
    assert answer.id in after.ended
    assert (after.hand_overs[RO].to, after.state) == ("RO", "accepted")


def test_once_it_has_taken_over_the_node_it_came_back_to_signs(case):
    answer, _, after = come_back(case, back_by="after")
    assert answer.id not in after.ended
    assert after.state == "answered"
