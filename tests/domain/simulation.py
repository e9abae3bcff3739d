"""A federation of five nodes playing one case at random, so that laws can be tried on any definition.

Four States, one of them with two nodes, between which authorities move while the case runs: each node has its own copy
of the directory and hears of a move when it does; the node an authority left may go on signing for it. Messages keep
their order per sender and receiver only. Every decision comes from one seeded generator, so a history can be shortened
and told again: `play(procedure, seed=…, length=…)`.
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
from node.domain.handover import (
    HAND_OVER,
    MOVED,
    TAKEN_OVER,
    hand_overs,
    is_complete,
    is_on_its_way,
    is_well_formed,
    moved,
    names_nothing,
    nth,
    taken_over,
)
from node.domain.judging import refusal
from node.domain.procedures import Control, Procedure, Step
from node.domain.steps import Offer, compose, offered, receipt
from node.ids import AuthorityId, CaseNumber, State, state_of

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NODES = ("EE", "FR", "DE", "DE-BY", "EU")
SIBLING = "DE-SN"  # a node of the State that never hosts any of these authorities
HOME = {  # before anybody moved
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
OTHER = {"DE": "DE-BY", "DE-BY": "DE"}  # where an authority can move
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
class Move:
    """One authority's move, and how far it is: begun, signed (in the case), announced, accepted (it counts)."""

    authority: AuthorityId
    old: str
    new: str
    nth: int
    stage: str = "begun"
    listed: bool = False  # whether the old node holds the case with this authority in it
    answer_to: Event | None = None  # the `moved` that the new node accepted


@dataclass
class Node:
    """What one node holds of the case."""

    name: str
    world: World
    events: dict[str, Event] = field(default_factory=dict)
    held: dict[str, Event] = field(default_factory=dict)  # at the door
    parts: set[tuple[str, str]] = field(default_factory=set)
    used: set[tuple[str, str]] = field(default_factory=set)  # parts an authority here was entitled to
    sent: set[tuple[str, str, str]] = field(default_factory=set)
    leaving: dict[AuthorityId, Move] = field(default_factory=dict)  # moves of its own authorities away
    coming: dict[AuthorityId, Move] = field(default_factory=dict)  # moves to it that it accepted
    known: Counter = field(default_factory=Counter)  # authority -> how many of its moves this node has heard of
    seen_view: View | None = None
    seen_parties: dict | None = None
    skew: timedelta = timedelta()
    joined_late: bool = False

    @property
    def state(self) -> State:
        return State(self.name[:2])

    def homes(self, authority: AuthorityId) -> list[str]:
        """The nodes an authority was on, as far as this node has heard."""
        return self.world.homes.get(authority, [])[: self.known[authority] + 1]

    def home(self, authority: AuthorityId) -> str | None:
        return next(reversed(self.homes(authority)), None)

    @property
    def hosted(self) -> list[AuthorityId]:
        return [a for a in HOME if self.home(a) == self.name]

    def expected(self) -> set[AuthorityId]:
        """Authorities that are on their way here: their old node says so, the directory not yet."""
        here = (e for e in (*self.events.values(), *self.held.values()) if e.step == MOVED and is_well_formed(e))
        return {e.author for e in here if e.control["to"] == self.name and nth(e) >= len(self.homes(e.author))}

    def acts_for(self, authority: AuthorityId) -> bool:
        """Whether it signs for an authority now: not while it leaves, not before all of it has come."""
        if self.home(authority) != self.name or authority in self.leaving:
            return False
        accepted = self.coming.get(authority)
        if accepted is None or accepted.answer_to is None:
            return True
        return not is_on_its_way(self.events.values(), accepted.answer_to, signers=self.world.signers)

    def view(self) -> View:
        if self.seen_view is None:
            self.seen_view = self.world.fold(self.events.values(), inside=self.state)
        return self.seen_view

    def parties(self) -> dict:
        if self.seen_parties is None:
            w = self.world
            found = w.laws.parties(w.procedure, self.events.values(), w.calendars, inside=self.state, signers=w.signers)
            self.seen_parties = dict(found)
        return self.seen_parties

    def keep(self, event: Event) -> None:
        if event.id not in self.events:
            self.events[event.id] = event
            self.held.pop(event.id, None)
            self.seen_view = self.seen_parties = None

    def take_in(self, event: Event) -> None:
        """Keeps what passes the door; the rest is held, and asked again with everything that comes."""
        if event.id in self.events:
            return
        if not self.events and any(len(self.homes(a)) > 1 for a in HOME):
            self.joined_late = True
        self.held[event.id] = event
        self.ask_again()

    def ask_again(self) -> None:
        changed = True
        while changed:
            passed = [event for event in self.held.values() if self.opens_to(event, self.world.signers[event.id])]
            for event in passed:
                self.keep(event)
            changed = bool(passed)

    def opens_to(self, event: Event, signer: str) -> bool:
        """The door, as far as it asks who signed."""
        homes = self.homes(event.author)
        if event.step == MOVED:
            return (
                is_well_formed(event)
                and nth(event) < len(homes)
                and homes[nth(event) - 1 : nth(event) + 1] == [signer, event.control["to"]]
            )
        if not homes or signer == homes[-1]:
            return bool(homes)
        if signer not in homes:
            return False
        return event.step == TAKEN_OVER or event.author in hand_overs(self.events.values(), self.world.signers)


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
    homes: dict[AuthorityId, list[str]] = field(default_factory=lambda: {a: [node] for a, node in HOME.items()})
    signers: dict[str, str] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    rogue: set[str] = field(default_factory=set)  # what an old node signed for an authority that had left it
    crossed: Counter = field(default_factory=Counter)  # what hand-overs met
    delivered: Counter = field(default_factory=Counter)  # audience -> parts that reached another node
    reached: set[tuple[str, str, str]] = field(default_factory=set)  # node, event, audience

    def __post_init__(self) -> None:
        for name in NODES:
            node = Node(name, self)
            node.skew = timedelta(seconds=self.dice.choice([0, 0, 0, -90, 40]))
            self.nodes[name] = node

    def fold(self, events: Iterable[Event], **inside: object) -> View:
        return self.laws.fold(self.procedure, events, self.calendars, signers=self.signers, **inside)

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
        for author, node in self._actors():
            if author not in node.parties():
                continue
            view = (
                self.fold(node.events.values(), inside=node.state, own=author)
                if self._has_private(node, author)
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
        node = next(node for a, node in self._actors() if a == author)
        self._try(author, offer, view, node=node)

    def _actors(self) -> list[tuple[AuthorityId, Node]]:
        return [(a, node) for a in HOME for node in self.nodes.values() if node.acts_for(a)]

    def _cross(self, racer: AuthorityId, view: View) -> None:
        """Whoever has the turn acts too, on another node, before either hears of the other."""
        turn = self.procedure.states[view.state].turn
        actors = dict(self._actors())
        for holder in sorted(view.holders(turn)):
            node = actors.get(holder)
            if node is None or node is actors.get(racer) or not node.events:
                continue
            offers = [o for o in self._offers(node.view(), holder, node) if o.step.moves and o.role == turn]
            self.dice.shuffle(offers)
            any(self._try(holder, offer, node.view(), node=node) for offer in offers)

    def _has_private(self, node: Node, author: AuthorityId) -> bool:
        return any(e.scope == "authority" and e.author == author for e in node.events.values())

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

    def _try(
        self,
        author: AuthorityId,
        offer: Offer,
        view: View,
        opening: Opening | None = None,
        *,
        node: Node | None = None,
        rogue: bool = False,
    ) -> bool:
        """Takes a step with control values that are allowed, if a few draws find some."""
        node = node or self.nodes[HOME[author]]
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
                self._author(node, composed.event, rogue=rogue)
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

    def _author(self, node: Node, event: Event, *, rogue: bool = False) -> None:
        self.signers[event.id] = node.name
        if rogue:
            self.rogue.add(event.id)
        node.keep(event)
        self.taken.append(event)
        node.parts |= {(event.id, audience) for audience in event.parts}
        self.at += timedelta(seconds=self.dice.randint(1, 600))
        self.owe(node)
        self._close_parts(node)

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
        """Queues what this node owes: its own events to all parties, everything to those it named, and to the node
        an authority of its own moves to everything that authority has."""
        if not node.events:
            return
        view = node.view()
        parts_of = {a: self.laws.readable(self.procedure, view, a, carried=True) for a in node.parties()}
        self._forget_lost(node, parts_of)
        for party, namers in node.parties().items():
            there = node.home(party)
            if there is not None and there != node.name:
                named_by_us = any(node.home(a) == node.name for a in namers)
                for event in list(node.events.values()):
                    if self._may_travel(event, party) and (named_by_us or node.home(event.author) == node.name):
                        self._queue(node, there, event, parts_of[party])
            if there == node.name:
                self._owe_old_homes(node, party)
            self._owe_misdirected(node, party)
            if (move := node.leaving.get(party)) and move.stage != "begun":
                self._owe_all(node, move, parts_of[party])

    def _owe_old_homes(self, node: Node, party: AuthorityId) -> None:
        """A node an authority left keeps the file card: the bare events, so that its copy ends when the others do."""
        left = {self.signers[e.id] for e in node.events.values() if e.step == MOVED and e.author == party}
        for there in sorted(left - {node.name}):
            for event in list(node.events.values()):
                if self._may_travel(event, party):
                    self._queue(node, there, event, frozenset())

    def _owe_misdirected(self, node: Node, party: AuthorityId) -> None:
        """Who wrote to a home that a party had left before it was one goes on with the bare events: that copy must end."""
        left = {self.signers[e.id] for e in node.events.values() if e.step == MOVED and e.author == party}
        written_to = {there for there, _, _ in node.sent}
        for there in sorted((set(node.homes(party)[:-1]) & written_to) - left - {node.home(party), node.name}):
            for event in list(node.events.values()):
                if self._may_travel(event, party):
                    self._queue(node, there, event, frozenset())

    def _owe_all(self, node: Node, move: Move, entitled: frozenset[tuple[str, str]]) -> None:
        own = self.fold(node.events.values(), inside=node.state, own=move.authority)
        entitled |= self.laws.readable(self.procedure, own, move.authority, carried=True)
        for event in list(node.events.values()):
            if self._may_travel(event, move.authority) or event.author == move.authority:
                self._queue(node, move.new, event, entitled)

    def _forget_lost(self, node: Node, parts_of: dict[AuthorityId, frozenset[tuple[str, str]]]) -> None:
        """What another node was given and has deleted since is owed again, should it ever be for it again."""
        counting = {event.id for event in node.view().counting()}
        for there in {there for there, _, audience in node.sent if audience}:
            going = {a for a, move in node.leaving.items() if move.new == there and move.stage != "begun"}
            still = {a for a in node.parties() if a in going or node.home(a) == there}
            may_have = set().union(*(parts_of[a] for a in still))
            node.sent -= {
                (to, e, a) for to, e, a in node.sent if to == there and a and e in counting and (e, a) not in may_have
            }

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
        if self.dice.random() < 0.1:  # the same once more: its events are known, and its id would be
            self.queues[sender, receiver].append(Message(message.event, frozenset()))
        node = self.nodes[receiver]
        node.take_in(message.event)
        for audience in message.audiences:
            self.delivered[audience] += (receiver, message.event.id, audience) not in self.reached
            self.reached.add((receiver, message.event.id, audience))
            node.parts.add((message.event.id, audience))
        self._look_at(node)
        return True

    def _look_at(self, node: Node) -> None:
        """What a node does after any change: answers a move to it, receipts, debts, deletions."""
        self._leave(node)
        self._answer(node)
        self._receive(node)
        self.owe(node)
        self._close_parts(node)

    def _receive(self, node: Node) -> None:
        """The automatic `received` of a holder a deadline waits for."""
        view = node.view()
        for author in node.hosted:
            if not node.acts_for(author):
                continue
            if any(e.step == "received" and e.author == author for e in node.events.values()):
                continue
            event = receipt(self.procedure, view, author, at=self.at + node.skew, edition=0)
            if event and event.scope == "case" and not refusal(self.procedure, view, event, self.calendars):
                self._author(node, event)

    # --- moving an authority ----------------------------------------------------------------------------------------

    def move_on(self) -> None:
        """One step of a move: it begins, goes on, is heard of somewhere; or the old node does what it may not."""
        open_moves = [move for move in self.moves if move.stage != "accepted"]
        unheard = [(n, m) for n in self.nodes.values() for m in self.moves if self._has_news(n, m)]
        over = [m for m in self.moves if m.stage != "begun" and m.listed]
        draw = self.dice.random()
        if over and draw < 0.35 and self.bad:
            self._misuse(self.dice.choice(over))
        elif unheard and draw < 0.6:
            self._hear(*self.dice.choice(unheard))
        elif open_moves:
            self._advance(self.dice.choice(open_moves))
        elif len(self.moves) < 3:
            self._begin()

    @cached_property
    def bad(self) -> bool:
        """Whether, in this history, nodes sign for authorities that have left them."""
        return self.dice.random() < 0.5

    def _begin(self) -> None:
        """Mostly of somebody in the case: whoever has the turn, or moved before, rather than others."""
        parties = set().union(*(node.parties() for node in self.nodes.values()))
        can = [a for a in NATIONAL if self.homes[a][-1] in OTHER and self.nodes[self.homes[a][-1]].acts_for(a)]
        inside = [a for a in can if a in parties] or can
        again = [a for a in inside if len(self.homes[a]) > 1]
        if not inside:
            return
        authority = self.dice.choice(again if again and self.dice.random() < 0.7 else inside)
        old = self.homes[authority][-1]
        move = Move(authority, old, OTHER[old], len(self.homes[authority]))
        node = self.nodes[old]
        move.listed = authority in node.parties()
        node.leaving[authority] = move
        node.coming.pop(authority, None)
        self.moves.append(move)

    def _advance(self, move: Move) -> None:
        node, new = self.nodes[move.old], self.nodes[move.new]
        if move.stage == "begun":
            move.stage = "signed"
            if move.listed:
                self._sign_moved(node, move)
        elif move.stage == "signed":
            move.stage = "announced"
        elif move.stage == "announced" and (answer_to := self._arrived(new, move)) is not False:
            move.answer_to = answer_to
            new.coming[move.authority] = move
            new.leaving.pop(move.authority, None)  # it had left this node before
            self.homes[move.authority].append(move.new)
            move.stage = "accepted"
            self._count(move)
            self._hear(new, move)  # it says so itself

    def _sign_moved(self, node: Node, move: Move) -> None:
        shared = self.fold(e for e in node.events.values() if e.scope == "case")
        everybody = self.laws.parties(self.procedure, node.events.values(), self.calendars, signers=self.signers)
        event = moved(
            node.events.values(),
            move.authority,
            after=shared.head,
            scope="case" if move.authority in everybody else "state",
            to=move.new,
            number=move.nth,
            signers=self.signers,
            at=self.at + node.skew,
            edition=0,
        )
        if event:
            self._author(node, event)

    def _arrived(self, new: Node, move: Move) -> Event | bool | None:
        """The `moved` the new node accepts; None where the case is not in the list; False while it is on its way."""
        if not move.listed:
            return None
        here = {**new.events, **new.held}
        found = [
            event
            for event in here.values()
            if event.step == MOVED and event.author == move.authority and nth(event) == move.nth
            and event.control["to"] == new.name and is_complete(here.values(), event)
        ]  # fmt: skip
        return min(found, key=lambda e: (-len(e.control["events"]), e.at, e.id), default=False)

    def _count(self, move: Move) -> None:
        node = self.nodes[move.old]
        if not move.listed:
            self.crossed["move of one who is no party"] += 1
            return
        self.crossed["move"] += 1
        self.crossed["move back"] += move.nth > 1
        turn = self.procedure.states[node.view().state].turn
        self.crossed["move of whose turn it is"] += move.authority in node.view().holders(turn)
        self.crossed["move of a former party"] += not node.view().roles_of(move.authority)
        due = due_dates(self.procedure, node.view(), self.calendars).values()
        self.crossed["move while a deadline runs"] += any(d.is_running for d in due)
        self.crossed["move of a closed case"] += node.view().closed_at is not None

    def _has_news(self, node: Node, move: Move) -> bool:
        return move.stage == "accepted" and node.known[move.authority] == move.nth - 1

    def _hear(self, node: Node, move: Move) -> None:
        node.known[move.authority] += 1
        node.ask_again()
        self._look_at(node)

    def _leave(self, node: Node) -> None:
        """A case that still reaches the old home for an authority that leaves is handed on."""
        for authority, move in node.leaving.items():
            if authority in node.parties() and move.stage != "begun":
                self._sign_moved(node, move)

    def _answer(self, node: Node) -> None:
        for event in [e for e in node.events.values() if e.step == MOVED and is_well_formed(e)]:
            move = node.coming.get(event.author)
            if move is None or node.home(event.author) != node.name or nth(event) != move.nth:
                continue
            if event is not move.answer_to and (move.answer_to or not names_nothing(event)):
                continue
            answer = taken_over(
                node.events.values(),
                event,
                after=node.view().head,
                signers=self.signers,
                at=self.at + node.skew,
                edition=0,
            )
            if answer:
                self._author(node, answer)

    def _close_parts(self, node: Node) -> None:
        """An old home deletes what was for its authority alone, once the new one has answered.

        A part that came before the step that entitles somebody here is kept until then.
        """
        view = node.view()
        may_read = {a: self.laws.readable(self.procedure, view, a, carried=True) for a in node.parties()}
        node.used |= set().union(*(may_read.get(a, ()) for a in node.hosted)) & node.parts
        gone = [a for a, one in view.hand_overs.items() if a in node.leaving and one.to == node.leaving[a].new]
        if not gone:
            return
        still = {m.authority for m in node.leaving.values()}.difference(gone).union(node.hosted, node.expected())
        may_have = set().union(*(may_read.get(a, ()) for a in still))
        was_for = set().union(*(may_read[a] for a in gone))
        lost = node.parts & node.used & was_for - may_have
        self.crossed["part deleted by the old home"] += len(lost)
        node.parts -= lost
        node.used -= lost

    def _misuse(self, move: Move) -> None:
        """The node an authority left signs for it: restored from a backup it knows no better, or it is bad."""
        node = self.nodes[move.old]
        author, how = move.authority, self.dice.choice(["step", "step", "rewrite", "second moved", "other moved"])
        if node.home(author) == node.name and author not in node.leaving:
            return  # it came back
        if how == "step":
            offers = list(self._offers(node.view(), author, node))
            self.dice.shuffle(offers)
            done = any(self._try(author, offer, node.view(), node=node, rogue=True) for offer in offers)
        elif how == "rewrite":
            done = self._rewrite(node, author)
        else:
            done = self._sign_other(node, move, to=SIBLING if how == "other moved" else move.new)
        self.crossed[f"{how} by the old home"] += done

    def _rewrite(self, node: Node, author: AuthorityId) -> bool:
        """A step it did sign, once more with its own number and an instant before: it would win."""
        own = [e for e in node.events.values() if e.author == author and e.scope == "case" and not e.opening]
        own = [e for e in own if e.step not in HAND_OVER and self.signers[e.id] == node.name]
        for event in self.dice.sample(own, min(1, len(own))):
            salted = {audience: f"{self.dice.getrandbits(256):064x}" for audience in event.parts}
            self._author(node, changed(event, at=event.at - timedelta(milliseconds=1), parts=salted), rogue=True)
        return bool(own)

    def _sign_other(self, node: Node, move: Move, *, to: str) -> bool:
        last = [e for e in node.events.values() if e.step == MOVED and e.author == move.authority]
        for event in last[:1]:
            named = event.control["events"]
            fewer = tuple(sorted(self.dice.sample(named, self.dice.randint(0, len(named)))))
            control = {**event.control, "to": to, "events": fewer}
            at = event.at - timedelta(milliseconds=self.dice.choice([-5, 5]))
            self._author(node, changed(event, control=control, at=at), rogue=True)
        return bool(last)

    # --- the end --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        for _ in range(20000):
            if self.deliver():
                continue
            open_moves = [move for move in self.moves if move.stage != "accepted"]
            unheard = [(n, m) for n in self.nodes.values() for m in self.moves if self._has_news(n, m)]
            if open_moves:
                before = open_moves[0].stage
                self._advance(open_moves[0])
                assert open_moves[0].stage != before, "a move that never ends"
            elif unheard:
                self._hear(*self.dice.choice(unheard))
            else:
                return
        raise AssertionError("the nodes never stop writing")

    def everything(self) -> dict[str, Event]:
        return {i: e for node in self.nodes.values() for i, e in node.events.items()}

    def shared_events(self) -> list[Event]:
        return [e for e in self.everything().values() if e.scope == "case"]

    def allowed(self, *, believed: bool = False) -> list[Event]:
        """Every event that was allowed, on any branch, of any scope but an authority's own.

        `believed`: with what a node took for allowed before it heard of a move.
        """
        signers = {} if believed else self.signers
        found = {e.id: e for e in self.everything().values() if e.scope in ("case", "state")}
        for state in sorted({State(name[:2]) for name in NODES}):
            view = fold(self.procedure, found.values(), self.calendars, inside=state, signers=signers)
            none = {*view.refused, *view.waiting, *view.ended}
            found = {i: e for i, e in found.items() if i not in none}
        return list(found.values())

    def involved(self) -> list[Node]:
        everybody = self.laws.parties(self.procedure, self.shared_events(), self.calendars, signers=self.signers)
        hosts = {node for a in everybody for node in self.homes.get(a, ())}
        return [self.nodes[name] for name in NODES if name in hosts and self.nodes[name].events]

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
    procedure: Procedure,
    calendars: Calendars,
    *,
    seed: int,
    length: int,
    target: str = "",
    laws: Laws = Laws(),
    moving: float | None = None,
) -> World:
    """A history: `length` actions, then everything still under way arrives."""
    dice = random.Random(seed)
    target = target or dice.choice(sorted(procedure.steps))
    world = World(procedure=procedure, calendars=calendars, dice=dice, target=target, laws=laws)
    for _ in range(10):
        if world.open():
            break
    rate = dice.choice([0.0, 0.0, 0.25, 0.5])  # how often something happens about a move
    moving = rate if moving is None else moving
    hurry = dice.choice([0.3, 0.55, 0.75])  # how soon messages arrive
    for _ in range(length):
        draw = dice.random()
        if draw < hurry and world.deliver():
            continue
        if draw > 0.93:
            world.wait()
        elif dice.random() < moving:
            world.move_on()
        else:
            world.act()
    world.settle()
    return world


def roles_ever(world: World) -> dict[str, set[str]]:
    """Node -> roles its authorities were ever given by an allowed event on any branch: read off the events alone."""
    ever: dict[str, set[str]] = {name: set() for name in NODES}
    allowed = world.allowed(believed=True)
    values = _values_ever(world, allowed)
    for event in allowed:
        step = world.procedure.step(event.step)
        if step is None:
            continue
        given = [(role, (word,)) for role, word in step.assign.items()] + list(step.admit.items())
        for role, words in given:
            for word in words:
                for authority in _named(word, event, values):
                    for node in world.homes.get(authority, ()):
                        ever[node].add(role)
        if event.opening:
            for node in world.homes[event.author]:
                ever[node].add(event.role)
    return ever


def _values_ever(world: World, allowed: list[Event]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for event in allowed:
        step = world.procedure.step(event.step)
        for variable, word in step.set.items() if step else ():
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
    later = [e for e in shared if not e.opening and e.step not in HAND_OVER and e.id not in world.rogue]
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
        if step is None:
            continue
        words = [step.assign[role]] if role in step.assign else step.admit.get(role, ())
        if any(authority in _named(word, event, values) for word in words):
            return True
        if event.opening and event.role == role and event.author == authority:
            return True
    return False


def changed(event: Event, **fields: object) -> Event:
    values = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return Event(**(values | fields))
