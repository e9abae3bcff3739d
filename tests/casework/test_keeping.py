"""Retention: blocked, then erased, on every copy by the same clock; files and clear contents that nobody needs go too."""

from __future__ import annotations

import pytest
from casework_federation import ALERT, REQUEST, danger, request_content, request_control
from sqlalchemy import func, select

from node.casework.errors import CaseBlocked, UnknownCase
from node.ids import NodeId
from node.local_store.cases import CaseRow, EventRow, OutgoingRow, PartRow
from node.local_store.files import AttachmentRow
from node.local_store.messages import OutboxRow


async def closed_request(world):
    file = await world["EE"].attach("EE:school", b"scan" * 1000)
    content = request_content("CANARY-KEEPING", attachment=file.document())
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), content)
    world.exchange()
    await world["EE"].step("EE:school", number, "withdraw")
    world.exchange()
    return number


async def test_a_closed_case_is_blocked_then_erased_on_both_nodes(federation):
    world = federation("EE", "FR")
    number = await closed_request(world)
    dates = set()
    for node, authority in (("EE", "EE:school"), ("FR", "FR:school")):
        case = await world[node].case(authority, number)
        assert case.forms
        assert not case.blocked
        dates.add((case.block_on, case.delete_on))
    assert len(dates) == 1
    world.clock.advance(days=200)
    for node, authority in (("EE", "EE:school"), ("FR", "FR:school")):
        case = await world[node].case(authority, number)
        assert case.blocked
        assert case.forms == case.files == case.offers == ()
        assert {form.state for entry in case.timeline for form in entry.forms} == {"not-for-you"}
    with pytest.raises(CaseBlocked):
        await world["EE"].step("EE:school", number, "reopen")
    world.clock.advance(days=1000)
    for node, authority in (("EE", "EE:school"), ("FR", "FR:school")):
        await world[node].casework.sweep()
        assert world[node].casework.tools.files.names() == frozenset()

        def left(session):
            row = session.scalar(select(CaseRow))
            sealed = session.scalar(select(func.count()).select_from(PartRow).where(PartRow.sealed.is_not(None)))
            return row.key, sealed, session.scalar(select(func.count()).select_from(EventRow))

        key, sealed, events = world[node].database.run(left)
        assert (key, sealed) == (None, 0)
        assert events > 0
        listed = await world[node].casework.cases(world[node].official(authority))
        assert listed.items == ()


async def test_a_late_repeat_does_not_bring_an_erased_case_back(federation):
    world = federation("EE", "FR")
    number = await closed_request(world)
    first = next(c for c in world.carried if c.recipient == "FR")
    world.clock.advance(days=1200)
    await world["FR"].casework.sweep()
    world["FR"].database.run(world["FR"].casework.deliver, first.inbound)
    sealed = world["FR"].database.run(
        lambda session: session.scalar(select(func.count()).select_from(PartRow).where(PartRow.sealed.is_not(None)))
    )
    assert sealed == 0
    with pytest.raises(Exception, match="deleted"):
        await world["FR"].case("FR:school", number)


async def test_content_kept_for_sending_goes_once_it_arrived(federation):
    world = federation("EE", "FR")
    await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    rows = lambda: world["EE"].database.run(  # noqa: E731
        lambda session: session.scalar(select(func.count()).select_from(OutgoingRow))
    )
    assert rows() == 1
    await world["EE"].casework.sweep()
    assert rows() == 1
    world.exchange()
    await world["EE"].casework.sweep()
    assert rows() == 0


async def test_files_without_a_home_go_in_the_end(federation):
    world = federation("EE", "FR")
    await world["EE"].attach("EE:school", b"never used")
    await world["EE"].casework.sweep()
    assert len(world["EE"].casework.tools.files.names()) == 1
    world.clock.advance(days=31)
    await world["EE"].casework.sweep()
    assert world["EE"].casework.tools.files.names() == frozenset()
    assert (
        world["EE"].database.run(lambda session: session.scalar(select(func.count()).select_from(AttachmentRow))) == 0
    )


async def test_a_file_still_owed_is_kept_for_a_node_that_is_down(federation):
    world = federation("EE", "DE", "DE-BY")
    file = await world["EE"].attach("EE:school", b"scan" * 1000)
    content = request_content(attachment=file.document())
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(to="DE:alerts"), content)
    world.exchange()
    world.down = {NodeId("DE-BY")}
    await world["DE"].step("DE:alerts", number, "forward", {"to": "DE:munich"})
    world.exchange()
    await world["DE"].casework.sweep()
    assert len(world["DE"].casework.tools.files.names()) == 1
    world.down = {NodeId("EE")}
    world.exchange()
    case = await world["DE-BY"].case("DE:munich", number)
    assert [f.here for f in case.files] == [True]
    world.down = set()
    world.exchange()
    await world["DE"].casework.sweep()
    assert world["DE"].casework.tools.files.names() == frozenset()


async def test_lists_say_what_waits_by_urgency_and_name_nobody(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    number = await world["EE"].open(
        "EE:school", REQUEST, "send", request_control(to="FR:school"), request_content("CANARY-LIST")
    )
    alert = await world["EE"].open(
        "EE:coordinator",
        ALERT,
        "broadcast-directly",
        {"to": ["DE:alerts", "FR:alerts"], "establishment": "FR:alerts"},
        danger("CANARY-LIST"),
    )
    world.exchange()
    france = world["FR"]
    work = await france.casework.work(france.official("FR:school"))
    assert (work.counters.to_accept, work.counters.to_answer, work.counters.overdue) == (1, 0, 0)
    (item,) = work.later
    assert (item.number, item.our_turn, item.other) == (number, True, "EE:school")
    assert item.due is not None
    assert "CANARY" not in str(work)
    world.clock.advance(days=12)
    soon = await france.casework.work(france.official("FR:school"))
    assert soon.counters.overdue == 1
    await france.step("FR:school", number, "accept", {"date": "2026-12-20"})
    assert (await france.casework.work(france.official("FR:school"))).counters.to_answer == 1
    alerts = await world["DE"].casework.work(world["DE"].official("DE:alerts"))
    assert alerts.counters.alerts == 1
    assert alerts.waiting[0].facts["service-danger.activity"] == "scaffolding"
    assert alerts.waiting[0].number == alert
    waiting = await world["EE"].casework.work(world["EE"].official("EE:school"))
    assert [w.number for w in waiting.waiting] == [number]
    assert waiting.waiting[0].undelivered == 0
    with pytest.raises(UnknownCase):
        await world["EE"].case("EE:school", alert)


async def test_undelivered_messages_are_counted_in_lists(federation):
    world = federation("EE", "FR")
    await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    listed = await world["EE"].casework.cases(world["EE"].official("EE:school"))
    assert listed.items[0].undelivered == 1
    assert world["EE"].database.run(lambda session: session.scalar(select(OutboxRow.content))) is None
