"""Taking messages: every check in a fixed order, then one transaction, then the receipt (docs/reference/wire-format.md).

    1 size, MIME, part count      5 signature, and what it covers       8 decompression, bounded
    2 XML, header                 6 decryption; parts are those signed  9 one transaction: inbox row, receipt, effects
    3 sender is who is connected, 7 known id: the stored receipt        10 answer
      or behind it as its relay
    4 agreement with the sender

Nothing is answered with a receipt before it is stored; a crash after line 9 leads to a repeat, which line 7 answers.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, ParamSpec, TypeVar, cast

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import Counter
from sqlalchemy import Table, insert, select, text, update
from sqlalchemy.orm import Session

from node.clock import Clock
from node.errors import PeerError
from node.federation import as4, rejections
from node.federation.agreements import terms
from node.federation.peers import Peer, Peers
from node.federation.protocol import judge_carrier
from node.ids import MessageId, NodeId, new_message_id
from node.local_store.bodies import Bodies, Draft
from node.local_store.database import Database
from node.local_store.messages import InboxRow
from pki.node_keys import NodeKeys

P = ParamSpec("P")
T = TypeVar("T")
LIMITS: Final = as4.Limits()
SIGNAL_TYPE: Final = "application/soap+xml; charset=UTF-8"
_BIG: Final = 64 * 1024  # more than this is read on a thread
_table = cast("Table", InboxRow.__table__)

RECEIVED = Counter("imi_messages_received", "Messages from peers, by what came of it.", ["peer", "outcome"])
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message as it is handed to casework, in the transaction that stores it."""

    message_id: MessageId
    sender: NodeId
    conversation: str
    service: str
    ref_to_message_id: str | None
    action: str
    properties: Mapping[str, str]
    parts: tuple[as4.Part, ...]
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """An HTTP body: in memory, or in a file that stays if the message is taken."""

    data: bytes | mmap.mmap
    draft: Draft | None = None


Deliver = Callable[[Session, Inbound], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back on the HTTP response. `sender` is whose message it was, once its signature has shown that."""

    content_type: str
    body: bytes
    sender: NodeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A message that passed checks 1 to 6."""

    decrypted: as4.Decrypted
    certificate: bytes
    receipt: bytes
    receipt_certificate: bytes


class Receiver:
    """The federation door's part for messages.

    `deliver` runs in the transaction that stores the message; a business problem is held there, not raised: whatever it
    raises is a bug, answered with EBMS:0004, and nothing is stored.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        peers: Peers,
        keys: NodeKeys,
        bodies: Bodies,
        deliver: Deliver,
        crash_at: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._database, self._clock, self._peers, self._keys = database, clock, peers, keys
        self._bodies, self._deliver, self._crash_at = bodies, deliver, crash_at

    def largest(self, peer: Peer) -> int:
        """The longest body that is read from a peer, in bytes."""
        return (peer.terms.limits if peer.terms else LIMITS).entity

    async def receive(self, carrier: Peer, content_type: str, body: Body) -> Answer:
        """Judge, store and answer one message; `carrier` is who is connected, as TLS and the trust list say.

        That is the sender, or a relay. Once the sender is known, all that follows is between it and us: agreement, keys,
        known ids, refusals.
        """
        peer = carrier
        try:
            read = await self._in_turn(body, self._read, carrier, content_type, body.data)
            peer = read.sender
            opened = await self._in_turn(body, self._open, read)
        except as4.As4Error as error:
            return await self._refuse(peer, error)
        except PeerError as error:
            return await self._refuse(peer, as4.NotAgreed(str(error)))
        except Exception:  # a bug of ours in reading: refused like any other, and we hear of it
            log.exception("message not read", peer=peer.node, size_bytes=len(body.data))
            RECEIVED.labels(peer.node, "fault").inc()
            return self._error(peer, as4.As4Error, None)
        return await self._settle(peer, content_type, body, opened)

    async def _settle(self, peer: Peer, content_type: str, body: Body, opened: _Opened) -> Answer:
        header = opened.decrypted.header
        try:
            self._crash_at("opened")
            if header.is_test:
                await asyncio.to_thread(as4.decompress, opened.decrypted, None, self._bodies.spool)
                return _receipt(opened.receipt, peer.node)
            stored = await self._store(peer, content_type, body, opened)
        except as4.As4Error as error:
            return await self._refuse(peer, error)
        except Exception:  # a bug of ours: the peer keeps the message and tries again, and we hear of it
            log.exception("message not stored", peer=peer.node, message_id=header.message_id)
            RECEIVED.labels(peer.node, "fault").inc()
            return self._error(peer, as4.As4Error, header.message_id)
        self._crash_at("stored")
        RECEIVED.labels(peer.node, "repeat" if stored.is_repeat else "received").inc()
        phrase = "message repeated" if stored.is_repeat else "message received"
        log.info(phrase, peer=peer.node, message_id=header.message_id, action=header.action)
        return _receipt(stored.receipt, peer.node)

    async def _in_turn(self, body: Body, act: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What takes long with a large body, on a thread."""
        if len(body.data) > _BIG:
            return await asyncio.to_thread(act, *args, **kwargs)
        return act(*args, **kwargs)

    def _read(self, carrier: Peer, content_type: str, body: bytes | mmap.mmap) -> _Read:
        """Checks 1 to 3. Raises As4Error."""
        limits = carrier.terms.limits if carrier.terms else LIMITS
        package = as4.unpack(content_type, body, limits)
        header = as4.parse_soap(package, limits)
        party = carrier.terms.their_party if carrier.terms else as4.party_of(carrier.node)
        sender = carrier if header.sender.id == party else self._peers.of_party(header.sender.id)
        carriers = () if sender is None else self._peers.carriers(sender)
        judge_carrier(header, carriers, carrier=carrier.node, party=party)
        assert sender is not None
        return _Read(package, header, sender)

    def _open(self, read: _Read) -> _Opened:
        """Checks 4 to 6, and the receipt that would answer. Raises As4Error or PeerError."""
        package, header = read.package, read.header
        found = terms(self._peers, self._keys, read.sender.node)
        agreed = found.agreement
        at = datetime.now(UTC)  # certificates are judged by the system's clock
        verified = as4.verify(package, header, agreed, at=at)
        decrypted = as4.decrypt(verified, self._keys.decrypters, self._bodies.spool)
        receipt = as4.build_receipt(
            verified.references,
            ref_to_message_id=header.message_id,
            message_id=new_message_id(self._peers.us),
            at=at,
            form=agreed.signature_form,
            signer=found.signer,
        )
        assert found.signer.certificate is not None
        return _Opened(
            decrypted=decrypted,
            certificate=verified.certificate.public_bytes(Encoding.DER),
            receipt=receipt.body,
            receipt_certificate=found.signer.certificate.public_bytes(Encoding.DER),
        )

    async def _store(self, peer: Peer, content_type: str, body: Body, opened: _Opened) -> _Stored:
        """Lines 7 to 9. A small message is decompressed in its transaction, a large one on a thread before."""
        message: as4.UserMessage | None = None
        kept, is_known = "", False
        if len(body.data) > _BIG:
            known = await self._database.read(_known, peer.node, opened.decrypted.header.message_id)
            is_known = known is not None  # for ever: its bytes are not needed again
            if known is None:
                message = await asyncio.to_thread(as4.decompress, opened.decrypted, None, self._bodies.spool)
            if known is None and body.draft is not None:
                kept = await asyncio.to_thread(body.draft.keep)
        try:
            stored = await self._database.transact(
                self._store_and_deliver, peer, opened, message,
                content_type=content_type, body=b"" if kept or is_known else body.data[:], body_file=kept,
            )  # fmt: skip
        except Exception:  # not when cancelled: it may be stored all the same, and the row names the file
            if kept:
                self._bodies.delete(kept)
            raise
        if stored.is_repeat and kept:
            self._bodies.delete(kept)
        return stored

    def _store_and_deliver(
        self,
        session: Session,
        peer: Peer,
        opened: _Opened,
        message: as4.UserMessage | None,
        *,
        content_type: str,
        body: bytes,
        body_file: str,
    ) -> _Stored:
        """All or nothing; or, if the id is known, the very receipt of the first time. Raises ClashingRepeat."""
        decrypted, sender = opened.decrypted, peer.node
        known = _known(session, sender, decrypted.header.message_id)
        if known is not None:
            _check_same(opened, known)
            _count_repeat(session, known.id)
            return _Stored(known.receipt, is_repeat=True)
        inbound = _inbound(message or as4.decompress(decrypted, None, self._bodies.spool), sender, self._clock.now())
        values = {
            "sender": sender,
            "message_id": inbound.message_id,
            "conversation": inbound.conversation,
            "service": inbound.service,
            "ref_to_message_id": inbound.ref_to_message_id,
            "action": inbound.action,
            "received_at": inbound.received_at,
            "signed": as4.dump_references(decrypted.references),
            "content_type": content_type,
            "body": body,
            "body_file": body_file,
            "signing_certificate": opened.certificate,
            "receipt": opened.receipt,
            "receipt_certificate": opened.receipt_certificate,
            "repeats": 0,
        }
        session.connection().execute(_INSERT, values)
        if not peer.is_outside:  # what others send is kept for the operators: it is no business of our procedures
            self._deliver(session, inbound)
        self._crash_at("before commit")
        return _Stored(opened.receipt, is_repeat=False)

    async def _refuse(self, peer: Peer, error: as4.As4Error) -> Answer:
        RECEIVED.labels(peer.node, "refused").inc()
        alarm = log.error if isinstance(error, as4.ClashingRepeat) else log.warning
        alarm(
            "message refused", peer=peer.node, message_id=error.message_id, code=error.code, ebms=error.ebms.code,
            reason=str(error), field=error.field, expected=error.expected, received=error.received,
        )  # fmt: skip
        await self._note(peer, error)
        if isinstance(error, as4.UnexpectedUnit):  # two nodes could answer each other's signals for ever
            return Answer(content_type="text/plain; charset=UTF-8", body=b"")
        return self._error(peer, error, error.message_id)

    async def _note(self, peer: Peer, error: as4.As4Error) -> None:
        """Keep it for the operators; the answer does not wait for better times if that fails."""
        try:
            await self._database.transact(rejections.add, peer.node, error, at=self._clock.now())
        except Exception:
            log.exception("rejection not kept", peer=peer.node)

    def _error(self, peer: Peer, error: as4.As4Error | type[as4.As4Error], message_id: str | None) -> Answer:
        """The signed error, in the suite agreed with the peer."""
        try:
            found = terms(self._peers, self._keys, peer.node)
            form, signer = found.agreement.signature_form, found.signer
        except PeerError:
            form, signer = as4.SignatureForm(suite=as4.COMMON), self._keys.signer
        built = as4.build_error(
            error,
            ref_to_message_id=message_id,
            message_id=new_message_id(self._peers.us),
            at=datetime.now(UTC),
            form=form,
            signer=signer,
        )
        return Answer(content_type=built.content_type, body=built.body)


@dataclass(frozen=True, slots=True)
class _Read:
    """A message that passed checks 1 to 3. `sender` is still only what it says."""

    package: as4.Package
    header: as4.Header
    sender: Peer


@dataclass(frozen=True, slots=True)
class _Stored:
    receipt: bytes
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    signed: str
    receipt: bytes


_INSERT: Final = insert(_table)
_KNOWN: Final = text("SELECT id, signed, receipt FROM inbox WHERE sender = :sender AND message_id = :message_id")


def _known(session: Session, sender: NodeId, message_id: str) -> _Known | None:
    row = session.connection().execute(_KNOWN, {"sender": sender, "message_id": message_id}).first()
    return _Known(row.id, row.signed, row.receipt) if row else None


def body_files(session: Session) -> frozenset[str]:
    """The files that messages received lie in."""
    return frozenset(session.execute(select(_table.c.body_file).where(_table.c.body_file != "")).scalars())


def _inbound(message: as4.UserMessage, sender: NodeId, at: datetime) -> Inbound:
    return Inbound(
        message_id=MessageId(message.message_id),
        sender=sender,
        conversation=message.conversation_id,
        service=message.service,
        ref_to_message_id=message.ref_to_message_id,
        action=message.action,
        properties=message.properties,
        parts=message.parts,
        received_at=at,
    )


def _check_same(opened: _Opened, known: _Known) -> None:
    if not as4.same_content(opened.decrypted.references, as4.load_references(known.signed)):
        raise as4.ClashingRepeat("a known message id with other content", message_id=opened.decrypted.header.message_id)


def _count_repeat(session: Session, number: int) -> None:
    session.execute(
        update(InboxRow)
        .where(_table.c.id == number)
        .values(repeats=_table.c.repeats + 1)
        .execution_options(synchronize_session=False)
    )


def _receipt(soap: bytes, sender: NodeId) -> Answer:
    return Answer(content_type=SIGNAL_TYPE, body=soap, sender=sender)
