"""Mixed: a national node with authorities of its own, and a regional one that is reached through it alone."""

from __future__ import annotations

import os

import pytest

from node.demo.client import until
from node.demo.stage import Stage
from node.ids import NodeId

from .conftest import REQUEST, accept_and_answer, asked, body, change, content, entry_says, in_state, knows

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
FEDERAL, SAXONY, SCHOOL = "DE:federal", "DE:saxony", "EE:school"
AUTHORITIES = (
    body(SCHOOL, "EE", "Education Board"),
    body(FEDERAL, "DE", "Federal Office"),
    body(SAXONY, "DE-SN", "Landesamt für Schule Sachsen"),
)
USERS = {
    "EE": (("school", SCHOOL, ("handler",), "en"),),
    "DE": (("federal", FEDERAL, ("handler",), "de"),),
    "DE-SN": (("saxony", SAXONY, ("handler",), "de"),),
}


@pytest.fixture(scope="module")
def mixed(set_up):
    return set_up(["EE", "DE", "DE-SN", "EU"], AUTHORITIES, USERS, relays={"DE-SN": "DE"})


def test_a_request_reaches_the_region_through_the_national_node_which_reads_and_keeps_nothing(mixed):
    async def story(stage: Stage) -> None:
        school, saxony = stage.hand_of("school"), stage.hand_of("saxony")
        assert (await school.find("Sachsen"))[0]["id"] == SAXONY
        scan = b"CANARY-SCAN" + os.urandom(300_000)
        document = await school.upload("scan.pdf", "application/pdf", scan)
        forms = content("CANARY-RELAYED")
        forms["reasoned-request"]["attachment"] = {**document, "lang": "en"}
        number = await school.open(REQUEST, "send", asked(SAXONY), forms)
        await accept_and_answer(saxony, number, "CANARY-ANSWER")
        await in_state(school, number, "answered")
        assert await saxony.download(number, document["sha256"]) == scan
        await stage.quiet()
        canaries = (b"CANARY-SCAN", b"CANARY-RELAYED", b"CANARY-ANSWER", scan[1000:1100], number.encode())
        assert stage.files_with("DE", *canaries) == []
        assert not await knows(stage.hand_of("federal"), number)
        sent = [m for m in await stage.messages("EE", number) if m["direction"] == "out"]
        assert sent
        for message in sent:
            assert (message["peer"], message["state"], message["receipt_verified"]) == ("DE-SN", "received", True)
        assert stage.log_lines("DE", "message passed on")

    mixed.play(story)


def test_the_region_asks_abroad_and_the_national_node_has_cases_of_its_own(mixed):
    async def story(stage: Stage) -> None:
        school, saxony, federal = (stage.hand_of(login) for login in ("school", "saxony", "federal"))
        outward = await saxony.open(REQUEST, "send", asked(SCHOOL), content("CANARY-OUTWARD"))
        await accept_and_answer(school, outward)
        await in_state(saxony, outward, "answered")
        national = await school.open(REQUEST, "send", asked(FEDERAL), content("CANARY-NATIONAL"))
        await accept_and_answer(federal, national)
        await in_state(school, national, "answered")
        assert stage.files_with("DE-SN", national.encode()) == []

    mixed.play(story)


def test_a_change_in_the_regions_log_is_seen_abroad(mixed):
    async def story(stage: Stage) -> None:
        await change(stage, body("DE:sn-new", "DE-SN", "Neues Amt in Sachsen"))
        await entry_says(stage.hand_of("school"), "DE:sn-new", name="Neues Amt in Sachsen")

    mixed.play(story)


def test_the_relay_is_away_and_what_waited_arrives_when_it_is_back(mixed):
    async def story(stage: Stage) -> None:
        school, saxony = stage.hand_of("school"), stage.hand_of("saxony")
        relay = stage.processes.nodes[NodeId("DE")]
        await relay.kill()
        number = await school.open(REQUEST, "send", asked(SAXONY), content("CANARY-LATE"))

        async def tried() -> bool | None:
            return True if (await school.case(number))["deliveries"][0]["attempts"] else None

        await until("a try that fails", tried)
        assert not await knows(saxony, number)
        await relay.start()
        await accept_and_answer(saxony, number)
        await in_state(school, number, "answered")

    mixed.play(story)
