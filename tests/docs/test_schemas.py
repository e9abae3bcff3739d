"""The schemas and tables of files that the directory reads and gives are those of the code."""

from __future__ import annotations

import json

import pytest

from node.directory.rows import AuthorityRow, BadRow, RegisterRow, parse, read_rows
from node.settings import shipped
from tools.schemas import PAGE, schemas, text, with_tables


@pytest.mark.parametrize("path", schemas(), ids=lambda path: path.name)
def test_a_schema_is_kept_as_the_code_has_it(path):
    assert path.read_text(encoding="utf-8") == text(schemas()[path]), "run: python -m tools.schemas"


def test_the_page_lists_every_field():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_tables(page), "run: python -m tools.schemas"
    for model in (AuthorityRow, RegisterRow):
        assert all(f"| `{name}` |" in page for name in model.model_fields)


@pytest.mark.parametrize("file", ["EE.jsonl", "HR.jsonl"])
def test_shipped_rows_are_rows_of_the_format(file):
    rows = list(read_rows(shipped("directory", "authorities", file)))
    assert len(rows) > 100
    assert not [row for row in rows if isinstance(row, BadRow) or isinstance(parse(AuthorityRow, row), BadRow)]


def test_a_schema_is_json_with_a_title():
    for schema in schemas().values():
        assert json.loads(text(schema))["title"]
