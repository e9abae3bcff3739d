"""Lists: one row a case, read from columns that every change brings up to date; no part is opened for them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

from sqlalchemy.orm import Session

from node.casework import drafting
from node.casework.acting import check_reader
from node.casework.representing import authorities
from node.casework.showing import urgency, working_days_left
from node.casework.tools import Tools
from node.casework.views import CaseList, Counters, Due, Official, WorkItem, WorkList
from node.clock import parse_rfc3339, rfc3339
from node.domain import deadlines
from node.federation import outbox
from node.ids import AuthorityId, CaseNumber, state_of
from node.local_store import cases, drafts
from node.local_store.cases import CaseRow, StandingRow

MOST: Final = 200  # rows of one page
OPEN_SHOWN: Final = 2000  # open cases read for the work list
REQUEST: Final = "request"  # the kind of procedure that is one to one; all others are told to many


def work(tools: Tools, session: Session, official: Official) -> WorkList:
    """The open cases of all authorities the official acts for, by urgency, and counters. Raises NoAccess."""
    check_reader(official)
    ours = authorities(tools, official)
    rows = cases.standings(session, ours, open_only=True, limit=OPEN_SHOWN)
    current = [(standing, case) for standing, case in rows if standing.roles]
    items = _items(tools, session, current)
    kept = tuple(drafting.item(tools, row) for row in drafts.of_authorities(session, ours))
    return WorkList(
        overdue=_sorted(item for item in items if item.urgency == "overdue"),
        due_soon=_sorted(item for item in items if item.urgency == "soon"),
        later=_sorted(item for item in items if item.urgency == "later"),
        waiting=tuple(item for item in items if item.urgency == "waiting"),
        drafts=kept,
        counters=_counters([standing for standing, _ in current], items, len(kept)),
    )


def page(
    tools: Tools, session: Session, official: Official, *, kind: str, open_only: bool, after: str, limit: int
) -> CaseList:
    """One page of all cases, last changed first."""
    check_reader(official)
    limit = max(1, min(limit, MOST))
    ours = authorities(tools, official)
    rows = cases.standings(session, ours, kind=kind, open_only=open_only, before=_cursor(after), limit=limit + 1)
    items = tuple(_items(tools, session, rows[:limit]))
    last = rows[limit - 1][0] if len(rows) > limit else None
    return CaseList(items=items, more=f"{rfc3339(last.updated_at)}~{last.case_id}~{last.authority}" if last else "")


def _cursor(after: str) -> tuple[datetime, str, str] | None:
    """An unreadable cursor starts at the beginning."""
    at, _, rest = after.partition("~")
    case, _, authority = rest.partition("~")
    try:
        return (parse_rfc3339(at), case, authority) if case else None
    except ValueError:
        return None


def _items(tools: Tools, session: Session, rows: list[tuple[StandingRow, CaseRow]]) -> list[WorkItem]:
    undelivered = outbox.undelivered(session, [case.case_id for _, case in rows])
    return [_item(tools, standing, case, undelivered.get(case.case_id, 0)) for standing, case in rows]


def _item(tools: Tools, standing: StandingRow, case: CaseRow, undelivered: int) -> WorkItem:
    due = _due(tools, standing)
    other = AuthorityId(standing.other) if standing.other else None
    return WorkItem(
        authority=AuthorityId(standing.authority),
        authority_name=tools.name(AuthorityId(standing.authority)),
        number=CaseNumber(case.number or ""),
        procedure=case.procedure,
        kind=case.kind,
        area=case.area,
        state=case.state,
        final=standing.final,
        our_roles=tuple(role for role in standing.roles.split(",") if role),
        our_turn=standing.our_turn,
        other=other,
        other_name=tools.name(other) if other else "",
        others=standing.others,
        due=due,
        urgency=(due.urgency if due else "later") if standing.our_turn else "waiting",
        facts=json.loads(standing.facts),
        updated_at=standing.updated_at,
        undelivered=undelivered,
    )


def _due(tools: Tools, standing: StandingRow) -> Due | None:
    if standing.due_at is None:
        return None
    day, now = date.fromisoformat(standing.due_day), tools.clock.now()
    calendar = tools.catalogue.calendars.get(state_of(AuthorityId(standing.authority)))
    whole = deadlines.Due(
        name=standing.due_name,
        began=standing.updated_at,
        day=day,
        ends=standing.due_at,
        state=state_of(AuthorityId(standing.authority)),
        edition=tools.catalogue.edition,
    )
    left = working_days_left(whole, calendar, now) if calendar else (day - now.date()).days
    return Due(
        name=standing.due_name,
        on=day,
        at=standing.due_at,
        role=standing.due_role,
        urgency=urgency(standing.due_at, left, now),
        working_days_left=left,
    )


def _sorted(items: Iterable[WorkItem]) -> tuple[WorkItem, ...]:
    """By due date; those without one last, newest first."""
    return tuple(sorted(items, key=lambda item: (item.due is None, item.due.at if item.due else item.updated_at)))


def _counters(standings: list[StandingRow], items: list[WorkItem], drafts_kept: int) -> Counters:
    requests = [s for s, item in zip(standings, items, strict=True) if item.kind == REQUEST and s.our_turn]
    return Counters(
        to_accept=sum(not s.opened and not s.acted for s in requests),
        to_answer=sum(not s.opened and s.acted for s in requests),
        to_check=sum(s.opened for s in requests),
        overdue=sum(item.urgency == "overdue" for item in items),
        alerts=sum(item.kind != REQUEST and not s.opened for s, item in zip(standings, items, strict=True)),
        drafts=drafts_kept,
    )
