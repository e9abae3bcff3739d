"""One to many: who gets what of an alert, and its end."""

from __future__ import annotations

import json
import random

import pytest
from casework_federation import ALERT, danger, text

from node.casework.errors import StepNotAllowed, UnknownCase

TO = ["DE:alerts", "DE:munich", "FR:alerts"]
ALL = {"EE": "EE:coordinator", "FR": "FR:alerts", "DE": "DE:alerts", "DE-BY": "DE:munich"}


async def broadcast(world, canary="Scaffolding Ltd"):
    number = await world["EE"].open(
        "EE:coordinator", ALERT, "broadcast-directly", {"to": TO, "establishment": "FR:alerts"}, danger(canary)
    )
    world.exchange()
    return number


async def test_an_alert_is_acknowledged_agreed_and_closed(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    number = await broadcast(world)
    for node, authority in list(ALL.items())[1:]:
        await world[node].step(authority, number, "acknowledge")
    world.exchange()
    flags = {p.authority: p.flags for p in (await world["EE"].case("EE:coordinator", number)).parties}
    assert {a for a, raised in flags.items() if "acknowledged" in raised} == set(TO)
    await world["DE"].step("DE:alerts", number, "add-information", {}, {"info": {"text": text("Auch hier.", "de")}})
    await world["FR"].step("FR:alerts", number, "propose-closure", {}, {"ground": {"ground": "measures-taken"}})
    with pytest.raises(StepNotAllowed):
        await world["FR"].step("FR:alerts", number, "close-agreed")
    world.exchange()
    await world["DE"].step("DE:alerts", number, "agree")
    world.exchange()
    # Germany agreed as a State; France proposed, so it need not agree itself.
    await world["FR"].step("FR:alerts", number, "close-agreed")
    world.exchange()
    for node, authority in ALL.items():
        assert (await world[node].case(authority, number)).state == "closed"


async def test_the_commission_sees_exactly_what_the_procedure_gives_it(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    seen = []
    number = await world["EE"].open(
        "EE:coordinator", ALERT, "broadcast-directly", {"to": TO, "establishment": "FR:alerts"}, danger("CANARY-FACTS")
    )
    world.exchange(see=seen.append)
    case = await world["EU"].case("EU:commission", number)
    assert {field.key for form in case.forms for field in form.fields} == {
        "activity",
        "damage",
        "severity",
        "likelihood",
    }
    to_commission = [c for c in seen if c.recipient == "EU"]
    assert to_commission
    assert not any(b"CANARY-FACTS" in part.content for c in to_commission for part in c.inbound.parts)
    assert any(b"CANARY-FACTS" in part.content for c in seen if c.recipient == "FR" for part in c.inbound.parts)


async def test_what_a_state_passes_on_inside_never_leaves_it(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    number = await broadcast(world)
    await world["DE-BY"].step("DE:munich", number, "disseminate", {"to": ["DE:office"]})
    world.exchange()
    case = await world["DE"].case("DE:office", number)
    assert case.our_roles == ("handler",)
    assert {form.name for form in case.forms} == {"service-danger"}
    assert "facts" in {field.key for form in case.forms for field in form.fields}
    await world["DE"].step("DE:office", number, "contribute", {}, {"info": {"text": text("CANARY-INSIDE", "de")}})
    world.exchange()
    munich = await world["DE-BY"].case("DE:munich", number)
    assert "contribute" in {entry.step for entry in munich.timeline}
    assert any(b"CANARY-INSIDE" in p.content for c in world.carried if c.recipient == "DE-BY" for p in c.inbound.parts)
    for node in ("EE", "FR", "EU"):
        for carried in (c for c in world.carried if c.recipient == node):
            events = json.loads(carried.inbound.parts[0].content)["events"]
            assert all(item["event"]["scope"] in ("case", "receipt") for item in events)
            assert not any(b"CANARY-INSIDE" in part.content for part in carried.inbound.parts)
    assert {p.authority for p in (await world["FR"].case("FR:alerts", number)).parties}.isdisjoint({"DE:office"})


async def test_receipts_of_an_alert_go_to_its_author_only(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    await broadcast(world)
    receipts = [
        (carried.sender, carried.recipient)
        for carried in world.carried
        for item in json.loads(carried.inbound.parts[0].content)["events"]
        if item["event"]["step"] == "received"
    ]
    assert sorted(receipts) == [("DE", "EE"), ("DE-BY", "EE"), ("EU", "EE"), ("FR", "EE")]


async def test_acknowledgements_are_not_sent_twice_to_anybody(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    number = await broadcast(world)
    world.carried.clear()
    await world["DE"].step("DE:alerts", number, "acknowledge")
    world.exchange()
    carriers = [
        (carried.sender, carried.recipient)
        for carried in world.carried
        for item in json.loads(carried.inbound.parts[0].content)["events"]
        if item["event"]["step"] == "acknowledge"
    ]
    assert sorted(carriers) == [("DE", "DE-BY"), ("DE", "EE"), ("DE", "EU"), ("DE", "FR")]


async def test_a_sender_goes_on_while_receivers_are_down(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    world.down = {"DE", "FR"}
    number = await broadcast(world)
    await world["EE"].step("EE:coordinator", number, "correct", {}, danger("Corrected"))
    world.exchange()
    case = await world["EE"].case("EE:coordinator", number)
    assert {d.node: d.state for d in case.deliveries} == {
        "DE": "waiting",
        "FR": "waiting",
        "DE-BY": "received",
        "EU": "received",
    }
    world.down = set()
    world.exchange()
    assert (await world["FR"].case("FR:alerts", number)).version == (
        await world["DE"].case("DE:alerts", number)
    ).version


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_post_does_every_node_ends_with_the_same_case(federation, seed):
    dice = random.Random(seed)
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    number = await world["EE"].open(
        "EE:coordinator", ALERT, "broadcast-directly", {"to": TO, "establishment": "FR:alerts"}, danger()
    )
    for step, control, content in (
        ("acknowledge", {}, {}),
        ("add-information", {}, {"info": {"text": text("Noted.")}}),
        ("correct", {}, danger("Changed")),
        ("propose-closure", {}, {"ground": {"ground": "risk-gone"}}),
        ("agree", {}, {}),
        ("close-agreed", {}, {}),
    ):
        for node, authority in dice.sample(sorted(ALL.items()), len(ALL)):
            world.clock.advance(seconds=dice.randint(0, 5))
            try:
                await world[node].step(authority, number, step, control, content)
            except (StepNotAllowed, UnknownCase):
                continue
            world.exchange(dice=dice)
    world.exchange(dice=dice)
    cases = [await world[node].case(authority, number) for node, authority in ALL.items()]
    assert {case.state for case in cases} == {"closed"}
    assert len({case.version for case in cases}) == 1
    assert not any(case.waiting_for_data for case in cases)
