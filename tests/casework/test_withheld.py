"""Approval, refusal and more questions: what is withheld stays until it is released; random histories end alike."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from casework_federation import PQ, REQUEST, entry, request_content, request_control, text

from node.casework.errors import InvalidContent, InvalidControl, StepNotAllowed, UnknownCase


async def test_an_authority_whose_entry_says_so_has_its_requests_approved_in_that_area_or_procedure(federation):
    world = federation("EE")
    estonia, signer = world["EE"], world.signing["EU"].signer
    for settings, steps in (
        ({}, ["send"]),
        ({"professional-qualifications": {"approve-requests": "yes"}}, ["submit"]),
        ({"professional-qualifications": {"approve-requests": "yes"}, REQUEST: {"approve-requests": "no"}}, ["send"]),
        ({"services": {"approve-requests": "yes"}}, ["send"]),
    ):
        changed = replace(entry("EE:school", "EE", PQ), settings=settings)
        estonia.directory.publish("EE", [changed], signer)
        draft = await estonia.casework.create_draft(estonia.official("EE:school"), REQUEST)
        assert [offer.step.name for offer in draft.offers] == steps


async def test_a_request_waits_for_approval_and_a_returned_one_is_never_seen(federation):
    world = federation("FR")
    estonia = world.start("EE", national={"approve-requests": "yes"})
    first = await estonia.casework.create_draft(estonia.official("EE:school"), REQUEST)
    assert [offer.step.name for offer in first.offers] == ["submit"]
    control = {**request_control(), "coordinator": "EE:coordinator"}
    number = await estonia.open("EE:school", REQUEST, "submit", control, request_content("CANARY-RETURNED"))
    world.exchange()
    assert world.carried == []
    with pytest.raises(UnknownCase):
        await world["FR"].case("FR:school", number)
    coordinator = await estonia.case("EE:coordinator", number)
    assert {form.name for form in coordinator.forms} >= {"person", "profession"}
    await estonia.step("EE:coordinator", number, "return", {}, {"message": {"text": text("Shorter, please.")}})
    await estonia.step("EE:school", number, "submit", control, request_content("CANARY-SECOND"))
    await estonia.step("EE:coordinator", number, "approve")
    world.exchange()
    case = await world["FR"].case("FR:school", number)
    assert case.our_turn
    surname = next(f.value for form in case.forms for f in form.fields if f.key == "surname")
    assert surname["text"] == "CANARY-SECOND Example"
    everything = b"".join(part.content for carried in world.carried for part in carried.inbound.parts)
    assert b"CANARY-SECOND" in everything
    assert b"CANARY-RETURNED" not in everything
    assert b"Shorter, please." not in everything


async def test_a_refusal_goes_back_and_the_request_goes_elsewhere(federation):
    world = federation("EE", "FR", "DE", "DE-BY")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    reason = {"reason": {"reason": {"list": "not-competent", "text": text("Pas chez nous.", "fr")}}}
    with pytest.raises(InvalidContent):
        await world["FR"].step("FR:school", number, "refuse", {}, {"reason": {"reason": {"list": "no-such-reason"}}})
    await world["FR"].step("FR:school", number, "refuse", {}, reason)
    world.exchange()
    assert (await world["EE"].case("EE:school", number)).state == "refused"
    with pytest.raises(InvalidControl):
        await world["EE"].step("EE:school", number, "resend", {"to": "FR:school"})
    await world["EE"].step("EE:school", number, "resend", {"to": "DE:munich"})
    world.exchange()
    bavaria = await world["DE-BY"].case("DE:munich", number)
    assert bavaria.our_turn
    assert {form.name for form in bavaria.forms} >= {"person", "reasoned-request"}
    card = await world["FR"].case("FR:school", number)
    assert (card.our_roles, card.forms) == ((), ())


async def test_more_is_asked_and_the_later_answer_stands_beside_the_first(federation):
    world = federation("EE", "FR")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    await world["FR"].step("FR:school", number, "accept", {"date": "2026-12-15"})
    answers = {"Q2": {"yes-no-unknown": "no"}, "Q3": {"yes-no-unknown": "unknown"}}
    await world["FR"].step("FR:school", number, "answer", {"questions": ["Q2", "Q3"]}, {"answers": answers})
    world.exchange()
    more = {"questions": ["Q3"], "wanted": "2027-01-15"}
    await world["EE"].step("EE:school", number, "ask-more", more, {"message": {"text": text("Really?")}})
    world.exchange()
    france = await world["FR"].case("FR:school", number)
    assert [(q.key, q.open) for q in france.questions] == [("Q2", False), ("Q3", True)]
    await world["FR"].step("FR:school", number, "agree-more")
    choices = {o.step.name: o.questions for o in (await world["FR"].case("FR:school", number)).offers}
    assert choices["answer"] == ("Q3",)
    await world["FR"].step(
        "FR:school", number, "answer", {"questions": ["Q3"]}, {"answers": {"Q3": {"yes-no-unknown": "yes"}}}
    )
    world.exchange()
    estonia = await world["EE"].case("EE:school", number)
    values = [answer.value["yes-no-unknown"] for q in estonia.questions if q.key == "Q3" for answer in q.answers]
    assert values == ["unknown", "yes"]


STEPS = {
    "accept": lambda dice: ({"date": f"2026-12-{dice.randint(10, 28)}"}, {}),
    "forward": lambda dice: ({"to": dice.choice(["FR:health", "FR:school"])}, {}),
    "message": lambda _: ({}, {"message": {"text": text("A word.")}}),
    "refuse": lambda _: ({}, {"reason": {"reason": {"list": "not-competent"}}}),
    "resend": lambda dice: ({"to": dice.choice(["DE:munich", "DE:alerts", "FR:school"])}, {}),
    "withdraw": lambda _: ({}, {}),
    "answer": lambda _: ({"questions": ["Q2"]}, {"answers": {"Q2": {"yes-no-unknown": "no"}}}),
    "edit": lambda _: ({"questions": ["Q2"], "wanted": "2026-12-30"}, request_content("Edited")),
    "close": lambda _: ({}, {}),
}
PLAYERS = [
    ("EE", "EE:school"), ("FR", "FR:school"), ("FR", "FR:health"), ("DE", "DE:alerts"), ("DE-BY", "DE:munich"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
async def test_random_histories_end_alike_everywhere_and_content_is_where_it_belongs(federation, seed):
    dice = random.Random(seed)
    world = federation("EE", "FR", "DE", "DE-BY")
    number = await world["EE"].open(
        "EE:school", REQUEST, "send", request_control(questions=["Q2"]), request_content("CANARY-RANDOM")
    )
    for _ in range(14):
        world.clock.advance(seconds=dice.randint(1, 50))
        node, authority = dice.choice(PLAYERS)
        step = dice.choices(list(STEPS), weights=[6, 3, 3, 2, 4, 1, 4, 2, 2])[0]
        control, content = STEPS[step](dice)
        try:
            await world[node].step(authority, number, step, control, content)
        except (StepNotAllowed, UnknownCase, InvalidControl):
            continue
        if dice.random() < 0.7:
            world.exchange(dice=dice)
    world.exchange(dice=dice)
    seen = {}
    for node, authority in PLAYERS:
        try:
            seen[node, authority] = await world[node].case(authority, number)
        except UnknownCase:
            continue
    assert len({(case.state, case.version) for case in seen.values()}) == 1, {k: v.state for k, v in seen.items()}
    for (node, authority), case in seen.items():
        assert not case.waiting_for_data
        states = {form.state for entry in case.timeline if entry.state == "counts" for form in entry.forms}
        assert states <= ({"readable"} if case.our_roles else {"not-for-you"}), (node, authority, states)
