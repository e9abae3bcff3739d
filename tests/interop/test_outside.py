"""phase4 as an access point outside the federation, as an operator would write it down: tested, sent to, received from."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from node.federation import as4, by_hand, outside
from node.federation.selftest import check_peer
from node.ids import MessageId, NodeId
from tests.delivery.harness import SmallNode, free_port, prepare, until
from tests.interop.keys import Identity, ListedNode
from tests.interop.phase4 import Phase4

pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.timeout(600)]

EE = NodeId("EE")
SERVICE = "urn:example:permits"
AGREEMENT = """
url = "https://127.0.0.1:{port}/as4"
their_party = "imi-node-no"
suite = "{suite}"
[[service]]
name = "{service}"
actions = ["Submit"]
"""


class Norway(Phase4):
    """An access point that no trust list names."""

    port: int


@pytest.fixture(params=[(as4.COMMON, None), (as4.CURVES, "ecc"), (as4.RSA, "rsa")], ids=as4.SUITES)
def norway(request, classpath, tmp_path):
    suite, family = request.param
    prepare(tmp_path, ["EE"], families=(family,) if family else (), suite=suite.name)
    identity = Identity("NO", suite, tmp_path / "norway")
    norway = Norway(classpath, suite, us=identity, peer=ListedNode.of(tmp_path, "EE", family), folder=tmp_path / "p4")
    norway.port = free_port()
    agreement = AGREEMENT.format(port=norway.port, suite=suite.name, service=SERVICE)
    certificates = {purpose: (identity.folder / f"{purpose}.pem").read_bytes() for purpose in outside.CERTIFICATES}
    outside.write(tmp_path / "EE" / "peers", "norway", agreement.encode(), certificates)
    return norway


async def test_the_self_test_of_a_live_phase4_finds_no_fault(norway, tmp_path):
    """A duplicate and unsigned messages are answered in its own ways, which are named."""
    async with SmallNode(tmp_path, EE).running() as estonia:
        with norway.receiving(port=norway.port):
            parts = estonia.parts
            found = [
                result
                async for result in check_peer(
                    NodeId("norway"), peers=estonia.peers, keys=parts.keys, transport=parts.transport
                )
            ]
    assert [result for result in found if result.verdict == "FAULT"] == []
    assert len(found) == 8
    verdicts = {result.check: result.says for result in found}
    assert "EBMS:0004" in verdicts["duplicate"] or "EBMS:4001" in verdicts["duplicate"]
    assert "EBMS:0102" in verdicts["tampered"]


async def test_a_file_sent_by_hand_reaches_phase4_and_its_answer_is_kept_for_the_operator(norway, tmp_path):
    async with SmallNode(tmp_path, EE).running() as estonia:
        with norway.receiving(port=norway.port) as receiver:
            peer = estonia.peers.get(NodeId("norway"))
            await estonia.database.transact(
                by_hand.post, peer, message_id=MessageId("by-hand@ee.imi.node"), content=b"<permit/>",
                mime_type="application/xml", service="", action="Submit", conversation="permit-1", properties={},
                at=estonia.clock.now(),
            )  # fmt: skip
            await until(lambda: _received(estonia), seconds=60)
            (arrived,) = receiver.received("by-hand@ee.imi.node")
    assert (arrived.header["service"], arrived.header["action"]) == (SERVICE, "Submit")
    assert arrived.payloads == [b"<permit/>"]


async def _received(node):
    states = await node.database.read(lambda s: s.execute(text("SELECT state FROM outbox")).scalars().all())
    return [*states] == ["received"]


async def test_what_phase4_sends_is_kept_and_given_to_no_procedure(norway, tmp_path):
    part = as4.Part(content=b"<answer/>", mime_type="application/xml")
    async with SmallNode(tmp_path, EE).running() as estonia:
        url = f"https://127.0.0.1:{(tmp_path / 'EE' / 'port').read_text()}/imi/v1/as4"
        (sent,) = await norway.send(url, part, service=SERVICE, action="Submit")
        assert sent["outcome"] == "receipt"
        row = await estonia.database.read(by_hand.received, sent["message_id"])
        message = by_hand.open_message(row, row.body, estonia.parts.keys.decrypters, estonia.bodies.spool)
        assert [one.content for one in message.parts] == [b"<answer/>"]
        assert await estonia.arrived() == []
        (refused,) = await norway.send(url, part, service="urn:not-agreed", action="Submit")
        assert "EBMS:0010" in str(refused)
