from __future__ import annotations

import io
import re
from typing import Any

import pytest

PUBLIC = ("/sign-in", "/languages", "/help", "/privacy", "/accessibility", "/keyboard")
PRIVATE = ("/authorities", "/authorities/EE:school", "/authorities?q=school&state=FR", "/our-authority")


@pytest.mark.parametrize("path", PUBLIC)
async def test_a_public_page_is_shown_without_a_session(open_browser: Any, path: str) -> None:
    browser = await open_browser()
    page = await browser.get(path)
    assert page.status == 200
    assert len(page.tree.findall(".//h1")) == 1
    assert page.tree.get("lang") == "en"


@pytest.mark.parametrize("path", PRIVATE)
async def test_other_pages_lead_to_the_sign_in(open_browser: Any, path: str) -> None:
    browser = await open_browser()
    page = await browser.get(path)
    assert page.status == 303
    assert page.headers["Location"].startswith("/sign-in?back=/")


@pytest.mark.parametrize("path", PRIVATE)
async def test_pages_for_officials(open_browser: Any, path: str) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get(path)
    assert page.status == 200, page.says
    assert len(page.tree.findall(".//h1")) == 1
    assert "Kadri Näidis" in page.says


@pytest.mark.parametrize("path", [*PUBLIC, *PRIVATE, "/", "/nothing", "/authorities/EE:none", "/static/0/x"])
async def test_every_answer_carries_the_security_headers(open_browser: Any, path: str) -> None:
    browser = await open_browser()
    outside = await browser.get(path)
    await browser.sign_in()
    for page in (outside, await browser.get(path)):
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; ")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/nothing", "/authorities/EE:none", "/authorities/%3Cscript%3E", "/authorities/x"])
async def test_what_is_not_there_is_a_page_of_its_own(open_browser: Any, path: str) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get(path)
    assert page.status == 404
    assert page.h1 == "Page not found"
    assert page.headers["X-Request-Id"] in page.says


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(open_browser: Any) -> None:
    browser = await open_browser()
    body = io.BytesIO(b"login=" + b"x" * 1_200_000)
    page = await browser.post("/sign-in", body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert page.status == 413
    assert "too large" in page.says


async def test_what_is_typed_is_shown_as_text(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get("/authorities", params={"q": '"><script>alert(1)</script>'})
    assert page.status == 200
    assert not page.tree.xpath("//main//script")
    assert "<script" not in page.text


async def test_every_word_on_the_pages_has_a_text(open_browser: Any) -> None:
    browser = await open_browser()
    shown = [await browser.get(path) for path in PUBLIC]
    await browser.sign_in()
    shown += [await browser.get(path) for path in PRIVATE]
    keys = r"\b(?:menu|site|page|footer|form|sign-in|authorit(?:y|ies)|our-authority|help|privacy|list)\.[a-z][a-z.-]+"
    assert not [found for page in shown for found in re.findall(keys, page.says)]


async def test_ids_are_unique_and_labels_and_links_lead_somewhere(open_browser: Any) -> None:
    browser = await open_browser()
    shown = [await browser.get(path) for path in PUBLIC]
    await browser.sign_in()
    shown += [await browser.get(path) for path in PRIVATE]
    for page in shown:
        ids = page.tree.xpath("//@id")
        assert len(ids) == len(set(ids))
        wanted = [*page.tree.xpath("//label/@for"), *(h[1:] for h in page.tree.xpath("//a/@href[starts-with(., '#')]"))]
        assert set(wanted) <= set(ids)


async def test_authorities_are_narrowed_by_country(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get("/authorities?state=FR")
    found = page.tree.xpath("//ul[@class='results']//a/@href")
    assert found
    assert all(href.startswith("/authorities/FR:") for href in found)
    assert (await browser.get("/authorities?state=XX&limit=-1&profession=../x")).status == 200
    assert "No authority found" in (await browser.get("/authorities?q=zzzzzz")).says
