from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from node.pages import static
from node.pages.frame import TEMPLATES

ALL = sorted(TEMPLATES.rglob("*.html"))
FOREIGN = re.compile(rb"(?:https?:)?//[a-z0-9-]+\.[a-z]|@import|data:", re.IGNORECASE)
NAMESPACE = b"http://www.w3.org/2000/svg"


def _served() -> list[Path]:
    return [path for path in static.FOLDER.rglob("*") if path.suffix in {".css", ".svg", ".js"}]


@pytest.mark.parametrize("path", [*_served(), *ALL], ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    assert not FOREIGN.findall(path.read_bytes().replace(NAMESPACE, b""))


def test_only_the_macros_write_classes_of_the_component_library() -> None:
    writing = [path.name for path in ALL if "ecl-" in path.read_text(encoding="utf-8")]
    assert writing == ["macros.html"]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_templates_hold_no_script_no_style_and_nothing_unescaped(path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|\|\s*safe", written)


def test_every_form_that_is_posted_carries_the_token() -> None:
    for path in ALL:
        for form in re.findall(r'<form method="post".*?</form>', path.read_text(encoding="utf-8"), re.DOTALL):
            assert "token()" in form, path.name


async def test_static_files_are_kept_for_ever_under_their_hash(open_browser: Any) -> None:
    browser = await open_browser()
    for name in ("ecl.css", "site.css", "mark.svg", "fonts/inter-greek-400-normal.woff2"):
        page = await browser.get(static.url(name))
        assert page.status == 200
        assert "immutable" in page.headers["Cache-Control"]
    assert (await browser.get("/static/0123456789abcdef/site.css")).status == 404


async def test_the_stylesheet_names_fonts_that_are_there(open_browser: Any) -> None:
    browser = await open_browser()
    sheet = await browser.get(static.url("site.css"))
    urls = re.findall(r"url\(([^)]+)\)", sheet.text)
    assert len(urls) == 13
    assert {(await browser.get(url)).status for url in urls} == {200}


@pytest.mark.parametrize(
    "name",
    [
        "../__init__.py",
        "..%2f__init__.py",
        "%2e%2e/frame.py",
        "VENDORED.md",
        "fonts/../site.css",
        "/etc/passwd",
        "a%00b",
    ],
)
async def test_no_other_file_is_reached(open_browser: Any, name: str) -> None:
    from yarl import URL

    browser = await open_browser()
    digest = static.url("site.css").split("/")[2]
    url = URL(str(browser.client.make_url("/")) + f"static/{digest}/{name}", encoded=True)
    async with browser.client.session.get(url) as answer:
        assert answer.status == 404
