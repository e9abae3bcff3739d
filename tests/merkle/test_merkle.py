"""Merkle trees: the published vectors, and laws over any log against the definition written out."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import merkle

# The vectors published with the reference implementations of Certificate Transparency (RFC 6962)
LEAVES = [
    bytes.fromhex(h)
    for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    (0, 1, []),
    (0, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (5, 8, ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (1, 5, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]  # fmt: skip
CONSISTENCY = [
    (1, 1, []),
    (1, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 5, ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
    (6, 7, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
]  # fmt: skip

logs = st.integers(1, 70).map(lambda n: [merkle.leaf_hash(bytes([i])) for i in range(n)])


def slow_root(leaves: list[bytes]) -> bytes:
    """The definition, literally."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = split_of(len(leaves))
    return hashlib.sha256(b"\x01" + slow_root(leaves[:split]) + slow_root(leaves[split:])).digest()


def split_of(size: int) -> int:
    split = 1
    while split * 2 < size:
        split *= 2
    return split


def slow_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = split_of(len(leaves))
    if index < split:
        return [*slow_path(index, leaves[:split]), slow_root(leaves[split:])]
    return [*slow_path(index - split, leaves[split:]), slow_root(leaves[:split])]


def slow_subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [slow_root(leaves)]
    split = split_of(len(leaves))
    if old <= split:
        return [*slow_subproof(old, leaves[:split], whole=whole), slow_root(leaves[split:])]
    return [*slow_subproof(old - split, leaves[split:], whole=False), slow_root(leaves[:split])]


def test_the_empty_log_and_the_empty_leaf():
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert HASHES[0].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_the_published_roots():
    assert [merkle.root(HASHES[:n]).hex() for n in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_the_published_proofs_of_inclusion(index, size, proof):
    path = merkle.inclusion_proof(index, size, merkle.subtrees_of(HASHES[:size]))
    assert [step.hex() for step in path] == proof
    assert merkle.is_included(HASHES[index], index, size, path, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "size", "proof"), CONSISTENCY)
def test_the_published_proofs_of_consistency(old, size, proof):
    path = merkle.consistency_proof(old, size, merkle.subtrees_of(HASHES[:size]))
    assert [step.hex() for step in path] == proof
    assert merkle.is_consistent(old, bytes.fromhex(ROOTS[old - 1]), size, bytes.fromhex(ROOTS[size - 1]), path)


@given(logs)
def test_the_frontier_computes_the_definition(leaves):
    assert merkle.root(leaves) == slow_root(leaves)


@given(logs, st.data())
def test_a_root_over_subtrees_is_the_root_over_leaves(leaves, data):
    size = data.draw(st.integers(0, len(leaves)))
    assert merkle.range_root(0, size, merkle.subtrees_of(leaves)) == slow_root(leaves[:size])


@given(logs, st.data())
def test_appending_in_pieces_is_appending_at_once(leaves, data):
    cut = data.draw(st.integers(0, len(leaves)))
    assert merkle.Frontier().append(leaves[:cut]).append(leaves[cut:]) == merkle.Frontier().append(leaves)


@pytest.mark.parametrize("cut", [0, 1, 255, 256, 257, 600])
def test_growing_gives_the_root_of_each_tile_as_it_fills(cut):
    leaves = [merkle.leaf_hash(n.to_bytes(4)) for n in range(256 * 256 + 300)]
    before, first = merkle.Frontier().grow(leaves[:cut])
    after, more = before.grow(leaves[cut:])
    ones = {number: found for level, number, found in (*first, *more) if level == 1}
    assert ones == {n: merkle.root(leaves[n * 256 : (n + 1) * 256]) for n in range(257)}
    assert [(number, found) for level, number, found in more if level == 2] == [(0, merkle.root(leaves[: 256 * 256]))]
    assert after == merkle.Frontier().append(leaves)


@given(logs, st.data())
def test_every_leaf_can_be_proven_and_no_other(leaves, data):
    index, size = data.draw(st.integers(0, len(leaves) - 1)), len(leaves)
    proof, root = merkle.inclusion_proof(index, size, merkle.subtrees_of(leaves)), merkle.root(leaves)
    assert list(proof) == slow_path(index, leaves)
    assert merkle.is_included(leaves[index], index, size, proof, root)
    assert not merkle.is_included(merkle.leaf_hash(b"other"), index, size, proof, root)
    assert not merkle.is_included(leaves[index], index, size, (*proof, root), root)
    assert not merkle.is_included(leaves[index], size, size, proof, root)
    if size > 1:
        assert not merkle.is_included(leaves[index], (index + 1) % size, size, proof, root)
        assert not merkle.is_included(leaves[index], index, size, proof[:-1], root)


@given(logs, st.data())
def test_a_log_continues_its_beginning_and_no_other(leaves, data):
    old, size = data.draw(st.integers(1, len(leaves))), len(leaves)
    proof = merkle.consistency_proof(old, size, merkle.subtrees_of(leaves))
    assert list(proof) == slow_subproof(old, leaves, whole=True)
    roots = merkle.root(leaves[:old]), merkle.root(leaves)
    assert merkle.is_consistent(old, roots[0], size, roots[1], proof)
    forged = merkle.root([merkle.leaf_hash(b"forged"), *leaves[1:old]])
    assert not merkle.is_consistent(old, forged, size, roots[1], proof)
    if proof:
        assert not merkle.is_consistent(old, roots[0], size, roots[1], proof[:-1])
        assert not merkle.is_consistent(old, roots[0], size, roots[1], (*proof[:-1], roots[0]))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_proof_of_what_is_not_there(index, size):
    with pytest.raises(ValueError, match="no such"):
        merkle.inclusion_proof(index, size, merkle.subtrees_of(HASHES))
    with pytest.raises(ValueError, match="no such"):
        merkle.consistency_proof(index + 1, size, merkle.subtrees_of(HASHES))


@pytest.mark.parametrize(("size", "roots"), [(1, ()), (2, (b"x" * 32, b"y" * 32)), (1, (b"short",))])
def test_a_malformed_frontier_is_refused(size, roots):
    with pytest.raises(ValueError, match="frontier"):
        merkle.Frontier(size, roots)
