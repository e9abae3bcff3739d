"""Pages of a coordinator whose users act for bodies that have none: for whom is asked, shown, and said in addresses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from casework_federation import ALERT, PQ, REQUEST, danger, entry, request_content, request_control

from node.directory.model import Link
from node.ids import AuthorityId, NodeId

TOWN, VILLAGE = "EE:town", "EE:village"


@pytest.fixture
async def coordinator(browser):
    """At EE, with two bodies that its coordinator represents; FR runs beside it."""
    opened = await browser("EE", "EE:coordinator")
    opened.world.start("FR")
    both = {**PQ, "services": ("alert-inbox",)}
    bodies = [replace(entry(n, "EE", both), represented_by=AuthorityId("EE:coordinator")) for n in (TOWN, VILLAGE)]
    for node in opened.world.nodes.values():
        node.directory.publish(NodeId("EE"), bodies, opened.world.signing[NodeId("EU")].signer)
    return opened


async def test_a_new_case_asks_for_which_body_and_goes_out_in_its_name(coordinator):
    page = await coordinator.get("/cases/new?kind=request")
    assert "For which authority?" in page.text
    assert re.findall(r'<option value="(EE:[a-z]+)"', page.text) == [TOWN, VILLAGE]
    page = await coordinator.post("/cases/new", procedure=REQUEST, **{"for": VILLAGE})
    assert page.status == 200, page.text
    assert "You act for" in page.text
    number = page.path.split("/")[2]
    assert number in (await coordinator.get("/work")).text
    estonia = coordinator.world["EE"]
    await estonia.step("EE:coordinator", number, "send", request_control(), request_content())
    coordinator.world.exchange()
    page = await coordinator.get("/requests")
    assert f'href="/cases/{number}?for=EE%3Avillage"' in page.text
    assert "For <span" in page.text
    page = await coordinator.get(f"/cases/{number}?for={VILLAGE}")
    assert (page.status, "Ee Village" in page.text) == (200, True)
    assert f'href="/cases/{number}/act/withdraw@{VILLAGE}"' in page.text
    review = await coordinator.get(f"/cases/{number}/act/withdraw@{VILLAGE}/review")
    assert "You act for" in review.text
    page = await coordinator.send(review)
    assert page.path == f"/cases/{number}"
    coordinator.world.exchange()
    france = await coordinator.world["FR"].case("FR:school", number)
    assert (france.state, {event.author for event in france.timeline}) == ("withdrawn", {VILLAGE})


async def test_the_other_side_reads_who_handles_it(coordinator, browser):
    france = await browser("FR", "FR:school")
    number = await france.world["FR"].open("FR:school", REQUEST, "send", request_control(TOWN), request_content())
    page = await france.get(f"/cases/{number}")
    assert re.search(r"Ee Town.{0,200}Handled by <span[^>]*>Ee Coordinator", page.text, re.DOTALL)
    page = await france.get(f"/authorities/{TOWN}")
    assert "Represented by" in page.text
    assert "Ee Coordinator" in page.text
    page = await coordinator.get("/our-authority")
    assert "Bodies without users that your authority acts for" in page.text
    assert f'href="/authorities/{VILLAGE}"' in page.text


async def test_where_both_are_parties_the_page_says_for_whom_one_acts_and_offers_the_other(coordinator):
    alert = {"to": ["EE:coordinator", TOWN], "establishment": "FR:alerts"}
    number = await coordinator.world["FR"].open("FR:alerts", ALERT, "broadcast-directly", alert, danger())
    coordinator.world.exchange()
    page = await coordinator.get(f"/cases/{number}")
    assert "Act for <span" in page.text
    assert f'href="/cases/{number}?for=EE%3Atown"' in page.text
    page = await coordinator.send(await coordinator.get(f"/cases/{number}/act/acknowledge@{TOWN}/review"))
    case = await coordinator.world["EE"].case("EE:coordinator", number)
    assert {event.author for event in case.timeline if event.step == "acknowledge"} == {TOWN}
    assert case.authority == "EE:coordinator"


async def test_nobody_reaches_a_body_by_its_address_that_is_not_theirs(coordinator, browser):
    number = await coordinator.world["FR"].open("FR:school", REQUEST, "send", request_control(TOWN), request_content())
    coordinator.world.exchange()
    stranger = await browser("EE", "EE:school")
    for path in (f"/cases/{number}?for={TOWN}", f"/cases/{number}/act/accept@{TOWN}", f"/cases/{number}?for=nonsense"):
        assert (await stranger.get(path)).status == 404
    assert (await stranger.get(f"/work?for={TOWN}")).status == 403
    assert (await stranger.post("/cases/new", procedure=REQUEST, **{"for": TOWN})).status == 403


async def test_the_coordinator_an_authority_is_linked_to_is_offered_first(browser):
    opened = await browser("EE", "EE:school", ("handler", "referral-handler"))
    opened.world.start("FR")
    coordinators = [entry(f"EE:c{n}", "EE", {"professional-qualifications": ("coordinator",)}) for n in range(20)]
    school = replace(
        entry("EE:school", "EE", PQ),
        settings={"professional-qualifications": {"approve-requests": "yes"}},
        coordinators=(
            Link(coordinator=AuthorityId("EE:c17")),
            Link(coordinator=AuthorityId("EE:c9"), area="professional-qualifications"),
            Link(coordinator=AuthorityId("EE:c8"), function="alert"),
        ),
    )
    for node in opened.world.nodes.values():
        node.directory.publish(NodeId("EE"), [*coordinators, school], opened.world.signing[NodeId("EU")].signer)
    page = await opened.post("/cases/new", procedure=REQUEST)
    assert page.path.endswith("/submit/recipients"), page.path
    named = re.findall(r'name="c\.coordinator" [^>]*value="(EE:[a-z0-9]+)"', page.text)
    assert named[:2] == ["EE:c9", "EE:c17"], page.text
    assert len(named) > 2
    assert page.text.count("Linked to your authority") == 2
