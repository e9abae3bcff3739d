"""Messages that are well-formed and not to be believed."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.federation import as4
from node.federation.as4 import building, names, signing, tokens
from node.federation.as4.mime import Attachment

from .conftest import NOW, Side, agreeing, encryption_key, signing_key, verify


def altered(pair, old: bytes, new: bytes, built=None, **changes):
    """Verify and decrypt our message with `old` replaced by `new` in the envelope."""
    built = built or pair.build()
    soap = built.soap.replace(old, new, 1)
    assert soap != built.soap
    return verify_soap(pair, built, soap, **changes)


def verify_soap(pair, built, soap: bytes, **changes):
    agreement = pair.si.agreement_with(pair.at, **changes)
    package = as4.unpack(built.content_type, built.body, agreement.limits)
    return agreeing(lambda form: as4.decrypt(verify(replace(package, soap=form), agreement), [pair.si.decrypter]), soap)


def part(pattern: bytes, soap: bytes) -> bytes:
    return re.search(pattern, soap, re.DOTALL)[0]


def test_an_unsigned_message_is_refused(pair):
    built = pair.build()
    with pytest.raises(as4.PolicyBroken) as caught:
        altered(pair, part(rb"<ds:Signature .*</ds:Signature>", built.soap), b"", built)
    assert caught.value.ebms.code == "EBMS:0103"
    assert caught.value.message_id == "5d5e1331@at.imi.node"
    with pytest.raises(as4.PolicyBroken):
        altered(pair, part(rb"<wsse:Security .*</wsse:Security>", built.soap), b"", built)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'mustUnderstand="true"><eb:UserMessage>', b'mustUnderstand="1"><eb:UserMessage>'),
        (b"AT-2026-000123", b"AT-2026-000124"),
        (b"application/json", b"application/JSON"),
        (b"2026-11-24T09", b"2026-11-24T08"),
        (b'"originalSender">AT', b'"originalSender">DE'),
        (b"<env:Body ", b'<env:Body xmlns:x="urn:x" x:y="" '),
    ],
)
def test_a_changed_header_or_body_is_refused(pair, old, new):
    with pytest.raises(as4.BadSignature) as caught:
        altered(pair, old, new)
    assert caught.value.ebms.code == "EBMS:0101"


def test_every_changed_byte_of_a_signature_is_refused(pair):
    built = pair.build()
    value = part(rb"<ds:SignatureValue>.*</ds:SignatureValue>", built.soap)
    raw = base64.b64decode(value[len(b"<ds:SignatureValue>") : -len(b"</ds:SignatureValue>")])
    for position in range(64):
        forged = bytearray(raw)
        forged[position] ^= 1
        new = b"<ds:SignatureValue>" + base64.b64encode(forged) + b"</ds:SignatureValue>"
        with pytest.raises(as4.BadSignature):
            altered(pair, value, new, built)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_digest_is_refused(pair, number):
    built = pair.build()
    digest = base64.b64encode(built.references[number].digest)
    with pytest.raises(as4.BadSignature):
        altered(pair, digest, base64.b64encode(bytes(32)), built)


@pytest.mark.parametrize(
    "old",
    [
        names.ED25519.encode(),
        names.SHA256.encode(),
        names.EXC_C14N.encode() + b'"></ds:CanonicalizationMethod>',
        names.EXC_C14N.encode() + b'"></ds:Transform>',
        names.ATTACHMENT_SIGNATURE.encode(),
    ],
)
def test_an_algorithm_of_the_messages_own_choice_is_refused(pair, old):
    """Before the signature is looked at; a signer could put it in as well."""
    with pytest.raises((as4.PolicyBroken, as4.BadSignature)):
        altered(pair, old, b"x" + old)


def test_the_signature_algorithm_is_the_agreements(pair):
    with pytest.raises(as4.PolicyBroken):
        altered(pair, names.ED25519.encode(), b"http://www.w3.org/2000/09/xmldsig#hmac-sha1")


@pytest.mark.parametrize("kind", [names.KW_AES128, names.X25519, names.HKDF, names.HMAC_SHA256, names.AES128_GCM])
def test_an_encryption_algorithm_of_the_messages_own_choice_is_refused(pair, kind):
    with pytest.raises(as4.PolicyBroken):
        altered(pair, b'"' + kind.encode() + b'"', b'"urn:mine"')


def test_a_key_length_in_bits_is_refused(pair):
    with pytest.raises(as4.PolicyBroken):
        altered(pair, b"KeyLength>16<", b"KeyLength>128<")


@pytest.mark.parametrize(
    "extra",
    [
        b"<wsse:UsernameToken/>",
        b"<x xmlns='urn:x'/>",
        b"<xenc:ReferenceList xmlns:xenc='http://www.w3.org/2001/04/xmlenc#'/>",
    ],
)
def test_more_in_the_security_header_is_refused(pair, extra):
    with pytest.raises(as4.PolicyBroken):
        altered(pair, b"<ds:Signature ", extra + b"<ds:Signature ")


@pytest.mark.parametrize(
    "name", [b"<ds:Signature .*</ds:Signature>", b"<xenc:EncryptedKey .*</xenc:EncryptedKey>", b"<ds:SignedInfo.*o>"]
)
def test_two_of_a_kind_are_refused(pair, name):
    built = pair.build()
    found = part(name, built.soap)
    twin = re.sub(rb' Id="[^"]*"', b"", found)
    with pytest.raises(as4.BadEnvelope):
        altered(pair, found, twin + found, built)


def test_a_signed_header_wrapped_away_is_refused(pair):
    """The signed Messaging is moved into another block; a forged one with its own Id stands in its place."""
    built = pair.build()
    messaging = part(rb"<eb:Messaging .*</eb:Messaging>", built.soap)
    forged = re.sub(rb'wsu:Id="MSG-[^"]*"', b'wsu:Id="FORGED"', messaging).replace(b"AT-2026-000123", b"FORGED")
    with pytest.raises((as4.PolicyBroken, as4.BadEnvelope)):
        altered(pair, messaging, forged + b"<w:x xmlns:w='urn:w'>" + messaging + b"</w:x>", built)
    with pytest.raises((as4.PolicyBroken, as4.BadEnvelope)):
        altered(pair, messaging, forged + messaging, built)
    with pytest.raises(as4.BadEnvelope):  # with the same Id
        altered(pair, messaging, messaging.replace(b"AT-2026", b"FORGED") + b"<x>" + messaging + b"</x>", built)


def test_a_signature_moved_elsewhere_is_not_found(pair):
    built = pair.build()
    signature = part(rb"<ds:Signature .*</ds:Signature>", built.soap)
    elsewhere = b"<env:Header><x xmlns:wsse='%s'>%s</x>" % (names.WSSE.encode(), signature)
    soap = built.soap.replace(signature, b"").replace(b"<env:Header>", elsewhere)
    with pytest.raises(as4.PolicyBroken):
        verify_soap(pair, built, soap)


def resigned(pair, built, change_references):
    """The message with a valid signature of the right sender over other references."""
    token = re.search(rb'wsu:Id="MSG-([^"]*)"', built.soap)[1].decode()
    references = change_references(list(built.references))
    named = tokens.write_named(pair.at.signer.certificate, as4.KeyReference.TOKEN, f"X509-{token}")
    form = as4.SignatureForm(suite=as4.COMMON)
    signature = signing._signature(references, token, form, pair.at.signer, named.reference).encode()
    return built.soap.replace(part(rb"<ds:Signature .*</ds:Signature>", built.soap), signature)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_part_that_the_signature_does_not_cover_is_refused(pair, missing):
    built = pair.build()
    soap = resigned(pair, built, lambda references: references[:missing] + references[missing + 1 :])
    with pytest.raises(as4.PolicyBroken):
        verify_soap(pair, built, soap)


def test_references_to_what_is_not_there_are_refused(pair):
    built = pair.build()
    for uri in ("", "#nowhere", "http://198.51.100.1/", "#xpointer(/)", "cid:other@x"):
        soap = resigned(pair, built, lambda found, uri=uri: [*found, replace(found[0], uri=uri)])
        with pytest.raises(as4.PolicyBroken):
            verify_soap(pair, built, soap)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("change", [{"transform": "urn:mine"}, {"digest_method": "urn:mine"}])
def test_another_transform_or_digest_is_refused_though_signed(pair, number, change):
    built = pair.build()

    def changed(found):
        found[number] = replace(found[number], **change)
        return found

    with pytest.raises(as4.PolicyBroken, match="transform or digest"):
        verify_soap(pair, built, resigned(pair, built, changed))


def test_a_reference_that_occurs_twice_is_refused(pair):
    built = pair.build()
    with pytest.raises(as4.PolicyBroken):
        verify_soap(pair, built, resigned(pair, built, lambda found: [*found, found[0]]))


def test_another_digest_of_a_part_is_refused_after_decryption(pair):
    built = pair.build()
    soap = resigned(pair, built, lambda found: [*found[:2], replace(found[2], digest=bytes(32))])
    with pytest.raises(as4.BadSignature):
        verify_soap(pair, built, soap)


def test_a_certificate_the_agreement_does_not_hold_is_refused(pair):
    """Also when it names the same subject and comes from the same authority."""
    twin = Side("AT")
    built = as4.build(
        pair.message(),
        agreement=twin.agreement_with(pair.si),
        signer=twin.signer,
        encrypt_for=pair.si.decrypter.certificate,
    )
    with pytest.raises(as4.BadSignature):
        pair.read(built.content_type, built.body)


def test_the_message_of_another_peer_is_refused(pair):
    """Its signature verifies, under another agreement."""
    other = Side("DE")
    built = as4.build(
        pair.message(sender=other.party),
        agreement=other.agreement_with(pair.si),
        signer=other.signer,
        encrypt_for=pair.si.decrypter.certificate,
    )
    with pytest.raises(as4.NotOurParty) as caught:
        pair.read(built.content_type, built.body)
    assert caught.value.ebms.code == "EBMS:0001"
    claimed = as4.build(
        pair.message(),
        agreement=pair.at.agreement_with(pair.si),
        signer=other.signer,
        encrypt_for=pair.si.decrypter.certificate,
    )
    with pytest.raises(as4.BadSignature):
        pair.read(claimed.content_type, claimed.body)


@pytest.mark.parametrize("days", [1, 29])
def test_an_expired_certificate_is_refused(pair, days):
    side = Side("AT")
    side.signer = signing_key("AT", days=days)
    built = as4.build(
        pair.message(),
        agreement=side.agreement_with(pair.si),
        signer=side.signer,
        encrypt_for=pair.si.decrypter.certificate,
    )
    with pytest.raises(as4.BadSignature, match="not valid now"):
        pair.read(built.content_type, built.body, their_signing=(side.signer.certificate,))


def test_both_certificates_of_a_rotation_are_taken(pair):
    new = Side("AT")
    both = (pair.at.signer.certificate, new.signer.certificate)
    for side in (pair.at, new):
        built = as4.build(
            pair.message(),
            agreement=side.agreement_with(pair.si),
            signer=side.signer,
            encrypt_for=pair.si.decrypter.certificate,
        )
        assert pair.verify(built.content_type, built.body, their_signing=both).certificate == side.signer.certificate


def services(**changes):
    return {"services": (replace(as4.Service(name=as4.SERVICE, actions=frozenset({"events", "query"})), **changes),)}


@pytest.mark.parametrize(
    ("changes", "message_changes"),
    [
        (services(name="urn:other"), {"service": "urn:other"}),
        (services(actions=frozenset({"other"})), {"action": "other"}),
        (services(type="typed"), {}),
        ({"agreement_ref": "urn:agreement:other"}, {}),
        ({"two_way": True}, {"ref_to_message_id": "1@si.imi.node"}),
        ({"roles": ("urn:asks", names.RESPONDER)}, {}),
        ({"roles": (names.INITIATOR, "urn:answers")}, {}),
        ({"four_corner": False}, {"properties": {"originalSender": "AT"}}),
        ({"four_corner": False}, {"properties": {"originalSender": "AT", "finalRecipient": ""}}),
    ],
)
def test_what_is_not_agreed_is_refused(pair, changes, message_changes):
    built = pair.build(pair.message(**message_changes), **changes)
    with pytest.raises(as4.NotAgreed) as caught:
        pair.read(built.content_type, built.body)
    assert caught.value.ebms.code == "EBMS:0010"


@pytest.mark.parametrize("side", ["our_party_type", "their_party_type"])
def test_another_kind_of_party_id_is_refused(pair, side):
    built = pair.build(**{side: "urn:other"})
    with pytest.raises(as4.NotOurParty):
        pair.read(built.content_type, built.body)


def test_agreement_is_looked_at_before_any_signature(pair):
    built = pair.build(pair.message(action="query"))
    with pytest.raises(as4.NotAgreed):
        altered(
            pair, b"<ds:SignatureValue>", b"<ds:SignatureValue>AA", built, **services(actions=frozenset({"events"}))
        )


# --- encryption ---


def test_a_message_for_another_key_is_not_decrypted(pair):
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    with pytest.raises(as4.FailedDecryption):
        as4.decrypt(verified, [encryption_key("SI")])
    with pytest.raises(as4.FailedDecryption):
        as4.decrypt(verified, [])


def test_every_failure_to_decrypt_gives_the_same_answer(pair):
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    wrong = replace(encryption_key("SI"), certificate=pair.si.decrypter.certificate)
    attachments = verified.package.attachments
    damaged = {
        cid: Attachment(content=memoryview(bytes(one.content[:-1]) + b"\0"), mime_type=one.mime_type)
        for cid, one in attachments.items()
    }
    short = {
        cid: Attachment(content=memoryview(b"x" * 27), mime_type=one.mime_type) for cid, one in attachments.items()
    }
    answers = set()
    for attempt, keys in (
        (verified, [wrong]),
        (verified, [encryption_key("SI")]),
        (replace(verified, package=replace(verified.package, attachments=damaged)), [pair.si.decrypter]),
        (replace(verified, package=replace(verified.package, attachments=short)), [pair.si.decrypter]),
    ):
        with pytest.raises(as4.FailedDecryption) as caught:
            as4.decrypt(attempt, keys)
        error = as4.build_error(
            caught.value,
            ref_to_message_id=caught.value.message_id,
            message_id="e@x",
            at=NOW,
            form=as4.SignatureForm(suite=as4.COMMON),
            signer=pair.si.signer,
            random=bytes,
        )
        answers.add(error.body)
    assert len(answers) == 1
    assert b'errorCode="EBMS:0102"' in answers.pop()


@pytest.mark.parametrize(
    "pattern",
    [
        rb"<xenc:CipherValue>[^<]{8}",
        rb"<dsig-more:Salt>[^<]{8}",
        rb"DEREncodedKeyValue xmlns:dsig11=[^>]*>[^<]{8}",
        rb"DEREncodedKeyValue xmlns:dsig11=[^>]*>[^<]{16}",
    ],
)
def test_a_changed_key_is_not_unwrapped(pair, pattern):
    built = pair.build()
    found = part(pattern, built.soap)
    with pytest.raises(as4.FailedDecryption):
        altered(pair, found, found[:-4] + b"AAAA", built)


def test_an_all_zero_secret_is_not_taken(pair):
    built = pair.build()
    found = part(rb"DEREncodedKeyValue xmlns:dsig11=[^>]*>[^<]*<", built.soap)
    spki = bytes.fromhex("302a300506032b656e032100") + bytes(32)
    with pytest.raises(as4.FailedDecryption):
        altered(pair, found, found[: found.index(b">") + 1] + base64.b64encode(spki) + b"<", built)


def test_an_unencrypted_message_is_refused(pair):
    built = pair.build()
    soap = built.soap
    for name in (b"EncryptedKey", b"EncryptedData"):
        soap = soap.replace(part(rb"<xenc:%s .*</xenc:%s>" % (name, name), soap), b"")
    with pytest.raises(as4.PolicyBroken, match="not encrypted") as caught:
        verify_soap(pair, built, soap)
    assert caught.value.ebms.code == "EBMS:0103"


def test_one_unencrypted_part_among_encrypted_ones_is_refused(pair):
    one = as4.Part(content=b"x", mime_type="text/plain")
    built = pair.build(pair.message(one, one))
    data = part(rb"<xenc:EncryptedData .*?</xenc:EncryptedData>", built.soap)
    listed = part(rb'<xenc:DataReference URI="#ED-[^"]*-1"/>', built.soap)
    with pytest.raises(as4.PolicyBroken, match="not every part"):
        verify_soap(pair, built, built.soap.replace(data, b"").replace(listed, b""))
    with pytest.raises(as4.BadEnvelope):
        verify_soap(pair, built, built.soap.replace(data, b""))


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        (names.ATTACHMENT_CONTENT_ONLY, "urn:complete", as4.PolicyBroken),
        (names.ATTACHMENT_CIPHERTEXT, "urn:other", as4.PolicyBroken),
        ('<wsse:Reference URI="#EK-', '<wsse:Reference URI="#KE-', as4.BadEnvelope),
        ('DataReference URI="#ED-', 'DataReference URI="#DE-', as4.BadEnvelope),
        ('CipherReference URI="cid:', 'CipherReference URI="http:', as4.PolicyBroken),
        ("<xenc:CipherValue>", "<xenc:CipherValue>!", as4.BadEnvelope),
        ("<xenc:CipherValue>", "<xenc:CipherValue><x/>", as4.BadEnvelope),
    ],
)
def test_another_form_of_encryption_is_refused(pair, old, new, refusal):
    with pytest.raises(refusal):
        altered(pair, old.encode(), new.encode())


def test_a_content_key_of_another_length_is_refused(pair):
    built = pair.build()
    key = part(rb"<xenc:EncryptedKey .*</xenc:EncryptedKey>", built.soap)
    reference = tokens.write_named(pair.si.decrypter.certificate, as4.KeyReference.SUBJECT_KEY_IDENTIFIER, "").reference
    longer = as4.COMMON.wrap(pair.si.decrypter.certificate, bytes(32), reference, os.urandom).encode()
    changed = re.sub(rb"<xenc:EncryptionMethod .*</xenc:CipherData>", lambda _: longer, key)
    with pytest.raises(as4.FailedDecryption, match="length"):
        altered(pair, key, changed, built)


def test_swapped_parts_are_refused(pair):
    built = pair.build(
        pair.message(as4.Part(content=b"one", mime_type="a/b"), as4.Part(content=b"two", mime_type="a/b"))
    )
    verified = pair.verify(built.content_type, built.body)
    (one, first), (two, second) = verified.package.attachments.items()
    swapped = replace(verified.package, attachments={one: second, two: first})
    with pytest.raises(as4.BadSignature):
        as4.decrypt(replace(verified, package=swapped), [pair.si.decrypter])


def test_encryption_elements_without_parts_are_refused(pair):
    ping = pair.build(pair.message(service=as4.TEST_SERVICE, action=as4.TEST_ACTION, parts=()))
    with pytest.raises(as4.BadEnvelope):
        altered(pair, b"<wsse:Binary", b"<xenc:EncryptedKey xmlns:xenc='%s'/><wsse:Binary" % names.XENC.encode(), ping)


# --- compression ---


def compressed_as(pair, octets: bytes, mutate=lambda soap: soap):
    """Sign and encrypt `octets` as the compressed form of a JSON part."""
    key, token = bytes(16), "ab" * 16
    agreement = pair.at.agreement_with(pair.si)
    sealed = building._Sealed(
        part=as4.Part(content=b"", mime_type="application/json"),
        content_id="part@x",
        digest=hashlib.sha256(octets).digest(),
        media_type=names.GZIP,
        ciphertext=bytes(12) + AESGCM(key).encrypt(bytes(12), octets, None),
    )
    message = pair.message()
    unit = mutate(building._user_message(message, agreement, agreement.services[0], [sealed]))
    security = building._encryption(
        [sealed],
        key,
        token,
        agreement=agreement,
        encrypt_for=pair.si.decrypter.certificate,
        random=lambda n: bytes([1] * n),
    )
    soap, _ = signing.envelope(
        unit,
        token=token,
        security=security,
        attached=[building._reference(sealed)],
        form=agreement.signature_form,
        signer=pair.at.signer,
    )
    package = as4.Package(
        soap=soap,
        attachments={"part@x": Attachment(content=memoryview(sealed.ciphertext), mime_type="application/octet-stream")},
    )
    limits = as4.Limits(decompressed=3_000_000)
    verified = as4.verify(package, as4.parse_soap(package, limits), pair.si.agreement_with(pair.at), at=NOW)
    return as4.decompress(as4.decrypt(verified, [pair.si.decrypter]), limits)


def gzip(content: bytes) -> bytes:
    return building.payload.compress(content)


def test_one_gzip_member_is_taken(pair):
    assert compressed_as(pair, gzip(b"{}")).parts[0].content == b"{}"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"not gzip at all",
        gzip(b"{}")[:-1],
        gzip(b"{}")[:-5] + b"\0" + gzip(b"{}")[-4:],
        gzip(b"{}") + b"trailing",
        gzip(b"{}") + gzip(b"{}"),
        gzip(bytes(3_000_001)),
        gzip(bytes(2_000_000)),  # below the limit, beyond the ratio
    ],
)
def test_damaged_trailing_repeated_and_exploding_gzip_is_refused(pair, octets):
    with pytest.raises(as4.FailedDecompression) as caught:
        compressed_as(pair, octets)
    assert caught.value.ebms.code == "EBMS:0303"


def test_the_limit_holds_for_all_parts_together(pair):
    one = as4.Part(content=os.urandom(2_000_000), mime_type="application/octet-stream")
    built = pair.build(pair.message(one, one))
    verified = pair.verify(built.content_type, built.body)
    decrypted = as4.decrypt(verified, [pair.si.decrypter])
    assert len(as4.decompress(decrypted, as4.Limits(decompressed=4_000_000)).parts) == 2
    with pytest.raises(as4.FailedDecompression):
        as4.decompress(decrypted, as4.Limits(decompressed=3_999_999))


def test_a_compressed_part_without_mime_type_is_refused(pair):
    with pytest.raises(as4.FailedDecompression):
        compressed_as(pair, gzip(b"{}"), lambda unit: unit.replace('name="MimeType"', 'name="Other"'))


def test_another_compression_is_refused(pair):
    def other(unit):
        return unit.replace(f'"CompressionType">{names.GZIP}', '"CompressionType">application/zstd')

    with pytest.raises(as4.FailedDecompression):
        compressed_as(pair, gzip(b"{}"), other)


# --- times ---


def test_old_timestamps_are_no_fault(pair):
    built = pair.build(pair.message(timestamp=NOW - dt.timedelta(days=20)))
    assert pair.read(built.content_type, built.body).timestamp == NOW - dt.timedelta(days=20)


def test_tokens_are_resolved_by_identifier_not_by_place(pair):
    built = pair.build(encryption_reference=as4.KeyReference.TOKEN)
    assert built.soap.count(b"<wsse:BinarySecurityToken") == 2
    assert tokens.token_base64(pair.si.decrypter.certificate).encode() in built.soap
    assert pair.read(built.content_type, built.body).message_id == "5d5e1331@at.imi.node"


def test_a_relative_namespace_name_is_refused(pair):
    """It has no canonical form."""
    with pytest.raises(as4.BadEnvelope):
        altered(pair, b"<eb:UserMessage>", b'<eb:UserMessage xmlns:r="rel ative"><r:x/>')


# --- uncompressed XML and text ---

XML = b'<?xml version="1.0"?><!-- note --><a  b="1"><c/>' + b"<d>" * 40 + b"</d>" * 40 + b"</a>"


def uncompressed(content: bytes, mime_type: str) -> as4.Part:
    return as4.Part(content=content, mime_type=mime_type, compressed=False)


@pytest.mark.parametrize("mime_type", ["application/xml", "text/xml", "image/svg+xml"])
def test_uncompressed_xml_is_digested_in_canonical_form(pair, mime_type):
    built = pair.build(pair.message(uncompressed(XML, mime_type)))
    assert (
        built.references[2].digest
        == hashlib.sha256(b'<a b="1"><c></c>' + b"<d>" * 40 + b"</d>" * 40 + b"</a>").digest()
    )
    assert pair.read(built.content_type, built.body).parts[0].content == XML


def test_uncompressed_text_is_digested_with_crlf(pair):
    built = pair.build(pair.message(uncompressed(b"a\nb\r\nc\rd", "text/plain")))
    assert built.references[2].digest == hashlib.sha256(b"a\r\nb\r\nc\r\nd").digest()
    assert pair.read(built.content_type, built.body).parts[0].content == b"a\nb\r\nc\rd"


@pytest.mark.parametrize(
    "content",
    [
        b"no xml",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        b"<a>" + b" " * 9_000_000 + b"</a>",
        b"<a xmlns='rel ative'/>",
        b"",
    ],
)
def test_what_has_no_canonical_form_is_refused_as_xml(pair, content):
    with pytest.raises(ValueError, match="no XML"):
        pair.build(pair.message(uncompressed(content, "application/xml")))
    built = pair.build(pair.message(uncompressed(content, "application/foo")))
    changed = built.soap.replace(b'MimeType="application/foo"', b'MimeType="application/xml"')
    with pytest.raises(as4.BadSignature):
        verify_soap(pair, built, changed)
