"""Canaries in every content field: found at no node that takes no part, in no log, and not on others' wire."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from node.demo.client import Hand, until
from node.demo.plan import Login, NodePlace
from node.federation import as4
from node.federation.trust import TrustReader, from_folder
from node.ids import NodeId
from pki.node_keys import load_node_keys

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


class Canaries:
    """Words nobody else writes, one for each field they are put in."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def word(self) -> str:
        self.words.append(f"canary{secrets.token_hex(8)}")
        return self.words[-1]

    def text(self, lang: str = "fr") -> dict[str, str]:
        return {"text": f"a {self.word()} b", "lang": lang}

    def found_in(self, data: bytes) -> list[str]:
        return [word for word in self.words if word.encode() in data]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


def hand(demo, http, node: str, role: str) -> Hand:
    place = NodePlace.model_validate(demo.places[node])
    return Hand(http=http, place=place, login=next(login for login in place.logins if role in login.roles))


async def test_a_request_is_seen_by_its_two_sides_alone(demo, http):
    canaries = Canaries()
    france, romania = hand(demo, http, "FR", "handler"), hand(demo, http, "RO", "handler")
    scan = await france.upload(f"{canaries.word()}.txt", "text/plain", canaries.word().encode() * 50)
    wanted = (datetime.now(UTC).date() + timedelta(days=20)).isoformat()
    number = await france.open(
        "professional-qualifications/information-request", "send",
        {"to": romania.authority, "questions": ["Q3", "Q9", "Q10"], "wanted": wanted, "urgency": "normal"},
        {
            "person": {
                "surname": canaries.text(), "given-names": canaries.text(), "birth-date": "1990-02-03",
                "birth-place": canaries.text(),
            },
            "profession": {"profession": "nurse"},
            "reasoned-request": {"justification": canaries.text(), "attachment": {**scan, "lang": "fr"}},
            "comments": {"Q3": canaries.text()},
        },
    )  # fmt: skip
    await until("the request", partial(in_state, romania, number, "awaiting-acceptance"))
    await romania.step(number, "accept", {"date": wanted})
    await romania.step(number, "message", {}, {"message": {"text": canaries.text("ro")}})
    answers = {
        "Q3": {"yes-no-unknown": "no", "comment": canaries.text("ro")},
        "Q9": {"yes-no-unknown": "yes", "text": canaries.text("ro")},
        "Q10": {"cannot-say": canaries.text("ro")},
    }
    await romania.step(number, "answer", {"questions": ["Q10", "Q3", "Q9"]}, {"answers": answers})
    await until("the answer", partial(in_state, france, number, "answered"))
    read = str(await france.case(number, "fr")) + str(await romania.case(number, "ro"))
    assert sum(word in read for word in canaries.words) >= len(canaries.words) - 2  # all but the file's bytes
    look_everywhere(demo, canaries, takes_part={"FR", "RO"})


async def test_an_alert_reaches_its_addressees_and_the_commission_only_the_summary(demo, http):
    canaries = Canaries()
    estonia, germany = hand(demo, http, "EE", "disseminator"), hand(demo, http, "DE", "disseminator")
    number = await estonia.open(
        "services/alert", "broadcast-directly", {"to": [germany.authority], "establishment": germany.authority},
        {
            "service-danger": {
                "provider": canaries.text("et"), "number": canaries.text("et"), "address": canaries.text("et"),
                "activity": "scaffolding", "facts": canaries.text("et"), "damage": "safety",
                "severity": "serious", "likelihood": "high", "measures": canaries.text("et"),
                "on-behalf-of": canaries.text("et"), "place": canaries.text("et"),
            }
        },
    )  # fmt: skip
    await until("the alert", partial(in_state, germany, number, "broadcast"))
    await germany.step(number, "add-information", {}, {"info": {"text": canaries.text("de")}})
    commission = hand(demo, http, "EU", "handler")
    await until("the summary", partial(in_state, commission, number, "broadcast"))
    look_everywhere(demo, canaries, takes_part={"EE", "DE"})


def look_everywhere(demo, canaries: Canaries, *, takes_part: set[str]) -> None:
    """Files of nodes that take no part, logs of all, and what the others can decrypt of what reached them."""
    for node in demo.places:
        folder = demo.folder / "nodes" / node
        assert not canaries.found_in((folder / "node.log").read_bytes()), f"in the log of {node}"
        if node not in takes_part:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                assert not canaries.found_in(path.read_bytes()), path
            for content in decrypted(folder, node):
                assert not canaries.found_in(content), f"on the wire to {node}"
        else:  # at rest content is sealed, at those who take part too
            for path in (p for p in folder.rglob("*") if p.is_file()):
                assert not canaries.found_in(path.read_bytes()), path


def decrypted(folder: Path, node: str) -> list[bytes]:
    """Every part of every message that reached a node, opened with its own keys."""
    trust = TrustReader(folder / "trust", from_folder(folder / "trust" / "repository")).kept()
    keys = load_node_keys(folder / "keys")
    found = []
    with sqlite3.connect(f"file:{folder / 'node.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT sender, content_type, body, body_file FROM inbox").fetchall()
    connection.close()
    for sender, content_type, kept, name in rows:
        body = (folder / "messages" / name).read_bytes() if name else kept
        agreed = as4.Agreement(
            our_party=as4.party_of(node), their_party=as4.party_of(sender), suite=as4.COMMON,
            services=(as4.Service(name=as4.SERVICE, actions=frozenset({"events", "query", "statistics"})),), their_signing=trust.nodes[NodeId(sender)].signing,
        )  # fmt: skip
        package = as4.unpack(content_type, body, as4.Limits())
        verified = as4.verify(package, as4.parse_soap(package, as4.Limits()), agreed, at=datetime.now(UTC))
        found += [part.content for part in as4.decompress(as4.decrypt(verified, keys.decrypters)).parts]
    return found


async def in_state(hand: Hand, number: str, state: str):
    case = await hand.case(number)
    return case if case["state"] == state else None


__all__ = ["Login"]
