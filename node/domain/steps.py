"""What an authority may do now, and composing the event that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from node.domain.calendars import Calendars
from node.domain.events import Event, Opening, Part, Value
from node.domain.fold import View
from node.domain.forms import Content
from node.domain.procedures import Procedure, Step
from node.ids import AuthorityId


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
        settings: the State's own (`setting.<name>` in `offer`); one that is not set reads `no`.

    Conditions on control values are left out: they are judged when the step is composed.
    """
    raise NotImplementedError


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
        at: now; pushed one millisecond behind the newest event seen, where a clock is slow.
        content: form -> field -> value; split into parts by audience here.
        salt: draws 16 random bytes.
        opening: for the first event (view None).

    Does not judge: call `fold.refusal` and `forms.validate_step`.
    """
    raise NotImplementedError
