"""How each peer stands, from what lanes, connections, trust list and logs say of it; and the map of the federation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from node.federation.operator import LaneLine
from node.federation.peers import Peer
from node.federation.transport import Contact
from node.ids import NodeId, State

Connection = Literal["down", "slow", "well", "quiet", "hosted"]
_WORST_FIRST: Final[tuple[Connection, ...]] = ("down", "slow", "quiet", "well", "hosted")
ENDS_SOON: Final = timedelta(days=21)  # certificates: time for a State to issue the next one
TILE: Final = 40  # side of a State's square in the picture, with its gap
# Where each State's square lies (column, row): the shape of Europe, roughly.
TILES: Final[Mapping[str, tuple[int, int]]] = {
    "IS": (0, 0), "NO": (3, 0), "SE": (4, 0), "FI": (5, 0),
    "DK": (3, 1), "EE": (6, 1),
    "IE": (0, 2), "NL": (2, 2), "DE": (3, 2), "PL": (4, 2), "LV": (6, 2),
    "BE": (1, 3), "LU": (2, 3), "CZ": (3, 3), "SK": (4, 3), "LT": (6, 3),
    "FR": (1, 4), "LI": (2, 4), "AT": (3, 4), "HU": (4, 4), "RO": (5, 4),
    "PT": (0, 5), "ES": (1, 5), "IT": (2, 5), "SI": (3, 5), "HR": (4, 5), "BG": (5, 5),
    "MT": (2, 6), "EL": (5, 6), "CY": (6, 6), "EU": (0, 3),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStanding:
    """One node of the federation as this one sees it."""

    node: NodeId
    state: State
    connection: Connection
    since: datetime | None = None  # down since
    reason: str = ""
    answered_at: datetime | None = None
    waiting: int = 0
    parked: int = 0
    oldest: datetime | None = None
    certificate_ends: datetime | None = None
    ends_soon: bool = False
    behind: int = 0  # entries of its logs that are known to exist and not here yet
    frozen: bool = False

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look."""
        return self.connection == "down" or bool(self.parked or self.ends_soon or self.frozen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One State's square in the picture: its worst node decides."""

    state: State
    x: int
    y: int
    connection: Connection | Literal["us", "absent"]
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of all peers at one instant."""

    lanes: Mapping[NodeId, LaneLine]
    contacts: Mapping[NodeId, Contact]
    behind: Mapping[NodeId, int]
    frozen: frozenset[NodeId]


def standing(peer: Peer, seen: Seen, *, at: datetime) -> PeerStanding:
    """How one peer stands at an instant."""
    contact, lane = seen.contacts.get(peer.node, Contact()), seen.lanes.get(peer.node)
    ends = min((c.not_valid_after_utc for c in (*peer.signing[:1], *peer.encryption[:1])), default=None)
    return PeerStanding(
        node=peer.node,
        state=peer.state,
        connection=_connection(peer, contact, lane),
        since=contact.failing_since,
        reason=contact.reason,
        answered_at=contact.answered_at,
        waiting=lane.waiting if lane else 0,
        parked=lane.parked if lane else 0,
        oldest=lane.oldest if lane else None,
        certificate_ends=ends,
        ends_soon=ends is not None and ends - at < ENDS_SOON,
        behind=seen.behind.get(peer.node, 0),
        frozen=peer.node in seen.frozen,
    )


def in_order(standings: Iterable[PeerStanding]) -> list[PeerStanding]:
    """What needs attention first."""
    return sorted(standings, key=lambda s: (not s.needs_attention, _WORST_FIRST.index(s.connection), s.node))


def tiles(us: NodeId, standings: Sequence[PeerStanding]) -> list[Tile]:
    """The picture: a square for each State that the trust list has, and faint ones for those it does not have."""
    by_state: dict[str, list[PeerStanding]] = {}
    for one in standings:
        by_state.setdefault(one.state, []).append(one)
    return [
        Tile(
            state=State(state),
            x=column * TILE,
            y=row * TILE,
            connection=_of_state(us, state, by_state.get(state, [])),
            nodes=tuple(s.node for s in by_state.get(state, [])),
        )
        for state, (column, row) in TILES.items()
    ]


def _of_state(us: NodeId, state: str, nodes: Sequence[PeerStanding]) -> Connection | Literal["us", "absent"]:
    worst = min((s.connection for s in nodes), key=_WORST_FIRST.index, default=None)
    if us[:2] == state and worst not in {"down", "slow"}:
        return "us"
    return worst or "absent"


def _connection(peer: Peer, contact: Contact, lane: LaneLine | None) -> Connection:
    if peer.is_hosted:
        return "hosted"
    if contact.failing_since is not None:
        return "down"
    if lane is not None and lane.last_error and lane.waiting:
        return "slow"
    return "well" if contact.answered_at is not None else "quiet"
