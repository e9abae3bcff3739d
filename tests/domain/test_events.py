"""Events as bytes: canonical, bounded, without free text; commitments that hide and bind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from node.domain.events import BadEvent, Event, Opening, canonical, commitment, parse_event, signing_input
from node.ids import AuthorityId, CaseId, CaseNumber, EventId

OPENING = Opening(procedure="services/alert", version=1, digest="ab" * 32, number=CaseNumber("DE-BY-2026-000017"))
FIRST = Event(
    step="send",
    role="requesting",
    author=AuthorityId("EE:bb37c2d5c2"),
    seq=1,
    at=datetime(2026, 11, 24, 8, 0, 0, 123000, tzinfo=UTC),
    catalogue=0,
    control={"to": "FR:a1", "questions": ("Q1", "Q3a"), "wanted": "2026-12-10"},
    parts={"content": "cd" * 32},
    opening=OPENING,
)
NEXT = Event(
    step="accept",
    role="responding",
    author=AuthorityId("FR:a1"),
    seq=1,
    at=FIRST.at + timedelta(hours=1),
    catalogue=0,
    case=CaseId(FIRST.id),
    after=EventId(FIRST.id),
    seen={"EE:bb37c2d5c2": 1},
)


@pytest.mark.parametrize("event", [FIRST, NEXT, replace(NEXT, scope="state", seen={"FR:a1#state": 2})])
def test_an_event_survives_its_bytes(event):
    back = parse_event(event.canonical)
    assert back == event
    assert back.id == event.id == hashlib.sha256(event.canonical).hexdigest()
    assert back.canonical == rfc8785.dumps(json.loads(event.canonical))


def test_the_first_event_names_the_case():
    assert FIRST.case_id == FIRST.id == NEXT.case_id
    assert signing_input(FIRST.id) == b"imi-event/1\n" + FIRST.id.encode()


def test_lanes_are_of_an_author_and_a_scope():
    assert NEXT.lane == "FR:a1"
    assert replace(NEXT, scope="receipt").lane == "FR:a1#receipt"
    assert NEXT.state == "FR"


def broken(**changes: object) -> bytes:
    body = json.loads(NEXT.canonical)
    body.update(changes)
    return rfc8785.dumps({k: v for k, v in body.items() if v is not ...})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " + NEXT.canonical,
        NEXT.canonical.replace(b'"seq":1', b'"seq":1,"seq":1'),
        NEXT.canonical.replace(b'"seq":1', b'"seq":1.0'),
        b"x" * (256 * 1024 + 1),
        broken(comment="hello"),
        broken(step=...),
        broken(step="Send"),
        broken(seq=0),
        broken(seq="1"),
        broken(author="EE"),
        broken(scope="world"),
        broken(at="2026-11-24T09:00:00Z"),
        broken(at="2026-11-24T09:00:00.000+01:00"),
        broken(at="9999-11-24T09:00:00.000Z"),
        broken(at="2026-13-24T09:00:00.000Z"),
        broken(case=""),
        broken(after=""),
        broken(seen={"EE:a": 0}),
        broken(control={"why": "because the person said so"}),
        broken(control={"to": ["EE:a"] * 1001}),
        broken(control={"to": {"a": "b"}}),
        broken(parts={"content": "short"}),
        broken(opening={"procedure": "a/b", "version": 1, "digest": "ab" * 32, "number": "EE-2026-000001"}),
    ],
)
def test_what_is_no_event_is_refused(data):
    with pytest.raises(BadEvent):
        parse_event(data)


def test_a_commitment_binds_and_hides():
    content = {"answers": {"Q3": {"yes-no-unknown": "yes"}}}
    salt = bytes(16)
    assert commitment(salt, content) == hashlib.sha256(salt + canonical(content)).hexdigest()
    assert commitment(b"\1" * 16, content) != commitment(salt, content)
    assert commitment(salt, {"answers": {"Q3": {"yes-no-unknown": "no"}}}) != commitment(salt, content)
    with pytest.raises(ValueError, match="16 bytes"):
        commitment(b"", content)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@given(_json)
def test_canonical_bytes_are_read_back_and_stay_the_same(value):
    assert canonical(json.loads(canonical(value))) == canonical(value)


def test_instants_are_written_in_utc():
    local = replace(NEXT, at=NEXT.at.astimezone(timezone(timedelta(hours=2))))
    assert local.canonical == NEXT.canonical
