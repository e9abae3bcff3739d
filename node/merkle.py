"""Merkle trees of append-only logs: RFC 6962 hashing (section 2.1), proofs, and appending without the old leaves.

A leaf hash is SHA-256(0x00 ‖ leaf), a node SHA-256(0x01 ‖ left ‖ right); the tree over n leaves splits at the largest
power of two below n. A `Frontier` keeps the roots of the complete subtrees, which is all that appending needs.

Proofs are made from subtrees, wherever those are kept: `Subtree(height, number)` is the hash over the leaves from
`number << height` on, `1 << height` of them. A tile is 256 of them side by side, as C2SP tlog-tiles has it: who keeps
the roots at heights 8, 16 … has at most one tile to read for each step of a proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
TILE_HEIGHT: Final = 8  # of the tree in one tile
TILE: Final = 1 << TILE_HEIGHT  # hashes in a full tile

Subtree = Callable[[int, int], bytes]  # (height, number) -> the root of that complete subtree


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
        return self.grow(leaves)[0]

    def grow(self, leaves: Iterable[bytes]) -> tuple[Frontier, list[tuple[int, int, bytes]]]:
        """The frontier after more leaves, and the roots of the full tiles they complete: (level, number, root).

        Level 1 has the roots over 256 leaves, level 2 those over 256 of level 1, and so on.
        """
        size, roots = self.size, list(self.roots)
        full: list[tuple[int, int, bytes]] = []
        for leaf in leaves:
            carry, bit = leaf, size
            if size & (TILE - 1) != TILE - 1:  # the common case: no tile fills
                while bit & 1:
                    carry = node_hash(roots.pop(), carry)
                    bit >>= 1
            else:
                height = 0
                while size >> height & 1:
                    carry = node_hash(roots.pop(), carry)
                    height += 1
                    if not height % TILE_HEIGHT:
                        full.append((height // TILE_HEIGHT, size >> height, carry))
            roots.append(carry)
            size += 1
        return Frontier(size, tuple(roots)), full

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


def subtrees_of(leaves: Sequence[bytes]) -> Subtree:
    """The subtrees over leaf hashes that are all at hand."""
    return lambda height, number: root(leaves[number << height : (number + 1) << height])


def range_root(first: int, last: int, subtree: Subtree) -> bytes:
    """The root over the leaves [first, last), where `first` is a multiple of a power of two not below their number."""
    found: bytes | None = None
    for height, number in reversed(list(_complete(first, last))):
        left = subtree(height, number)
        found = left if found is None else node_hash(left, found)
    return EMPTY_ROOT if found is None else found


def _complete(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees side by side in a range, largest first."""
    while first < last:
        height = (last - first).bit_length() - 1
        yield height, first >> height
        first += 1 << height


def inclusion_proof(index: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The audit path of a leaf in the tree of `size`, bottom up (RFC 6962 section 2.1.1). Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    first, last, path = 0, size, []
    while last - first > 1:
        split = first + _split(last - first)
        if index < split:
            path.append(range_root(split, last, subtree))
            last = split
        else:
            path.append(range_root(first, split, subtree))
            first = split
    return tuple(reversed(path))


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


def consistency_proof(old: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """Proof that the tree of `size` begins with that of `old` leaves (RFC 6962 section 2.1.2). Raises ValueError."""
    if not 0 < old <= size:
        raise ValueError("no such size")
    first, last, path = 0, size, []
    while old < last:
        split = first + _split(last - first)
        if old <= split:
            path.append(range_root(split, last, subtree))
            last = split
        else:
            path.append(range_root(first, split, subtree))
            first = split
    return tuple(reversed(path)) if first == 0 else (range_root(first, last, subtree), *reversed(path))


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
