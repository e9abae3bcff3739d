"""A node that others reach through another one of its State: what the State may say of it, and what it may not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets

from pki.errors import BadTrustList
from pki.founding import Founding, NodePlan
from pki.node_keys import create_keys, write_request
from pki.trustlist.models import NodeEntry
from pki.trustlist.submission import Submission, sign_state, state_role

from .conftest import plan


@pytest.fixture
def mixed(tmp_path) -> Founding:
    """Germany with a node behind another one."""
    made = Founding(tmp_path / "federation")
    made.found([plan("EE"), plan("DE"), plan("DE-BY"), NodePlan(node="DE-SN", relay="DE", suites=("suite",))])
    return made


def entries(founding) -> dict[str, NodeEntry]:
    return {entry.node: entry for entry in founding.publisher.entries("DE")}


def test_an_entry_names_the_relay_and_no_address(mixed):
    saxony = entries(mixed)["DE-SN"]
    assert (saxony.relay, saxony.federation) == ("DE", None)
    assert saxony.signing
    assert not saxony.is_hosted


def asks(mixed, **more):
    keys = mixed.keys("DE-SN")
    if not keys.exists():
        create_keys(keys)
    return write_request(keys, "DE-SN", ["10.0.0.5"], **more)


def test_a_node_moves_behind_a_relay_and_out_again_and_a_request_for_more_keys_changes_nothing(mixed):
    office = mixed.office("DE")
    for more, expected in (
        ({}, ("DE", None)),
        ({"federation": "https://sn.example:1"}, (None, "https://sn.example:1")),
        ({}, (None, "https://sn.example:1")),
        ({"relay": "DE-BY"}, ("DE-BY", None)),
    ):
        office.admit(asks(mixed, **more))
        mixed.publish("DE")
        saxony = entries(mixed)["DE-SN"]
        assert (saxony.relay, saxony.federation) == expected


UNUSABLE = [
    ({"relay": "EE"}, "no node of DE with an address"),
    ({"relay": "DE-HH"}, "no node of DE with an address"),
    ({"relay": "DE-SN"}, "no node of DE with an address"),
    ({"relay": "DE", "federation": "https://sn.example:1"}, "must not say an address"),
]


@pytest.mark.parametrize(("said", "why"), UNUSABLE)
def test_the_office_does_not_sign_a_relay_that_cannot_be_used(mixed, said, why):
    office = mixed.office("DE")
    office.put(entries(mixed)["DE-SN"].model_copy(update=said))
    with pytest.raises(BadTrustList, match=why):
        office.sign()


def test_a_relay_stands_behind_no_relay(mixed):
    office = mixed.office("DE")
    office.put(entries(mixed)["DE-BY"].model_copy(update={"federation": None, "relay": "DE-SN"}))
    with pytest.raises(BadTrustList, match="the relay of DE-BY is DE-SN"):
        office.sign()


def test_a_relay_does_not_leave_while_a_node_stands_behind_it(mixed):
    office = mixed.office("DE")
    office.withdraw("DE")
    with pytest.raises(BadTrustList, match="the relay of DE-SN is DE"):
        office.sign()
    office.withdraw("DE-SN")
    mixed.publisher.accept(office.sign())
    assert list(entries(mixed)) == ["DE-BY"]


@pytest.mark.parametrize(("said", "why"), UNUSABLE)
def test_the_publisher_does_not_take_a_relay_that_cannot_be_used(mixed, said, why):
    """Signed with the State's key by another program than ours."""
    office = mixed.office("DE")
    good = office.sign()
    path = "nodes/DE/DE-SN.json"
    bad = entries(mixed)["DE-SN"].model_copy(update=said)
    files = {**good.files, path: bad.model_dump_json(exclude_none=True).encode()}
    role = Metadata(Targets(
        version=mixed.publisher.next_version("DE"), expires=datetime.now(UTC).replace(year=2099, microsecond=0),
        targets={path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()},
    ))  # fmt: skip
    role.sign(office.trust_key)
    with pytest.raises(BadTrustList, match=why):
        mixed.publisher.accept(Submission(state="DE", metadata=role.to_bytes(), files=files))
    assert state_role("DE") in mixed.publisher.roles()
    assert entries(mixed)["DE-SN"].relay == "DE"


def test_what_can_be_used_is_signed(mixed):
    said = sign_state("DE", mixed.office("DE").trust_key, entries(mixed).values(), b"", version=9, at=datetime.now(UTC))
    assert b'"relay": "DE"' in said.files["nodes/DE/DE-SN.json"]
