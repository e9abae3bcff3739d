"""HTTP to other nodes: one kept set of connections for each peer, every answer bounded in size and time."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp

from node.errors import Unavailable
from node.federation.peers import Peer, Peers
from node.federation.tls import client_context
from node.ids import NodeId
from pki.node_keys import NodeKeys

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
MAX_SIGNAL_BYTES: Final = 512 * 1024


class Unreachable(Unavailable):
    """A peer's door did not answer: name, port, TLS or time."""

    code = "unavailable.peer"


class PeerAnswered(Unavailable):
    """A peer's door answered with an HTTP error."""

    code = "unavailable.peer-answered"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, status=status)
        self.status = status


class Transport:
    """Connections to all peers; entries that left the trust list are dropped."""

    def __init__(self, keys: NodeKeys, peers: Peers) -> None:
        self._keys, self._peers = keys, peers
        self._sessions: dict[NodeId, tuple[Peer, aiohttp.ClientSession]] = {}

    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]:
        """POST to a peer; content type and body of its answer, whatever the HTTP status (AS4 errors use several).

        Raises:
            Unreachable: no answer.
            PeerError: the peer is not, or no longer, in the trust list.
        """
        _, kind, data = await self._call(
            node, "POST", path, limit=MAX_SIGNAL_BYTES, body=body, content_type=content_type
        )
        return kind, data

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes:
        """GET from a peer.

        Args:
            limit: the most bytes that are read.

        Raises:
            Unreachable: no answer, or a longer one.
            PeerAnswered: an HTTP error.
        """
        status, _, data = await self._call(node, "GET", path, limit=limit)
        if status != 200:
            raise PeerAnswered(f"{node} answers {status} to {path}", status=status)
        return data

    async def close(self) -> None:
        """Close all connections."""
        for _, session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _call(
        self, node: NodeId, method: str, path: str, *, limit: int, body: bytes | None = None, content_type: str = ""
    ) -> tuple[int, str, bytes]:
        peer, session = await self._session(node)
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                session.request(
                    method, f"{peer.url}{path}", data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                return answer.status, answer.headers.get("Content-Type", ""), await _bounded(answer, limit)
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError) as error:
            raise Unreachable(f"{node} does not answer: {type(error).__name__} {error}".strip(), node=node) from error

    async def _session(self, node: NodeId) -> tuple[Peer, aiohttp.ClientSession]:
        peer = self._peers.get(node)
        if peer.url is None:
            raise Unreachable(f"{node} has no door: its State is hosted", node=node)
        known = self._sessions.get(node)
        if known and (known[0] is peer or known[0] == peer):  # a list read again gives equal entries
            self._sessions[node] = (peer, known[1])
            return self._sessions[node]
        self._sessions[node] = (peer, self._open(peer))
        if known:  # the entry changed: other addresses or authorities count now. Last, as others come here meanwhile
            await known[1].close()
        return self._sessions[node]

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


async def _bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    if (answer.content_length or 0) > limit:
        raise aiohttp.ClientPayloadError("the answer is too long")
    data = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        data += chunk
        if len(data) > limit:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(data)
