"""Keeping directories equal: heads are gossiped, pages pulled, from a log's host or from any peer that has them.

Gossip is one small exchange: each side shows the newest checkpoint of every log it holds, and the versions of its trust
list. Every minute two peers are drawn by lot for it; after a change of a log that lies here, by this process or by a
command beside it, everybody is greeted at once. Who hears news from anybody but the log's host passes it on to two more,
so it spreads though its owner is gone. What a checkpoint promises is pulled page by page into the staging area, and
counts only when the root comes out as signed; so it does not matter whom the pages come from.

A node that starts may come from a backup: before it shows or signs anything of its own logs it has asked its peers how
far they were, and taken back what it lost.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Final, Protocol

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from node.clock import Clock
from node.directory.directory import Directory
from node.directory.errands import Errands, EvidenceFull, Keys, Listing
from node.directory.following import NOT_ASKED, HostBehind
from node.directory.hosting import LogClosed, LogGap, NotOurLog, NotPublishable
from node.directory.pulling import InThread, Puller, Wire
from node.directory.replication import (
    MAX_NOTE,
    BadCheckpoint,
    BadPage,
    Checkpoint,
    LogForked,
    LogId,
    read_checkpoint,
)
from node.directory.serving import (
    EVIDENCE_PATH,
    LOG_PATH,
    MAX_EVIDENCE_BYTES,
    MAX_SIGNED_BYTES,
    BadEvidence,
    Server,
)
from node.errors import ImiError, PeerError, Unavailable
from node.federation.listener import PEER
from node.federation.peers import LogKey, UnknownPeer
from node.ids import NodeId, state_of

GOSSIP_PATH: Final = "/imi/v1/gossip"
MAX_GOSSIP_BYTES: Final = 256 * 1024
MAX_HEADS: Final = 1000  # in a greeting
MAX_HEADS_BYTES: Final = 224 * 1024  # the versions of the trust list need some room too
GREETINGS_AT_ONCE: Final = 8
DRAWN: Final = 2  # peers greeted by lot each minute, and passed news to
MAX_WANTED: Final = 8  # hosts greeted besides, because their logs are behind here
ASK_SECONDS: Final = 10.0  # for one peer to answer at the start
ASK_ALL_SECONDS: Final = 60.0  # for all of them
MAX_TILES: Final = 64  # fetched to look at one suspected fork

log = structlog.get_logger()


class BadGossip(PeerError):
    """A peer's greeting is malformed."""

    code = "peer.bad-gossip"


class Trust(Protocol):
    """What heads carry of the trust list, and what to do when a peer has a newer one."""

    def versions(self) -> Mapping[str, int]: ...
    async def renew(self, source: NodeId, theirs: Mapping[str, int]) -> None: ...


class _Greeting(BaseModel):
    model_config = ConfigDict(extra="ignore")

    heads: Annotated[dict[str, Annotated[str, StringConstraints(max_length=MAX_NOTE)]], Field(max_length=MAX_HEADS)]
    trust: Annotated[dict[str, int], Field(max_length=200)] = {}


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
        publisher: NodeId | None = None,
        trust: Trust | None = None,
        in_thread: InThread = asyncio.to_thread,
        crash_at: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._directory, self._peers, self._wire = directory, peers, wire
        self._clock, self._dice, self._in_thread, self._crash_at = clock, dice, in_thread, crash_at
        self._trust = trust
        self._server = Server(directory)
        self._keys = Keys(peers)
        self._errands = Errands(directory, peers, wire, clock=clock, in_thread=in_thread, publisher=publisher)
        self._puller = Puller(directory, wire, clock=clock, in_thread=in_thread, crash_at=crash_at)
        self._following: dict[NodeId, asyncio.Task[None]] = {}
        self._waiting: dict[NodeId, _Greeting] = {}  # the newest greeting of a peer that is being followed
        self._announced: Mapping[str, str] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._nudged = False
        self._passing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        directory.on_publish(self._published)

    def routes(self) -> web.RouteTableDef:
        """The routes of the federation door that belong to the directory."""
        table = web.RouteTableDef()
        table.get(LOG_PATH + "{path:.+}")(self._serve_log)
        table.post(LOG_PATH + "{path:.+}/entries")(self._serve_entries)
        table.post(GOSSIP_PATH)(self._serve_gossip)
        table.post(EVIDENCE_PATH)(self._serve_evidence)
        return table

    # -- greeting --------------------------------------------------------------------------------------------------

    async def round(self) -> None:
        """What is done every minute: greet two peers by lot and hosts we are behind; at first, everybody."""
        self._loop = asyncio.get_running_loop()
        if not self._directory.host.asked:
            await self.ask_peers()
        if self._announced is None:
            await self.greet_all()
        else:
            drawn = self._draw(DRAWN)
            wanted = await self._in_thread(self._hosts_of_what_lags)
            await self._greet_each(dict.fromkeys((*drawn, *wanted)))
        await self._hand_in()
        await self._errands.tell()

    async def notice(self) -> None:
        """Greet everybody if a log that lies here has changed since; cheap, called every few seconds.

        What a command wrote and died before showing it is shown too.
        """
        self._loop = asyncio.get_running_loop()
        await self._in_thread(self._directory.catch_up)
        heads = await self._in_thread(self._directory.own_heads)
        if self._announced is None:
            self._announced = heads  # the node has just begun: the first greeting is under way
        elif heads != self._announced:
            self.nudge()

    def nudge(self) -> None:
        """Greet everybody at once, or once more after the greeting under way; on the node's loop."""
        self._nudged = True
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.get_running_loop().create_task(self._announce(), name="greet after a change")

    async def _announce(self) -> None:
        """Greet everybody until they have seen our logs as they are now; those that lie elsewhere go to their hosts."""
        while self._nudged:
            self._nudged = False
            await self._hand_in()
            if await self._in_thread(self._directory.own_heads) != self._announced:
                await self.greet_all()

    def _published(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.nudge)

    async def _hand_in(self) -> None:
        await self._greet_each(await self._errands.hand_in())  # its host has it now: so may we

    async def greet_all(self) -> None:
        """Exchange heads with every peer; who does not answer is left for the next time."""
        self._loop = asyncio.get_running_loop()
        self._announced = await self._in_thread(self._directory.own_heads)
        await self._greet_each(self._draw())  # in drawn order: nobody is always the last

    def _draw(self, count: int | None = None, *, but: NodeId | None = None) -> list[NodeId]:
        peers = [peer.node for peer in self._peers.reachable() if peer.node != but]
        return self._dice.sample(peers, len(peers) if count is None else min(count, len(peers)))

    def _hosts_of_what_lags(self) -> list[NodeId]:
        found = []
        for standing in self._directory.replica.standings():
            if not self._directory.lags(standing.log):
                continue
            if key := self._keys.find(standing.log):
                found.append(self._directory.follower.valid(standing, key)[1])
        reachable = {peer.node for peer in self._peers.reachable()}
        return [host for host in dict.fromkeys(found) if host in reachable][:MAX_WANTED]

    async def _greet_each(self, nodes: Iterable[NodeId]) -> None:
        limit = asyncio.Semaphore(GREETINGS_AT_ONCE)

        async def one(node: NodeId) -> None:
            async with limit:
                try:
                    await self.greet(node)
                except ImiError as error:
                    log.info("greeting failed", peer=node, code=error.code, reason=str(error))

        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(one(node), name=f"greet {node}")

    async def greet(self, node: NodeId) -> None:
        """Show our heads to a peer, and follow what it shows. Raises Unavailable or PeerError."""
        greeting = await self._ask(node)
        self._crash_at("greeted")
        await self._follow(greeting, source=node)

    async def _ask(self, node: NodeId) -> _Greeting:
        _, answer = await self._wire.post(node, GOSSIP_PATH, await self._heads(), "application/json")
        return _read_greeting(answer)

    async def _heads(self) -> bytes:
        heads = self._fitting(await self._in_thread(self._shown))
        versions = dict(self._trust.versions()) if self._trust else {}
        return json.dumps({"heads": heads, "trust": versions}, ensure_ascii=False).encode()

    def _fitting(self, heads: Mapping[str, str]) -> Mapping[str, str]:
        """As many heads as a greeting may hold: our own, and where those of others are too many, some by lot.

        So no State can list so many logs that nobody's greeting is read any more.
        """
        room = {name: len(json.dumps({name: note}, ensure_ascii=False).encode()) for name, note in heads.items()}
        if len(heads) <= MAX_HEADS and sum(room.values()) <= MAX_HEADS_BYTES:
            return heads
        drawn = sorted(self._dice.sample(sorted(heads), len(heads)), key=lambda name: not self._is_ours(name))
        ends = accumulate(room[name] for name in drawn)
        return {name: heads[name] for name, end in zip(drawn[:MAX_HEADS], ends, strict=False) if end <= MAX_HEADS_BYTES}

    def _shown(self) -> dict[str, str]:
        """Our heads; those of our own logs only while they are not a backup's: less than we signed accuses us."""
        heads = self._directory.heads()
        return {name: note for name, note in heads.items() if not self._is_ours(name) or self._is_whole(name)}

    def _is_whole(self, name: str) -> bool:
        """Whether peers were asked, and nobody has shown more of this log of ours than lies here."""
        found = LogId.parse(name)
        return self._directory.host.asked and found is not None and not self._directory.lags(found)

    def _is_ours(self, name: str) -> bool:
        found = LogId.parse(name)
        key = self._keys.find(found) if found else None
        return key is not None and key.host == self._peers.us

    async def ask_peers(self) -> None:
        """Ask all peers how far our own logs were, and take back what is missing here; only then are they signed.

        All, since what we signed last may have come to few; one answer without a forged head is enough. Without any
        other node there is nobody to ask. Where nobody answers, it is tried again the next time.
        """
        peers, limit = self._draw(), asyncio.Semaphore(GREETINGS_AT_ONCE)
        answers: list[bool] = []

        async def one(node: NodeId) -> None:
            async with limit:
                answers.append(await self._ask_for_ours(node))

        try:
            async with asyncio.timeout(ASK_ALL_SECONDS), asyncio.TaskGroup() as group:
                for node in peers:
                    group.create_task(one(node), name=f"ask {node} for our logs")
        except TimeoutError:
            log.warning("peers take long to say how far our logs were", answered=sum(answers))
        if any(answers) or not peers:
            self._directory.host.asked = True  # a log of which we know that more was signed waits for that all the same
            log.info("peers were asked how far our own logs were", asked=sum(answers))
        else:
            log.error("no peer says how far our own logs were: they are neither shown nor signed", peers=len(peers))

    async def _ask_for_ours(self, node: NodeId) -> bool:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                greeting = await self._ask(node)
        except (ImiError, TimeoutError) as error:
            log.info("peer not asked for our logs", peer=node, reason=f"{type(error).__name__}: {error}")
            return False
        ours = {name: note for name, note in greeting.heads.items() if self._is_ours(name)}
        await self._follow(_Greeting(heads=ours), source=node)
        return await self._in_thread(self._can_be_true, ours)

    def _can_be_true(self, heads: Mapping[str, str]) -> bool:
        """Whether all these heads of our own logs were signed by their keys. Who shows others says nothing."""
        try:
            for shown in filter(None, map(LogId.parse, heads)):
                read_checkpoint(heads[str(shown)], log=str(shown), public_key=self._keys.get(shown).public_key)
        except ImiError:
            return False
        return True

    # -- following -------------------------------------------------------------------------------------------------

    async def _follow(self, greeting: _Greeting, *, source: NodeId) -> None:
        await self._look_at_trust(greeting.trust, source)
        behind: list[LogId] = []
        heard = False
        for shown in await self._in_thread(self._directory.follower.worth_following, greeting.heads, self._keys.find):
            try:
                heard |= await self._follow_one(shown, greeting.heads[str(shown)], source)
            except HostBehind:
                behind.append(shown)
            except Unavailable as error:  # the other logs go on
                log.info("directory log put off", log=str(shown), source=source, code=error.code, reason=str(error))
            except PeerError as error:
                log.error(  # noqa: TRY400  # no bug of ours
                    "directory log refused", log=str(shown), source=source, code=error.code, reason=str(error)
                )
        if behind:
            await self._ask_again(behind, source)
        if heard:
            self._pass_on(source)

    async def _ask_again(self, behind: Sequence[LogId], source: NodeId) -> None:
        """A host showed less than before: is that so, or was it an answer that something overtook on its way?"""
        knew = {each.name: await self._in_thread(self._directory.position, each) for each in behind}
        try:
            greeting = await self._ask(source)
        except ImiError as error:  # it is asked again when it shows that once more
            log.info("host not asked again", source=source, code=error.code, reason=str(error))
            return
        for shown in await self._in_thread(self._directory.follower.worth_following, greeting.heads, self._keys.find):
            if shown.name not in knew:
                continue
            try:
                await self._follow_one(shown, greeting.heads[str(shown)], source, knew=knew[shown.name])
            except ImiError as error:
                log.error("directory log refused", log=str(shown), source=source, code=error.code, reason=str(error))  # noqa: TRY400  # no bug of ours

    async def _follow_one(self, shown: LogId, note: str, source: NodeId, *, knew: tuple[int, int] = NOT_ASKED) -> bool:
        """Judge a head and pull what it promises; whether it was news, and not from the log's host."""
        key = self._keys.get(shown)
        promised = await self._in_thread(
            self._directory.see, shown, note, key, source=source, at=self._clock.now(), knew=knew
        )
        self._crash_at("judged")
        if promised is None:
            return False
        host = await self._in_thread(self._host, shown, key)
        # more of a log than we, who serve it, hold: we signed it and lost it, and take it back from who has it
        sources = (source,) if host == self._peers.us else tuple(dict.fromkeys((source, host)))
        await self._puller.pull(shown, promised, host=host, sources=sources)
        return source != host

    def _host(self, shown: LogId, key: LogKey) -> NodeId:
        """Who serves this epoch of a log."""
        standing = self._directory.replica.standing(shown.name)
        epoch, host = self._directory.follower.valid(standing, key)
        return host if shown.epoch == epoch else (standing.host or key.host)

    def _pass_on(self, source: NodeId) -> None:
        """Show two more peers at once what did not come from its host: that may be gone."""
        if self._passing is None or self._passing.done():
            drawn = self._draw(DRAWN, but=source)
            self._passing = asyncio.create_task(self._greet_each(drawn), name="pass on news")

    async def _look_at_trust(self, theirs: Mapping[str, int], source: NodeId) -> None:
        if self._trust is None:
            return
        ours = self._trust.versions()
        if any(version > ours.get(role, 0) for role, version in theirs.items()):
            await self._trust.renew(source, theirs)

    # -- serving ---------------------------------------------------------------------------------------------------

    async def checkpoint(self, name: str) -> bytes | None:
        """The newest checkpoint of a log held here; None if there is no such log."""
        return await self._in_thread(self._server.checkpoint, name)

    async def page(self, name: str, number: int, width: int) -> bytes | None:
        """The first `width` entries of a page, gzipped NDJSON; None if there are not so many here."""
        return await self._in_thread(self._server.page, name, number, width)

    async def find(self, path: str) -> bytes | None:
        """What lies at a path below `LOG_PATH`: a checkpoint, a page, a tile; None if nothing does."""
        found = await self._in_thread(self._server.find, path)
        return found.body if found else None

    async def answer_greeting(self, data: bytes, *, source: NodeId) -> bytes:
        """Our heads, for a peer that shows its own; they are followed once the answer is out. Raises BadGossip."""
        greeting = _read_greeting(data)
        asyncio.get_running_loop().call_soon(self._follow_later, greeting, source)
        return await self._heads()

    async def take_entries(self, data: bytes, *, source: NodeId) -> Checkpoint:
        """Publish what a State's own node signed, for a log that lies here. Raises as `Host.accept`."""
        return await self._errands.take_entries(data, source=source)

    async def take_evidence(self, data: bytes, *, source: NodeId) -> None:
        """Keep what a peer reports of a log, if its notes show it. Raises BadEvidence, EvidenceFull."""
        await self._errands.take_evidence(data, source=source)

    async def _serve_log(self, request: web.Request) -> web.Response:
        found = await self._in_thread(self._server.find, request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound(text="nothing of a log lies there")
        charset = "utf-8" if found.content_type == "text/plain" else None
        return web.Response(body=found.body, content_type=found.content_type, charset=charset)

    async def _serve_gossip(self, request: web.Request) -> web.Response:
        data = await _body(request, MAX_GOSSIP_BYTES)
        try:
            answer = await self.answer_greeting(data, source=request[PEER].node)
        except BadGossip as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.Response(body=answer, content_type="application/json")

    async def _serve_entries(self, request: web.Request) -> web.Response:
        named, source = LogId.parse(request.match_info["path"]), request[PEER].node
        if named is None or state_of(named.node) != state_of(source):  # before anything of the body is read
            raise web.HTTPForbidden(text="only a node of the same State hands in entries of a log")
        data = await _body(request, MAX_SIGNED_BYTES)
        try:
            taken = await self.take_entries(data, source=source)
        except (LogGap, LogClosed, NotPublishable, NotOurLog, BadCheckpoint, BadPage, LogForked, UnknownPeer) as error:
            log.warning("entries not taken", log=str(named), source=source, code=error.code, reason=str(error))
            raise web.HTTPConflict(text=f"{error.code}: {error}") from error
        return web.Response(text=taken.note)

    async def _serve_evidence(self, request: web.Request) -> web.Response:
        data = await _body(request, MAX_EVIDENCE_BYTES)
        try:
            await self.take_evidence(data, source=request[PEER].node)
        except BadEvidence as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        except EvidenceFull as error:
            raise web.HTTPTooManyRequests(text=str(error)) from error
        return web.Response(text="kept")

    def _follow_later(self, greeting: _Greeting, source: NodeId) -> None:
        """Follow after the answer is out; one task for each peer, and one greeting waiting for it, the newest."""
        if source in self._following:
            self._waiting[source] = greeting
            return
        task = asyncio.create_task(self._follow(greeting, source=source), name=f"follow {source}")
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


def _read_greeting(data: bytes) -> _Greeting:
    if len(data) > MAX_GOSSIP_BYTES:
        raise BadGossip("a greeting is too large")
    try:
        return _Greeting.model_validate_json(data)
    except ValidationError as error:
        raise BadGossip("a greeting is malformed") from error


async def _body(request: web.Request, limit: int) -> bytes:
    """The whole body, if it is announced and no longer than it may be."""
    if (request.content_length or limit + 1) > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=request.content_length or 0)
    return await request.read()
