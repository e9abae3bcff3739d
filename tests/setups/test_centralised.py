"""Centralised: one node a State; one coordinator acts for bodies without users of their own, which are named everywhere."""

from __future__ import annotations

import pytest

from node.demo.client import until
from node.demo.stage import Stage
from node.ids import NodeId

from .conftest import (
    REQUEST,
    accept_and_answer,
    asked,
    audit,
    authors,
    body,
    content,
    done,
    entry_says,
    events_of,
    in_state,
    knows,
    run,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
COORDINATOR, PARISH, SCHOOL = "EE:centre", "EE:parish", "RO:school"
PARISH_ENTRY = body(PARISH, "EE", "Parish of Põhjala", by=COORDINATOR)
AUTHORITIES = (
    body(COORDINATOR, "EE", "Centre for Recognition", roles=("coordinator",)),
    PARISH_ENTRY,
    body(SCHOOL, "RO", "School Inspectorate"),
)
USERS = {
    "EE": (("centre", COORDINATOR, ("handler",), "en"), ("parish", PARISH, ("handler",), "en")),
    "RO": (("school", SCHOOL, ("handler",), "ro"),),
}


@pytest.fixture(scope="module")
def centralised(set_up):
    return set_up(["EE", "RO", "EU"], AUTHORITIES, USERS)


def test_a_body_without_users_is_found_asked_and_answers_by_its_coordinator(centralised):
    async def story(stage: Stage) -> None:
        centre, school = stage.hand_of("centre"), stage.hand_of("school")
        found = (await school.find("Pohjala"))[0]
        assert (found["id"], found["represented_by"]) == (PARISH, COORDINATOR)
        number = await school.open(REQUEST, "send", asked(PARISH), content("CANARY-IN"))
        await accept_and_answer(centre, number)
        answered = await in_state(school, number, "answered")
        parish = next(party for party in answered["parties"] if party["authority"] == PARISH)
        assert (parish["name"], parish["handled_by_name"]) == ("Parish of Põhjala", "Centre for Recognition")
        assert authors(answered) == {SCHOOL, PARISH}
        assert COORDINATOR not in events_of(await school.events(number))
        await school.step(number, "close", {}, {"survey": {"timeliness": "good"}})
        await in_state(centre, number, "closed")
        acts = [(a["login"], a["authority"], a["subject"].split()[0]) for a in audit(stage, "EE", "step")]
        assert acts == [("centre", PARISH, "accept"), ("centre", PARISH, "answer")]
        assert all(a["subject"].endswith(f"via {COORDINATOR}") for a in audit(stage, "EE", "step"))
        assert stage.files_with("EU", number.encode(), b"CANARY-IN") == []

    centralised.play(story)


def test_the_coordinator_asks_for_the_body_and_lists_it_by_name(centralised):
    async def story(stage: Stage) -> None:
        centre, school = stage.hand_of("centre"), stage.hand_of("school")
        number = await centre.open(
            REQUEST, "send", asked(SCHOOL), content("CANARY-OUT")
        )  # it may open for this one only
        theirs = await in_state(school, number, "awaiting-acceptance")
        assert authors(theirs) == {PARISH}
        item = next(case for case in await centre.cases() if case["number"] == number)
        assert (item["authority"], item["authority_name"]) == (PARISH, "Parish of Põhjala")

    centralised.play(story)


def test_a_body_that_gets_users_of_its_own_goes_on_alone(centralised):
    async def story(stage: Stage) -> None:
        centre, parish, school = stage.hand_of("centre"), stage.hand_of("parish"), stage.hand_of("school")
        number = await centre.open(REQUEST, "send", asked(SCHOOL), content("CANARY-ON"))
        await accept_and_answer(school, number)
        await in_state(centre, number, "answered")
        config = ("--config", stage.places[NodeId("EE")].folder / "node.toml")
        elsewhere = await run("node", "authorities", "represent", PARISH, "--by", SCHOOL, *config)
        assert (elsewhere[0] != 0, "on this node" in elsewhere[1]) == (True, True), elsewhere
        assert "its own users alone" in await done("node", "authorities", "represent", PARISH, *config)

        async def is_out() -> bool | None:
            return None if await knows(centre, number) else True

        await until("the coordinator is out", is_out)
        assert await centre.cases() == []
        await entry_says(school, PARISH, represented_by="")
        await parish.step(number, "close", {}, {"survey": {"timeliness": "good"}})
        closed = await in_state(school, number, "closed")
        assert authors(closed) == {SCHOOL, PARISH}
        assert {party["handled_by"] for party in closed["parties"]} == {None}
        assert COORDINATOR in await done("node", "authorities", "represent", PARISH, "--by", COORDINATOR, *config)
        await in_state(centre, number, "closed")  # it may look at the body's cases again

    centralised.play(story)
