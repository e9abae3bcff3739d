"""Registers over REST: found by words and filters, read one by one."""

from __future__ import annotations

from typing import Any

import pytest

from node.directory.model import Register
from node.ids import AuthorityId, NodeId


@pytest.fixture
async def estonia(door: Any, federation: Any) -> Any:
    opened = await door("EE", "EE:school")
    world = federation()
    registers = [
        Register(
            id=AuthorityId("FR:rcs"), node=NodeId("FR"), name_lang="fr", type="business", fee="yes", website="https://r.example",
            names={"fr": "Registre du commerce", "en": "Trade register"}, contents={"en": "Companies and their officers."},
        ),
        Register(
            id=AuthorityId("FR:internal"), node=NodeId("FR"), names={"fr": "Fichier"}, name_lang="fr", access="authorities",
        ),
    ]  # fmt: skip
    signer = world.signing[NodeId("EU")].signer
    world.nodes[NodeId("EE")].directory.publish(NodeId("FR"), registers, signer, collection="registers")
    return opened


async def test_registers_are_found_by_words_of_any_language(estonia: Any) -> None:
    for words in ("commerce", "TRADE reg", "officers", "business"):
        status, found = await estonia("GET", f"/registers?q={words.replace(' ', '%20')}")
        assert (status, [one["id"] for one in found["registers"]]) == (200, ["FR:rcs"]), words
    assert (await estonia("GET", "/registers?q=trade%20nothing"))[1] == {"registers": [], "more": False}


async def test_registers_are_narrowed(estonia: Any) -> None:
    found = (await estonia("GET", "/registers?access=authorities"))[1]["registers"]
    assert [one["id"] for one in found] == ["FR:internal"]
    assert (await estonia("GET", "/registers?state=EE"))[1]["registers"] == []
    assert len((await estonia("GET", "/registers?state=FR"))[1]["registers"]) == 2
    assert (await estonia("GET", "/registers?limit=1"))[1]["more"] is True


async def test_one_register_is_read_and_an_unknown_one_is_not_found(estonia: Any) -> None:
    status, found = await estonia("GET", "/registers/FR:rcs")
    assert status == 200
    assert (found["state"], found["fee"], found["online"], found["valid_on"]) == ("FR", "yes", "unknown", None)
    status, problem = await estonia("GET", "/registers/FR:none")
    assert (status, problem["code"]) == (404, "refused.unknown-register")
    status, problem = await estonia("GET", "/registers/FR:school")
    assert (status, problem["code"]) == (404, "refused.unknown-register")
