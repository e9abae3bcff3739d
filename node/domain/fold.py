"""What a set of events means: a pure fold, the same on every node that holds the same events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from node.domain.calendars import Calendars
from node.domain.events import Event, Lane, Opening, Value
from node.domain.procedures import Procedure
from node.ids import AuthorityId, CaseId, EventId, State


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A case as far as the held events tell.

    `moves` is the path that counts, in order; `lanes` the lane steps that count, by instant. `superseded` maps an
    event that was allowed and no longer counts to the move that beat it; `refused` an event that was never allowed to
    the reason; `waiting` holds events something before them is missing for, `wanted` the lanes to ask for, up to which
    `seq`. `heads` is how far each lane is held and may be named in `seen`; `receipts` who holds what.
    """

    case: CaseId
    opening: Opening | None
    state: str
    moves: tuple[Event, ...] = ()
    lanes: tuple[Event, ...] = ()
    roles: Mapping[str, AuthorityId] = field(default_factory=dict)
    members: Mapping[str, frozenset[AuthorityId]] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    released: frozenset[EventId] = frozenset()
    closed_at: datetime | None = None
    superseded: Mapping[EventId, EventId] = field(default_factory=dict)
    refused: Mapping[EventId, str] = field(default_factory=dict)
    waiting: frozenset[EventId] = frozenset()
    wanted: Mapping[Lane, int] = field(default_factory=dict)
    heads: Mapping[Lane, int] = field(default_factory=dict)
    forked: frozenset[tuple[Lane, int]] = frozenset()
    receipts: Mapping[AuthorityId, Mapping[Lane, int]] = field(default_factory=dict)

    @property
    def head(self) -> EventId:
        """The last move; empty before the first."""
        return self.moves[-1].id if self.moves else EventId("")

    def holders(self, role: str) -> frozenset[AuthorityId]:
        """Who holds a role of one or of many."""
        one = self.roles.get(role)
        return frozenset([one]) if one else self.members.get(role, frozenset())

    def roles_of(self, authority: AuthorityId) -> frozenset[str]:
        """The roles an authority holds now."""
        return frozenset(role for role in (*self.roles, *self.members) if authority in self.holders(role))


def fold(
    procedure: Procedure,
    events: Iterable[Event],
    calendars: Calendars,
    *,
    inside: State | None = None,
    own: AuthorityId | None = None,
) -> View:
    """The case these events make.

    Args:
        events: in any order, repeated or not; of one case (the first event may still be missing).
        inside: takes the events of scope `state` of this State's authorities too.
        own: takes the events of scope `authority` of this authority too (they never leave it).
    """
    raise NotImplementedError


def refusal(procedure: Procedure, past: View, event: Event, calendars: Calendars) -> str:
    """Why an event is not allowed after `past`; empty if it is."""
    raise NotImplementedError


def parties(
    procedure: Procedure, events: Iterable[Event], calendars: Calendars, *, inside: State | None = None
) -> Mapping[AuthorityId, frozenset[AuthorityId]]:
    """Who is or was a party on any branch, and the authors of the allowed events that named it."""
    raise NotImplementedError


def readable(
    procedure: Procedure, view: View, authority: AuthorityId, *, carried: bool = False
) -> frozenset[tuple[EventId, str]]:
    """The parts (event, audience) this authority's officials may read.

    Args:
        carried: counts the parts its node passes on unread too (what it may be sent, not what its users see).
    """
    raise NotImplementedError


def received_by(view: View, event: Event) -> frozenset[AuthorityId]:
    """The authorities whose nodes said that they hold this event."""
    raise NotImplementedError
