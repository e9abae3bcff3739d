"""The three suites: what one side builds the other reads, with every curve and key size; nothing else is taken."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from node.federation import as4
from node.federation.as4 import names, tokens
from node.federation.as4.envelope import parse_envelope
from node.federation.as4.model import KeyReference

from .conftest import KINDS, NOW, Pair, Side, certificate, encryption_key, pair_of, signing_key
from .test_vectors import ALL, AT, VECTORS, Key, agreement, entity

PROFILES = {"2.0": as4.COMMON, "2.0-ecc": as4.CURVES, "1.15": as4.RSA}


@pytest.mark.parametrize("name", ALL)
def test_examples_of_every_suite_are_read(name):
    entry = ALL[name]
    suite = PROFILES[entry["profile"]]
    content_type, body = entity(name)
    agreed = replace(agreement("c3", "c2", entry["sign_key"]), suite=suite)
    package = as4.unpack(content_type, body, agreed.limits)
    verified = as4.verify(package, as4.parse_soap(package, agreed.limits), agreed, at=AT)
    message = as4.decompress(as4.decrypt(verified, [Key(entry["decrypt_key"])]))
    assert hashlib.sha256(message.parts[0].content).hexdigest() == entry["payload_sha256"]
    answered = replace(agreement("c2", "c3", entry["receipt_key"]), suite=suite)
    receipt = as4.read_signal("application/soap+xml", (VECTORS / entry["receipt"]).read_bytes(), answered, at=AT)
    as4.check_receipt(receipt, message_id=entry["message_id"], sent=verified.references)


@pytest.mark.parametrize("kind", KINDS)
def test_every_curve_and_key_size_carries_a_message_and_its_receipt(kind):
    pair = pair_of(kind)
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    assert pair.read(built.content_type, built.body).parts[0].content == b'{"hello": "world"}'
    receipt = pair.receipt(verified)
    signal = as4.read_signal(receipt.content_type, receipt.body, pair.at.agreement_with(pair.si), at=NOW)
    as4.check_receipt(signal, message_id="5d5e1331@at.imi.node", sent=built.references)


@pytest.mark.parametrize("form", KeyReference)
@pytest.mark.parametrize("kind", ["2.0", "2.0-ecc brainpoolP256r1", "1.15 2048"])
def test_every_reference_form_is_written_and_read(kind, form):
    pair = pair_of(kind)
    changes = {"signature_reference": form}
    if form is not KeyReference.PATH:
        changes["encryption_reference"] = form
    else:
        changes["issuers"] = (certificate("authority", pair.si.signer.certificate.public_key()),)
    built = pair.build(**changes)
    assert pair.read(built.content_type, built.body).parts[0].content == b'{"hello": "world"}'


@pytest.mark.parametrize("theirs", ["2.0-ecc secp256r1", "1.15 2048"])
def test_a_message_of_another_suite_is_refused_by_its_algorithm(pair, theirs):
    other = pair_of(theirs)
    built = Pair(other.at, other.si).build()
    agreed = replace(pair.si.agreement_with(pair.at), their_signing=(other.at.signer.certificate,))
    package = as4.unpack(built.content_type, built.body, agreed.limits)
    with pytest.raises(as4.PolicyBroken) as refused:
        as4.verify(package, as4.parse_soap(package, agreed.limits), agreed, at=NOW)
    assert refused.value.field == "SignatureMethod"
    assert refused.value.expected == names.ED25519


def test_a_key_of_another_curve_does_not_decrypt():
    pair = pair_of("2.0-ecc secp256r1")
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    stranger = encryption_key("SI", KINDS["2.0-ecc secp384r1"][2])
    stranger = replace(stranger, certificate=pair.si.decrypter.certificate)  # claims to be the key named
    with pytest.raises(as4.FailedDecryption):
        as4.decrypt(verified, [stranger])


def test_a_point_off_the_curve_and_an_unknown_curve_are_failed_decryptions():
    pair = pair_of("2.0-ecc secp256r1")
    built = pair.build()
    for pattern, into in (
        (rb"<dsig11:PublicKey>....", b"<dsig11:PublicKey>BAAA"),
        (rb"urn:oid:1\.2\.840\.10045\.3\.1\.7", b"urn:oid:1.3.132.0.10"),
    ):
        changed = re.sub(pattern, into, built.body, count=1)
        assert changed != built.body
        verified = pair.verify(built.content_type, changed)  # the encrypted key is not signed
        with pytest.raises(as4.FailedDecryption):
            as4.decrypt(verified, [pair.si.decrypter])


def test_a_short_rsa_key_signs_nothing_and_is_not_encrypted_for():
    weak = rsa.generate_private_key(65537, 1024)
    cert = certificate("weak", weak.public_key())
    assert not as4.RSA.can_sign(cert)
    assert not as4.RSA.can_decrypt(cert)
    with pytest.raises(as4.BadSignature):
        as4.RSA.verify(cert, names.RSA_SHA256, weak.sign(b"x", padding.PKCS1v15(), hashes.SHA256()), b"x")
    with pytest.raises(TypeError):
        as4.RSA.wrap(cert, bytes(16), "", bytes)


def test_an_ecdsa_signature_in_der_is_refused():
    key = ec.generate_private_key(ec.SECP256R1())
    cert = certificate("der", key.public_key())
    with pytest.raises(as4.BadSignature):
        as4.CURVES.verify(cert, names.ECDSA_SHA256, key.sign(b"x", ec.ECDSA(hashes.SHA256())), b"x")


class OlderSender:
    """Signs with RSA-SHA512, as an old product does."""

    def __init__(self, signer):
        self._key, self.certificate = signer._key, signer.certificate

    def sign(self, data):
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA512())


def test_older_algorithms_are_taken_only_where_they_are_agreed():
    pair = pair_of("1.15 2048")
    old = replace(as4.RSA, signature_algorithm=names.RSA_SHA512)
    built = as4.build(
        pair.message(),
        agreement=pair.at.agreement_with(pair.si, suite=old),
        signer=OlderSender(pair.at.signer),
        encrypt_for=pair.si.decrypter.certificate,
    )
    with pytest.raises(as4.PolicyBroken):
        pair.verify(built.content_type, built.body)
    agreed = as4.RSA.accepting(frozenset({names.RSA_SHA512}))
    assert pair.verify(built.content_type, built.body, suite=agreed).header.message_id
    with pytest.raises(ValueError, match="not an algorithm"):
        as4.RSA.accepting(frozenset({"http://www.w3.org/2000/09/xmldsig#rsa-sha1"}))


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_the_older_oaep_is_read_only_where_it_is_agreed(digest):
    pair = pair_of("1.15 2048")
    built = pair.build()
    verified = pair.verify(built.content_type, built.body)
    general = parse_envelope(built.soap, verified.agreement.limits)
    verified = replace(verified, header=replace(verified.header, envelope=general))
    element = general.secured_by(names.XENC, "EncryptedKey")[0]
    key = as4.RSA.read_key(element).unwrap(pair.si.decrypter)
    function = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}[digest]()
    public = pair.si.decrypter.certificate.public_key()
    wrapped = public.encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA1()), function, None))
    method = element[0]
    method.set("Algorithm", names.RSA_OAEP_MGF1P)
    method.remove(method[1])
    if digest == "sha1":
        method.remove(method[0])  # SHA-1 is what is meant when none is named
    element.find(f".//{{{names.XENC}}}CipherValue").text = tokens.b64(wrapped)
    with pytest.raises(as4.PolicyBroken):
        as4.decrypt(verified, [pair.si.decrypter])
    agreed = replace(verified.agreement, suite=as4.RSA.accepting(frozenset({names.RSA_OAEP_MGF1P})))
    message = as4.decompress(as4.decrypt(replace(verified, agreement=agreed), [pair.si.decrypter]))
    assert message.parts[0].content == b'{"hello": "world"}'


def test_a_party_speaks_several_suites_and_the_agreement_says_which():
    modern, older = pair_of("2.0"), pair_of("1.15 2048")
    keys = [modern.si.decrypter, older.si.decrypter]
    for pair in (modern, older):
        built = pair.build()
        verified = pair.verify(built.content_type, built.body)
        assert as4.decompress(as4.decrypt(verified, keys)).parts
    with pytest.raises(ValueError, match="no certificate for"):
        as4.build(
            modern.message(),
            agreement=modern.at.agreement_with(modern.si),
            signer=older.at.signer,
            encrypt_for=modern.si.decrypter.certificate,
        )


def test_an_x509_path_with_the_leaf_first_names_the_authority():
    """Trap 6: PKIPath is authority first, leaf last."""
    pair = pair_of("2.0")
    authority = signing_key("CA").certificate
    path = tokens._path_base64((authority, pair.at.signer.certificate))
    assert tokens._leaf(tokens.reading.binascii.a2b_base64(path)) == tokens.der(pair.at.signer.certificate)
    reversed_path = tokens._path_base64((pair.at.signer.certificate, authority))
    assert tokens._leaf(tokens.reading.binascii.a2b_base64(reversed_path)) == tokens.der(authority)


def test_certificates_of_other_suites_are_told_apart():
    certificates = {kind: pair_of(kind).at.signer.certificate for kind in ("2.0", "2.0-ecc secp256r1", "1.15 2048")}
    for suite, kind in ((as4.COMMON, "2.0"), (as4.CURVES, "2.0-ecc secp256r1"), (as4.RSA, "1.15 2048")):
        assert [name for name, cert in certificates.items() if suite.can_sign(cert)] == [kind]
    assert not as4.COMMON.can_decrypt(certificates["2.0"])  # signs, but does not agree on keys
    assert isinstance(certificates["2.0"], x509.Certificate)
    assert Side("AT").suite is as4.COMMON
