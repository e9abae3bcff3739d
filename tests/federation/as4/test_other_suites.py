"""A suite is an object: the examples of the other suites are read with one written here and nothing else changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from node.federation import as4
from node.federation.as4 import names, reading

from .test_vectors import ALL, AT, VECTORS, Key, agreement, entity

MORE = "http://www.w3.org/2001/04/xmldsig-more#"


def child(element, *path):
    for namespace, name in path:
        element = reading.only_child(element, namespace, name)
    return element


@dataclass
class Wrapped:
    recipient: object
    unwrap: object


class EllipticCurves:
    """2.0's alternative, P-256 only and without checks of its own."""

    name = "2.0-ecc"
    signature_algorithm = MORE + "ecdsa-sha256"

    def verify(self, certificate, signature, data):
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        try:
            certificate.public_key().verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise as4.BadSignature("no") from error

    def read_key(self, encrypted_key):
        agreed = child(encrypted_key, (names.DS, "KeyInfo"), (names.XENC, "AgreementMethod"))
        origin = child(agreed, (names.XENC, "OriginatorKeyInfo"), (names.DS, "KeyValue"), (names.DSIG11, "ECKeyValue"))
        point = reading.binary(child(origin, (names.DSIG11, "PublicKey")))
        method = (names.XENC11, "KeyDerivationMethod"), (names.DSIG_MORE, "HKDFParams"), (names.DSIG_MORE, "Salt")
        salt = reading.binary(child(agreed, *method))
        wrapped = reading.binary(child(encrypted_key, (names.XENC, "CipherData"), (names.XENC, "CipherValue")))

        def unwrap(key):
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            return aes_key_unwrap(HKDF(SHA256(), 16, salt, b"").derive(key.key.exchange(ec.ECDH(), public)), wrapped)

        return Wrapped(child(agreed, (names.XENC, "RecipientKeyInfo")), unwrap)


class Rsa:
    """1.15, without checks of its own."""

    name = "1.15"
    signature_algorithm = MORE + "rsa-sha256"

    def verify(self, certificate, signature, data):
        try:
            certificate.public_key().verify(signature, data, padding.PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise as4.BadSignature("no") from error

    def read_key(self, encrypted_key):
        wrapped = reading.binary(child(encrypted_key, (names.XENC, "CipherData"), (names.XENC, "CipherValue")))
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
        return Wrapped(child(encrypted_key, (names.DS, "KeyInfo")), lambda key: key.key.decrypt(wrapped, oaep))


OTHERS = {"2.0-ecc": EllipticCurves(), "1.15": Rsa()}


@pytest.mark.parametrize("name", [name for name, entry in ALL.items() if entry["profile"] in OTHERS])
def test_examples_of_other_suites_are_read(name):
    entry = ALL[name]
    suite = OTHERS[entry["profile"]]
    content_type, body = entity(name)
    agreed = replace(agreement("c3", "c2", entry["sign_key"]), suite=suite)
    package = as4.unpack(content_type, body, agreed.limits)
    verified = as4.verify(package, as4.parse_soap(package, agreed.limits), agreed, at=AT)
    message = as4.decompress(as4.decrypt(verified, [Key(entry["decrypt_key"])]))
    assert hashlib.sha256(message.parts[0].content).hexdigest() == entry["payload_sha256"]
    answered = replace(agreement("c2", "c3", entry["receipt_key"]), suite=suite)
    receipt = as4.read_signal("application/soap+xml", (VECTORS / entry["receipt"]).read_bytes(), answered, at=AT)
    as4.check_receipt(receipt, message_id=entry["message_id"], sent=verified.references)
