"""Two parties with real certificates, an agreement each, and a message between them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.x509.oid import NameOID

from node.federation import as4

NOW = dt.datetime(2026, 11, 24, 9, 30, 0, 417_000, tzinfo=dt.UTC)
CA_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def certificate(name, public_key, *, issuer="Example CA", days=365, ski=True):
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "EU"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=30))
        .not_valid_after(NOW - dt.timedelta(days=30) + dt.timedelta(days=days))
    )
    if ski:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    return builder.sign(CA_KEY, None)


class SigningKey:
    def __init__(self, name, **options):
        self._key = Ed25519PrivateKey.generate()
        self.certificate = certificate(f"{name} sign", self._key.public_key(), **options)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class EncryptionKey:
    def __init__(self, name, **options):
        self._key = X25519PrivateKey.generate()
        self.certificate = certificate(f"{name} encrypt", self._key.public_key(), **options)

    def exchange(self, peer_public: X25519PublicKey) -> bytes:
        return self._key.exchange(peer_public)


class Side:
    """One party's keys."""

    def __init__(self, node: str) -> None:
        self.party = as4.party_of(node)
        self.signer = SigningKey(node)
        self.decrypter = EncryptionKey(node)

    def agreement_with(self, other: Side, **changes) -> as4.Agreement:
        agreement = as4.Agreement(
            our_party=self.party,
            their_party=other.party,
            suite=as4.COMMON,
            actions=frozenset({"events", "query"}),
            their_signing=(other.signer.certificate,),
        )
        return replace(agreement, **changes)


@dataclass(frozen=True)
class Pair:
    """Austria sends, Slovenia receives."""

    at: Side
    si: Side

    def message(self, *parts: as4.Part, **changes) -> as4.UserMessage:
        message = as4.UserMessage(
            message_id="5d5e1331@at.imi.node",
            conversation_id="AT-2026-000123",
            sender=self.at.party,
            recipient=self.si.party,
            service=as4.SERVICE,
            action="events",
            timestamp=NOW,
            properties={"originalSender": "AT", "finalRecipient": "SI"},
            parts=parts or (as4.Part(content=b'{"hello": "world"}', mime_type="application/json"),),
        )
        return replace(message, **changes)

    def build(self, message: as4.UserMessage | None = None, **changes) -> as4.Built:
        return as4.build(
            message or self.message(),
            agreement=self.at.agreement_with(self.si, **changes),
            signer=self.at.signer,
            encrypt_for=self.si.decrypter.certificate,
        )

    def verify(self, content_type: str, body: bytes, **changes) -> as4.Verified:
        agreement = self.si.agreement_with(self.at, **changes)
        package = as4.unpack(content_type, body, agreement.limits)
        header = as4.parse_soap(package, agreement.limits)
        return as4.verify(package, header, agreement, at=NOW)

    def read(self, content_type: str, body: bytes, **changes) -> as4.UserMessage:
        return as4.decompress(as4.decrypt(self.verify(content_type, body, **changes), [self.si.decrypter]))

    def receipt(self, verified: as4.Verified, **changes) -> as4.Built:
        values = {"ref_to_message_id": verified.header.message_id, "message_id": "receipt-1@si.imi.node", "at": NOW}
        return as4.build_receipt(verified.references, **(values | changes), suite=as4.COMMON, signer=self.si.signer)


@pytest.fixture(scope="session")
def pair() -> Pair:
    return Pair(Side("AT"), Side("SI"))
