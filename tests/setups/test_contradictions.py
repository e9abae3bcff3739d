"""A log that contradicts itself, and one that comes back from a backup: with real processes, keys and connections."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from node.cli.common import known_peers
from node.demo.client import until
from node.demo.stage import Stage
from node.directory import Directory
from node.directory.replication import LogId, read_checkpoint, sign_checkpoint
from node.directory.sync import GOSSIP_PATH
from node.federation.tls import server_context
from node.federation.transport import Transport
from node.ids import NodeId
from node.merkle import Frontier
from node.settings import load
from pki.node_keys import load_node_keys

from .conftest import body, change, done, entry_says

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
LOG, SCHOOL = "EE/authorities", "EE:school"
LOGINS = {"EE": "school", "FR": "rectorat", "DE": "office"}
AUTHORITIES = (
    body(SCHOOL, "EE", "Education Board"),
    body("FR:rectorat", "FR", "Rectorat"),
    body("DE:office", "DE", "Schulamt"),
)
USERS = {a.node: ((LOGINS[a.node], a.id, ("handler",), "en"),) for a in AUTHORITIES}


@pytest.fixture(scope="module")
def federation(set_up):
    return set_up(["EE", "FR", "DE", "EU"], AUTHORITIES, USERS)


def home(stage: Stage, node: str) -> Path:
    return stage.places[NodeId(node)].folder


def note_at(stage: Stage, node: str) -> str:
    """The newest checkpoint of Estonia's log that a node holds."""
    directory = Directory(home(stage, node))
    try:
        return directory.heads()[LOG]
    finally:
        directory.close()


async def page(stage: Stage, node: str) -> str:
    """What the operators' page about the logs says, by words."""
    async with stage.http.get(f"{stage.places[NodeId(node)].management}/directory") as answer:
        text = re.sub(r"<[^>]+>", " ", (await answer.text()).partition("<main")[2])
    return " ".join(text.split())


async def _says(stage: Stage, node: str, *words: str) -> bool | None:
    shown = await page(stage, node)
    return True if all(word in shown for word in words) else None


async def renamed(stage: Stage, name: str, *nodes: str) -> None:
    """Estonia gives its board another name; these nodes follow."""
    await change(stage, body(SCHOOL, "EE", name))
    for node in nodes:
        await entry_says(stage.hand_of(LOGINS[node]), SCHOOL, name=name)


def test_a_node_from_a_backup_takes_back_what_it_had_signed_and_is_accused_of_nothing(federation):
    async def story(stage: Stage) -> None:
        await renamed(stage, "Before the backup", "EE", "FR", "DE")
        estonia, folder = stage.processes.nodes[NodeId("EE")], home(stage, "EE")
        await estonia.stop()
        kept = {path.name: path.read_bytes() for path in folder.glob("*.db*") if path.name != "node.db"}
        await estonia.start()
        await renamed(stage, "After the backup", "EE", "FR", "DE")
        await estonia.kill()
        for path in [path for path in folder.glob("*.db*") if path.name in kept or path.name[:3] in {"log", "dir"}]:
            path.unlink()
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        await estonia.start()
        await entry_says(stage.hand_of("school"), SCHOOL, name="After the backup")
        await renamed(stage, "After the restore", "EE", "FR", "DE")
        for node in ("EE", "FR", "DE"):
            assert await stage.metric(NodeId(node), "imi_directory_log_frozen") == 0, node
        assert "peer.log-" not in await page(stage, "EU")

    federation.play(story)


def test_an_owner_that_tells_two_stories_is_found_frozen_and_told_to_the_publisher(federation):
    async def story(stage: Stage) -> None:
        folder = home(stage, "EE")
        keys, peers = load_node_keys(folder / "keys"), known_peers(load(folder / "node.toml"))
        signer = keys.log_signer
        held = read_checkpoint(note_at(stage, "FR"), log=LOG, public_key=signer.public_key)
        other = Frontier().append(os.urandom(32) for _ in range(held.size))
        forged = sign_checkpoint(LogId(NodeId("EE")), other, public_key=signer.public_key, sign=signer.sign)
        transport = Transport(keys, peers)
        try:
            greeting = json.dumps({"heads": {LOG: forged.note}}, ensure_ascii=False).encode()
            await transport.post(NodeId("FR"), GOSSIP_PATH, greeting, "application/json")
        finally:
            await transport.close()
        await until("France froze the log", partial(_says, stage, "FR", "Frozen peer.log-forked"))
        await until("the publisher was told", partial(_says, stage, "EU", f"{LOG} peer.log-forked FR"))
        assert (await stage.hand_of("rectorat").authority_of(SCHOOL))["name"] == "After the restore"
        await renamed(stage, "Not for France", "EE", "DE")
        assert (await stage.hand_of("rectorat").authority_of(SCHOOL))["name"] == "After the restore"
        config = home(stage, "FR") / "node.toml"
        await done("node", "directory", "release", LOG, "--because", "a trial", "--config", config)
        await renamed(stage, "For France again", "EE", "FR", "DE")

    federation.play(story)


@asynccontextmanager
async def host_that_shows(stage: Stage, note: str) -> AsyncIterator[None]:
    """Somebody with Estonia's keys, at Estonia's address, who shows this checkpoint of its log and nothing else."""
    folder = home(stage, "EE")
    keys, peers = load_node_keys(folder / "keys"), known_peers(load(folder / "node.toml"))

    async def gossip(_: web.Request) -> web.Response:
        return web.json_response({"heads": {LOG: note}})

    async def checkpoint(_: web.Request) -> web.Response:
        return web.Response(text=note)

    app = web.Application()
    app.router.add_post(GOSSIP_PATH, gossip)
    app.router.add_get(f"/imi/v1/log/{LOG}/checkpoint", checkpoint)
    runner = web.AppRunner(app)
    await runner.setup()
    port = int(stage.places[NodeId("EE")].federation.rsplit(":", 1)[1])
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=server_context(keys, peers), reuse_address=True).start()
    try:
        yield
    finally:
        await runner.cleanup()


def test_a_host_that_takes_back_what_it_signed_is_found_and_its_authorities_stay_in_use(federation):
    async def story(stage: Stage) -> None:
        old = note_at(stage, "DE")
        await renamed(stage, "Taken back", "EE", "DE")
        estonia = stage.processes.nodes[NodeId("EE")]
        await estonia.stop()
        async with host_that_shows(stage, old):
            await until("Germany froze the log", partial(_says, stage, "DE", "Frozen peer.log-rolled-back"))
            await until("the publisher knows too", partial(_says, stage, "EU", f"{LOG} peer.log-rolled-back"))
        assert (await stage.hand_of("office").authority_of(SCHOOL))["name"] == "Taken back"
        await estonia.start()
        config = home(stage, "DE") / "node.toml"
        await done("node", "directory", "release", LOG, "--because", "the real host is back", "--config", config)
        await renamed(stage, "Back for good", "EE", "DE")

    federation.play(story)


def test_a_copy_that_is_lost_is_made_again_from_the_peers(federation):
    async def story(stage: Stage) -> None:
        germany, folder = stage.processes.nodes[NodeId("DE")], home(stage, "DE")
        await germany.stop()
        aside = folder / "aside"
        aside.mkdir()
        for path in folder.glob("directory.db*"):
            await asyncio.to_thread(shutil.move, path, aside / path.name)
        await germany.start()
        await entry_says(stage.hand_of("office"), "FR:rectorat", name="Rectorat")

    federation.play(story)
