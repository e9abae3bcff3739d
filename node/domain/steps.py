"""What an authority may do now, and composing the event that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from node.domain.calendars import Calendars
from node.domain.conditions import Condition, Operand, holds
from node.domain.events import RECEIVED, Event, Lane, Opening, Part, Scope, Value, commitment, later_than
from node.domain.forms import Content
from node.domain.judging import Words
from node.domain.procedures import ANSWERS, COMMENTS, Procedure, Step
from node.domain.view import View
from node.ids import AuthorityId, CaseId, EventId, state_of

_SETTING: Final = "setting."


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A step this authority may take now, in a role it holds (or takes, for a new case)."""

    step: Step
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """An event ready to be signed, and its parts by audience."""

    event: Event
    parts: Mapping[str, Part]


def offered(
    procedure: Procedure,
    view: View | None,
    author: AuthorityId,
    *,
    user_roles: frozenset[str],
    settings: Mapping[str, str],
    at: datetime,
    calendars: Calendars,
) -> tuple[Offer, ...]:
    """The steps this authority's official may take now, in the order of the workflow file.

    Args:
        view: folded with `inside` and `own`; None for a draft that no event has opened.
        user_roles: of the official; a step without `user` is open to all.
        settings: the authority's in this procedure (`setting.<name>` in `offer`); one that is not set reads `no`.

    Conditions on control values are left out: they are judged when the step is composed.
    """
    if view is None:
        view = View(case=CaseId(""), opening=None, state=procedure.start)
    candidates = procedure.steps.values() if view.moves else procedure.first_steps
    offers = []
    for step in candidates:
        role = _role(procedure, view, step, author)
        if role and (not step.user or step.user in user_roles):
            asked = _Asked(procedure, view, step, author, role, at, calendars)
            if asked.may(settings) and not _is_done(procedure, view, step, author):
                offers.append(Offer(step=step, role=role))
    return tuple(offers)


def compose(
    procedure: Procedure,
    view: View | None,
    step: Step,
    *,
    author: AuthorityId,
    role: str,
    control: Mapping[str, Value],
    content: Content,
    at: datetime,
    edition: int,
    salt: Callable[[], bytes],
    opening: Opening | None = None,
) -> Composed:
    """The next event of this author, counting on everything `view` holds.

    Args:
        view: folded with `inside` and `own`; None for the first event, which has an `opening`.
        at: now; pushed one millisecond behind the newest event seen, where a clock is slow.
        content: form -> field -> value; split into parts by audience here.
        salt: draws 16 random bytes.

    Does not judge: call `fold.refusal` and `forms.validate_step`.
    """
    scope = procedure.received_scope(role) if step.name == RECEIVED else step.scope
    lane = author if scope == "case" else f"{author}#{scope}"
    parts = {audience: Part(salt=salt(), content=split(step, audience, content)) for audience in step.layout}
    event = Event(
        step=step.name,
        role=role,
        author=author,
        seq=(view.used.get(lane, 0) if view else 0) + 1,
        at=later_than(view.newest if view else None, at),
        catalogue=edition,
        case=view.case if view else CaseId(""),
        after=view.head if view else EventId(""),
        scope=scope,
        seen=_seen(view, scope, author) if view else {},
        control={name: v if isinstance(v, str) else tuple(sorted(v)) for name, v in control.items()},
        parts={audience: commitment(part.salt, part.content) for audience, part in parts.items()},
        opening=opening,
    )
    return Composed(event=event, parts=parts)


def receipt(procedure: Procedure, view: View, author: AuthorityId, *, at: datetime, edition: int) -> Event | None:
    """The automatic `received` of an authority for all that `view` holds; None where it is no party.

    Taken in the role a deadline counts from, if it holds one.
    """
    held = [role for role in procedure.roles if author in view.holders(role)]
    if not held or not view.moves:
        return None
    role = next((role for role in held if procedure.received_scope(role) == "case"), held[0])
    composed = compose(
        procedure,
        view,
        procedure.received,
        author=author,
        role=role,
        control={},
        content={},
        at=at,
        edition=edition,
        salt=bytes,
    )
    return composed.event


def split(step: Step, audience: str, content: Content) -> Mapping[str, Mapping[str, object]]:
    """What of a step's content goes to one audience; forms without a value there are left out."""
    part: dict[str, Mapping[str, object]] = {}
    for form, keys in step.layout[audience].items():
        given = content.get(form, {})
        part[form] = dict(given) if form in (ANSWERS, COMMENTS) else {k: given[k] for k in keys if k in given}
    return {form: fields for form, fields in part.items() if fields}


def _seen(view: View, scope: Scope, author: AuthorityId) -> dict[Lane, int]:
    """Every lane an event of this scope may count on."""
    return {lane: seq for lane, seq in view.heads.items() if _may_name(lane, scope, author)}


def _may_name(lane: Lane, scope: Scope, author: AuthorityId) -> bool:
    of, _, lane_scope = lane.partition("#")
    match scope:
        case "case":
            return not lane_scope
        case "state":
            return not lane_scope or (lane_scope == "state" and state_of(AuthorityId(of)) == state_of(author))
        case _:
            return lane_scope != "receipt"


def _role(procedure: Procedure, view: View, step: Step, author: AuthorityId) -> str:
    """The role the author would take the step in; empty: none."""
    if view.state not in step.sources:
        return ""
    if not view.moves:
        return step.by[0]
    held = (role for role in step.by if author in view.holders(role))
    if step.moves and view.state == procedure.start:  # only the turn's role leaves the start state
        held = (role for role in held if role == procedure.states[view.state].turn)
    return next(held, "")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A step not taken yet: its conditions, as far as they do not wait for control values."""

    procedure: Procedure
    view: View
    step: Step
    author: AuthorityId
    role: str
    at: datetime
    calendars: Calendars

    def may(self, settings: Mapping[str, str]) -> bool:
        event = Event(step=self.step.name, role=self.role, author=self.author, seq=1, at=self.at, catalogue=0)
        words = Words(self.procedure, self.view, self.calendars, event, self.step)

        def look_up(word: str) -> Operand:
            return settings.get(word.removeprefix(_SETTING), "no") if word.startswith(_SETTING) else words(word)

        return all(holds(condition, look_up) for condition in self._now((*self.step.needs, *self.step.offer)))

    def _now(self, conditions: Iterable[Condition]) -> Iterable[Condition]:
        waits = self.step.control.keys()
        return (c for c in conditions if not any(word.rpartition(".")[2] in waits for word in c.words))


def _is_done(procedure: Procedure, view: View, step: Step, author: AuthorityId) -> bool:
    """Whether the author raised this step's flag already: where it is counted by move, since the last one."""
    if not step.flag:
        return False
    raised = view.flagged(procedure, step.flag, here=_counts_by_move(procedure, step.flag))
    return any(event.author == author for event in raised)


def _counts_by_move(procedure: Procedure, flag: str) -> bool:
    words = {word for step in procedure.steps.values() for condition in step.needs for word in condition.words}
    return bool(words & {f"here.{flag}", f"missing.{flag}"})
