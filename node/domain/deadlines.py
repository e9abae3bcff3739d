"""Due dates, blocking and deletion: computed from events and calendars, never stored as facts, never sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from node.domain.calendars import Calendar, Calendars, Period, last_day, plain_end
from node.domain.events import RECEIVED, Event
from node.domain.procedures import Deadline, Procedure
from node.domain.view import View
from node.ids import State, state_of

UNION: Final = State("EU")  # retention runs in the calendar of the Union, so that all copies go on one day

_Start = tuple[datetime, date, int]  # when a period began, the day it is counted from, the edition of its calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A deadline that has started.

    `day` is the last day, in the calendar of `state`; `ends` its last millisecond, in UTC. `stopped`: the instant of
    the step that met it, None while it runs.
    """

    name: str
    began: datetime
    day: date
    ends: datetime
    state: State
    edition: int  # of the calendars, named by the event that started it
    stopped: datetime | None = None

    @property
    def is_running(self) -> bool:
        return self.stopped is None

    def is_overdue(self, at: datetime) -> bool:
        return self.is_running and at > self.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """When a copy of the case is to be blocked and deleted; None: not yet known, or never blocked."""

    block: datetime | None
    delete: datetime | None


def due_dates(procedure: Procedure, view: View, calendars: Calendars) -> Mapping[str, Due]:
    """Every deadline that has started, running or met, by name."""
    found = {name: due(procedure, view, name, calendars) for name in procedure.deadlines}
    return {name: value for name, value in found.items() if value}


def due(procedure: Procedure, view: View, name: str, calendars: Calendars) -> Due | None:
    """One deadline; None where it has not started, or nobody holds the role whose calendar it runs in."""
    deadline = procedure.deadlines.get(name)
    calendar = deadline and _calendar(deadline, procedure, view, calendars)
    if not deadline or not calendar:
        return None
    if deadline.date:
        return _on_date(deadline, procedure, view, calendar)
    started = _start(deadline, procedure, view, calendars)
    length = deadline.lengths.get(_length_key(deadline, view))
    if not started or not length:
        return None
    last = _extended(deadline, view, started, length, calendar)
    return _due(deadline, view, calendar, began=started[0], day=last, edition=started[2])


def keeping(procedure: Procedure, view: View, calendars: Calendars) -> Keeping:
    """Blocking and deletion of each copy (Reg. 1024/2012 Art. 14; not moved to working days)."""
    calendar = calendars.get(UNION)
    start = calendar and min(_kept_from(procedure, view, calendar), default=None)
    if not calendar or not start:
        return Keeping(block=None, delete=None)
    rule = procedure.retention
    return Keeping(
        block=calendar.end_of(plain_end(start, rule.block)) if rule.block else None,
        delete=calendar.end_of(plain_end(start, rule.delete)),
    )


def _kept_from(procedure: Procedure, view: View, calendar: Calendar) -> list[date]:
    days = []
    for word in procedure.retention.start:
        value = view.variables.get(word)
        if word == "closure" and view.closed_at:
            days.append(calendar.day_of(view.closed_at))
        elif isinstance(value, str):
            days.append(date.fromisoformat(value))
    return days


def _calendar(deadline: Deadline, procedure: Procedure, view: View, calendars: Calendars) -> Calendar | None:
    if deadline.calendar not in procedure.roles:
        return calendars.get(State(deadline.calendar))
    holder = view.roles.get(deadline.calendar)
    return calendars.get(state_of(holder)) if holder else None


def _length_key(deadline: Deadline, view: View) -> str:
    value = view.variables.get(deadline.by) if deadline.by else ""
    return value if isinstance(value, str) else ""


def _on_date(deadline: Deadline, procedure: Procedure, view: View, calendar: Calendar) -> Due | None:
    value = view.variables.get(deadline.date)
    setters = [e for e in view.moves if (s := procedure.step(e.step)) and deadline.date in s.set]
    if not setters or not isinstance(value, str):
        return None
    began = setters[-1]
    return _due(deadline, view, calendar, began=began.at, day=date.fromisoformat(value), edition=began.catalogue)


def _start(deadline: Deadline, procedure: Procedure, view: View, calendars: Calendars) -> _Start | None:
    found: list[_Start] = []
    for anchor in deadline.start:
        found += _occurrences(anchor, deadline, procedure, view, calendars)
        if found and not deadline.restart:
            return min(found)
    return max(found, default=None)


def _occurrences(
    anchor: str, deadline: Deadline, procedure: Procedure, view: View, calendars: Calendars
) -> list[_Start]:
    if anchor.startswith("due."):
        other = due(procedure, view, anchor.removeprefix("due."), calendars)
        return [(other.began, other.day, other.edition)] if other else []
    calendar = _calendar(deadline, procedure, view, calendars)
    assert calendar
    return [(e.at, calendar.day_of(e.at), e.catalogue) for e in _log(view) if _is(anchor, e)]


def _log(view: View) -> Iterator[Event]:
    """What counts for deadlines: not what only one State or authority sees, or nodes would count differently."""
    return (event for event in view.counting() if event.scope == "case")


def _is(anchor: str, event: Event) -> bool:
    if anchor == "*":
        return event.step != RECEIVED
    if anchor.startswith(f"{RECEIVED}."):
        return event.step == RECEIVED and event.role == anchor.removeprefix(f"{RECEIVED}.")
    return event.step == anchor


def _extended(deadline: Deadline, view: View, started: _Start, length: Period, calendar: Calendar) -> date:
    began, day, edition = started
    extension = deadline.extension
    taken = sum(1 for e in _log(view) if e.step == deadline.extended_by and e.at > began)
    times = min(taken, deadline.times)
    if not extension or not times:
        return last_day(day, length, calendar, edition=edition)
    # Each extension is counted from the end before it, unmoved, so that holidays are not counted twice.
    end = _unmoved(day, length, calendar, edition)
    for _ in range(times - 1):
        end = _unmoved(end, extension, calendar, edition)
    return last_day(end, extension, calendar, edition=edition)


def _unmoved(day: date, length: Period, calendar: Calendar, edition: int) -> date:
    return last_day(day, length, calendar, edition=edition) if length.unit == "wd" else plain_end(day, length)


def _due(deadline: Deadline, view: View, calendar: Calendar, *, began: datetime, day: date, edition: int) -> Due:
    stops = (e.at for e in _log(view) if e.step in deadline.stop and e.at > began)
    return Due(
        name=deadline.name,
        began=began,
        day=day,
        ends=calendar.end_of(day),
        state=calendar.state,
        edition=edition,
        stopped=min(stops, default=None),
    )
