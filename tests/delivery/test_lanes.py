"""A lane that fails goes on, and no failure of one lane is another's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from node.federation import outbox
from node.federation.sender import Lane
from node.ids import MessageId, NodeId
from node.local_store.messages import OutboxRow

from .harness import SmallNode, prepare, trust_list, until

EE, FR, DE = NodeId("EE"), NodeId("FR"), NodeId("DE")


@pytest.fixture
def folder(tmp_path) -> Path:
    prepare(tmp_path, ["EE", "FR", "DE"])
    return tmp_path


async def test_a_fault_of_our_own_stops_neither_its_lane_nor_the_others(folder):
    async with (
        SmallNode(folder, EE).running() as estonia,
        SmallNode(folder, FR).running() as france,
        SmallNode(folder, DE).running() as germany,
    ):
        await estonia.database.transact(_post_what_cannot_be_built, estonia)
        await until(lambda: "a fault of our own" in estonia.sender.states().get(FR, (0, ""))[1])
        await estonia.post("DE", "other", order="other")
        await until(lambda: _arrived(germany, ["other"]))
        assert estonia.sender.is_running
        await estonia.database.transact(lambda s: s.execute(OutboxRow.__table__.delete()))
        await estonia.post("FR", "after")
        await until(lambda: _arrived(france, ["after"]))


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
        assert [type(await lane._attempt(waiting)).__name__ for waiting in built] == ["UnknownPeer", "UnknownPeer"]


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
        _, before = await transport._session(FR)
        estonia.peers.replace(trust_list(folder, "EE"))
        _, after = await transport._session(FR)
        assert after is before


async def test_an_entry_that_changed_opens_one_new_set_of_connections_however_many_ask(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        transport = estonia.parts.transport
        await transport._session(FR)
        trust = estonia.peers.trust
        changed = replace(trust.nodes[FR], features=("new",))
        estonia.peers.replace(replace(trust, nodes={**trust.nodes, FR: changed}))
        found = await asyncio.gather(*(transport._session(FR) for _ in range(5)))
        opened = [session for _, session in found]
        assert len({id(session) for session in opened}) == 1
        assert not opened[0].closed
    assert opened[0].closed


def _post_what_cannot_be_built(session, estonia: SmallNode) -> None:
    outbox.post(
        session, message_id=MessageId("m@ee.imi.node"), recipient=FR, order="bad", conversation="bad",
        action="no such action", content=b"{}", at=estonia.clock.now(),
    )  # fmt: skip


async def _arrived(node: SmallNode, bodies: list[str]) -> bool:
    return await node.arrived() == bodies


async def _row(node: SmallNode) -> OutboxRow:
    return await node.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
