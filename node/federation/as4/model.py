"""What passes in and out of this package: messages, parts, references, agreements, limits, keys.

Content IDs are written without angle brackets everywhere but in the MIME header.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from node.federation.as4 import names
from node.federation.as4.spooling import Content, chunks_of, size_of, whole

if TYPE_CHECKING:
    from node.federation.as4.suites import Suite

MIB = 1024 * 1024
CONTENT_KEY_BYTES = 16  # AES-128
FOUR_CORNERS = frozenset({"originalSender", "finalRecipient"})  # message properties of a four-corner exchange

Random = Callable[[int], bytes]


class Signer(Protocol):
    """A signing key with its certificate (pki.signer.Signer)."""

    @property
    def certificate(self) -> x509.Certificate | None: ...

    def sign(self, data: bytes) -> bytes:
        """The octets of `ds:SignatureValue` over `data`.

        Ed25519: 64 bytes. Elliptic curves: r and s, each as wide as the curve's order. RSA: PKCS#1 v1.5.
        """
        ...


class Decrypter(Protocol):
    """A decryption key with its certificate (pki.signer.Decrypter): X25519, elliptic curve or RSA."""

    @property
    def certificate(self) -> x509.Certificate | None: ...

    def exchange(self, peer_public: X25519PublicKey | EllipticCurvePublicKey) -> bytes:
        """The raw shared secret of our private key and the sender's ephemeral key.

        Raises ValueError if the keys are of different kinds or the secret would be all zero.
        """
        ...

    def decrypt(self, wrapped: bytes, *, digest: str, mgf_digest: str) -> bytes:
        """What was encrypted for our RSA key with OAEP and these hash functions ("sha1", "sha256").

        Raises ValueError if it was not, or if our key is no RSA key.
        """
        ...


class KeyReference(Enum):
    """How a message names a certificate."""

    TOKEN = "bst"  # noqa: S105 - the certificate itself, as BinarySecurityToken X509v3
    PATH = "pkipath"  # the certificate after its authorities, as BinarySecurityToken X509PKIPathv1
    SUBJECT_KEY_IDENTIFIER = "ski"
    ISSUER_SERIAL = "issuer-serial"
    THUMBPRINT = "thumbprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureForm:
    """How we sign for a peer. `issuers` are the authorities of our certificate, the highest first (for PATH)."""

    suite: Suite
    reference: KeyReference = KeyReference.TOKEN
    issuers: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One payload part.

    `mime_type` and `content` are those before compression. A part is compressed unless told otherwise; JSON and
    binary parts may go uncompressed, XML better not (uncompressed XML is digested in canonical form).
    An empty `content_id` is filled in when the message is built. Large content comes and goes as a `Source`.
    """

    content: Content
    mime_type: str
    content_id: str = ""
    charset: str | None = None
    compressed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """A business message: who to whom, what about, and its parts in order."""

    message_id: str
    conversation_id: str
    sender: str
    recipient: str
    service: str
    action: str
    timestamp: datetime
    ref_to_message_id: str | None = None
    agreement_ref: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    @property
    def is_test(self) -> bool:
        """A ping: answered with a receipt, never delivered."""
        return self.service == names.TEST_SERVICE and self.action == names.TEST_ACTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One `ds:Reference` of a signature: what was signed, how it was transformed, its digest.

    The references of a message we sent are stored: a receipt must repeat them. `prefixes` are those of
    `ec:InclusiveNamespaces`, which some peers write.
    """

    uri: str
    digest: bytes
    transform: str = names.EXC_C14N
    digest_method: str = names.SHA256
    prefixes: tuple[str, ...] = ()


def dump_references(references: Sequence[Reference]) -> str:
    """`references` as JSON text, for the database."""
    rows = [[r.uri, r.digest.hex(), r.transform, r.digest_method, list(r.prefixes)] for r in references]
    return json.dumps(rows, separators=(",", ":"))


def load_references(text: str) -> tuple[Reference, ...]:
    """What `dump_references` wrote. Raises ValueError or TypeError on anything else."""
    return tuple(
        Reference(
            uri=uri, digest=bytes.fromhex(digest), transform=transform, digest_method=method, prefixes=tuple(more)
        )
        for uri, digest, transform, method, more in json.loads(text)
    )


def same_content(one: Sequence[Reference], other: Sequence[Reference]) -> bool:
    """Whether two signatures cover the same bytes: a repeat has exactly the references of the first message."""
    return sorted((r.uri, r.digest) for r in one) == sorted((r.uri, r.digest) for r in other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what is read from a peer, all in bytes but `parts` and `ratio`."""

    entity: int = 110 * MIB  # the HTTP body: a file of 100 MiB with what goes around it
    soap: int = MIB // 2
    parts: int = 100
    decompressed: int = 200 * MIB  # all parts of a message together
    ratio: int = 300  # decompressed to compressed, asked of parts that grow beyond 1 MiB


ANY = Limits(entity=1 << 40, decompressed=1 << 40, parts=10_000)  # for what passed its limits when it came


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An agreed service with its actions. `type` is left out for a service named by a URI."""

    name: str
    actions: frozenset[str]
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Reception awareness: how long to wait between attempts, and when sender and operator are told (EBMS:0301).

    Attempts go on after that: what is told is that nobody knows whether the peer has the message.
    """

    first: timedelta = timedelta(seconds=1)  # doubled at each failure
    longest: timedelta = timedelta(minutes=15)
    report_after: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What was agreed with one peer (a P-Mode): the algorithms are taken from here, never from a message."""

    our_party: str
    their_party: str
    suite: Suite
    services: tuple[Service, ...]
    their_signing: tuple[x509.Certificate, ...]
    our_party_type: str = names.UNREGISTERED
    their_party_type: str = names.UNREGISTERED
    roles: tuple[str, str] = (names.INITIATOR, names.RESPONDER)  # of who opens an exchange, of who answers it
    agreement_ref: str | None = None
    agreement_type: str | None = None
    two_way: bool = False  # a message may answer another by RefToMessageId, in push-and-push
    four_corner: bool = True  # originalSender and finalRecipient must be there
    property_types: Mapping[str, str] = field(default_factory=dict)  # of message properties we send
    compress: bool = True
    signature_reference: KeyReference = KeyReference.TOKEN
    encryption_reference: KeyReference = KeyReference.SUBJECT_KEY_IDENTIFIER
    issuers: tuple[x509.Certificate, ...] = ()  # of our signing certificate, the highest first
    retry: Retry = Retry()
    limits: Limits = Limits()

    @property
    def signature_form(self) -> SignatureForm:
        """How messages, receipts and errors for this peer are signed."""
        return SignatureForm(suite=self.suite, reference=self.signature_reference, issuers=self.issuers)

    def service(self, name: str) -> Service | None:
        """The agreed service of this name; the test service is part of every agreement."""
        if name == names.TEST_SERVICE:
            return TEST
        return next((service for service in self.services if service.name == name), None)


TEST = Service(name=names.TEST_SERVICE, actions=frozenset({names.TEST_ACTION}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A message or signal ready to post: HTTP content type and body, and what of it must be remembered.

    The body is `pieces` one after the other; more than one if some of it lies in spool files.
    """

    content_type: str
    pieces: tuple[Content, ...]
    soap: bytes
    references: tuple[Reference, ...]

    @property
    def is_large(self) -> bool:
        """Whether the body should not be held in memory."""
        return len(self.pieces) > 1

    @property
    def size(self) -> int:
        """Of the body, in bytes."""
        return sum(map(size_of, self.pieces))

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(map(whole, self.pieces))

    def write_to(self, file: BinaryIO) -> None:
        """Write the body, piece by piece."""
        for piece in self.pieces:
            file.writelines(chunks_of(piece))


def party_of(node: str) -> str:
    """The ebMS party id of a node."""
    return f"imi-node-{node.lower()}"


def node_of(party: str) -> str:
    """The node code of a party id, upper case; the empty string if it is no node's."""
    head, _, rest = party.partition("imi-node-")
    return rest.upper() if not head else ""
