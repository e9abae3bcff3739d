"""Periods and calendars: Regulation (EEC, Euratom) No 1182/71, Articles 2 and 3.

The day of the event is not counted; a period ends with its last day, in the zone of the State it binds; if that day
is a Saturday, Sunday or public holiday it ends with the next working day (not for retention); a period of two days
or more includes at least two working days.
"""

from __future__ import annotations

import calendar as gregorian
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from node.ids import State

Unit = Literal["d", "wd", "w", "m", "y"]

_PERIOD: Final = re.compile(r"([1-9][0-9]{0,3}) (d|wd|w|m|y)")
_SATURDAY: Final = 5
_MAX_YEARS: Final = 100  # so that no date overflows


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time in days, working days, weeks, months or years."""

    count: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.count} {self.unit}"


def parse_period(text: str) -> Period:
    """`10 wd`, `6 m`; ValueError for anything else."""
    found = _PERIOD.fullmatch(text)
    if not found or (found[2] == "y" and int(found[1]) > _MAX_YEARS):
        raise ValueError(f"{text!r} is not a period: a number and d, wd, w, m or y (at most {_MAX_YEARS})")
    return Period(int(found[1]), found[2])  # type: ignore[arg-type]  # the pattern admits the five units only


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A State's zone and public holidays, by year.

    Published years never change. `since` names the edition that first published a year, where that is not the first:
    a due date uses what was published when its period started, so that all nodes count alike whatever they hold now.
    """

    state: State
    zone: ZoneInfo
    holidays: Mapping[int, frozenset[date]]
    since: Mapping[int, int] = field(default_factory=dict)

    def is_working_day(self, day: date, *, edition: int) -> bool:
        if day.weekday() >= _SATURDAY:
            return False
        return self.since.get(day.year, 0) > edition or day not in self.holidays.get(day.year, ())

    def day_of(self, at: datetime) -> date:
        """The day an instant falls on there."""
        return at.astimezone(self.zone).date()

    def end_of(self, day: date) -> datetime:
        """The last millisecond of a day there, in UTC."""
        midnight = datetime.combine(day + timedelta(days=1), time(), self.zone)
        return midnight.astimezone(UTC) - timedelta(milliseconds=1)


Calendars = Mapping[State, Calendar]


def last_day(start: date, period: Period, calendar: Calendar, *, edition: int) -> date:
    """The last day of a period whose event happened on `start`, moved on to a working day."""
    if period.unit == "wd":
        return _working_days_after(start, period.count, calendar, edition)
    end = plain_end(start, period)
    while not calendar.is_working_day(end, edition=edition):
        end += timedelta(days=1)
    # Art. 3(5): a period of two days or more includes at least two working days; only a short one can lack them.
    if (period.unit, period.count) != ("d", 1):
        end = max(end, _working_days_after(start, 2, calendar, edition))
    return end


def plain_end(start: date, period: Period) -> date:
    """The last day of a period, whatever day it is: for retention, and before it is moved on."""
    match period.unit:
        case "d" | "wd":
            return start + timedelta(days=period.count)
        case "w":
            return start + timedelta(weeks=period.count)
        case "m":
            return _months_after(start, period.count)
        case "y":
            return _months_after(start, 12 * period.count)


def _months_after(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    # Art. 3(2)(c): the same date; in a month without it, the last day of the month.
    return date(year, month + 1, min(start.day, gregorian.monthrange(year, month + 1)[1]))


def _working_days_after(start: date, count: int, calendar: Calendar, edition: int) -> date:
    day = start
    while count:
        day += timedelta(days=1)
        count -= calendar.is_working_day(day, edition=edition)
    return day
