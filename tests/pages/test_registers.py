"""Registers on the officials' pages: what there is, who may, where; in the reader's language where it has words."""

from __future__ import annotations

import pytest

from node.directory.model import Register
from node.ids import AuthorityId, NodeId

FR = NodeId("FR")
TRADE = Register(
    id=AuthorityId("FR:rcs"), node=FR, name_lang="fr", type="business", fee="yes", online="no",
    names={"fr": "Registre du commerce", "en": "Trade register"}, contents={"fr": "Sociétés <et> dirigeants."},
    operator=AuthorityId("FR:school"), website="https://r.example/?a=1&b=2", languages=("fr",),
    identifiers={"org-id": "FR-RCS"},
)  # fmt: skip
INTERNAL = Register(
    id=AuthorityId("FR:internal"), node=FR, names={"fr": "Fichier"}, name_lang="fr", type="unheard-of", access="authorities",
)  # fmt: skip


@pytest.fixture
async def browser(open_browser):
    opened = await open_browser()
    signer = opened.world.signing[NodeId("EU")].signer
    opened.node.directory.publish(FR, [TRADE, INTERNAL], signer, collection="registers")
    await opened.sign_in()
    return opened


def found(page):
    return page.tree.xpath("//ul[@class='results']//a/@href")


async def test_all_registers_are_listed_and_narrowed(browser):
    assert found(await browser.get("/registers")) == ["/registers/FR:internal", "/registers/FR:rcs"]
    assert found(await browser.get("/registers?q=trade")) == ["/registers/FR:rcs"]
    assert found(await browser.get("/registers?access=authorities")) == ["/registers/FR:internal"]
    assert found(await browser.get("/registers?type=business&state=FR")) == ["/registers/FR:rcs"]
    assert found(await browser.get("/registers?state=XX&type=../x&access=%00&limit=-1")) == found(
        await browser.get("/registers")
    )
    nothing = await browser.get("/registers?state=EE")
    assert "No register found" in nothing.says


async def test_an_entry_says_what_is_in_it_who_may_and_where(browser):
    page = await browser.get("/registers/FR:rcs")
    assert page.h1 == "Trade register"
    for words in (
        "Registre du commerce", "Sociétés <et> dirigeants.", "Companies and businesses", "Everybody", "Subject to a feeYes",
        "Available onlineNo", "org-id: FR-RCS",
    ):  # fmt: skip
        assert words in page.says, words
    assert "Account needed" not in page.says, "nobody knows"
    assert page.tree.xpath("//a[@rel='noreferrer']/@href") == ["https://r.example/?a=1&b=2"]
    assert page.tree.xpath("//main//a/@href[contains(., '/authorities/')]") == ["/authorities/FR:school"]
    assert page.tree.xpath("//div[@lang='fr' and @class='lines']/text()") == ["Sociétés <et> dirigeants."]
    other = await browser.get("/registers/FR:internal")
    assert "unheard-of" in other.says
    assert "Competent authorities only" in other.says


async def test_a_register_that_is_not_there_is_said_to_be_so(browser):
    for name in ("FR:none", "FR:school", "nonsense"):
        assert (await browser.get(f"/registers/{name}")).status == 404


async def test_registers_are_for_officials(open_browser):
    stranger = await open_browser()
    assert (await stranger.get("/registers")).headers["Location"].startswith("/sign-in")
