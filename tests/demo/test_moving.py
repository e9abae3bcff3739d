"""An authority moves from DE to DE-BY with open cases, on real processes, with kills in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from rich.progress import Progress

from node.demo import plan
from node.demo.client import ApiRefused, Hand, until
from node.demo.plan import Login
from node.demo.preparing import prepare
from node.demo.processes import NodeProcess, Processes
from node.ids import NodeId
from pki.trustlist import Publisher

from .conftest import imi_node

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
REQUEST = "professional-qualifications/information-request"
NODES = tuple(map(NodeId, ("EE", "DE", "DE-BY", "EU")))
COUNT = 6  # requests
WANTED = "2099-06-01"
PERSON = {
    "person": {
        "surname": {"text": "Example", "lang": "et"},
        "given-names": {"text": "Person One", "lang": "et"},
        "birth-date": "1990-02-03",
    },
    "profession": {"profession": "secondary-school-teacher"},
    "reasoned-request": {"justification": {"text": "The copy is hard to read.", "lang": "et"}},
}
ANSWER = {"answers": {"Q2": {"yes-no-unknown": "yes"}}}


async def ask(estonia: Hand, to: str) -> str:
    control = {"to": to, "questions": ["Q2"], "wanted": WANTED, "urgency": "normal"}
    return await estonia.open(REQUEST, "send", control, PERSON)


async def in_state(hand: Hand, number: str, state: str):
    case = await hand.case(number)
    return case if case["state"] == state else None


async def has_begun(folder: Path) -> bool | None:
    return bool(await asyncio.to_thread(settled, folder, b'"step":"moved"')) or None


def settled(folder: Path, step: bytes) -> int:
    """How many events with a step a node holds; read beside the node."""
    with sqlite3.connect(f"file:{folder / 'node.db'}?mode=ro", uri=True) as database:
        return sum(step in row[0] for row in database.execute("SELECT event FROM events"))


async def test_an_authority_moves_with_open_requests_and_answers_from_its_new_node(tmp_path):
    places = [plan.place(tmp_path, node, 0) for node in NODES]
    with Progress(disable=True) as progress:
        file = await prepare(tmp_path, places, progress)
    await asyncio.to_thread(Publisher(tmp_path / "publisher").renew)
    found = {NodeId(n): p for n, p in file.nodes.items()}
    processes = Processes({n: NodeProcess(n, p.folder / "node.toml", p.management) for n, p in found.items()})
    async with processes, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        await processes.start_all()
        hands = {str(n): Hand(http=http, place=p, login=p.logins[0]) for n, p in found.items()}
        await story(hands, processes, found)


async def story(hands, processes, places) -> None:
    estonia, germany = hands["EE"], hands["DE"]
    authority = germany.authority
    old, new = places[NodeId("DE")], places[NodeId("DE-BY")]
    await until("the authority in Estonia's directory", partial(estonia.authority_of, authority))
    numbers = [await ask(estonia, authority) for _ in range(COUNT)]
    for number in numbers:
        await until("the request in Germany", partial(in_state, germany, number, "awaiting-acceptance"))
        await germany.step(number, "accept", {"date": WANTED})
    await until("the last acceptance", partial(in_state, estonia, numbers[-1], "accepted"))

    # The operator's command and the node are killed in the middle of the hand-over.
    arguments = ["authorities", "move", authority, "--to", "DE-BY", "--config", str(old.folder / "node.toml")]
    command = await asyncio.create_subprocess_exec(sys.executable, "-m", "node", *arguments)
    await until("the first case handed over", partial(has_begun, old.folder))
    with contextlib.suppress(ProcessLookupError):
        command.kill()
    await processes.nodes[NodeId("DE")].kill()
    await command.wait()
    await processes.nodes[NodeId("DE")].start()
    with pytest.raises(ApiRefused, match="authority-moving"):
        await germany.step(numbers[0], "answer", {"questions": ["Q2"]}, ANSWER)
    again = await asyncio.to_thread(imi_node, *arguments)
    assert again.returncode == 0, again.stderr
    assert f"leaves with {COUNT} cases" in again.stdout

    # Killed once more while the cases travel; the new node accepts when it has them all.
    await processes.nodes[NodeId("DE")].kill()
    await processes.nodes[NodeId("DE")].start()
    accept = ["authorities", "accept-move", authority, "--config", str(new.folder / "node.toml")]

    async def accepted():
        done = await asyncio.to_thread(imi_node, *accept)
        return done.stdout if done.returncode == 0 else None

    assert f"with {COUNT} cases" in await until("all cases in Bavaria", accepted, seconds=120)
    await processes.nodes[NodeId("DE")].kill()
    await processes.nodes[NodeId("DE")].start()

    # Its people have accounts there, and answer from there.
    made = await asyncio.to_thread(
        imi_node, "users", "add", "moved-handler", "--authority", authority, "--role", "handler", "--language", "de",
        "--token", "--config", str(new.folder / "node.toml"), input="a long enough passphrase\n",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    token = made.stdout.split("shown this once:")[1].split()[0]
    login = Login(login="moved-handler", password="", token=token, authority=authority, roles=["handler"])
    bavaria = Hand(http=estonia.http, place=new, login=login)
    for number in numbers:
        case = await until("the case in Bavaria", partial(in_state, bavaria, number, "accepted"))
        theirs = await estonia.case(number)
        assert (case["due"], case["state"]) == (theirs["due"], theirs["state"])
        assert "Example" in str(case["forms"])

        async def answered(number: str = number):
            await bavaria.step(number, "answer", {"questions": ["Q2"]}, ANSWER)
            return True

        await until("it has come whole", answered)
        await until("the answer in Estonia", partial(in_state, estonia, number, "answered"), seconds=90)
        await estonia.step(number, "close", {}, {"survey": {"timeliness": "good"}})
        await until("the closure in Bavaria", partial(in_state, bavaria, number, "closed"))

    async def is_empty() -> bool | None:
        with sqlite3.connect(f"file:{old.folder / 'node.db'}?mode=ro", uri=True) as database:
            (left,) = database.execute(
                "SELECT count(*) FROM parts p JOIN cases c USING (case_id)"
                " WHERE c.number LIKE 'EE-%' AND p.sealed IS NOT NULL"
            ).fetchone()
        return True if not left else None

    await until("the old node has deleted what was for the authority", is_empty)
    assert await asyncio.to_thread(settled, old.folder, b'"step":"moved"') == COUNT
    assert await asyncio.to_thread(settled, new.folder, b'"step":"taken-over"') == COUNT
    with pytest.raises(ApiRefused, match="authority-moving"):
        await germany.case(numbers[0])
