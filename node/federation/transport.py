"""HTTP to other nodes: one kept set of connections for each peer, every answer bounded in size and time."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Final

import aiohttp

from node.errors import Unavailable
from node.federation.peers import Peer, Peers, Route, Unroutable
from node.federation.tls import client_context
from node.ids import NodeId
from pki.node_keys import NodeKeys

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
SLOWEST_BYTES_PER_SECOND: Final = 250_000  # a large message may take longer, yet not for ever
MAX_SIGNAL_BYTES: Final = 512 * 1024
MAX_WORDS: Final = 200
SIGNAL_TYPES: Final = frozenset({"application/soap+xml", "multipart/related"})


class Unreachable(Unavailable):
    """A peer's door, or that of the relay before it, did not answer: name, port, TLS or time."""

    code = "unavailable.peer"

    def __init__(self, message: str, *, door: NodeId) -> None:
        super().__init__(message, node=door)
        self.door = door


class PeerAnswered(Unavailable):
    """A peer's door answered with an HTTP error."""

    code = "unavailable.peer-answered"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, status=status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Contact:
    """How a peer answered lately: when it last did, and since when and why it does not."""

    answered_at: datetime | None = None
    failing_since: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A body that is passed on while it arrives: `size_bytes` as announced, if it was."""

    chunks: AsyncIterator[bytes]
    size_bytes: int | None
    limit: int  # the most it can be


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back: status, content type, body."""

    status: int
    content_type: str
    body: bytes


_Sent = bytes | BinaryIO | Passage


@dataclass(slots=True)
class _Connections:
    """Kept connections to one door as one entry of the trust list has it; `users` are the calls that hold one."""

    peer: Peer
    url: str
    session: aiohttp.ClientSession
    users: int = 0


class Transport:
    """Connections to all peers. An entry of the trust list that changes gets new ones; calls under way end on the old.

    What is for a node behind a relay goes over the connections to the relay.
    """

    def __init__(self, keys: NodeKeys, peers: Peers) -> None:
        self._keys, self._peers = keys, peers
        self._kept: dict[NodeId, _Connections] = {}
        self._retired: list[_Connections] = []
        self.contacts: dict[NodeId, Contact] = {}  # of this run

    async def post_message(self, node: NodeId, body: bytes | BinaryIO, content_type: str) -> tuple[str, bytes]:
        """POST an AS4 message to a peer; content type and body of its answer, whatever the status (errors use several).

        Raises as `post`.
        """
        route = self._peers.route(node)
        return await self._post(route, route.as4_url, body, content_type)

    async def pass_on(self, node: NodeId, body: Passage, content_type: str) -> HttpAnswer:
        """POST another one's message to a node while it arrives; the answer as it is. Raises Unreachable or Unroutable.

        Whatever `body.chunks` raises breaks the connection, so that the node never takes a part for the whole.
        """
        route = self._peers.route(node)
        return await self._call(
            route, "POST", route.as4_url, limit=MAX_SIGNAL_BYTES, body=body, content_type=content_type
        )

    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]:
        """POST to a node; content type and body of its answer.

        Raises:
            Unreachable: no answer.
            PeerAnswered: an HTTP error that holds no signal: its door refuses us, or something stands before it.
            PeerError: the peer is not, or no longer, in the trust list.
            Unroutable: no address leads to it, or only a relay's, which passes on messages and nothing else.
        """
        route = self._direct(node)
        return await self._post(route, f"{route.url}{path}", body, content_type)

    async def _post(self, route: Route, url: str, body: bytes | BinaryIO, content_type: str) -> tuple[str, bytes]:
        answer = await self._call(route, "POST", url, limit=MAX_SIGNAL_BYTES, body=body, content_type=content_type)
        kind = answer.content_type
        if answer.status != 200 and kind.partition(";")[0].strip().lower() not in SIGNAL_TYPES:
            says = "" if route.is_direct else _words(answer)
            raise PeerAnswered(f"{_who(route)} answers {answer.status} to a POST{says}", status=answer.status)
        return kind, answer.body

    def _direct(self, node: NodeId) -> Route:
        route = self._peers.route(node)
        if not route.is_direct:
            raise Unroutable(f"{node} stands behind {route.door.node}, which passes on messages only", node=node)
        return route

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes:
        """GET from a peer.

        Args:
            limit: the most bytes that are read.

        Raises:
            Unreachable: no answer, or a longer one.
            PeerAnswered: an HTTP error.
            Unroutable: no address leads to it, or only a relay's, which passes on messages and nothing else.
        """
        route = self._direct(node)
        answer = await self._call(route, "GET", f"{route.url}{path}", limit=limit)
        if answer.status != 200:
            raise PeerAnswered(f"{node} answers {answer.status} to {path}", status=answer.status)
        return answer.body

    async def close(self) -> None:
        """Close all connections."""
        for kept in (*self._kept.values(), *self._retired):
            await kept.session.close()
        self._kept.clear()
        self._retired.clear()

    async def _call(
        self, route: Route, method: str, url: str, *, limit: int, body: _Sent | None = None, content_type: str = ""
    ) -> HttpAnswer:
        kept = self._connections(route)
        headers = {"Content-Type": content_type} if content_type else {}
        if isinstance(body, Passage) and body.size_bytes is not None:
            headers["Content-Length"] = str(body.size_bytes)
        data = body.chunks if isinstance(body, Passage) else body
        kept.users += 1
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS + _size(body) / SLOWEST_BYTES_PER_SECOND),
                kept.session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer,
            ):
                found = HttpAnswer(answer.status, answer.headers.get("Content-Type", ""), await _bounded(answer, limit))
                self._met(route, found)
                return found
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError) as error:
            why = f"{type(error).__name__} {error}".strip()
            if not isinstance(body, Passage):  # else it may be the sender's body that broke off
                for node in {route.node, route.door.node}:
                    self._missed(node, why)
            raise Unreachable(f"{_who(route)} does not answer: {why}", door=route.door.node) from error
        finally:
            kept.users -= 1
            await self._close_retired()

    def _met(self, route: Route, answer: HttpAnswer) -> None:
        """A door answered; behind a relay that is a word of the node too, unless the relay says that it has none."""
        self.contacts[route.door.node] = Contact(answered_at=datetime.now(UTC))
        if not route.is_direct and answer.status == 503:
            self._missed(route.node, f"{route.door.node}{_words(answer)}")
        elif not route.is_direct:
            self.contacts[route.node] = Contact(answered_at=datetime.now(UTC))

    def _missed(self, node: NodeId, why: str) -> None:
        before = self.contacts.get(node, Contact())
        self.contacts[node] = Contact(before.answered_at, before.failing_since or datetime.now(UTC), why)

    def _connections(self, route: Route) -> _Connections:
        peer = route.door
        kept = self._kept.get(peer.node)
        if kept and _same_door(kept, route):
            return kept
        if kept:
            self._retired.append(kept)
        self._kept[peer.node] = _Connections(peer, route.url, self._open(peer))
        return self._kept[peer.node]

    def _open(self, peer: Peer) -> aiohttp.ClientSession:
        # No limit here: callers limit themselves, and a connector that is closed cancels whoever waits for a connection.
        connector = aiohttp.TCPConnector(
            ssl=client_context(self._keys, self._peers, peer), limit=0, keepalive_timeout=60.0
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            skip_auto_headers=["User-Agent", "Accept-Encoding"],
            auto_decompress=False,
        )

    async def _close_retired(self) -> None:
        """Close what no call uses any longer."""
        idle = [kept for kept in self._retired if not kept.users]
        self._retired = [kept for kept in self._retired if kept.users]
        for kept in idle:
            await kept.session.close()


def _same_door(kept: _Connections, route: Route) -> bool:
    """Whether connections made by one reading of the trust list may be used under another."""
    one, other = kept.peer, route.door
    return kept.url == route.url and (one is other or (one.anchors, one.crl) == (other.anchors, other.crl))


def _who(route: Route) -> str:
    return route.node if route.is_direct else f"the relay {route.door.node} of {route.node}"


def _words(answer: HttpAnswer) -> str:
    """What a relay says of why it did not pass a message on, bounded, for our operators."""
    said = answer.body[:MAX_WORDS].decode("utf-8", errors="replace")
    shown = "".join(c if c.isprintable() else " " for c in said).strip()
    return f": {shown}" if shown else ""


def _size(body: _Sent | None) -> int:
    if isinstance(body, Passage):
        return body.limit if body.size_bytes is None else body.size_bytes
    if body is None or isinstance(body, bytes):
        return len(body or b"")
    return os.fstat(body.fileno()).st_size


async def _bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    if (answer.content_length or 0) > limit:
        raise aiohttp.ClientPayloadError("the answer is too long")
    data = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        data += chunk
        if len(data) > limit:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(data)
