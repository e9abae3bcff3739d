"""Two-way, push and push: an answer is a message of its own, in the same conversation, that refers to its question."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from node.federation import by_hand
from node.ids import MessageId, NodeId
from node.local_store.messages import InboxRow, OutboxRow
from tests.delivery.harness import until
from tests.delivery.partners import introduce, two_sides


def post(session, node, peer, name, **more):
    values = {"service": "", "action": "Submit", "conversation": "", "properties": {}, "mime_type": "text/plain"}
    by_hand.post(
        session, node.peers.get(NodeId(peer)), message_id=MessageId(name), content=name.encode(),
        at=node.clock.now(), **(values | more),
    )  # fmt: skip


async def everything_received(node):
    states = await node.database.read(lambda s: s.execute(text("SELECT state FROM outbox")).scalars().all())
    return {*states} == {"received"}


async def test_both_legs_have_receipts_and_the_answer_refers_to_the_question(tmp_path):
    estonia_side, partner_side = two_sides(tmp_path)
    introduce(estonia_side, partner_side, more="two_way = true")
    introduce(partner_side, estonia_side, more="two_way = true")
    async with estonia_side.small().running() as estonia, partner_side.small().running() as partner:
        await estonia.database.transact(post, estonia, "partner", "q@ee.imi.node", conversation="permit-1")
        await until(lambda: everything_received(estonia))
        await partner.database.transact(post, partner, "estonia", "a@no.imi.node", answers="q@ee.imi.node")
        await until(lambda: everything_received(partner))
        answer = await estonia.database.read(lambda s: s.execute(select(InboxRow)).scalar_one())
        sent = await partner.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
    assert (answer.ref_to_message_id, answer.conversation) == ("q@ee.imi.node", "permit-1")
    assert answer.receipt == sent.receipt


async def test_an_answer_is_refused_where_only_one_way_is_agreed(tmp_path):
    """By us before it is sent; and by the peer, should its agreement say less than ours."""
    estonia_side, partner_side = two_sides(tmp_path)
    introduce(estonia_side, partner_side)
    introduce(partner_side, estonia_side, more="two_way = true")
    async with estonia_side.small().running() as estonia, partner_side.small().running() as partner:
        with pytest.raises(by_hand.ServiceNotAgreed, match="one-way"):
            await estonia.database.transact(post, estonia, "partner", "a@ee.imi.node", answers="q@no.imi.node")
        await estonia.database.transact(post, estonia, "partner", "q@ee.imi.node", conversation="permit-1")
        await until(lambda: everything_received(estonia))
        await partner.database.transact(post, partner, "estonia", "a@no.imi.node", answers="q@ee.imi.node")
        await until(lambda: refused(partner))
        (rejection,) = await estonia.database.read(lambda s: s.execute(text("SELECT * FROM rejections")).all())
    assert (rejection.field, rejection.received, rejection.ebms) == ("RefToMessageId", "q@ee.imi.node", "EBMS:0010")


async def refused(node):
    row = await node.database.read(lambda s: s.execute(text("SELECT state, last_error FROM outbox")).one())
    return row.state == "refused" and "RefToMessageId" in row.last_error
