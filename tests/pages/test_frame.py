from __future__ import annotations

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
