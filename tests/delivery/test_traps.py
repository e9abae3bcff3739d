"""Traps of speed and of races, as far as no other test stands before them (docs/reference/as4-traps.md)."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select

from node.federation import outbox
from node.federation.lanes import Lane
from node.ids import NodeId
from node.local_store.messages import OutboxRow

from .harness import SmallNode, prepare

EE, FR = NodeId("EE"), NodeId("FR")


@pytest.fixture
def folder(tmp_path) -> Path:
    prepare(tmp_path, ["EE", "FR"])
    return tmp_path


async def test_messages_one_after_another_use_one_tls_connection(folder):
    async with (
        SmallNode(folder, EE).running(sending=False) as estonia,
        SmallNode(folder, FR).running(sending=False) as france,
    ):
        opened: list[object] = []
        watch = aiohttp.TraceConfig()

        async def connected(*about):
            opened.append(about)

        watch.on_connection_create_end.append(connected)
        watch.freeze()
        estonia.parts.transport._connections(estonia.peers.route(FR)).session.trace_configs.append(watch)
        lane = Lane(FR, estonia.parts)
        for number in range(5):
            await estonia.post("FR", f"m{number}")
            assert await lane.flush_once()
        assert len(await france.arrived()) == 5
        assert len(opened) == 1


class Noticing:
    """A signing key that notes on which thread it works."""

    def __init__(self, inner) -> None:
        self.inner, self.threads = inner, []

    @property
    def certificate(self):
        return self.inner.certificate

    def sign(self, data):
        self.threads.append(threading.current_thread())
        return self.inner.sign(data)


async def test_what_is_large_is_compressed_beside_the_loop(folder):
    """Ten milliseconds a megabyte: others must not wait for it."""
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        signer = Noticing(estonia.parts.keys.signer)
        parts = replace(estonia.parts, keys=replace(estonia.parts.keys, signers=(signer,)))
        lane = Lane(FR, parts)
        await estonia.post("FR", "small", order="small")
        await lane._build(await _claim(estonia))
        assert signer.threads == [threading.main_thread()]
        await estonia.database.transact(lambda s: s.execute(OutboxRow.__table__.delete()))
        await estonia.database.transact(_post_large, estonia)
        await lane._build(await _claim(estonia))
        assert len(signer.threads) == 2
        assert signer.threads[1] is not threading.main_thread()


def _post_large(session, node: SmallNode) -> None:
    outbox.post(
        session, message_id="large@ee.imi.node", recipient=FR, order="large", conversation="large", action="events",
        content=b"x" * 100_000, at=node.clock.now(),
    )  # fmt: skip


async def _claim(node: SmallNode):
    return await node.database.read(outbox.claim, FR, at=node.clock.now(), busy=frozenset())


async def _row(node: SmallNode) -> OutboxRow:
    return await node.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())


async def test_a_receipt_ends_it_whatever_comes_later(folder):
    """The answer of an attempt that timed out arrives after that of the next, or the other way round."""
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "m")
        (waiting,) = await _claim(estonia)
        now = estonia.clock.now()
        transact = estonia.database.transact
        await transact(outbox.store_received, waiting.id, at=now, receipt=b"receipt", certificate=b"certificate")
        await transact(outbox.store_failure, waiting.id, reason="too late", again_at=now, unanswered=True)
        await transact(outbox.store_refused, waiting, reason="EBMS:4001")
        await transact(outbox.store_received, waiting.id, at=now, receipt=None, certificate=None)
        row = await _row(estonia)
        assert (row.state, row.receipt, row.due_at, row.last_error) == ("received", b"receipt", None, "")
        assert await estonia.database.read(outbox.late, before=now + timedelta(days=2)) == []  # no EBMS:0301 either
