"""The laws every definition must obey, on random histories of five nodes; what they covered is counted and printed.

A history comes from a seed, a length and a step it is drawn towards; Hypothesis chooses them and shortens what fails.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from node.domain.fold import View, fold, parties, readable
from node.domain.handover import HAND_OVER

SIBLING = "DE-SN"  # a node that never hosted any of the authorities
ENOUGH = 50  # times every step, race and audience is met in the long run


@pytest.fixture(scope="module")
def definitions(shipped, tried):
    """Every procedure, shipped and tried, with its calendars."""
    found = {f"tried {p.id}": (p, tried.calendars) for p in tried.procedures.values()}
    return found | {f"shipped {p.id}": (p, shipped.calendars) for p in shipped.procedures.values()}


NAMES = [
    "shipped professional-qualifications/information-request",
    "shipped services/alert",
    "tried cash-in-transit/licences",
    "tried posting-of-workers/information-request",
    "tried professional-qualifications/false-diploma-alert",
    "tried professional-qualifications/information-request",
    "tried professional-qualifications/practice-alert",
    "tried professional-qualifications/professional-card",
    "tried services/alert",
    "tried services/intended-measure",
    "tried solvit/case",
]


def test_every_definition_is_tried(definitions):
    assert sorted(definitions) == NAMES


# --- the laws ------------------------------------------------------------------------------------------------------


def all_nodes_agree(world, _dice) -> None:
    """Once all arrived, the shared view with due dates, closure and retention is equal everywhere."""
    whole = world.told(world.fold(world.shared_events()))
    for node in world.involved():
        own = world.fold(e for e in node.events.values() if e.scope == "case")
        assert not node.held.keys() - world.rogue, f"{node.name} holds {node.held}"
        assert not own.waiting, f"{node.name} waits for {own.wanted} {own.unknown}"
        assert world.told(own) == whole, f"{node.name} sees another case"


def order_and_repetition_do_not_matter(world, dice) -> None:
    events = world.shared_events()
    whole = world.told(world.fold(events))
    for _ in range(3):
        shuffled = [*events, *dice.choices(events, k=3)]
        dice.shuffle(shuffled)
        assert world.told(world.fold(shuffled)) == whole


def what_has_no_right_changes_nothing(world, dice) -> None:
    events = world.shared_events()

    def told(held) -> tuple:
        found = world.laws.parties(world.procedure, held, world.calendars, signers=world.signers)
        return world.fold(held).shared(), found

    before = told(events)
    for wrong, extra in world.forged(dice):
        assert told([*events, *extra]) == before, f"an event {wrong} changed the case"


def states_are_declared(world, _dice) -> None:
    for node in world.involved():
        view = node.view()
        assert view.state in world.procedure.states
        refused = {e: why for e, why in view.refused.items() if e not in world.rogue}
        if world.rogue:  # whom the old node named without right has no role after all
            refused = {e: why for e, why in refused.items() if why not in ("role-not-held", "condition", "state")}
        assert not refused, f"{node.name} refused an honest event: {set(refused.values())}"
        assert (view.closed_at is not None) == world.procedure.states[view.state].final


def parts_reach_whom_they_are_for_and_nobody_else(world, _dice) -> None:
    ever = world.roles_ever()
    events = world.everything()
    roles, audiences = world.procedure.roles, world.procedure.audiences
    released = {step.release for e in events.values() if (step := world.procedure.step(e.step))}
    for node, event, audience in world.reached:
        step = world.procedure.step(events[event].step)
        readers = audiences[audience]
        if step.withhold and step.name not in released:
            readers &= audiences[step.withhold]
        carriers = {role for role in ever[node] if audience in roles[role].carries}
        assert ever[node] & readers or carriers, f"{node} got {step.name}/{audience}"
    for node in world.involved():
        for authority in node.hosted:
            lacking = world.laws.readable(world.procedure, node.view(), authority) - node.parts
            assert not lacking, f"{authority} may read what its node never got"


# --- the laws of a move (ADR 10) -----------------------------------------------------------------------------------


def what_the_old_node_signs_after_a_move_counts_nowhere(world, _dice) -> None:
    """Whatever number and instant it has, and whatever honest steps followed it before the move was heard of."""
    events = world.everything()
    bad = set(world.rogue)
    while more := {i for i, e in events.items() if e.after in bad and e.step not in HAND_OVER} - bad:
        bad |= more
    for node in world.involved():
        counting = {event.id for event in node.view().counting()}
        assert not counting & bad, f"{node.name} counts what the old node signed after the move"
        for one in node.view().hand_overs.values():
            ours = {i for i, e in events.items() if e.lane == one.moved.lane and i not in bad}
            lost = {i for i in ours if not one.lets_count(events[i], world.signers)} - {one.moved.id}
            assert not {i for i in lost if events[i].step not in HAND_OVER}, "a hand-over leaves out an honest step"
    honest = [e for i, e in events.items() if e.scope == "case" and i not in bad]
    if world.fold(honest).waiting:
        return  # an honest step counted on numbers that are gone with the bad ones
    named = {*world.laws.parties(world.procedure, honest, world.calendars, signers=world.signers)}
    shared = world.shared_events()
    assert {*world.laws.parties(world.procedure, shared, world.calendars, signers=world.signers)} == named


def nothing_is_lost_in_a_move(world, _dice) -> None:
    """Without misuse, the case is what it would be had nobody moved: every step counts, no date is another."""
    if world.rogue:
        return
    events = world.shared_events()
    stayed = [e for e in events if e.step not in HAND_OVER]
    gaps = {e.author for e in events if e.step in HAND_OVER}
    whole, without = (fold(world.procedure, es, world.calendars, signers=world.signers) for es in (events, stayed))
    assert not whole.ended
    counting = {e.id for e in whole.counting()}
    if not gaps:
        assert world.told(whole) == world.told(without)
    lost = {e.id for e in stayed} - counting - {*whole.superseded, *whole.refused}
    assert not lost, "a step before or after a move has no effect"
    assert all(one.moved.author in world.homes for one in whole.hand_overs.values())


def each_authority_has_one_node_that_can_go_on(world, _dice) -> None:
    for authority, homes in world.homes.items():
        nodes = [node.name for node in world.nodes.values() if node.acts_for(authority)]
        assert nodes == homes[-1:], f"{authority} is on {homes}, and {nodes} sign for it"
    for move in world.moves:
        if move.listed and move is [m for m in world.moves if m.authority == move.authority][-1]:
            for node in (n for n in world.involved() if move.authority in n.parties()):
                found = node.view().hand_overs.get(move.authority)
                assert found, f"{node.name} knows of no move of {move.authority}"
                assert found.to == move.new


def no_other_node_gets_past_the_door(world, dice) -> None:
    """A sibling that never hosted an authority cannot sign for it; nor can one it left in a case it was not in."""
    for event in dice.sample(world.shared_events(), 1):
        forged = replace(event, seq=event.seq + 50)
        for node in world.involved():
            for signer in (SIBLING, "EE", "FR"):
                if signer not in world.homes[event.author]:
                    assert not node.opens_to(forged, signer)


def an_old_home_keeps_no_part(world, _dice) -> None:
    """Of what it had for the authority; what reaches it late is kept, as it may be ahead of a step that entitles it."""
    for name in {move.old for move in world.moves if move.listed}:
        node = world.nodes[name]
        view = node.view()
        gone = [a for a in node.leaving if node.home(a) != name and a in view.hand_overs]
        was_for = {p for a in gone for p in readable(world.procedure, view, a, carried=True)}
        may = {p for a in node.hosted for p in readable(world.procedure, view, a, carried=True)}
        assert not node.parts & node.used & was_for - may, f"{name} keeps parts of an authority that left"


LAWS: tuple[Callable, ...] = (
    all_nodes_agree,
    order_and_repetition_do_not_matter,
    what_has_no_right_changes_nothing,
    states_are_declared,
    parts_reach_whom_they_are_for_and_nobody_else,
    what_the_old_node_signs_after_a_move_counts_nowhere,
    nothing_is_lost_in_a_move,
    each_authority_has_one_node_that_can_go_on,
    no_other_node_gets_past_the_door,
    an_old_home_keeps_no_part,
)


# --- playing them, and counting ------------------------------------------------------------------------------------


def wanted(procedure) -> list[tuple[str, str]]:
    """All that must be met: steps, races, and audiences somebody writes for and somebody reads."""
    steps = procedure.steps.values()
    return [
        *(("step", step.name) for step in steps),
        *(("race", step.name) for step in steps if step.race),
        *(("audience", a) for a in sorted({a for step in steps for a in step.layout})),
    ]


def met(world) -> Counter:
    view, events = world.fold(world.shared_events()), world.everything()
    found: Counter = Counter(("step", e.step) for e in events.values())
    for loser, winner in view.superseded.items():
        steps = [world.procedure.step(events[i].step) for i in (loser, winner)]
        if events[loser].after == events[winner].after and all(step.moves for step in steps):
            found.update(("race", step.name) for step in steps if step.race)
    found.update({("audience", audience): n for audience, n in world.delivered.items()})
    for node in world.involved():  # some parts are for their author's own node only
        read = {part for a in node.hosted for part in readable(world.procedure, node.view(), a)}
        found.update(("audience", audience) for _, audience in read)
    return found


def try_laws(
    simulation, procedure, calendars, *, examples: int, target: str = "", laws=None, first: int = 0
) -> Counter:
    """Plays `examples` histories, drawn towards a step or towards any, and returns what they met.

    `first` moves on to other histories: the same run is the same again.
    """
    counts: Counter = Counter()
    targets = st.just(target) if target else st.sampled_from(sorted(procedure.steps))

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**32), length=st.integers(12, 45), drawn=targets)
    def hold(seed: int, length: int, drawn: str) -> None:
        world = simulation.play(
            procedure,
            calendars,
            seed=seed + (first << 40),
            length=length,
            target=drawn,
            **({"laws": laws} if laws else {}),
        )
        counts.update(met(world))
        for law in LAWS:
            law(world, random.Random(seed))

    hold()
    return counts


MOVES = (  # what hand-overs must meet
    "move",
    "move back",
    "move of whose turn it is",
    "move of a former party",
    "move of one who is no party",
    "move while a deadline runs",
    "move of a closed case",
    "part deleted by the old home",
    "step by the old home",
    "rewrite by the old home",
    "second moved by the old home",
    "other moved by the old home",
    "late joiner",
    "step ended",
    "honest step ended with it",
)


def play_moves(simulation, definitions, *, seeds: range) -> Counter:
    """Histories full of hand-overs and of their misuse, on every definition; what they met."""
    met_here: Counter = Counter()
    for procedure, calendars in (definitions[name] for name in NAMES):
        for seed in seeds:
            dice = random.Random(seed)
            target = dice.choice(sorted(procedure.steps))
            world = simulation.play(
                procedure, calendars, seed=seed, length=dice.randint(15, 45), target=target, moving=0.4
            )
            for law in LAWS:
                law(world, random.Random(seed))
            ended = world.fold(world.shared_events()).ended.keys()
            met_here.update(world.crossed)
            met_here["late joiner"] += any(node.joined_late for node in world.involved())
            met_here["step ended"] += len(ended & world.rogue)
            met_here["honest step ended with it"] += len(ended - world.rogue)
    return met_here


def told(counts: Mapping) -> str:
    return "hand-overs: " + ", ".join(f"{what} {counts[what]}" for what in MOVES)


def test_laws_hold_while_authorities_move(definitions, simulation, capsys):
    counts = play_moves(simulation, definitions, seeds=range(12))
    with capsys.disabled():
        print(f"\n{told(counts)}")
    assert counts["move"] >= ENOUGH
    assert counts["step ended"]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_laws_hold_while_authorities_move_at_length(definitions, simulation, capsys):
    counts: Counter = Counter()
    for turn in range(1, 60):
        counts += play_moves(simulation, definitions, seeds=range(turn * 1000, turn * 1000 + 25))
        if all(counts[what] >= enough(what) for what in MOVES):
            break
    with capsys.disabled():
        print(f"\n{told(counts)}")
    assert all(counts[what] >= enough(what) for what in MOVES), told(counts)


def enough(what: str) -> int:
    """Two things are rare: they need an interrupt, or a node that acts on what it should not have believed."""
    return 5 if what in ("move of a former party", "honest step ended with it") else ENOUGH


def table(name: str, counts: Mapping, procedure) -> str:
    rows = [f"{name}: {len(wanted(procedure))} things to meet"]
    for kind in ("step", "race", "audience"):
        met_here = [f"{n} {counts[k, n]}" for k, n in wanted(procedure) if k == kind]
        rows.append(f"  {kind}: {', '.join(met_here) or 'none'}")
    return "\n".join(rows)


@pytest.mark.parametrize("name", NAMES)
def test_laws_hold(name, definitions, simulation, capsys):
    """A short run for every change; `test_laws_hold_at_length` meets everything often."""
    procedure, calendars = definitions[name]
    counts = try_laws(simulation, procedure, calendars, examples=25)
    with capsys.disabled():
        print(f"\n{table(name, counts, procedure)}")
    assert counts["step", next(iter(procedure.first_steps)).name]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_laws_hold_at_length(name, definitions, simulation, capsys):
    """Histories are drawn towards whatever was met least, until everything was met often enough."""
    procedure, calendars = definitions[name]
    counts = try_laws(simulation, procedure, calendars, examples=40)
    for turn in range(200):
        lacking = min(wanted(procedure), key=lambda item: counts[item])
        if counts[lacking] >= ENOUGH:
            break
        targets = towards(procedure, lacking)
        counts += try_laws(
            simulation, procedure, calendars, examples=30 + 5 * turn, target=targets[turn % len(targets)], first=turn
        )
    with capsys.disabled():
        print(f"\n{table(name, counts, procedure)}")
    assert all(counts[item] >= ENOUGH for item in wanted(procedure))


def towards(procedure, item: tuple[str, str]) -> list[str]:
    """The steps to draw histories to, so that a step, race or audience is met."""
    kind, name = item
    if kind == "audience":
        return [step.name for step in procedure.steps.values() if name in step.layout]
    return [name]


# --- planted faults are found --------------------------------------------------------------------------------------


def by_arrival(procedure, events, calendars, **inside) -> View:
    """A fold that lets whatever arrived last win a race."""
    events = list(events)
    view = fold(procedure, events, calendars, **inside)
    late = [e for e in events if e.id in view.superseded]
    return replace(view, state=procedure.step(late[-1].step).target or view.state) if late else view


def trusting(procedure, events, calendars, **inside) -> View:
    """A fold that takes over who holds a role from any event that says so."""
    events = list(events)
    view = fold(procedure, events, calendars, **inside)
    said = {e.role: e.author for e in events if e.role in view.roles and e.id in view.refused}
    return replace(view, roles={**view.roles, **said})


def parties_of_all(procedure, events, calendars, **inside) -> Mapping:
    """Parties found from all events, forged ones too."""
    events = list(events)
    return {**parties(procedure, events, calendars, **inside), **{e.author: frozenset([e.author]) for e in events}}


def readable_by_all(procedure, view, authority, *, carried=False) -> frozenset:
    """Every part for everybody who holds a role."""
    if not view.roles_of(authority):
        return readable(procedure, view, authority, carried=carried)
    return frozenset((e.id, a) for e in view.counting() for a in e.parts)


def without_moves(procedure, events, calendars, *, signers, **inside) -> View:
    """A fold that does not ask which node signed."""
    return fold(procedure, events, calendars, **inside)


def parties_without_moves(procedure, events, calendars, *, signers, **inside) -> Mapping:
    """Parties found without asking which node signed."""
    return parties(procedure, events, calendars, **inside)


def without_time(procedure, events, calendars, *, signers, **inside) -> View:
    """A fold that lets a hand-over end numbers only: what the old node rewrites below them counts."""
    events = list(events)
    last = {
        e.author: max((m.seq for m in events if m.author == e.author and m.step == "moved"), default=0) for e in events
    }
    to = {m.author: m.control["to"] for m in events if m.step == "moved"}
    believed = {e.id: to[e.author] for e in events if e.author in to and e.seq < last[e.author]}
    named = {
        m.id: replace(m, control={**m.control, "events": tuple(i for i in believed)})
        for m in events
        if m.step == "moved"
    }
    for old, new in named.items():
        new.__dict__["id"] = old
    return fold(procedure, [named.get(e.id, e) for e in events], calendars, signers=signers, **inside)


@pytest.mark.parametrize(
    "planted",
    [{"fold": without_moves}, {"parties": parties_without_moves}, {"fold": without_time}],
    ids=["who signed is not asked", "who named is not asked", "only numbers are ended"],
)
def test_a_planted_fault_of_moves_is_found(planted, definitions, simulation):
    procedure, calendars = definitions["shipped professional-qualifications/information-request"]

    def run() -> None:
        for seed in range(300):
            world = simulation.play(
                procedure, calendars, seed=seed, length=30, target="answer", moving=0.5, laws=simulation.Laws(**planted)
            )
            for law in LAWS:
                law(world, random.Random(seed))

    with pytest.raises(AssertionError):
        run()


@pytest.mark.parametrize(
    ("fault", "planted"),
    [
        ("the last to arrive wins", {"fold": by_arrival}),
        ("roles are believed", {"fold": trusting}),
        ("parties from all events", {"parties": parties_of_all}),
        ("parts for everybody", {"readable": readable_by_all}),
    ],
)
def test_a_planted_fault_is_found(fault, planted, definitions, simulation):
    procedure, calendars = definitions["shipped services/alert"]
    laws = simulation.Laws(**planted)

    def run() -> None:
        for target in ("withdraw", "broadcast-directly", "add-information"):
            try_laws(simulation, procedure, calendars, examples=30, target=target, laws=laws)

    with pytest.raises(AssertionError):
        run()
