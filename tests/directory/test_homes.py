"""An authority changes its node when the logs of both nodes say so, whatever came first."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.directory import Directory
from node.directory.copies import read_entries
from node.directory.homes import resolve
from node.directory.model import Authority, BadEntry, Deleted, Move, read_change, write_change
from node.directory.replication import LogId, new_entry
from node.directory.search import Replica
from node.ids import AuthorityId, NodeId
from pki.signer import FileSigner

DE, BY, SN = NodeId("DE"), NodeId("DE-BY"), NodeId("DE-SN")
FIRST = Authority(id=AuthorityId("DE:a"), node=DE, names={"de": "Amt"}, name_lang="de")
THERE = replace(FIRST, node=BY, former=(DE,))
BACK = replace(FIRST, node=DE, former=(DE, BY))
LEAVES = Move(id=FIRST.id, node=DE, to=BY, cases=3)
RETURNS = Move(id=FIRST.id, node=BY, to=DE, former=(DE,))
DELETED = Deleted(FIRST.id)


@pytest.fixture
def replica(tmp_path):
    made = Replica(tmp_path / "directory.db", durable=False)
    yield made
    made.close()


def home_after(replica, *said) -> NodeId | None:
    for node, change in said:
        replica.apply([read_change(write_change(change), node=node)], node)
    found = replica.find(FIRST.id)
    return found.node if found else None


def test_until_both_have_said_so_the_old_node_counts(replica):
    assert home_after(replica, (DE, FIRST)) == DE
    assert home_after(replica, (DE, LEAVES)) == DE
    assert [move.cases for move in replica.moves_to(BY)] == [3]
    assert home_after(replica, (BY, THERE)) == BY
    assert replica.moved() == [THERE]


def test_a_claim_that_the_old_node_did_not_announce_counts_for_nothing(replica):
    assert home_after(replica, (DE, FIRST), (BY, THERE)) == DE
    assert home_after(replica, (SN, replace(FIRST, node=SN, former=(DE,))), (DE, LEAVES)) == BY


@pytest.mark.parametrize("order", list(permutations([(DE, FIRST), (DE, LEAVES), (BY, THERE)])))
def test_the_order_in_which_logs_are_read_does_not_matter(replica, order):
    assert home_after(replica, *order) == BY


@pytest.mark.parametrize("order", list(permutations([(DE, LEAVES), (BY, THERE), (BY, RETURNS), (DE, BACK)])))
def test_there_and_back(replica, order):
    """Also from logs that were shortened: the old claim of DE is no longer in them."""
    assert home_after(replica, *order) == DE
    assert replica.find(FIRST.id) == BACK


def test_the_old_node_can_neither_take_it_back_nor_delete_it(replica):
    said = [(DE, FIRST), (DE, LEAVES), (BY, THERE)]
    assert home_after(replica, *said, (DE, replace(FIRST, website="https://elsewhere.example"))) == BY
    assert home_after(replica, (DE, DELETED)) == BY


def test_an_announced_move_is_not_taken_back_by_a_new_epoch_either(tmp_path):
    """A deletion of it that was believed would keep it out of the next epoch, and who reads that alone would know of none."""
    directory, signer = Directory(tmp_path), FileSigner(Ed25519PrivateKey.generate(), None)
    try:
        directory.publish(DE, [FIRST, LEAVES], signer)
        with pytest.raises(BadEntry, match="never taken back"):
            directory.publish(DE, [Deleted(FIRST.id, "move")], signer)
        read = read_entries([new_entry(write_change(Deleted(FIRST.id, "move")))], LogId(DE), 2)
        assert [seq for seq, _ in read.invalid] == [2]
    finally:
        directory.close()


@pytest.mark.parametrize("order", list(permutations([(DE, FIRST), (DE, LEAVES), (BY, DELETED)])))
def test_what_the_new_node_deleted_does_not_return_to_the_old_one(replica, order):
    assert home_after(replica, *order) is None


def test_a_regional_node_does_not_take_what_the_national_one_has(replica):
    assert home_after(replica, (BY, replace(FIRST, node=BY)), (DE, FIRST)) == DE
    assert home_after(replica, (BY, replace(FIRST, node=BY))) == DE


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("last", [replace(FIRST, node=BY, former=(SN,)), DELETED])
def test_who_never_had_an_authority_can_neither_move_it_nor_delete_it_by_saying_that_it_moved(replica, order, last):
    said = [(DE, FIRST), (SN, Move(id=FIRST.id, node=SN, to=BY)), (BY, last)]
    assert home_after(replica, *(said[n] for n in order)) == DE


def test_a_node_that_moves_an_authority_to_itself_ends_nothing(replica):
    assert home_after(replica, (DE, FIRST), (SN, Move(id=FIRST.id, node=SN, to=SN)), (SN, DELETED)) == DE


def test_what_is_found_and_counted_is_what_counts(replica):
    home_after(replica, (DE, FIRST), (DE, LEAVES), (BY, replace(THERE, names={"de": "Landesamt"})))
    assert replica.count() == 1
    assert [hit.authority.node for hit in replica.search("Landesamt").hits] == [BY]


def test_a_log_announces_only_its_own_nodes_moves():
    with pytest.raises(BadEntry):
        read_change(write_change(LEAVES), node=BY)


def test_a_later_move_of_a_node_attests_the_earlier_ones():
    again = Move(id=FIRST.id, node=DE, to=BY, former=(DE, BY))
    last = replace(FIRST, node=BY, former=(DE, BY, DE))
    assert resolve([BACK, last], [again, RETURNS], []) == last
    assert resolve([BACK, last], [RETURNS], []) is None


def test_an_entry_written_anew_stays_where_it_moved_to(tmp_path):
    directory, signer = Directory(tmp_path), FileSigner(Ed25519PrivateKey.generate(), None)
    try:
        directory.publish(DE, [FIRST, LEAVES], signer)
        directory.publish(BY, [THERE], signer)
        directory.publish(BY, [replace(FIRST, node=BY, website="https://new.example")], signer)
        assert directory.get(FIRST.id).homes == (DE, BY)
        assert directory.get(FIRST.id).website == "https://new.example"
        assert directory.coming(BY) == ()
    finally:
        directory.close()
