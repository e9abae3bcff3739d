"""Passing on what is for, or comes from, a node that others reach through this one alone: sealed bytes, never opened.

    FR ── POST /imi/v1/relay/DE-SN/as4 ──▶ DE ── POST /imi/v1/as4 ──▶ DE-SN      the answer goes back byte for byte
    DE-SN ── POST /imi/v1/relay/FR/as4 ──▶ DE ── POST /imi/v1/as4 ──▶ FR

A body is passed on while it arrives. Nothing is stored, nothing is answered in the node's name: what the sender takes as
delivered is signed by the node itself. When a node does not answer, the sender gets 503 and waits as for any peer; once
the node speaks to us again, those who were turned away are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import structlog
from prometheus_client import Counter

from node.errors import ImiError, Unavailable
from node.federation.peers import RELAY_PATH, Peer, Peers
from node.federation.transport import SIGNAL_TYPES, HttpAnswer, Passage, Transport
from node.ids import NodeId

AT_ONCE: Final = 64  # passages
AT_ONCE_OF_ONE: Final = 16  # of one peer: it cannot take the others' places
TURN_SECONDS: Final = 10.0  # how long a passage waits for its turn, its body unread
ANSWERS_AGAIN: Final = "answers-again"

PASSED = Counter("imi_relay_passages", "Messages passed on, by what came of it.", ["source", "target", "outcome"])
log = structlog.get_logger()


class Crowded(Unavailable):
    """As many messages as may be are being passed on already."""

    code = "unavailable.relay-crowded"


class _BrokeOff(Exception):
    """A body did not come whole, or is too long."""


class Relay:
    """This node as the relay of others of its State. On one loop."""

    def __init__(
        self,
        peers: Peers,
        transport: Transport,
        *,
        at_once: int = AT_ONCE,
        at_once_of_one: int = AT_ONCE_OF_ONE,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self._peers, self._transport, self._turn_seconds = peers, transport, turn_seconds
        self._turns = asyncio.Semaphore(at_once)
        self._turns_of: dict[NodeId, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_once_of_one))
        self._turned_away: dict[NodeId, set[NodeId]] = defaultdict(set)  # who did not answer -> who asked for it
        self._telling: set[asyncio.Task[None]] = set()

    async def pass_on(self, source: Peer, node: NodeId, content_type: str, body: Passage) -> HttpAnswer:
        """Pass a message on and its answer back; or our own refusal in words.

        Args:
            source: who is connected.
            node: whom the message is said to be for; it sees for itself whether that is true.
        """
        if not self._may_pass(source, node):
            PASSED.labels(source.node, self._listed(node), "refused").inc()
            return _words(403, f"{self._peers.us} is not the relay of either side")
        if content_type.partition(";")[0].strip().lower() not in SIGNAL_TYPES:
            return _words(415, "only messages are passed on")
        counted, begun = _Counted(body), time.monotonic()
        answer = await self._pass(source.node, node, content_type, counted)
        outcome = "passed" if answer.status == 200 else "not passed"
        PASSED.labels(source.node, node, outcome).inc()
        log.info(
            "message passed on" if answer.status == 200 else "message not passed on",
            source=source.node, target=node, status=answer.status, size_bytes=counted.size_bytes,
            answer_bytes=len(answer.body), milliseconds=round((time.monotonic() - begun) * 1000),
        )  # fmt: skip
        return answer

    def spoke(self, node: NodeId) -> None:
        """A node spoke to us: who asked for it in vain is told so."""
        for source in self._turned_away.pop(node, ()):
            task = asyncio.get_running_loop().create_task(self._tell(source, node), name=f"tell {source} of {node}")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """End what is being told."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _pass(self, source: NodeId, node: NodeId, content_type: str, body: _Counted) -> HttpAnswer:
        try:
            async with self._turn(source):
                answer = await self._transport.pass_on(node, body.passage(), content_type)
        except Crowded as error:
            return _words(503, str(error))
        except ImiError as error:
            if body.fault is not None:
                return body.fault
            log.warning("message not passed on", source=source, target=node, code=error.code, reason=str(error))
            self._turned_away[node].add(source)
            return _words(503, f"{node} does not answer")  # why is for our operators: where it lives is our business
        if answer.status == 503:  # the relay before it says so
            self._turned_away[node].add(source)
        return answer

    def _may_pass(self, source: Peer, node: NodeId) -> bool:
        """Only for the nodes behind us, in either direction: an open relay would let anybody use our address."""
        target = self._peers.trust.nodes.get(node)
        us = self._peers.us
        return target is not None and node not in (us, source.node) and us in (target.relay, source.relay)

    def _listed(self, node: NodeId) -> str:
        return node if node in self._peers.trust.nodes else "unknown"

    @contextlib.asynccontextmanager
    async def _turn(self, source: NodeId) -> AsyncIterator[None]:
        """Raises Crowded."""
        turns = (self._turns_of[source], self._turns)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._turn_seconds):
                    for turn in turns:
                        await stack.enter_async_context(turn)
            except TimeoutError:
                raise Crowded(f"{self._peers.us} passes on as many messages as it can already") from None
            yield

    async def _tell(self, source: NodeId, node: NodeId) -> None:
        try:
            await self._transport.post(source, f"{RELAY_PATH}{node}/{ANSWERS_AGAIN}", b"", "text/plain")
        except ImiError as error:  # it finds out by itself, later
            log.info("peer not told that a node answers again", peer=source, node_back=node, reason=str(error))


class _Counted:
    """A body, counted while it passes; `fault` is our answer to a sender whose body cannot be passed on whole."""

    def __init__(self, body: Passage) -> None:
        self._body = body
        self.size_bytes = 0
        self.fault: HttpAnswer | None = None

    def passage(self) -> Passage:
        return replace(self._body, chunks=self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._arriving():
            self.size_bytes += len(chunk)
            if self.size_bytes > self._body.limit:
                self.fault = _words(413, "longer than a message may be")
                raise _BrokeOff
            yield chunk

    async def _arriving(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body.chunks:
                yield chunk
        except Exception as error:
            self.fault = _words(400, "the message broke off")
            raise _BrokeOff from error


def _words(status: int, sentence: str) -> HttpAnswer:
    return HttpAnswer(status, "text/plain; charset=UTF-8", sentence.encode())
