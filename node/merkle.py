"""Merkle trees of append-only logs: RFC 6962 hashing (section 2.1), proofs, and appending without the old leaves.

A leaf hash is SHA-256(0x00 ‖ leaf), a node SHA-256(0x01 ‖ left ‖ right); the tree over n leaves splits at the largest
power of two below n. A `Frontier` keeps the roots of the complete subtrees, which is all that appending needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The size of a log and the roots of its complete subtrees, largest first."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.roots) != self.size.bit_count() or any(len(root) != HASH_BYTES for root in self.roots):
            raise ValueError("a frontier has one root for each bit of its size")

    def append(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after more leaves (their hashes, in order)."""
        size, roots = self.size, list(self.roots)
        for leaf in leaves:
            carry, bit = leaf, size
            while bit & 1:
                carry = node_hash(roots.pop(), carry)
                bit >>= 1
            roots.append(carry)
            size += 1
        return Frontier(size, tuple(roots))

    @property
    def root(self) -> bytes:
        """The tree's root hash."""
        if not self.roots:
            return EMPTY_ROOT
        root = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            root = node_hash(left, root)
        return root


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    return Frontier().append(leaves).root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of one leaf, from the bottom up (RFC 6962 section 2.1.1). Raises ValueError out of range."""
    if not 0 <= index < len(leaves):
        raise ValueError("no such leaf")
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*inclusion_proof(leaves[:split], index), root(leaves[split:]))
    return (*inclusion_proof(leaves[split:], index - split), root(leaves[:split]))


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """Whether `leaf` (its hash) stands at `index` in the log of this size and root."""
    if not 0 <= index < size:
        return False
    first, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = node_hash(step, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, step)
        first, last = first >> 1, last >> 1
    return last == 0 and found == root_hash


def consistency_proof(leaves: Sequence[bytes], old: int) -> tuple[bytes, ...]:
    """Proof that the log of `old` leaves is the beginning of this one (RFC 6962 section 2.1.2)."""
    if not 0 < old <= len(leaves):
        raise ValueError("no such size")
    return _subproof(leaves, old, whole=True)


def _subproof(leaves: Sequence[bytes], old: int, *, whole: bool) -> tuple[bytes, ...]:
    if old == len(leaves):
        return () if whole else (root(leaves),)
    split = _split(len(leaves))
    if old <= split:
        return (*_subproof(leaves[:split], old, whole=whole), root(leaves[split:]))
    return (*_subproof(leaves[split:], old - split, whole=False), root(leaves[:split]))


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the log of size `new` begins with the log of size `old` (RFC 9162 section 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return old_root == new_root and not proof
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    found_old = found_new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            found_old, found_new = node_hash(step, found_old), node_hash(step, found_new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found_new = node_hash(found_new, step)
        first, last = first >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
