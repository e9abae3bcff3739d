"""Two parties with real certificates, an agreement each, and a message between them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from node.federation import as4
from pki.signer import FileDecrypter, FileMessageSigner, FileSigner

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


# By suite and key: a fresh signing key, a fresh decryption key, whether it signs with Ed25519.
KINDS = {
    "2.0": (as4.COMMON, Ed25519PrivateKey.generate, X25519PrivateKey.generate),
    **{
        f"2.0-ecc {curve.name}": (
            as4.CURVES,
            partial(ec.generate_private_key, curve),
            partial(ec.generate_private_key, curve),
        )
        for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.BrainpoolP256R1(), ec.BrainpoolP384R1())
    },
    **{
        f"1.15 {bits}": (
            as4.RSA,
            partial(rsa.generate_private_key, 65537, bits),
            partial(rsa.generate_private_key, 65537, bits),
        )
        for bits in (2048, 3072, 4096)
    },
}


def signing_key(name, make=Ed25519PrivateKey.generate, **options):
    key = make()
    signer = FileSigner if isinstance(key, Ed25519PrivateKey) else FileMessageSigner
    return signer(key, certificate(f"{name} sign", key.public_key(), **options))


def encryption_key(name, make=X25519PrivateKey.generate, **options):
    key = make()
    return FileDecrypter(key, certificate(f"{name} encrypt", key.public_key(), **options))


class Side:
    """One party's keys, of one suite."""

    def __init__(self, node: str, kind: str = "2.0") -> None:
        self.suite, sign, encrypt = KINDS[kind]
        self.party = as4.party_of(node)
        self.signer = signing_key(node, sign)
        self.decrypter = encryption_key(node, encrypt)

    def agreement_with(self, other: Side, **changes) -> as4.Agreement:
        agreement = as4.Agreement(
            our_party=self.party,
            their_party=other.party,
            suite=self.suite,
            services=(as4.Service(name=as4.SERVICE, actions=frozenset({"events", "query"})),),
            their_signing=(other.signer.certificate,),
        )
        return replace(agreement, **changes)


def verify(package: as4.Package, agreement: as4.Agreement) -> as4.Verified:
    return as4.verify(package, as4.parse_soap(package, agreement.limits), agreement, at=NOW)


def in_another_form(written: bytes) -> bytes:
    """The same to XML, and not the form we write ourselves: a message for the general reader."""
    return written.replace(b"</env:Envelope>", b"</env:Envelope >")


def agreeing(act, written: bytes):
    """What `act` makes of a message as it is written, and of the same in another form: one and the same."""
    results = [outcome(act, form) for form in (written, in_another_form(written))]
    if isinstance(results[0], as4.As4Error):
        assert type(results[0]) is type(results[1]), results
        raise results[0]
    assert not isinstance(results[1], as4.As4Error), results[1]
    if isinstance(results[0], as4.UserMessage):
        assert results[0] == results[1]
    return results[0]


def outcome(act, written: bytes):
    try:
        return act(written)
    except as4.As4Error as error:
        return error


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
        """As both readers have it, who must agree."""
        agreement = self.si.agreement_with(self.at, **changes)
        return agreeing(lambda form: verify(as4.unpack(content_type, form, agreement.limits), agreement), body)

    def read(self, content_type: str, body: bytes, **changes) -> as4.UserMessage:
        """As both readers have it, who must agree."""
        agreement = self.si.agreement_with(self.at, **changes)
        keys = [self.si.decrypter]
        return agreeing(
            lambda form: as4.decompress(
                as4.decrypt(verify(as4.unpack(content_type, form, agreement.limits), agreement), keys)
            ),
            body,
        )

    def receipt(self, verified: as4.Verified, **changes) -> as4.Built:
        values = {"ref_to_message_id": verified.header.message_id, "message_id": "receipt-1@si.imi.node", "at": NOW}
        return as4.build_receipt(
            verified.references,
            **(values | changes),
            form=as4.SignatureForm(suite=self.si.suite),
            signer=self.si.signer,
        )


@pytest.fixture(scope="session")
def pair() -> Pair:
    return Pair(Side("AT"), Side("SI"))


@cache
def pair_of(kind: str) -> Pair:
    """Keys are dear to make (RSA): one pair of each kind for the whole run."""
    return Pair(Side("AT", kind), Side("SI", kind))


@pytest.fixture(params=["2.0", "2.0-ecc secp256r1", "1.15 2048"], ids=["2.0", "2.0-ecc", "1.15"])
def each_pair(request) -> Pair:
    """The pair under each of the three suites."""
    return pair_of(request.param)
