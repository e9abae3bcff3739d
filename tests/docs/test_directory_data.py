"""The shipped bodies' regions are those the rules find, and the page counts them."""

from __future__ import annotations

from tools.seats import DIRECTORY, PAGE, check, derive, given, learn, read, read_bulk, regions, render, town, write_bulk


def test_the_shipped_regions_and_the_page_are_what_the_rules_make_of_the_sources():
    rows = [row for its in read().values() for row in its]
    seats = learn(rows)
    assert derive(rows, seats) == rows, "run: python -m tools.seats"
    bulk = []
    for file in sorted((DIRECTORY / "bulk").glob("*.csv.gz")):
        found = read_bulk(file)
        assert derive(found, seats) == found
        assert write_bulk(found) == file.read_bytes()
        bulk += found
    assert PAGE.read_text(encoding="utf-8") == render(rows, bulk, check(rows, seats)), "run: python -m tools.seats"


def test_every_shipped_region_is_one_of_the_nomenclature():
    labels = regions()
    for row in (row for its in read().values() for row in its):
        assert row.get("nuts", "EE001") in labels, row["id"]
        if "nuts_by" in row:
            assert len(row["nuts"]) == 5
            assert row["nuts"].startswith(given(row) if given(row) in labels else "")


def test_what_leaves_a_doubt_has_no_region():
    """Sofia is in two regions of its name, Neustadt is many towns, and a code seen nowhere says nothing."""
    rows = [row for its in read().values() for row in its]
    seats = learn(rows)
    assert seats["BG"].find({"country": "BG", "city": "София"}) == ("", "")
    assert seats["DE"].find({"country": "DE", "city": "Harburg"}) == ("", "")
    assert seats["HR"].find({"country": "HR", "city": "Ogulin", "postal_code": "47300"}) == ("", "")
    assert seats["EL"].find({"country": "EL", "city": "Ηράκλειο", "postal_code": "14121"}) == ("", "")
    assert seats["EL"].find({"country": "EL", "city": "Ηράκλειο", "postal_code": "71202"}) == ("EL431", "city")


def test_a_town_is_the_same_with_its_cedex():
    assert town({"city": "LYON CEDEX 03"}) == town({"city": "Lyon"}) == "lyon"
