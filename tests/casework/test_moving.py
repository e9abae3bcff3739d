"""An authority moves from one node of its State to another while its cases run (ADR 10)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from casework_federation import ALERT, REQUEST, danger, request_content, request_control, text

from node.casework.errors import AuthorityMoving, NotYetArrived
from node.casework.views import DraftContent
from node.directory.model import Move
from node.ids import AuthorityId, NodeId
from node.local_store import cases, moves

MOVING = AuthorityId("DE:alerts")
ANSWERS = {"answers": {key: {"yes-no-unknown": "yes"} for key in ("Q2", "Q3")}}


def move(world, authority=MOVING, *, at="DE", to="DE-BY") -> Move:
    known = world[at].directory.get(authority)
    return Move(id=authority, node=NodeId(at), to=NodeId(to), former=known.former)


async def tell(world, *names: str, announced: Move) -> None:
    """These nodes hear of a move, from both logs."""
    for name in names:
        node = world[name]
        known = node.directory.get(announced.id)
        signer = world.signing[NodeId("EU")].signer
        node.directory.publish(announced.node, [announced], signer)
        moved = replace(known, node=announced.to, former=announced.homes[:-1])
        node.directory.publish(announced.to, [moved], signer)
        await node.casework.retry_held()
        await node.casework.follow_moves()


async def hand_over(world, *, at="DE", to="DE-BY", number=1, tell_to=("EE", "DE", "DE-BY")) -> None:
    announced = move(world, at=at, to=to)
    count = await world[at].casework.begin_move(MOVING, NodeId(to), leave_drafts=True)
    world.exchange()
    await world[to].casework.accept_move(MOVING, number=number, expected=count)
    await tell(world, *tell_to, announced=announced)
    world.exchange()


async def asked(world):
    """An open request from Estonia to the authority that will move, accepted by it."""
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(MOVING), request_content())
    world.exchange()
    await world["DE"].step(MOVING, number, "accept", {"date": "2026-12-15"})
    world.exchange()
    return number


def told(case) -> tuple:
    return case.state, case.turn, [(d.name, d.on) for d in case.deadlines], [(e.step, e.state) for e in case.timeline]


async def test_a_request_is_answered_from_the_new_node(federation):
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    before = told(await world["EE"].case("EE:school", number))
    await hand_over(world)
    there = await world["DE-BY"].case(MOVING, number)
    assert told(await world["EE"].case("EE:school", number)) == before
    assert there.our_turn
    assert there.state == "accepted"
    assert "Ann" in str(there.forms), "what the authority may read came with it"
    await world["DE-BY"].step(MOVING, number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    world.exchange()
    await world["EE"].step("EE:school", number, "close", {}, {"survey": {"timeliness": "good"}})
    world.exchange()
    ours = await world["EE"].case("EE:school", number)
    theirs = await world["DE-BY"].case(MOVING, number)
    assert ours.final
    assert told(ours) == told(theirs)
    assert ours.delete_on == theirs.delete_on


async def test_the_old_node_shows_nothing_keeps_nothing_and_signs_nothing(federation):
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    old = world["DE"]
    await old.casework.begin_move(MOVING, NodeId("DE-BY"))
    with pytest.raises(AuthorityMoving):
        await old.step(MOVING, number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    with pytest.raises(AuthorityMoving):
        await old.open(MOVING, REQUEST, "send", request_control("EE:school"), request_content())
    parts = old.database.run(lambda s: cases.parts_of(s, cases.find_by_number(s, number).case_id))
    assert all(part.sealed for part in parts.values()), "nothing is deleted before the new node has it"
    await hand_over(world)
    parts = old.database.run(lambda s: cases.parts_of(s, cases.find_by_number(s, number).case_id))
    assert not any(part.sealed for part in parts.values())
    assert (await old.casework.cases(old.official(MOVING))).items == ()


async def test_the_old_nodes_copy_ends_when_the_others_do(federation):
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    await hand_over(world)
    await world["EE"].step("EE:school", number, "withdraw", {}, {})
    world.exchange()
    rows = [
        world[name].database.run(
            lambda s: (r := cases.find_by_number(s, number)) and (r.state, r.block_at, r.delete_at)
        )
        for name in ("EE", "DE", "DE-BY")
    ]
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][2]


async def test_a_node_that_has_not_heard_yet_holds_and_loses_nothing(federation):
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    announced = move(world)
    await hand_over(world, tell_to=("DE", "DE-BY"))
    await world["DE-BY"].step(MOVING, number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    world.exchange()
    held = await world["EE"].case("EE:school", number)
    assert held.state == "accepted"
    assert held.waiting_for_data
    await world["EE"].step("EE:school", number, "message", {}, {"message": {"text": text("Any news?")}})
    world.exchange()  # to the old node, which hands it on
    assert "message" in {entry.step for entry in (await world["DE-BY"].case(MOVING, number)).timeline}
    await tell(world, "EE", announced=announced)
    world.exchange()
    case = await world["EE"].case("EE:school", number)
    assert case.state == "answered"
    assert not case.waiting_for_data
    assert told(case) == told(await world["DE-BY"].case(MOVING, number))


async def test_a_case_opened_to_the_old_node_after_the_move_reaches_the_new_one(federation):
    world = federation("EE", "DE", "DE-BY")
    announced = move(world)
    await hand_over(world, tell_to=("DE", "DE-BY"))
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(MOVING), request_content())
    world.exchange()
    await world["DE-BY"].step(MOVING, number, "accept", {"date": "2026-12-15"})
    await tell(world, "EE", announced=announced)
    world.exchange()
    assert (await world["EE"].case("EE:school", number)).state == "accepted"
    row = world["DE"].database.run(lambda s: cases.find_by_number(s, number))
    assert row.state == "accepted", "the file card stays, and follows"


async def test_a_home_that_was_left_before_and_written_to_all_the_same_ends_its_copy_with_the_others(federation):
    """Forwarded by a node that knows of the move; Estonia, which does not, writes to the old home, and to nobody else."""
    world = federation("EE", "DE", "DE-BY")
    announced = move(world)
    await hand_over(world, tell_to=("DE", "DE-BY"))
    munich = AuthorityId("DE:munich")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(munich), request_content())
    world.exchange()
    await world["DE-BY"].step(munich, number, "forward", {"to": MOVING})
    world.exchange()
    await tell(world, "EE", announced=announced)
    world.exchange()
    await world["EE"].step("EE:school", number, "withdraw", {}, {})
    world.exchange()
    rows = [
        world[name].database.run(
            lambda s: (r := cases.find_by_number(s, number)) and (r.state, r.block_at, r.delete_at)
        )
        for name in ("EE", "DE-BY", "DE")
    ]
    assert rows[0] == rows[1] == rows[2]


async def test_a_late_joiner_believes_what_the_old_node_signed(federation):
    """Forwarded after the move to an authority on a third node, which never heard of the case before."""
    world = federation("EE", "DE", "DE-BY")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control("DE:munich"), request_content())
    world.exchange()
    await world["DE-BY"].step("DE:munich", number, "accept", {"date": "2026-12-15"})
    world.exchange()
    munich = AuthorityId("DE:munich")
    announced = move(world, munich, at="DE-BY", to="DE")
    count = await world["DE-BY"].casework.begin_move(munich, NodeId("DE"))
    world.exchange()
    await world["DE"].casework.accept_move(munich, number=1, expected=count)
    await tell(world, "EE", "DE", "DE-BY", announced=announced)
    world.exchange()
    await world["DE"].step("DE:munich", number, "forward", {"to": "DE:alerts"})
    world.exchange()
    back = move(world, at="DE", to="DE-BY")
    count = await world["DE"].casework.begin_move(MOVING, NodeId("DE-BY"))
    world.exchange()
    await world["DE-BY"].casework.accept_move(MOVING, number=1, expected=count)
    await tell(world, "EE", "DE", "DE-BY", announced=back)
    world.exchange()
    there = await world["DE-BY"].case(MOVING, number)
    assert there.our_turn
    assert {"send", "accept", "forward"} <= {entry.step for entry in there.timeline}
    assert told(there) == told(await world["EE"].case("EE:school", number))


async def test_an_authority_may_come_back(federation):
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    await hand_over(world)
    await world["DE-BY"].step(
        MOVING, number, "answer-part", {"questions": ["Q3"]}, {"answers": {"Q3": ANSWERS["answers"]["Q3"]}}
    )
    world.exchange()
    await hand_over(world, at="DE-BY", to="DE", number=2)
    assert "Ann" in str((await world["DE"].case(MOVING, number)).forms)
    await world["DE"].step(
        MOVING, number, "answer", {"questions": ["Q2"]}, {"answers": {"Q2": ANSWERS["answers"]["Q2"]}}
    )
    world.exchange()
    assert (await world["EE"].case("EE:school", number)).state == "answered"
    with pytest.raises(AuthorityMoving):
        await world["DE-BY"].case(MOVING, number)


async def test_a_move_may_be_repeated_wherever_it_stopped(federation):
    world = federation("EE", "DE", "DE-BY")
    numbers = [await asked(world) for _ in range(3)]
    old, new = world["DE"], world["DE-BY"]
    announced = move(world)
    # It stopped after the first transaction, and after the first case.
    found = old.database.run(lambda s: old.casework._begin_move(s, MOVING, NodeId("DE-BY"), leave_drafts=False))
    old.database.run(lambda s: old.casework._look_at(s, found[0]))
    world.exchange()
    with pytest.raises(NotYetArrived):
        await new.casework.accept_move(MOVING, number=1, expected=len(found))
    for _ in range(2):
        assert await old.casework.begin_move(MOVING, NodeId("DE-BY")) == 3
    world.exchange()
    for _ in range(2):
        assert await new.casework.accept_move(MOVING, number=1, expected=3) == 3
    await tell(world, "EE", "DE", "DE-BY", announced=announced)
    world.exchange()
    events = new.database.run(lambda s: cases.events_of(s, cases.find_by_number(s, numbers[0]).case_id))
    steps = [stored.signed.event.step for stored in events]
    assert (steps.count("moved"), steps.count("taken-over")) == (1, 1)
    assert {(await new.case(MOVING, number)).our_turn for number in numbers} == {True}


async def test_what_the_old_node_signs_afterwards_counts_nowhere(federation):
    """It forgot that the authority left; its answer reaches a node that knows of the move, and one that does not."""
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    announced = move(world)
    await hand_over(world, tell_to=("DE-BY",))
    old = world["DE"]
    old.database.run(lambda s: moves.stay(s, MOVING))
    await old.step(MOVING, number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    world.exchange()
    assert (await world["EE"].case("EE:school", number)).state == "accepted", "it waits for what went before"
    await tell(world, "EE", "DE", announced=announced)
    world.exchange()
    for name, authority in (("EE", "EE:school"), ("DE-BY", MOVING)):
        case = await world[name].case(authority, number)
        assert case.state == "accepted", name
        assert {entry.state for entry in case.timeline if entry.step == "answer"} <= {"superseded"}
    await world["DE-BY"].step(MOVING, number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    world.exchange()
    assert (await world["EE"].case("EE:school", number)).state == "answered"


async def test_drafts_do_not_travel(federation):
    world = federation("EE", "DE", "DE-BY")
    number = await asked(world)
    old = world["DE"]
    content = DraftContent(lang="de", control={}, content={"message": {"text": text("Entwurf", "de")}})
    await old.casework.save_draft(old.official(MOVING), number, content, step="message")
    with pytest.raises(AuthorityMoving):
        await old.casework.begin_move(MOVING, NodeId("DE-BY"))
    assert await old.casework.begin_move(MOVING, NodeId("DE-BY"), leave_drafts=True) == 1


@pytest.mark.parametrize("to", ["FR", "DE"])
async def test_an_authority_stays_in_its_state(federation, to):
    world = federation("DE")
    with pytest.raises(AuthorityMoving):
        await world["DE"].casework.begin_move(MOVING, NodeId(to))


async def test_an_alert_told_inside_a_state_names_nobody_outside_it(federation):
    """Who takes part only as its own State knows moves without others learning that it does."""
    world = federation("EE", "DE", "DE-BY")
    control = {"to": ["DE:munich"], "establishment": "FR:alerts"}
    number = await world["EE"].open("EE:coordinator", ALERT, "broadcast-directly", control, danger())
    world.exchange()
    await world["DE-BY"].step("DE:munich", number, "disseminate", {"to": ["DE:office"]})
    world.exchange()
    office = AuthorityId("DE:office")
    announced = move(world, office)
    count = await world["DE"].casework.begin_move(office, NodeId("DE-BY"))
    world.exchange()
    await world["DE-BY"].casework.accept_move(office, number=1, expected=count)
    await tell(world, "EE", "DE", "DE-BY", announced=announced)
    world.exchange()
    assert (await world["DE-BY"].case(office, number)).forms
    with pytest.raises(AuthorityMoving):
        await world["DE"].case(office, number)
    events = world["EE"].database.run(lambda s: cases.events_of(s, cases.find_by_number(s, number).case_id))
    assert not [stored for stored in events if stored.signed.event.author == office]
