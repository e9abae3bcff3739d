"""Federations of real processes, one a set-up: made by the demo's own tools, started once for all stories of a module."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from rich.console import Console
from rich.progress import Progress

from node.demo import plan
from node.demo.client import ApiRefused, Hand, until
from node.demo.preparing import Cast, prepare
from node.demo.processes import NodeProcess, Processes
from node.demo.stage import Stage
from node.demo.transcript import Transcript
from node.directory import Authority, Directory
from node.directory.model import Link
from node.ids import AuthorityId, NodeId
from pki.node_keys import load_node_keys

T = TypeVar("T")
REQUEST = "professional-qualifications/information-request"
AREA = "professional-qualifications"
User = tuple[str, str, tuple[str, ...], str]  # login, authority, roles, language


def body(
    name: str,
    node: str,
    names: str,
    *,
    roles: Sequence[str] = ("ca",),
    by: str = "",
    coordinator: str = "",
    **more: Any,
) -> Authority:
    """An authority of the area of professional qualifications."""
    link = Link(coordinator=AuthorityId(coordinator), area=AREA) if coordinator else None
    return Authority(
        id=AuthorityId(name),
        node=NodeId(node),
        names={"en": names},
        name_lang="en",
        areas=(AREA,),
        roles={AREA: tuple(roles)},
        represented_by=AuthorityId(by) if by else "",
        coordinators=(link,) if link else (),
        **more,
    )


@dataclass
class SetUp:
    """A running federation. Its stories are told from a loop of its own, which outlives each of them."""

    stage: Stage
    loop: asyncio.AbstractEventLoop

    def play(self, story: Callable[[Stage], Coroutine[Any, Any, T]]) -> T:
        """Play a story to its end, within a minute and a half."""
        return asyncio.run_coroutine_threadsafe(story(self.stage), self.loop).result(timeout=90)


def bodies_by_node(found: Sequence[Authority]) -> Mapping[NodeId, list[Authority]]:
    nodes: dict[NodeId, list[Authority]] = {}
    for authority in found:
        nodes.setdefault(authority.node, []).append(authority)
    return nodes


@pytest.fixture(scope="module")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SetUp]]:
    """`set_up(["EE", "EU"], authorities, users, relays={"DE-SN": "DE"})`: prepared, started, equal in their directories."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stories")
    thread.start()
    running: list[tuple[Processes, aiohttp.ClientSession]] = []

    def start(
        nodes: Sequence[str],
        authorities: Sequence[Authority],
        users: Mapping[str, Sequence[User]],
        *,
        relays: Mapping[str, str] | None = None,
    ) -> SetUp:
        folder = tmp_path_factory.mktemp("set-up")
        cast = Cast(authorities=bodies_by_node(authorities), users=users)
        made = asyncio.run_coroutine_threadsafe(_start(folder, nodes, cast, relays or {}, running), loop)
        return SetUp(made.result(timeout=110), loop)

    try:
        yield start
    finally:
        for processes, http in running:
            asyncio.run_coroutine_threadsafe(_stop(processes, http), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(
    folder: Path,
    nodes: Sequence[str],
    cast: Cast,
    relays: Mapping[str, str],
    running: list[tuple[Processes, aiohttp.ClientSession]],
) -> Stage:
    places = [_place(folder, node, relays.get(node)) for node in nodes]
    console = Console(file=io.StringIO())
    with Progress(console=console) as progress:
        file = await prepare(folder, places, progress, cast)
    known = {NodeId(node): place for node, place in file.nodes.items()}
    processes = Processes(
        {
            node: NodeProcess(node=node, config=place.folder / "node.toml", management=place.management)
            for node, place in known.items()
        }
    )
    http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
    running.append((processes, http))
    await processes.start_all()
    stage = Stage(folder=folder, http=http, places=known, processes=processes, transcript=Transcript(console))
    total = sum(len(found) for found in cast.authorities.values())
    for node in known:
        await until(f"all {total} authorities at {node}", partial(_knows_all, stage, node, total), seconds=90)
    return stage


async def _knows_all(stage: Stage, node: NodeId, total: int) -> bool | None:
    return True if await stage.metric(node, "imi_directory_authorities") == total else None


def _place(folder: Path, node: str, relay: str | None) -> plan.NodePlace:
    found = plan.place(folder, NodeId(node), 0)
    return found.model_copy(update={"relay": NodeId(relay) if relay else None})


async def _stop(processes: Processes, http: aiohttp.ClientSession) -> None:
    await http.close()
    async with processes:
        pass


# What stories have in common.


def text(words: str, lang: str = "en") -> dict[str, str]:
    return {"text": words, "lang": lang}


def asked(to: str, **more: str) -> dict[str, Any]:
    """Control data of a request for two answers."""
    wanted = (datetime.now(UTC).date() + timedelta(days=14)).isoformat()
    return {"to": to, "questions": ["Q2", "Q3"], "wanted": wanted, "urgency": "normal", **more}


def content(canary: str) -> dict[str, Any]:
    """Forms of a request about a person of this name."""
    return {
        "person": {"surname": text(canary), "given-names": text("Person One"), "birth-date": "1990-02-03"},
        "profession": {"profession": "secondary-school-teacher"},
        "reasoned-request": {"justification": text(f"The copy is hard to read. {canary}")},
    }


def answers(canary: str) -> dict[str, Any]:
    return {"answers": {"Q2": {"yes-no-unknown": "yes", "comment": text(canary)}, "Q3": {"yes-no-unknown": "no"}}}


async def in_state(hand: Hand, number: str, state: str) -> dict[str, Any]:
    """The case, once this official's node has it in a state."""

    async def look() -> dict[str, Any] | None:
        case = await hand.case(number)
        return case if case["state"] == state else None

    return await until(f"{number} {state} at {hand.node}", look)


async def accept_and_answer(hand: Hand, number: str, canary: str = "Registered here.") -> None:
    case = await in_state(hand, number, "awaiting-acceptance")
    await hand.step(number, "accept", {"date": case["variables"]["agreed"]})
    await hand.step(number, "answer", {"questions": ["Q2", "Q3"]}, answers(canary))


async def knows(hand: Hand, number: str) -> bool:
    """Whether this official acts for a party of a case."""
    try:
        await hand.case(number)
    except ApiRefused as error:
        if error.details["problem"] != "refused.unknown-case":
            raise
        return False
    return True


async def run(*arguments: object) -> tuple[int, str]:
    """A command: its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def done(*arguments: object) -> str:
    code, said = await run(*arguments)
    assert code == 0, said
    return said


async def change(stage: Stage, authority: Authority) -> None:
    """The operator of its node changes an authority's entry, beside the running node."""
    folder = stage.places[authority.node].folder

    def publish() -> None:
        directory = Directory(folder)
        try:
            directory.publish(authority.node, [authority], load_node_keys(folder / "keys").log_signer)
        finally:
            directory.close()

    await asyncio.to_thread(publish)


async def entry_says(hand: Hand, authority: str, **wanted: object) -> None:
    """Wait until this official's directory says so of an authority."""
    await until(f"{wanted} at {hand.node}", partial(_says, hand, authority, wanted))


async def _says(hand: Hand, authority: str, wanted: Mapping[str, object]) -> bool | None:
    found = await hand.authority_of(authority)
    return True if all(found[key] == value for key, value in wanted.items()) else None


def audit(stage: Stage, node: str, act: str) -> list[dict[str, Any]]:
    """The audit entries of a kind of act at a node."""
    with sqlite3.connect(stage.places[NodeId(node)].folder / "node.db") as database:
        rows = database.execute("SELECT login, authority, subject FROM audit WHERE act = ? ORDER BY id", (act,))
        found = [dict(zip(("login", "authority", "subject"), row, strict=True)) for row in rows]
    database.close()
    return found


def authors(case: Mapping[str, Any]) -> set[str]:
    """Who took the steps of a case."""
    return {entry["author"] for entry in case["timeline"]}


def events_of(raw: Sequence[Mapping[str, Any]]) -> str:
    """Signed events as one text, to look for what must not stand in them."""
    return json.dumps([one["event"] for one in raw])
