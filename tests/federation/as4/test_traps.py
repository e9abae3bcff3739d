"""Traps other implementations fell into, as far as no other test stands before them (docs/reference/as4-traps.md)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

import pytest
from lxml import etree

from node.federation import as4
from node.federation.as4 import names, tokens
from node.federation.protocol import Again, NeverAgain, judge_answer

from .conftest import Pair, Side, pair_of
from .test_signals import error_for, read

WSSE, XENC, DS = f"{{{names.WSSE}}}", f"{{{names.XENC}}}", f"{{{names.DS}}}"
MORE = f"{{{names.DSIG_MORE}}}"


def security(built: as4.Built) -> etree._Element:
    return next(etree.fromstring(built.soap).iter(f"{WSSE}Security"))


@pytest.mark.parametrize("reference", [as4.KeyReference.SUBJECT_KEY_IDENTIFIER, as4.KeyReference.TOKEN])
def test_what_is_encrypted_stands_before_the_signature(each_pair, reference):
    """WSS4J works in document order: after the signature it would digest what is still encrypted."""
    part = as4.Part(content=b"x", mime_type="text/plain")
    built = each_pair.build(each_pair.message(part, part), encryption_reference=reference)
    names_in_order = [etree.QName(child).localname for child in security(built)]
    token_for_us = ["BinarySecurityToken"] if reference is as4.KeyReference.TOKEN else []
    assert names_in_order == [
        *token_for_us, "EncryptedKey", "EncryptedData", "EncryptedData", "BinarySecurityToken", "Signature",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["2.0", "2.0-ecc secp256r1"])
def test_the_recipient_is_named_within_the_key_agreement(kind):
    """Santuario throws where RecipientKeyInfo is missing."""
    pair = pair_of(kind)
    built = pair.build()
    (named,) = security(built).iter(f"{XENC}RecipientKeyInfo")
    (identifier,) = named.iter(f"{WSSE}KeyIdentifier")
    assert identifier.text == tokens.b64(tokens.ski(pair.si.decrypter.certificate))
    found = re.search(rb"<xenc:RecipientKeyInfo>.*</xenc:RecipientKeyInfo>", built.body)[0]
    verified = pair.verify(built.content_type, built.body.replace(found, b""))
    with pytest.raises(as4.BadEnvelope):
        as4.decrypt(verified, [pair.si.decrypter])


@pytest.mark.parametrize("kind", ["2.0", "2.0-ecc secp256r1"])
def test_the_salt_is_text_and_the_length_counts_bytes(kind):
    """Not a Specified element as in other derivations, not bits."""
    pair = pair_of(kind)
    built = pair.build()
    (params,) = security(built).iter(f"{MORE}HKDFParams")
    salt, length = params.find(f"{MORE}Salt"), params.find(f"{MORE}KeyLength")
    assert (len(salt), len(base64.b64decode(salt.text)), length.text) == (0, 32, "16")
    inner = re.search(rb"<dsig-more:Salt>(.*?)</dsig-more:Salt>", built.body)[1]
    changed = built.body.replace(inner, b"<dsig-more:Specified>" + inner + b"</dsig-more:Specified>")
    with pytest.raises(as4.BadEnvelope):
        as4.decrypt(pair.verify(built.content_type, changed), [pair.si.decrypter])


def test_a_message_leaves_under_the_name_its_certificate_is_listed_for(pair):
    """Domibus looks for the sender's certificate under the party name."""
    built = pair.build()
    (sender,) = etree.fromstring(built.soap).iterfind(f".//{{{names.EB}}}From/{{{names.EB}}}PartyId")
    assert sender.text == pair.at.party == "imi-node-at"
    with pytest.raises(ValueError, match="not between the parties"):
        pair.build(pair.message(sender="imi-node-de"))


def test_our_entity_has_crlf_and_content_ids_in_brackets_on_one_line(pair):
    """phase4 refuses bare line feeds, others a folded Content-ID or one without brackets."""
    long = f"{'x' * 100}@{'y' * 100}"
    built = pair.build(pair.message(as4.Part(content=b"{}", mime_type="application/json", content_id=long)))
    boundary = re.search(r'boundary="([^"]*)"', built.content_type)[1].encode()
    heads = [part.partition(b"\r\n\r\n")[0] for part in built.body.split(b"--" + boundary)[1:-1]]
    assert len(heads) == 2
    for head in heads:
        assert b"\n" not in head.replace(b"\r\n", b"")
        assert re.search(rb"\r\nContent-ID: <[^<>\s]+>(\r\n|$)", head), head
    assert b"\r\nContent-ID: <" + long.encode() + b">" in heads[1]


def test_an_unsigned_rejection_is_recorded_and_the_message_goes_again(pair):
    """phase4 and Oxalis send such errors; a stranger on the way could too."""
    body = error_for(pair, as4.BadSignature).body
    unsigned = re.sub(rb"<ds:Signature .*</ds:Signature>", b"", body)
    known = {"message_id": "5d5e1331@at.imi.node", "signed": pair.build().references, "unanswered": False}
    outcome = judge_answer(read(pair, unsigned), **known)
    assert isinstance(outcome, Again)
    assert "unsigned" in outcome.reason
    assert "EBMS:0101" in outcome.reason
    assert isinstance(judge_answer(read(pair, body), **known), NeverAgain)


@pytest.mark.parametrize("kind", [as4.BrokenMime, as4.FailedDecryption, as4.As4Error])
def test_our_errors_are_signed(pair, kind):
    """Domibus distrusts unsigned ones."""
    assert read(pair, error_for(pair, kind, ref=None).body).authenticated


@pytest.mark.parametrize("changes", [{}, {"agreement_ref": "urn:a"}, {"agreement_ref": "urn:a", "agreement_type": "t"}])
def test_an_agreement_is_named_only_where_one_is_agreed_and_with_its_type(pair, changes):
    """Holodeck and Domibus answer a missing or an extra one with EBMS:0010."""
    found = etree.fromstring(pair.build(**changes).soap).findall(f".//{{{names.EB}}}AgreementRef")
    expected = [(changes["agreement_ref"], changes.get("agreement_type"))] if changes else []
    assert [(one.text, one.get("type")) for one in found] == expected


@pytest.mark.parametrize("content_id", ["message", "message@domibus.example"])
def test_a_content_id_that_a_peer_fixes_is_written_as_it_is(pair, content_id):
    """A payload profile of Domibus names it: `cid:message`."""
    part = as4.Part(content=b"<a/>", mime_type="text/xml", content_id=content_id)
    built = pair.build(pair.message(part))
    assert f'<eb:PartInfo href="cid:{content_id}">'.encode() in built.soap
    assert f"\r\nContent-ID: <{content_id}>\r\n".encode() in built.body
    assert pair.read(built.content_type, built.body).parts[0].content_id == content_id


@dataclass
class Counting:
    """A key with its real work counted: RSA's private operation is what costs most in a message."""

    inner: object
    times: int = 0

    @property
    def certificate(self):
        return self.inner.certificate

    def decrypt(self, wrapped, **hashes):
        self.times += 1
        return self.inner.decrypt(wrapped, **hashes)

    def sign(self, data):
        self.times += 1
        return self.inner.sign(data)


def test_a_message_of_many_parts_takes_one_private_operation_and_its_receipt_another():
    pair = pair_of("1.15 2048")
    part = as4.Part(content=b"x", mime_type="text/plain")
    built = pair.build(pair.message(*[part] * 10))
    verified = pair.verify(built.content_type, built.body)
    key = Counting(pair.si.decrypter)
    assert len(as4.decrypt(verified, [key]).octets) == 10
    assert key.times == 1
    answering = Side.__new__(Side)
    answering.suite, answering.signer = pair.si.suite, Counting(pair.si.signer)
    Pair(at=pair.at, si=answering).receipt(verified)
    assert answering.signer.times == 1
