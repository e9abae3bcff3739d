from __future__ import annotations

from typing import Any

import pytest

from node.texts import NAMES


async def test_all_24_languages_are_offered_by_their_own_names(open_browser: Any) -> None:
    browser = await open_browser()
    page = await browser.get("/languages")
    buttons = page.tree.xpath("//button[@name='language']")
    assert [button.get("value") for button in buttons] == list(NAMES)
    assert all(button.get("lang") == button.get("value") for button in buttons)


async def test_choosing_a_language_changes_the_pages_and_is_remembered(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get("/languages?back=/our-authority")
    answer = await browser.send(page, "/languages", {"language": "mt", "back": "/our-authority"})
    assert answer.headers["Location"] == "/our-authority"
    assert (await browser.get("/our-authority")).tree.get("lang") == "mt"
    user = (await browser.users.sign_in("user", "a long password", source="test")).official
    assert user.language == "mt"


async def test_a_text_that_a_language_lacks_is_marked_as_english(open_browser: Any) -> None:
    browser = await open_browser()
    page = await browser.get("/help", headers={"Accept-Language": "mt"})
    assert page.tree.get("lang") == "mt"
    assert page.tree.xpath("//h1/span[@lang='en']")


@pytest.mark.parametrize("code", ["xx", "", "EN", "../en", "e" * 5000])
async def test_a_wrong_language_code_is_refused(open_browser: Any, code: str) -> None:
    browser = await open_browser()
    page = await browser.send(await browser.get("/languages"), "/languages", {"language": code, "back": "/"})
    assert page.status == 404
    assert (await browser.get("/help")).tree.get("lang") == "en"


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("et", "et"),
        ("de-AT,en;q=0.5", "de"),
        ("xx, fr;q=0.1", "fr"),
        ("en;q=0.1,el;q=0.9", "el"),
        ("*", "en"),
        (";q=x", "en"),
    ],
)
async def test_without_a_choice_the_browser_decides(open_browser: Any, header: str, lang: str) -> None:
    browser = await open_browser()
    assert (await browser.get("/help", headers={"Accept-Language": header})).tree.get("lang") == lang


async def test_a_faulty_cookie_is_passed_over(open_browser: Any) -> None:
    browser = await open_browser()
    page = await browser.get("/help", headers={"Cookie": "imi-language=zz; imi-ee-form=short; imi-ee-session=x"})
    assert (page.status, page.tree.get("lang")) == (200, "en")
