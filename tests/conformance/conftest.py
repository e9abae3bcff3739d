"""Two real nodes, whose keys are of one of the three suites, and messages put together by hand to go between them.

The State's authority certifies the keys, the trust list names certificates and suite, and the nodes talk over mutual
TLS: only the payloads are without meaning. `pair` is the same for what nodes do not do (two-way exchanges): two parties,
in functions.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree
from sqlalchemy import select

from node.federation import as4, outbox
from node.federation.agreements import Terms, terms
from node.federation.as4 import building, mime, names, payload, signing
from node.federation.lanes import Lane
from node.federation.receiver import Inbound
from node.federation.transport import Transport
from node.ids import NodeId, new_message_id
from node.local_store.messages import InboxRow, OutboxRow
from pki.authority import StateAuthority
from pki.node_keys import Family, answer, create_more_keys, entry_for, install, write_request
from pki.trustlist.publisher import load_state_key
from tests.delivery.harness import SmallNode, entry, prepare, reader
from tests.federation.as4.conftest import Pair, pair_of

EE, FR = NodeId("EE"), NodeId("FR")
SUITES = {"2.0": as4.COMMON, "2.0-ecc": as4.CURVES, "1.15": as4.RSA}  # the columns of the table
FAMILIES: dict[str, Family] = {"2.0-ecc": "ecc", "1.15": "rsa"}
PAIRS = {"2.0": "2.0", "2.0-ecc": "2.0-ecc secp256r1", "1.15": "1.15 3072"}
XML = b'<?xml version="1.0" encoding="UTF-8"?><request>\xc3\x84rztin</request>'

XML_PART = as4.Part(content=b"", mime_type="application/xml")

# ebMS 3.0 Core 6.7 and AS4 1.0: code -> name, severity, category. The last is phase4's own.
EBMS = {
    "EBMS:0001": ("ValueNotRecognized", "failure", "Content"),
    "EBMS:0002": ("FeatureNotSupported", "warning", "Content"),
    "EBMS:0003": ("ValueInconsistent", "failure", "Content"),
    "EBMS:0004": ("Other", "failure", "Content"),
    "EBMS:0005": ("ConnectionFailure", "failure", "Communication"),
    "EBMS:0007": ("MimeInconsistency", "failure", "Unpackaging"),
    "EBMS:0008": ("FeatureNotSupported", "failure", "Unpackaging"),
    "EBMS:0009": ("InvalidHeader", "failure", "Unpackaging"),
    "EBMS:0010": ("ProcessingModeMismatch", "failure", "Processing"),
    "EBMS:0011": ("ExternalPayloadError", "failure", "Content"),
    "EBMS:0101": ("FailedAuthentication", "failure", "Processing"),
    "EBMS:0102": ("FailedDecryption", "failure", "Processing"),
    "EBMS:0103": ("PolicyNoncompliance", "failure", "Processing"),
    "EBMS:0202": ("DeliveryFailure", "failure", "Communication"),
    "EBMS:0301": ("MissingReceipt", "failure", "Communication"),
    "EBMS:0302": ("InvalidReceipt", "failure", "Communication"),
    "EBMS:0303": ("DecompressionFailure", "failure", "Communication"),
    "EBMS:4001": ("DuplicateDetected", "failure", "Content"),
}


@dataclass(frozen=True)
class Answered:
    """What came back on the HTTP response."""

    status: int
    content_type: str
    body: bytes
    signal: as4.Signal


@dataclass
class Nodes:
    """Estonia sends, France receives; `delivered` is what France's consumer was given."""

    estonia: SmallNode
    france: SmallNode
    suite: as4.Suite
    delivered: list[Inbound] = field(default_factory=list)
    overheard: list[Transport] = field(default_factory=list)

    @property
    def terms(self) -> Terms:
        """What Estonia agreed with France, and the keys for it."""
        return terms(self.estonia.peers, self.estonia.parts.keys, FR)

    @property
    def terms_there(self) -> Terms:
        """The same, as France has it."""
        return terms(self.france.peers, self.france.parts.keys, EE)

    @property
    def agreed(self) -> as4.Agreement:
        return self.terms.agreement

    def message(self, *parts: as4.Part, **changes) -> as4.UserMessage:
        message = as4.UserMessage(
            message_id=new_message_id(EE),
            conversation_id="EE-2026-000123",
            sender=self.agreed.our_party,
            recipient=self.agreed.their_party,
            service=as4.SERVICE,
            action="events",
            timestamp=self.estonia.clock.now(),
            properties={"originalSender": "EE", "finalRecipient": "FR"},
            parts=parts or (as4.Part(content=XML, mime_type="application/xml"),),
        )
        return replace(message, **changes)

    def build(self, *parts: as4.Part, **changes) -> as4.Built:
        return as4.build(
            self.message(*parts, **changes),
            agreement=self.agreed,
            signer=self.terms.signer,
            encrypt_for=self.terms.encrypt_for,
        )

    def by_hand(self, *parts: Crafted, header: Callable[[str], str] = lambda unit: unit) -> as4.Built:
        """A message signed and encrypted by the right keys, whose parts and header are whatever the test wants."""
        token, key = os.urandom(16).hex(), os.urandom(16)
        sealed = []
        for number, part in enumerate(parts, start=1):
            nonce = os.urandom(12)
            one = building._Sealed(
                part=part.described,
                content_id=f"part-{number}@hand",
                digest=payload.digest(part.signed, part.signed_as),
                media_type=names.GZIP,
                ciphertext=part.afterwards(nonce + AESGCM(key).encrypt(nonce, part.encrypted, None)),
            )
            sealed.append(one)
        message, agreed = self.message(), self.agreed
        unit = header(building._user_message(message, agreed, agreed.services[0], sealed))
        encryption = building._encryption(
            sealed, key, token, agreement=agreed, encrypt_for=self.terms.encrypt_for, random=os.urandom
        )
        soap, references = signing.envelope(
            unit, token=token, security=encryption, attached=[building._reference(one) for one in sealed], form=agreed.signature_form,
            signer=self.terms.signer,
        )  # fmt: skip
        content_type, pieces = mime.pack(
            soap, [(one.content_id, one.ciphertext) for one in sealed], token=token, domain="ee"
        )
        return as4.Built(content_type=content_type, pieces=pieces, soap=soap, references=references)

    async def send(self, built: as4.Built) -> Answered:
        """Post these bytes over the node's own connections."""
        route = self.estonia.peers.route(FR)
        kept = self.estonia.parts.transport._connections(route)
        async with kept.session.post(
            route.as4_url, data=built.body, headers={"Content-Type": built.content_type}
        ) as answer:
            kind, body = answer.headers["Content-Type"], await answer.read()
            signal = as4.read_signal(kind, body, self.agreed, at=self.estonia.clock.now())
            return Answered(status=answer.status, content_type=kind, body=body, signal=signal)

    async def send_well(self, built: as4.Built) -> as4.Receipt:
        """Post; the answer must be a receipt that repeats what was signed."""
        answered = await self.send(built)
        check_receipt(answered, built)
        return answered.signal

    async def post(self, **more) -> None:
        """Give the node a message to send, as casework does."""
        values = {
            "message_id": new_message_id(EE), "recipient": FR, "order": "case", "conversation": "EE-2026-000123",
            "action": "events", "content": b"{}", "at": self.estonia.clock.now(),
        }  # fmt: skip
        await self.estonia.database.transact(lambda session: outbox.post(session, **(values | more)))

    async def posted(self, **more) -> OutboxRow:
        """As `post`, and sent until its receipt is stored: the outbox row."""
        await self.post(**more)
        await Lane(FR, self.estonia.parts).flush_once()
        return await self.outbox_row()

    async def outbox_row(self) -> OutboxRow:
        return await self.estonia.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())

    async def inbox_rows(self) -> Sequence[InboxRow]:
        return await self.france.database.read(lambda s: s.execute(select(InboxRow)).scalars().all())

    def overhear(self) -> list[tuple[str, bytes]]:
        """From now on, every body that Estonia posts, with its content type."""
        heard: list[tuple[str, bytes]] = []

        class Overheard(Transport):
            async def post_message(self, node, body, content_type):
                heard.append((content_type, body))
                return await super().post_message(node, body, content_type)

        transport = Overheard(self.estonia.parts.keys, self.estonia.peers)
        self.overheard.append(transport)
        self.estonia.parts = replace(self.estonia.parts, transport=transport)
        return heard


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """A part of a message put together by hand.

    `signed` is digested (as `signed_as`), `encrypted` is encrypted, `afterwards` is done to the ciphertext; the header
    says what `described` says.
    """

    signed: bytes
    encrypted: bytes
    signed_as: str = names.GZIP
    afterwards: Callable[[bytes], bytes] = lambda ciphertext: ciphertext
    described: as4.Part = XML_PART


def compressed(octets: bytes, **more) -> Crafted:
    """A part signed and encrypted as it should be, whose octets are said to be gzip."""
    return Crafted(signed=octets, encrypted=octets, **more)


def check_receipt(answered: Answered, built: as4.Built) -> None:
    assert isinstance(answered.signal, as4.Receipt), answered.signal
    header = parse(built)
    message_id = header.findtext(f".//{{{names.EB}}}MessageId")
    as4.check_receipt(answered.signal, message_id=message_id, sent=built.references)


def check_error(answered: Answered, code: str, *, about: as4.Built) -> None:
    """A signed error on the HTTP response, with this row of the table, about this message."""
    assert answered.status == 200
    assert isinstance(answered.signal, as4.ErrorSignal), answered.signal
    assert answered.signal.authenticated
    assert answered.signal.ref_to_message_id == parse(about).findtext(f".//{{{names.EB}}}MessageId")
    (error,) = etree.fromstring(answered.body).iter(f"{{{names.EB}}}Error")
    assert error.get("errorCode") == code
    assert (error.get("shortDescription"), error.get("severity"), error.get("category")) == EBMS[code]


def parse(built: as4.Built) -> etree._Element:
    return etree.fromstring(built.soap)


def opened(content_type: str, body: bytes) -> tuple[etree._Element, as4.Package]:
    """The envelope and the MIME parts of what was posted."""
    package = as4.unpack(content_type, body, as4.Limits())
    return etree.fromstring(package.soap), package


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


# --- nodes whose keys are of one suite ---


def _found(folder: Path, suite: str) -> None:
    """A federation of two nodes in which messages are of one suite: no entry names another."""
    publisher = prepare(folder, [EE, FR])
    if suite not in FAMILIES:
        return
    for node in (EE, FR):
        keys, state = folder / node / "keys", folder / "states" / node
        authority = StateAuthority.open(state)
        create_more_keys(keys, FAMILIES[suite])
        request = write_request(
            keys, node, ["127.0.0.1"], federation=entry(folder, node).federation, suites=(SUITES[suite].name,)
        )
        certificates = answer(authority, request)
        install(keys, certificates)
        listed = entry_for(authority, request, certificates)
        publisher.publish(node, load_state_key(state / "trust.key"), [listed], authority.crl_bytes())
    for node in (EE, FR):
        reader(folder, node).refresh()


@pytest.fixture(scope="session")
def founded(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a federation of one suite, made once for all tests."""
    made: dict[str, Path] = {}

    def of(suite: str) -> Path:
        if suite not in made:
            made[suite] = tmp_path_factory.mktemp("federation")
            _found(made[suite], suite)
        return made[suite]

    return of


@pytest.fixture(params=SUITES)
def suite(request) -> str:
    return request.param


@pytest.fixture
def folder(founded, suite, tmp_path) -> Path:
    return Path(shutil.copytree(founded(suite), tmp_path / "federation"))


@asynccontextmanager
async def two_nodes(folder: Path, suite: str, *, estonia=None, france=None) -> AsyncIterator[Nodes]:
    """Both nodes; nothing is sent but what a test sends. More arguments for each node may be given."""
    delivered: list[Inbound] = []
    consumer = {"deliver": lambda _session, inbound: delivered.append(inbound)}
    async with (
        SmallNode(folder, EE, **(estonia or {})).running(sending=False) as sender,
        SmallNode(folder, FR, **consumer, **(france or {})).running(sending=False) as receiver,
    ):
        nodes = Nodes(estonia=sender, france=receiver, suite=SUITES[suite], delivered=delivered)
        assert nodes.agreed.suite is SUITES[suite]
        yield nodes
        for transport in nodes.overheard:
            await transport.close()


@pytest.fixture
async def nodes(folder, suite) -> AsyncIterator[Nodes]:
    async with two_nodes(folder, suite) as both:
        yield both


@pytest.fixture
def pair(suite) -> Pair:
    return pair_of(PAIRS[suite])
