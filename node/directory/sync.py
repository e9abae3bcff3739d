"""Keeping directories equal: heads are gossiped, pages pulled, from a log's host or from any peer that has them.

Gossip is one small exchange: each side shows the newest checkpoint of every log it holds. It runs every minute with
every peer, and at once after a change of a log that lies here, by this process or by a command beside it. What a checkpoint promises is pulled page by page into the staging area, and
counts only when the root comes out as signed; so it does not matter whom the pages come from.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from node.clock import Clock
from node.directory.directory import Directory, log_name, node_of_log
from node.directory.replication import (
    MAX_PAGE_BYTES,
    PAGE,
    BadPage,
    Checkpoint,
    frontier_after,
    pages,
    read_page,
    write_page,
)
from node.errors import ImiError, PeerError, Unavailable
from node.federation.listener import PEER
from node.federation.peers import LogKey, Peer, UnknownPeer
from node.ids import NodeId
from node.merkle import Frontier

LOG_PATH: Final = "/imi/v1/log/"
GOSSIP_PATH: Final = "/imi/v1/gossip"
MAX_GOSSIP_BYTES: Final = 256 * 1024
GREETINGS_AT_ONCE: Final = 8

log = structlog.get_logger()
T = TypeVar("T")


class BadGossip(PeerError):
    """A peer's greeting is malformed."""

    code = "peer.bad-gossip"


class Wire(Protocol):
    """What is needed of the transport."""

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes: ...
    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]: ...


class Listing(Protocol):
    """What is needed of the trust list: `Peers`."""

    @property
    def us(self) -> NodeId: ...
    def get(self, node: NodeId) -> Peer: ...
    def reachable(self) -> Sequence[Peer]: ...


class InThread(Protocol):
    """Runs what takes long beside the loop: `asyncio.to_thread`."""

    def __call__(self, function: Callable[..., T], /, *args: object, **named: object) -> Awaitable[T]: ...


class _Gossip(BaseModel):
    model_config = ConfigDict(extra="ignore")

    heads: dict[str, str]


class Sync:
    """Follows all logs, and serves those held here.

    Nothing in it knows threads, time or chance but through its arguments, so that a simulation can play it again.
    """

    def __init__(
        self,
        directory: Directory,
        peers: Listing,
        wire: Wire,
        *,
        clock: Clock,
        dice: random.Random,
        in_thread: InThread = asyncio.to_thread,
        crash_at: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._directory, self._peers, self._wire = directory, peers, wire
        self._clock, self._dice, self._in_thread, self._crash_at = clock, dice, in_thread, crash_at
        self._pulling: dict[str, asyncio.Lock] = {}
        self._following: dict[NodeId, asyncio.Task[None]] = {}
        self._waiting: dict[NodeId, Mapping[str, str]] = {}  # the newest heads of a peer that is being followed
        self._announced: Mapping[str, str] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        directory.on_publish(self._published)

    def routes(self) -> web.RouteTableDef:
        """The routes of the federation door that belong to the directory."""
        table = web.RouteTableDef()
        table.get(LOG_PATH + "{node}/{collection}/checkpoint")(self._serve_checkpoint)
        table.get(LOG_PATH + "{node}/{collection}/tile/entries/{tile:[x0-9/]+(?:\\.p/[0-9]+)?}")(self._serve_page)
        table.post(GOSSIP_PATH)(self._serve_gossip)
        return table

    async def notice(self) -> None:
        """Greet everybody if a log that lies here has changed since; cheap, called every few seconds."""
        self._loop = asyncio.get_running_loop()
        heads = await self._in_thread(self._directory.own_heads)
        if self._announced is None:
            self._announced = heads  # the node has just begun: the first greeting is under way
        elif heads != self._announced and (self._announcing is None or self._announcing.done()):
            self._announced = heads
            self._announcing = asyncio.create_task(self.greet_all(), name="greet after a change")

    def nudge(self) -> None:
        """Greet everybody at once, or once more after the greeting under way; on the node's loop."""
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.get_running_loop().create_task(self.greet_all(), name="greet after a change")
        else:
            self._announcing.add_done_callback(lambda _: self.nudge())

    def _published(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.nudge)

    async def greet_all(self) -> None:
        """Exchange heads with every peer; who does not answer is left for the next time."""
        self._loop = asyncio.get_running_loop()
        self._announced = await self._in_thread(self._directory.own_heads)
        limit = asyncio.Semaphore(GREETINGS_AT_ONCE)

        async def one(node: NodeId) -> None:
            async with limit:
                try:
                    await self.greet(node)
                except ImiError as error:
                    log.info("greeting failed", peer=node, code=error.code, reason=str(error))

        async with asyncio.TaskGroup() as group:
            peers = self._peers.reachable()
            for peer in self._dice.sample(peers, len(peers)):  # nobody is always the last
                group.create_task(one(peer.node), name=f"greet {peer.node}")

    async def greet(self, node: NodeId) -> None:
        """Show our heads to a peer, and follow what it shows. Raises Unavailable or PeerError."""
        _, answer = await self._wire.post(node, GOSSIP_PATH, await self._heads(), "application/json")
        self._crash_at("greeted")
        await self._follow(_read_gossip(answer), source=node)

    async def _heads(self) -> bytes:
        return json.dumps({"heads": await self._in_thread(self._directory.heads)}).encode()

    async def _follow(self, heads: Mapping[str, str], *, source: NodeId) -> None:
        for name, note in heads.items():
            node = node_of_log(name)
            if node is None:
                continue
            try:
                await self._follow_one(node, note, source)
            except UnknownPeer:
                continue  # its State is not, or not yet, in our trust list
            except Unavailable as error:  # the other logs go on
                log.info("directory log put off", log=name, source=source, code=error.code, reason=str(error))
            except PeerError as error:
                log.error("directory log refused", log=name, source=source, code=error.code, reason=str(error))  # noqa: TRY400  # no bug of ours

    async def _follow_one(self, node: NodeId, note: str, source: NodeId) -> None:
        key = self._key(node)
        promised = await self._in_thread(
            self._directory.see,
            node,
            note,
            key.public_key,
            source=source,
            is_host=source == key.host,
            at=self._clock.now(),
        )
        self._crash_at("judged")
        if promised is not None:
            # more of a log than we, who serve it, hold: we signed it and lost it, and take it back from who has it
            sources = (source,) if key.host == self._peers.us else tuple(dict.fromkeys((source, key.host)))
            async with self._pulling.setdefault(log_name(node), asyncio.Lock()):
                await self._pull(node, promised, host=key.host, sources=sources)

    def _key(self, node: NodeId) -> LogKey:
        try:
            return self._peers.get(node).logs["authorities"]
        except KeyError:
            raise UnknownPeer(f"{node} has no directory log", node=node) from None

    async def _pull(self, node: NodeId, checkpoint: Checkpoint, *, host: NodeId, sources: Sequence[NodeId]) -> None:
        """Fetch what is missing from the first source that gives entries leading to the signed root."""
        replica = self._directory.replica
        failure: ImiError | None = None
        doubtful: list[NodeId] = []
        for source in sources:
            held = await self._in_thread(replica.staged, checkpoint.log)
            if held.size > checkpoint.size:
                return  # another pull was faster
            try:
                for page, width, skip in pages(held.size, checkpoint.size):
                    data = await self._wire.get(source, _tile_path(node, page, width), limit=MAX_PAGE_BYTES)
                    self._crash_at("page fetched")
                    await self._in_thread(self._stage, checkpoint.log, data, width, skip, is_host=source == host)
                    self._crash_at("page staged")
                await self._in_thread(self._directory.settle, node, checkpoint)
                self._crash_at("settled")
            except ImiError as error:
                await self._in_thread(replica.unstage, checkpoint.log)
                log.warning(
                    "directory pull failed", log=checkpoint.log, source=source, code=error.code, reason=str(error)
                )
                failure = error
                if isinstance(error, BadPage):
                    doubtful.append(source)
            else:
                return
        for source in doubtful:
            await self._look_for_fork(node, checkpoint, source)
        if failure is not None:
            raise failure

    async def _look_for_fork(self, node: NodeId, checkpoint: Checkpoint, source: NodeId) -> None:
        """Read a log from its beginning, keeping nothing: do its owner's entries differ from those we hold?

        Raises:
            LogForked: they lead to the signed root, and do not begin with ours.
        """
        held = await self._in_thread(self._directory.replica.held, checkpoint.log)
        if held is None or held.size > checkpoint.size:
            return
        whole, begin = Frontier(), Frontier()
        try:
            for page, width, _ in pages(0, checkpoint.size):
                data = await self._wire.get(source, _tile_path(node, page, width), limit=MAX_PAGE_BYTES)
                entries = await self._in_thread(lambda: read_page(_gunzip(data), count=width, from_host=True))  # noqa: B023  # awaited here
                begin = frontier_after(begin, entries[: held.size - begin.size])
                whole = frontier_after(whole, entries)
        except ImiError:
            return
        if whole.root == checkpoint.root and begin.root != held.root:
            await self._in_thread(self._directory.fork_seen, checkpoint, source=source, at=self._clock.now())

    def _stage(self, name: str, data: bytes, width: int, skip: int, *, is_host: bool) -> None:
        self._directory.replica.stage(name, read_page(_gunzip(data), count=width, from_host=is_host)[skip:])

    async def checkpoint(self, name: str) -> bytes | None:
        """The newest checkpoint of a log held here; None if there is no such log."""
        held = await self._in_thread(self._directory.replica.held, name)
        return held.note.encode() if held else None

    async def page(self, name: str, number: int, width: int) -> bytes | None:
        """The first `width` entries of a page, gzipped NDJSON; None if there are not so many here."""
        entries = await self._in_thread(self._directory.replica.page, name, number)
        if not 0 < width <= len(entries):
            return None
        return await self._in_thread(lambda: gzip.compress(write_page(entries[:width]), 1, mtime=0))

    async def answer_greeting(self, data: bytes, *, source: NodeId) -> bytes:
        """Our heads, for a peer that shows its own; they are followed once the answer is out. Raises BadGossip."""
        heads = _read_gossip(data)
        asyncio.get_running_loop().call_soon(self._follow_later, heads, source)
        return await self._heads()

    async def _serve_checkpoint(self, request: web.Request) -> web.Response:
        note = await self.checkpoint(_log_of(request))
        if note is None:
            raise web.HTTPNotFound(text="no such log here")
        return web.Response(body=note, content_type="text/plain", charset="utf-8")

    async def _serve_page(self, request: web.Request) -> web.Response:
        tile = read_tile(request.match_info["tile"])
        data = await self.page(_log_of(request), *tile) if tile else None
        if data is None:
            raise web.HTTPNotFound(text="no such page here")
        return web.Response(body=data, content_type="application/gzip")

    async def _serve_gossip(self, request: web.Request) -> web.Response:
        if (request.content_length or MAX_GOSSIP_BYTES + 1) > MAX_GOSSIP_BYTES:
            raise web.HTTPRequestEntityTooLarge(max_size=MAX_GOSSIP_BYTES, actual_size=request.content_length or 0)
        try:
            answer = await self.answer_greeting(await request.read(), source=request[PEER].node)
        except BadGossip as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.Response(body=answer, content_type="application/json")

    def _follow_later(self, heads: Mapping[str, str], source: NodeId) -> None:
        """Follow after the answer is out; one task for each peer, and one greeting waiting for it, the newest."""
        if source in self._following:
            self._waiting[source] = heads
            return
        task = asyncio.create_task(self._follow(heads, source=source), name=f"follow {source}")
        self._following[source] = task
        task.add_done_callback(lambda _: self._followed(task, source))

    def _followed(self, task: asyncio.Task[None], source: NodeId) -> None:
        del self._following[source]
        waiting = self._waiting.pop(source, None)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.warning("following a peer's heads failed", reason=f"{type(error).__name__}: {error}")
        if waiting is not None:
            self._follow_later(waiting, source)


def _read_gossip(data: bytes) -> Mapping[str, str]:
    if len(data) > MAX_GOSSIP_BYTES:
        raise BadGossip("a greeting is too large")
    try:
        return _Gossip.model_validate_json(data).heads
    except ValidationError as error:
        raise BadGossip("a greeting is malformed") from error


def _log_of(request: web.Request) -> str:
    return f"{request.match_info['node']}/{request.match_info['collection']}"


def _tile_path(node: NodeId, page: int, width: int) -> str:
    """C2SP tlog-tiles: groups of three digits, all but the last marked x; `.p/W` for a page that is not full."""
    digits = f"{page:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    tile = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    partial = "" if width == PAGE else f".p/{width}"
    return f"{LOG_PATH}{log_name(node)}/tile/entries/{tile}{partial}"


def read_tile(tile: str) -> tuple[int, int] | None:
    """Page number and width, from the end of a path (`x001/234.p/5`); None if no log can be so long."""
    path, _, width = tile.partition(".p/")
    digits = path.replace("x", "").replace("/", "")
    if len(digits) > 9:
        return None
    return int(digits or "0"), int(width) if width else PAGE


def _gunzip(data: bytes) -> bytes:
    """Decompress at most a page. Raises BadPage."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(data, MAX_PAGE_BYTES + 1)
    except zlib.error as error:
        raise BadPage("a page is not compressed as it should be") from error
    if len(found) > MAX_PAGE_BYTES or not unpacker.eof or unpacker.unused_data:
        raise BadPage("a page is too large or damaged")
    return found
