"""phase4 in the place of a listed node, beside a real node with its trust list, store, lanes and door."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from node.federation import as4
from node.ids import NodeId
from tests.delivery.harness import SmallNode, prepare, until
from tests.interop.keys import ListedNode
from tests.interop.phase4 import Phase4

pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.timeout(600)]

COUNT = 30
PATH = "/imi/v1/as4"


@pytest.fixture(params=[(as4.COMMON, None), (as4.CURVES, "ecc"), (as4.RSA, "rsa")], ids=as4.SUITES)
def phase4(request, classpath, tmp_path):
    """France is a phase4, as Estonia's trust list knows it."""
    suite, family = request.param
    prepare(tmp_path, ["EE", "FR"], families=(family,) if family else (), suite=suite.name)
    france, estonia = (ListedNode.of(tmp_path, node, family) for node in ("FR", "EE"))
    return Phase4(classpath, suite, us=france, peer=estonia, folder=tmp_path / "phase4")


def port(folder, node):
    return int((folder / node / "port").read_text())


async def received(node: SmallNode) -> int:
    return await node.database.read(
        lambda s: s.execute(text("SELECT count(*) FROM outbox WHERE state = 'received'")).scalar()
    )


async def test_a_nodes_messages_arrive_at_phase4_once_each(phase4, tmp_path):
    bodies = [f"body-{number}" for number in range(COUNT)]
    async with SmallNode(tmp_path, NodeId("EE")).running() as estonia:
        await estonia.post("FR", *bodies)
        await until(lambda: estonia.sender.states().get("FR", (0, ""))[0])  # its door is still shut
        with phase4.receiving(port=port(tmp_path, "FR"), path=PATH) as receiver:
            estonia.sender.wake(NodeId("FR"))
            await until(lambda: _reached(estonia, COUNT), seconds=120)
            found = [one for body in bodies for one in receiver.received(f"{body}@ee.imi.node")]
    assert [one.payloads for one in found] == [[body.encode()] for body in bodies]


async def _reached(node, count):
    return await received(node) == count


async def test_a_message_whose_receipt_was_lost_is_found_delivered(phase4, tmp_path):
    """The node crashes before it stores the receipt; phase4 answers the same bytes with a duplicate error."""
    with phase4.receiving(port=port(tmp_path, "FR"), path=PATH) as receiver:
        async with SmallNode(tmp_path, NodeId("EE")).running() as estonia:
            await estonia.post("FR", "body")
            await until(lambda: _reached(estonia, 1), seconds=60)
            await estonia.database.transact(lambda s: s.execute(text(UNSTORED)))
        async with SmallNode(tmp_path, NodeId("EE")).running() as estonia:
            await until(lambda: _reached(estonia, 1), seconds=60)
            query = text("SELECT receipt, attempts FROM outbox")
            receipt, attempts = await estonia.database.read(lambda s: s.execute(query).one())
        assert (receipt, attempts) == (None, 2)
        assert len(receiver.received("body@ee.imi.node")) == 1


UNSTORED = "UPDATE outbox SET state = 'waiting', receipt = NULL, receipt_certificate = NULL, due_at = posted_at"


async def test_phase4s_messages_arrive_at_a_node(phase4, tmp_path):
    part = as4.Part(content=b"from phase4", mime_type="application/json")
    async with SmallNode(tmp_path, NodeId("EE")).running() as estonia:
        url = f"https://127.0.0.1:{port(tmp_path, 'EE')}{PATH}"
        sent = await phase4.send(url, part, count=COUNT, flight=4)
        assert [one["outcome"] for one in sent] == ["receipt"] * COUNT
        assert await estonia.arrived() == ["from phase4"] * COUNT
