"""Decentralised: three nodes of one State, each with its own authorities and log, each reached from abroad by itself."""

from __future__ import annotations

import pytest

from node.demo.client import until
from node.demo.stage import Stage
from node.ids import NodeId

from .conftest import (
    AREA,
    REQUEST,
    accept_and_answer,
    answers,
    asked,
    authors,
    body,
    change,
    content,
    done,
    entry_says,
    in_state,
    knows,
    run,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
FEDERAL, BAVARIA, HAMBURG, SCHOOL = "DE:federal", "DE:bavaria", "DE:hamburg", "EE:school"
MOVING = "DE:moving"
APPROVED = {AREA: {"approve-requests": "yes", "approve-replies": "yes"}}
AUTHORITIES = (
    body(SCHOOL, "EE", "Education Board"),
    body(FEDERAL, "DE", "Federal Coordinator", roles=("coordinator",)),
    body(BAVARIA, "DE-BY", "Regierung von Oberbayern", coordinator=FEDERAL),
    body("DE:by-approved", "DE-BY", "Schulamt Passau", coordinator=FEDERAL, settings=APPROVED),
    body(HAMBURG, "DE-HH", "Schulbehörde Hamburg"),
    body(MOVING, "DE", "Landesamt Nürnberg"),
)
USERS = {
    "EE": (("school", SCHOOL, ("handler",), "en"),),
    "DE": (("federal", FEDERAL, ("handler", "referral-handler"), "de"), ("before", MOVING, ("handler",), "de")),
    "DE-BY": (
        ("bavaria", BAVARIA, ("handler",), "de"),
        ("passau", "DE:by-approved", ("handler",), "de"),
        ("after", MOVING, ("handler",), "de"),
    ),
    "DE-HH": (("hamburg", HAMBURG, ("handler",), "de"),),
}


@pytest.fixture(scope="module")
def decentralised(set_up):
    return set_up(["EE", "DE", "DE-BY", "DE-HH", "EU"], AUTHORITIES, USERS)


def test_a_regional_authority_is_found_asked_and_answers_and_no_other_node_of_its_state_holds_the_case(decentralised):
    async def story(stage: Stage) -> None:
        school, bavaria = stage.hand_of("school"), stage.hand_of("bavaria")
        found = (await school.find("Oberbayern", state="DE"))[0]
        assert (found["id"], found["node"]) == (BAVARIA, "DE-BY")
        number = await school.open(REQUEST, "send", asked(BAVARIA), content("CANARY-REGION"))
        await accept_and_answer(bavaria, number)
        assert authors(await in_state(school, number, "answered")) == {SCHOOL, BAVARIA}
        await stage.quiet()
        for node in ("DE", "DE-HH", "EU"):
            assert stage.files_with(node, number.encode(), b"CANARY-REGION") == [], node
        assert not await knows(stage.hand_of("federal"), number)
        sent = [m for m in await stage.messages("EE", number) if m["direction"] == "out"]
        assert {message["peer"] for message in sent} == {"DE-BY"}

    decentralised.play(story)


def test_each_node_of_the_state_changes_its_own_log_and_everybody_follows(decentralised):
    async def story(stage: Stage) -> None:
        await change(stage, body("DE:new-office", "DE-HH", "Amt für Neues"))
        for login in ("school", "federal", "bavaria"):
            await entry_says(stage.hand_of(login), "DE:new-office", node="DE-HH", name="Amt für Neues")

    decentralised.play(story)


def test_one_node_of_the_state_is_away_and_the_others_go_on(decentralised):
    async def story(stage: Stage) -> None:
        school, bavaria, hamburg = (stage.hand_of(login) for login in ("school", "bavaria", "hamburg"))
        process = stage.processes.nodes[NodeId("DE-HH")]
        await process.kill()
        to_hamburg = await school.open(REQUEST, "send", asked(HAMBURG), content("CANARY-AWAY"))
        to_bavaria = await school.open(REQUEST, "send", asked(BAVARIA), content("CANARY-THERE"))
        await accept_and_answer(bavaria, to_bavaria)
        await in_state(school, to_bavaria, "answered")
        waits = (await school.case(to_hamburg))["deliveries"]
        assert [(d["node"], d["state"] != "received") for d in waits] == [("DE-HH", True)]
        await process.start()
        await accept_and_answer(hamburg, to_hamburg)
        await in_state(school, to_hamburg, "answered")

    decentralised.play(story)


def test_a_request_is_approved_by_the_coordinator_on_the_national_node_before_it_leaves_the_state(decentralised):
    async def story(stage: Stage) -> None:
        school, passau, federal = (stage.hand_of(login) for login in ("school", "passau", "federal"))
        number = await passau.open(REQUEST, "submit", asked(SCHOOL, coordinator=FEDERAL), content("CANARY-APPROVE"))
        case = await in_state(federal, number, "pending-approval")
        assert case["our_turn"]
        await stage.quiet()
        assert stage.files_with("EE", number.encode()) == []
        await federal.step(number, "approve")
        await accept_and_answer(school, number)
        await in_state(passau, number, "answered")

    decentralised.play(story)


def test_a_reply_is_approved_by_the_coordinator_on_the_national_node(decentralised):
    async def story(stage: Stage) -> None:
        school, passau, federal = (stage.hand_of(login) for login in ("school", "passau", "federal"))
        number = await school.open(REQUEST, "send", asked("DE:by-approved"), content("CANARY-REPLY"))
        case = await in_state(passau, number, "awaiting-acceptance")
        await passau.step(number, "accept", {"date": case["variables"]["agreed"]})
        reply = {"coordinator": FEDERAL, "questions": ["Q2", "Q3"]}
        await passau.step(number, "submit-reply", reply, answers("CANARY-WITHHELD"))
        await in_state(federal, number, "pending-reply-approval")
        waiting = await in_state(school, number, "pending-reply-approval")
        assert not any(question["answer"] for question in waiting["questions"])
        await federal.step(number, "approve-reply")
        await in_state(school, number, "answered")

        async def arrived() -> bool | None:  # the approval comes from DE, the answers from DE-BY once that heard of it
            return True if all(q["answer"] for q in (await school.case(number))["questions"]) else None

        await until("the answers", arrived)
        assert {q["answered_by"] for q in (await school.case(number))["questions"]} == {"DE:by-approved"}

    decentralised.play(story)


def test_the_coordinator_allocates_to_an_authority_of_another_node(decentralised):
    async def story(stage: Stage) -> None:
        school, federal, hamburg = (stage.hand_of(login) for login in ("school", "federal", "hamburg"))
        number = await school.open(REQUEST, "send", asked(FEDERAL), content("CANARY-PASSED"))
        await in_state(federal, number, "awaiting-acceptance")
        await federal.step(number, "forward", {"to": HAMBURG})

        async def has_it() -> bool | None:
            return True if (await hamburg.case(number))["our_turn"] else None

        await until("the request in Hamburg", has_it)
        await accept_and_answer(hamburg, number)
        await in_state(school, number, "answered")
        assert (await federal.case(number))["our_roles"] == []

    decentralised.play(story)


def test_an_authority_moves_to_another_node_while_a_case_is_open_and_the_case_goes_on(decentralised):
    async def story(stage: Stage) -> None:
        school, before, after = (stage.hand_of(login) for login in ("school", "before", "after"))
        number = await school.open(REQUEST, "send", asked(MOVING), content("CANARY-MOVED"))
        case = await in_state(before, number, "awaiting-acceptance")
        await before.step(number, "accept", {"date": case["variables"]["agreed"]})
        await in_state(school, number, "accepted")
        old, new = (("--config", stage.places[NodeId(node)].folder / "node.toml") for node in ("DE", "DE-BY"))
        assert "leaves with 1 case" in await done("node", "authorities", "move", MOVING, "--to", "DE-BY", *old)

        async def is_taken() -> bool | None:
            code, _ = await run("node", "authorities", "accept-move", MOVING, *new)
            return True if code == 0 else None

        await until("the authority at DE-BY", is_taken, seconds=60)
        await entry_says(school, MOVING, node="DE-BY")

        async def is_answered() -> bool | None:  # refused until the case has come whole
            await after.step(number, "answer", {"questions": ["Q2", "Q3"]}, answers("Now from DE-BY."))
            return True

        await until("the answer from DE-BY", is_answered)
        answered = await in_state(school, number, "answered")
        assert authors(answered) == {SCHOOL, MOVING}
        assert {q["answered_by"] for q in answered["questions"]} == {MOVING}
        assert await stage.refused(before.case(number)) == "refused.authority-moving"
        later = await school.open(REQUEST, "send", asked(MOVING), content("CANARY-LATER"))
        await in_state(after, later, "awaiting-acceptance")
        await stage.quiet()
        assert stage.files_with("DE", later.encode()) == []

    decentralised.play(story)
