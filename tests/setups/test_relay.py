"""The mixed set-up, with real node processes: Saxony (DE-SN) is reached through Germany alone, and France asks it.

`imi-node serve` three times, the trust list published by France; officials act over REST.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from node.casework.users import Users
from node.clock import SystemClock
from node.demo.client import Hand, until
from node.demo.plan import Login, NodePlace, place
from node.demo.preparing import PACE
from node.demo.processes import NodeProcess, Processes
from node.directory import Directory
from node.directory.importing import Overlay, read_authorities
from node.federation import as4
from node.federation.trust import TrustReader, from_folder
from node.ids import AuthorityId, NodeId
from node.local_store.database import Database
from node.making import make_stores, settings_text
from node.settings import shipped
from pki.founding import Founding, NodePlan
from pki.node_keys import load_node_keys

pytestmark = pytest.mark.timeout(300)

FR, DE, DE_SN = NodeId("FR"), NodeId("DE"), NodeId("DE-SN")
ASKING, ASKED = AuthorityId("FR:8a294d95e1"), AuthorityId("DE:e0977e7282")
WHO = {FR: (ASKING, "fr"), DE_SN: (ASKED, "de")}
PROCEDURE = "professional-qualifications/information-request"


@dataclass
class Setup:
    """The three processes, and an official at each end."""

    folder: Path
    processes: Processes
    france: Hand
    saxony: Hand

    async def stop(self, node: NodeId) -> None:
        await self.processes.nodes[node].stop()

    async def kill(self, node: NodeId) -> None:
        await self.processes.nodes[node].kill()

    async def start(self, node: NodeId) -> None:
        await self.processes.nodes[node].start()

    async def ask(self, words: str, scan: bytes = b"") -> str:
        """France asks Saxony; the case's number."""
        attached = {}
        if scan:
            document = await self.france.upload("scan.pdf", "application/pdf", scan)
            attached = {"attachment": {**document, "lang": "de"}}
        wanted = (datetime.now(UTC).date() + timedelta(days=20)).isoformat()
        return await self.france.open(
            PROCEDURE, "send",
            {"to": ASKED, "questions": ["Q3"], "wanted": wanted, "urgency": "normal"},
            {
                "person": {"surname": text(words), "given-names": text(words), "birth-date": "1990-02-03"},
                "profession": {"profession": "nurse"},
                "reasoned-request": {"justification": text(words), **attached},
            },
        )  # fmt: skip

    async def answer(self, number: str, words: str) -> None:
        """Saxony accepts and answers."""
        await self.saxony.step(number, "accept", {"date": (datetime.now(UTC).date() + timedelta(days=20)).isoformat()})
        answers = {"Q3": {"yes-no-unknown": "no", "comment": text(words, "de")}}
        await self.saxony.step(number, "answer", {"questions": ["Q3"]}, {"answers": answers})

    async def saxony_has(self, number: str, state: str):
        return await until(f"{number} {state} in Saxony", lambda: in_state(self.saxony, number, state))

    async def france_has(self, number: str, state: str):
        return await until(f"{number} {state} in France", lambda: in_state(self.france, number, state))


def text(words: str, lang: str = "fr") -> dict[str, str]:
    return {"text": words, "lang": lang}


async def in_state(hand: Hand, number: str, state: str):
    case = await hand.case(number)
    return case if case["state"] == state else None


def found(folder: Path, places: dict[NodeId, NodePlace]) -> Founding:
    founding = Founding(folder)
    plans = [NodePlan(node=node, federation=places[node].federation, suites=[as4.COMMON.name]) for node in (FR, DE)]
    founding.found([*plans, NodePlan(node=DE_SN, relay=DE, suites=[as4.COMMON.name])])
    return founding


def make(founding: Founding, spot: NodePlace, more: str, end: str) -> None:
    """A node's folder: settings, stores, the first reading of the list, and its own authorities."""
    ports = [int(url.rsplit(":", 1)[1]) for url in (spot.federation, spot.pages, spot.management)]
    settings = settings_text(
        spot.node, host="127.0.0.1", federation=ports[0], officials=ports[1], management=ports[2], more=more
    )
    (spot.folder / "node.toml").write_text(settings + PACE + end, encoding="utf-8")
    make_stores(spot.folder, founding.publisher.root_bytes())
    TrustReader(spot.folder / "trust", from_folder(founding.publisher.repository)).refresh()
    directory = Directory(spot.folder)
    try:
        own = [one for one in authorities() if one.node == spot.node]
        directory.publish(spot.node, own, load_node_keys(founding.keys(spot.node)).log_signer)
    finally:
        directory.close()


def authorities():
    """The one that asks and the one that is asked; it lies at the node behind the relay."""
    overlay = Overlay(shipped("directory", "overlay.toml"))
    for authority, node in ((ASKING, FR), (ASKED, DE_SN)):
        state = NodeId(authority[:2])
        file = shipped("directory", "authorities", f"{state}.jsonl")
        for one in (*overlay.over(read_authorities(file, node=state)), *overlay.new(state)):
            if one.id == authority:
                yield replace(one, node=node)


async def login_at(spot: NodePlace) -> Login:
    authority, language = WHO[spot.node]
    database = Database.open(spot.folder / "node.db")
    try:
        users = Users(database, SystemClock())
        password = secrets.token_hex(8)
        await users.create_user(
            login="handler",
            name="Handler",
            password=password,
            authority=authority,
            roles=("handler",),
            language=language,
        )
        token = await users.create_token("handler", label="test")
    finally:
        database.close()
    return Login(login="handler", password=password, token=token, authority=authority, roles=["handler"])


@pytest.fixture
async def mixed(tmp_path) -> AsyncIterator[Setup]:
    places = {node: place(tmp_path, node, 0) for node in (FR, DE, DE_SN)}
    founding = await asyncio.to_thread(found, tmp_path, places)
    publishes = f'publisher = "FR"\npublish_from = "{founding.publisher.repository}"\n'
    await asyncio.to_thread(make, founding, places[FR], publishes, "")
    inside = f'\n[relay]\nDE-SN = "{places[DE_SN].federation}"\n'
    await asyncio.to_thread(make, founding, places[DE], 'publisher = "FR"\n', inside)
    await asyncio.to_thread(make, founding, places[DE_SN], 'publisher = "FR"\n', "")
    logins = {node: await login_at(places[node]) for node in WHO}
    processes = Processes({
        node: NodeProcess(node=node, config=spot.folder / "node.toml", management=spot.management)
        for node, spot in places.items()
    })  # fmt: skip
    async with processes, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        await processes.start_all()
        hands = {node: Hand(http=http, place=places[node], login=logins[node]) for node in WHO}
        setup = Setup(tmp_path, processes, hands[FR], hands[DE_SN])
        await until("Saxony's authority in France's directory", lambda: listed(setup.france))
        yield setup


async def listed(hand: Hand):
    return await hand.authority_of(ASKED)


async def test_a_request_with_a_file_and_its_answer_pass_and_the_relay_has_nothing_of_them(mixed):
    canary = f"canary{secrets.token_hex(8)}"
    scan = b"%PDF-1.7 " + canary.encode() + secrets.token_bytes(300_000)
    number = await mixed.ask(canary, scan)
    case = await mixed.saxony_has(number, "awaiting-acceptance")
    assert canary in str(case)
    await mixed.answer(number, canary)
    answered = await mixed.france_has(number, "answered")
    assert str(answered).count(canary) > 1
    assert await mixed.saxony.download(number, hashlib.sha256(scan).hexdigest()) == scan
    sealed = bodies(mixed.folder / "nodes" / DE_SN)
    assert sum(map(len, sealed)) > len(scan)
    log = (mixed.folder / "nodes" / DE / "node.log").read_text()
    assert log.count("message passed on") >= 3
    searched = 0
    for path in sorted(path for path in (mixed.folder / "nodes" / DE).rglob("*") if path.is_file()):
        data = path.read_bytes()
        searched += len(data)
        assert canary.encode() not in data, path
        assert number.encode() not in data, f"the header's case number is not written down either: {path}"
        for body in sealed:
            assert body[len(body) // 2 :][:48] not in data, f"ciphertext in {path}"
    assert searched > 100_000


def bodies(folder: Path) -> list[bytes]:
    """The messages that reached a node, as they came."""
    with sqlite3.connect(f"file:{folder / 'node.db'}?mode=ro", uri=True) as connection:
        kept = connection.execute("SELECT body, body_file FROM inbox WHERE sender = 'FR'").fetchall()
    connection.close()
    return [(folder / "messages" / name).read_bytes() if name else body for body, name in kept]


@pytest.mark.long
async def test_what_is_away_comes_back_and_everything_goes_on(mixed):
    """Saxony stopped; the relay stopped; the relay killed while messages are on their way."""
    await mixed.stop(DE_SN)
    first = await mixed.ask("while Saxony is away")
    await until("a refused passage", lambda: logged(mixed, DE, "message not passed on"))
    await mixed.start(DE_SN)
    await mixed.saxony_has(first, "awaiting-acceptance")

    await mixed.stop(DE)
    second = await mixed.ask("while Germany is away")
    await mixed.answer(first, "answered while Germany is away")
    await mixed.start(DE)
    await mixed.saxony_has(second, "awaiting-acceptance")
    await mixed.france_has(first, "answered")

    numbers = [await mixed.ask(f"number {number}") for number in range(10)]
    await mixed.kill(DE)
    await mixed.start(DE)
    for number in numbers:
        await mixed.saxony_has(number, "awaiting-acceptance")
    assert len({case["number"] for case in await mixed.saxony.cases()}) == 12


async def logged(mixed: Setup, node: NodeId, phrase: str):
    return True if phrase in (mixed.folder / "nodes" / node / "node.log").read_text() else None
