"""What tests of the domain share: definitions, and a case played on several nodes by hand."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from node.domain.deadlines import due_dates, keeping
from node.domain.events import Event, Opening
from node.domain.fold import View, fold, parties, readable
from node.domain.judging import refusal
from node.domain.parsing import Definitions, parse_definitions
from node.domain.procedures import Procedure
from node.domain.steps import compose, offered
from node.ids import AuthorityId, CaseNumber, state_of

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config"
TRIED = Path(__file__).parent / "definitions"
START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)  # a Tuesday

KINDS = ("workflows", "procedures", "questions", "forms", "lists", "calendars")


def read_files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for kind in KINDS for p in (folder / kind).rglob("*.toml")}


def load(folder: Path) -> Definitions:
    definitions = parse_definitions(read_files(folder))
    assert not definitions.faults, "\n".join(map(str, definitions.faults))
    return definitions


def _beside(name: str) -> ModuleType:
    """A helper module of this folder: tests are no package."""
    spec = importlib.util.spec_from_file_location(f"domain_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def simulation() -> ModuleType:
    return _beside("simulation")


@pytest.fixture(scope="session")
def shipped() -> Definitions:
    return load(SHIPPED)


@pytest.fixture(scope="session")
def tried() -> Definitions:
    return load(TRIED)


@dataclass
class Played:
    """One case, told step by step: every node's events are kept, so a story can let them cross."""

    procedure: Procedure
    definitions: Definitions
    at: datetime = START
    everything: list[Event] = field(default_factory=list)
    names: dict[str, Event] = field(default_factory=dict)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def wait(self, **span: float) -> None:
        self.at += timedelta(**span)

    def view(self, events: Iterable[Event] | None = None, **inside: object) -> View:
        return fold(self.procedure, self.everything if events is None else events, self.definitions.calendars, **inside)

    def make(
        self,
        step: str,
        author: str,
        role: str,
        control: Mapping[str, object] | None = None,
        *,
        after: Iterable[Event] | None = None,
        at: datetime | None = None,
    ) -> Event:
        """An event by an author who has seen `after` (default: everything told so far); not yet told."""
        held = list(self.everything if after is None else after)
        who = AuthorityId(author)
        view = self.view(held, inside=state_of(who), own=who) if held else None
        opening = None
        if not held:
            p = self.procedure
            number = CaseNumber("EE-2026-000001")
            opening = Opening(procedure=p.id, version=p.version, digest=p.digest, number=number)
        found = self.procedure.step(step)
        assert found, step
        return compose(
            self.procedure,
            view,
            found,
            author=who,
            role=role,
            control={k: v if isinstance(v, str) else tuple(v) for k, v in (control or {}).items()},
            content={},
            at=at or self.at,
            edition=0,
            salt=lambda: self.dice.randbytes(16),
            opening=opening,
        ).event

    def take(self, step: str, author: str, role: str, control: Mapping[str, object] | None = None, **how) -> Event:
        """Makes an event that must be allowed, and tells it to all."""
        event = self.make(step, author, role, control, **how)
        self.everything.append(event)
        self.wait(hours=1)
        view = self.view(inside=event.state, own=event.author)
        assert event.id not in view.refused, (step, view.refused[event.id])
        assert event.id not in view.waiting, step
        return event

    def refused(self, step: str, author: str, role: str, control: Mapping[str, object] | None = None, **how) -> str:
        """Why an event is not allowed now."""
        event = self.make(step, author, role, control, **how)
        view = self.view([*self.everything, event], inside=event.state, own=event.author)
        return view.refused.get(event.id, "")

    def offers(self, author: str, *user_roles: str, **settings: str) -> set[str]:
        who = AuthorityId(author)
        view = self.view(inside=state_of(who), own=who) if self.everything else None
        return {
            offer.step.name
            for offer in offered(
                self.procedure,
                view,
                who,
                user_roles=frozenset(user_roles),
                settings=settings,
                at=self.at,
                calendars=self.definitions.calendars,
            )
        }

    def due(self, name: str, events: Iterable[Event] | None = None):
        return due_dates(self.procedure, self.view(events), self.definitions.calendars).get(name)

    def keeping(self):
        return keeping(self.procedure, self.view(), self.definitions.calendars)

    def parties(self, events: Iterable[Event] | None = None, **inside: object) -> Mapping:
        events = self.everything if events is None else events
        return parties(self.procedure, events, self.definitions.calendars, **inside)

    def reads(self, author: str, *, carried: bool = False, **inside: object) -> set[str]:
        """The steps whose parts an authority may read, as `step/audience`."""
        view = self.view(**inside)
        by_id = {e.id: e for e in self.everything}
        found = readable(self.procedure, view, AuthorityId(author), carried=carried)
        return {f"{by_id[event].step}/{audience}" for event, audience in found}

    def judge(self, event: Event, view: View) -> str:
        return refusal(self.procedure, view, event, self.definitions.calendars)


@pytest.fixture
def play(shipped: Definitions, tried: Definitions) -> Callable[..., Played]:
    """`play("services/alert")`: the shipped procedure; `play("solvit/case", tried=True)`: a tried one."""

    def start(procedure: str, *, of_tried: bool = False, at: datetime = START) -> Played:
        definitions = tried if of_tried else shipped
        return Played(procedure=definitions.procedures[procedure, 1], definitions=definitions, at=at)

    return start
