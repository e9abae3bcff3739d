"""A coordinator on another node of its State: approval, referral and allocation travel as messages; what is withheld stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from casework_federation import PQ, REQUEST, entry, request_content, request_control, text

from node.casework.errors import InvalidControl, UnknownCase
from node.directory.model import Link
from node.ids import AuthorityId, NodeId

OFFICE, COORDINATOR = "DE:office-by", "DE:coordinator"
COORDINATING = {"professional-qualifications": ("coordinator",)}
ANSWERS = {
    "answers": {"Q2": {"yes-no-unknown": "yes", "comment": text("CANARY-ANSWER", "de")}, "Q3": {"yes-no-unknown": "no"}}
}
REASON = {"reason": {"reason": {"list": "not-competent", "text": text("Nicht bei uns.", "de")}}}


@pytest.fixture
def world(federation):
    """EE asks or is asked; the office is at DE-BY, its coordinator at DE."""
    made = federation("EE", "DE", "DE-BY")
    link = Link(coordinator=AuthorityId(COORDINATOR), function="request", area="professional-qualifications")
    office = replace(
        entry(OFFICE, "DE-BY", PQ),
        coordinators=(link,),
        settings={"professional-qualifications": {"approve-requests": "yes", "approve-replies": "yes"}},
    )
    for node in made.nodes.values():
        for authority in (office, entry(COORDINATOR, "DE", COORDINATING)):
            node.directory.publish(authority.node, [authority], made.signing[NodeId("EU")].signer)
    return made


def said_to(world, node):
    """All that was carried to a node so far."""
    return b"".join(p.content for c in world.carried if c.recipient == node for p in c.inbound.parts)


async def turn_of(world, node, authority):
    work = await world[node].casework.work(world[node].official(authority))
    return [item.number for item in (*work.overdue, *work.due_soon, *work.later) if item.our_turn]


async def ask_bavaria(world):
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(OFFICE), request_content())
    world.exchange()
    await world["DE-BY"].step(OFFICE, number, "accept", {"date": "2026-12-15"})
    return number


async def test_a_reply_is_approved_on_the_other_node_before_anything_of_it_leaves_the_state(world):
    number = await ask_bavaria(world)
    offered = {o.step.name for o in (await world["DE-BY"].case(OFFICE, number)).offers}
    assert "submit-reply" in offered
    assert "answer" not in offered
    reply = {"coordinator": COORDINATOR, "questions": ["Q2", "Q3"]}
    await world["DE-BY"].step(OFFICE, number, "submit-reply", reply, ANSWERS)
    world.exchange()
    assert await turn_of(world, "DE", COORDINATOR) == [number]
    seen = await world["DE"].case(COORDINATOR, number)
    assert (seen.our_roles, seen.our_turn) == (("responding-coordinator",), True)
    assert {question.key for question in seen.questions if question.answers} == {"Q2", "Q3"}
    assert {form.name for form in seen.forms} >= {"person", "profession"}  # it approves what it can read
    waiting = await world["EE"].case("EE:school", number)
    assert waiting.state == "pending-reply-approval"
    assert not any(question.answers for question in waiting.questions)
    assert b"CANARY-ANSWER" not in said_to(world, "EE")
    await world["DE"].step(COORDINATOR, number, "return-reply", {}, {"message": {"text": text("CANARY-RETURN", "de")}})
    world.exchange()
    assert await turn_of(world, "DE", COORDINATOR) == []
    await world["DE-BY"].step(OFFICE, number, "submit-reply", reply, ANSWERS)
    world.exchange()
    await world["DE"].step(COORDINATOR, number, "approve-reply")
    world.exchange()
    answered = await world["EE"].case("EE:school", number)
    assert (answered.state, answered.our_turn) == ("answered", True)
    assert {q.key: q.answers[-1].value["yes-no-unknown"] for q in answered.questions} == {"Q2": "yes", "Q3": "no"}
    assert {question.answers[-1].author for question in answered.questions} == {OFFICE}
    assert b"CANARY-RETURN" not in said_to(world, "EE")


async def test_a_request_waits_for_a_coordinator_on_another_node_and_nothing_leaves_the_state_before(world):
    control = {**request_control("EE:school"), "coordinator": COORDINATOR}
    number = await world["DE-BY"].open(OFFICE, REQUEST, "submit", control, request_content("CANARY-FIRST"))
    world.exchange()
    assert {carried.recipient for carried in world.carried} <= {"DE", "DE-BY"}
    with pytest.raises(UnknownCase):
        await world["EE"].case("EE:school", number)
    assert await turn_of(world, "DE", COORDINATOR) == [number]
    seen = await world["DE"].case(COORDINATOR, number)
    assert {form.name for form in seen.forms} >= {"person", "reasoned-request"}
    await world["DE"].step(COORDINATOR, number, "return", {}, {"message": {"text": text("CANARY-RETURN", "de")}})
    world.exchange()
    assert (await world["DE-BY"].case(OFFICE, number)).state == "draft"
    assert await turn_of(world, "DE", COORDINATOR) == []
    await world["DE-BY"].step(OFFICE, number, "submit", control, request_content("CANARY-SECOND"))
    world.exchange()
    assert said_to(world, "EE") == b""
    await world["DE"].step(COORDINATOR, number, "approve")
    world.exchange()
    asked = await world["EE"].case("EE:school", number)
    assert (asked.our_turn, asked.waiting_for_data) == (True, False)
    surname = next(f.value for form in asked.forms for f in form.fields if f.key == "surname")
    assert surname["text"] == "CANARY-SECOND Example"
    for kept_inside in (b"CANARY-FIRST", b"CANARY-RETURN"):
        assert kept_inside not in said_to(world, "EE")
    assert b"CANARY-FIRST" not in world["EE"].bytes_on_disk()
    await world["EE"].step("EE:school", number, "accept", {"date": "2026-12-15"})
    world.exchange()
    assert (await world["DE-BY"].case(OFFICE, number)).state == "accepted"
    assert (await world["DE"].case(COORDINATOR, number)).state == "accepted"


async def test_approval_counts_though_the_requesters_node_is_away_when_it_is_given(world):
    control = {**request_control("EE:school"), "coordinator": COORDINATOR}
    number = await world["DE-BY"].open(OFFICE, REQUEST, "submit", control, request_content())
    world.exchange()
    world.down.add(NodeId("DE-BY"))
    await world["DE"].step(COORDINATOR, number, "approve")
    world.exchange()
    asked = await world["EE"].case("EE:school", number)
    assert {form.name for form in asked.forms} >= {"person", "reasoned-request"}  # the coordinator handed it on
    world.down.clear()
    world.exchange()
    assert (await world["DE-BY"].case(OFFICE, number)).state == "awaiting-acceptance"


async def test_a_dispute_is_referred_to_the_coordinator_on_the_other_node_and_its_opinion_comes_back(world):
    number = await ask_bavaria(world)
    reply = {"coordinator": COORDINATOR, "questions": ["Q2", "Q3"]}
    await world["DE-BY"].step(OFFICE, number, "submit-reply", reply, ANSWERS)
    world.exchange()
    await world["DE"].step(COORDINATOR, number, "approve-reply")
    world.exchange()
    more = {"questions": ["Q3"], "wanted": "2027-01-15"}
    await world["EE"].step("EE:school", number, "ask-more", more, {"message": {"text": text("Really?")}})
    world.exchange()
    await world["DE-BY"].step(OFFICE, number, "refuse-more", {"coordinator": COORDINATOR}, REASON)
    world.exchange()
    assert await turn_of(world, "DE", COORDINATOR) == [number]
    opinion = {"opinion": {"satisfied": "no", "opinion": text("Die Frage ist zu beantworten.", "de")}}
    await world["DE"].step(COORDINATOR, number, "advise-answer", {}, opinion)
    world.exchange()
    bavaria, estonia = await world["DE-BY"].case(OFFICE, number), await world["EE"].case("EE:school", number)
    assert bavaria.state == estonia.state == "accepted"
    assert bavaria.our_turn
    for case in (bavaria, estonia):
        told = {f.key: f.value for form in case.forms if form.name == "opinion" for f in form.fields}
        assert told["opinion"]["text"] == "Die Frage ist zu beantworten."


async def test_a_coordinator_allocates_what_it_was_asked_to_an_authority_on_another_node(world):
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(COORDINATOR), request_content())
    world.exchange()
    assert await turn_of(world, "DE", COORDINATOR) == [number]
    await world["DE"].step(COORDINATOR, number, "forward", {"to": OFFICE})
    world.exchange()
    assert await turn_of(world, "DE", COORDINATOR) == []
    assert await turn_of(world, "DE-BY", OFFICE) == [number]
    passed_on = await world["DE"].case(COORDINATOR, number)
    assert (passed_on.our_roles, passed_on.forms) == ((), ())  # it sees that the case was there, no more
    await world["DE-BY"].step(OFFICE, number, "forward", {"to": COORDINATOR})  # not competent after all
    world.exchange()
    assert await turn_of(world, "DE", COORDINATOR) == [number]
    back = await world["DE"].case(COORDINATOR, number)
    assert {form.name for form in back.forms} >= {"person", "reasoned-request"}


async def test_allocation_inside_an_authority_is_told_to_nobody(world):
    number = await ask_bavaria(world)
    world.exchange()
    before = len(world.carried)
    await world["DE-BY"].step(OFFICE, number, "allocate")
    await world["DE-BY"].step(OFFICE, number, "note", {}, {"message": {"text": text("CANARY-NOTE", "de")}})
    world.exchange()
    assert len(world.carried) == before
    assert b"CANARY-NOTE" not in said_to(world, "DE")


async def test_a_coordinator_of_another_state_approves_nothing(world):
    number = await ask_bavaria(world)
    reply = {"coordinator": "EE:coordinator", "questions": ["Q2", "Q3"]}
    with pytest.raises(InvalidControl):
        await world["DE-BY"].step(OFFICE, number, "submit-reply", reply, ANSWERS)
