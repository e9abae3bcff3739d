"""AS4 messages without network and database, in every suite: CPU on one core, and how near that comes to the crypto.

The ceiling is the cryptography of one exchange and nothing else: the calls `cryptography` must make on the same bytes
to verify the message, find out its content key, decrypt and digest its part, and sign the receipt.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from cryptography.x509.oid import NameOID

from node.federation import as4
from pki.signer import FileDecrypter, FileMessageSigner, FileSigner, MessageSigner

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
SECONDS = 0.4  # of CPU for each of five runs of one figure
PAYLOAD = json.dumps({"events": [hashlib.sha256(bytes([n])).hexdigest() for n in range(29)]}).encode()[:2048]
OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


@dataclass(frozen=True, slots=True)
class Kind:
    """A suite with the keys it is measured with."""

    key: str
    title: str
    suite: as4.Suite
    sign: Callable[[], Any]
    encrypt: Callable[[], Any]


KINDS = (
    Kind("2.0", "2.0", as4.COMMON, Ed25519PrivateKey.generate, X25519PrivateKey.generate),
    Kind("2.0-ecc", "2.0 P-256", as4.CURVES, *[lambda: ec.generate_private_key(ec.SECP256R1())] * 2),
    Kind("1.15", "1.15 RSA-3072", as4.RSA, *[lambda: rsa.generate_private_key(65537, 3072)] * 2),
)


class Side:
    """One party's keys and certificates."""

    def __init__(self, node: str, kind: Kind) -> None:
        sign, encrypt, issuer = kind.sign(), kind.encrypt(), Ed25519PrivateKey.generate()
        certificate = _certificate(node, sign.public_key(), issuer)
        self.kind, self.party, self.sign_key, self.encrypt_key = kind, as4.party_of(node), sign, encrypt
        self.signer: MessageSigner = (
            FileSigner(sign, certificate)
            if isinstance(sign, Ed25519PrivateKey)
            else FileMessageSigner(sign, certificate)
        )
        self.decrypter = FileDecrypter(encrypt, _certificate(node, encrypt.public_key(), issuer))

    def agreement(self, other: Side) -> as4.Agreement:
        assert other.signer.certificate is not None
        return as4.Agreement(
            our_party=self.party,
            their_party=other.party,
            suite=self.kind.suite,
            services=(as4.Service(name=as4.SERVICE, actions=frozenset({"events"})),),
            their_signing=(other.signer.certificate,),
        )


def _certificate(node: str, public_key: Any, issuer_key: Ed25519PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .sign(issuer_key, None)
    )


class Exchange:
    """One message from AT to SI, to be built, read and receipted again and again."""

    def __init__(self, kind: Kind = KINDS[0]) -> None:
        self.at, self.si = Side("AT", kind), Side("SI", kind)
        self.sending, self.receiving = self.at.agreement(self.si), self.si.agreement(self.at)
        self.message = as4.UserMessage(
            message_id="0123456789abcdef@at.imi.node",
            conversation_id="AT-2026-000001",
            sender=self.at.party,
            recipient=self.si.party,
            service=as4.SERVICE,
            action="events",
            timestamp=NOW,
            properties={"originalSender": "AT", "finalRecipient": "SI"},
            parts=(as4.Part(content=PAYLOAD, mime_type="application/json"),),
        )
        self.built = self.build()
        self.verified = self.read()
        self.receipt = self.receive()

    def build(self) -> as4.Built:
        assert self.si.decrypter.certificate is not None
        return as4.build(
            self.message, agreement=self.sending, signer=self.at.signer, encrypt_for=self.si.decrypter.certificate
        )

    def read(self) -> as4.Verified:
        package = as4.unpack(self.built.content_type, self.built.body, self.receiving.limits)
        header = as4.parse_soap(package, self.receiving.limits)
        verified = as4.verify(package, header, self.receiving, at=NOW)
        as4.decompress(as4.decrypt(verified, [self.si.decrypter]))
        return verified

    def make_receipt(self) -> as4.Built:
        return as4.build_receipt(
            self.verified.references,
            ref_to_message_id=self.message.message_id,
            message_id="receipt@si.imi.node",
            at=NOW,
            form=self.receiving.signature_form,
            signer=self.si.signer,
        )

    def receive(self) -> as4.Built:
        """What one message costs its receiver."""
        self.read()
        return self.make_receipt()

    def check_receipt(self) -> None:
        signal = as4.read_signal(self.receipt.content_type, self.receipt.body, self.sending, at=NOW)
        assert isinstance(signal, as4.Receipt)
        as4.check_receipt(signal, message_id=self.message.message_id, sent=self.built.references)

    def ceiling(self) -> Callable[[], object]:
        """The cryptography of `receive`."""
        data = os.urandom(1500)  # about what is signed
        content = AESGCM(bytes(16)).encrypt(bytes(12), bytes(len(self.built.body) - len(self.built.soap) - 500), None)
        verify, unwrap, sign = self._verification(data), self._unwrapping(), self.si.sign_key

        def once() -> object:
            verify()
            AESGCM(unwrap()).decrypt(bytes(12), content, None)
            for _ in range(5):  # Messaging, Body, the part; of the receipt Messaging and Body
                hashlib.sha256(data).digest()
            return _signature(sign, data)

        return once

    def _verification(self, data: bytes) -> Callable[[], object]:
        signature, public = _signature(self.at.sign_key, data), self.at.sign_key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            return lambda: public.verify(signature, data, padding.PKCS1v15(), SHA256())
        if isinstance(public, ec.EllipticCurvePublicKey):
            return lambda: public.verify(
                encode_dss_signature(*decode_dss_signature(signature)), data, ec.ECDSA(SHA256())
            )
        return lambda: public.verify(signature, data)

    def _unwrapping(self) -> Callable[[], bytes]:
        key, wrapped = self.si.encrypt_key, aes_key_wrap(bytes(16), bytes(16))
        if isinstance(key, rsa.RSAPrivateKey):
            sealed = key.public_key().encrypt(bytes(16), OAEP)
            return lambda: key.decrypt(sealed, OAEP)
        is_x25519 = isinstance(key, X25519PrivateKey)
        public = (X25519PrivateKey.generate() if is_x25519 else ec.generate_private_key(key.curve)).public_key()

        def agree() -> bytes:
            secret = key.exchange(public) if is_x25519 else key.exchange(ec.ECDH(), public)
            HKDF(SHA256(), 16, bytes(32), b"").derive(secret)
            return aes_key_unwrap(bytes(16), wrapped)

        return agree


def _signature(key: Any, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(SHA256()))
    return bytes(key.sign(data))


def cpu(function: Callable[[], object]) -> float:
    """Milliseconds of CPU a call takes, the best of five runs."""
    began, count = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        function()
        count += 1
    best = (time.process_time() - began) / count
    for _ in range(4):
        began = time.process_time()
        for _ in range(count):
            function()
        best = min(best, (time.process_time() - began) / count)
    return best * 1000


def run() -> list[dict[str, Any]]:
    """Rows for the table: CPU a message in each suite, and how near receiving comes to the cryptography alone."""
    return [row for kind in KINDS for row in _measure(kind)]


def _measure(kind: Kind) -> list[dict[str, Any]]:
    exchange = Exchange(kind)
    note = f"{len(PAYLOAD)} bytes of JSON"
    measured = {
        "build": cpu(exchange.build),
        "read": cpu(exchange.read),
        "make receipt": cpu(exchange.make_receipt),
        "read and receipt": cpu(exchange.receive),
        "check receipt": cpu(exchange.check_receipt),
    }
    rows: list[dict[str, Any]] = [
        {
            "key": f"as4.{kind.key}.{what.replace(' ', '-')}",
            "what": f"{kind.title}: {what}",
            "value": cost,
            "unit": "ms CPU",
            "note": f"{1000 / cost:.0f} a second and core; {note}",
        }
        for what, cost in measured.items()
    ]
    alone = cpu(exchange.ceiling())
    rows.append(
        {
            "key": f"as4.{kind.key}.cryptography",
            "what": f"{kind.title}: cryptography of read and receipt",
            "value": alone,
            "unit": "ms CPU",
        }
    )
    rows.append(
        {
            "key": f"as4.{kind.key}.share",
            "what": f"{kind.title}: read and receipt, share of pure cryptography",
            "value": 100 * alone / measured["read and receipt"],
            "unit": "%",
            "goal": ">= 50",
        }
    )
    return rows
