"""Identifiers: what they may look like, and the one mapping between house codes and ISO."""

from __future__ import annotations

import pytest

from node.ids import BadIdentifier, iso_country, parse_authority, parse_node, parse_number, state_of, state_of_iso


def test_greece_is_el_in_the_union_and_gr_in_iso():
    assert iso_country("EL") == "GR"
    assert state_of_iso("GR") == "EL"
    assert state_of_iso("EE") == iso_country("EE") == "EE"


def test_a_state_is_read_off_a_name():
    assert state_of(parse_node("DE-BY")) == "DE"
    assert state_of(parse_authority("EL:7b15f02687")) == "EL"


@pytest.mark.parametrize("text", ["de", "DE-", "DE-by", "../DE", "DEU", "DE-BAVARIAEAST", ""])
def test_other_texts_are_no_nodes(text):
    with pytest.raises(BadIdentifier):
        parse_node(text)


@pytest.mark.parametrize("text", ["EE-2026-000412", "DE-BY-2026-000017", "EE-2026-000412.1"])
def test_case_numbers(text):
    assert parse_number(text) == text


@pytest.mark.parametrize("text", ["EE-26-000412", "EE-2026-412", "EE-2026-000412/1", "EE-2026-000412\n"])
def test_other_texts_are_no_numbers(text):
    with pytest.raises(BadIdentifier):
        parse_number(text)
