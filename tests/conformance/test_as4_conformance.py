"""eDelivery AS4 conformance, one test an assertion, for each of the three suites.

The names are those of the eDelivery AS4 conformance test assertions (Common Profile, and the Four Corner enhancement);
the numbers between belong to other features. A docstring says what is done → what must be seen;
docs/reference/as4-conformance.md is made of them by `make conformance`. `nodes` are two real nodes over mutual TLS,
`pair` is two parties in functions.
"""

from __future__ import annotations

import gzip

import pytest
from lxml import etree
from structlog.testing import capture_logs

from node.clock import FakeClock, SystemClock
from node.federation import as4, rejections
from node.federation.as4 import mime, names, payload, tokens
from node.federation.lanes import Lane, ping
from node.federation.outbox import OutFile
from node.federation.protocol import Received, judge_answer
from tests.federation.as4.conftest import KINDS, NOW, Pair, encryption_key

from .conftest import (
    EBMS,
    FR,
    PAIRS,
    XML,
    Crafted,
    check_error,
    check_receipt,
    compressed,
    gzipped,
    opened,
    parse,
    two_nodes,
)

EB, DS, XENC = f"{{{names.EB}}}", f"{{{names.DS}}}", f"{{{names.XENC}}}"
JSON = as4.Part(content=b'{"a": 1}', mime_type="application/json")
PNG = as4.Part(content=b"\x89PNG\r\n\x1a\n" + bytes(range(256)), mime_type="image/png", compressed=False)
LETTER = as4.Part(content=XML, mime_type="application/xml", charset="UTF-8")


def texts(root: etree._Element, path: str) -> list[str]:
    """The contents of the elements at a path of ebMS names."""
    return [found.text or "" for found in root.iterfind(".//" + "/".join(EB + step for step in path.split("/")))]


def part_properties(root: etree._Element) -> list[dict[str, str]]:
    """Of each PartInfo, in order."""
    return [
        {one.get("name"): one.text or "" for one in info.iter(f"{EB}Property")} for info in root.iter(f"{EB}PartInfo")
    ]


def body_is_empty(root: etree._Element) -> bool:
    (body,) = root.iterfind(f"{{{names.ENV}}}Body")
    return not len(body) and not (body.text or "")


# --- one-way push, payloads, receipts ---


async def test_CP_TA01(nodes):
    """A message is pushed → the HTTP response is 200 and holds a signed non-repudiation receipt for it."""
    built = nodes.build()
    answered = await nodes.send(built)
    assert answered.status == 200
    check_receipt(answered, built)
    root = etree.fromstring(answered.body)
    assert len(list(root.iter(f"{{{names.EBBP}}}MessagePartNRInformation"))) == 3  # Messaging, Body, the part
    assert answered.signal.certificate == nodes.terms_there.signer.certificate


def test_CP_TA02(pair):
    """A message is answered by another, two-way push-and-push → the second's RefToMessageId is the first's MessageId."""
    request, _, answer, _ = two_ways(pair)
    assert texts(parse(answer), "MessageInfo/RefToMessageId") == texts(parse(request), "MessageInfo/MessageId")
    assert texts(parse(request), "MessageInfo/RefToMessageId") == []


async def test_CP_TA03(nodes):
    """A message is produced → one PartyId in From and one in To, each with its type."""
    row = await nodes.posted()
    root, _ = opened(row.content_type, row.body)
    for side in ("From", "To"):
        (party,) = root.iterfind(f".//{EB}{side}/{EB}PartyId")
        assert party.text
        assert party.get("type") == names.UNREGISTERED


async def test_CP_TA04(nodes):
    """An uncompressed payload is sent → receipt, and it is delivered as it was."""
    await nodes.send_well(nodes.build(PNG))
    assert [part.content for part in nodes.delivered[0].parts] == [PNG.content]


async def test_CP_TA05(nodes):
    """A payload is submitted to a node → it travels as a MIME part of its own, and the SOAP body is empty."""
    row = await nodes.posted(content=b'{"payload": true}')
    root, package = opened(row.content_type, row.body)
    assert body_is_empty(root)
    (content_id,) = package.attachments
    assert [info.get("href") for info in root.iter(f"{EB}PartInfo")] == [f"cid:{content_id}"]
    assert nodes.delivered[0].parts[0].content == b'{"payload": true}'


async def test_CP_TA06(nodes):
    """An XML document leads, others follow → it is a MIME part, the first PartInfo, and first at the consumer; body empty."""
    built = nodes.build(LETTER, JSON)
    root, package = opened(built.content_type, built.body)
    assert body_is_empty(root)
    assert part_properties(root)[0]["MimeType"] == "application/xml"
    first = next(root.iter(f"{EB}PartInfo")).get("href").removeprefix("cid:")
    assert first in package.attachments
    await nodes.send_well(built)
    assert nodes.delivered[0].parts[0].content == XML


async def test_CP_TA07(nodes):
    """Several payloads in one message → the receipt has the digest of each."""
    built = nodes.build(LETTER, JSON, PNG)
    receipt = await nodes.send_well(built)
    cids = [reference for reference in receipt.references if reference.uri.startswith("cid:")]
    assert len(cids) == 3
    assert set(cids) <= set(built.references)


async def test_CP_TA08(nodes):
    """A part refers to an address on the web → EBMS:0011 on the HTTP response; nothing is delivered."""
    built = nodes.by_hand(
        compressed(gzipped(XML)), header=lambda unit: unit.replace("cid:part-1@hand", "https://www.example.eu/x")
    )
    check_error(await nodes.send(built), "EBMS:0011", about=built)
    assert nodes.delivered == []


# --- reception awareness ---


class Withheld:
    """France stores a message, but the answer is lost, as often as it is told."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, line: str) -> None:
        if line == "stored" and self.left:
            self.left -= 1
            raise ConnectionResetError("the answer is lost")


async def test_CP_TA09(folder, suite):
    """The receipt of a message is lost → the sender posts it again: the same MessageId, the same bytes."""
    async with two_nodes(folder, suite, france={"crash_at": Withheld(1)}) as nodes:
        await nodes.post()
        heard = nodes.overhear()
        lane = Lane(FR, nodes.estonia.parts)
        assert not await lane.flush_once()
        assert (await nodes.outbox_row()).state == "waiting"
        assert await lane.flush_once()
        posted = [one for one in heard if not is_ping(*one)]
        assert len(posted) == 2
        assert posted[0] == posted[1]


async def test_CP_TA10(folder, suite):
    """A message comes again before the sender gives up → receipt, one delivery; the sender posts it no more."""
    async with two_nodes(folder, suite, france={"crash_at": Withheld(1)}) as nodes:
        await nodes.post()
        heard = nodes.overhear()
        lane = Lane(FR, nodes.estonia.parts)
        await lane.flush_once()
        await lane.flush_once()
        row = await nodes.outbox_row()
        assert (row.state, len(nodes.delivered)) == ("received", 1)
        (stored,) = await nodes.inbox_rows()
        assert (row.receipt, stored.repeats) == (stored.receipt, 1)  # the very receipt of the first time
        before = len(heard)
        assert not await lane.flush_once()
        assert len(heard) == before


async def test_CP_TA15(folder, suite):
    """No attempt has a receipt for a day → EBMS:0301 to the producer, once, and to the log."""
    clock = FakeClock(SystemClock().now())
    async with two_nodes(folder, suite, estonia={"clock": clock}, france={"crash_at": Withheld(99)}) as nodes:
        await nodes.post(message_id="m@ee.imi.node")
        lane = Lane(FR, nodes.estonia.parts)
        for _ in range(3):
            assert not await lane.flush_once()
        await nodes.estonia.sender.look_after()
        assert nodes.estonia.told == []
        clock.advance(hours=25)
        with capture_logs() as logs:
            await nodes.estonia.sender.look_after()
            await nodes.estonia.sender.look_after()
        assert nodes.estonia.told == ["m@ee.imi.node"]
        (said,) = [line for line in logs if line.get("ebms") == "EBMS:0301"]
        assert (said["message_id"], said["log_level"]) == ("m@ee.imi.node", "error")
        assert (await nodes.outbox_row()).attempts >= 1


# --- security ---


async def test_CP_TA12(nodes):
    """A node signs → the suite's algorithms, its certificate named, and Messaging, Body and every part are covered."""
    row = await nodes.posted(files=[OutFile(name="a" * 64, mime="image/png", reference="xy")])
    root, package = opened(row.content_type, row.body)
    (info,) = root.iter(f"{DS}SignedInfo")
    assert info.find(f"{DS}CanonicalizationMethod").get("Algorithm") == names.EXC_C14N
    expected = {"2.0": names.ED25519, "2.0-ecc": names.ECDSA_SHA256, "1.15": names.RSA_SHA256}
    algorithms = {as4.COMMON: "2.0", as4.CURVES: "2.0-ecc", as4.RSA: "1.15"}
    assert info.find(f"{DS}SignatureMethod").get("Algorithm") == expected[algorithms[nodes.suite]]
    assert {one.get("Algorithm") for one in info.iter(f"{DS}DigestMethod")} == {names.SHA256}
    wsu = f"{{{names.WSU}}}Id"
    (messaging,), (body,) = root.iter(f"{EB}Messaging"), root.iter(f"{{{names.ENV}}}Body")
    covered = {one.get("URI") for one in info.iter(f"{DS}Reference")}
    assert covered == {f"#{messaging.get(wsu)}", f"#{body.get(wsu)}", *(f"cid:{cid}" for cid in package.attachments)}
    assert len(package.attachments) == 2
    (token,) = root.iter(f"{{{names.WSSE}}}BinarySecurityToken")
    assert token.text == tokens.token_base64(nodes.terms.signer.certificate)
    reference = root.find(
        f".//{DS}Signature/{DS}KeyInfo/{{{names.WSSE}}}SecurityTokenReference/{{{names.WSSE}}}Reference"
    )
    assert reference.get("URI") == f"#{token.get(wsu)}"


async def test_CP_TA13(nodes, suite):
    """A node encrypts → AES-128-GCM, for the recipient's certificate; another key of that kind opens nothing."""
    row = await nodes.posted()
    root, package = opened(row.content_type, row.body)
    methods = {one.find(f"{XENC}EncryptionMethod").get("Algorithm") for one in root.iter(f"{XENC}EncryptedData")}
    assert methods == {names.AES128_GCM}
    (key,) = root.iter(f"{XENC}EncryptedKey")
    (named,) = key.iter(f"{{{names.WSSE}}}KeyIdentifier")
    assert named.text == tokens.b64(tokens.ski(nodes.terms.encrypt_for))
    (attachment,) = package.attachments.values()
    assert b"{}" not in bytes(attachment.content)
    verified = as4.verify(
        package, as4.parse_soap(package, as4.Limits()), nodes.terms_there.agreement, at=nodes.france.clock.now()
    )
    assert as4.decompress(as4.decrypt(verified, nodes.france.parts.keys.decrypters)).parts[0].content == b"{}"
    stranger = encryption_key("FR", KINDS[PAIRS[suite]][2])
    with pytest.raises(as4.FailedDecryption):
        as4.decrypt(verified, [stranger])


# --- two-way push-and-push ---


def two_ways(pair: Pair) -> tuple[as4.Built, as4.Signal, as4.Built, as4.Signal]:
    """Request and receipt, then the answer to it and its receipt."""
    back = Pair(at=pair.si, si=pair.at)
    request = pair.build(pair.message(conversation_id="AT-2026-000777"), two_way=True)
    asked = pair.verify(request.content_type, request.body, two_way=True)
    answer = back.build(
        back.message(
            message_id="9f@si.imi.node",
            ref_to_message_id=asked.header.message_id,
            conversation_id=asked.header.conversation_id,
        ),
        two_way=True,
    )
    answered = back.verify(answer.content_type, answer.body, two_way=True)
    return request, _signal(pair, asked), answer, _signal(back, answered)


def _signal(pair: Pair, verified: as4.Verified) -> as4.Signal:
    built = pair.receipt(verified)
    return as4.read_signal(built.content_type, built.body, pair.at.agreement_with(pair.si), at=NOW)


def test_CP_TA14(pair):
    """Two-way push-and-push → each leg is answered with a receipt of its own, for its own message."""
    request, first, answer, second = two_ways(pair)
    for signal, built in ((first, request), (second, answer)):
        (message_id,) = texts(parse(built), "MessageInfo/MessageId")
        outcome = judge_answer(signal, message_id=message_id, signed=built.references, unanswered=False)
        assert isinstance(outcome, Received)
        assert outcome.receipt is signal
    crossed = judge_answer(second, message_id="5d5e1331@at.imi.node", signed=request.references, unanswered=False)
    assert not isinstance(crossed, Received)


def test_CP_TA19(pair):
    """A response message → its ConversationId is the request's."""
    request, _, answer, _ = two_ways(pair)
    path = "CollaborationInfo/ConversationId"
    assert texts(parse(answer), path) == texts(parse(request), path) == ["AT-2026-000777"]


# --- test service ---


def is_ping(content_type: str, body: bytes) -> bool:
    return as4.parse_soap(as4.unpack(content_type, body, as4.Limits()), as4.Limits()).is_test


async def test_CP_TA16(nodes):
    """A node pings its peer → service and action are those of the test service."""
    heard = nodes.overhear()
    await ping(nodes.estonia.parts, FR)
    ((content_type, body),) = heard
    root, _ = opened(content_type, body)
    core = "http://docs.oasis-open.org/ebxml-msg/ebms/v3.0/ns/core/200704"
    assert texts(root, "CollaborationInfo/Service") == [f"{core}/service"]
    assert texts(root, "CollaborationInfo/Action") == [f"{core}/test"]


async def test_CP_TA17(nodes):
    """A ping is received → receipt, and nothing is stored or delivered."""
    built = nodes.build(LETTER, service=as4.TEST_SERVICE, action=as4.TEST_ACTION)
    await nodes.send_well(built)
    assert (nodes.delivered, list(await nodes.inbox_rows())) == ([], [])
    await nodes.send_well(nodes.build(LETTER))
    assert len(nodes.delivered) == 1


# --- several parts ---


async def test_CP_TA21(nodes):
    """A node sends a message of several parts → it takes the receipt: the message counts as received."""
    row = await nodes.posted(
        files=[OutFile(name=f"{n}" * 64, mime="image/png", reference=f"file {n}") for n in range(3)]
    )
    assert row.state == "received"
    assert [len(one.parts) for one in nodes.delivered] == [4]


async def test_CP_TA22(nodes):
    """A node receives a message of several parts → it answers with a receipt and delivers all of them."""
    await nodes.send_well(nodes.build(LETTER, JSON, PNG))
    assert [part.content for part in nodes.delivered[0].parts] == [XML, JSON.content, PNG.content]


async def test_CP_TA45(nodes):
    """Parts in an order of their own, attached in another → the consumer gets them in the order of the PartInfos."""
    parts = [as4.Part(content=bytes([n]), mime_type="a/b", content_id=f"{cid}@x") for n, cid in enumerate("cabed")]
    built = nodes.build(*parts)
    _, package = opened(built.content_type, built.body)
    shuffled = [(cid, bytes(one.content)) for cid, one in sorted(package.attachments.items())]
    content_type, pieces = mime.pack(built.soap, shuffled, token="0123456789abcdef", domain="ee")
    moved = as4.Built(content_type=content_type, pieces=pieces, soap=built.soap, references=built.references)
    await nodes.send_well(moved)
    assert [part.content for part in nodes.delivered[0].parts] == [bytes([n]) for n in range(5)]


# --- compression ---


async def test_CP_TA23(nodes):
    """A node compresses → what was encrypted is one gzip member, and any gzip reads it."""
    built = nodes.build(LETTER)
    (octets,) = attached_octets(nodes, built)
    assert octets[:3] == b"\x1f\x8b\x08"
    assert gzip.decompress(octets) == XML


def attached_octets(nodes, built: as4.Built) -> list[bytes]:
    """What the recipient's key makes of the attachments, before decompression."""
    package = as4.unpack(built.content_type, built.body, as4.Limits())
    header = as4.parse_soap(package, as4.Limits())
    verified = as4.verify(package, header, nodes.terms_there.agreement, at=nodes.france.clock.now())
    return list(as4.decrypt(verified, nodes.france.parts.keys.decrypters).octets.values())


async def test_CP_TA24(nodes):
    """A part is compressed → its CompressionType is application/gzip; an uncompressed part has none."""
    row = await nodes.posted()
    root, _ = opened(row.content_type, row.body)
    assert [one["CompressionType"] for one in part_properties(root)] == ["application/gzip"]
    assert "CompressionType" not in part_properties(parse(nodes.build(PNG)))[0]


async def test_CP_TA25(nodes):
    """A part is compressed → its MimeType is that before compression."""
    row = await nodes.posted(files=[OutFile(name="a" * 64, mime="application/pdf", reference="xy")])
    root, _ = opened(row.content_type, row.body)
    assert [one["MimeType"] for one in part_properties(root)] == ["application/json", "application/pdf"]


async def test_CP_TA26(nodes):
    """A compressed part has no MimeType (preferred) → EBMS:0303; nothing is delivered."""
    built = nodes.by_hand(
        compressed(gzipped(XML)), header=lambda unit: unit.replace('name="MimeType"', 'name="OtherType"')
    )
    check_error(await nodes.send(built), "EBMS:0303", about=built)
    assert nodes.delivered == []


async def test_CP_TA27(nodes):
    """XML in UTF-16, named so by CharacterSet (preferred) → receipt, and it is delivered as it was."""
    await delivers(nodes, "<request>Ürztin</request>".encode("utf-16"), "UTF-16")


async def test_CP_TA28(nodes):
    """XML in UTF-8, named so by CharacterSet (preferred) → receipt, and it is delivered as it was."""
    await delivers(nodes, XML, "UTF-8")


async def delivers(nodes, content: bytes, charset: str) -> None:
    await nodes.send_well(nodes.build(as4.Part(content=content, mime_type="application/xml", charset=charset)))
    (part,) = nodes.delivered[0].parts
    assert (part.content, part.charset) == (content, charset)


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        (XML.decode().encode("utf-16"), "UTF-8"),
        (XML.decode().encode("latin-1"), "UTF-8"),
        (XML, "UTF-16"),
        (XML + b" " * (len(XML) % 2), "UTF-16LE"),  # an even number of bytes: nearly all of them are UTF-16LE
        (XML, "no-such-set"),
    ],
    ids=["UTF-16 as UTF-8", "Latin 1 as UTF-8", "UTF-8 as UTF-16", "UTF-8 as UTF-16LE", "unknown"],
)
async def test_CP_TA29(nodes, content, charset):
    """XML that is not in the CharacterSet named for it (preferred) → EBMS:0003; nothing is delivered."""
    built = nodes.build(as4.Part(content=content, mime_type="application/xml", charset=charset))
    check_error(await nodes.send(built), "EBMS:0003", about=built)
    assert nodes.delivered == []


DAMAGED = gzipped(XML)[:-8] + bytes(8)  # signed and encrypted as it should be, but checksum and length are wrong


async def test_CP_TA30(nodes):
    """A compressed part is damaged → EBMS:0303, severity failure, category Communication."""
    built = nodes.by_hand(compressed(DAMAGED))
    check_error(await nodes.send(built), "EBMS:0303", about=built)
    assert EBMS["EBMS:0303"][1:] == ("failure", "Communication")
    assert nodes.delivered == []


async def test_CP_TA31(nodes):
    """A compressed part is damaged (preferred) → the receiving side is told too: its operators find the rejection."""
    built = nodes.by_hand(compressed(DAMAGED))
    with capture_logs() as logs:
        await nodes.send(built)
    (kept,) = await nodes.france.database.read(rejections.newest)
    (message_id,) = texts(parse(built), "MessageInfo/MessageId")
    assert (kept.peer, kept.message_id, kept.ebms) == ("EE", message_id, "EBMS:0303")
    (said,) = [line for line in logs if line["event"] == "message refused"]
    assert (said["log_level"], said["peer"], said["ebms"]) == ("warning", "EE", "EBMS:0303")


async def test_CP_TA32(nodes):
    """One compressed part is received → it is delivered decompressed."""
    await nodes.send_well(nodes.by_hand(compressed(gzipped(XML))))
    assert [part.content for part in nodes.delivered[0].parts] == [XML]


async def test_CP_TA33(nodes):
    """Several compressed parts are received → all are delivered decompressed, in order."""
    contents = [XML, b"second", b""]
    await nodes.send_well(nodes.by_hand(*(compressed(gzipped(content)) for content in contents)))
    assert [part.content for part in nodes.delivered[0].parts] == contents


async def test_CP_TA34(nodes):
    """A part is compressed, then signed → what is signed are the gzip octets, and the answer is a receipt."""
    built = nodes.build(LETTER)
    (octets,) = attached_octets(nodes, built)
    assert built.references[2].digest == payload.sha256(octets)
    await nodes.send_well(built)


async def test_CP_TA35(nodes):
    """A part is signed, then compressed → EBMS:0101, a failure of processing; nothing is delivered."""
    built = nodes.by_hand(Crafted(signed=XML, signed_as="application/xml", encrypted=gzipped(XML)))
    check_error(await nodes.send(built), "EBMS:0101", about=built)
    assert nodes.delivered == []


async def test_CP_TA36(nodes):
    """A part is compressed, then encrypted → what was encrypted is gzip, and the answer is a receipt."""
    built = nodes.by_hand(compressed(gzipped(XML)))
    (octets,) = attached_octets(nodes, built)
    assert gzip.decompress(octets) == XML
    await nodes.send_well(built)


async def test_CP_TA37(nodes):
    """A part is encrypted, then compressed → EBMS:0102, a failure of processing; nothing is delivered."""
    built = nodes.by_hand(Crafted(signed=XML, signed_as="application/xml", encrypted=XML, afterwards=gzipped))
    check_error(await nodes.send(built), "EBMS:0102", about=built)
    assert nodes.delivered == []


async def test_CP_TA38(nodes):
    """A part is compressed, signed and encrypted by a node → receipt, stored by the sender; delivered as it was."""
    row = await nodes.posted(content=XML)
    root, _ = opened(row.content_type, row.body)
    assert part_properties(root)[0]["CompressionType"] == "application/gzip"
    assert (row.state, nodes.delivered[0].parts[0].content) == ("received", XML)
    signal = as4.read_signal("application/soap+xml", row.receipt, nodes.agreed, at=nodes.estonia.clock.now())
    as4.check_receipt(signal, message_id=row.message_id, sent=as4.load_references(row.signed))


# --- four corners ---

CORNERS = {"originalSender": "EE-health-board", "finalRecipient": "FR-arsante"}


async def test_4CT_TA01(nodes):
    """A message between authorities → originalSender and finalRecipient travel with it, and arrive at the consumer."""
    row = await nodes.posted(properties=CORNERS)
    root, _ = opened(row.content_type, row.body)
    assert message_properties(root) == CORNERS
    assert nodes.delivered[0].properties == CORNERS


def message_properties(root: etree._Element) -> dict[str, str]:
    return {one.get("name"): one.text for one in root.iterfind(f".//{EB}MessageProperties/{EB}Property")}


async def test_4CT_TA02(nodes):
    """A trackingIdentifier is given (permitted) → it travels with the message and arrives at the consumer."""
    row = await nodes.posted(properties={**CORNERS, "trackingIdentifier": "IMI-0001"})
    root, _ = opened(row.content_type, row.body)
    assert message_properties(root)["trackingIdentifier"] == "IMI-0001"
    assert nodes.delivered[0].properties["trackingIdentifier"] == "IMI-0001"


async def test_4CT_TA03(nodes):
    """A message between authorities → From and To name the access points, not the authorities."""
    row = await nodes.posted(properties=CORNERS)
    root, _ = opened(row.content_type, row.body)
    assert texts(root, "From/PartyId") == ["imi-node-ee"]
    assert texts(root, "To/PartyId") == ["imi-node-fr"]
    assert nodes.delivered[0].sender == "EE"
