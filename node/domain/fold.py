"""What a set of events means: a pure fold, the same on every node that holds the same events.

Moves form a tree: each names the move before it. Where two follow the same move, the rule picks one; the other is
superseded, with everything allowed after it. An event is allowed or not by its past alone (`judging`): the path to
`after`, and of the lanes what it names in `seen`, with an earlier instant. So events are judged once, in the order of
their instants, and only whether they still count depends on what else arrived. Where an authority moved to another
node, the hand-over that both nodes signed ends the old one's right to act for it (`handover`): what it signed besides
is superseded too, with everything that followed it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from node.domain.calendars import Calendars
from node.domain.events import RECEIVED, Event, Lane, Value
from node.domain.handover import HAND_OVER, Signers, ended, hand_overs, is_well_formed
from node.domain.judging import refusal
from node.domain.procedures import Procedure, Step
from node.domain.view import View, admissions, named, word_value
from node.ids import AuthorityId, CaseId, EventId, State

__all__ = ["Folding", "View", "fold", "parties", "readable", "received_by", "refusal"]

_RANK: Final = {"wins": 0, "": 1, "yields": 2}
_FORK: Final = 3  # a move whose author used its `seq` for another that follows the same move comes after all others


def fold(
    procedure: Procedure,
    events: Iterable[Event],
    calendars: Calendars,
    *,
    inside: State | None = None,
    own: AuthorityId | None = None,
    signers: Signers = MappingProxyType({}),
) -> View:
    """The case these events make.

    Args:
        events: in any order, repeated or not; of one case (the first event may still be missing).
        inside: takes the events of scope `state` of this State's authorities too.
        own: takes the events of scope `authority` of this authority too (they never leave it).
        signers: which node signed which event; read only of authorities that moved.
    """
    return Folding(procedure, events, calendars, inside=inside, own=own, signers=signers).view()


def parties(
    procedure: Procedure,
    events: Iterable[Event],
    calendars: Calendars,
    *,
    inside: State | None = None,
    signers: Signers = MappingProxyType({}),
) -> Mapping[AuthorityId, frozenset[AuthorityId]]:
    """Who is or was a party on any branch, and the authors of the allowed events that named it.

    Only allowed events are read, or a forged one could hand the case to an outsider.
    """
    return Folding(procedure, events, calendars, inside=inside, signers=signers).parties()


def readable(
    procedure: Procedure, view: View, authority: AuthorityId, *, carried: bool = False
) -> frozenset[tuple[EventId, str]]:
    """The parts (event, audience) this authority's officials may read.

    Args:
        carried: counts the parts its node passes on unread too (what it may be sent, not what its users see).

    A withheld part stays with its smaller audience until released; a superseded step's parts are closed to all.
    """
    held = view.roles_of(authority)
    carries = frozenset(a for role in held for a in procedure.roles[role].carries) if carried else frozenset[str]()
    if not held:
        return frozenset()
    return frozenset(
        (event.id, audience)
        for event in view.counting()
        for audience in event.parts
        if _may_read(procedure, view, event, audience, held=held, carries=carries)
    )


def received_by(view: View, event: Event) -> frozenset[AuthorityId]:
    """The authorities whose nodes said that they hold this event."""
    return frozenset(a for a, seen in view.receipts.items() if seen.get(event.lane, 0) >= event.seq)


def _may_read(
    procedure: Procedure, view: View, event: Event, audience: str, *, held: frozenset[str], carries: frozenset[str]
) -> bool:
    step = procedure.steps[event.step]
    if step.withhold and event.id not in view.released:
        return bool(held & procedure.audiences[audience] & procedure.audiences[step.withhold])
    return bool(held & procedure.audiences[audience]) or audience in carries


def _names(procedure: Procedure, event: Event, variables: Mapping[str, Value]) -> Iterator[AuthorityId]:
    step = procedure.step(event.step)
    if event.opening:
        yield event.author
    for words in () if step is None else (tuple(step.assign.values()), *step.admit.values()):
        for word in words:
            yield from named(word, event, variables)


@dataclass(slots=True, eq=False)
class _Tip:
    """The case after one allowed move, on whichever branch."""

    move: Event | None
    parent: _Tip | None
    state: str
    moves: tuple[Event, ...] = ()
    roles: Mapping[str, AuthorityId] = field(default_factory=dict)
    members: Mapping[str, frozenset[AuthorityId]] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    released: frozenset[EventId] = frozenset()
    lanes: list[Event] = field(default_factory=list)  # allowed lane steps that follow this very move
    children: list[_Tip] = field(default_factory=list)

    def path(self) -> Iterator[_Tip]:
        """From the start to here. Iterative, as a case may be longer than the stack is deep."""
        passed: list[_Tip] = []
        tip: _Tip | None = self
        while tip:
            passed.append(tip)
            tip = tip.parent
        return reversed(passed)

    def below(self) -> Iterator[_Tip]:
        """This and all that follows it, on any branch."""
        left = [self]
        while left:
            tip = left.pop()
            yield tip
            left += tip.children


class Folding:
    """One fold: events taken once, judged in the order of their instants; asked for the view, the parties, or both."""

    def __init__(
        self,
        procedure: Procedure,
        events: Iterable[Event],
        calendars: Calendars,
        *,
        inside: State | None = None,
        own: AuthorityId | None = None,
        signers: Signers = MappingProxyType({}),
    ) -> None:
        self.procedure, self.calendars = procedure, calendars
        once = {e.id: e for e in events if _is_ours(e, inside, own)}
        self.case = min((e.case_id for e in once.values()), default=CaseId(""))
        self.events = {i: e for i, e in once.items() if e.case_id == self.case}
        self.held = _heads(self.events.values())
        self.signers = signers
        self.hand_overs = hand_overs(self.events.values(), signers)
        self.ended = ended(self.events.values(), signers, self.hand_overs)
        self.root = _Tip(None, None, procedure.start)
        self.tips: dict[EventId, _Tip] = {EventId(""): self.root}
        self.refused: dict[EventId, str] = {}
        self.waiting: set[EventId] = set()
        self.receipts: list[Event] = []
        self.moved: list[Event] = []
        for event in sorted(self.events.values(), key=lambda e: (e.at, e.id)):
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.id in self.ended:
            return
        if event.step in HAND_OVER:
            self._take_hand_over(event)
            return
        tip = self.tips.get(event.after)
        if not self._is_ready(event):
            self.waiting.add(event.id)
        elif tip is None:
            if event.after in self.ended:
                self.ended[event.id] = self.ended[event.after]
            elif event.after in self.waiting or event.after not in self.events:
                self.waiting.add(event.id)
            else:
                self.refused[event.id] = "follows-refused"
        elif reason := refusal(self.procedure, self._past(tip, event), event, self.calendars):
            self.refused[event.id] = reason
        else:
            self._attach(tip, event)

    def _take_hand_over(self, event: Event) -> None:
        """It waits for nothing and follows nothing: what it says does not depend on where the case stands."""
        if is_well_formed(event):
            self.moved.append(event)
        else:
            self.refused[event.id] = "control"

    def _is_ready(self, event: Event) -> bool:
        if event.scope == "receipt":  # goes to one node only: its lane has gaps elsewhere
            return True
        held = self.held
        return held.get(event.lane, 0) >= event.seq and all(held.get(lane, 0) >= n for lane, n in event.seen.items())

    def _past(self, tip: _Tip, event: Event) -> View:
        """What an event is judged by."""
        own, seen = event.lane, event.seen

        def counts(lane_step: Event) -> bool:
            named = lane_step.seq <= seen.get(lane_step.lane, 0)
            return lane_step.at < event.at and (named or (lane_step.lane == own and lane_step.seq < event.seq))

        lanes = tuple(step for passed in tip.path() for step in passed.lanes if counts(step))
        return View(
            case=self.case,
            opening=None,
            state=tip.state,
            moves=tip.moves,
            lanes=lanes,
            roles=tip.roles,
            members=self._members(tip, lanes),
            variables=tip.variables,
        )

    def _members(self, tip: _Tip, lanes: Iterable[Event]) -> Mapping[str, frozenset[AuthorityId]]:
        return _united(tip.members, admissions(self.procedure, lanes, tip.variables))

    def _attach(self, tip: _Tip, event: Event) -> None:
        step = self.procedure.step(event.step)
        assert step
        if step.name == RECEIVED:
            self.receipts.append(event)
        if event.scope == "receipt":
            return
        if step.moves:
            child = _after(self.procedure, tip, event, step)
            tip.children.append(child)
            self.tips[event.id] = child
        else:
            tip.lanes.append(event)

    def allowed(self) -> Iterator[tuple[Event, Mapping[str, Value]]]:
        """Every allowed event on every branch, with the variables it was judged by."""
        for tip in self.root.below():
            if tip.move and tip.parent:
                yield tip.move, tip.parent.variables
            for event in tip.lanes:
                yield event, tip.variables

    def parties(self) -> Mapping[AuthorityId, frozenset[AuthorityId]]:
        """See the function `parties`."""
        by: dict[AuthorityId, set[AuthorityId]] = {}
        for event, variables in self.allowed():
            for authority in _names(self.procedure, event, variables):
                by.setdefault(authority, set()).add(event.author)
        return {authority: frozenset(authors) for authority, authors in by.items()}

    def view(self) -> View:
        """See the function `fold`."""
        tip, superseded = self._choose()
        lanes = tuple(event for passed in tip.path() for event in sorted(passed.lanes, key=lambda e: (e.at, e.id)))
        final = bool(tip.moves) and self.procedure.states[tip.state].final
        allowed = [*(event for event, _ in self.allowed()), *self.moved]
        everyone = self.parties() if self.hand_overs else {}
        opening = self.events.get(EventId(self.case))
        return View(
            case=self.case,
            opening=opening.opening if opening else None,
            state=tip.state,
            moves=tip.moves,
            lanes=lanes,
            roles=tip.roles,
            members=self._members(tip, lanes),
            variables=tip.variables,
            released=tip.released,
            closed_at=tip.moves[-1].at if final else None,
            superseded=superseded,
            ended=self.ended,
            refused=self.refused,
            waiting=frozenset(self.waiting),
            wanted=self._wanted(),
            unknown=frozenset(e.after for i in self.waiting if (e := self.events[i]).after not in self.events),
            heads=_highest(allowed),
            used=_highest(self.events.values()),
            newest=max((event.at for event in allowed), default=None),
            forked=self._forked(),
            receipts=self._receipts(),
            hand_overs={authority: one for authority, one in self.hand_overs.items() if authority in everyone},
        )

    def _choose(self) -> tuple[_Tip, dict[EventId, EventId]]:
        tip, superseded = self.root, dict[EventId, EventId]()
        while tip.children:
            first, *others = sorted(tip.children, key=_ranking(self.procedure, tip.children))
            assert first.move
            for loser in others:
                for lost in loser.below():
                    superseded.update((e.id, first.move.id) for e in (lost.move, *lost.lanes) if e)
            tip = first
        return tip, superseded

    def _wanted(self) -> dict[Lane, int]:
        wanted: dict[Lane, int] = {}
        for event in (self.events[i] for i in self.waiting):
            for lane, seq in {**event.seen, event.lane: event.seq}.items():
                if self.held.get(lane, 0) < seq:
                    wanted[lane] = max(seq, wanted.get(lane, 0))
        return wanted

    def _forked(self) -> frozenset[tuple[Lane, int]]:
        """By one node: where an authority moved, both may have numbered receipts, which nobody but their reader has."""
        counted = (e for e in self.events.values() if e.id not in self.ended)
        times = Counter((e.lane, e.seq, self.signers.get(e.id)) for e in counted)
        return frozenset((lane, seq) for (lane, seq, _), count in times.items() if count > 1)

    def _receipts(self) -> dict[AuthorityId, dict[Lane, int]]:
        held: dict[AuthorityId, dict[Lane, int]] = {}
        for event in self.receipts:
            seen = held.setdefault(event.author, {})
            for lane, seq in event.seen.items():
                seen[lane] = max(seq, seen.get(lane, 0))
        return held


def _is_ours(event: Event, inside: State | None, own: AuthorityId | None) -> bool:
    match event.scope:
        case "state":
            return event.state == inside
        case "authority":
            return event.author == own
        case _:
            return True


def _heads(events: Iterable[Event]) -> dict[Lane, int]:
    """How far each lane is held without a gap."""
    seqs: dict[Lane, set[int]] = {}
    for event in events:
        seqs.setdefault(event.lane, set()).add(event.seq)
    heads = {}
    for lane, held in seqs.items():
        head = 0
        while head + 1 in held:
            head += 1
        heads[lane] = head
    return heads


def _highest(events: Iterable[Event]) -> dict[Lane, int]:
    highest: dict[Lane, int] = {}
    for event in events:
        highest[event.lane] = max(event.seq, highest.get(event.lane, 0))
    return highest


def _ranking(procedure: Procedure, siblings: list[_Tip]) -> Callable[[_Tip], tuple[int, datetime, EventId]]:
    moves = [tip.move for tip in siblings if tip.move]
    times = Counter((move.author, move.seq) for move in moves)

    def rank(tip: _Tip) -> tuple[int, datetime, EventId]:
        move = tip.move
        assert move
        fork = _FORK if times[move.author, move.seq] > 1 else 0
        return _RANK[procedure.steps[move.step].race] + fork, move.at, move.id

    return rank


def _after(procedure: Procedure, tip: _Tip, event: Event, step: Step) -> _Tip:
    """The case after an allowed move."""
    return _Tip(
        move=event,
        parent=tip,
        state=tip.state if step.stays else step.target,
        moves=(*tip.moves, event),
        roles=_assigned(tip, event, step),
        members=_united(tip.members, admissions(procedure, [event], tip.variables)),
        variables=_set(tip, event, step),
        released=_released(tip, step),
    )


def _assigned(tip: _Tip, event: Event, step: Step) -> Mapping[str, AuthorityId]:
    roles = dict(tip.roles)
    if event.opening:
        roles[event.role] = event.author
    for role, word in step.assign.items():
        for authority in named(word, event, tip.variables):
            roles[role] = authority
    return roles


def _set(tip: _Tip, event: Event, step: Step) -> Mapping[str, Value]:
    if not step.set and not step.remove:
        return tip.variables
    variables = dict(tip.variables)
    for name, word in step.set.items():
        value = word_value(word, event, tip.variables)
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = value
    for name, word in step.remove.items():
        gone = word_value(word, event, tip.variables) or ()
        variables[name] = tuple(key for key in variables.get(name, ()) if key not in gone)
    return variables


def _released(tip: _Tip, step: Step) -> frozenset[EventId]:
    if not step.release:
        return tip.released
    latest = [move.id for move in tip.moves if move.step == step.release][-1:]
    return tip.released.union(latest)


def _united(
    members: Mapping[str, frozenset[AuthorityId]], admitted: Mapping[str, set[AuthorityId]]
) -> Mapping[str, frozenset[AuthorityId]]:
    if not admitted:
        return members
    return {**members, **{role: members.get(role, frozenset()) | new for role, new in admitted.items()}}
