"""AS4 messages without network and database: build, read with receipt, check a receipt; CPU on one core."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from cryptography.x509.oid import NameOID

from node.federation import as4
from pki.signer import FileDecrypter, FileSigner

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
ROUNDS = 1000
PAYLOAD = json.dumps({"events": [hashlib.sha256(bytes([n])).hexdigest() for n in range(29)]}).encode()[:2048]


class Side:
    """One party's keys and certificates."""

    def __init__(self, node: str) -> None:
        sign, encrypt = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.party = as4.party_of(node)
        self.signer = FileSigner(sign, _certificate(node, sign.public_key(), sign))
        self.decrypter = FileDecrypter(encrypt, _certificate(node, encrypt.public_key(), sign))
        self.certificate = self.decrypter.certificate

    def agreement(self, other: Side) -> as4.Agreement:
        assert other.signer.certificate is not None
        return as4.Agreement(
            our_party=self.party,
            their_party=other.party,
            suite=as4.COMMON,
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

    def __init__(self) -> None:
        self.at, self.si = Side("AT"), Side("SI")
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
        self.receipt = self.read()

    def build(self) -> as4.Built:
        assert self.si.certificate is not None
        return as4.build(self.message, agreement=self.sending, signer=self.at.signer, encrypt_for=self.si.certificate)

    def read(self) -> as4.Built:
        package = as4.unpack(self.built.content_type, self.built.body, self.receiving.limits)
        header = as4.parse_soap(package, self.receiving.limits)
        verified = as4.verify(package, header, self.receiving, at=NOW)
        as4.decompress(as4.decrypt(verified, [self.si.decrypter]))
        return as4.build_receipt(
            verified.references,
            ref_to_message_id=header.message_id,
            message_id="receipt@si.imi.node",
            at=NOW,
            form=as4.SignatureForm(suite=as4.COMMON),
            signer=self.si.signer,
        )

    def check_receipt(self) -> None:
        signal = as4.read_signal(self.receipt.content_type, self.receipt.body, self.sending, at=NOW)
        assert isinstance(signal, as4.Receipt)
        as4.check_receipt(signal, message_id=self.message.message_id, sent=self.built.references)


def _ceiling() -> Callable[[], object]:
    """The cryptography of reading one message and signing its receipt, and nothing else."""
    sign, encrypt = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    public, ephemeral = sign.public_key(), X25519PrivateKey.generate().public_key().public_bytes_raw()
    info, wrapped, sealed = os.urandom(1500), aes_key_wrap(bytes(16), bytes(16)), bytes(1000)
    ciphertext, signature = AESGCM(bytes(16)).encrypt(bytes(12), sealed, None), sign.sign(info)

    def once() -> object:
        public.verify(signature, info)
        secret = encrypt.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        HKDF(SHA256(), 16, bytes(32), b"").derive(secret)
        AESGCM(aes_key_unwrap(bytes(16), wrapped)).decrypt(bytes(12), ciphertext, None)
        for _ in range(5):
            hashlib.sha256(info).digest()
        return sign.sign(info)

    return once


def _cpu(function: Callable[[], object]) -> float:
    """Milliseconds of CPU a call takes, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(ROUNDS // 5):
            function()
        best = min(best, (time.process_time() - began) / (ROUNDS // 5))
    return best * 1000


def run() -> list[dict[str, Any]]:
    """Rows for the table: CPU a message, and how near reading comes to the cryptography alone."""
    exchange, note = Exchange(), f"{len(PAYLOAD)} bytes of JSON, AS4 2.0"
    measured = {"build": _cpu(exchange.build), "read and receipt": _cpu(exchange.read)}
    measured["check receipt"] = _cpu(exchange.check_receipt)
    ceiling = _cpu(_ceiling())
    rows: list[dict[str, Any]] = []
    for what, cost in measured.items():
        rows.append({"what": what, "value": cost, "unit": "ms CPU", "note": note})
        rows.append({"what": what, "value": 1000 / cost, "unit": "a second and core"})
    share = 100 * ceiling / measured["read and receipt"]
    rows.append({"what": "read and receipt, share of pure cryptography", "value": share, "unit": "%", "goal": "≥ 50"})
    return rows
