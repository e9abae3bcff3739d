"""Fetching what a checkpoint promises, page by page, and looking at hash tiles where the owner may have signed two logs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from node import merkle
from node.clock import Clock
from node.directory.directory import Directory
from node.directory.replication import (
    MAX_PAGE_BYTES,
    PAGE,
    BadPage,
    Checkpoint,
    Divergence,
    Entry,
    LogId,
    pages,
    read_page,
)
from node.directory.serving import TILE_BYTES, gunzip, tile_path
from node.errors import ImiError, Unavailable
from node.ids import NodeId
from node.merkle import TILE, TILE_HEIGHT

MAX_TILES: Final = 64  # fetched to look at one suspected fork

log = structlog.get_logger()
T = TypeVar("T")


class PulledBeside(Unavailable):
    """A command beside the node, or the node beside the command, pulls the same log: the next greeting will tell."""

    code = "unavailable.log-pulled-beside"


class Wire(Protocol):
    """What is needed of the transport."""

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes: ...
    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]: ...


class InThread(Protocol):
    """Runs what takes long beside the loop: `asyncio.to_thread`."""

    def __call__(self, function: Callable[..., T], /, *args: object, **named: object) -> Awaitable[T]: ...


class _TileMissing(Exception):  # tells which one to fetch, inside this module
    def __init__(self, level: int, number: int) -> None:
        super().__init__()
        self.level, self.number = level, number


class Puller:
    """Fetches logs from peers; of one log one pull at a time."""

    def __init__(
        self, directory: Directory, wire: Wire, *, clock: Clock, in_thread: InThread, crash_at: Callable[[str], None]
    ) -> None:
        self._directory, self._wire = directory, wire
        self._clock, self._in_thread, self._crash_at = clock, in_thread, crash_at
        self._pulling: dict[str, asyncio.Lock] = {}

    async def pull(self, shown: LogId, checkpoint: Checkpoint, *, host: NodeId, sources: Sequence[NodeId]) -> None:
        """Fetch what is missing from the first source that gives entries leading to the signed root, and count it.

        Raises:
            LogForked: what the owner signed does not continue what we hold.
            Unavailable, PeerError: no source gave it.
        """
        async with self._pulling.setdefault(str(shown), asyncio.Lock()):
            if await self._in_thread(self._directory.replica.held, checkpoint.log) != checkpoint:
                await self._pull(shown, checkpoint, host=host, sources=sources)

    async def _pull(self, shown: LogId, checkpoint: Checkpoint, *, host: NodeId, sources: Sequence[NodeId]) -> None:
        failure: ImiError | None = None
        doubtful: list[NodeId] = []
        for source in sources:
            held = await self._in_thread(self._directory.replica.staged, checkpoint.log)
            if held.size > checkpoint.size:
                return  # another pull was faster
            try:
                for page, width, skip in pages(held.size, checkpoint.size):
                    path = tile_path(shown, "entries", page, width)
                    data = await self._wire.get(source, path, limit=MAX_PAGE_BYTES)
                    self._crash_at("page fetched")
                    entries = await self._in_thread(_read, data, width, skip, is_host=source == host)
                    await self._in_thread(self._stage, checkpoint.log, entries, page * PAGE + skip)
                    self._crash_at("page staged")
                await self._in_thread(self._directory.settle, checkpoint, source=source)
                self._crash_at("settled")
            except ImiError as error:
                await self._in_thread(self._directory.replica.unstage, checkpoint.log)
                log.warning(
                    "directory pull failed", log=checkpoint.log, source=source, code=error.code, reason=str(error)
                )
                failure = error
                if isinstance(error, BadPage):
                    doubtful.append(source)
            else:
                return
        for source in doubtful:
            await self._look_for_fork(shown, checkpoint, source)
        if failure is not None:
            raise failure

    def _stage(self, name: str, entries: Sequence[Entry], first: int) -> None:
        with self._directory.replica.writing():
            if self._directory.replica.staged(name).size != first:
                raise PulledBeside(f"somebody else pulls {name} into the same file", log=name)
            self._directory.replica.stage(name, entries)

    async def _look_for_fork(self, shown: LogId, checkpoint: Checkpoint, source: NodeId) -> None:
        """Does what the owner signed begin with what we hold? A few hash tiles tell, and prove it.

        Raises:
            LogForked: it does not.
        """
        held = await self._in_thread(self._directory.replica.held, checkpoint.log)
        if held is None or not 0 < held.size < checkpoint.size:
            return
        try:
            proof = await self._divergence(shown, held, checkpoint, source)
        except (ImiError, ValueError):
            return  # it cannot show that its log is the one that was signed
        if proof.root != held.root and merkle.is_consistent(
            held.size, proof.root, checkpoint.size, checkpoint.root, proof.path
        ):
            await self._in_thread(
                self._directory.fork_seen, held, checkpoint, proof, source=source, at=self._clock.now()
            )

    async def _divergence(self, shown: LogId, held: Checkpoint, checkpoint: Checkpoint, source: NodeId) -> Divergence:
        """What `source` says the log of `checkpoint` was at our size, and the proof. Raises ValueError, Unavailable."""
        tiles: dict[tuple[int, int], bytes] = {}

        def subtree(height: int, number: int) -> bytes:
            level, width = height // TILE_HEIGHT, 1 << height % TILE_HEIGHT
            tile, first = divmod(number * width, TILE)
            if (level, tile) not in tiles:
                raise _TileMissing(level, tile)
            found = tiles[level, tile][first * merkle.HASH_BYTES : (first + width) * merkle.HASH_BYTES]
            size = merkle.HASH_BYTES
            return merkle.root([found[at : at + size] for at in range(0, len(found), size)])

        for _ in range(MAX_TILES):
            try:
                root = merkle.range_root(0, held.size, subtree)
                return Divergence(root, merkle.consistency_proof(held.size, checkpoint.size, subtree))
            except _TileMissing as missing:
                level, number = missing.level, missing.number
            width = min(TILE, (checkpoint.size >> TILE_HEIGHT * level) - number * TILE)
            path = tile_path(shown, level, number, width)
            tiles[level, number] = await self._wire.get(source, path, limit=TILE_BYTES)
        raise ValueError("the proof needs more tiles than a log has")


def _read(data: bytes, width: int, skip: int, *, is_host: bool) -> list[Entry]:
    return read_page(gunzip(data), count=width, from_host=is_host)[skip:]
