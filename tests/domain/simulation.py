"""A federation of five nodes playing one case at random, so that laws can be tried on any definition.

Four States, one of them with two nodes. Messages keep their order per sender and receiver only. Every decision comes
from one seeded generator, so a history can be shortened and told again: `play(procedure, seed=…, length=…)`.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from node.domain.calendars import Calendars
from node.domain.deadlines import due_dates, keeping
from node.domain.events import Event, Opening
from node.domain.fold import View, fold, parties, readable
from node.domain.judging import refusal
from node.domain.procedures import Control, Procedure, Step
from node.domain.steps import Offer, compose, offered, receipt
from node.ids import AuthorityId, CaseNumber, State, state_of

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NODES = ("EE", "FR", "DE", "DE-BY", "EU")
HOME = {
    AuthorityId(name): node
    for node, names in {
        "EE": ("EE:a", "EE:b", "EE:c"),
        "FR": ("FR:a", "FR:b", "FR:c"),
        "DE": ("DE:a", "DE:b"),
        "DE-BY": ("DE:c", "DE:d"),
        "EU": ("EU:commission",),
    }.items()
    for name in names
}
NATIONAL = tuple(a for a in HOME if HOME[a] != "EU")
ALL_ROLES = frozenset(["handler", "allocator", "referral-handler", "disseminator", "submitter", "applicant", "system"])


@dataclass(frozen=True)
class Laws:
    """The functions under test: a planted fault replaces one."""

    fold: object = fold
    parties: object = parties
    readable: object = readable


@dataclass
class Message:
    event: Event
    audiences: frozenset[str]  # of the parts that travel with it


@dataclass
class Node:
    """What one node holds of the case."""

    name: str
    world: World
    events: dict[str, Event] = field(default_factory=dict)
    parts: set[tuple[str, str]] = field(default_factory=set)
    sent: set[tuple[str, str, str]] = field(default_factory=set)
    seen_view: View | None = None
    seen_parties: dict | None = None
    skew: timedelta = timedelta()

    @property
    def state(self) -> State:
        return State(self.name[:2])

    @property
    def hosted(self) -> list[AuthorityId]:
        return [a for a in HOME if HOME[a] == self.name]

    def view(self) -> View:
        if self.seen_view is None:
            self.seen_view = self.world.fold(self.events.values(), inside=self.state)
        return self.seen_view

    def parties(self) -> dict:
        if self.seen_parties is None:
            w = self.world
            found = w.laws.parties(w.procedure, self.events.values(), w.calendars, inside=self.state)
            self.seen_parties = dict(found)
        return self.seen_parties

    def keep(self, event: Event) -> None:
        if event.id not in self.events:
            self.events[event.id] = event
            self.seen_view = self.seen_parties = None


@dataclass
class World:
    procedure: Procedure
    calendars: Calendars
    dice: random.Random
    target: str
    laws: Laws
    at: datetime = START
    nodes: dict[str, Node] = field(default_factory=dict)
    queues: dict[tuple[str, str], deque[Message]] = field(default_factory=dict)
    taken: list[Event] = field(default_factory=list)
    delivered: Counter = field(default_factory=Counter)  # audience -> parts that reached another node
    reached: set[tuple[str, str, str]] = field(default_factory=set)  # node, event, audience

    def __post_init__(self) -> None:
        for name in NODES:
            node = Node(name, self)
            node.skew = timedelta(seconds=self.dice.choice([0, 0, 0, -90, 40]))
            self.nodes[name] = node

    def fold(self, events: Iterable[Event], **inside: object) -> View:
        return self.laws.fold(self.procedure, events, self.calendars, **inside)

    # --- acting -------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        opening = [s for s in self.procedure.steps.values() if self.procedure.opens(s)]
        wanted = [s for s in opening if s.name == self.target] or self._leading(opening)
        step = self.dice.choice(wanted)
        author = self.dice.choice(NATIONAL)
        p = self.procedure
        number = CaseNumber("EE-2026-000001")
        say = Opening(procedure=p.id, version=p.version, digest=p.digest, number=number)
        start = View(case="", opening=None, state=p.start)
        return self._try(author, Offer(step=step, role=self.dice.choice(step.by)), start, opening=say)

    def _leading(self, steps: list[Step]) -> list[Step]:
        far = self.distance
        return [s for s in steps if far.get(s.target, 99) < 99] or steps

    @cached_property
    def distance(self) -> dict[str, int]:
        """How many moves each state is away from one the target can be taken in."""
        target = self.procedure.step(self.target)
        found = dict.fromkeys(target.sources if target else (), 0)
        for far in range(1, 20):
            for step in self.procedure.steps.values():
                if found.get(step.target, 99) == far - 1:
                    for source in step.sources:
                        found.setdefault(source, far)
        return found

    def act(self) -> None:
        """Somebody takes a step, mostly one that leads on."""
        choices: list[tuple[AuthorityId, Offer, View]] = []
        weights: list[float] = []
        for author in HOME:
            node = self.nodes[HOME[author]]
            if author not in node.parties():
                continue
            view = (
                self.fold(node.events.values(), inside=node.state, own=author)
                if self._has_private(author)
                else node.view()
            )
            for offer in self._offers(view, author, node):
                choices.append((author, offer, view))
                weights.append(self._weight(view, offer.step))
        if not choices:
            self.wait()
            return
        author, offer, view = self.dice.choices(choices, weights)[0]
        if offer.step.race and self.dice.random() < 0.6:
            self._cross(author, view)
        self._try(author, offer, view)

    def _cross(self, racer: AuthorityId, view: View) -> None:
        """Whoever has the turn acts too, on another node, before either hears of the other."""
        turn = self.procedure.states[view.state].turn
        for holder in sorted(view.holders(turn)):
            node = self.nodes[HOME[holder]]
            if node.name == HOME[racer] or not node.events:
                continue
            offers = [o for o in self._offers(node.view(), holder, node) if o.step.moves and o.role == turn]
            self.dice.shuffle(offers)
            any(self._try(holder, offer, node.view()) for offer in offers)

    def _has_private(self, author: AuthorityId) -> bool:
        return any(e.scope == "authority" and e.author == author for e in self.nodes[HOME[author]].events.values())

    def _offers(self, view: View, author: AuthorityId, node: Node) -> tuple[Offer, ...]:
        return offered(
            self.procedure,
            view,
            author,
            user_roles=ALL_ROLES,
            settings={name: self.dice.choice(["yes", "no"]) for name in ("approve-requests", "approve-replies")},
            at=self.at + node.skew,
            calendars=self.calendars,
        )

    def _weight(self, view: View, step: Step) -> float:
        if step.name == self.target:
            return 30
        if not step.moves:
            return 0.6
        near, now = self.distance.get(step.target or view.state, 99), self.distance.get(view.state, 99)
        if near < now:
            return 12
        return 0.15 if step.closes else 1.5

    def _try(self, author: AuthorityId, offer: Offer, view: View, opening: Opening | None = None) -> bool:
        """Takes a step with control values that are allowed, if a few draws find some."""
        node = self.nodes[HOME[author]]
        for _ in range(14):
            composed = compose(
                self.procedure,
                None if opening else view,
                offer.step,
                author=author,
                role=offer.role,
                control={
                    c.name: v for c in offer.step.control.values() if (v := self._value(c, author, view)) is not None
                },
                content={},
                at=self.at + node.skew,
                edition=0,
                salt=lambda: self.dice.randbytes(16),
                opening=opening,
            )
            if not refusal(self.procedure, view, composed.event, self.calendars):
                self._author(node, composed.event)
                return True
        return False

    def _value(self, control: Control, author: AuthorityId, view: View) -> object:
        if control.optional and self.dice.random() < 0.3:
            return None
        dice = self.dice
        own = [a for a in NATIONAL if state_of(a) == state_of(author)]
        match control.type:
            case "authority":
                return dice.choice(dice.choice([own, NATIONAL]))
            case "authorities":
                among = dice.choice([own, NATIONAL])
                return tuple(dice.sample(among, dice.randint(1, min(3, len(among)))))
            case "keys":
                held = [v for v in view.variables.values() if isinstance(v, tuple) and v]
                among = dice.choice(held) if held and dice.random() < 0.8 else tuple(self.procedure.questions)
                return among if dice.random() < 0.5 else tuple(dice.sample(among, dice.randint(1, min(3, len(among)))))
            case "date":
                return (self.at.date() + timedelta(days=dice.randint(1, 40))).isoformat()
            case "case":
                return f"{dice.getrandbits(256):064x}"
            case _:
                return dice.choice(control.choices)

    def _author(self, node: Node, event: Event) -> None:
        node.keep(event)
        self.taken.append(event)
        node.parts |= {(event.id, audience) for audience in event.parts}
        self.at += timedelta(seconds=self.dice.randint(1, 600))
        self.owe(node)

    def wait(self) -> None:
        """Time passes: a little, a lot, or just until a deadline is over."""
        ends = [
            due.ends
            for node in self.nodes.values()
            if node.events
            for due in due_dates(self.procedure, node.view(), self.calendars).values()
            if due.is_running and due.ends > self.at
        ]
        if ends and self.dice.random() < 0.6:
            self.at = self.dice.choice(ends) + timedelta(minutes=self.dice.choice([-3, 3]))
        else:
            self.at += timedelta(hours=self.dice.choice([1, 5, 24, 100, 500]))

    # --- carrying (section 6 of the rules) ------------------------------------------------------------------------

    def owe(self, node: Node) -> None:
        """Queues what this node owes: its own events to all parties, everything to those it named."""
        if not node.events:
            return
        view = node.view()
        parts_of = {a: self.laws.readable(self.procedure, view, a, carried=True) for a in node.parties()}
        for party, namers in node.parties().items():
            there = HOME.get(party)
            if there is None or there == node.name:
                continue
            named_by_us = any(HOME.get(a) == node.name for a in namers)
            for event in list(node.events.values()):
                if self._may_travel(event, party) and (named_by_us or HOME[event.author] == node.name):
                    self._queue(node, there, event, parts_of[party])

    def _may_travel(self, event: Event, party: AuthorityId) -> bool:
        if event.scope == "case":
            return True
        return event.scope == "state" and state_of(party) == event.state

    def _queue(self, node: Node, there: str, event: Event, entitled: frozenset[tuple[str, str]]) -> None:
        audiences = {
            a
            for a in event.parts
            if (event.id, a) in entitled and (event.id, a) in node.parts and (there, event.id, a) not in node.sent
        }
        if audiences or (there, event.id, "") not in node.sent:
            node.sent |= {(there, event.id, a) for a in ("", *audiences)}
            self.queues.setdefault((node.name, there), deque()).append(Message(event, frozenset(audiences)))

    def deliver(self) -> bool:
        waiting = [pair for pair, queue in sorted(self.queues.items()) if queue]
        if not waiting:
            return False
        sender, receiver = self.dice.choice(waiting)
        message = self.queues[sender, receiver].popleft()
        if self.dice.random() < 0.1:  # the same once more
            self.queues[sender, receiver].append(message)
        node = self.nodes[receiver]
        node.keep(message.event)
        for audience in message.audiences:
            self.delivered[audience] += (receiver, message.event.id, audience) not in self.reached
            self.reached.add((receiver, message.event.id, audience))
            node.parts.add((message.event.id, audience))
        self._receive(node)
        self.owe(node)
        return True

    def _receive(self, node: Node) -> None:
        """The automatic `received` of a holder a deadline waits for."""
        view = node.view()
        for author in node.hosted:
            if any(e.step == "received" and e.author == author for e in node.events.values()):
                continue
            event = receipt(self.procedure, view, author, at=self.at + node.skew, edition=0)
            if event and event.scope == "case" and not refusal(self.procedure, view, event, self.calendars):
                self._author(node, event)

    # --- the end --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        for _ in range(5000):
            if not self.deliver():
                return
        raise AssertionError("the nodes never stop writing")

    def everything(self) -> dict[str, Event]:
        return {i: e for node in self.nodes.values() for i, e in node.events.items()}

    def shared_events(self) -> list[Event]:
        return [e for e in self.everything().values() if e.scope == "case"]

    def allowed(self) -> list[Event]:
        """Every event that was allowed, on any branch, of any scope but an authority's own."""
        found = {e.id: e for e in self.everything().values() if e.scope in ("case", "state")}
        for state in sorted({State(name[:2]) for name in NODES}):
            view = fold(self.procedure, found.values(), self.calendars, inside=state)
            found = {i: e for i, e in found.items() if i not in view.refused and i not in view.waiting}
        return list(found.values())

    def involved(self) -> list[Node]:
        everybody = self.laws.parties(self.procedure, self.shared_events(), self.calendars)
        return [self.nodes[name] for name in NODES if any(HOME.get(a) == name for a in everybody)]

    def roles_ever(self) -> dict[str, set[str]]:
        return roles_ever(self)

    def forged(self, dice: random.Random) -> Iterator[tuple[str, list[Event]]]:
        return forged(self, dice)

    def told(self, view: View) -> tuple[object, ...]:
        """Everything all nodes must agree on: the shared view, due dates, retention."""
        return (
            view.shared(),
            dict(due_dates(self.procedure, view, self.calendars)),
            keeping(self.procedure, view, self.calendars),
        )


def play(
    procedure: Procedure, calendars: Calendars, *, seed: int, length: int, target: str = "", laws: Laws = Laws()
) -> World:
    """A history: `length` actions, then everything still under way arrives."""
    dice = random.Random(seed)
    target = target or dice.choice(sorted(procedure.steps))
    world = World(procedure=procedure, calendars=calendars, dice=dice, target=target, laws=laws)
    for _ in range(10):
        if world.open():
            break
    hurry = dice.choice([0.3, 0.55, 0.75])  # how soon messages arrive
    for _ in range(length):
        draw = dice.random()
        if draw < hurry and world.deliver():
            continue
        if draw > 0.93:
            world.wait()
        else:
            world.act()
    world.settle()
    return world


def roles_ever(world: World) -> dict[str, set[str]]:
    """Node -> roles its authorities were ever given by an allowed event on any branch: read off the events alone."""
    ever: dict[str, set[str]] = {name: set() for name in NODES}
    allowed = world.allowed()
    values = _values_ever(world, allowed)
    for event in allowed:
        step = world.procedure.step(event.step)
        given = [(role, (word,)) for role, word in step.assign.items()] + list(step.admit.items())
        for role, words in given:
            for word in words:
                for authority in _named(word, event, values):
                    if authority in HOME:
                        ever[HOME[authority]].add(role)
        if event.opening:
            ever[HOME[event.author]].add(event.role)
    return ever


def _values_ever(world: World, allowed: list[Event]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for event in allowed:
        for variable, word in world.procedure.step(event.step).set.items():
            value = event.control.get(word, ())
            values.setdefault(variable, set()).update([value] if isinstance(value, str) else value)
    return values


def _named(word: str, event: Event, values: dict[str, set[str]]) -> Iterable[str]:
    if word == "author":
        return [event.author]
    if word in event.control:
        value = event.control[word]
        return [value] if isinstance(value, str) else value
    return values.get(word, [word])


def forged(world: World, dice: random.Random) -> Iterator[tuple[str, list[Event]]]:
    """Events without right, each with the one thing that is wrong with it."""
    shared = world.shared_events()
    later = [e for e in shared if not e.opening]
    stranger = AuthorityId(dice.choice(["PL:stranger", "HU:stranger"]))
    for base in dice.sample(later, min(3, len(later))):
        step = world.procedure.step(base.step)
        by_stranger = changed(base, author=stranger, seq=1, seen={})
        yield "by one who is no party", [by_stranger]
        yield "following what nobody may do", [by_stranger, changed(base, after=by_stranger.id, at=base.at + HOUR)]
        yield "a step nobody declared", [changed(base, step="take-over")]
        yield "a part nobody may write", [changed(base, parts={**base.parts, "forged": "0" * 64})]
        yield "text in the control", [changed(base, control={**base.control, "note": "hello"})]
        yield "before what it follows", [changed(base, at=START - timedelta(days=1))]
        yield "a role the step is not for", [changed(base, role="nobody")]
        for other in sorted(a for a in HOME if step.name != "received" and not _ever_held(world, a, base.role)):
            yield "by a party without the role", [changed(base, author=other, seq=1, seen={})]
            break
        for name in (n for n, control in step.control.items() if not control.optional):
            yield (
                "without a control value",
                [changed(base, control={k: v for k, v in base.control.items() if k != name})],
            )
            break


HOUR = timedelta(hours=1)


def _ever_held(world: World, authority: AuthorityId, role: str) -> bool:
    allowed = world.allowed()
    values = _values_ever(world, allowed)
    for event in allowed:
        step = world.procedure.step(event.step)
        words = [step.assign[role]] if role in step.assign else step.admit.get(role, ())
        if any(authority in _named(word, event, values) for word in words):
            return True
        if event.opening and event.role == role and event.author == authority:
            return True
    return False


def changed(event: Event, **fields: object) -> Event:
    values = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return Event(**(values | fields))
