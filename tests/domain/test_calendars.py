"""Periods as Regulation 1182/71 counts them, in the State's own days."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from node.domain.calendars import Calendar, last_day, parse_period, plain_end

ESTONIA = Calendar(
    state="EE",
    zone=ZoneInfo("Europe/Tallinn"),
    holidays={2026: frozenset([date(2026, 2, 24), date(2026, 12, 24), date(2026, 12, 25), date(2026, 12, 26)])},
)


@pytest.mark.parametrize(
    ("start", "period", "end", "why"),
    [
        ("2026-11-24", "7 d", "2026-12-01", "the day of the event is not counted"),
        ("2026-11-24", "14 d", "2026-12-08", "fourteen days"),
        ("2026-11-26", "3 d", "2026-11-30", "ends on a Sunday: moved to Monday"),
        ("2026-11-20", "2 d", "2026-11-24", "Saturday and Sunday: at least two working days"),
        ("2026-11-20", "3 d", "2026-11-24", "Monday only: at least two working days"),
        ("2026-11-20", "1 d", "2026-11-23", "one day needs one working day"),
        ("2026-11-20", "1 w", "2026-11-27", "the same weekday"),
        ("2026-01-31", "1 m", "2026-03-02", "the last of February is a Saturday"),
        ("2026-01-31", "3 m", "2026-04-30", "a month without that date: its last day"),
        ("2026-05-31", "6 m", "2026-11-30", "likewise"),
        ("2024-02-29", "1 y", "2025-02-28", "a leap day"),
        ("2026-11-20", "2 wd", "2026-11-24", "working days"),
        ("2026-02-23", "1 wd", "2026-02-25", "Independence Day is none"),
        ("2026-12-23", "1 d", "2026-12-28", "Christmas and the weekend behind it"),
    ],
)
def test_a_period_ends(start, period, end, why):
    found = last_day(date.fromisoformat(start), parse_period(period), ESTONIA, edition=0)
    assert found == date.fromisoformat(end), why


def test_retention_is_not_moved_to_a_working_day():
    assert plain_end(date(2026, 5, 28), parse_period("6 m")) == date(2026, 11, 28)


def test_a_day_ends_at_midnight_there():
    assert ESTONIA.end_of(date(2026, 11, 24)) == datetime(2026, 11, 24, 21, 59, 59, 999000, tzinfo=UTC)
    assert ESTONIA.end_of(date(2026, 7, 1)) == datetime(2026, 7, 1, 20, 59, 59, 999000, tzinfo=UTC)
    assert ESTONIA.day_of(datetime(2026, 11, 24, 22, 30, tzinfo=UTC)) == date(2026, 11, 25)


def test_years_published_later_do_not_move_dates_already_told():
    later = replace(ESTONIA, holidays={**ESTONIA.holidays, 2027: frozenset([date(2027, 2, 24)])}, since={2027: 5})
    start, period = date(2027, 2, 23), parse_period("1 wd")
    assert last_day(start, period, later, edition=4) == last_day(start, period, ESTONIA, edition=4) == date(2027, 2, 24)
    assert last_day(start, period, later, edition=5) == date(2027, 2, 25)


@pytest.mark.parametrize("text", ["", "7", "7d", "0 d", "-1 d", "7 days", "7  d", "1.5 m", "10000 d"])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(ValueError, match="period"):
        parse_period(text)


def test_every_state_has_five_years_of_holidays(shipped):
    assert len(shipped.calendars) == 31
    for state, calendar in shipped.calendars.items():
        assert set(calendar.holidays) >= set(range(2025, 2030)), state
        assert all(len(days) >= 5 for days in calendar.holidays.values()), state
        christmas = date(2026, 12, 25)
        assert not calendar.is_working_day(christmas, edition=0), state
