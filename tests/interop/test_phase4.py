"""What we send phase4 takes, and the other way round; both judge the receipt strictly."""

from __future__ import annotations

import pytest

from node.federation import as4

pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.timeout(300)]

JSON = as4.Part(content=b'{"hello": "world"}', mime_type="application/json")
XML = as4.Part(content=b'<?xml version="1.0"?>\n<a  b="1"><c/></a>\n', mime_type="application/xml", charset="UTF-8")
BINARY = as4.Part(content=bytes(range(256)) * 500, mime_type="application/pdf")
PING = {"service": as4.TEST_SERVICE, "action": as4.TEST_ACTION}
PARTS = pytest.mark.parametrize("parts", [(), (JSON,), (JSON, XML, BINARY)], ids=["none", "one", "three"])


@PARTS
async def test_phase4_takes_our_message(peers, receiver, parts):
    ours = peers.ours()
    message = ours.message(*parts, **({} if parts else PING))
    await ours.deliver(receiver.url, message)
    (found,) = receiver.received(message.message_id)
    assert found.payloads == [part.content for part in parts]
    assert [part["MimeType"] for part in found.header["parts"]] == [part.mime_type for part in parts]
    assert found.header["from"] == "imi-node-at"
    assert found.header["conversation_id"] == message.conversation_id
    assert found.header["properties"] == message.properties


@PARTS
async def test_we_take_phase4s_message(peers, ours, parts):
    (sent,) = await peers.phase4.send(ours.url, *parts, **({} if parts else PING))
    assert sent["outcome"] == "receipt", ours.refused or sent
    (message,) = ours.received
    assert [(part.content, part.mime_type) for part in message.parts] == [(p.content, p.mime_type) for p in parts]
    assert (message.message_id, message.sender) == (sent["message_id"], "imi-node-si")
    assert message.is_test is not bool(parts)
