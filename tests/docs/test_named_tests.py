"""Pages that say how something is known name tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from .test_reference import PAGES, ROOT

_NAMED = re.compile(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`")
NAMED = {page: _NAMED.findall(page.read_text(encoding="utf-8")) for page in PAGES}


@pytest.mark.parametrize("page", [page for page in PAGES if NAMED[page]], ids=lambda page: page.name)
def test_every_test_a_page_names_exists(page):
    for file, name in NAMED[page]:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = {item.name for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not name or name in functions, f"{file}::{name}"


def test_each_product_we_met_is_known_by_a_test():
    page = ROOT / "docs/explanation/divergences.md"
    text = page.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    for product in ("phase4 4.4.1", "as4 0.2.0 (Python)", "XML signature libraries"):
        assert "`tests/interop/" in sections[product], product
