"""Whether an event was allowed: judged by its past only, once, by anybody, for ever."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from node.domain.calendars import Calendars
from node.domain.conditions import Condition, Operand, holds
from node.domain.deadlines import due
from node.domain.events import RECEIVED, Event, Value
from node.domain.procedures import Control, Procedure, Step
from node.domain.view import View
from node.ids import AuthorityId, state_of

YEARS: Final = range(1900, 2201)  # of dates in control data, so that no period counted from one overflows

_AUTHORITY = re.compile(r"[A-Z]{2}:[a-z0-9-]{1,40}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # fromisoformat takes other forms too
_CASE = re.compile(r"[0-9a-f]{64}")


def refusal(procedure: Procedure, past: View, event: Event, calendars: Calendars) -> str:
    """Why an event is not allowed after `past`; empty if it is.

    Reasons: unknown-step, not-first, definition, scope, state, role, role-not-held, turn, clock, control, parts,
    seen, condition. Not judged here but at the door: signature, whether the node may sign for the authority,
    access to the procedure, clock skew.
    """
    step = procedure.step(event.step)
    if step is None:
        return "unknown-step"
    return (
        _opening_fault(procedure, past, event, step)
        or _place_fault(procedure, past, event, step)
        or _shape_fault(procedure, event, step)
        or ("condition" if unmet(procedure, past, event, step, calendars) else "")
    )


def unmet(procedure: Procedure, past: View, event: Event, step: Step, calendars: Calendars) -> tuple[Condition, ...]:
    """The conditions of a step that do not hold for an event."""
    look_up = Words(procedure, past, calendars, event, step)
    return tuple(condition for condition in step.needs if not holds(condition, look_up))


def _opening_fault(procedure: Procedure, past: View, event: Event, step: Step) -> str:
    if bool(past.moves) == bool(event.opening):
        return "not-first"
    if not event.opening:
        return ""
    if not procedure.opens(step):
        return "not-first"
    opening = event.opening
    same = (opening.procedure, opening.version, opening.digest) == (procedure.id, procedure.version, procedure.digest)
    return "" if same else "definition"


def _place_fault(procedure: Procedure, past: View, event: Event, step: Step) -> str:
    scope = procedure.received_scope(event.role) if step.name == RECEIVED else step.scope
    if event.scope != scope:
        return "scope"
    if past.state not in step.sources:
        return "state"
    if event.role not in step.by:
        return "role"
    return _turn_fault(procedure, past, event, step) if past.moves else ""  # the first event takes its role


def _turn_fault(procedure: Procedure, past: View, event: Event, step: Step) -> str:
    if event.author not in past.holders(event.role):
        return "role-not-held"
    if step.moves and past.state == procedure.start and event.role != procedure.states[past.state].turn:
        return "turn"
    return "" if event.at > past.moves[-1].at else "clock"


def _shape_fault(procedure: Procedure, event: Event, step: Step) -> str:
    if not _control_fits(procedure, event, step):
        return "control"
    if event.parts.keys() != step.layout.keys():
        return "parts"
    # What others do not see may not decide whether this is allowed.
    if event.scope == "case" and any("#" in lane for lane in event.seen):
        return "seen"
    return ""


def _control_fits(procedure: Procedure, event: Event, step: Step) -> bool:
    given, declared = event.control, step.control
    if not given.keys() <= declared.keys():
        return False
    return all(
        _value_fits(procedure, control, given[name]) if name in given else control.optional
        for name, control in declared.items()
    )


def _value_fits(procedure: Procedure, control: Control, value: Value) -> bool:
    if isinstance(value, tuple):
        return len(set(value)) == len(value) and _values_fit(procedure, control, value)
    match control.type:
        case "authority":
            return bool(_AUTHORITY.fullmatch(value))
        case "date":
            return is_control_date(value)
        case "case":
            return bool(_CASE.fullmatch(value))
        case _:
            return value in control.choices


def _values_fit(procedure: Procedure, control: Control, values: tuple[str, ...]) -> bool:
    if control.type == "authorities":
        return all(_AUTHORITY.fullmatch(value) for value in values)
    return control.type == "keys" and procedure.questions.keys() >= set(values)


def is_control_date(value: str) -> bool:
    """Whether a text is a date an event may carry: YYYY-MM-DD, 1900 to 2200."""
    try:
        return bool(_DATE.fullmatch(value)) and date.fromisoformat(value).year in YEARS
    except ValueError:
        return False


class Words:
    """What the words of a condition stand for, where `event` is judged after `past`."""

    def __init__(self, procedure: Procedure, past: View, calendars: Calendars, event: Event, step: Step) -> None:
        self.procedure, self.past, self.calendars = procedure, past, calendars
        self.event, self.step = event, step

    def __call__(self, word: str) -> Operand:
        head, _, rest = word.partition(".")
        return self._counted(head, rest) if rest else self._plain(word)

    def _counted(self, head: str, rest: str) -> Operand:
        match head:
            case "due":
                found = due(self.procedure, self.past, rest, self.calendars)
                return found.ends if found and found.is_running else None
            case "state":
                return _states(self._plain(rest))
            case "size":
                return _size(self._plain(rest))
            case "missing":
                return len(self.past.missing(self.procedure, rest))
            case _:
                return len({e.author for e in self.past.flagged(self.procedure, rest, here=head == "here")})

    def _plain(self, word: str) -> Operand:
        if word.isdecimal():
            return int(word)
        if word in self.step.control:
            return _operand(self.event.control.get(word))
        if word in self.procedure.variables:
            return _operand(self.past.variables.get(word))
        if role := self.procedure.roles.get(word):
            return self.past.holders(word) if role.many else self.past.roles.get(word)
        if word == "at":
            return self.event.at
        return self.event.author if word == "author" else word


def _operand(value: Value | None) -> Operand:
    return frozenset(value) if isinstance(value, tuple) else value


def _states(value: Operand) -> Operand:
    if value is None:
        return None
    names = value if isinstance(value, frozenset) else [str(value)]
    return frozenset(state_of(AuthorityId(name)) for name in names)


def _size(value: Operand) -> Operand:
    if value is None:
        return 0
    return len(value) if isinstance(value, frozenset) else 1
