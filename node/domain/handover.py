"""What an authority's move from one node of its State to another means in a case (ADR 10).

Two built-in steps stand in the authority's own lane. The node it leaves signs `moved`: where to, the how manieth move of
this authority it is, and which of its events there are; it signs nothing for it afterwards. The node it moves to signs
`taken-over`, naming the `moved` it goes on from. The two together are the hand-over, and it says which events of the
authority count: those that `moved` names, and after it what the new node signs.

So the old node cannot act for the authority any more, whatever number or instant it writes (a restored backup, a bad
node), and nobody else ever could. A second `moved` has no effect without an answer; which move is the later one is a
number that the door compares with the directory. Neither step touches the case: no state, turn, deadline or closure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from node.domain.events import MAX_CONTROL_ITEMS, Event, Scope, Value, later_than
from node.ids import AuthorityId, EventId, NodeId

MOVED: Final = "moved"
TAKEN_OVER: Final = "taken-over"
HAND_OVER: Final = frozenset({MOVED, TAKEN_OVER})
ROLE: Final = "node"  # the node signs for itself: in no role of the case

Signers = Mapping[EventId, NodeId]  # event -> the node whose certificate it is signed with

_SCOPES: Final = frozenset({"case", "state"})
_NODE: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,8})?")
_NTH: Final = re.compile(r"[1-9][0-9]{0,2}")
_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """The last move of one authority in one case, signed by both nodes; `before`: the one before it, if there was one."""

    moved: Event
    taken: Event
    to: NodeId
    before: HandOver | None = None

    def lets_count(self, event: Event, signers: Signers) -> bool:
        """Whether the node that signed an event of this authority had the right to.

        What is of another scope than `moved` (receipts, what stays in one State or authority) it does not name: there
        the old node's steps count up to the instant of the move. The new node's count from its answer on: what it
        signed before, without right, the answer does not bring back.
        """
        if event.step in HAND_OVER or event.id in self.moved.control["events"]:
            return True
        is_named = event.scope == self.moved.scope
        one = self if is_named else self._last_at(event.at)
        if one is None:
            return True
        # A case that reached the old node late, and empty: the new node may have acted before it heard of that.
        is_after = one.moved.seq == 1 or (event.at > one.taken.at and (not is_named or event.seq > one.moved.seq))
        return is_after and signers.get(event.id) == one.to

    def _last_at(self, at: datetime) -> HandOver | None:
        """The last move begun at an instant; None: before the first, wherever the authority was."""
        found: HandOver | None = self
        while found and at < found.moved.at:
            found = found.before
        return found


def hand_overs(events: Iterable[Event], signers: Signers) -> Mapping[AuthorityId, HandOver]:
    """The last hand-over of each authority that moved while the case ran."""
    steps = [event for event in events if event.step in HAND_OVER and is_well_formed(event)]
    moves = {event.id: event for event in steps if event.step == MOVED}
    found: dict[AuthorityId, dict[int, HandOver]] = {}
    # One move is answered by one node, so of two answers to it that node wrote both: the earlier counts.
    for taken in sorted((e for e in steps if e.step == TAKEN_OVER), key=lambda e: (e.at, e.id)):
        moved = moves.get(EventId(str(taken.control["moved"])))
        if moved and _answers(taken, moved, signers):
            to = NodeId(str(moved.control["to"]))
            found.setdefault(taken.author, {}).setdefault(nth(moved), HandOver(moved=moved, taken=taken, to=to))
    return {author: _last(by_number) for author, by_number in found.items()}


def _answers(taken: Event, moved: Event, signers: Signers) -> bool:
    is_later = moved.lane == taken.lane and moved.at < taken.at
    return is_later and signers.get(taken.id) == moved.control["to"]


def _last(by_number: Mapping[int, HandOver]) -> HandOver:
    first, *later = (by_number[number] for number in sorted(by_number))
    for one in later:
        first = replace(one, before=first)
    return first


def ended(events: Iterable[Event], signers: Signers, found: Mapping[AuthorityId, HandOver]) -> dict[EventId, EventId]:
    """The events that no hand-over lets count -> the `taken-over` that says so."""
    moved = ((event, found[event.author]) for event in events if event.author in found)
    return {event.id: one.taken.id for event, one in moved if not one.lets_count(event, signers)}


def is_well_formed(event: Event) -> bool:
    """Whether a `moved` or `taken-over` says what such a step says, and nothing else."""
    control = event.control
    if event.parts or event.opening or event.scope not in _SCOPES or event.role != ROLE or event.seen:
        return False
    if event.step == TAKEN_OVER:
        return control.keys() == {"moved"} and _is(_ID, control["moved"])
    if control.keys() != {"to", "nth", "events"} or not isinstance(control["events"], tuple):
        return False
    return _is(_NODE, control["to"]) and _is(_NTH, control["nth"]) and all(_is(_ID, e) for e in control["events"])


def _is(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def nth(moved: Event) -> int:
    """The how manieth move of its authority a `moved` tells of."""
    return int(str(moved.control["nth"]))


def in_lane(events: Iterable[Event], author: AuthorityId, scope: Scope) -> list[Event]:
    """An authority's events of one scope."""
    return [event for event in events if event.author == author and event.scope == scope]


def is_complete(events: Iterable[Event], moved: Event) -> bool:
    """Whether everything that a `moved` names is here."""
    held = {event.id for event in events}
    return all(event in held for event in moved.control["events"])


def moved(
    events: Iterable[Event],
    author: AuthorityId,
    *,
    after: EventId,
    scope: Scope,
    to: NodeId,
    number: int,
    signers: Signers,
    at: datetime,
    edition: int,
) -> Event | None:
    """The last event of an authority's lane on the node it leaves; None where this move is in it already.

    Args:
        events: all that is held of the case, of the scopes this authority sees.
        after: the last move that counts.
        scope: `case`; `state` where only its own State knows that this authority takes part.
        number: the how manieth move of this authority it is.

    Raises:
        ValueError: the authority has more events in this case than one event can name.
    """
    held = list(events)
    own = [event for event in held if event.author == author]
    if any(e.step == MOVED and is_well_formed(e) and nth(e) == number and e.control["to"] == to for e in own):
        return None
    without_right = ended(own, signers, hand_overs(own, signers))
    lane = (e for e in in_lane(own, author, scope) if e.step not in HAND_OVER)
    named = tuple(sorted(e.id for e in lane if e.id not in without_right))
    if len(named) > MAX_CONTROL_ITEMS:
        raise ValueError(f"{author} has {len(named)} events in one case")
    control: dict[str, Value] = {"to": str(to), "nth": str(number), "events": named}
    return _step(MOVED, held, author, after=after, scope=scope, control=control, at=at, edition=edition)


def taken_over(
    events: Iterable[Event],
    moved: Event,
    *,
    after: EventId,
    signers: Signers,
    at: datetime,
    edition: int,
) -> Event | None:
    """What the node that `moved` names answers, once everything is here that it names; None before, and when done.

    Of two `moved` of one move only the one the new node accepted is answered; one that names nothing always is
    (`names_nothing`): the case reached the old node when the authority had no part in it yet.
    """
    held = list(events)
    if not is_on_its_way(held, moved, signers=signers) or not is_complete(held, moved):
        return None
    control: dict[str, Value] = {"moved": str(moved.id)}
    return _step(
        TAKEN_OVER, held, moved.author, after=after, scope=moved.scope, control=control, at=at, edition=edition
    )


def names_nothing(moved: Event) -> bool:
    """Whether a `moved` hands over the bare case: to answer it gives the old node's steps no right, and ends none."""
    return moved.seq == 1 and not moved.control["events"]


def is_on_its_way(events: Iterable[Event], moved: Event, *, signers: Signers) -> bool:
    """Whether an accepted move is not answered yet: until then the authority's lane may lack steps here.

    So its next number is not known, and nothing can be signed for it.
    """
    last = hand_overs((e for e in events if e.author == moved.author), signers).get(moved.author)
    return last is None or nth(last.moved) < nth(moved)


def _step(
    step: str,
    events: list[Event],
    author: AuthorityId,
    *,
    after: EventId,
    scope: Scope,
    control: Mapping[str, Value],
    at: datetime,
    edition: int,
) -> Event:
    return Event(
        step=step,
        role=ROLE,
        author=author,
        seq=max((e.seq for e in in_lane(events, author, scope)), default=0) + 1,
        at=later_than(max((e.at for e in events), default=None), at),
        catalogue=edition,
        case=events[0].case_id,
        after=after,
        scope=scope,
        control=control,
    )
