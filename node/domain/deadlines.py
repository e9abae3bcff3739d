"""Due dates, blocking and deletion: computed from events and calendars, never stored as facts, never sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from node.domain.calendars import Calendars
from node.domain.fold import View
from node.domain.procedures import Procedure
from node.ids import State


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
    raise NotImplementedError


def keeping(procedure: Procedure, view: View, calendars: Calendars) -> Keeping:
    """Blocking and deletion of each copy (Reg. 1024/2012 Art. 14; not moved to working days)."""
    raise NotImplementedError
