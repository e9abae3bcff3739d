"""HTTP to other nodes: one kept set of connections for each peer, every answer bounded in size and time."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Final

import aiohttp

from node.errors import Unavailable
from node.federation.peers import Peer, Peers
from node.federation.tls import client_context
from node.ids import NodeId
from pki.node_keys import NodeKeys

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
SLOWEST_BYTES_PER_SECOND: Final = 250_000  # a large message may take longer, yet not for ever
MAX_SIGNAL_BYTES: Final = 512 * 1024
SIGNAL_TYPES: Final = frozenset({"application/soap+xml", "multipart/related"})


class Unreachable(Unavailable):
    """A peer's door did not answer: name, port, TLS or time."""

    code = "unavailable.peer"


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


@dataclass(slots=True)
class _Connections:
    """Kept connections to one peer as one entry of the trust list has it; `users` are the calls that hold one."""

    peer: Peer
    session: aiohttp.ClientSession
    users: int = 0


class Transport:
    """Connections to all peers. An entry of the trust list that changes gets new ones; calls under way end on the old."""

    def __init__(self, keys: NodeKeys, peers: Peers) -> None:
        self._keys, self._peers = keys, peers
        self._kept: dict[NodeId, _Connections] = {}
        self._retired: list[_Connections] = []
        self.contacts: dict[NodeId, Contact] = {}  # of this run

    async def post_message(self, node: NodeId, body: bytes | BinaryIO, content_type: str) -> tuple[str, bytes]:
        """POST an AS4 message to a peer; content type and body of its answer, whatever the status (errors use several).

        Raises as `post`.
        """
        return await self._post(node, self._peers.get(node).as4_url, body, content_type)

    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]:
        """POST to a node; content type and body of its answer.

        Raises:
            Unreachable: no answer.
            PeerAnswered: an HTTP error that holds no signal: its door refuses us, or something stands before it.
            PeerError: the peer is not, or no longer, in the trust list.
        """
        return await self._post(node, f"{self._peers.get(node).url}{path}", body, content_type)

    async def _post(self, node: NodeId, url: str, body: bytes | BinaryIO, content_type: str) -> tuple[str, bytes]:
        status, kind, data = await self._call(
            node, "POST", url, limit=MAX_SIGNAL_BYTES, body=body, content_type=content_type
        )
        if status != 200 and kind.partition(";")[0].strip().lower() not in SIGNAL_TYPES:
            raise PeerAnswered(f"{node} answers {status} to a POST", status=status)
        return kind, data

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes:
        """GET from a peer.

        Args:
            limit: the most bytes that are read.

        Raises:
            Unreachable: no answer, or a longer one.
            PeerAnswered: an HTTP error.
        """
        status, _, data = await self._call(node, "GET", f"{self._peers.get(node).url}{path}", limit=limit)
        if status != 200:
            raise PeerAnswered(f"{node} answers {status} to {path}", status=status)
        return data

    async def close(self) -> None:
        """Close all connections."""
        for kept in (*self._kept.values(), *self._retired):
            await kept.session.close()
        self._kept.clear()
        self._retired.clear()

    async def _call(
        self,
        node: NodeId,
        method: str,
        url: str,
        *,
        limit: int,
        body: bytes | BinaryIO | None = None,
        content_type: str = "",
    ) -> tuple[int, str, bytes]:
        kept = self._connections(node)
        headers = {"Content-Type": content_type} if content_type else {}
        kept.users += 1
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS + _size(body) / SLOWEST_BYTES_PER_SECOND),
                kept.session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                found = answer.status, answer.headers.get("Content-Type", ""), await _bounded(answer, limit)
                self.contacts[node] = Contact(answered_at=datetime.now(UTC))
                return found
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError) as error:
            before = self.contacts.get(node, Contact())
            since = before.failing_since or datetime.now(UTC)
            self.contacts[node] = Contact(before.answered_at, since, f"{type(error).__name__} {error}".strip())
            raise Unreachable(f"{node} does not answer: {type(error).__name__} {error}".strip(), node=node) from error
        finally:
            kept.users -= 1
            await self._close_retired()

    def _connections(self, node: NodeId) -> _Connections:
        peer = self._peers.get(node)
        if peer.url is None:
            raise Unreachable(f"{node} has no door: its State is hosted", node=node)
        kept = self._kept.get(node)
        if kept and _same_door(kept.peer, peer):
            return kept
        if kept:
            self._retired.append(kept)
        self._kept[node] = _Connections(peer, self._open(peer))
        return self._kept[node]

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


def _same_door(one: Peer, other: Peer) -> bool:
    """Whether connections made by one reading of the trust list may be used under another."""
    return one is other or (one.url, one.anchors, one.crl) == (other.url, other.anchors, other.crl)


def _size(body: bytes | BinaryIO | None) -> int:
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
