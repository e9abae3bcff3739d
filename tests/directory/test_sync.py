"""Nodes that keep their directories equal: over HTTP on this machine, with a trust list of three."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from node.clock import SystemClock
from node.directory import Authority, Directory
from node.directory.directory import log_name
from node.directory.replication import LogForked, read_page
from node.directory.serving import LOG_PATH, Server
from node.directory.sync import Sync
from node.errors import Unavailable
from node.federation.listener import PEER
from node.federation.peers import LogKey, UnknownPeer
from node.ids import AuthorityId, NodeId
from pki.keys import generate
from pki.signer import FileSigner

EE, FR, BG, LU = (NodeId(name) for name in ("EE", "FR", "BG", "LU"))
SIGNER = FileSigner(generate("log"))
HOSTS = {EE: EE, FR: FR, BG: BG, LU: FR}  # Luxembourg's log lies at the French node


def body(number: str, name: str = "Amet", node: NodeId = EE) -> Authority:
    return Authority(id=AuthorityId(f"{node}:{number}"), node=node, names={"et": name}, name_lang="et")


@dataclass
class Listed:
    node: NodeId
    logs: dict[str, LogKey]


@dataclass
class TrustOf:
    us: NodeId

    def get(self, node: NodeId) -> Listed:
        if node not in HOSTS:
            raise UnknownPeer(f"no {node}")
        return Listed(node, {"authorities": LogKey(public_key=SIGNER.public_key, host=HOSTS[node])})

    def reachable(self) -> list[Listed]:
        return [self.get(node) for node in (EE, FR, BG) if node != self.us]


@dataclass
class Wire:
    """HTTP without TLS; `damage` changes the pages that a node gives, `down` are nodes that do not answer."""

    us: NodeId
    clients: dict[NodeId, TestClient]
    damage: dict[NodeId, object] = field(default_factory=dict)
    down: set[NodeId] = field(default_factory=set)
    asked: list[NodeId] = field(default_factory=list)

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes:  # noqa: ARG002  # as the transport has it
        self.asked.append(node)
        answer = await self._ask("GET", node, path, b"")
        return self.damage[node](answer) if node in self.damage else answer

    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]:
        return content_type, await self._ask("POST", node, path, body)

    async def _ask(self, method: str, node: NodeId, path: str, body: bytes) -> bytes:
        if node in self.down:
            raise Unavailable(f"{node} does not answer")
        async with self.clients[node].request(method, path, data=body, headers={"From": self.us}) as answer:
            if answer.status != 200:
                raise Unavailable(f"{answer.status}")
            return await answer.read()


@dataclass
class Member:
    directory: Directory
    sync: Sync
    wire: Wire


@asynccontextmanager
async def federation(folder) -> AsyncIterator[dict[NodeId, Member]]:
    clients: dict[NodeId, TestClient] = {}
    members: dict[NodeId, Member] = {}
    async with AsyncExitStack() as stack:
        for node in (EE, FR, BG):
            (folder / node).mkdir()
            directory = Directory(folder / node)
            stack.callback(directory.close)
            wire = Wire(node, clients)
            sync = Sync(directory, TrustOf(node), wire, clock=SystemClock(), dice=random.Random(1))
            members[node] = Member(directory, sync, wire)

            @web.middleware
            async def known(request, handler):
                request[PEER] = Listed(NodeId(request.headers["From"]), {})
                return await handler(request)

            app = web.Application(middlewares=[known])
            app.add_routes(members[node].sync.routes())
            clients[node] = await stack.enter_async_context(TestClient(TestServer(app)))
        yield members


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in other nodes
            await asyncio.sleep(0.02)


def strip_bodies(data: bytes) -> bytes:
    lines = gzip.decompress(data).splitlines()
    entries = read_page(gzip.decompress(data), count=len(lines))
    return gzip.compress(b"".join(f'["{entry.leaf.hex()}"]\n'.encode() for entry in entries))


def lie(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):  # a tile of hashes
        return bytes(len(data))
    return gzip.compress(gzip.decompress(data).replace(b"Amet", b"Vale"))


def test_pages_are_pulled_and_passed_on_a_hosted_log_too(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body(str(n)) for n in range(600)], SIGNER)
            nodes[FR].directory.publish(LU, [body("1", "Ministère", LU)], SIGNER)
            await nodes[FR].sync.greet(EE)
            assert nodes[FR].directory.count() == 601
            await until(lambda: nodes[EE].directory.count() == 601)  # it saw our heads and followed
            nodes[BG].wire.down.add(EE)  # the host is away: a mirror is as good
            await nodes[BG].sync.greet(FR)
            assert nodes[BG].directory.count() == 601
            assert set(nodes[BG].wire.asked) == {FR}

    asyncio.run(scene())


@pytest.mark.parametrize("damage", [lie, strip_bodies, lambda data: data[:50]])
def test_what_a_mirror_changes_or_withholds_is_fetched_from_the_host(tmp_path, damage):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            await nodes[FR].sync.greet(EE)
            nodes[BG].wire.damage[FR] = damage
            await nodes[BG].sync.greet(FR)
            assert nodes[BG].wire.asked == [FR, EE]
            assert nodes[BG].directory.get(AuthorityId("EE:1")).name == "Amet"

    asyncio.run(scene())


def test_a_change_is_shown_at_once_and_a_change_by_a_command_soon(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            await nodes[EE].sync.notice()
            await asyncio.to_thread(nodes[EE].directory.publish, EE, [body("1")], SIGNER)
            await until(lambda: nodes[FR].directory.count() == nodes[BG].directory.count() == 1)
            beside = Directory(tmp_path / "EE")
            beside.publish(EE, [body("2")], SIGNER)
            beside.close()
            await nodes[EE].sync.notice()
            await until(lambda: nodes[FR].directory.count() == nodes[BG].directory.count() == 2)

    asyncio.run(scene())


def test_a_longer_fork_is_kept_as_evidence(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body(str(n)) for n in range(300)], SIGNER)
            await nodes[FR].sync.greet(EE)
            (tmp_path / "liar").mkdir()
            liar = Directory(tmp_path / "liar")
            liar.publish(EE, [body(str(n), "Teine") for n in range(700)], SIGNER)
            nodes[EE].sync._directory = liar
            nodes[EE].sync._server = Server(liar)
            await nodes[FR].sync.greet(EE)
            await nodes[FR].sync.greet(EE)
            assert [(e.log, e.kind, e.source) for e in nodes[FR].directory.evidence()] == [
                (log_name(EE), LogForked.code, EE)
            ]
            assert nodes[FR].directory.get(AuthorityId("EE:1")).name == "Amet"
            liar.close()

    asyncio.run(scene())


def test_a_tampering_mirror_is_no_fork(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            nodes[BG].wire.down.add(EE)
            await nodes[FR].sync.greet(EE)
            await nodes[BG].sync.greet(FR)
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await nodes[FR].sync.greet(EE)
            nodes[BG].wire.damage[FR] = lie
            await nodes[BG].sync.greet(FR)
            assert not nodes[BG].directory.evidence()
            assert nodes[BG].directory.count() == 1

    asyncio.run(scene())


def test_a_host_that_lost_its_log_takes_it_back_from_its_peers(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            await nodes[FR].sync.greet(EE)
            (tmp_path / "empty").mkdir()
            nodes[EE].sync._directory = fresh = Directory(tmp_path / "empty")
            nodes[EE].sync._server = Server(fresh)
            await nodes[EE].sync.greet(FR)
            assert fresh.publish(EE, [body("2")], SIGNER).size == 2
            assert fresh.count() == 2
            fresh.close()

    asyncio.run(scene())


def test_a_peer_that_greets_often_has_one_follower_and_one_waiting(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            sync, peers = nodes[FR].sync, []
            gate = asyncio.Event()

            async def slow(heads, *, source):
                peers.append((source, heads))
                await gate.wait()

            sync._follow = slow
            for n in range(50):
                sync._follow_later({"n": str(n)}, EE)
            await asyncio.sleep(0)
            assert len(sync._following) == len(sync._waiting) == 1
            gate.set()
            await until(lambda: not sync._following)
            assert peers == [(EE, {"n": "0"}), (EE, {"n": "49"})]

    asyncio.run(scene())


def test_a_row_read_before_a_change_is_not_remembered_after_it(tmp_path):
    directory, beside = Directory(tmp_path), Directory(tmp_path)
    directory.publish(EE, [body("1")], SIGNER)
    find = directory.replica.find

    def slow_find(authority):
        found = find(authority)
        beside.publish(EE, [body("1", "Uus nimi")], SIGNER)
        directory.replica.find = find
        return found

    directory.replica.find = slow_find
    directory.get(AuthorityId("EE:1"))
    assert directory.get(AuthorityId("EE:1")).name == "Uus nimi"
    directory.close()
    beside.close()


def test_pages_that_are_not_there_are_not_found(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            client = nodes[EE].wire.clients[EE]
            paths = ["tile/entries/000.p/2", "tile/entries/001", "tile/entries/x001/x002/003", "tile/entries/000.p/0"]
            for path in paths:
                async with client.get(f"{LOG_PATH}{log_name(EE)}/{path}", headers={"From": "FR"}) as answer:
                    assert answer.status == 404
            async with client.post("/imi/v1/gossip", data=b"[]", headers={"From": "FR"}) as answer:
                assert answer.status == 400

    asyncio.run(scene())
