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
    before = world.fold(events).shared(), world.laws.parties(world.procedure, events, world.calendars)
    for wrong, extra in world.forged(dice):
        more = [*events, *extra]
        after = world.fold(more).shared(), world.laws.parties(world.procedure, more, world.calendars)
        assert after == before, f"an event {wrong} changed the case"


def states_are_declared(world, _dice) -> None:
    for node in world.involved():
        view = node.view()
        assert view.state in world.procedure.states
        assert not view.refused, f"{node.name} refused an honest event: {set(view.refused.values())}"
        assert (view.closed_at is not None) == world.procedure.states[view.state].final


def parts_reach_whom_they_are_for_and_nobody_else(world, _dice) -> None:
    ever = world.roles_ever()
    events = world.everything()
    roles, audiences = world.procedure.roles, world.procedure.audiences
    released = {world.procedure.step(e.step).release for e in events.values()}
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


LAWS: tuple[Callable, ...] = (
    all_nodes_agree,
    order_and_repetition_do_not_matter,
    what_has_no_right_changes_nothing,
    states_are_declared,
    parts_reach_whom_they_are_for_and_nobody_else,
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
