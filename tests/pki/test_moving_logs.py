"""A State hands its logs to another host, or publishes their next epoch; a node that asks again changes neither."""

from __future__ import annotations

import base64

import pytest

from node.directory.model import COLLECTIONS as SPOKEN_OF
from pki.__main__ import app
from pki.errors import BadTrustList
from pki.keys import raw_public
from pki.node_keys import create_keys, load_log_public, load_log_signer, write_request
from pki.state import NoSuchNode, StateOffice
from pki.trustlist.models import COLLECTIONS


@pytest.fixture
def office(tmp_path) -> StateOffice:
    office = StateOffice.create(tmp_path / "EE", "EE")
    create_keys(tmp_path / "keys")
    office.admit(ask(tmp_path))
    return office


def ask(folder):
    return write_request(
        folder / "keys", "EE", ["ee.example"], federation="https://ee.example:8443", collections=COLLECTIONS
    )


def places(office) -> dict[str, tuple[str, int]]:
    (entry,) = office.entries()
    return {name: (each.host, each.epoch) for name, each in entry.logs.items()}


def test_a_node_has_a_log_for_each_collection_the_directory_knows():
    assert set(COLLECTIONS) == set(SPOKEN_OF)


def test_logs_go_on_at_another_host_in_the_next_epoch(office):
    assert places(office) == dict.fromkeys(COLLECTIONS, ("EE", 1))
    office.move_logs("EE", host="EU")
    assert places(office) == dict.fromkeys(COLLECTIONS, ("EU", 2))
    office.move_logs("EE", collections=["registers"], epoch=5)
    assert places(office)["registers"] == ("EU", 5)
    assert places(office)["authorities"] == ("EU", 2)


def test_epochs_only_grow(office):
    office.move_logs("EE", epoch=3)
    with pytest.raises(BadTrustList):
        office.move_logs("EE", epoch=2)
    with pytest.raises(BadTrustList):
        office.move_logs("EE", collections=["nonsense"])
    with pytest.raises(NoSuchNode):
        office.move_logs("EE-2")


def test_a_node_that_asks_again_takes_no_log_back_from_its_host_and_no_epoch(office, tmp_path):
    office.move_logs("EE", collections=["authorities"], host="EU")
    office.move_logs("EE", collections=["registers"])
    office.admit(ask(tmp_path))
    assert places(office) == {"authorities": ("EU", 2), "registers": ("EE", 2), "repositories": ("EE", 1)}


def test_a_state_without_a_node_keeps_the_key_of_its_logs(tmp_path):
    folder = tmp_path / "LU"
    StateOffice.create(folder, "LU")
    app(["state", "host", str(folder), str(tmp_path / "LU.submission")], standalone_mode=False)
    (entry,) = StateOffice.open(folder).entries()
    signer = load_log_signer(folder / "log.key")
    assert {each.host for each in entry.logs.values()} == {"EU"}
    assert {base64.b64decode(each.public_key) for each in entry.logs.values()} == {raw_public(signer.public_key)}
    assert load_log_public(folder / "log.pub") == signer.public_key
    app(
        ["state", "logs", str(folder), "LU", str(tmp_path / "LU.submission"), "--collection", "authorities"],
        standalone_mode=False,
    )
    (entry,) = StateOffice.open(folder).entries()
    assert {name: each.epoch for name, each in entry.logs.items()} == {
        "authorities": 2, "registers": 1, "repositories": 1,
    }  # fmt: skip
