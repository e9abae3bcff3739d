"""Nodes on one machine and in one thread: real directories in real files, a network that loses, processes that die.

What is real: `Directory` and its SQLite files, `Sync`, the jobs' error handling, every byte of pages and greetings.
What is played: time, threads (a function runs whole, others run between two), the network, who is at its other end.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.directory import Directory
from node.directory.copies import read_entries
from node.directory.directory import log_name
from node.directory.errands import EvidenceFull
from node.directory.model import Change, Deleted
from node.directory.replication import Checkpoint, LogId
from node.directory.serving import EVIDENCE_PATH, LOG_PATH, BadEvidence
from node.directory.sync import GOSSIP_PATH, BadGossip, Sync
from node.errors import ImiError
from node.federation.peers import LogKey, UnknownPeer
from node.federation.transport import PeerAnswered, Unreachable
from node.ids import NodeId
from node.jobs import Job, _once
from pki.signer import FileSigner

from .loop import OWNER

T = TypeVar("T")
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
FILES = ("logs.db", "directory.db")
AUTOCHECKPOINT = 1000  # frames after which SQLite moves them into the main file
ANSWER_SECONDS = 60.0  # as the transport waits


class Crash(BaseException):
    """The process is gone at this very line."""


@dataclass
class Listed:
    """What a simulated trust list says of a node."""

    node: NodeId
    logs: Mapping[str, LogKey]
    url: str | None


@dataclass
class Listing:
    """The trust list as one node reads it."""

    us: NodeId
    entries: dict[NodeId, Listed]
    only: frozenset[NodeId] | None = None  # whom one face of a liar talks to

    def get(self, node: NodeId) -> Listed:
        try:
            return self.entries[node]
        except KeyError:
            raise UnknownPeer(f"the trust list has no node {node}", node=node) from None

    def reachable(self) -> list[Listed]:
        return [
            entry for entry in self.entries.values() if entry.url and entry.node != self.us and self._talks_to(entry)
        ]

    def _talks_to(self, entry: Listed) -> bool:
        return self.only is None or entry.node in self.only


@dataclass
class Clock:
    """A node's clock: the simulation's time, and how wrong it is."""

    loop: asyncio.AbstractEventLoop
    wrong_by: timedelta = timedelta()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time()) + self.wrong_by


@dataclass
class Network:
    """Who reaches whom, and how well."""

    loss: float = 0.0
    slowest: float = 0.3
    groups: Sequence[frozenset[NodeId]] = ()  # in a partition: who is together; nobody else reaches anybody

    def joins(self, one: NodeId, other: NodeId) -> bool:
        return not self.groups or any(one in group and other in group for group in self.groups)


Distort = Callable[[str, bytes, NodeId], bytes]


class Process:
    """One run of a node on its files, from start to stop or crash; `tasks` die with it."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.is_alive = True
        self.crash_in: int | None = None  # so many lines from now
        self.dice = random.Random(f"{node.world.seed}/{node.name}/{node.runs}")
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self)
        self.directory: Directory | None = None
        self.sync: Sync | None = None

    # -- the node itself -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """As app.py builds it, as far as directories are concerned."""
        node = self.node
        self.directory = Directory(self.folder, clock=node.clock, crash_at=self.crash_at)
        self.directory.host.asked = False
        node.know_hosts(self.directory)
        self.crash_at("opened")
        await self.in_thread(self.directory.catch_up)
        self.sync = Sync(
            self.directory, node.listing, Wire(self), clock=node.clock, dice=self.dice,
            publisher=node.world.publisher, in_thread=self.in_thread, crash_at=self.crash_at,
        )  # fmt: skip
        node.world.tell(node.name, "is up")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick(Job(name="greet peers", every_seconds=60, run=self.sync.round)))
            group.create_task(self._tick(Job(name="notice", every_seconds=2, run=self.sync.notice)))

    async def _tick(self, job: Job) -> None:
        while True:
            due = asyncio.get_running_loop().time() + job.every_seconds
            await _once(job)
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async def serve(self, method: str, path: str, body: bytes, source: NodeId) -> bytes:
        """What the federation door answers. Raises PeerAnswered."""
        if self.sync is None:
            raise Unreachable(f"{self.node.name} is starting", door=self.node.name)
        answer: bytes | None = None
        try:
            match method, path:
                case "POST", _ if path == GOSSIP_PATH:
                    answer = await self.sync.answer_greeting(body, source=source)
                case "POST", _ if path == EVIDENCE_PATH:
                    await self.sync.take_evidence(body, source=source)
                    answer = b"kept"
                case "GET", _ if path.startswith(LOG_PATH):
                    answer = await self.sync.find(path.removeprefix(LOG_PATH))
        except (BadGossip, BadEvidence, EvidenceFull) as error:
            raise PeerAnswered(f"{self.node.name} refuses: {error}", status=400) from error
        if answer is None:
            raise PeerAnswered(f"{self.node.name} answers 404 to {path}", status=404)
        return answer

    # -- how it ends -----------------------------------------------------------------------------------------------

    def crash_at(self, line: str) -> None:
        """Every line between which the process may die passes here."""
        if not self.is_alive:
            raise Crash
        self.node.world.watch(self, line)
        if self.crash_in is None:
            return
        self.crash_in -= 1
        if self.crash_in < 0:
            self.node.world.tell(self.node.name, f"crashes at: {line}")
            self.end()
            raise Crash

    def end(self) -> None:
        """Nothing more happens in it; what lay on disk at this moment is kept for the next run."""
        if not self.is_alive:
            return
        self.is_alive = False
        self.node.keep_files(self.folder)
        if self.directory is not None:
            self.directory.close()  # whatever still unwinds finds closed files
        shutil.rmtree(self.folder)
        for task in list(self.tasks):
            if task is not _current_task():
                task.cancel()

    async def in_thread(self, function: Callable[..., T], /, *args: object, **named: object) -> T:
        """As asyncio.to_thread: others get their turns before and after, and the process may die there."""
        await asyncio.sleep(self.dice.random() * 0.02)
        self.crash_at(f"before {_name(function)}")
        try:
            result = function(*args, **named)
        except sqlite3.ProgrammingError:
            if not self.is_alive:
                raise Crash from None
            raise
        self.crash_at(f"after {_name(function)}")
        return result


class Command:
    """A command of the operator's: a process of its own on the same files."""

    def __init__(self, node: Node, killed_in: int | None, *, asked: bool) -> None:
        self.node, self._left, self.asked = node, killed_in, asked
        self.directory: Directory | None = None

    async def run(self, owner: NodeId, changes: Sequence[Any]) -> Checkpoint:
        self.directory = Directory(self.node.folder, clock=self.node.clock, crash_at=self.crash_at)
        self.directory.host.asked = self.asked
        self.node.know_hosts(self.directory)
        try:
            return self.directory.publish(owner, changes, self.node.world.signer(owner))
        except sqlite3.ProgrammingError:
            if self._left is not None and self._left < 0:
                raise Crash from None
            raise
        finally:
            self.directory.close()

    def crash_at(self, line: str) -> None:
        self.node.world.watch(self, line)
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self.node.world.tell(self.node.name, f"a command is killed at: {line}")
            if self.directory is not None:
                self.directory.close()
            raise Crash


class Wire:
    """A process's end of the network: mutual TLS, so each side knows who the other is."""

    def __init__(self, process: Process) -> None:
        self._process, self._us, self._world = process, process.node.name, process.node.world

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes:
        answer = await self._ask("GET", node, path, b"")
        if len(answer) > limit:
            raise Unreachable(f"{node} answers with more than {limit} bytes", door=node)
        return answer

    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]:
        return content_type, await self._ask("POST", node, path, body)

    async def _ask(self, method: str, name: NodeId, path: str, body: bytes) -> bytes:
        ours, world = self._process.node, self._world
        self._process.crash_at(f"before {method}")
        if ours.distort is not None and body:
            body = ours.distort(path, body, name)
        world.read_heads(ours, path, body)
        world.bytes_sent += len(body)
        await self._pass(name)
        there = world.door(name, self._us)
        if there is None:
            raise Unreachable(f"{name} does not answer", door=name)
        work = asyncio.get_running_loop().create_task(there.serve(method, path, body, self._us), context=there.context)
        done, _ = await asyncio.wait({work}, timeout=ANSWER_SECONDS)
        if not done or work.cancelled() or isinstance(work.exception(), Crash):
            work.cancel()
            raise Unreachable(f"{name} does not answer", door=name)
        answer = work.result()
        if there.node.distort is not None:
            answer = there.node.distort(path, answer, self._us)
        world.read_heads(there.node, path, answer)
        await self._pass(name)
        world.bytes_sent += len(answer)
        self._process.crash_at(f"after {method}")
        return answer

    async def _pass(self, name: NodeId) -> None:
        network, dice = self._world.network, self._process.dice
        await asyncio.sleep(0.01 + dice.random() * network.slowest)
        if not network.joins(self._us, name) or dice.random() < network.loss:
            await asyncio.sleep(dice.choice((0.1, 10.0, ANSWER_SECONDS)))  # reset, no connection, no answer
            raise Unreachable(f"{name} does not answer", door=name)


@dataclass
class Node:
    """A node through all its runs."""

    world: World
    name: NodeId
    alias: str = ""  # of the second of two that go by one name
    hosts: tuple[NodeId, ...] = ()  # whose logs lie here
    listing: Listing = field(init=False)
    clock: Clock = field(init=False)
    process: Process | None = None
    runs: int = 0
    is_honest: bool = True
    distort: Distort | None = None
    floor: dict[str, int] = field(default_factory=dict)  # the largest head it ever had, by log
    gone: set[str] = field(default_factory=set)  # what it has seen deleted

    def __post_init__(self) -> None:
        self.listing = Listing(self.name, dict(self.world.listed))
        self.clock = Clock(self.world.loop)

    @property
    def folder(self) -> Path:
        """Where the files of the present run lie, or those of the next."""
        return self.world.folder / f"{self.name}{self.alias}" / str(self.runs)

    def keep_files(self, folder: Path) -> None:
        """A copy of the files as they lie there: main files and logs of what was committed, no shared memory."""
        self.runs += 1
        copy_files(folder, self.folder)

    def lose_power(self) -> None:
        """It ends, and what SQLite had not yet forced to the disk is lost: of the replica's last commits, any number."""
        self.stop()
        lose_end(self.folder / "directory.db-wal", self.world.dice)
        self.floor.clear()
        self.gone.clear()
        self.world.forget_lost()

    def restore(self, snapshot: Path, names: Sequence[str]) -> None:
        """It ends and begins again with files of an earlier day."""
        self.stop()
        for name in names:
            copy_file(snapshot, self.folder, name)
        if "directory.db" in names:
            self.floor.clear()
            self.gone.clear()
        self.world.forget_lost()

    def longest_on_disk(self, name: str) -> int:
        """How many proven entries of a log lie in one of its files."""
        found = 0
        for file in FILES:
            if not (self.folder / file).exists():
                continue
            connection = sqlite3.connect(self.folder / file)
            try:
                row = connection.execute("SELECT size FROM logs WHERE log = ?", (name,)).fetchone()
            except sqlite3.OperationalError:
                row = None  # not begun yet
            finally:
                connection.close()
            found = max(found, row[0] if row else 0)
        return found

    async def publish(self, owner: NodeId, changes: Sequence[Any]) -> bool:
        """A change made in the node's own process; whether it was acknowledged."""
        work = await self._done(self.directory.publish, owner, changes, self.world.signer(owner))
        return self._published(changes, work)

    async def compact(self, owner: NodeId) -> bool:
        """A new epoch of a log that lies here; whether it has begun."""
        epoch = self.listing.get(owner).logs["authorities"].epoch
        return self._begun(
            await self._done(
                self.directory.host.compact, LogId(owner), self.world.signer(owner), host=self.name, trusted_epoch=epoch
            )
        )

    async def close(self, owner: NodeId, *, host: NodeId) -> bool:
        """The end of a log's epoch here: it goes on at `host`."""
        return self._begun(
            await self._done(self.directory.host.close, LogId(owner), self.world.signer(owner), host=host)
        )

    async def take_over(self, owner: NodeId, *, epoch: int) -> bool:
        """A new epoch of a log that lay elsewhere; whether it has begun."""
        signer = self.world.signer(owner)
        return self._begun(await self._done(self.directory.host.take_over, LogId(owner), signer, epoch=epoch))

    async def _done(self, function: Callable[..., Any], /, *args: object, **named: object) -> asyncio.Task[Any]:
        process = self.process
        assert process is not None
        work = self.world.loop.create_task(process.in_thread(function, *args, **named), context=process.context)
        await asyncio.wait({work})
        return work

    def _begun(self, work: asyncio.Task[Any]) -> bool:
        if work.cancelled() or isinstance(work.exception(), Crash):
            return False
        if isinstance(work.exception(), ImiError):
            self.world.tell(self.name, f"cannot: {work.exception()}")
            return False
        self.world.tell(self.name, f"has signed {work.result().log} with {work.result().size} entries")
        return True

    def _published(self, changes: Sequence[Any], work: asyncio.Task[Any]) -> bool:
        if work.cancelled() or isinstance(work.exception(), Crash):
            self.world.doubtful |= {change.id for change in changes}
            return False
        if isinstance(work.exception(), ImiError):
            self.world.tell(self.name, f"cannot publish: {work.exception()}")
            self.world.doubtful |= {change.id for change in changes}
            return False
        checkpoint = work.result()
        self.world.acknowledge(checkpoint, changes)
        self.world.tell(self.name, f"has published {len(changes)} changes: {checkpoint.log} has {checkpoint.size}")
        return True

    async def command(self, owner: NodeId, changes: Sequence[Any], *, killed_in: int | None) -> bool:
        """A change made by a command beside the node, which may be killed so many lines from its start."""
        command = Command(self, killed_in, asked=self.has_asked or not self.runs)
        work = self.world.loop.create_task(command.run(owner, changes))
        await asyncio.wait({work})
        return self._published(changes, work)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = Process(self, self.folder)
        self.world.loop.create_task(self._run(self.process), context=self.process.context)

    async def _run(self, process: Process) -> None:
        try:
            await process.run()
        except asyncio.CancelledError:
            if process.is_alive:
                raise
        except BaseException as error:
            if process.is_alive:
                self.world.broken(f"{self.name} stopped: {type(error).__name__}: {error}")
            if not _is_crash(error) and process.is_alive:
                raise

    def stop(self) -> None:
        """It ends; not at a line of its choice."""
        if self.process is not None:
            self.process.end()

    @property
    def has_asked(self) -> bool:
        """Whether it runs, and knows from its peers how far its own logs were."""
        return self.is_up and self.directory.host.asked

    def know_hosts(self, directory: Directory) -> None:
        """What app.py lets a directory see of the trust list."""

        def lies_here(found: LogId) -> bool:
            return self.listing.get(found.node).logs[found.collection].host == self.name

        entries = self.listing.entries
        directory.keys = lambda: {f"{n}/{name}": key for n, one in entries.items() for name, key in one.logs.items()}
        directory.host.lies_here = lies_here

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.is_alive and self.process.sync is not None

    @property
    def directory(self) -> Directory:
        assert self.process is not None
        assert self.process.directory is not None
        return self.process.directory


class World:
    """All nodes, the network between them, and what was seen."""

    def __init__(self, seed: int | str, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self.seed, self.loop, self.folder = seed, loop, folder
        self.network = Network()
        self.nodes: dict[str, Node] = {}
        self.listed: dict[NodeId, Listed] = {}
        self.trace: list[str] = []
        self.violations: list[str] = []
        self.shown: dict[tuple[str, int], str] = {}  # (log, size) -> root, of honest owners' logs
        self.acknowledged: dict[str, dict[tuple[int, int], Change]] = {}  # log -> epoch and place -> what is there
        self.doubtful: set[str] = set()  # records with a change that may have been made or not
        self.publisher: NodeId | None = None
        self.only_liars_know: set[str] = set()  # logs of which honest disks have lost what was shown to others
        self.bytes_sent = 0
        self.watchers: list[Callable[[Process | Command, str], None]] = []
        self.second_face: dict[tuple[NodeId, NodeId], Node] = {}  # (who is asked, who asks) -> who answers instead

    def add(self, name: str, *, hosts: Sequence[str] = ()) -> Node:
        """A node whose own log, and those of States it hosts, lie with it."""
        node = Node(self, NodeId(name), hosts=tuple(NodeId(owner) for owner in (name, *hosts)))
        for owner in node.hosts:
            key = LogKey(public_key=self.signer(owner).public_key, host=node.name)
            url = f"https://{name}" if owner == name else None
            self.listed[owner] = Listed(owner, {"authorities": key}, url)
        self.nodes[name] = node
        for each in self.nodes.values():
            each.listing.entries.update(self.listed)
        return node

    def list_anew(self, owner: NodeId, *, host: NodeId, epoch: int) -> None:
        """Publish a trust list in which a log is in another epoch, perhaps at another host; nodes read it when they do."""
        key = replace(self.listed[owner].logs["authorities"], host=host, epoch=epoch)
        self.listed[owner] = replace(self.listed[owner], logs={"authorities": key})
        for node in self.nodes.values():
            self.loop.call_later(self.dice.uniform(0, 90), node.listing.entries.__setitem__, owner, self.listed[owner])

    def signer(self, owner: NodeId) -> FileSigner:
        """The key of an owner's log: the same in every run."""
        seed = hashlib.sha256(f"{self.seed}/{owner}".encode()).digest()
        return FileSigner(Ed25519PrivateKey.from_private_bytes(seed))

    @cached_property
    def dice(self) -> random.Random:
        return random.Random(f"{self.seed}/world")

    def door(self, name: NodeId, source: NodeId) -> Process | None:
        """The process that answers `source` under this name."""
        node = self.second_face.get((name, source)) or self.nodes[name]
        return node.process if node.process is not None and node.process.is_alive else None

    def honest(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.is_honest]

    def host_of(self, owner: NodeId) -> Node:
        return self.nodes[self.listed[owner].logs["authorities"].host]

    def is_honest_log(self, name: str) -> bool:
        """Whether its owner's node, which hosts it, is honest."""
        owner = NodeId(name.partition("/")[0])
        return owner in self.listed and self.host_of(owner).is_honest

    def is_sound(self, name: str) -> bool:
        """Whether its host is honest, and no honest disk has lost what liars alone have kept of it."""
        return self.is_honest_log(name) and name not in self.only_liars_know

    # -- what is seen ----------------------------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        minutes, seconds = divmod(self.loop.time(), 60)
        self.trace.append(f"{int(minutes):4}:{seconds:06.3f}  {who:8} {what}")

    def broken(self, law: str) -> None:
        """A law does not hold."""
        self.tell("LAW", law)
        self.violations.append(law)

    def acknowledge(self, checkpoint: Checkpoint, changes: Sequence[Any]) -> None:
        """A publisher was told that these are in its log: they must not be lost."""
        shown = LogId.parse(checkpoint.log)
        assert shown is not None
        first = checkpoint.size - len(changes)
        self.acknowledged.setdefault(shown.name, {}).update(
            {(shown.epoch, place): change for place, change in enumerate(changes, first)}
        )

    def forget_lost(self) -> None:
        """After disks have lost something: what no honest disk holds any more cannot be kept, and may be said anew."""
        for name in sorted({log for log, _ in self.shown}):
            found = LogId.parse(name)
            assert found is not None
            honest = max(node.longest_on_disk(name) for node in self.honest())
            if honest < max(size for log, size in self.shown if log == name):
                self.only_liars_know.add(found.name)  # or nobody does
            self.shown = {key: root for key, root in self.shown.items() if key[0] != name or key[1] <= honest}
            known = self.acknowledged.get(found.name, {})
            for epoch, place in [key for key in known if key[0] == found.epoch and key[1] >= honest]:
                self.doubtful.add(known.pop((epoch, place)).id)

    def watch(self, process: Process | Command, line: str) -> None:
        """Laws of every moment: heads grow, what is deleted stays deleted."""
        for watcher in self.watchers:
            watcher(process, line)
        if line != "directory.db committed" or process.directory is None:
            return
        node, replica, has_grown = process.node, process.directory.replica, False
        for name, size in replica.connection().execute("SELECT log, size FROM logs WHERE note != ''").fetchall():
            known = node.floor.get(name, 0)
            has_grown = has_grown or size != known
            if size < known:
                self.broken(f"heads only grow: {node.name} goes from {known} to {size} entries of {name}")
            elif size > known and self.is_honest_log(name):
                shown = LogId.parse(name)
                assert shown is not None
                reading = read_entries(replica.entries(name, known, size), shown, known)
                node.gone |= {change.id for change, _ in reading.changes if isinstance(change, Deleted)}
            node.floor[name] = size
        for gone in sorted(node.gone) if has_grown else ():
            if replica.find(gone) is not None:
                self.broken(f"no deleted entry returns: {gone} is on {node.name} again")

    def read_heads(self, node: Node, path: str, body: bytes) -> None:
        """No size of an honest owner's log is ever shown with two roots."""
        if path != GOSSIP_PATH or not node.is_honest:
            return
        for name, note in json.loads(body)["heads"].items():
            if self.is_honest_log(name):
                _, size, root = note.split("\n")[:3]
                if self.shown.setdefault((name, int(size)), root) != root:
                    self.broken(f"one root for a size: {name} is shown with two roots for {size} entries")


def copy_files(source: Path, target: Path) -> None:
    """Both files and their write-ahead logs; shared memory is made again by whoever opens them."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        copy_file(source, target, name)


def copy_file(source: Path, target: Path, name: str) -> None:
    """One file and its write-ahead log, in the place of what is there."""
    for tail in ("", "-wal", "-shm"):
        (target / f"{name}{tail}").unlink(missing_ok=True)
    for tail in ("", "-wal"):
        if (source / f"{name}{tail}").exists():
            shutil.copyfile(source / f"{name}{tail}", target / f"{name}{tail}")


def lose_end(wal: Path, dice: random.Random) -> None:
    """Cut a write-ahead log anywhere, as a machine without power does; unless a part is in the main file already."""
    if not wal.exists():
        return
    data = wal.read_bytes()
    size = 24 + int.from_bytes(data[8:12], "big")
    count = sum(data[at + 8 : at + 16] == data[16:24] for at in range(32, len(data), size))
    if 0 < count < AUTOCHECKPOINT:
        wal.write_bytes(data[: dice.randrange(len(data))])


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_crash(inner) for inner in error.exceptions)
    return isinstance(error, Crash | asyncio.CancelledError)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__).lstrip("_")


__all__ = ["START", "Crash", "Network", "Node", "Process", "World", "copy_file", "copy_files", "log_name"]
