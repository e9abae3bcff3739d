"""What we send phase4 takes, and the other way round; both judge the receipt strictly, and refuse what they must."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from node.federation import as4
from node.federation.as4 import mime

from .keys import Identity

pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.timeout(600)]

JSON = as4.Part(content=b'{"hello": "world"}', mime_type="application/json")
XML = as4.Part(content=b'<?xml version="1.0"?>\n<a  b="1"><c/></a>\n', mime_type="application/xml", charset="UTF-8")
TEXT = as4.Part(content=b"one\ntwo\r\nthree\n", mime_type="text/plain")
BINARY = as4.Part(content=bytes(range(256)) * 500, mime_type="application/pdf")
PING = {"service": as4.TEST_SERVICE, "action": as4.TEST_ACTION}
PARTS = pytest.mark.parametrize("parts", [(), (JSON,), (JSON, XML, BINARY)], ids=["none", "one", "three"])
PLAIN = [replace(part, compressed=False) for part in (XML, TEXT, BINARY)]


def contents(parts):
    return [(part.content, part.mime_type) for part in parts]


def tampered(built):
    """With another last octet of the last part, inside the tag of its encryption."""
    at = built.body.rindex(b"\r\n--") - 1
    return replace(built, pieces=(built.body[:at] + bytes([built.body[at] ^ 1]) + built.body[at + 1 :],))


# We send.


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


async def test_phase4_takes_our_uncompressed_parts(peers, receiver):
    ours = peers.ours()
    message = ours.message(*PLAIN)
    await ours.deliver(receiver.url, message)
    assert receiver.received(message.message_id)[0].payloads == [part.content for part in PLAIN]


@pytest.mark.parametrize("reference", as4.KeyReference)
async def test_phase4_finds_certificates_however_we_name_them(peers, receiver, reference):
    ours = peers.ours(changes={"encryption_reference": reference})
    await ours.deliver(receiver.url, ours.message(JSON))


async def test_phase4_takes_our_signing_certificate_with_its_authority(peers, receiver):
    authority = x509.load_pem_x509_certificate((peers.austria.folder / "authority.pem").read_bytes())
    ours = peers.ours(changes={"signature_reference": as4.KeyReference.PATH, "issuers": (authority,)})
    await ours.deliver(receiver.url, ours.message(JSON))


async def test_phase4_says_duplicate_to_the_same_bytes_and_delivers_once(peers, receiver):
    ours = peers.ours()
    message = ours.message(JSON)
    built = ours.build(message)
    assert isinstance((await ours.post(receiver.url, built)).signal, as4.Receipt)
    repeated = (await ours.post(receiver.url, built)).signal
    assert isinstance(repeated, as4.ErrorSignal)
    assert repeated.says_duplicate
    assert repeated.ref_to_message_id == message.message_id
    assert repeated.authenticated
    assert len(receiver.received(message.message_id)) == 1


async def test_phase4_calls_duplicate_what_its_consumer_failed_to_take(peers):
    """Such a message is lost: a duplicate error after an error answer must not count as delivered."""
    ours = peers.ours()
    with peers.phase4.receiving(failing=1) as receiver:
        message = ours.message(JSON)
        built = ours.build(message)
        failed = (await ours.post(receiver.url, built)).signal
        repeated = (await ours.post(receiver.url, built)).signal
        assert not failed.says_duplicate
        assert repeated.says_duplicate
        assert receiver.received(message.message_id) == []


async def test_phase4_refuses_what_was_tampered_with(peers, receiver):
    ours = peers.ours()
    message = ours.message(JSON)
    refused = (await ours.post(receiver.url, tampered(ours.build(message)))).signal
    assert (refused.code, refused.severity) == ("EBMS:0102", "failure")
    assert receiver.received(message.message_id) == []


async def test_phase4_refuses_what_is_encrypted_for_another_key(peers, receiver, tmp_path):
    ours = peers.ours()
    other = Identity("SI", peers.suite, tmp_path / "other")
    built = ours.build(ours.message(JSON), encrypt_for=other.decrypter.certificate)
    assert (await ours.post(receiver.url, built)).signal.code == "EBMS:0102"


async def test_phase4_refuses_a_signature_of_a_stranger(peers, receiver, tmp_path):
    stranger = Identity("AT", peers.suite, tmp_path / "stranger")
    ours = peers.ours()
    built = ours.build(ours.message(JSON), signer=stranger.signer)
    assert (await ours.post(receiver.url, built)).signal.code == "EBMS:0102"


@pytest.mark.parametrize("leave_out", ["Signature", "Encrypted(?:Key|Data)"])
async def test_our_phase4_takes_nothing_unsigned_or_unencrypted(peers, receiver, leave_out):
    """A rule of the consumer there: phase4 alone takes both, so that its receipt says nothing of policy."""
    ours = peers.ours()
    part = replace(JSON, compressed=False, content_id="part-1@ours.example")
    message = ours.message(part)
    soap = re.sub(rb"<(\w+:%s)[ >].*</\1>" % leave_out.encode(), b"", ours.build(message).soap)
    content_type, pieces = mime.pack(soap, [(part.content_id, part.content)], token="token", domain="ours.example")
    entity = as4.Built(content_type=content_type, pieces=pieces, soap=soap, references=())
    refused = (await ours.post(receiver.url, entity)).signal
    assert (refused.code, refused.severity) == ("EBMS:0103", "failure")
    assert receiver.received(message.message_id) == []


async def test_phase4_ends_the_handshake_with_who_has_no_certificate_it_trusts(peers, receiver, tmp_path):
    stranger = replace(peers, austria=Identity("AT", peers.suite, tmp_path / "stranger")).ours()
    with pytest.raises(aiohttp.ClientError):
        await stranger.post(receiver.url, stranger.build(stranger.message(JSON)))


# phase4 sends.


@PARTS
async def test_we_take_phase4s_message(peers, ours, parts):
    (sent,) = await peers.phase4.send(ours.url, *parts, **({} if parts else PING))
    assert sent["outcome"] == "receipt", ours.refused or sent
    (message,) = ours.received
    assert contents(message.parts) == contents(parts)
    assert (message.message_id, message.sender) == (sent["message_id"], "imi-node-si")
    assert message.is_test is not bool(parts)


async def test_we_take_phase4s_uncompressed_parts(peers, ours):
    (sent,) = await peers.phase4.send(ours.url, *PLAIN)
    assert sent["outcome"] == "receipt", ours.refused or sent
    assert contents(ours.received[0].parts) == contents(PLAIN)


@pytest.mark.parametrize("reference", ["bst", "ski-key-id", "issuer-serial", "thumbprint-id", "x509-ski-key-id"])
async def test_we_find_our_certificate_however_phase4_names_it(peers, ours, reference):
    (sent,) = await peers.phase4.send(ours.url, JSON, reference=reference)
    assert sent["outcome"] == "receipt", ours.refused or sent


async def test_phase4_gets_the_same_receipt_for_the_same_bytes(peers, ours):
    first, second = await peers.phase4.send(ours.url, JSON, repeat=2)
    assert (first["outcome"], second["outcome"]) == ("receipt", "receipt")
    assert len(ours.requests) == 2
    assert ours.requests[0] == ours.requests[1]
    assert len(ours.received) == 1


async def test_many_messages_at_once(peers, ours):
    sent = await peers.phase4.send(ours.url, JSON, XML, count=40, flight=8)
    assert [one["outcome"] for one in sent] == ["receipt"] * 40
    assert {message.message_id for message in ours.received} == {one["message_id"] for one in sent}


async def test_we_refuse_what_was_tampered_with(peers, ours):
    (sent,) = await peers.phase4.send(ours.url, JSON, tamper="true")
    assert (sent["outcome"], sent["code"]) == ("error", "EBMS:0102")
    assert isinstance(ours.refused[0], as4.FailedDecryption)


async def test_we_refuse_what_is_encrypted_for_another_key(peers, ours, tmp_path):
    other = Identity("AT", peers.suite, tmp_path / "other")
    settings = {"peer_encrypt": other.folder / "encrypt.pem", "reference": "ski-key-id"}
    (sent,) = await peers.phase4.send(ours.url, JSON, **settings)
    assert (sent["outcome"], sent["code"]) == ("error", "EBMS:0102")


async def test_we_refuse_a_signature_of_a_stranger(peers, ours, tmp_path):
    stranger = Identity("SI", peers.suite, tmp_path / "stranger")
    (sent,) = await peers.phase4.send(ours.url, JSON, sign_store=stranger.folder / "sign.p12")
    assert (sent["outcome"], sent["code"]) == ("error", "EBMS:0101")
    assert ours.received == []


async def test_the_judge_at_phase4_takes_no_receipt_for_other_bytes(peers, ours):
    ours.falsify_receipts = True
    (sent,) = await peers.phase4.send(ours.url, JSON)
    assert (sent["outcome"], sent["detail"]) == ("bad-receipt", "its digests are not those of the message")


async def test_the_judge_at_phase4_takes_no_receipt_of_a_stranger(peers, ours, tmp_path):
    stranger = Identity("AT", peers.suite, tmp_path / "stranger")
    (sent,) = await peers.phase4.send(ours.url, JSON, peer_sign=stranger.folder / "sign.pem")
    assert (sent["outcome"], sent["detail"]) == ("bad-receipt", "the signature does not verify")


# One X25519 key in about 2,100 looks like a DSA key to Santuario.


def trap() -> X25519PrivateKey:
    while True:
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        if public[0] == 0x02 and 0x01 <= public[1] <= 0x1E:
            return key


def under(key, built, recipient):
    """`built` with its content key wrapped again, the sender's ephemeral key being `key`."""
    find = re.compile(rb"(?s)<dsig-more:Salt>(.+?)</.+DEREncodedKeyValue [^>]*>(.+?)</.+?<xenc:CipherValue>(.+?)</")
    salt, originator, wrapped = map(base64.b64decode, found := find.search(built.body).groups())

    def wrapping(secret):
        return HKDF(SHA256(), 16, salt, b"").derive(secret)

    secret = recipient.decrypter.exchange(X25519PublicKey.from_public_bytes(originator[-32:]))
    content_key = aes_key_unwrap(wrapping(secret), wrapped)
    secret = key.exchange(recipient.decrypter.certificate.public_key())
    body = built.body.replace(found[2], base64.b64encode(aes_key_wrap(wrapping(secret), content_key)))
    public = originator[:-32] + key.public_key().public_bytes_raw()
    return replace(built, pieces=(body.replace(found[1], base64.b64encode(public)),))


X25519 = pytest.mark.parametrize("peers", [as4.COMMON.name], indirect=True)


@X25519
async def test_phase4_never_takes_a_key_that_looks_like_a_dsa_key(peers, receiver):
    ours = peers.ours()
    built = ours.build(ours.message(JSON))
    harmless, trapped = under(X25519PrivateKey.generate(), built, peers.slovenia), under(trap(), built, peers.slovenia)
    assert (await ours.post(receiver.url, trapped)).signal.code == "EBMS:0102"
    assert isinstance((await ours.post(receiver.url, harmless)).signal, as4.Receipt)  # the surgery was sound


@X25519
async def test_we_never_draw_such_a_key_but_take_it(peers, receiver):
    drawn = iter([trap().private_bytes_raw()])

    def random(size):
        return next(drawn, None) or X25519PrivateKey.generate().private_bytes_raw() if size == 32 else bytes(size)

    ours = peers.ours()
    await ours.deliver(receiver.url, ours.message(JSON), random=random)
    assert next(drawn, None) is None
    there = replace(peers, austria=peers.slovenia, slovenia=peers.austria).ours()
    built = under(trap(), ours.build(message := ours.message(JSON)), peers.slovenia)
    there.take(built.content_type, built.body)
    assert there.received[0].message_id == message.message_id
