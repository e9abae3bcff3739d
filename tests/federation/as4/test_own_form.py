"""Our own form is read without an XML parser: what that reader takes, the general reader takes with the same result."""

from __future__ import annotations

import random
import re
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from node.federation import as4
from node.federation.as4 import own_form, pieces
from node.federation.as4.canonical import b64, sha256
from node.federation.as4.own_form import OwnEnvelope

from .conftest import NOW, Pair, pair_of
from .test_laws import MESSAGES

LIMITS = as4.Limits()
KINDS = ("2.0", "2.0-ecc secp256r1", "1.15 2048")


def both(package: as4.Package) -> tuple[as4.Header | None, as4.Header]:
    """The header as each of the two readers has it; the first is None if our own form is not recognised."""
    header = as4.parse_soap(package, LIMITS)
    own = header if isinstance(header.envelope, OwnEnvelope) else None
    # A space before the end of the root's tag changes nothing for the general reader, and is not our own form.
    other = replace(package, soap=package.soap[: -len(b"</env:Envelope>")] + b"</env:Envelope >")
    general = as4.parse_soap(other, LIMITS)
    assert not isinstance(general.envelope, OwnEnvelope)
    return own, general


def without_envelope(header: as4.Header) -> dict:
    return {field.name: getattr(header, field.name) for field in fields(header) if field.name != "envelope"}


@pytest.mark.parametrize("kind", KINDS)
@given(message=MESSAGES)
@settings(max_examples=40, deadline=None)
def test_both_readers_read_the_same(kind, message):
    pair = pair_of(kind)
    two_way = message.ref_to_message_id is not None
    built = pair.build(message, two_way=two_way)
    package = as4.unpack(built.content_type, built.body, LIMITS)
    own, general = both(package)
    if own is None:  # longer texts than a header may have: the general reader says so
        return
    assert without_envelope(own) == without_envelope(general)
    agreed = pair.si.agreement_with(pair.at, two_way=two_way)
    one, other = (as4.verify(package, header, agreed, at=NOW) for header in (own, general))
    assert (one.certificate, one.references) == (other.certificate, other.references)
    octets = [as4.decrypt(each, [pair.si.decrypter]).octets for each in (one, other)]
    assert octets[0] == octets[1]


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_messages_and_receipts_are_recognised(kind):
    """Else the quick reader would be dead, and nobody would notice."""
    pair = pair_of(kind)
    built = pair.build(pair.message(as4.Part(content=b"a", mime_type="a/b"), as4.Part(content=b"b", mime_type="a/b")))
    assert own_form.read_user_message(own_form.read(built.soap).unit)
    receipt = pair.receipt(pair.verify(built.content_type, built.body))
    assert own_form.read_receipt(own_form.read(receipt.soap).unit)
    ping = pair.build(pair.message(service=as4.TEST_SERVICE, action=as4.TEST_ACTION, parts=()))
    assert own_form.read_user_message(own_form.read(ping.soap).unit)


def test_a_receipt_with_something_unread_in_its_security_header_is_left_to_the_general_reader():
    pair = pair_of("2.0")
    built = pair.build()
    receipt = pair.receipt(pair.verify(built.content_type, built.body))
    token = re.search(rb'wsu:Id="MSG-([0-9a-f]{32})"', receipt.body)[1].decode()
    unread = f"{pieces.ENCRYPTED_KEY_OPEN.format(token=token)}<!-- & {pieces.LIST_OPEN}{pieces.ENCRYPTED_KEY_CLOSE}"
    body = receipt.body.replace(pieces.SECURITY_OPEN.encode(), (pieces.SECURITY_OPEN + unread).encode())
    with pytest.raises(as4.NoSignal):
        as4.read_signal(receipt.content_type, body, pair.at.agreement_with(pair.si), at=NOW)


TOKENS = (
    b"<", b">", b"&", b"&amp;", b"&quot;", b"&#xD;", b"&#13;", b'"', b"'", b"\r", b"\n", b"\t", b"\0", b"\xff", b" ",
    b"<!--x-->", b"<![CDATA[x]]>", b"]]>", b"<?x?>", b"<x/>", b' xmlns="urn:x"', b' xmlns:eb="urn:x"', b"0", b"a", b"=",
    b"\xef\xbf\xbe", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8", b"</eb:Messaging>", b"</eb:Action>", b"<eb:Action>",
    b' type="x"', b"#MSG-", b"cid:", b'Id="x"',
)  # fmt: skip


def mutations(document: bytes, seed: int, count: int):
    dice = random.Random(seed)
    for _ in range(count):
        changed = bytearray(document)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            at = dice.randrange(len(changed))
            match dice.randrange(4):
                case 0:
                    changed[at:at] = dice.choice(TOKENS)
                case 1:
                    del changed[at : at + dice.choice((1, 1, 2, 10, 100))]
                case 2:
                    changed[at] = dice.randrange(256)
                case _:
                    other = dice.randrange(len(changed))
                    changed[at:at] = changed[other : other + dice.choice((5, 30, 200))]
        yield bytes(changed)


def resigned(pair: Pair, soap: bytes) -> bytes:
    """The envelope with the digest its Messaging has now, and a signature over it: its own sender's mischief."""
    messaging = re.search(rb"<eb:Messaging .*</eb:Messaging>", soap, re.DOTALL)
    info = re.search(rb"<ds:SignedInfo .*</ds:SignedInfo>", soap, re.DOTALL)
    if messaging is None or info is None:
        return soap
    digest = b64(sha256(messaging[0])).encode()
    renewed = re.sub(rb"<ds:DigestValue>[^<]*", lambda _: b"<ds:DigestValue>" + digest, info[0], count=1)
    value = b64(pair.at.signer.sign(renewed)).encode()
    soap = soap.replace(info[0], renewed)
    return re.sub(rb"<ds:SignatureValue>[^<]*", lambda _: b"<ds:SignatureValue>" + value, soap, count=1)


@pytest.mark.parametrize("sign", [False, True], ids=["as it stands", "signed anew"])
@pytest.mark.parametrize("seed", range(8))
def test_what_the_quick_reader_takes_the_general_reader_takes_with_the_same_result(seed, sign):
    pair = pair_of("2.0")
    message = pair.message(
        as4.Part(content=b"a", mime_type="a/b", charset="UTF-8"),
        as4.Part(content=b"b", mime_type="text/plain"),
        properties={"originalSender": "A & <b>", "finalRecipient": 'q"q', "é": "\t\n"},
    )
    built = pair.build(message)
    package = as4.unpack(built.content_type, built.body, LIMITS)
    taken = 0
    for changed in mutations(built.soap, seed, 400):
        soap = resigned(pair, changed) if sign else changed
        try:
            header, *own = accepted(pair, replace(package, soap=soap))
        except as4.As4Error:
            continue
        if isinstance(header.envelope, OwnEnvelope):
            taken += 1
            other = soap[: -len(b"</env:Envelope>")] + b"</env:Envelope >"  # the same to XML, and not our own form
            general_header, *general = accepted(pair, replace(package, soap=other))
            assert not isinstance(general_header.envelope, OwnEnvelope)
            assert without_envelope(header) == without_envelope(general_header)
            assert own == general
    assert taken or not sign  # texts that were changed and signed anew are taken


def accepted(pair, package):
    """What a receiver believes of a message. Raises As4Error."""
    header = as4.parse_soap(package, LIMITS)
    verified = as4.verify(package, header, pair.si.agreement_with(pair.at), at=NOW)
    message = as4.decompress(as4.decrypt(verified, [pair.si.decrypter]))
    return header, verified.certificate, verified.references, message


@given(text=st.text(max_size=60))
def test_text_is_unescaped_as_xml_says_or_not_at_all(text):
    written = f"<a>{text}</a>".encode(errors="surrogatepass")
    try:
        root = etree.fromstring(written)
    except (etree.XMLSyntaxError, ValueError):
        root = None
    match = re.compile(b"<a>(%s)</a>" % own_form._TEXT).fullmatch(written)
    if match is None:
        return
    try:
        mine = own_form._text(match[1])
    except (own_form._OtherForm, UnicodeDecodeError):
        return
    assert root is not None
    assert not len(root)
    assert (root.text or "") == mine
