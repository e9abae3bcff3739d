"""A lane that fails goes on, and no failure of one lane is another's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

from node.clock import FakeClock, SystemClock
from node.federation import operator, outbox
from node.federation.sender import Lane
from node.federation.transport import Unreachable
from node.ids import MessageId, NodeId
from node.local_store.messages import OutboxRow

from .harness import SmallNode, prepare, trust_list, until

EE, FR, DE = NodeId("EE"), NodeId("FR"), NodeId("DE")


@pytest.fixture
def folder(tmp_path) -> Path:
    prepare(tmp_path, ["EE", "FR", "DE"])
    return tmp_path


async def test_a_fault_of_our_own_stops_neither_its_lane_nor_the_others(folder):
    faults = iter(["claimed", "answered"])
    fault = next(faults)

    def crash(line: str) -> None:
        nonlocal fault
        if line == fault:
            fault = next(faults, "")
            raise RuntimeError(line)

    async with (
        SmallNode(folder, EE, crash_at=crash).running() as estonia,
        SmallNode(folder, FR).running() as france,
        SmallNode(folder, DE).running() as germany,
    ):
        await estonia.post("FR", "one", "two")
        await until(lambda: "a fault of our own" in estonia.sender.states().get(FR, (0, ""))[1])
        await estonia.post("DE", "other", order="other")
        await until(lambda: _arrived(germany, ["other"]))
        await until(lambda: _arrived(france, ["one", "two"]))
        assert estonia.sender.is_running


@pytest.mark.parametrize("content", [b"{}", "no such file"])
async def test_a_message_that_cannot_be_built_stops_its_own_case_only(folder, content):
    async with SmallNode(folder, EE).running() as estonia, SmallNode(folder, FR).running() as france:
        if isinstance(content, str):
            object.__setattr__(estonia.parts, "open_file", _no_such_file)
        await estonia.database.transact(_post_what_cannot_be_built, estonia, content)
        await estonia.post("FR", "behind", order="bad")
        await estonia.post("FR", "else", order="well")
        await until(lambda: _arrived(france, ["else"]))
        await until(lambda: _stands(estonia, "bad", ["refused", "parked"]))
        assert (await estonia.database.read(outbox.statuses, "bad"))[0].last_error.startswith("not sent: ")
        assert estonia.sender.states()[FR] == (0, "")


async def test_a_long_case_in_back_off_does_not_hold_up_others(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", *(f"long-{number}" for number in range(600)), order="long")
        first = (await _claim(estonia))[0]
        later = estonia.clock.now() + timedelta(minutes=10)
        await estonia.database.transact(
            outbox.store_failure, first.id, reason="EBMS:0004", again_at=later, unanswered=True
        )
        await estonia.post("FR", "short", order="short")
        assert [waiting.order_key for waiting in await _claim(estonia)] == ["short"]
        assert await estonia.database.read(outbox.next_due, FR, busy=frozenset({"short"})) == later


async def test_the_next_of_a_case_is_claimed_once_the_one_before_is_received(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "a1", "a2", order="a")
        await estonia.post("FR", "b1", order="b")
        claimed = await _claim(estonia)
        assert [waiting.message_id.partition("@")[0] for waiting in claimed] == ["a1", "b1"]
        assert await _claim(estonia, busy=frozenset({"a", "b"})) == []
        now = estonia.clock.now()
        await estonia.database.transact(outbox.store_received, claimed[0].id, at=now, receipt=b"r", certificate=b"c")
        assert [waiting.message_id.partition("@")[0] for waiting in await _claim(estonia)] == ["b1", "a2"]


async def test_a_batch_is_bounded_in_bytes(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        for number in range(3):
            await estonia.post("FR", f"m{number}", order=f"case-{number}")
        rows = [_bytes(w.id, b"x" * (outbox.MAX_BYTES // 2 + 1)) for w in await _claim(estonia)]
        await estonia.database.transact(outbox.store_built, rows)
        assert [waiting.order_key for waiting in await _claim(estonia)] == ["case-0"]


def _bytes(number, body):
    return outbox.Bytes(id=number, content_type="", body=body, body_file="", signed="", certificate=b"")


async def test_a_built_message_never_gets_other_bytes(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "m")
        number = (await _claim(estonia))[0].id
        assert await estonia.database.transact(outbox.store_built, [_bytes(number, b"first")]) == {number}
        assert await estonia.database.transact(outbox.store_built, [_bytes(number, b"second")]) == frozenset()
        assert (await _row(estonia)).body == b"first"


async def test_claiming_uses_the_index_of_what_is_due(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        plans: list[str] = []

        def explained(session):
            event.listen(session.get_bind().engine, "before_cursor_execute", keep)
            try:
                outbox.claim(session, FR, at=estonia.clock.now())
                outbox.next_due(session, FR)
                outbox.recipients(session)
                outbox.waiting_by_recipient(session)
                outbox.late(session, before=estonia.clock.now())
                outbox.post(
                    session, message_id=MessageId("m@ee.imi.node"), recipient=FR, order="x", conversation="x",
                    action="events", content=b"{}", at=estonia.clock.now(),
                )  # fmt: skip
            finally:
                event.remove(session.get_bind().engine, "before_cursor_execute", keep)

        def keep(connection, _cursor, statement, parameters, _context, _many):
            if statement.startswith("SELECT"):
                driver = connection.connection.driver_connection
                plans.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        await estonia.database.transact(explained)
        assert len(plans) >= 7
        assert not [plan for plan in plans if plan.startswith("SCAN outbox") and "INDEX" not in plan], plans
        assert any("ix_outbox_due" in plan for plan in plans)
        assert any("ix_outbox_untold" in plan for plan in plans)


async def test_what_is_posted_meanwhile_does_not_end_the_back_off(folder):
    async with SmallNode(folder, EE).running() as estonia:
        await estonia.post("FR", "first")
        await until(lambda: estonia.sender.states().get(FR, (0, ""))[0] >= 3)  # the next try is four seconds away
        for number in range(20):
            await estonia.post("FR", f"m{number}", order=f"case-{number}")
        await asyncio.sleep(0.5)
        assert estonia.sender.states()[FR][0] == 3


async def test_a_peer_whose_door_refuses_us_is_one_failure_not_one_a_message(folder):
    async with SmallNode(folder, EE).running() as estonia, SmallNode(folder, FR).running() as france:
        await estonia.post("FR", "opens-the-connection")
        await until(lambda: _has_arrived(france, 1))
        trust = france.peers.trust
        france.peers.replace(replace(trust, nodes={node: p for node, p in trust.nodes.items() if node != EE}))
        for number in range(40):
            await estonia.post("FR", f"m{number}", order=f"case-{number}")
        await until(lambda: estonia.sender.states().get(FR, (0, ""))[0] >= 1)
        states = [d for n in range(40) for d in await estonia.database.read(outbox.statuses, f"case-{n}")]
        assert sum(d.attempts for d in states) <= outbox.BATCH
        france.peers.replace(trust)
        await until(lambda: _has_arrived(france, 41))


async def test_the_list_read_again_cuts_nothing_that_is_under_way(folder):
    async with SmallNode(folder, EE).running() as estonia, SmallNode(folder, FR).running() as france:
        worst = 0
        for number in range(200):
            await estonia.post("FR", f"m{number}", order=f"case-{number % 20}")
            if number % 10 == 0:
                estonia.peers.replace(_with_new_crl(trust_list(folder, "EE"), number % 20 == 0))
            worst = max(worst, estonia.sender.states().get(FR, (0, ""))[0])
        await until(lambda: _has_arrived(france, 200))
        assert worst == 0


async def test_a_refused_message_goes_again_when_the_operator_says_so(folder):
    async with SmallNode(folder, EE).running() as estonia, SmallNode(folder, FR).running() as france:
        await estonia.post("FR", "m", "behind", order="bad")
        await until(lambda: _has_arrived(france, 2))
        await estonia.database.transact(
            lambda s: s.execute(
                text("UPDATE outbox SET state = iif(message_id LIKE 'm@%', 'refused', 'parked'), due_at = NULL")
            )
        )
        with pytest.raises(operator.NotRefused):
            await estonia.database.transact(operator.retry_message, "behind@ee.imi.node")
        assert await estonia.database.transact(operator.retry_message, "m@ee.imi.node") == FR
        await until(lambda: _all_received(estonia, "bad"))
        assert await france.arrived() == ["m", "behind"]


async def test_a_clock_set_back_holds_nothing_for_long(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        now = estonia.clock.now()
        estonia.clock = FakeClock(now + timedelta(hours=5))
        await estonia.post("FR", "m")
        estonia.clock = FakeClock(now)
        await estonia.sender.look_after()
        due = await estonia.database.read(outbox.next_due, FR)
        assert due is not None
        assert due <= SystemClock().now() + timedelta(minutes=17)


async def test_a_peer_that_leaves_the_list_while_we_send_leaves_every_message_waiting(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "one", order="one")
        await estonia.post("FR", "two", order="two")
        lane = Lane(FR, estonia.parts)
        built = await lane._build(
            await estonia.database.read(outbox.claim, FR, at=estonia.clock.now(), busy=frozenset[str]())
        )
        trust = estonia.peers.trust
        without = {node: peer for node, peer in trust.nodes.items() if node != FR}
        estonia.peers.replace(replace(trust, nodes=without))
        outcomes = [(await lane._attempt(waiting)).outcome for waiting in built]
        assert [type(outcome).__name__ for outcome in outcomes] == ["UnknownPeer", "UnknownPeer"]


async def test_after_a_start_what_was_built_counts_as_possibly_delivered(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "m")
        lane = Lane(FR, estonia.parts)
        await lane._build(await estonia.database.read(outbox.claim, FR, at=estonia.clock.now(), busy=frozenset[str]()))
        assert not (await _row(estonia)).unanswered
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await Lane(FR, estonia.parts).flush_once()
        assert (await _row(estonia)).unanswered


async def test_a_list_that_says_the_same_keeps_the_connections(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        transport = estonia.parts.transport
        before = transport._connections(estonia.peers.route(FR))
        estonia.peers.replace(trust_list(folder, "EE"))
        assert transport._connections(estonia.peers.route(FR)) is before


async def test_an_address_that_changed_gets_new_connections_and_the_old_ones_are_closed(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        transport = estonia.parts.transport
        before = transport._connections(estonia.peers.route(FR))
        trust = estonia.peers.trust
        moved = replace(trust.nodes[FR], url="https://127.0.0.1:9")
        estonia.peers.replace(replace(trust, nodes={**trust.nodes, FR: moved}))
        with pytest.raises(Unreachable):
            await transport.get(FR, "/", limit=1)
        after = transport._connections(estonia.peers.route(FR))
        assert before.session.closed
        assert not after.session.closed
    assert after.session.closed


def _with_new_crl(trust, without: bool):
    """The same list as read, or one in which France has no revocation list: its connections are opened anew."""
    if not without:
        return trust
    changed = replace(trust.nodes[FR], crl=None)
    return replace(trust, nodes={**trust.nodes, FR: changed})


def _post_what_cannot_be_built(session, estonia: SmallNode, content: bytes | str) -> None:
    outbox.post(
        session, message_id=MessageId("m@ee.imi.node"), recipient=FR, order="bad", conversation="bad",
        action="no such action" if content == b"{}" else "events", content=content, at=estonia.clock.now(),
    )  # fmt: skip


def _no_such_file(_session, _reference: str) -> bytes:
    raise FileNotFoundError("gone")


async def _claim(node: SmallNode, busy: frozenset[str] = frozenset()):
    return await node.database.read(outbox.claim, FR, at=node.clock.now(), busy=busy)


async def _stands(node, order, states):
    return await node.states(order) == states


async def _has_arrived(node: SmallNode, count: int) -> bool:
    return len(await node.arrived()) == count


async def _all_received(node: SmallNode, order: str) -> bool:
    return set(await node.states(order)) == {"received"}


async def _arrived(node: SmallNode, bodies: list[str]) -> bool:
    return await node.arrived() == bodies


async def _row(node: SmallNode) -> OutboxRow:
    return await node.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
