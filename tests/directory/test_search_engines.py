"""What every engine of the index must do: the same documents in the same order for the same questions."""

from __future__ import annotations

import random
import sqlite3

import psycopg
import pytest

from node.directory import fts5, postgresql
from node.directory.folding import ways
from node.directory.hearing import readings
from node.directory.index import All, Asked, Match, Query, Some, Word, code, document, find
from tests.directory.postgres import server


@pytest.fixture(scope="module")
def address():
    with server() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request, tmp_path):
    if request.param == "sqlite":
        connection = sqlite3.connect(tmp_path / "index.db")
        connection.executescript(fts5.SCHEMA)
        yield fts5.Fts5Index(lambda: connection)
        connection.close()
        return
    with psycopg.connect(request.getfixturevalue("address")) as connection:
        connection.execute(postgresql.SCHEMA)
        yield postgresql.PostgresIndex(lambda: connection)
        connection.rollback()


def body(name: str, number: str, lang: str = "en", **more):
    return document("authority", number, names=[(name, lang)], **more)


def asked(text: str) -> Query:
    each = tuple(Asked(spelt=ways(word), heard=readings(word)) for word in text.split())
    return Query(kind="authority", asked=each, name=text)


def ids(index, text: str, **more) -> list[str]:
    query = asked(text)
    filters = tuple(code(kind, value) for kind, value in more.items())
    return [name for name, _ in find(index, Query(**{**_fields(query), "filters": filters})).rows]


def _fields(query: Query) -> dict:
    return {name: getattr(query, name) for name in ("kind", "asked", "name", "limit")}


def test_exact_comes_before_name_before_beginning_before_competence_before_territory(index):
    index.put(
        [
            body("Amt", "place", places=["Health"]),
            body("Amt", "competence", competence=["health"]),
            body("Healthcare board", "beginning"),
            body("Health board", "name"),
            body("Health", "exact"),
        ]
    )
    found = find(index, asked("health"))
    assert found.rows == (
        ("exact", Match.EXACT), ("name", Match.NAME), ("beginning", Match.BEGINNING),
        ("competence", Match.COMPETENCE), ("place", Match.TERRITORY),
    )  # fmt: skip
    assert not found.partial


def test_among_equals_the_preferred_come_first_then_short_names_then_those_stored_first(index):
    index.put([body("Board of health and safety", "long"), body("Board of health", "short")])
    index.put([body("Board of health", "later"), body("Board of health and safety at work", "role", is_preferred=True)])
    assert ids(index, "health board") == ["role", "short", "later", "long"]


def test_a_document_is_replaced_and_removed(index):
    index.put([body("Old name", "1"), body("Other", "2")])
    index.put([body("New name", "1")])
    assert ids(index, "old") == []
    assert ids(index, "new name") == ["1"]
    index.remove("authority", ["1", "nobody"])
    assert ids(index, "new") == []
    assert ids(index, "other") == ["2"]


def test_the_last_of_two_alike_counts(index):
    index.put([body("First", "1"), body("Second", "1")])
    assert ids(index, "first") == []
    assert ids(index, "second") == ["1"]


def test_codes_narrow_and_are_no_words(index):
    index.put(
        [body("Board", "1", codes=[("nuts", "EE00"), ("role", "a/b")]), body("Board", "2", codes=[("nuts", "EE0")])]
    )
    assert ids(index, "board", nuts="EE00") == ["1"]
    assert ids(index, "board", nuts="ee00", role="a/b") == ["1"]
    assert ids(index, "board", nuts="EE") == []
    assert ids(index, "nuts") == []
    assert ids(index, "ee00") == []
    assert ids(index, "board", nuts='x" OR "') == []
    assert ids(index, "board", nuts="'") == []


def test_kinds_lie_apart(index):
    index.put([body("Board", "1"), document("register", "1", names=[("Board of trade", "en")])])
    assert ids(index, "board") == ["1"]
    found = find(index, Query(kind="register", asked=asked("board").asked, name="board"))
    assert found.rows == (("1", Match.NAME),)


def test_the_limit_holds_and_more_is_told(index):
    index.put([body(f"Board {n}", str(n)) for n in range(30)])
    found = find(index, asked("board"))
    assert len(found.rows) == 20
    assert found.has_more
    assert len(index.first(code("kind", "authority"), limit=None)) == 30


def test_those_with_most_words_are_found_where_none_has_all(index):
    index.put([body("Health board of Tallinn", "1"), body("Health board", "2"), body("Rescue board", "3")])
    found = find(index, asked("health board tallinn unheard"))
    assert found.rows == (("1", Match.MOST),)
    assert found.partial
    assert find(index, asked("rescue tallinn")).rows == (("3", Match.MOST), ("1", Match.MOST))
    assert find(index, asked("nothing here")).rows == ()


def test_all_scripts_beginnings_and_sounds(index):
    index.put(
        [
            body("Υπουργείο Παιδείας", "el", "el"), body("Община Търговище", "bg", "bg"),
            body("Ville de Bordeaux", "fr", "fr"), body("Tervise- ja tööamet", "et", "et"),
        ]
    )  # fmt: skip
    for text, expected in (
        ("ΥΠΟΥΡΓΕΙΟ", "el"), ("ypourg paid", "el"), ("pedias", "el"), ("turgovishte", "bg"), ("търг", "bg"),
        ("Бордо", "fr"), ("tooamet", "et"), ("TÖÖ", "et"),
    ):  # fmt: skip
        assert ids(index, text) == [expected], text


def test_fields_are_kept_apart(index):
    index.put([body("Amet", "1", competence=["diplom"], places=["Tallinn"])])
    assert index.first(Word("diplom", ("competence",)), limit=1)
    assert not index.first(Word("diplom", ("names", "place")), limit=1)
    assert index.first(Word("tall", ("names", "place"), beginning=True), limit=1)
    assert not index.first(Word("tall", ("place",)), limit=1)
    either = Some((Word("x", ("names",)), All((Word("amet", ("names",)), Word("tallinn", ("place",))))))
    assert index.first(either, limit=1)


def test_a_thousand_documents_are_found_as_a_plain_scan_finds_them(index):
    dice = random.Random(7)
    syllables = ["ma", "ri", "ko", "tu", "le", "sa", "no", "pi"]
    said = ["".join(dice.choices(syllables, k=dice.randint(1, 3))) for _ in range(60)]
    bodies = {str(n): dice.sample(said, dice.randint(1, 6)) for n in range(1000)}
    index.put([body(" ".join(text), number) for number, text in bodies.items()])
    for _ in range(60):
        first, second = dice.sample(said, 2)
        wanted = All((Word(first, ("names",)), Word(second[:3], ("names",), beginning=True)))
        expected = {n for n, text in bodies.items() if first in text and any(w.startswith(second[:3]) for w in text)}
        assert {row.id for row in index.first(wanted, limit=None)} == expected
