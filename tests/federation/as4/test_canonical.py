"""What we write to be signed is its own exclusive canonical form, and other code verifies it."""

from __future__ import annotations

import hashlib

import pybergshamra
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree

from node.federation import as4
from node.federation.as4 import names
from node.federation.as4.canonical import attribute, text

from .conftest import NOW

SIGNED = [(names.EB, "Messaging"), (names.ENV, "Body"), (names.DS, "SignedInfo")]
AWKWARD = "a&b<c>d\"e'f\tg\nh\r\u00e9\u03b1\U0001f600"


def sent(pair) -> dict[str, bytes]:
    message = pair.message(
        as4.Part(content=b"<a/>", mime_type="application/xml", charset="UTF-8"),
        as4.Part(content=b"x", mime_type="text/plain", compressed=False),
        conversation_id=AWKWARD,
        ref_to_message_id="<>&@x",
        agreement_ref="urn:agreed&",
        properties={AWKWARD: AWKWARD, "empty": ""},
    )
    agreed = {
        "agreement_ref": "urn:agreed&",
        "agreement_type": "a<b",
        "two_way": True,
        "four_corner": False,
        "our_party_type": 'urn:"x"',
        "their_party_type": 'urn:"x"',
        "services": (as4.Service(name=as4.SERVICE, type="t&t", actions=frozenset({"events"})),),
    }
    built = pair.build(message, **agreed)
    verified = pair.verify(built.content_type, built.body, **agreed)
    error = as4.build_error(
        as4.BadSignature,
        ref_to_message_id='r&"<',
        message_id="e@x",
        at=NOW,
        form=as4.SignatureForm(suite=as4.COMMON),
        signer=pair.si.signer,
    )
    ping = pair.build(pair.message(service=as4.TEST_SERVICE, action=as4.TEST_ACTION, parts=()))
    return {"message": built.soap, "receipt": pair.receipt(verified).soap, "error": error.soap, "ping": ping.soap}


@pytest.mark.parametrize("kind", ["message", "receipt", "error", "ping"])
def test_signed_elements_are_written_canonically(pair, kind):
    soap = sent(pair)[kind]
    root = etree.fromstring(soap)
    for namespace, name in SIGNED:
        (element,) = root.iter(f"{{{namespace}}}{name}")
        canonical = etree.tostring(element, method="c14n", exclusive=True, with_comments=False, with_tail=False)
        assert canonical in soap


def test_references_with_inclusive_prefixes_are_copied_canonically(pair):
    reference = as4.Reference(uri="#MSG-1", digest=bytes(32), prefixes=("env", "xs"))
    built = as4.build_receipt(
        [reference],
        ref_to_message_id="m@x",
        message_id="r@x",
        at=NOW,
        form=as4.SignatureForm(suite=as4.COMMON),
        signer=pair.si.signer,
    )
    signal = as4.read_signal(built.content_type, built.body, pair.at.agreement_with(pair.si), at=NOW)
    assert signal.references == (reference,)


def test_awkward_characters_survive():
    element = etree.fromstring(f'<a b="{attribute(AWKWARD)}">{text(AWKWARD)}</a>')
    assert (element.get("b"), element.text) == (AWKWARD, AWKWARD)


@pytest.mark.parametrize("bad", ["\0", "\x1f", "\ud800", "\ufffe"])
def test_characters_xml_cannot_carry_are_our_own_fault(pair, bad):
    with pytest.raises(ValueError, match="XML cannot carry"):
        pair.build(pair.message(properties={"originalSender": "AT", "finalRecipient": "SI", "x": bad}))


@pytest.mark.parametrize("kind", ["message", "receipt", "error", "ping"])
def test_pybergshamra_verifies_our_signature(pair, kind):
    """Attachments are left out of its sight: their digests are checked by tests/outside/check_message.py."""
    signer = pair.at.signer if kind in ("message", "ping") else pair.si.signer
    spki = signer.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    soap = sent(pair)[kind]
    result = outside_verify(soap, spki)
    assert result, result.reason
    assert all(one.digest_verified or one.uri.startswith("cid:") for one in result.references)
    tampered = soap.replace(b"2026-11-24T", b"2026-11-25T", 1)
    assert tampered != soap
    assert not outside_verify(tampered, spki)


def outside_verify(soap: bytes, spki: bytes):
    manager = pybergshamra.KeysManager()
    manager.add_key(pybergshamra.load_ed25519_public_spki_der(spki))
    # Its strict rules on where a signed element stands are those of SAML: in WS-Security, Messaging is the
    # signature's uncle. Digests of attachments it can't see are left out (strictly: only those).
    context = pybergshamra.DsigContext(manager, strict_verification=False, require_reference_digests=False)
    return pybergshamra.verify(context, soap.decode())


def test_digests_are_of_the_bytes_on_the_wire(pair):
    built = pair.build()
    start = built.soap.index(b"<eb:Messaging ")
    end = built.soap.index(b"</eb:Messaging>") + len(b"</eb:Messaging>")
    assert hashlib.sha256(built.soap[start:end]).digest() == built.references[0].digest
