"""Merkle trees: the RFC's shapes, and laws over any log."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import merkle

# RFC 6962 test vectors, as published with the reference implementations of certificate transparency
LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]

logs = st.integers(1, 70).map(lambda n: [merkle.leaf_hash(bytes([i])) for i in range(n)])


def slow_root(leaves: list[bytes]) -> bytes:
    """The definition, literally."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + slow_root(leaves[:split]) + slow_root(leaves[split:])).digest()


def test_the_empty_log_and_the_empty_leaf():
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert HASHES[0].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@given(logs)
def test_the_frontier_computes_the_definition(leaves):
    assert merkle.root(leaves) == slow_root(leaves)


@given(logs, st.data())
def test_appending_in_pieces_is_appending_at_once(leaves, data):
    cut = data.draw(st.integers(0, len(leaves)))
    assert merkle.Frontier().append(leaves[:cut]).append(leaves[cut:]) == merkle.Frontier().append(leaves)


@given(logs, st.data())
def test_every_leaf_can_be_proven_and_no_other(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = merkle.inclusion_proof(leaves, index), merkle.root(leaves)
    assert merkle.is_included(leaves[index], index, len(leaves), proof, root)
    assert not merkle.is_included(merkle.leaf_hash(b"other"), index, len(leaves), proof, root)
    assert not merkle.is_included(leaves[index], index, len(leaves), (*proof, root), root)
    assert not merkle.is_included(leaves[index], len(leaves), len(leaves), proof, root)


@given(logs, st.data())
def test_a_log_continues_its_beginning_and_no_other(leaves, data):
    old = data.draw(st.integers(1, len(leaves)))
    proof = merkle.consistency_proof(leaves, old)
    roots = merkle.root(leaves[:old]), merkle.root(leaves)
    assert merkle.is_consistent(old, roots[0], len(leaves), roots[1], proof)
    forged = merkle.root([merkle.leaf_hash(b"forged"), *leaves[1:old]])
    assert not merkle.is_consistent(old, forged, len(leaves), roots[1], proof)


@pytest.mark.parametrize(("size", "roots"), [(1, ()), (2, (b"x" * 32, b"y" * 32)), (1, (b"short",))])
def test_a_malformed_frontier_is_refused(size, roots):
    with pytest.raises(ValueError, match="frontier"):
        merkle.Frontier(size, roots)
