"""Small real nodes for delivery tests: keys, trust list, database, lanes and door, with opaque payloads.

A delivered message is written to the table `log` in the transaction that stores it: what stands there, in order, is
what "arrived" means. Run as a program it is one node process (`python -m tests.delivery.harness FOLDER NODE PEER GOAL
CRASH-LINE`), or, without arguments, a `Nursery`: it has everything imported and forks a node process on request, so that a
node killed a hundred times does not spend its lives importing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.orm import Session

from node import log
from node.clock import Clock, SystemClock
from node.federation import as4, listener, outbox, outside
from node.federation.peers import Peer, Peers, TrustList
from node.federation.receiver import Answer, Body, Deliver, Inbound, Receiver
from node.federation.relay import Relay
from node.federation.sender import Sender, SenderParts
from node.federation.tls import add_anchors, server_context
from node.federation.transport import Transport
from node.federation.trust import TrustReader, from_folder, serve
from node.ids import MessageId, NodeId
from node.local_store.bodies import Bodies
from node.local_store.database import Database
from pki.authority import StateAuthority, pem
from pki.node_keys import Family, load_node_keys, write_node_keys
from pki.trustlist import NodeEntry, Publisher
from pki.trustlist.publisher import load_state_key, make_state_key

SUITE = "as4-2.0-ed25519-x25519"
KEYS = 12
MIB = 1024 * 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(
    folder: Path,
    nodes: Sequence[str],
    *,
    families: Sequence[Family] = (),
    suite: str = SUITE,
    relays: Mapping[str, str] | None = None,
) -> Publisher:
    """State authorities, keys, a trust list of `nodes`, and each node's first reading of it.

    Args:
        families: keys for further suites.
        suite: what they speak with each other.
        relays: node -> the node through which alone it is reached.
    """
    states = sorted({node[:2] for node in nodes})
    for state in states:
        StateAuthority.create(folder / "states" / state, state)
        make_state_key(folder / "states" / state / "trust.key")
    keys = {state: load_state_key(folder / "states" / state / "trust.key").public_key for state in states}
    publisher = Publisher.ceremony(folder / "publisher", keys)
    for node in nodes:
        authority = StateAuthority.open(folder / "states" / node[:2])
        write_node_keys(folder / node / "keys", node, authority, ["127.0.0.1"], families=families)
        (folder / node / "suite").write_text(suite)
        (folder / node / "port").write_text(str(free_port()))
        if relays and node in relays:
            (folder / node / "relay").write_text(relays[node])
        TrustReader.start_from(folder / node / "trust", publisher.root_bytes())
    publish(folder, publisher, nodes)
    for node in nodes:
        reader(folder, node).refresh()
    return publisher


def publish(folder: Path, publisher: Publisher, nodes: Sequence[str]) -> None:
    """Put exactly `nodes` in the trust list."""
    for state in sorted({path.name for path in (folder / "states").iterdir()}):
        entries = [entry(folder, node) for node in nodes if node[:2] == state]
        crl = (folder / "states" / state / "crl.pem").read_bytes()
        key = load_state_key(folder / "states" / state / "trust.key")
        publisher.publish(state, key, entries, crl, snapshot=False)
    publisher.snapshot()


def address(folder: Path, node: str) -> str:
    return f"https://127.0.0.1:{(folder / node / 'port').read_text()}"


def relay_of(folder: Path, node: str) -> str | None:
    file = folder / node / "relay"
    return file.read_text() if file.exists() else None


def behind(folder: Path, node: str) -> dict[NodeId, str]:
    """The setting `[relay]` of a node: where the nodes behind it are."""
    others = [path.parent.name for path in folder.glob("*/relay")]
    return {NodeId(other): address(folder, other) for other in others if relay_of(folder, other) == node}


def entry(folder: Path, node: str) -> NodeEntry:
    relay = relay_of(folder, node)
    return NodeEntry(
        node=node,
        state=node[:2],
        name={"en": node},
        federation=None if relay else address(folder, node),
        relay=relay,
        state_ca=pem(StateAuthority.open(folder / "states" / node[:2]).certificate).decode(),
        signing=tuple(path.read_text() for path in sorted((folder / node / "keys").glob("sign*.crt"))),
        encryption=tuple(path.read_text() for path in sorted((folder / node / "keys").glob("encrypt*.crt"))),
        suites=((folder / node / "suite").read_text(),),
    )


def reader(folder: Path, node: str) -> TrustReader:
    return TrustReader(folder / node / "trust", from_folder(folder / "publisher" / "repository"))


def trust_list(folder: Path, node: str) -> TrustList:
    return reader(folder, node).refresh()


@dataclass(slots=True)
class SmallNode:
    """One running node without any business."""

    folder: Path
    node: NodeId
    clock: Clock = field(default_factory=SystemClock)
    crash_at: Callable[[str], None] = lambda _line: None
    deliver: Deliver = lambda session, inbound: deliver(session, inbound)  # noqa: PLW0108  # it is defined below
    database: Database = field(init=False)
    peers: Peers = field(init=False)
    sender: Sender = field(init=False)
    relay: Relay = field(init=False)
    receiver: Receiver = field(init=False)
    parts: SenderParts = field(init=False)
    bodies: Bodies = field(init=False)
    told: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self, *, sending: bool = True) -> AsyncIterator[SmallNode]:
        home = self.folder / self.node
        self.database = Database.open(home / "node.db", create=True)
        self.database.run(
            lambda s: s.execute(text("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, what TEXT)"))
        )
        keys = load_node_keys(home / "keys")
        kept = reader(self.folder, self.node).kept()
        assert kept
        self.peers = Peers(
            self.node,
            kept,
            outside=outside.read_all(home / "peers", self.node),
            addresses=behind(self.folder, self.node),
        )
        self.bodies = Bodies(home / "messages")
        transport = Transport(keys, self.peers)
        self.parts = SenderParts(
            database=self.database, clock=self.clock, peers=self.peers, keys=keys, transport=transport,
            bodies=self.bodies, open_file=_open_file,
            undeliverable=lambda _s, waiting: self.told.append(waiting.message_id),
            crash_at=self.crash_at,
        )  # fmt: skip
        self.sender = Sender(self.parts)
        self.relay = Relay(self.peers, transport)
        self.receiver = Receiver(
            database=self.database,
            clock=self.clock,
            peers=self.peers,
            keys=keys,
            bodies=self.bodies,
            deliver=self.deliver,
            crash_at=self.crash_at,
        )
        app = listener.application(
            peers=self.peers, receiver=self.receiver,
            bodies=self.bodies, relay=self.relay,
            serve_trust=lambda path: serve(home / "trust" / "repository", path),
            routes=web.RouteTableDef(), on_contact=self._spoke,
        )  # fmt: skip
        context = server_context(keys, self.peers)
        self.peers.on_change(lambda: add_anchors(context, self.peers))
        runner = await listener.start(app, context, host="127.0.0.1", port=int((home / "port").read_text()))
        task = asyncio.create_task(self.sender.run()) if sending else None
        try:
            yield self
        finally:
            if task:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await runner.cleanup()
            await self.relay.close()
            await transport.close()
            self.database.close()

    def _spoke(self, node: NodeId) -> None:
        self.sender.wake(node)
        self.relay.spoke(node)

    @contextlib.asynccontextmanager
    async def storing(self) -> AsyncIterator[SmallNode]:
        """Only its database, beside a process that runs the node."""
        self.database = Database.open(self.folder / self.node / "node.db", exclusive=False)
        try:
            yield self
        finally:
            self.database.close()

    async def post(self, recipient: str, *bodies: str, order: str = "case", prefix: str = "") -> None:
        """Post one message a body in one transaction."""
        await self.database.transact(self._post, NodeId(recipient), bodies, order, prefix)

    def _post(self, session: Session, recipient: NodeId, bodies: Sequence[str], order: str, prefix: str) -> None:
        for body in bodies:
            outbox.post(
                session, message_id=MessageId(f"{prefix}{body}@{self.node.lower()}.imi.node"), recipient=recipient,
                order=order, conversation=order, action="events", content=body.encode(), at=self.clock.now(),
            )  # fmt: skip

    async def arrived(self) -> list[str]:
        """What was delivered here, in order."""
        return await self.database.read(arrived)

    async def states(self, order: str = "case") -> list[str]:
        return [d.state for d in await self.database.read(outbox.statuses, order)]


def deliver(session: Session, inbound: Inbound) -> None:
    """The first part as it is; of further ones their digests."""
    first, *others = (part.content for part in inbound.parts)
    digests = [summed(content) for content in others]
    session.execute(text("INSERT INTO log (what) VALUES (:what)"), {"what": " ".join([first.decode(), *digests])})


def summed(content: as4.Content) -> str:
    found = hashlib.sha256()
    for chunk in as4.chunks_of(content):
        found.update(chunk)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Noise:
    """A large file that compresses badly, the same at each reading, and is never in memory as a whole."""

    size: int

    def chunks(self):
        for number in range(self.size // MIB):
            yield hashlib.shake_128(number.to_bytes(4, "big")).digest(MIB)


def _open_file(_session: Session, reference: str) -> as4.Content:
    kind, _, size = reference.partition(":")
    return Noise(int(size) * MIB) if kind == "noise" else reference.encode() * 2


def arrived(session: Session) -> list[str]:
    return [row.what for row in session.execute(text("SELECT what FROM log ORDER BY id"))]


async def until(look: Callable[[], object], *, seconds: float = 20.0, every: float = 0.02) -> None:
    """Wait until an (async) look is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(every)


def _kill_at(line: str) -> Callable[[str], None]:
    """SIGKILL ourselves the third time a line is reached: there is load by then."""
    times = 0

    def crash(reached: str) -> None:
        nonlocal times
        times += reached == line
        if reached == line and times == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


async def _serve_bare(folder: Path, node: str) -> None:
    """Take messages without storing any: the receipt goes out at once (to measure what storing costs)."""
    async with SmallNode(folder, NodeId(node)).running(sending=False) as small:

        async def receive(peer: Peer, content_type: str, body: Body) -> Answer:
            opened = small.receiver._open(small.receiver._read(peer, content_type, body.data))
            as4.decompress(opened.decrypted)
            return Answer(content_type="application/soap+xml; charset=UTF-8", body=opened.receipt)

        small.receiver.receive = receive
        (folder / node / "up").touch()
        await asyncio.Event().wait()


async def _serve(folder: Path, node: str, peer: str, goal: int, line: str) -> None:
    """Run, posting to `peer` under KEYS order keys until `goal` messages were posted in all lives together."""
    crash = _kill_at(line)
    async with SmallNode(folder, NodeId(node), crash_at=crash).running() as small:
        (folder / node / "up").touch()
        while True:
            number = await small.database.read(lambda s: s.execute(text("SELECT count(*) FROM outbox")).scalar() or 0)
            if number >= goal:
                await asyncio.Event().wait()
            bodies = [f"{node}-{n:05}" for n in range(number, min(number + 3, goal))]
            for body in bodies:
                await small.post(peer, body, order=f"case-{int(body[-5:]) % KEYS}")
            crash("posted")
            await asyncio.sleep(0.005)


class Nursery:
    """Starts node processes that are killed: a real process each, forked from one that has imported everything."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.delivery.harness"],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, folder: Path, node: str, peer: str, goal: int, line: str = "") -> int:
        """The process id of a new node process."""
        return self._ask(["start", str(folder), node, peer, goal, line])

    def ended(self, pid: int) -> int | None:
        """The signal that ended a process (0: none did); None while it runs."""
        return self._ask(["ended", pid])

    def kill(self, pid: int) -> None:
        """SIGKILL, and wait for the end."""
        self._ask(["kill", pid])

    def close(self) -> None:
        """End it; what it started is killed."""
        self._process.communicate()

    def _ask(self, question: list[object]) -> Any:
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _raise_children() -> None:
    """The nursery's own loop: one question a line, one answer a line."""
    children: set[int] = set()
    for asked in sys.stdin:
        match json.loads(asked):
            case ["start", folder, node, peer, goal, line]:
                pid = os.fork()
                if not pid:
                    _live(folder, node, peer, goal, line)
                children.add(pid)
                answer = pid
            case ["kill", pid]:
                if pid in children:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    children.discard(pid)
                answer = 0
            case ["ended", pid]:
                gone, status = os.waitpid(pid, os.WNOHANG)
                answer = None if not gone else os.waitstatus_to_exitcode(status) * -1
                if gone:
                    children.discard(pid)
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _live(folder: str, node: str, peer: str, goal: int, line: str) -> NoReturn:
    os.close(0)
    os.dup2(2, 1)  # standard output is the nursery's answers
    log.configure(node=node, level="error")
    try:
        asyncio.run(
            _serve_bare(Path(folder), node) if goal == "bare" else _serve(Path(folder), node, peer, int(goal), line)
        )
    except BaseException:  # noqa: BLE001  # a forked child must end here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    if sys.argv[1:]:
        _live(*sys.argv[1:6])
    _raise_children()
