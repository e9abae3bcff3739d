"""What a log entry may say: every kind of record there and back, and nothing a log may not speak of."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from node.directory.model import (
    OPERATOR,
    Authority,
    AuthorityGroup,
    BadEntry,
    By,
    Deleted,
    Link,
    Register,
    RepositoryEntry,
    read_change,
    read_record,
    write_change,
    write_record,
)
from node.ids import AuthorityId, NodeId

EE = NodeId("EE")
SCHOOL, MINISTRY = AuthorityId("EE:school"), AuthorityId("EE:ministry")
AUTHORITY = Authority(
    id=SCHOOL,
    node=EE,
    names={"et": "Kool"},
    name_lang="et",
    competence={"en": "Teachers' diplomas"},
    languages=("et", "en"),
    roles={"professional-qualifications": ("ca",)},
    settings={"professional-qualifications": {"approve-requests": "yes"}},
    coordinators=(
        Link(coordinator=MINISTRY),
        Link(coordinator=AuthorityId("EE:region"), area="professional-qualifications"),
        Link(coordinator=AuthorityId("EE:alerts"), function="alert"),
    ),
    represented_by=MINISTRY,
    registered=date(2026, 11, 24),
)
GROUP = AuthorityGroup(id=AuthorityId("EE:schools"), node=EE, names={"en": "Schools"}, members=(SCHOOL,))
REGISTER = Register(
    id=AuthorityId("EE:teachers"),
    node=EE,
    names={"et": "Õpetajate register"},
    name_lang="et",
    contents={"en": "Who may teach"},
    operator=MINISTRY,
    access="on-request",
    fee="no",
    valid_on=date(2026, 1, 31),
)
ENTRY = RepositoryEntry(
    id=AuthorityId("EE:licence-1"), node=EE, procedure="cash-in-transit/licences", owner=MINISTRY, fields={"licence": {"number": "1"}}
)  # fmt: skip
BY = By(authority=MINISTRY, user=17, at=datetime(2026, 11, 24, 9, tzinfo=UTC))


@pytest.mark.parametrize(
    ("record", "collection"),
    [(AUTHORITY, "authorities"), (GROUP, "authorities"), (REGISTER, "registers"), (ENTRY, "repositories")],
)
def test_a_record_and_who_made_it_come_back_as_they_were(record, collection):
    assert read_change(write_change(record, BY), node=EE, collection=collection) == (record, BY)
    gone = Deleted(record.id, record.kind)
    assert read_change(write_change(gone, BY), node=EE, collection=collection) == (gone, BY)
    assert read_record(record.kind, write_record(record)) == record


def test_a_log_speaks_only_of_what_its_collection_holds():
    for record, collection in ((AUTHORITY, "registers"), (REGISTER, "authorities"), (GROUP, "repositories")):
        with pytest.raises(BadEntry, match="speaks of a"):
            read_change(write_change(record), node=EE, collection=collection)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"op":"put"}',
        b'{"op":"grow","authority":{}}',
        (
            b'{"op":"put","authority":{"id":"EE:1","node":"EE","names":{"et":"A"},"name_lang":"et"},'
            b'"group":{"id":"EE:2","node":"EE","names":{"et":"B"}}}'
        ),
        b'{"op":"put","authority":{"id":"EE:1","node":"EE","names":{"et":"' + b"A" * 401 + b'"},"name_lang":"et"}}',
        b'{"op":"put","authority":{"id":"EE:1","node":"EE","names":{"et":"A"},"name_lang":"et","website":"javascript:1"}}',
        b'{"op":"put","authority":{"id":"EE:1","node":"EE","names":{"et":"A"},"name_lang":"et","status":"dead"}}',
        b'{"op":"delete","id":"ee:1"}',
        b'{"op":"put","authority":' + b"[" * 30_000 + b"}",
    ],
)
def test_what_is_malformed_is_refused(body):
    with pytest.raises(BadEntry):
        read_change(body, node=EE)


def test_what_a_later_version_adds_is_left_aside():
    body = (
        b'{"op":"put","authority":{"id":"EE:1","node":"EE","names":{"et":"A"},"name_lang":"et","new":{"x":1}},"more":2}'
    )
    change, by = read_change(body, node=EE)
    assert (change.id, by) == ("EE:1", OPERATOR)


def test_coordinators_of_an_area_come_before_those_of_all():
    assert AUTHORITY.coordinators_for("request", "professional-qualifications") == ("EE:region", "EE:ministry")
    assert AUTHORITY.coordinators_for("request", "services") == ("EE:ministry",)
    assert AUTHORITY.coordinators_for("alert") == ("EE:alerts",)
