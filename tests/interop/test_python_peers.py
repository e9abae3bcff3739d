"""Messages and receipts exchanged with the package as4; our signatures and content keys read by three XML libraries.

None of it is ours. as4 0.2.0 speaks eDelivery AS4 1.15 in Peppol's words. What each cannot do, or does differently from
the standard, is said where a test meets it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from lxml import etree

from node.federation import as4
from node.federation.as4 import names
from tests.federation.as4.conftest import NOW, Pair, pair_of, signing_key
from tests.interop.python_peers import (
    MAKING_SECONDS,
    Meeting,
    judge,
    meeting,
    octets_by_pybergshamra,
    octets_by_xmlsec,
    sbd,
    signed_octets,
)

pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.timeout(2 * MAKING_SECONDS + 120)]

DOCUMENT = '<Request xmlns="urn:example:imi"><Text>Dr Å. Østergård &amp; Söhne, Αθήνα</Text></Request>'.encode()
LIBRARIES = ["pybergshamra", "signxml", "xmlsec"]
NIST = ["2.0-ecc secp256r1", "2.0-ecc secp384r1", "2.0-ecc secp521r1"]
REFERENCES = [form for form in as4.KeyReference if form is not as4.KeyReference.TOKEN]


@pytest.fixture(params=[2048, 3072])
def met(request) -> Meeting:
    return meeting(request.param)


def read(met: Meeting, sent: dict) -> tuple[as4.Verified, as4.UserMessage]:
    """A message of the foreign party, read by us."""
    agreed = met.agreement()
    package = as4.unpack(sent["content_type"], sent["body"], agreed.limits)
    verified = as4.verify(package, as4.parse_soap(package, agreed.limits), agreed, at=NOW)
    return verified, as4.decompress(as4.decrypt(verified, [met.at.decrypter]))


def our_receipt(
    met: Meeting,
    verified: as4.Verified,
    *,
    references: tuple[as4.Reference, ...] = (),
    signer: as4.Signer | None = None,
) -> bytes:
    return as4.build_receipt(
        references or verified.references,
        ref_to_message_id=verified.header.message_id,
        message_id="receipt-1@at.imi.node",
        at=NOW,
        form=met.agreement().signature_form,
        signer=signer or met.at.signer,
    ).body


def our_error(met: Meeting, error: as4.As4Error, message_id: str) -> bytes:
    return as4.build_error(
        error,
        ref_to_message_id=message_id,
        message_id="error-1@at.imi.node",
        at=NOW,
        form=met.agreement().signature_form,
        signer=met.at.signer,
    ).body


def build(met: Meeting, message: as4.UserMessage, **changes) -> as4.Built:
    """A message of ours for the foreign party."""
    agreed = met.agreement(**changes)
    return as4.build(message, agreement=agreed, signer=met.at.signer, encrypt_for=met.si.decrypter.certificate)


def build_imi(met: Meeting, message: as4.UserMessage) -> as4.Built:
    """A message as nodes send it to each other, but for the reference to the key."""
    agreed = met.at.agreement_with(met.si, encryption_reference=as4.KeyReference.TOKEN)
    return as4.build(message, agreement=agreed, signer=met.at.signer, encrypt_for=met.si.decrypter.certificate)


def answer_of(met: Meeting, received: dict) -> as4.Signal:
    return as4.read_signal(received["answer_type"], received["answer"], met.agreement(), at=NOW)


def document_in(business_document: bytes) -> bytes:
    """The package writes characters beyond ASCII by number: the document is compared in canonical form."""
    return etree.tostring(etree.fromstring(business_document)[1], method="c14n", exclusive=True)


def test_their_message_is_read_and_our_receipt_is_proof_to_them(met):
    (sent,) = met.si.send(met.at, DOCUMENT)
    verified, message = read(met, sent)
    assert [part.content for part in message.parts] == [sent["payload"]]
    assert document_in(sent["payload"]) == DOCUMENT
    assert message.properties["originalSender"] == "9915:at-authority"
    (told,) = met.si.check(sent, our_receipt(met, verified))
    assert told == {"state": "acknowledged", "why": ""}


def test_our_message_is_read_by_them_and_their_receipt_is_proof_to_us(met):
    built = build(met, met.peppol_message(sbd(DOCUMENT)))
    (received,) = met.si.receive(met.at, (built.content_type, built.body))
    assert (received["state"], received["payloads"]) == ("received", [sbd(DOCUMENT)])
    receipt = answer_of(met, received)
    as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=built.references)


def test_a_message_between_nodes_is_read_without_peppols_rules(met):
    built = build_imi(met, met.message())
    (received,) = met.si.receive(met.at, (built.content_type, built.body), profile="plain")
    assert (received["state"], received["payloads"]) == ("received", [b'{"hello": "world"}'])
    as4.check_receipt(answer_of(met, received), message_id="5d5e1331@at.imi.node", sent=built.references)


def test_a_hundred_parts_of_chance_bytes_pass_in_both_directions():
    """Its MIME reader is a line reader: every byte must survive, line ends at the edges of a part too."""
    met = meeting(2048)
    contents = [os.urandom(size) for size in range(100, 200)] + [b"\r\n", b"\n--", b"", b"\r", b"a" * 2_000_000]
    parts = [as4.Part(content=one, mime_type="application/pdf", compressed=bool(len(one) % 2)) for one in contents]
    entities = [build_imi(met, met.message(part)) for part in parts]
    received = met.si.receive(met.at, *((one.content_type, one.body) for one in entities), profile="plain")
    assert [one["payloads"] for one in received] == [[content] for content in contents]
    documents = [b"<a>" + os.urandom(100).hex().encode() + b"</a>" for _ in range(50)]
    for document, sent in zip(documents, met.si.send(met.at, *documents), strict=True):
        assert document_in(read(met, sent)[1].parts[0].content) == document


def change_digest(body: bytes) -> bytes:
    place = body.index(b"<ds:DigestValue>") + len(b"<ds:DigestValue>")
    return body[:place] + (b"B" if body[place : place + 1] == b"A" else b"A") + body[place + 1 :]


def change_ciphertext(body: bytes) -> bytes:
    last = body.rindex(b"\r\n--") - 1
    return body[:last] + bytes([body[last] ^ 1]) + body[last + 1 :]


TAMPERING: dict[str, tuple[Callable[[bytes], bytes], type[as4.As4Error], str]] = {
    "the header": (lambda body: body.replace(b":Timestamp>2", b":Timestamp>3", 1), as4.BadSignature, "EBMS:0101"),
    "a digest": (change_digest, as4.BadSignature, "EBMS:0101"),
    "the body": (lambda body: body.replace(b":Body ", b':Body x="" ', 1), as4.BadSignature, "EBMS:0101"),
    "the ciphertext": (change_ciphertext, as4.FailedDecryption, "EBMS:0102"),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_their_message_is_refused_when_tampered_with_and_they_believe_our_error(met, what):
    tamper, expected, code = TAMPERING[what]
    (sent,) = met.si.send(met.at, DOCUMENT)
    changed = tamper(sent["body"])
    assert changed != sent["body"]
    with pytest.raises(expected) as refused:
        read(met, sent | {"body": changed})
    message_id = read(met, sent)[0].header.message_id
    assert refused.value.message_id == message_id
    (told,) = met.si.check(sent, our_error(met, refused.value, message_id))
    assert told == {"state": "rejected", "why": f"{code} failure"}


@pytest.mark.parametrize("what", TAMPERING)
def test_our_message_is_refused_by_them_when_tampered_with_and_we_believe_their_error(met, what):
    tamper, _, code = TAMPERING[what]
    built = build(met, met.peppol_message(sbd(DOCUMENT)))
    changed = tamper(built.body)
    assert changed != built.body
    (received,) = met.si.receive(met.at, (built.content_type, changed))
    assert received["state"] == "rejected"
    error = answer_of(met, received)
    assert (error.code, error.severity, error.authenticated) == (code, "failure", True)
    assert error.ref_to_message_id == "5d5e1331@at.imi.node"


def test_a_message_signed_by_a_stranger_is_refused_by_both():
    met = meeting(2048)
    stranger = Meeting(pair_of("1.15 2048").at, met.si)
    built = build(stranger, met.peppol_message(sbd(DOCUMENT)))
    (received,) = met.si.receive(met.at, (built.content_type, built.body))
    assert received["why"] == "EBMS:0101 Signing certificate rejected"
    (sent,) = met.si.send(met.at, DOCUMENT)
    trusting_another = met.agreement(their_signing=(stranger.at.signer.certificate,))
    package = as4.unpack(sent["content_type"], sent["body"], trusting_another.limits)
    with pytest.raises(as4.BadSignature):
        as4.verify(package, as4.parse_soap(package, trusting_another.limits), trusting_another, at=NOW)


def test_receipts_that_prove_nothing_are_refused_by_them(met):
    """Changed after signing; signed by another; truly signed, but for other bytes, or for another message."""
    first, second = met.si.send(met.at, DOCUMENT, DOCUMENT)
    verified, other = read(met, first)[0], read(met, second)[0]
    receipt = our_receipt(met, verified)
    ours = verified.references
    told = met.si.check(
        first,
        change_in_receipt(receipt),
        our_receipt(met, verified, signer=pair_of("1.15 2048").at.signer),
        our_receipt(met, verified, references=(*ours[:-1], falsified(ours[-1]))),
        our_receipt(met, verified, references=ours[:-1]),
        our_receipt(met, other),
    )
    assert [one["state"] for one in told] == ["refused"] * 5
    reasons = ["does not match the signed element", "is signed by", "was not sent", "does not acknowledge", "refers to"]
    assert all(reason in one["why"] for reason, one in zip(reasons, told, strict=True)), told


def falsified(reference: as4.Reference) -> as4.Reference:
    return as4.Reference(uri=reference.uri, digest=bytes(32), transform=reference.transform)


def change_in_receipt(receipt: bytes) -> bytes:
    """The receipt with the first digest it acknowledges changed after signing."""
    place = receipt.index(b"<ds:DigestValue>", receipt.index(b"NonRepudiationInformation"))
    return receipt[:place] + change_digest(receipt[place:])


def test_their_receipt_is_refused_by_us_when_it_proves_nothing(met):
    built = build(met, met.peppol_message(sbd(DOCUMENT)))
    (received,) = met.si.receive(met.at, (built.content_type, built.body))
    with pytest.raises(as4.InvalidReceipt):
        answer_of(met, received | {"answer": change_in_receipt(received["answer"])})
    receipt = answer_of(met, received)
    with pytest.raises(as4.InvalidReceipt):
        as4.check_receipt(receipt, message_id="another@at.imi.node", sent=built.references)
    sent = (*built.references[:-1], falsified(built.references[-1]))
    with pytest.raises(as4.InvalidReceipt):
        as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=sent)


@pytest.mark.parametrize("form", REFERENCES)
def test_as4_reads_no_reference_to_a_certificate_but_the_token_itself(form):
    """1.15 section 1.4.2.6 has key identifiers, issuer and serial number as well: an agreement with it says TOKEN."""
    met = meeting(2048)
    signed = build(met, met.peppol_message(sbd(DOCUMENT)), signature_reference=form)
    entities = [(signed.content_type, signed.body)]
    if form is not as4.KeyReference.PATH:
        encrypted = build(met, met.peppol_message(sbd(DOCUMENT)), encryption_reference=form)
        entities.append((encrypted.content_type, encrypted.body))
    code = "EBMS:0103" if form is as4.KeyReference.PATH else "EBMS:0003"
    for received in met.si.receive(met.at, *entities):
        assert received["state"] == "rejected"
        assert received["why"].startswith(code)
        assert answer_of(met, received).code == code


def test_as4_reads_one_part_and_no_ping():
    """Of several parts it unpacks the first and misses the others; a message without parts is none to it (TA17)."""
    met = meeting(2048)
    several = build_imi(met, met.message(*(as4.Part(content=one, mime_type="text/csv") for one in (b"a", b"b"))))
    ping = build_imi(met, met.message(service=as4.TEST_SERVICE, action=as4.TEST_ACTION, parts=()))
    received = met.si.receive(met.at, *((one.content_type, one.body) for one in (several, ping)), profile="plain")
    assert [one["state"] for one in received] == ["rejected", "rejected"]
    assert received[0]["why"].startswith("EBMS:0102 Error processing the WSSecurity Header, no MIME attachment matches")
    assert received[1]["why"] == "EBMS:0009 Message carries no readable application/octet-stream part"
    assert answer_of(met, received[1]).ref_to_message_id is None  # it does not look for the message's id then


@pytest.mark.parametrize("mime_type", ["application/xml", "text/plain", "application/json"])
def test_as4_digests_uncompressed_xml_and_text_as_they_are(mime_type):
    """SwA profile 5.4.2 digests XML in canonical form and text with CRLF: only other kinds may go uncompressed to it."""
    met = meeting(2048)
    part = as4.Part(content=b"<a b='1'>\n</a>", mime_type=mime_type, compressed=False)
    built = build_imi(met, met.message(part))
    (received,) = met.si.receive(met.at, (built.content_type, built.body), profile="plain")
    if mime_type == "application/json":
        assert received["payloads"] == [part.content]
    else:
        assert received["why"].startswith("EBMS:0101 Digest mismatch")


def test_as4_leaves_it_to_its_caller_whom_a_message_is_for():
    met = meeting(2048)
    built = build(met, met.peppol_message(sbd(DOCUMENT), recipient="imi-node-xx"), their_party="imi-node-xx")
    (received,) = met.si.receive(met.at, (built.content_type, built.body))
    assert received["state"] == "received"


def test_as4_answers_a_repeat_with_a_receipt_of_its_own():
    """It knows no duplicates. Either receipt is proof of the same bytes."""
    met = meeting(2048)
    built = build(met, met.peppol_message(sbd(DOCUMENT)))
    entity = (built.content_type, built.body)
    receipts = [answer_of(met, received) for received in met.si.receive(met.at, entity, entity)]
    assert receipts[0].message_id != receipts[1].message_id
    for receipt in receipts:
        as4.check_receipt(receipt, message_id="5d5e1331@at.imi.node", sent=built.references)


def test_their_entity_is_written_loosely_and_read_all_the_same():
    """No start parameter, no Content-ID on the root, and a binary part that names no transfer encoding (7bit, says RFC
    2045 of that); times with an offset instead of Z."""
    met = meeting(2048)
    (sent,) = met.si.send(met.at, DOCUMENT)
    assert read(met, sent)[1].parts
    assert "start=" not in sent["content_type"]
    assert sent["body"].count(b"Content-ID") == 1
    assert b"Content-Transfer-Encoding" not in sent["body"]
    assert re.search(rb"<eb3:Timestamp>[^<]*\+00:00</eb3:Timestamp>", sent["body"])


# Signatures and content keys alone.


def our_signals(pair: Pair) -> dict[str, bytes]:
    """What SI signs: a receipt and an error."""
    built = pair.build()
    error = as4.build_error(
        as4.BadSignature,
        ref_to_message_id="5d5e1331@at.imi.node",
        message_id="error-1@si.imi.node",
        at=NOW,
        form=as4.SignatureForm(suite=pair.si.suite),
        signer=pair.si.signer,
    )
    return {"receipt": pair.receipt(pair.verify(built.content_type, built.body)).soap, "error": error.soap}


def local(soap: bytes) -> set[str]:
    """What of the envelope itself must be signed: Messaging and Body, by reference."""
    root = etree.fromstring(soap)
    places = (root.find(f"{{*}}Header/{{{names.EB}}}Messaging"), root.find("{*}Body"))
    return {"#" + place.get(f"{{{names.WSU}}}Id") for place in places}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["1.15 2048", "1.15 3072", *NIST])
def test_our_receipts_and_errors_are_signed_to_every_library(kind, library):
    pair = pair_of(kind)
    for soap in our_signals(pair).values():
        said = judge(library, soap, pair.si.signer.certificate)
        assert said.verified, said.why
        assert said.signed == local(soap)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["1.15 3072", "2.0-ecc secp256r1"])
def test_a_ping_is_signed_to_every_library(kind, library):
    pair = pair_of(kind)
    ping = pair.build(pair.message(service=as4.TEST_SERVICE, action=as4.TEST_ACTION, parts=()))
    assert judge(library, ping.soap, pair.at.signer.certificate).signed == local(ping.soap)


def test_ed25519_is_verified_by_pybergshamra_alone():
    """signxml 5.2 does not know the algorithm, xmlsec 1.3.17 (libxmlsec 1.3.9) cannot load the key."""
    pair = pair_of("2.0")
    receipt = our_signals(pair)["receipt"]
    said = {library: judge(library, receipt, pair.si.signer.certificate) for library in LIBRARIES}
    assert [library for library in LIBRARIES if said[library].verified] == ["pybergshamra"]
    assert said["pybergshamra"].signed == local(receipt)
    assert "eddsa-ed25519" in said["signxml"].why
    assert "cannot load key" in said["xmlsec"].why


def test_brainpool_is_verified_by_signxml_and_xmlsec():
    """pybergshamra 0.11 cannot load such a key."""
    pair = pair_of("2.0-ecc brainpoolP256r1")
    receipt = our_signals(pair)["receipt"]
    said = {library: judge(library, receipt, pair.si.signer.certificate) for library in LIBRARIES}
    assert [library for library in LIBRARIES if said[library].verified] == ["signxml", "xmlsec"]
    assert "unsupported public key" in said["pybergshamra"].why


@pytest.mark.parametrize("kind", ["1.15 2048", "1.15 3072"])
def test_signxml_verifies_a_whole_message_given_the_octets_of_its_parts(kind):
    """It passes over the SwA transform, which changes nothing in compressed parts, and digests them itself."""
    pair = pair_of(kind)
    parts = (as4.Part(content=DOCUMENT, mime_type="application/xml"), as4.Part(content=b"\0", mime_type="image/png"))
    built = pair.build(pair.message(*parts))
    octets = signed_octets(built, pair.si.decrypter._key)
    said = judge("signxml", built.soap, pair.at.signer.certificate, octets)
    assert said.verified, said.why
    assert said.signed == local(built.soap) | set(octets)
    spoilt = octets | {max(octets): b"other"}
    assert not judge("signxml", built.soap, pair.at.signer.certificate, spoilt).verified


@pytest.mark.parametrize("kind", ["1.15 2048", "1.15 3072", "2.0", *NIST])
def test_pybergshamra_verifies_a_message_but_for_its_parts(kind):
    """It leaves `cid:` references out; what it has verified of SignedInfo says what their digests must be."""
    pair = pair_of(kind)
    built = pair.build()
    said = judge("pybergshamra", built.soap, pair.at.signer.certificate)
    assert said.verified, said.why
    assert said.signed == local(built.soap)
    if kind.startswith("1.15"):
        signed = {one.uri: one.digest for one in built.references}
        octets = signed_octets(built, pair.si.decrypter._key)
        assert {uri: hashlib.sha256(part).digest() for uri, part in octets.items()}.items() <= signed.items()
        assert len(octets) == 1


def test_xmlsec_verifies_no_message_with_parts():
    """libxmlsec has no SwA transform and takes a signature whole or not at all."""
    pair = pair_of("1.15 2048")
    assert not judge("xmlsec", pair.build().soap, pair.at.signer.certificate).verified


@pytest.mark.parametrize("kind", ["1.15 2048", "1.15 3072"])
def test_the_content_key_is_unwrapped_by_the_algorithms_the_message_declares(kind):
    """By xmlsec, which reads DigestMethod and MGF; of 2.0 it can do neither X25519 nor HKDF (libxmlsec 1.3.9)."""
    pair = pair_of(kind)
    built, key = pair.build(), pair.si.decrypter._key
    (octets,) = octets_by_xmlsec(built, key).values()
    assert gzip.decompress(octets) == b'{"hello": "world"}'
    declared = replace(built, soap=built.soap.replace(b"#mgf1sha256", b"#mgf1sha1"))
    assert declared.soap != built.soap
    assert octets_by_xmlsec(declared, key) == {}


def test_as4_decrypts_by_sha256_whatever_the_message_declares():
    """The method is not signed; we refuse one that is not agreed before a key is touched."""
    met = meeting(2048)
    built = build(met, met.peppol_message(sbd(DOCUMENT)))
    (received,) = met.si.receive(met.at, (built.content_type, built.body.replace(b"#mgf1sha256", b"#mgf1sha1")))
    assert received["payloads"] == [sbd(DOCUMENT)]
    (sent,) = met.si.send(met.at, DOCUMENT)
    with pytest.raises(as4.PolicyBroken):
        read(met, sent | {"body": sent["body"].replace(b"#mgf1sha256", b"#mgf1sha1")})


@pytest.mark.parametrize("kind", ["1.15 2048", "1.15 3072", "2.0", *NIST])
def test_pybergshamra_finds_our_content_key(kind):
    """1.15: as it travels. 2.0: keys agreed on and derived alike, but see `octets_by_pybergshamra` for three elements."""
    pair = pair_of(kind)
    assert gzip.decompress(octets_by_pybergshamra(pair.build(), pair.si.decrypter._key)) == b'{"hello": "world"}'


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["1.15 3072", "2.0-ecc secp256r1"])
def test_a_forged_receipt_is_refused_by_every_library_as_by_us(kind, library):
    pair = pair_of(kind)
    receipt = our_signals(pair)["receipt"]
    agreed = pair.at.agreement_with(pair.si)
    changed = change_in_receipt(receipt)
    for soap, certificate in (
        (changed, pair.si.signer.certificate),
        (receipt, pair.at.signer.certificate),
        (receipt, signing_key("SI", lambda: pair.at.signer._key).certificate),
    ):
        assert not judge(library, soap, certificate).verified
    with pytest.raises(as4.InvalidReceipt):
        as4.read_signal("application/soap+xml", changed, agreed, at=NOW)
    other = pair.at.agreement_with(pair.si, their_signing=(pair.at.signer.certificate,))
    with pytest.raises(as4.InvalidReceipt):
        as4.read_signal("application/soap+xml", receipt, other, at=NOW)


def test_a_truly_signed_receipt_for_other_bytes_is_for_check_receipt_to_refuse():
    """No signature library can: the signature is good, what it acknowledges was never sent."""
    pair = pair_of("1.15 2048")
    built = pair.build()
    references = (*built.references[:-1], falsified(built.references[-1]))
    receipt = as4.build_receipt(
        references,
        ref_to_message_id="5d5e1331@at.imi.node",
        message_id="receipt-1@si.imi.node",
        at=NOW,
        form=as4.SignatureForm(suite=pair.si.suite),
        signer=pair.si.signer,
    )
    assert all(judge(library, receipt.soap, pair.si.signer.certificate).verified for library in LIBRARIES)
    signal = as4.read_signal(receipt.content_type, receipt.body, pair.at.agreement_with(pair.si), at=NOW)
    with pytest.raises(as4.InvalidReceipt):
        as4.check_receipt(signal, message_id="5d5e1331@at.imi.node", sent=built.references)
