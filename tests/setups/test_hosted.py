"""Hosted: a State without a node keeps the key of its log to itself; the Commission's node serves what it signed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from node.demo.client import Hand, until
from node.demo.stage import Stage
from node.directory.model import write_change
from node.ids import NodeId

from .conftest import REQUEST, asked, body, content, done, entry_says, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
SCHOOL, GUILD = "EE:school", "LU:guild"
AUTHORITIES = (body(SCHOOL, "EE", "Education Board"),)
USERS = {"EE": (("school", SCHOOL, ("handler",), "en"),)}


@pytest.fixture(scope="module")
def hosted(set_up):
    return set_up(["EE", "EU"], AUTHORITIES, USERS)


async def publish(stage: Stage, name: str, *authorities: object) -> None:
    """The State signs entries where its key lies; the host takes the file."""
    office, config = stage.folder / "states" / "LU", stage.places[NodeId("EU")].folder / "node.toml"
    changes, signed = office / f"{name}.jsonl", office / f"{name}.signed"
    changes.write_bytes(b"\n".join(write_change(authority) for authority in authorities) + b"\n")
    sign = ("node", "directory", "sign", office / "logs", "LU/authorities", signed)
    await done(*sign, "--key", office / "log.key", "--changes", changes)
    await done("node", "directory", "take", signed, "--config", config)


async def found(hand: Hand, words: str) -> str | None:
    hits = await hand.find(words)
    return str(hits[0]["id"]) if hits else None


def test_a_state_without_a_node_joins_signs_its_entries_itself_and_is_found_everywhere(hosted):
    async def story(stage: Stage) -> None:
        office, publisher = stage.folder / "states" / "LU", stage.folder / "publisher"
        await done("pki", "state", "create", office, "LU")
        await done("pki", "list", "admit", publisher, f"LU={office / 'trust.pub'}")
        await done("pki", "state", "host", office, office / "LU.submission", "--host", "EU")
        await done("pki", "list", "publish", publisher, office / "LU.submission")
        await publish(stage, "first", body(GUILD, "LU", "Chambre des Métiers"))
        assert await until("the guild found in Estonia", partial(found, stage.hand_of("school"), "Metiers")) == GUILD
        for key in (office / "log.key", office / "ca.key"):
            assert stage.files_with("EU", _secret(key)) == []

    hosted.play(story)


def test_the_host_cannot_write_into_the_log_it_serves(hosted):
    async def story(stage: Stage) -> None:
        config = stage.places[NodeId("EU")].folder / "node.toml"
        row = stage.folder / "forged.jsonl"
        row.write_text(json.dumps({"id": "LU-guild", "name": "Forged"}) + "\n", encoding="utf-8")
        code, said = await run("node", "authorities", "import", row, "--node", "LU", "--config", config)
        assert code != 0
        assert "no key" in said
        assert (await stage.hand_of("school").authority_of(GUILD))["name"] == "Chambre des Métiers"

    hosted.play(story)


def test_a_change_that_the_state_signs_is_followed(hosted):
    async def story(stage: Stage) -> None:
        await publish(stage, "second", body(GUILD, "LU", "Chambre des Artisans"))
        await entry_says(stage.hand_of("school"), GUILD, name="Chambre des Artisans")

    hosted.play(story)


def test_what_cannot_be_delivered_to_a_state_without_a_node_is_refused_before_it_is_sent(hosted):
    async def story(stage: Stage) -> None:
        school = stage.hand_of("school")
        refused = await stage.refused(school.open(REQUEST, "send", asked(GUILD), content("CANARY-NOWHERE")))
        assert refused == "refused.recipient-without-node"

    hosted.play(story)


def _secret(key: Path) -> bytes:
    """A line of a private key's file that nothing else has."""
    return key.read_bytes().splitlines()[1][-40:]
