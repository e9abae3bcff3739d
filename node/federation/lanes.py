"""A lane: the queue to one node, driven by a task that never gives up.

A lane carries batches: it claims the next messages (the first of each order key), builds those that are not built yet,
stores the built bytes, posts them over kept connections, and stores what came of it; docs/explanation/delivery.md
numbers these lines and says why each is safe to crash after. Two batches overlap, so that one is built and stored while
the other is on the wire; together they are the 32 messages that may be in flight.

While a peer does not answer, a lane waits longer and longer and probes it with a ping before it sends again. Only time,
a sign of life of the peer or a new trust list ends such a wait: what is posted meanwhile does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import Counter
from sqlalchemy.orm import Session

from node.clock import Clock
from node.errors import ImiError, Unavailable
from node.federation import as4, attempts, outbox
from node.federation.agreements import terms
from node.federation.attempts import Answered
from node.federation.outbox import Waiting
from node.federation.packing import Built, Unbuildable, pack, read_contents
from node.federation.peers import Peers
from node.federation.protocol import USUAL, Again, NeverAgain, Received, delay, judge_answer
from node.federation.transport import PeerAnswered, Transport, Unreachable
from node.ids import NodeId, new_message_id
from node.local_store.bodies import Bodies
from node.local_store.database import Database
from pki.node_keys import NodeKeys

IDLE_SECONDS: Final = 30.0  # a lane with nothing to do looks again after this, should a wake-up have been lost
OVERLAP: Final = 2  # batches under way at once
LINGER_SECONDS: Final = 0.25  # answers are stored together, but none waits longer than this for a slower one
PROBE_SECONDS: Final = 1.0  # a peer that speaks is probed at once, yet not more often than this
_BIG: Final = 64 * 1024  # building more than this happens on a thread
_OF_THE_MESSAGE: Final = frozenset({400, 413, 415})  # HTTP refusals that say nothing about the peer

OpenFile = Callable[[Session, str], as4.Content]
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
    bodies: Bodies
    open_file: OpenFile
    undeliverable: Callable[[Session, Waiting], None]  # told once when a message had no receipt for a day
    crash_at: CrashAt = lambda _line: None
    dice: random.Random = field(default_factory=random.Random)


class NoPong(Unavailable):
    """A peer answers, but not with a receipt for our ping."""

    code = "unavailable.no-pong"


class _BytesLost(Exception):
    """The file with the bytes of one message is gone."""


class LaneFault(Unavailable):
    """A lane failed by a bug or by this machine (the log has it in full); it tries again later."""

    code = "unavailable.lane-fault"


class Lane:
    """The queue to one node."""

    def __init__(self, node: NodeId, parts: SenderParts) -> None:
        self.node = node
        self.failures = 0
        self.reason = ""
        self.silent = node  # who did not answer: the node, or the relay before it
        self._parts = parts
        self._busy: dict[str, int] = {}  # order key -> id of its message under way
        self._turn = asyncio.Lock()  # one batch is claimed at a time
        self._due = asyncio.Event()  # something may be due
        self._sign_of_life = asyncio.Event()
        self._failed_at = 0.0  # of the loop's clock
        self._is_new = True

    def posted(self) -> None:
        """Something new is in the outbox."""
        self._due.set()

    def wake(self) -> None:
        """There is reason to believe that the peer answers now: back-off ends."""
        if self.failures:
            self._sign_of_life.set()

    async def run(self) -> None:
        """Send until cancelled; failures, expected or not, end inside and are tried again."""
        async with asyncio.TaskGroup() as group:
            for number in range(OVERLAP):
                group.create_task(self._carry_on(), name=f"lane to {self.node}, {number}")

    async def flush_once(self) -> bool:
        """One batch now, back-off or not; False if there was nothing to send, or it could not be sent."""
        claimed: list[Waiting] = []
        with self._failures_end_here():
            claimed = await self._claim(outbox.BATCH)
            await self._carry(claimed)
        return bool(claimed) and not self.failures

    async def _carry_on(self) -> None:
        while True:
            async with self._turn:
                claimed = await self._next()
            with self._failures_end_here():
                await self._carry(claimed)

    async def _next(self) -> list[Waiting]:
        """The next batch; waits until there is one and the peer is believed to answer."""
        while True:
            if self.failures:
                await self._back_off()
            self._due.clear()
            with self._failures_end_here():
                claimed = await self._claim(outbox.BATCH // OVERLAP)
                if claimed:
                    return claimed
                await self._pause()

    async def _claim(self, limit: int) -> list[Waiting]:
        parts = self._parts
        parts.peers.check_may_send()
        if self._is_new:
            await parts.database.transact(outbox.doubt_answers, self.node)
            self._is_new = False
        if self.failures:
            await ping(parts, self.node)
            log.info("peer answers again", peer=self.node, failures=self.failures)
            self._answered()
        busy, now = frozenset(self._busy), parts.clock.now()
        claimed = await parts.database.read(outbox.claim, self.node, at=now, busy=busy, limit=limit)
        self._busy.update((waiting.order_key, waiting.id) for waiting in claimed)
        return claimed

    async def _carry(self, claimed: Sequence[Waiting]) -> None:
        """Build, store, post, store."""
        parts = self._parts
        try:
            parts.crash_at("claimed")
            ready = await self._build(claimed)
            parts.crash_at("built")
            await self._post_all(ready)
        finally:
            self._free(claimed)

    async def _build(self, claimed: Sequence[Waiting]) -> list[Waiting]:
        """The messages with the bytes to post, those just built stored first; too many bytes are left for another time."""
        parts = self._parts
        unbuilt = [waiting for waiting in claimed if not waiting.is_built]
        if not unbuilt:
            return list(claimed)
        found = await parts.database.read(read_contents, parts.open_file, unbuilt)
        built, failed = await self._pack(found)
        parts.crash_at("signed")
        try:
            stored = await parts.database.transact(_store_built, built, failed)
        except Exception:  # not when cancelled: they may be stored all the same
            await self._discard(built)
            raise
        await self._discard([item for item in built if item.waiting.id not in stored])
        now_built = {item.waiting.id: item.ready() for item in built if item.waiting.id in stored}
        return [ready for waiting in claimed if (ready := now_built.get(waiting.id, waiting)).is_built]

    async def _discard(self, built: Sequence[Built]) -> None:
        """Remove the files of what was built for nothing."""
        for item in built:
            if item.bytes.body_file:
                await asyncio.to_thread(self._parts.bodies.delete, item.bytes.body_file)

    async def _pack(
        self, found: Sequence[tuple[Waiting, tuple[as4.Part, ...] | Unbuildable]]
    ) -> tuple[list[Built], list[tuple[Waiting, Unbuildable]]]:
        parts = self._parts
        agreed = terms(parts.peers, parts.keys, self.node)
        size = sum(
            as4.size_of(part.content) for _, contents in found if isinstance(contents, tuple) for part in contents
        )
        if size > _BIG:
            return await asyncio.to_thread(pack, found, agreed, parts.bodies)
        return pack(found, agreed, parts.bodies)

    async def _post_all(self, ready: Sequence[Waiting]) -> None:
        async with asyncio.TaskGroup() as group:
            flying = {group.create_task(self._attempt(waiting)): waiting for waiting in ready}
            pending = set(flying)
            while pending:
                done, pending = await asyncio.wait(pending, timeout=LINGER_SECONDS)
                if done:
                    await self._settle([(flying[task], task.result()) for task in done])

    async def _settle(self, answers: Sequence[tuple[Waiting, Answered]]) -> None:
        parts = self._parts
        parts.crash_at("answered")
        await parts.database.transact(_store_outcomes, parts, answers)
        parts.crash_at("receipts stored")
        outcomes = [(waiting, answered.outcome) for waiting, answered in answers]
        for _, outcome in outcomes:
            SENT.labels(self.node, type(outcome).__name__).inc()
        silent = [outcome for _, outcome in outcomes if isinstance(outcome, ImiError)]
        if silent:
            self._failed(silent[0])
        else:
            self._answered()
        self._free([waiting for waiting, _ in outcomes])

    async def _attempt(self, waiting: Waiting) -> Answered:
        """Post the stored bytes; what came back, and how long that took."""
        begun = time.monotonic()
        try:
            answered = await self._post_one(waiting)
        except Exception as error:  # a fault of our own with this message must not take the others' answers with it
            log.exception("message not posted", peer=self.node, message_id=waiting.message_id)
            answered = Answered(outcome=Again(reason=f"a fault of our own: {type(error).__name__}"))
        return replace(answered, milliseconds=round((time.monotonic() - begun) * 1000))

    async def _post_one(self, waiting: Waiting) -> Answered:
        """The outcome is an ImiError where there was no answer, whatever the message."""
        parts = self._parts
        try:
            agreed = terms(parts.peers, parts.keys, self.node).agreement
            kind, answer = await self._post(waiting)
        except PeerAnswered as error:
            outcome = Again(reason=str(error)) if error.status in _OF_THE_MESSAGE else error
            return Answered(outcome=outcome, status=error.status)
        except ImiError as error:
            return Answered(outcome=error)
        except _BytesLost as error:
            return Answered(outcome=NeverAgain(reason=f"not sent: {error}"))
        try:
            signal = as4.read_signal(kind, answer, agreed, at=datetime.now(UTC))
        except as4.As4Error as error:
            return Answered(outcome=Again(reason=str(error)))
        judged = judge_answer(
            signal,
            message_id=waiting.message_id,
            signed=as4.load_references(waiting.signed),
            unanswered=waiting.unanswered,
        )
        if isinstance(judged, Received) and judged.receipt:
            judged = replace(judged, soap=answer)
        return Answered(outcome=judged, signal=signal)

    async def _post(self, waiting: Waiting) -> tuple[str, bytes]:
        parts = self._parts
        if waiting.body is not None:
            return await parts.transport.post_message(self.node, waiting.body, waiting.content_type)
        try:
            opened = await asyncio.to_thread(parts.bodies.open, waiting.body_file)
        except FileNotFoundError as error:  # whatever else keeps a file from being opened may pass
            raise _BytesLost("its bytes are not on this node any more") from error
        with opened as file:
            return await parts.transport.post_message(self.node, file, waiting.content_type)

    def _free(self, waiting: Sequence[Waiting]) -> None:
        """The next of these order keys may go; a key the other batch has claimed meanwhile stays with it."""
        for item in waiting:
            if self._busy.get(item.order_key) == item.id:
                del self._busy[item.order_key]
        self._due.set()

    def _answered(self) -> None:
        self.failures, self.reason, self.silent = 0, "", self.node
        self._sign_of_life.clear()

    def _failed(self, error: ImiError) -> None:
        self.failures += 1
        self.reason = str(error)
        self.silent = error.door if isinstance(error, Unreachable) else self.node
        self._failed_at = asyncio.get_running_loop().time()
        log.warning("peer does not answer", peer=self.node, failures=self.failures, code=error.code, reason=str(error))

    @contextlib.contextmanager
    def _failures_end_here(self) -> Iterator[None]:
        """Whatever fails is counted and tried again after a while: one lane's fault must not stop the others."""
        try:
            yield
        except ImiError as error:
            self._failed(error)
        except Exception as error:
            expected = _expected(error)
            if expected is None:
                log.exception("lane failed", peer=self.node)
            self._failed(expected or LaneFault(f"a fault of our own: {type(error).__name__}"))

    async def _back_off(self) -> None:
        """Wait for the end of the back-off, or for a sign of life."""
        seconds = delay(self.failures, self._parts.dice.random(), _retry(self._parts, self.node)).total_seconds()
        await _wait(self._sign_of_life, self._failed_at + seconds - asyncio.get_running_loop().time())
        self._sign_of_life.clear()
        await asyncio.sleep(self._failed_at + PROBE_SECONDS - asyncio.get_running_loop().time())

    async def _pause(self) -> None:
        """Wait until something new may be due."""
        due = await self._parts.database.read(outbox.next_due, self.node, busy=frozenset(self._busy))
        seconds = IDLE_SECONDS
        if due is not None:
            seconds = min(seconds, max(0.05, (due - self._parts.clock.now()).total_seconds()))
        await _wait(self._due, seconds)


def _retry(parts: SenderParts, node: NodeId) -> as4.Retry:
    """As agreed with the peer, while it is one."""
    try:
        return terms(parts.peers, parts.keys, node).agreement.retry
    except ImiError:
        return USUAL


def _expected(error: Exception) -> ImiError | None:
    """The failure a task group wrapped up, if nothing but expected ones is in it."""
    if not isinstance(error, ExceptionGroup):
        return None
    expected, other = error.split(ImiError)
    first = expected.exceptions[0] if expected is not None and other is None else None
    return first if isinstance(first, ImiError) else None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0.0)):
            await event.wait()


async def ping(parts: SenderParts, node: NodeId) -> None:
    """The test service: proves address, TLS, trust, certificates and clock of a peer.

    Raises:
        Unavailable: no answer, or an answer that is no receipt for this ping.
        PeerError: the peer is not listed.
    """
    found = terms(parts.peers, parts.keys, node)
    agreed = found.agreement
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
    built = as4.build(message, agreement=agreed, signer=found.signer, encrypt_for=found.encrypt_for)
    kind, answer = await parts.transport.post_message(node, built.body, built.content_type)
    try:
        signal = as4.read_signal(kind, answer, agreed, at=datetime.now(UTC))
        if isinstance(signal, as4.ErrorSignal) and parts.peers.get(node).is_outside:
            log.info("peer refuses the test service, and so is alive", peer=node, code=signal.code)
            return
        if not isinstance(signal, as4.Receipt):
            raise NoPong(f"{node} answers the ping with {signal.code} {signal.short_description}", node=node)
        as4.check_receipt(signal, message_id=message.message_id, sent=built.references)
    except as4.As4Error as error:
        raise NoPong(f"{node} does not answer the ping with a receipt: {error}", node=node) from error


def _store_built(
    session: Session, built: Sequence[Built], failed: Sequence[tuple[Waiting, Unbuildable]]
) -> frozenset[int]:
    """What can be sent is kept as it will be sent: their ids; what cannot parks its own order key, not the lane."""
    for waiting, why in failed:
        outbox.store_refused(session, waiting, reason=f"not sent: {why.reason}")
    return outbox.store_built(session, [item.bytes for item in built])


def _store_outcomes(session: Session, parts: SenderParts, answers: Sequence[tuple[Waiting, Answered]]) -> None:
    now = parts.clock.now()
    outcomes = [(waiting, answered.outcome) for waiting, answered in answers]
    attempts.add(session, [(waiting.id, waiting.attempts, answered) for waiting, answered in answers], at=now)
    received = [_evidence(waiting, outcome) for waiting, outcome in outcomes if isinstance(outcome, Received)]
    if received:
        outbox.store_all_received(session, received, at=now)
    for waiting, outcome in outcomes:
        match outcome:
            case NeverAgain(reason=reason):
                outbox.store_refused(session, waiting, reason=reason)
                log.error(
                    "message refused by peer", peer=waiting.recipient, message_id=waiting.message_id, reason=reason
                )
            case Again(reason=reason):
                retry = _retry(parts, waiting.recipient)
                again = now + delay(waiting.attempts + 1, parts.dice.random(), retry)
                unanswered = not outcome.answered
                outbox.store_failure(session, waiting.id, reason=reason, again_at=again, unanswered=unanswered)
            case ImiError():  # the lane's back-off counts, not the message's
                outbox.store_failure(session, waiting.id, reason=str(outcome), again_at=now, unanswered=True)


def _evidence(waiting: Waiting, received: Received) -> tuple[int, bytes | None, bytes | None]:
    receipt = received.receipt
    certificate = receipt.certificate.public_bytes(Encoding.DER) if receipt else None
    return waiting.id, received.soap or None, certificate
