"""The lanes: one a destination, each with one batch in flight, each driven by a task that never gives up.

A lane claims the next messages (the first of each order key), builds those that are not built yet, stores the built
bytes, posts them over kept connections, and stores what came of it; docs/explanation/delivery.md numbers these lines
and says why each is safe to crash after. While a peer does not answer, a lane waits longer and longer and probes it with
a ping before it sends again; it wakes at once when the peer speaks to us, or when something new is posted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import Counter
from sqlalchemy.orm import Session

from node.clock import Clock
from node.errors import ImiError, Unavailable
from node.federation import as4, outbox
from node.federation.agreements import agreement, encryption_certificate
from node.federation.outbox import Waiting
from node.federation.peers import Peers
from node.federation.protocol import TELL_AFTER, Again, NeverAgain, Outcome, Received, delay, judge_answer
from node.federation.transport import Transport
from node.ids import NodeId, new_message_id
from node.local_store.database import Database
from pki.node_keys import NodeKeys

AS4_PATH: Final = "/imi/v1/as4"
IDLE_SECONDS: Final = 30.0  # a lane with nothing to do looks again after this, should a wake-up have been lost
_BIG: Final = 64 * 1024  # building more than this happens on a thread

OpenFile = Callable[[Session, str], bytes]
CrashAt = Callable[[str], None]

SENT = Counter("imi_messages_sent", "Messages posted to peers, by what came of it.", ["peer", "outcome"])
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderParts:
    """What all lanes work with."""

    database: Database
    clock: Clock
    peers: Peers
    keys: NodeKeys
    transport: Transport
    open_file: OpenFile
    undeliverable: Callable[[Session, Waiting], None]  # told once when a message had no receipt for a day
    crash_at: CrashAt = lambda _line: None
    dice: random.Random = field(default_factory=random.Random)


class Sender:
    """All lanes of a node."""

    def __init__(self, parts: SenderParts) -> None:
        self._parts = parts
        self._lanes: dict[NodeId, Lane] = {}
        self._group: asyncio.TaskGroup | None = None
        parts.database.session_info[outbox.WAKE] = self.wake

    @property
    def is_running(self) -> bool:
        """Whether the lanes are driven."""
        return self._group is not None

    async def run(self) -> None:
        """Drive the lanes until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for node in await self._parts.database.read(outbox.waiting_by_recipient):
                    self._lane(node)
                await asyncio.Event().wait()
        finally:
            self._group = None

    def wake(self, node: NodeId) -> None:
        """Something new is posted for a node, or it spoke to us: its lane tries now."""
        if self._group is not None:
            self._lane(node).wake()

    def states(self) -> dict[NodeId, tuple[int, str]]:
        """Failures in a row and the last reason, of every lane that has begun."""
        return {node: (lane.failures, lane.reason) for node, lane in self._lanes.items()}

    def _lane(self, node: NodeId) -> Lane:
        lane = self._lanes.get(node)
        if lane is None:
            assert self._group
            lane = self._lanes[node] = Lane(node, self._parts)
            self._group.create_task(lane.run(), name=f"lane to {node}")
        return lane


class Lane:
    """The queue to one node."""

    def __init__(self, node: NodeId, parts: SenderParts) -> None:
        self.node = node
        self.failures = 0
        self.reason = ""
        self._parts = parts
        self._wake = asyncio.Event()
        self._next_due: datetime | None = None
        self._is_new = True

    def wake(self) -> None:
        """Try now."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled; failures end inside."""
        while True:
            self._wake.clear()
            if not await self.flush_once():
                await self._pause()

    async def flush_once(self) -> bool:
        """One round, a failure counted and logged; True if there may be more to send at once."""
        try:
            return await self._round() and not self.failures
        except ImiError as error:
            self._failed(error)
        except Exception as error:  # a bug, or a failing disk: this lane tries again later, the others go on
            log.exception("lane failed", peer=self.node)
            self._failed(LaneFault(f"a fault of our own: {type(error).__name__}"))
        return False

    async def _round(self) -> bool:
        """Claim, build, store, post, store. True if there may be more at once."""
        parts = self._parts
        parts.peers.check_may_send()
        if self._is_new:
            await parts.database.transact(outbox.doubt_answers, self.node)
            self._is_new = False
        if self.failures:
            await self._probe()
        claimed = await parts.database.read(outbox.claim, self.node, at=parts.clock.now(), busy=frozenset[str]())
        if not claimed:
            self._next_due = await parts.database.read(outbox.next_due, self.node)
            return False
        parts.crash_at("claimed")
        ready = await self._build(claimed)
        parts.crash_at("built")
        outcomes = await asyncio.gather(*(self._attempt(waiting) for waiting in ready))
        parts.crash_at("answered")
        await parts.database.transact(_store_outcomes, parts, list(zip(ready, outcomes, strict=True)))
        parts.crash_at("receipts stored")
        self._count(outcomes)
        return True

    async def _build(self, claimed: Sequence[Waiting]) -> list[Waiting]:
        parts = self._parts
        unbuilt = [waiting for waiting in claimed if waiting.body is None]
        if not unbuilt:
            return list(claimed)
        found = await parts.database.read(_contents, parts.open_file, unbuilt)
        if lost := [(waiting, error) for waiting, error in found if isinstance(error, ImiError)]:
            await parts.database.transact(_park_lost, lost)
        built = await self._sign_and_encrypt([(w, c) for w, c in found if isinstance(c, tuple)])
        parts.crash_at("signed")
        await parts.database.transact(outbox.store_built, built)
        bodies = {number: (kind, body, signed) for number, kind, body, signed, _ in built}
        return [ready for waiting in claimed if (ready := _with_body(waiting, bodies)).body is not None]

    async def _sign_and_encrypt(
        self, work: Sequence[tuple[Waiting, tuple[as4.Part, ...]]]
    ) -> list[tuple[int, str, bytes, str, bytes]]:
        if sum(len(part.content) for _, found in work for part in found) > _BIG:
            return await asyncio.to_thread(lambda: [self._built(waiting, found) for waiting, found in work])
        return [self._built(waiting, found) for waiting, found in work]

    def _built(self, waiting: Waiting, found: tuple[as4.Part, ...]) -> tuple[int, str, bytes, str, bytes]:
        parts = self._parts
        agreed = agreement(parts.peers, self.node)
        message = as4.UserMessage(
            message_id=waiting.message_id,
            conversation_id=waiting.conversation,
            sender=agreed.our_party,
            recipient=agreed.their_party,
            service=agreed.service,
            action=waiting.action,
            timestamp=waiting.posted_at,
            properties={"originalSender": parts.peers.us, "finalRecipient": self.node, **waiting.properties},
            parts=found,
        )
        certificate = encryption_certificate(parts.peers.get(self.node))
        built = as4.build(message, agreement=agreed, signer=parts.keys.signer, encrypt_for=certificate)
        return waiting.id, built.content_type, built.body, as4.dump_references(built.references), _own(parts.keys)

    async def _attempt(self, waiting: Waiting) -> Outcome | ImiError:
        """Post the stored bytes; what the answer means. ImiError: there was none that can be judged."""
        parts = self._parts
        assert waiting.body is not None
        try:
            kind, answer = await parts.transport.post(self.node, AS4_PATH, waiting.body, waiting.content_type)
            signal = as4.read_signal(kind, answer, agreement(parts.peers, self.node), at=datetime.now(UTC))
        except as4.As4Error as error:
            return Again(reason=str(error))
        except ImiError as error:  # no answer; or the peer left the trust list meanwhile
            return error
        outcome = judge_answer(
            signal,
            message_id=waiting.message_id,
            signed=as4.load_references(waiting.signed),
            unanswered=waiting.unanswered,
        )
        return replace(outcome, soap=answer) if isinstance(outcome, Received) and outcome.receipt else outcome

    async def _probe(self) -> None:
        """A ping before the queue moves again. Raises Unavailable or PeerError."""
        await ping(self._parts, self.node)
        log.info("peer answers again", peer=self.node, failures=self.failures)
        self.failures, self.reason = 0, ""

    def _count(self, outcomes: Sequence[Outcome | ImiError]) -> None:
        for outcome in outcomes:
            SENT.labels(self.node, type(outcome).__name__).inc()
        silent = [outcome for outcome in outcomes if isinstance(outcome, ImiError)]
        if silent:
            self._failed(silent[0])
        elif outcomes:
            self.failures, self.reason = 0, ""

    def _failed(self, error: ImiError) -> None:
        self.failures += 1
        self.reason = str(error)
        log.warning("peer does not answer", peer=self.node, failures=self.failures, code=error.code, reason=str(error))

    async def _pause(self) -> None:
        """Wait for a wake-up, for the end of the back-off, or for the next message whose own back-off ends."""
        seconds = IDLE_SECONDS
        if self.failures:
            seconds = delay(self.failures, self._parts.dice.random()).total_seconds()
        elif self._next_due is not None:
            seconds = min(seconds, max(0.05, (self._next_due - self._parts.clock.now()).total_seconds()))
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


async def ping(parts: SenderParts, node: NodeId) -> None:
    """The test service: proves address, TLS, trust, certificates and clock of a peer.

    Raises:
        Unavailable: no answer, or an answer that is no receipt for this ping.
        PeerError: the peer is not listed.
    """
    agreed = agreement(parts.peers, node)
    message = as4.UserMessage(
        message_id=new_message_id(parts.peers.us),
        conversation_id="ping",
        sender=agreed.our_party,
        recipient=agreed.their_party,
        service=as4.TEST_SERVICE,
        action=as4.TEST_ACTION,
        timestamp=parts.clock.now(),
        properties={"originalSender": parts.peers.us, "finalRecipient": node},
    )
    certificate = encryption_certificate(parts.peers.get(node))
    built = as4.build(message, agreement=agreed, signer=parts.keys.signer, encrypt_for=certificate)
    kind, answer = await parts.transport.post(node, AS4_PATH, built.body, built.content_type)
    try:
        signal = as4.read_signal(kind, answer, agreed, at=datetime.now(UTC))
        if not isinstance(signal, as4.Receipt):
            raise NoPong(f"{node} answers the ping with {signal.code} {signal.short_description}", node=node)
        as4.check_receipt(signal, message_id=message.message_id, sent=built.references)
    except as4.As4Error as error:
        raise NoPong(f"{node} does not answer the ping with a receipt: {error}", node=node) from error


class NoPong(Unavailable):
    """A peer answers, but not with a receipt for our ping."""

    code = "unavailable.no-pong"


class LaneFault(Unavailable):
    """A lane failed by a bug or by this machine (the log has it in full); it tries again later."""

    code = "unavailable.lane-fault"


def _contents(
    session: Session, open_file: OpenFile, unbuilt: Sequence[Waiting]
) -> list[tuple[Waiting, tuple[as4.Part, ...] | ImiError]]:
    """Each message with its parts, or with the reason why they cannot be had."""
    found: list[tuple[Waiting, tuple[as4.Part, ...] | ImiError]] = []
    for waiting in unbuilt:
        try:
            found.append((waiting, _parts_of(session, open_file, waiting)))
        except ImiError as error:
            found.append((waiting, error))
    return found


def _park_lost(session: Session, lost: Sequence[tuple[Waiting, ImiError]]) -> None:
    """A message whose content is gone cannot be sent: it parks its own order key, not the lane."""
    for waiting, error in lost:
        outbox.store_refused(session, waiting, reason=f"not sent: {error}")
        log.error("message cannot be built", peer=waiting.recipient, message_id=waiting.message_id, code=error.code)


def _parts_of(session: Session, open_file: OpenFile, waiting: Waiting) -> tuple[as4.Part, ...]:
    content = waiting.content if waiting.content is not None else open_file(session, waiting.content_reference)
    domain = waiting.message_id.rpartition("@")[2]
    files = (
        as4.Part(content=open_file(session, file.reference), mime_type=file.mime, content_id=f"{file.name}@{domain}")
        for file in waiting.files
    )
    return as4.Part(content=content, mime_type="application/json"), *files


def _with_body(waiting: Waiting, bodies: dict[int, tuple[str, bytes, str]]) -> Waiting:
    if waiting.id not in bodies:
        return waiting
    kind, body, signed = bodies[waiting.id]
    return outbox.with_body(waiting, content_type=kind, body=body, signed=signed)


def _store_outcomes(
    session: Session, parts: SenderParts, outcomes: Sequence[tuple[Waiting, Outcome | ImiError]]
) -> None:
    now = parts.clock.now()
    for waiting, outcome in outcomes:
        match outcome:
            case Received(receipt=receipt, soap=soap):
                certificate = receipt.certificate.public_bytes(Encoding.DER) if receipt else None
                outbox.store_received(session, waiting.id, at=now, receipt=soap or None, certificate=certificate)
            case NeverAgain(reason=reason):
                outbox.store_refused(session, waiting, reason=reason)
                log.error(
                    "message refused by peer", peer=waiting.recipient, message_id=waiting.message_id, reason=reason
                )
            case Again(reason=reason):
                again = now + delay(waiting.attempts + 1, parts.dice.random())
                outbox.store_failure(session, waiting.id, reason=reason, again_at=again, unanswered=True)
            case ImiError():
                outbox.store_failure(session, waiting.id, reason=str(outcome), again_at=now, unanswered=True)
        if not isinstance(outcome, Received):
            _tell_if_late(session, parts, waiting, now)


def _tell_if_late(session: Session, parts: SenderParts, waiting: Waiting, now: datetime) -> None:
    """EBMS:0301, to our own side: a day has passed without a receipt."""
    if waiting.told_at is None and now - waiting.posted_at > TELL_AFTER:
        parts.undeliverable(session, waiting)
        outbox.store_told(session, waiting.id, at=now)
        log.error("no receipt for a day", peer=waiting.recipient, message_id=waiting.message_id, ebms="EBMS:0301")


def _own(keys: NodeKeys) -> bytes:
    assert keys.signer.certificate is not None
    return keys.signer.certificate.public_bytes(Encoding.DER)
