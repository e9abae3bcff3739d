"""A case as it looks after some of its events: what the fold yields, and what each event is judged against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from node.domain.events import Event, Lane, Opening, Value
from node.domain.handover import HandOver
from node.domain.procedures import Procedure
from node.ids import AuthorityId, CaseId, EventId, State, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A case as far as the held events tell.

    `moves` is the path that counts, in order; `lanes` the lane steps that count, by instant. `superseded` maps an
    event that was allowed and no longer counts to the move that beat it; `refused` an event that was never allowed to
    the reason. `waiting` holds events something before them is missing for, `wanted` the lanes to ask for, up to which
    `seq`, and `unknown` the moves they follow that are not here. `heads` is how far each lane may be named in `seen`,
    `used` the highest `seq` held, `forked` what a lane holds twice (a restored backup). `receipts`: who holds what.
    `hand_overs`: which parties moved to another node while the case ran, as both nodes signed; `ended`: what the node
    they left signed without right, and what followed that, to the `taken-over` that says so.
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
    unknown: frozenset[EventId] = frozenset()
    heads: Mapping[Lane, int] = field(default_factory=dict)
    used: Mapping[Lane, int] = field(default_factory=dict)
    newest: datetime | None = None
    forked: frozenset[tuple[Lane, int]] = frozenset()
    receipts: Mapping[AuthorityId, Mapping[Lane, int]] = field(default_factory=dict)
    hand_overs: Mapping[AuthorityId, HandOver] = field(default_factory=dict)
    ended: Mapping[EventId, EventId] = field(default_factory=dict)

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

    def counting(self) -> Iterator[Event]:
        """Every event that counts: moves, then lane steps."""
        yield from self.moves
        yield from self.lanes

    def flagged(self, procedure: Procedure, flag: str, *, here: bool = False) -> tuple[Event, ...]:
        """The lane steps that raised a flag; `here`: since the last move."""
        head = self.head
        return tuple(
            e
            for e in self.lanes
            if (not here or e.after == head) and (s := procedure.steps.get(e.step)) and s.flag == flag
        )

    def missing(self, procedure: Procedure, flag: str) -> frozenset[State]:
        """The States that could raise a flag and have not since the last move.

        Counted by State: one authority speaks for it. Whoever made the last move need not answer itself.
        """
        steps = [step for step in procedure.steps.values() if step.flag == flag]
        asked = {state_of(a) for step in steps for role in step.by for a in self.holders(role)}
        raised = {event.state for event in self.flagged(procedure, flag, here=True)}
        return frozenset(asked - raised - {self.moves[-1].state}) if self.moves else frozenset()

    def shared(self) -> tuple[object, ...]:
        """What every node that holds the same events of scope `case` must agree on, for comparisons."""
        return (
            self.case,
            self.state,
            tuple(e.id for e in self.moves),
            tuple(e.id for e in self.lanes if e.scope == "case"),
            dict(self.roles),
            {role: members for role, members in self.members.items() if members},
            dict(self.variables),
            self.released,
            self.closed_at,
            dict(self.superseded),
            {authority: (one.moved.id, one.taken.id) for authority, one in self.hand_overs.items()},
        )


def admissions(
    procedure: Procedure, events: Iterable[Event], variables: Mapping[str, Value]
) -> dict[str, set[AuthorityId]]:
    """Role -> authorities admitted to it by these events (a union: order does not matter)."""
    admitted: dict[str, set[AuthorityId]] = {}
    for event in events:
        step = procedure.steps.get(event.step)
        for role, words in step.admit.items() if step else ():
            for word in words:
                admitted.setdefault(role, set()).update(named(word, event, variables))
    return admitted


def named(word: str, event: Event, variables: Mapping[str, Value]) -> tuple[AuthorityId, ...]:
    """The authorities a word of `assign` or `admit` stands for; none where an optional control is absent."""
    value = word_value(word, event, variables)
    if value is None:
        return ()
    return (AuthorityId(value),) if isinstance(value, str) else tuple(AuthorityId(v) for v in value)


def word_value(word: str, event: Event, variables: Mapping[str, Value]) -> Value | None:
    """The value of a word of `set`, `remove`, `assign`, `admit`: control, variable, `author`, fixed authority."""
    if word in event.control:
        return event.control[word]
    if word in variables:
        return variables[word]
    if word == "author":
        return event.author
    return word if ":" in word else None
