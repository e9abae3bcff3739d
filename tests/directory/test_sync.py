"""Nodes that keep their directories equal: over HTTP on this machine, with a trust list of three."""

from __future__ import annotations

import asyncio
import gzip
import random
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from node.clock import SystemClock
from node.directory import Authority, Directory
from node.directory.copies import Standing
from node.directory.directory import log_name
from node.directory.hosting import EntriesMissing, PeersNotAsked, Signed
from node.directory.model import COLLECTIONS, Register
from node.directory.replication import (
    LogForked,
    LogId,
    LogRolledBack,
    frontier_after,
    new_entry,
    read_page,
    sign_checkpoint,
)
from node.directory.serving import EVIDENCE_PATH, LOG_PATH, write_signed
from node.directory.sync import GOSSIP_PATH, MAX_GOSSIP_BYTES, Sync, _Greeting, _read_greeting
from node.errors import Unavailable
from node.federation.listener import PEER
from node.federation.peers import LogKey, UnknownPeer
from node.ids import AuthorityId, NodeId
from node.merkle import Frontier
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
    """What one node reads in the trust list: `hosts` and `epochs` may change while it runs."""

    us: NodeId
    hosts: dict[NodeId, NodeId] = field(default_factory=lambda: dict(HOSTS))
    epochs: dict[NodeId, int] = field(default_factory=dict)
    nodes: tuple[NodeId, ...] = (EE, FR, BG)

    def get(self, node: NodeId) -> Listed:
        if node not in self.hosts:
            raise UnknownPeer(f"no {node}")
        key = LogKey(public_key=SIGNER.public_key, host=self.hosts[node], epoch=self.epochs.get(node, 1))
        return Listed(node, dict.fromkeys(COLLECTIONS, key))

    def reachable(self) -> list[Listed]:
        return [self.get(node) for node in self.nodes if node != self.us]


@dataclass
class Wire:
    """HTTP without TLS; `damage` changes the pages that a node gives, `down` are nodes that do not answer."""

    us: NodeId
    clients: dict[NodeId, TestClient]
    damage: dict[NodeId, object] = field(default_factory=dict)
    down: set[NodeId] = field(default_factory=set)
    asked: list[NodeId] = field(default_factory=list)
    posted: list[tuple[NodeId, str]] = field(default_factory=list)

    async def get(self, node: NodeId, path: str, *, limit: int) -> bytes:  # noqa: ARG002  # as the transport has it
        self.asked.append(node)
        answer = await self._ask("GET", node, path, b"")
        return self.damage[node](answer) if node in self.damage else answer

    async def post(self, node: NodeId, path: str, body: bytes, content_type: str) -> tuple[str, bytes]:
        self.posted.append((node, path))
        return content_type, await self._ask("POST", node, path, body)

    async def _ask(self, method: str, node: NodeId, path: str, body: bytes) -> bytes:
        if node in self.down:
            raise Unavailable(f"{node} does not answer")
        async with self.clients[node].request(method, path, data=body, headers={"From": self.us}) as answer:
            if answer.status != 200:
                raise Unavailable(f"{answer.status} {await answer.text()}")
            return await answer.read()


@dataclass
class Member:
    """One node, which can be stopped and started from another folder."""

    folder: object
    trust: TrustOf
    wire: Wire
    publisher: NodeId | None = None
    trust_link: object = None
    directory: Directory = None
    sync: Sync = None

    async def start(self, folder=None, *, asked: bool = True, dice: int = 1) -> None:
        self.folder = folder or self.folder
        self.folder.mkdir(exist_ok=True)
        if self.directory is not None:
            self.directory.close()
        self.directory = Directory(self.folder)
        self.directory.catch_up()
        self.directory.host.asked = asked
        self.directory.host.lies_here = lambda log: self.trust.hosts[log.node] == self.trust.us
        self.sync = Sync(
            self.directory, self.trust, self.wire, clock=SystemClock(), dice=random.Random(dice),
            publisher=self.publisher, trust=self.trust_link,
        )  # fmt: skip

        @web.middleware
        async def known(request, handler):
            request[PEER] = Listed(NodeId(request.headers["From"]), {})
            return await handler(request)

        app = web.Application(middlewares=[known])
        app.add_routes(self.sync.routes())
        if self.trust.us in self.wire.clients:
            await self.wire.clients[self.trust.us].close()
        self.wire.clients[self.trust.us] = client = TestClient(TestServer(app))
        await client.start_server()

    async def stop(self) -> None:
        await self.wire.clients[self.trust.us].close()
        self.directory.close()


@asynccontextmanager
async def federation(folder, *, publisher: NodeId | None = None) -> AsyncIterator[dict[NodeId, Member]]:
    clients: dict[NodeId, TestClient] = {}
    members: dict[NodeId, Member] = {}
    async with AsyncExitStack() as stack:
        for node in (EE, FR, BG):
            members[node] = Member(folder / node, TrustOf(node), Wire(node, clients), publisher)
            await members[node].start()
            stack.push_async_callback(members[node].stop)
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


class Killed(BaseException):
    """A process ends."""


def test_a_change_by_a_command_that_was_killed_before_it_showed_it_is_shown_soon(tmp_path):
    def killed(line: str) -> None:
        if line == "logs.db committed":
            raise Killed

    async def scene():
        async with federation(tmp_path) as nodes:
            await nodes[EE].sync.notice()
            beside = Directory(tmp_path / "EE", crash_at=killed)
            with pytest.raises(Killed):
                beside.publish(EE, [body("1")], SIGNER)
            beside.close()
            await nodes[EE].sync.notice()
            await until(lambda: nodes[FR].directory.count() == nodes[BG].directory.count() == 1)

    asyncio.run(scene())


def test_a_longer_fork_is_kept_as_evidence(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body(str(n)) for n in range(300)], SIGNER)
            await nodes[FR].sync.greet(EE)
            (tmp_path / "liar").mkdir()
            liar = Directory(tmp_path / "liar")
            liar.publish(EE, [body(str(n), "Teine") for n in range(700)], SIGNER)
            liar.close()
            await nodes[EE].start(tmp_path / "liar")
            await nodes[FR].sync.greet(EE)
            await nodes[FR].sync.greet(EE)
            assert [(e.log, e.kind, e.source) for e in nodes[FR].directory.evidence()] == [
                (log_name(EE), LogForked.code, EE)
            ]
            assert nodes[FR].directory.get(AuthorityId("EE:1")).name == "Amet"

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
            await nodes[EE].start(tmp_path / "empty", asked=False)
            with pytest.raises(PeersNotAsked):
                nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await nodes[EE].sync.round()
            assert nodes[EE].directory.publish(EE, [body("2")], SIGNER).size == 2
            assert nodes[EE].directory.count() == 2

    asyncio.run(scene())


def test_a_restored_node_shows_and_signs_nothing_of_its_logs_before_it_has_asked(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            nodes[EE].directory.close()
            shutil.copytree(tmp_path / "EE", tmp_path / "backup")
            await nodes[EE].start()
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await nodes[FR].sync.greet(EE)
            await nodes[EE].start(tmp_path / "backup", asked=False)
            nodes[EE].wire.down.update({FR, BG})
            await nodes[EE].sync.round()
            with pytest.raises(PeersNotAsked):
                nodes[EE].directory.publish(EE, [body("3")], SIGNER)
            await nodes[BG].sync.greet(EE)  # is shown nothing of it
            assert nodes[BG].directory.count() == 0
            await nodes[FR].sync.greet(EE)
            assert not nodes[FR].directory.evidence()
            nodes[EE].wire.down.clear()
            await nodes[EE].sync.round()
            assert nodes[EE].directory.publish(EE, [body("3")], SIGNER).size == 3
            await until(lambda: nodes[FR].directory.count() == nodes[BG].directory.count() == 3)
            assert not nodes[FR].directory.evidence()

    asyncio.run(scene())


def test_what_peers_hold_of_our_log_and_do_not_give_keeps_us_from_signing(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            await nodes[FR].sync.greet(EE)
            await nodes[EE].start(tmp_path / "empty", asked=False)
            nodes[EE].wire.damage[FR] = lambda data: data[:20]
            await nodes[EE].sync.ask_peers()
            with pytest.raises(EntriesMissing):
                nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            nodes[EE].wire.damage.clear()
            await nodes[EE].sync.greet(FR)
            assert nodes[EE].directory.publish(EE, [body("2")], SIGNER).size == 2

    asyncio.run(scene())


def test_less_than_peers_hold_of_our_log_is_shown_to_nobody(tmp_path):
    """A restored host whose peers do not give back what it lost would accuse itself."""

    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            nodes[EE].directory.close()
            shutil.copytree(tmp_path / "EE", tmp_path / "backup")
            await nodes[EE].start()
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            for node in (FR, BG):
                await nodes[node].sync.greet(EE)
            await nodes[EE].start(tmp_path / "backup", asked=False)
            nodes[EE].wire.damage = dict.fromkeys((FR, BG), lambda data: data[:20])
            await nodes[EE].sync.ask_peers()
            await nodes[FR].sync.greet(EE)
            assert not nodes[FR].directory.evidence()
            nodes[EE].wire.damage = {}
            await nodes[EE].sync.greet(FR)
            assert nodes[EE].directory.publish(EE, [body("3")], SIGNER).size == 3

    asyncio.run(scene())


def test_what_was_signed_last_and_has_come_to_one_peer_only_is_taken_back(tmp_path):
    """Two peers asked by lot would often not know it, and another entry would be signed in its place."""

    async def scene():
        for dice in range(4):
            async with federation(tmp_path) as nodes:
                nodes[EE].directory.publish(EE, [body("1")], SIGNER)
                await nodes[FR].sync.greet(EE)
                await nodes[EE].start(tmp_path / f"empty{dice}", asked=False, dice=dice)
                nodes[EE].trust.nodes = (EE, BG, LU, FR)
                nodes[EE].wire.clients[LU] = nodes[EE].wire.clients[BG]
                await nodes[EE].sync.ask_peers()
                assert nodes[EE].directory.publish(EE, [body("2")], SIGNER).size == 2
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()

    asyncio.run(scene())


def test_a_node_alone_in_the_world_has_nobody_to_ask(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].trust.nodes = (EE,)
            await nodes[EE].start(asked=False)
            await nodes[EE].sync.ask_peers()
            assert nodes[EE].directory.publish(EE, [body("1")], SIGNER).size == 1

    asyncio.run(scene())


def test_an_answer_that_was_overtaken_on_its_way_accuses_nobody(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            old = dict(nodes[EE].directory.heads())
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await nodes[FR].sync.greet(EE)
            await nodes[FR].sync._follow(_Greeting(heads=old), source=EE)
            assert not nodes[FR].directory.evidence()
            assert nodes[FR].directory.count() == 2

    asyncio.run(scene())


def test_a_host_that_cannot_be_asked_again_ends_nothing(tmp_path):
    """What came with that head and is news from elsewhere is passed on all the same."""

    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            old = dict(nodes[EE].directory.heads())
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await nodes[FR].sync.greet(EE)
            nodes[FR].wire.down.add(EE)
            await nodes[FR].sync._follow(_Greeting(heads=old), source=EE)
            assert not nodes[FR].directory.evidence()

    asyncio.run(scene())


def test_heads_that_are_held_to_the_letter_are_not_looked_at(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            follower, keys = nodes[FR].directory.follower, nodes[FR].sync._keys.find
            heads = nodes[EE].directory.heads()
            assert follower.worth_following(heads, keys)
            await nodes[FR].sync.greet(EE)
            assert not follower.worth_following(heads, keys)
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            assert follower.worth_following(nodes[EE].directory.heads(), keys)

    asyncio.run(scene())


def test_a_host_that_really_rolled_back_is_frozen_and_the_publisher_is_told_until_it_has_it(tmp_path):
    async def scene():
        async with federation(tmp_path, publisher=BG) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            nodes[EE].directory.close()
            shutil.copytree(tmp_path / "EE", tmp_path / "backup")
            await nodes[EE].start()
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await nodes[FR].sync.greet(EE)
            await nodes[EE].start(tmp_path / "backup")
            nodes[EE].sync._shown = nodes[EE].directory.heads  # whatever it hears, and it takes nothing back
            nodes[EE].wire.down |= {FR, BG}
            await nodes[FR].sync.greet(EE)
            (found,) = nodes[FR].directory.evidence()
            assert (found.kind, found.source) == (LogRolledBack.code, EE)
            nodes[FR].wire.down.add(BG)
            await nodes[FR].sync.round()
            assert not nodes[BG].directory.evidence()
            nodes[FR].wire.down.clear()
            await nodes[FR].sync.round()
            (told,) = nodes[BG].directory.evidence()
            assert (told.kind, told.source, told.held, told.seen) == (found.kind, FR, found.held, found.seen)
            before = len(nodes[FR].wire.posted)
            await nodes[FR].sync._errands.tell()
            assert len(nodes[FR].wire.posted) == before
            nodes[EE].wire.down.clear()
            await nodes[EE].sync.greet(FR)
            nodes[EE].directory.publish(EE, [body("3"), body("4")], SIGNER)
            await nodes[FR].sync.greet(EE)
            assert nodes[FR].directory.count() == 2  # frozen, and what it has stays in use

    asyncio.run(scene())


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "peer.log-forked"},  # the two continue each other
        {"seen": ""},
        {"held": "imi-federation/EE/authorities\n9\n" + "A" * 43 + "=\n\n— x y\n"},
        {"proof": {"root": "zz", "path": []}, "kind": "peer.log-forked"},
        {"kind": "snapshot-differs"},
    ],
)
def test_evidence_that_shows_nothing_is_refused(tmp_path, change):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            old = nodes[EE].directory.heads()["EE/authorities"]
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            report = {
                "kind": "peer.log-rolled-back",
                "held": nodes[EE].directory.heads()["EE/authorities"],
                "seen": old,
            }
            for said, status in ((report | change, 400), (report, 200), (report, 200)):
                async with nodes[BG].wire.clients[BG].post(EVIDENCE_PATH, json=said, headers={"From": "FR"}) as answer:
                    assert answer.status == status
            assert len(nodes[BG].directory.evidence()) == 1

    asyncio.run(scene())


def test_two_branches_are_found_from_either_side_and_proven(tmp_path):
    async def scene():
        async with federation(tmp_path, publisher=BG) as nodes:
            nodes[EE].directory.publish(EE, [body(str(n)) for n in range(300)], SIGNER)
            await nodes[FR].sync.greet(EE)
            await nodes[EE].start(tmp_path / "other")  # whoever has the key signs another branch for Bulgaria
            nodes[EE].directory.publish(EE, [body(str(n), "Teine") for n in range(200)], SIGNER)
            await nodes[BG].sync.greet(EE)
            await nodes[BG].sync.greet(FR)  # the larger is looked at through tiles
            await until(nodes[FR].directory.evidence)  # the smaller against the tree at hand
            for node in (FR, BG):
                (found,) = nodes[node].directory.evidence()
                assert found.kind == LogForked.code
                assert found.proof
            await nodes[FR].sync._errands.tell()
            assert {each.source for each in nodes[BG].directory.evidence()} == {FR}

    asyncio.run(scene())


def test_a_states_own_node_hands_in_what_it_signed_for_the_host_of_its_log(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            for member in nodes.values():
                member.trust.hosts[EE] = BG
                await member.sync.notice()
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            assert nodes[EE].directory.count() == 0  # its host has not published it
            await nodes[EE].sync.round()
            await until(lambda: all(member.directory.count() == 1 for member in nodes.values()))
            assert nodes[BG].directory.own.held("EE/authorities").size == 1
            nodes[EE].directory.publish(EE, [body("2")], SIGNER)
            await until(lambda: all(member.directory.count() == 2 for member in nodes.values()))

    asyncio.run(scene())


def test_nobody_hands_in_another_states_entries(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[BG].directory.publish(BG, [body("1", node=BG)], SIGNER)
            held = nodes[BG].directory.own.held("BG/authorities")
            entries = nodes[BG].directory.own.entries("BG/authorities", 0, 1)
            data = write_signed(Signed(log=LogId(BG), first=0, entries=entries, note=held.note))
            for source, status in (("FR", 403), ("BG", 409)):  # another State; a log that lies elsewhere
                async with (
                    nodes[EE]
                    .wire.clients[EE]
                    .post(f"{LOG_PATH}BG/authorities/entries", data=data, headers={"From": source}) as answer
                ):
                    assert answer.status == status

    asyncio.run(scene())


def test_every_collection_has_its_log(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            register = Register(id=AuthorityId("EE:r1"), node=EE, names={"et": "Register"}, name_lang="et")
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            nodes[EE].directory.publish(EE, [register], SIGNER, collection="registers")
            await nodes[FR].sync.greet(EE)
            assert nodes[FR].directory.records("register") == [register]
            assert set(nodes[FR].directory.heads()) == {"EE/authorities", "EE/registers"}

    asyncio.run(scene())


def test_a_log_is_followed_to_its_new_host(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[EE].directory.publish(EE, [body("1"), body("2")], SIGNER)
            for node in (FR, BG):
                await nodes[node].sync.greet(EE)
            for member in nodes.values():
                member.trust.hosts[EE], member.trust.epochs[EE] = BG, 2
            await nodes[EE].sync.greet(FR)
            nodes[BG].directory.host.take_over(LogId(EE), SIGNER, epoch=2)
            nodes[BG].directory.publish(EE, [body("3")], SIGNER)
            for node in (EE, FR):
                await nodes[node].sync.greet(BG)
                assert nodes[node].directory.count() == 3
                assert nodes[node].directory.position(LogId(EE)) == (2, 4)
                assert not nodes[node].directory.evidence()

    asyncio.run(scene())


def test_news_from_a_mirror_is_passed_on_at_once(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            nodes[LU] = Member(tmp_path / "LU", TrustOf(LU), Wire(LU, nodes[EE].wire.clients))
            await nodes[LU].start()
            for member in nodes.values():
                member.trust.nodes = (EE, FR, BG, LU)
            nodes[EE].directory.publish(EE, [body("1")], SIGNER)
            await nodes[FR].sync.greet(EE)
            for node in (FR, BG, LU):
                nodes[node].wire.down.add(EE)  # the owner goes away after one push
            nodes[FR].wire.down.add(LU)
            await nodes[BG].sync.greet(FR)
            await until(lambda: nodes[LU].directory.count() == 1)
            await nodes[LU].stop()

    asyncio.run(scene())


def test_each_minute_two_peers_are_drawn_by_lot_and_hosts_that_are_ahead(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            hubs = nodes[EE].wire
            await nodes[EE].sync.round()
            assert {node for node, _ in hubs.posted} == {FR, BG}  # at first, everybody
            nodes[EE].trust.nodes = (EE, FR, BG, LU)  # of whom one is never there
            hubs.clients[LU] = hubs.clients[EE]
            hubs.down.add(LU)
            hubs.posted.clear()
            for _ in range(20):
                await nodes[EE].sync.round()
            greeted = [node for node, path in hubs.posted if path == GOSSIP_PATH]
            assert len(greeted) == 40
            assert set(greeted) == {FR, BG, LU}

    asyncio.run(scene())


def test_one_change_is_one_greeting_for_each_peer(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            await nodes[EE].sync.round()
            await nodes[EE].sync.notice()
            nodes[EE].wire.posted.clear()
            await asyncio.to_thread(nodes[EE].directory.publish, EE, [body("1")], SIGNER)
            await nodes[EE].sync.notice()
            await until(lambda: nodes[FR].directory.count() == nodes[BG].directory.count() == 1)
            for _ in range(3):
                await nodes[EE].sync.notice()
            await asyncio.sleep(0.1)
            assert sorted(node for node, _ in nodes[EE].wire.posted) == [BG, FR]

    asyncio.run(scene())


def test_who_is_shown_old_trust_lists_learns_it_from_a_greeting(tmp_path):
    @dataclass
    class Link:
        ours: Mapping[str, int]
        asked: list = field(default_factory=list)

        def versions(self):
            return self.ours

        async def renew(self, source, theirs):
            self.asked.append((source, dict(theirs)))

    async def scene():
        async with federation(tmp_path) as nodes:
            for node, version in ((EE, 4), (FR, 7)):
                nodes[node].trust_link = Link({"timestamp": version})
                await nodes[node].start()
            await nodes[EE].sync.greet(FR)
            assert nodes[EE].trust_link.asked == [(FR, {"timestamp": 7})]
            await asyncio.sleep(0.05)
            assert nodes[FR].trust_link.asked == []

    asyncio.run(scene())


def test_the_heads_of_31_nodes_in_two_epochs_fit_a_greeting(tmp_path):
    notes = {}
    for n in range(31):
        for collection in COLLECTIONS:
            for epoch in (998, 999):
                log = str(LogId(NodeId(f"X{chr(65 + n % 26)}-REGION{n:02}"), collection, epoch))
                full = Frontier(2**25 - 1, tuple(bytes([n]) * 32 for _ in range(25)))
                notes[log] = sign_checkpoint(log, full, public_key=SIGNER.public_key, sign=SIGNER.sign).note
    greeting = _Greeting(heads=notes, trust={f"state-{n}": 10**6 for n in range(40)})
    assert len(greeting.model_dump_json()) * 2 < MAX_GOSSIP_BYTES


def test_a_state_with_very_many_logs_does_not_silence_everybodys_greetings(tmp_path):
    """The others' heads are shown by lot then, and our own always: so they all come through in time."""
    many = [NodeId(f"XX-{n}") for n in range(1300)]
    entry = new_entry(b"{}")
    frontier = frontier_after(Frontier(), [entry])

    async def scene():
        async with federation(tmp_path) as nodes:
            replica = nodes[FR].directory.replica
            with replica.writing():
                for name in map(log_name, (*many, FR)):
                    replica.stage(name, [entry])
                    replica.prove(sign_checkpoint(name, frontier, public_key=SIGNER.public_key, sign=SIGNER.sign))
                    replica.put_standing(Standing(name=name, epoch=1))
            nodes[FR].trust.hosts |= dict.fromkeys(many, BG)
            shown = [_read_greeting(await nodes[FR].sync._heads()).heads for _ in range(20)]
            assert all(log_name(FR) in heads for heads in shown)
            assert {name for heads in shown for name in heads} == {log_name(each) for each in (*many, FR)}

    asyncio.run(scene())


def test_a_peer_that_greets_often_has_one_follower_and_one_waiting(tmp_path):
    async def scene():
        async with federation(tmp_path) as nodes:
            sync, peers = nodes[FR].sync, []
            gate = asyncio.Event()

            async def slow(greeting, *, source):
                peers.append((source, greeting.heads))
                await gate.wait()

            sync._follow = slow
            for n in range(50):
                sync._follow_later(_Greeting(heads={"n": str(n)}), EE)
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
