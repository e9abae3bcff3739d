"""Words come from the catalogues: each text that is named exists, and no template says anything itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import node
from node.pages.frame import TEMPLATES
from node.settings import shipped
from node.texts import ENGLISH, Texts

HOUSE = Path(node.__file__).parent
ALL = sorted(TEMPLATES.rglob("*.html"))
CODE = sorted(path for part in ("web", "pages") for path in (HOUSE / part).rglob("*.py") if path.name != "__init__.py")
KEY = re.compile(r"""\b(?:say|t|plain|maybe)\(\s*["']([a-z][a-z0-9.-]*)["'](\s*[~+])?""")


def keys_in(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """File and key of each text that is named in full; keys put together at run time are met by the pages' tests."""
    for path in paths:
        for found in KEY.finditer(re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)):
            if not found[2] and not found[1].endswith("."):
                yield path.name, found[1]


def test_each_text_that_a_template_or_a_handler_names_exists() -> None:
    texts = Texts.load(shipped())
    named = sorted({*keys_in(ALL), *keys_in(CODE)})
    assert len(named) > 50
    assert [pair for pair in named if not texts.has(ENGLISH, pair[1])] == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_a_template_says_nothing_itself(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    logic = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    said = re.sub(r"<[^>]*>|&[a-z]+;|[a-z-]+=\"[^\"]*\"", " ", logic)
    assert re.findall(r"[^\W\d_]{2,}", said) == []
