"""What one request adds to the figures, and which colours the figures of a State have."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from node.domain.events import Part
from node.domain.measuring import COUNTERS, Group, added, indicators, measured, overall
from node.ids import AuthorityId, State

FR, RO, RO2 = "FR:schools", "RO:ministry", "RO:university"
ASK = {"to": RO, "questions": ["Q1", "Q3"], "wanted": "2026-12-10", "urgency": "normal"}
OURS = frozenset(map(AuthorityId, (RO, RO2)))


@pytest.fixture
def case(play):
    return play("professional-qualifications/information-request")


def figures(case, *, ours=OURS, parts=None, at=None):
    found = measured(
        case.procedure, case.view(), case.definitions.calendars, ours=ours, parts=parts or {}, at=at or case.at
    )
    return found and (found[0], dict(found[1]))


def test_a_request_is_counted_where_it_was_asked_and_nowhere_else(case):
    case.take("send", FR, "requesting", ASK)
    group, counters = figures(case)
    assert group == Group(
        month="2026-11",
        area="professional-qualifications",
        procedure="professional-qualifications/information-request",
        version=1,
        asking=State("FR"),
        asked=State("RO"),
    )
    assert counters == {"asked": 1}
    assert figures(case, ours=frozenset([AuthorityId(FR)])) is None


def test_a_request_accepted_on_the_third_day_and_answered_before_the_agreed_date_is_in_time(case):
    case.take("send", FR, "requesting", ASK)
    case.take("received", RO, "responding")
    case.wait(days=2)
    case.take("accept", RO, "responding", {"date": "2026-12-15"})
    case.wait(days=7)
    case.take("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    _, counters = figures(case)
    assert counters == {
        "asked": 1, "acceptance-due": 1, "accepted-in-time": 1, "answers": 1, "answer-days": 9, "dated": 1,
        "on-time": 1, "answered-2-weeks": 1, "answered-4-weeks": 1, "answered-8-weeks": 1,
    }  # fmt: skip


def test_the_date_that_the_responder_proposed_is_the_one_that_counts(case):
    """The requester wanted the answer by 10 December; 20 December was agreed."""
    case.take("send", FR, "requesting", ASK)
    case.take("received", RO, "responding")
    case.take("accept", RO, "responding", {"date": "2026-12-20"})
    answered = datetime(2026, 12, 18, 9, tzinfo=UTC)
    case.wait(days=(answered - case.at) / timedelta(days=1))
    case.take("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    assert figures(case)[1]["on-time"] == 1


def test_a_request_that_nobody_accepts_is_missed_once_its_target_has_passed(case):
    case.take("send", FR, "requesting", ASK)
    assert "acceptance-due" not in figures(case, at=case.at + timedelta(days=6))[1]
    late = figures(case, at=case.at + timedelta(days=30))[1]
    assert (late["acceptance-due"], late.get("accepted-in-time", 0)) == (1, 0)
    assert (late["dated"], late.get("on-time", 0), late["overdue"]) == (1, 0, 1)


def test_forwarding_refusing_and_referring_are_counted(case):
    case.take("send", FR, "requesting", ASK)
    case.take("received", RO, "responding")
    case.take("forward", RO, "responding", {"to": RO2})
    case.take("refuse", RO2, "responding")
    case.take("refer", FR, "requesting", {"coordinator": "FR:coordinator"})
    _, counters = figures(case)
    assert (counters["forwards"], counters["refusals"], counters["referrals"]) == (1, 1, 1)


def test_the_counterparts_rating_is_read_from_the_survey(case):
    case.take("send", FR, "requesting", ASK)
    case.take("received", RO, "responding")
    case.take("accept", RO, "responding", {"date": "2026-12-15"})
    case.take("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    closing = case.take("close", FR, "requesting")
    parts = {
        (closing.id, "everyone"): Part(salt=bytes(16), content={"survey": {"timeliness": "poor", "effort": "good"}})
    }
    assert "timeliness-rated" not in figures(case)[1]
    counters = figures(case, parts=parts)[1]
    assert (counters["timeliness-rated"], counters["timeliness-negative"]) == (1, 1)
    assert (counters["effort-rated"], counters.get("effort-negative", 0)) == (1, 0)
    assert counters["closures"] == 1
    assert set(counters) <= set(COUNTERS)


@pytest.mark.parametrize(
    ("counters", "colours", "whole"),
    [
        ({}, [None] * 5, None),
        (  # domain example: Romania 2018, all green
            {"acceptance-due": 100, "accepted-in-time": 89, "answers": 100, "answer-days": 1400, "dated": 100,
             "on-time": 92, "timeliness-rated": 100, "timeliness-negative": 4, "effort-rated": 100, "effort-negative": 4},
            ["green"] * 5, "green",
        ),
        (  # the limits themselves
            {"acceptance-due": 100, "accepted-in-time": 60, "answers": 1, "answer-days": 16, "dated": 100,
             "on-time": 79, "timeliness-rated": 100, "timeliness-negative": 5, "effort-rated": 100, "effort-negative": 14},
            ["yellow"] * 5, "yellow",
        ),
        (
            {"acceptance-due": 100, "accepted-in-time": 59, "answers": 1, "answer-days": 26, "dated": 100,
             "on-time": 59, "timeliness-rated": 100, "timeliness-negative": 15, "effort-rated": 20, "effort-negative": 3},
            ["red"] * 5, "red",
        ),
        ({"acceptance-due": 10, "accepted-in-time": 8, "answers": 2, "answer-days": 2}, ["green", "green", None, None, None], "green"),
    ],
)  # fmt: skip
def test_colours_are_those_that_were_published(counters, colours, whole):
    found = indicators(counters)
    assert [indicator.colour for indicator in found] == colours
    assert overall(found) == whole


def test_figures_of_nodes_are_added_up_by_what_is_asked_for():
    rows = [
        (Group("2026-11", "a", "a/x", 1, State("FR"), State("RO")), Counter({"asked": 2, "answers": 1})),
        (Group("2026-12", "a", "a/x", 1, State("EE"), State("RO")), Counter({"asked": 3})),
        (Group("2026-12", "a", "a/y", 2, State("EE"), State("FR")), Counter({"asked": 5})),
    ]
    by_state = added(rows, by=("asked",))
    assert {group.asked: counters["asked"] for group, counters in by_state.items()} == {"RO": 5, "FR": 5}
    assert sum(added(rows, by=()).popitem()[1].values()) == 11
