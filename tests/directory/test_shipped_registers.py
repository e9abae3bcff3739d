"""The shipped registers: every row is one, of its State, kept by who is in the directory."""

from __future__ import annotations

import json

import pytest

from node.directory.importing import read_registers
from node.directory.intake import REGISTERS
from node.directory.model import read_change, write_change
from node.directory.rows import read_rows
from node.ids import NodeId
from node.settings import shipped

FILES = sorted(shipped("directory", "registers").glob("*.jsonl"))
TYPES = {
    "business", "crafts", "professional", "contractors", "associations", "public-bodies", "tax", "trusted-list", "other",
}  # fmt: skip


def registers():
    return (one for file in FILES for one in read_registers(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_names_its_licence_and_holds_what_the_page_counts(file):
    page = (file.parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if f"| `{file.name}` |" in line)
    assert f"| {len(file.read_text(encoding='utf-8').splitlines())} |" in line


def test_all_can_be_entries_of_their_states_logs_and_say_no_more_than_the_format_has():
    found = list(registers())
    assert len({one.id for one in found}) == len(found) == 141
    assert len({one.state for one in found}) == 30
    assert {one.type for one in found} <= TYPES
    for one in found:
        node = NodeId(one.state)
        assert read_change(write_change(one), node=node, collection="registers")[0] == one
    for file in FILES:
        assert all(row.values.keys() <= REGISTERS.columns for row in read_rows(file))


def test_who_keeps_a_register_is_in_the_directory():
    shipped_ids = {
        json.loads(line)["id"].replace("-", ":", 1)
        for file in shipped("directory", "authorities").glob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    }
    operators = {one.operator for one in registers() if one.operator}
    assert len(operators) > 15
    assert operators <= shipped_ids
