"""Messages reach the other node once and in order, over real TLS, and are answered with a receipt."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from sqlalchemy import select

from node.clock import FakeClock, SystemClock
from node.federation import as4, outbox
from node.federation.as4 import load_references
from node.federation.receiver import LIMITS
from node.federation.sender import Lane, ping
from node.federation.transport import PeerAnswered, Transport
from node.ids import NodeId
from node.local_store.messages import InboxRow, OutboxRow
from pki.node_keys import load_node_keys

from .harness import SmallNode, prepare, publish, trust_list, until


@pytest.fixture
def folder(tmp_path) -> Path:
    prepare(tmp_path, ["EE", "FR", "DE"])
    return tmp_path


@contextlib.asynccontextmanager
async def pair(folder: Path, **more):
    async with (
        SmallNode(folder, NodeId("EE"), **more).running() as estonia,
        SmallNode(folder, NodeId("FR")).running() as france,
    ):
        yield estonia, france


async def test_messages_arrive_once_and_in_order_with_receipts(folder):
    async with pair(folder) as (estonia, france):
        bodies = [f"m{number}" for number in range(20)]
        await estonia.post("FR", *bodies)
        await until(lambda: _all_received(estonia, 20))
        assert await france.arrived() == bodies


async def test_the_stored_receipt_repeats_what_was_signed(folder):
    async with pair(folder) as (estonia, france):
        await estonia.post("FR", "m")
        await until(lambda: _all_received(estonia, 1))
        row = await estonia.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
        there = await france.database.read(lambda s: s.execute(select(InboxRow)).scalar_one())
        assert row.content is None
        assert row.receipt == there.receipt
        assert row.body == there.body
        agreed = as4.Agreement(
            our_party="imi-node-ee", their_party="imi-node-fr", suite=as4.COMMON, services=(as4.Service(name=as4.SERVICE, actions=frozenset({"events"})),),
            their_signing=france.peers.get(NodeId("FR")).signing,
        )  # fmt: skip
        receipt = as4.read_signal("application/soap+xml", row.receipt, agreed, at=SystemClock().now())
        as4.check_receipt(receipt, message_id=row.message_id, sent=load_references(row.signed))


async def test_a_message_waits_while_the_peer_is_down(folder):
    async with SmallNode(folder, NodeId("EE")).running() as estonia:
        await estonia.post("FR", "one", "two")
        await until(lambda: estonia.sender.states().get(NodeId("FR"), (0, ""))[0] >= 1)
        assert await estonia.states() == ["waiting", "waiting"]
        async with SmallNode(folder, NodeId("FR")).running() as france:
            await until(lambda: _all_received(estonia, 2))
            assert await france.arrived() == ["one", "two"]


async def test_a_lane_wakes_when_the_peer_speaks(folder):
    async with SmallNode(folder, NodeId("EE")).running() as estonia:
        await estonia.post("FR", "one")
        await until(lambda: estonia.sender.states().get(NodeId("FR"), (0, ""))[0] >= 3)  # waits for seconds now
        async with SmallNode(folder, NodeId("FR")).running() as france:
            await ping(france.parts, NodeId("EE"))
            await until(lambda: _all_received(estonia, 1), seconds=3.0)


async def test_a_repeat_gets_the_very_same_receipt_and_is_delivered_once(folder):
    async with pair(folder) as (estonia, france):
        await estonia.post("FR", "m")
        await until(lambda: _all_received(estonia, 1))
        row = await estonia.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
        _, again = await estonia.parts.transport.post(NodeId("FR"), "/imi/v1/as4", row.body, row.content_type)
        assert again == row.receipt
        assert await france.arrived() == ["m"]


async def test_a_known_id_with_other_content_is_refused_for_good(folder):
    async with pair(folder) as (estonia, france):
        await estonia.post("FR", "m")
        await until(lambda: _all_received(estonia, 1))
        await estonia.database.transact(
            lambda s: s.execute(OutboxRow.__table__.delete())  # as if restored from an old backup
        )
        await estonia.post("FR", "m", order="other")
        await until(lambda: _has_state(estonia, "other", "refused"))
        delivery = (await estonia.database.read(outbox.statuses, "other"))[0]
        assert "EBMS:0003" in delivery.last_error
        assert await france.arrived() == ["m"]


async def test_what_follows_a_refused_message_is_parked_and_other_cases_go_on(folder):
    async with pair(folder) as (estonia, france):
        await estonia.post("FR", "m")
        await until(lambda: _all_received(estonia, 1))
        await estonia.database.transact(lambda s: s.execute(OutboxRow.__table__.delete()))
        await estonia.post("FR", "m", "after", order="poisoned")
        await estonia.post("FR", "else", order="well")
        await until(lambda: _has_state(estonia, "well", "received"))
        await until(lambda: _has_state(estonia, "poisoned", "refused"))
        await estonia.post("FR", "later", order="poisoned")
        assert await estonia.states("poisoned") == ["refused", "parked", "parked"]
        assert await france.arrived() == ["m", "else"]


async def test_a_peer_removed_from_the_trust_list_is_refused_on_its_open_connection(folder):
    publisher_folder = folder / "publisher"
    async with pair(folder) as (estonia, france):
        await ping(estonia.parts, NodeId("FR"))
        from pki.trustlist import Publisher

        publish(folder, Publisher(publisher_folder), ["FR", "DE"])
        france.peers.replace(trust_list(folder, "FR"))
        with pytest.raises(PeerAnswered) as refused:
            await ping(estonia.parts, NodeId("FR"))
        assert refused.value.status == 403


async def test_a_node_cannot_speak_for_another(folder):
    async with pair(folder) as (estonia, france), SmallNode(folder, NodeId("DE")).running(sending=False) as germany:
        await germany.post("FR", "m")
        row = await _built(germany)
        _, answer = await estonia.parts.transport.post(NodeId("FR"), "/imi/v1/as4", row.body, row.content_type)
        assert b"EBMS:0003" in answer
        assert await france.arrived() == []


async def test_a_day_without_a_receipt_is_told_once(folder):
    clock = FakeClock(SystemClock().now())
    async with SmallNode(folder, NodeId("EE"), clock=clock).running(sending=False) as estonia:
        await estonia.post("FR", "m")
        await estonia.sender.look_after()
        assert estonia.told == []
        clock.advance(
            hours=25
        )  # its peer was never reached, and the message never tried: the sender hears all the same
        await estonia.sender.look_after()
        await estonia.sender.look_after()
        assert estonia.told == ["m@ee.imi.node"]
        assert (await estonia.database.read(outbox.statuses, "case"))[0].is_late


async def test_a_huge_body_is_refused_before_it_is_read(folder):
    async with pair(folder) as (estonia, _france):
        transport = Transport(load_node_keys(folder / "EE" / "keys"), estonia.peers)
        kept = transport._connections(estonia.peers.route(NodeId("FR")))
        headers = {"Content-Length": str(LIMITS.entity + 1), "Content-Type": "multipart/related"}

        async def never():
            yield b"x"
            await asyncio.Event().wait()

        async with kept.session.post(f"{kept.peer.url}/imi/v1/as4", data=never(), headers=headers) as answer:
            assert answer.status == 413
        await transport.close()


async def _built(node: SmallNode):
    lane = Lane(NodeId("FR"), node.parts)
    claimed = await node.database.read(outbox.claim, NodeId("FR"), at=node.clock.now(), busy=frozenset())
    await lane._build(claimed)
    return await node.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())


async def _all_received(node: SmallNode, count: int) -> bool:
    states = await node.states()
    return len(states) == count and set(states) == {"received"}


async def _has_state(node: SmallNode, order: str, state: str) -> bool:
    return state in await node.states(order)


async def test_a_signal_where_a_message_should_come_is_not_answered_with_a_signal(folder):
    async with pair(folder) as (estonia, france):
        await estonia.post("FR", "m")
        await until(lambda: _all_received(estonia, 1))
        row = await estonia.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
        kind = "application/soap+xml; charset=UTF-8"
        _, answer = await estonia.parts.transport.post(NodeId("FR"), "/imi/v1/as4", row.receipt, kind)
        assert answer == b""
        assert await france.arrived() == ["m"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("text/plain", b"hello"),
        ("application/soap+xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"),
        ("application/soap+xml", b"<a>" * 5000),
        ("multipart/related; boundary=x", b"--x\r\n\r\n"),
        ('multipart/related; boundary="' + "y" * 5000 + '"', b"--y--"),
    ],
)
async def test_rubbish_from_a_known_peer_is_answered_with_an_error_and_leaves_nothing(folder, kind, body):
    async with pair(folder) as (estonia, france):
        _, answer = await estonia.parts.transport.post(NodeId("FR"), "/imi/v1/as4", body, kind)
        assert b"EBMS:00" in answer
        assert await france.arrived() == []
        await estonia.post("FR", "after")
        await until(lambda: _all_received(estonia, 1))


async def test_a_large_message_passes_by_the_spool_and_leaves_nothing_there(folder):
    async with pair(folder) as (estonia, france):
        large = "x" * 300_000
        await estonia.post("FR", large[:100], order="small", prefix="s-")
        await estonia.database.transact(_post_large, estonia, large)
        await until(lambda: _has_state(estonia, "large", "received"))
        assert any(large in arrived for arrived in await france.arrived())
        row = await france.database.read(
            lambda s: s.execute(select(InboxRow).where(InboxRow.conversation == "large")).scalar_one()
        )
        assert not row.body
        assert france.bodies.size(row.body_file) > 64 * 1024  # what came is not compressible below the spool's limit
        assert [path.name for path in (folder / "FR" / "messages").iterdir()] == [row.body_file]


def _post_large(session, node, large):
    import secrets

    reference = outbox.OutFile(name="a" * 64, mime="application/octet-stream", reference=secrets.token_hex(40_000))
    outbox.post(
        session, message_id="large@ee.imi.node", recipient=NodeId("FR"), order="large", conversation="large",
        action="events", content=large.encode(), files=[reference], at=node.clock.now(),
    )  # fmt: skip
