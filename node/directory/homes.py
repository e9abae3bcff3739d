"""Which node an authority is on, where the logs of several nodes of its State speak of it (ADR 10).

A move is said twice: by the log of the node it leaves (`Move`) and by the log of the node it comes to (the authority
itself, with the nodes it was on before). Until both are here, the old node counts; in which order they come, or whether
a log was read anew from its beginning, makes no difference. A node's last `Move` of an authority attests the earlier
ones too, so a log that is shortened needs no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from node.directory.model import Authority, Move
from node.ids import NodeId


def resolve(claims: Iterable[Authority], moves: Collection[Move], deleted_by: Collection[NodeId]) -> Authority | None:
    """The claim that counts: of those whose every move was announced by the node left, the one that moved last.

    None where no claim does (the log of the node it left is not here yet), or where the node it moved to last deleted
    it: it does not return to where it was before. Two nodes that say it began with them: the one whose name comes first,
    the national node before a regional one, however often the other says that it moved.
    """
    valid = [claim for claim in claims if _is_announced(claim.homes, moves)]
    best = min(valid, key=lambda claim: (claim.homes[0], -len(claim.homes), claim.node), default=None)
    ended = [
        m for m in moves
        if best and m.to in deleted_by and m.homes[0] == best.homes[0] and _is_announced(m.homes, moves)
    ]  # fmt: skip
    if best and any(len(move.homes) >= len(best.homes) for move in ended):
        return None
    return best


def _is_announced(homes: tuple[NodeId, ...], moves: Iterable[Move]) -> bool:
    announced = list(moves)
    return all(
        any(m.node == left and m.homes[: n + 2] == homes[: n + 2] for m in announced)
        for n, left in enumerate(homes[:-1])
    )
