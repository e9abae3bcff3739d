"""The door for other nodes: mutual TLS, and at each request the trust list is asked whether the peer may still come in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import Counter

from node.errors import ImiError, PeerError
from node.federation.peers import AS4_PATH, RELAY_PATH, Peer, Peers
from node.federation.receiver import LIMITS, Body, Receiver
from node.federation.relay import ANSWERS_AGAIN, Relay
from node.federation.tls import CheckedContext
from node.federation.transport import SLOWEST_BYTES_PER_SECOND, Passage
from node.ids import NodeId
from node.local_store.bodies import Bodies, Draft

BODY_SECONDS: Final = 120.0
SPOOL_OVER: Final = 64 * 1024
WRITE_BYTES: Final = 1024 * 1024
PEER: Final = web.RequestKey("peer", Peer)
TRUST_PATH: Final = "/imi/v1/trust/"

REFUSED = Counter("imi_requests_refused", "Requests refused at the door for nodes, by cause.", ["cause"])
log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    *,
    peers: Peers,
    receiver: Receiver,
    bodies: Bodies,
    relay: Relay,
    serve_trust: Callable[[str], bytes | None],
    routes: web.RouteTableDef,
    on_contact: Callable[[NodeId], None],
) -> web.Application:
    """The routes of the federation door.

    Args:
        bodies: where bodies above 64 KiB lie while they are read, and afterwards if they are messages.
        serve_trust: the bytes of a path of the trust list's repository, for mirrors.
        routes: other layers' routes; their handlers find the peer in `request[PEER]`.
        on_contact: told of each peer that speaks to us, through a relay too: its lane need not wait any longer.
    """

    async def receive(request: web.Request) -> web.Response:
        peer, kind = request[PEER], request.headers.get("Content-Type", "")
        async with _body(request, bodies, receiver.largest(peer)) as body:
            answer = await receiver.receive(peer, kind, body)
        if answer.sender is not None and answer.sender != peer.node:
            on_contact(answer.sender)
        return web.Response(body=answer.body, headers={"Content-Type": answer.content_type})

    async def pass_on(request: web.Request) -> web.Response:
        size, limit = request.content_length, LIMITS.entity
        if (size or 0) > limit:
            raise _too_large(size or 0, limit)
        body = Passage(chunks=request.content.iter_chunked(64 * 1024), size_bytes=size, limit=limit)
        kind, node = request.headers.get("Content-Type", ""), NodeId(request.match_info["node"])
        answer = await relay.pass_on(request[PEER], node, kind, body)
        return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})

    async def answers_again(request: web.Request) -> web.Response:
        node = NodeId(request.match_info["node"])
        try:
            door = peers.route(node).door
        except ImiError as error:
            raise web.HTTPNotFound(text="no such node") from error
        if door.node != request[PEER].node:
            raise web.HTTPForbidden(text="not the relay before that node")
        on_contact(node)
        return web.Response()

    async def trust(request: web.Request) -> web.Response:
        data = await asyncio.to_thread(serve_trust, request.match_info["path"])
        if data is None:
            raise web.HTTPNotFound(text="no such file in the trust list")
        return web.Response(body=data, content_type="application/octet-stream")

    app = web.Application(middlewares=[_admission(peers, on_contact)], client_max_size=LIMITS.entity)
    app.router.add_post(AS4_PATH, receive)
    app.router.add_post(f"{RELAY_PATH}{{node}}/as4", pass_on)
    app.router.add_post(f"{RELAY_PATH}{{node}}/{ANSWERS_AGAIN}", answers_again)
    app.router.add_get(TRUST_PATH + "{path:.+}", trust)
    app.add_routes(routes)
    return app


def _admission(peers: Peers, on_contact: Callable[[NodeId], None]) -> Middleware:
    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            peer = peers.identify(_certificate(request))
        except PeerError as error:
            REFUSED.labels("untrusted").inc()
            log.warning("request refused", code=error.code, reason=str(error), path=request.path)
            refusal = web.Response(status=403, text="the trust list does not admit this certificate")
            refusal.force_close()
            return refusal
        if peer.is_outside and request.path != AS4_PATH:
            REFUSED.labels("outside").inc()
            raise web.HTTPForbidden(text="only messages are taken from outside the federation")
        request[PEER] = peer
        on_contact(peer.node)
        return await handler(request)

    return admit


def _certificate(request: web.Request) -> bytes:
    """DER of the client's certificate; empty where there is none."""
    tls = request.get_extra_info("ssl_object")
    return (tls.getpeercert(binary_form=True) if tls is not None else None) or b""


@contextlib.asynccontextmanager
async def _body(request: web.Request, bodies: Bodies, limit: int) -> AsyncIterator[Body]:
    """The whole body, refused before reading where its announced length is too large; a large one lies on disk.

    What was not made to stay is gone at the end.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(request.content_length or 0, limit)
    with contextlib.ExitStack() as stack:
        try:
            async with asyncio.timeout(BODY_SECONDS + (request.content_length or limit) / SLOWEST_BYTES_PER_SECOND):
                body = await _read(request, bodies, limit, stack)
        except TimeoutError:
            REFUSED.labels("too slow").inc()
            raise web.HTTPRequestTimeout(text="the body took too long") from None
        yield body


async def _read(request: web.Request, bodies: Bodies, limit: int, stack: contextlib.ExitStack) -> Body:
    """Up to 64 KiB in memory; more in a file."""
    size, small = 0, bytearray()
    draft: Draft | None = None
    async for chunk in request.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > limit:
            raise _too_large(size, limit)
        small += chunk
        if draft is None and size > SPOOL_OVER:
            draft = await asyncio.to_thread(bodies.draft)
            stack.callback(draft.discard)
        if draft is not None and len(small) >= WRITE_BYTES:
            await asyncio.to_thread(draft.file.write, bytes(small))
            small.clear()
    if draft is None:
        return Body(data=bytes(small))
    await asyncio.to_thread(draft.file.write, bytes(small))
    return Body(data=draft.map(), draft=draft)


def _too_large(size: int, limit: int) -> web.HTTPRequestEntityTooLarge:
    REFUSED.labels("too large").inc()
    return web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)


async def start(app: web.Application, context: CheckedContext, *, host: str, port: int) -> web.AppRunner:
    """Listen; the runner's `addresses` tell where. `cleanup()` ends it."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75.0, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=context, reuse_address=True).start()
    return runner
