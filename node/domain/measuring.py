"""Figures of cases, as the Single Market Scoreboard publishes them: counted at each node, without personal data.

A workflow says in `[measures]` which of its steps mean what; a case is counted once, at the node of the authority that
was asked, in the month in which it was asked. Counters of a month are counted anew until its cases are erased, and only
ever added up: whoever holds the counters of all nodes has the figures of the Union.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from node.domain.calendars import Calendars
from node.domain.deadlines import Due, due_dates
from node.domain.events import Event, Part
from node.domain.procedures import Measures, Procedure
from node.domain.view import View
from node.ids import AuthorityId, EventId, State, state_of

Colour = Literal["green", "yellow", "red"]

COUNTERS: Final = (
    "asked",
    "acceptance-due",  # accepted or refused, or the target has passed
    "accepted-in-time",
    "answers",
    "answer-days",
    "answered-1-week",
    "answered-2-weeks",
    "answered-4-weeks",
    "answered-8-weeks",
    "dated",  # answered or overdue, where a date was agreed
    "on-time",
    "overdue",  # open now, and its date has passed
    "refusals",
    "forwards",
    "splits",
    "referrals",
    "closures",
    "closing-days",  # from answer to closure
    "timeliness-rated",
    "timeliness-negative",
    "effort-rated",
    "effort-negative",
)
_WEEKS: Final = {7: "answered-1-week", 14: "answered-2-weeks", 28: "answered-4-weeks", 56: "answered-8-weeks"}


class Group(NamedTuple):
    """What figures are told apart by. `version`: of the procedure; a change of its form may change the figures."""

    month: str  # YYYY-MM, in UTC, in which the authority was first asked
    area: str
    procedure: str
    version: int
    asking: State
    asked: State


def measured(
    procedure: Procedure,
    view: View,
    calendars: Calendars,
    *,
    ours: frozenset[AuthorityId],
    parts: Mapping[tuple[EventId, str], Part],
    at: datetime,
) -> tuple[Group, Counter[str]] | None:
    """What one case adds to the figures; None for one that is not counted here.

    Args:
        view: the case as all its nodes see it.
        ours: authorities of this node.
        parts: readable parts by event and audience; ratings are read from them.
        at: now; what is overdue depends on it.
    """
    measures = procedure.measures
    if not measures or view.roles.get(measures.of) not in ours:
        return None
    asked = [e for e in view.moves if e.step in measures.sent]
    if not asked:
        return None
    found: Counter[str] = Counter({"asked": 1})
    for counter, steps in (
        ("refusals", measures.refused), ("forwards", measures.forwarded), ("splits", measures.split),
        ("referrals", measures.referred),
    ):  # fmt: skip
        found[counter] = sum(1 for event in view.moves if event.step in steps)
    due = due_dates(procedure, view, calendars)
    _accepted(found, due.get(measures.accept_by), at)
    _answered(found, measures, view, asked[0])
    _dated(found, measures, view, due.get(measures.answer_by), at)
    _rated(found, measures, view, parts)
    group = Group(
        month=f"{asked[0].at:%Y-%m}",
        area=procedure.area,
        procedure=procedure.id,
        version=procedure.version,
        asking=asked[0].state,
        asked=state_of(view.roles[measures.of]),
    )
    return group, +found


def _accepted(found: Counter[str], due: Due | None, at: datetime) -> None:
    if due and (due.stopped or due.is_overdue(at)):
        found["acceptance-due"] = 1
        found["accepted-in-time"] = int(due.stopped is not None and due.stopped <= due.ends)


def _answer(measures: Measures, view: View) -> datetime | None:
    return next((event.at for event in view.moves if event.step in measures.answered), None)


def _answered(found: Counter[str], measures: Measures, view: View, asked: Event) -> None:
    answered = _answer(measures, view)
    if answered:
        days = (answered - asked.at) / timedelta(days=1)
        found["answers"], found["answer-days"] = 1, round(days)
        found.update({counter: 1 for within, counter in _WEEKS.items() if days <= within})
    if view.closed_at:
        found["closures"] = 1
        found["closing-days"] = round((view.closed_at - answered) / timedelta(days=1)) if answered else 0


def _dated(found: Counter[str], measures: Measures, view: View, due: Due | None, at: datetime) -> None:
    answered = _answer(measures, view)
    if due:
        found["dated"] = int(bool(answered) or due.is_overdue(at))
        found["on-time"] = int(answered is not None and answered <= due.ends)
        found["overdue"] = int(due.is_overdue(at) and not view.closed_at)


def _rated(found: Counter[str], measures: Measures, view: View, parts: Mapping[tuple[EventId, str], Part]) -> None:
    read = [part.content for event in view.moves for name in event.parts if (part := parts.get((event.id, name)))]
    for about, field in measures.ratings.items():
        form, _, key = field.partition(".")
        given = [codes.get(key) for content in read if isinstance(codes := content.get(form), Mapping)]
        if rated := [code for code in given if code]:
            found[f"{about}-rated"] = 1
            found[f"{about}-negative"] = int(rated[-1] in measures.negative)


# --- the scoreboard ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One of the five indicators of a State: its value, and the colour published for it (None: nothing to count)."""

    number: int
    value: float | None  # per cent, or days for the second
    colour: Colour | None

    @property
    def score(self) -> int:
        return {"green": 1, "red": -1}.get(self.colour or "", 0)


def indicators(counters: Mapping[str, int]) -> tuple[Indicator, ...]:
    """The five indicators of the Single Market Scoreboard, chapter on the Internal Market Information System."""
    days = counters.get("answer-days", 0) / counters["answers"] if counters.get("answers") else None
    return (
        _high(1, _share(counters, "accepted-in-time", "acceptance-due")),
        Indicator(number=2, value=days, colour=None if days is None else _colour(days < 16, days <= 25)),
        _high(3, _share(counters, "on-time", "dated")),
        _low(4, _share(counters, "timeliness-negative", "timeliness-rated")),
        _low(5, _share(counters, "effort-negative", "effort-rated")),
    )


def overall(found: Iterable[Indicator]) -> Colour | None:
    """Good from 2 on, poor from -2 down; None where nothing was counted."""
    coloured = [indicator for indicator in found if indicator.colour]
    total = sum(indicator.score for indicator in coloured)
    return _colour(total >= 2, total > -2) if coloured else None


def added(rows: Iterable[tuple[Group, Mapping[str, int]]], *, by: Iterable[str]) -> dict[Group, Counter[str]]:
    """Counters added up over all that is not named in `by` (fields of Group; the others become empty)."""
    keep = frozenset(by)
    found: dict[Group, Counter[str]] = {}
    for group, counters in rows:
        blank = {name: type(getattr(group, name))() for name in Group._fields if name not in keep}
        found.setdefault(group._replace(**blank), Counter()).update(counters)
    return found


def _share(counters: Mapping[str, int], part: str, whole: str) -> float | None:
    return 100 * counters.get(part, 0) / counters[whole] if counters.get(whole) else None


def _high(number: int, value: float | None) -> Indicator:
    """Per cent that should be high: green from 80 on, red below 60."""
    return Indicator(number=number, value=value, colour=None if value is None else _colour(value >= 80, value >= 60))


def _low(number: int, value: float | None) -> Indicator:
    """Per cent of negative ratings: green below 5, red from 15 on."""
    return Indicator(number=number, value=value, colour=None if value is None else _colour(value < 5, value < 15))


def _colour(is_green: bool, is_yellow: bool) -> Colour:  # noqa: FBT001  # two questions in their order
    return "green" if is_green else "yellow" if is_yellow else "red"
