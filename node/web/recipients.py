"""Choosing the authorities that a step names: all that come into question where they are few, a search where not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from node.casework.tools import COORDINATOR
from node.casework.views import CaseView, Offer
from node.directory import Directory
from node.directory.model import Authority
from node.domain.procedures import Control, Procedure
from node.errors import ImiError
from node.ids import AuthorityId, State, parse_authority, state_of
from node.web.wording import Words

FEW: Final = 12  # so many are shown without a search
FEW_TICKS: Final = 60  # where several may be named
FOUND: Final = 20
MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was searched for."""

    words: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One control of authorities, as a page shows it; options are (id, name, small print)."""

    control: str
    name: str
    label: Markup
    hint: Markup | str
    multiple: bool
    required: bool
    options: Sequence[tuple[str, Markup, Markup]]
    chosen: tuple[str, ...]
    asked: Asked
    states: Sequence[tuple[str, str]]  # to narrow a search; empty: no search is needed
    has_more: bool
    is_partial: bool  # none has all the words


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """The choices of an offer, for one official."""

    words: Words
    directory: Directory
    procedure: Procedure
    offer: Offer
    ours: AuthorityId
    case: CaseView | None

    def choice(self, control: Control, chosen: Iterable[str], asked: Asked) -> Choice:
        """The authorities for a control: those chosen first, then those found. Reads the directory: run it on a thread."""
        linked = self._linked(control)
        few = self._few(control)
        found, more, is_partial = (few, False, False) if few is not None else self._search(control, asked)
        found = [*linked, *(a for a in found if a not in linked)]
        kept = [a for name in chosen if (a := self._get(name)) is not None]
        shown = {a.id: a for a in (*kept, *found)} if few is None else {a.id: a for a in (*found, *kept)}
        states = sorted(set(self._states(control))) if few is None else ()
        return Choice(
            control=control.name,
            name=f"c.{control.name}",
            label=self.words.flow(self.procedure, "control", control.name),
            hint=self.words.flow_help(self.procedure, "control", control.name),
            multiple=control.type == "authorities",
            required=not control.optional,
            options=[self._option(a, is_linked=a in linked) for a in shown.values()],
            chosen=tuple(a.id for a in kept),
            asked=asked,
            states=sorted(((s, self.words.plain(f"list.country.{s}")) for s in states), key=lambda pair: pair[1]),
            has_more=more,
            is_partial=is_partial,
        )

    def all(self, control: Control) -> list[str]:
        """Every authority a control may name, where they are few."""
        return [a.id for a in self._few(control) or ()]

    def fits(self, control: Control, authority: Authority) -> bool:
        """Whether an authority may be named, as far as the directory and the step's conditions on States tell."""
        return self._may(control, authority) and bool(self._roles(authority) & {self._role(control)})

    def _role(self, control: Control) -> str:
        return self.offer.recipients.get(control.name, "")

    def _roles(self, authority: Authority) -> set[str]:
        """Directory roles in this procedure; the empty one stands for any."""
        names = (self.procedure.area, self.procedure.id)
        held = {role for name in names for role in authority.roles.get(name, ())}
        return {*held, ""} if held else set()

    def _few(self, control: Control) -> list[Authority] | None:
        role = self._role(control)
        if not role:
            return None
        scopes = (self.procedure.area, self.procedure.id)
        state = self._only_state(control)
        limit = FEW_TICKS if control.type == "authorities" else FEW
        found = {a.id: a for scope in scopes for a in self.directory.with_role(scope, role, state)}
        fitting = [a for a in found.values() if self._may(control, a)]
        return sorted(fitting, key=lambda a: (a.state, a.name)) if len(fitting) <= limit else None

    def _search(self, control: Control, asked: Asked) -> tuple[list[Authority], bool, bool]:
        state = self._only_state(control) or (State(asked.state) if asked.state else None)
        role = self._role(control)
        scope = f"{self.procedure.area}/{role}" if role else None
        result = self.directory.search(asked.words, state=state, role=scope, limit=MOST)
        found = [
            hit.authority for hit in result.hits if self._may(control, hit.authority) and self._roles(hit.authority)
        ]
        return found[:FOUND], result.has_more or len(found) > FOUND, result.partial and bool(found)

    def _linked(self, control: Control) -> list[Authority]:
        """For a control that names coordinators: those linked to the authority acted for, those of the area first."""
        ours = self._get(self.ours) if self._role(control) == COORDINATOR else None
        named = ours.coordinators_for("request", self.procedure.area) if ours else ()
        found = [a for name in named if (a := self._get(name)) is not None]
        return [a for a in found if self._may(control, a) and self._roles(a)]

    def _states(self, control: Control) -> Iterable[State]:
        only = self._only_state(control)
        role = self._role(control)
        return {a.state for a in self.directory.with_role(self.procedure.area, role, only) if self._may(control, a)}

    def _only_state(self, control: Control) -> State | None:
        """The one State a condition of the step allows, if one does."""
        for condition in self.offer.step.needs:
            if condition.left == f"state.{control.name}" and condition.operator == "=":
                return self._state_of(condition.right)
        return None

    def _may(self, control: Control, authority: Authority) -> bool:
        """Whether the step's conditions on this control let the authority be named."""
        for condition in self.offer.step.needs:
            if condition.left == f"state.{control.name}":
                state = self._state_of(condition.right)
                if state and (authority.state == state) != (condition.operator == "="):
                    return False
            if (
                condition.left == control.name
                and condition.operator == "!="
                and authority.id in self._holders(condition.right)
            ):
                return False
        return True

    def _state_of(self, word: str) -> State | None:
        """The State of `state.author` or of `state.<role>`."""
        name = word.removeprefix("state.")
        if name == "author":
            return state_of(self.ours)
        return next((state_of(authority) for authority in self._holders(name)), None)

    def _holders(self, role: str) -> list[AuthorityId]:
        return [party.authority for party in self.case.parties if role in party.roles] if self.case else []

    def _get(self, name: str) -> Authority | None:
        try:
            return self.directory.get(parse_authority(name))
        except ImiError:  # it is not shown; taking the step says what is wrong
            return None

    def _option(self, authority: Authority, *, is_linked: bool = False) -> tuple[str, Markup, Markup]:
        name, lang = authority.name_in(self.words.lang)
        shown = Markup('<span lang="{}">{}</span>').format(lang, name)
        country = self.words.say(f"list.country.{authority.state}")
        city = authority.address.get("city", "")
        official = authority.name if authority.name != name else ""
        parts = (
            self.words.say("cases.linked-coordinator") if is_linked else "",
            country,
            city,
            self._official(authority, official),
            self._handled_by(authority),
        )
        small = Markup(" · ").join(part for part in parts if part)
        return authority.id, shown, small

    def _handled_by(self, authority: Authority) -> Markup:
        """Who acts for a body without users: whoever asks it should know with whom they deal."""
        coordinator = self._get(authority.represented_by) if authority.represented_by else None
        if coordinator is None:
            return Markup("")
        name, lang = coordinator.name_in(self.words.lang)
        return self.words.say("cases.handled-by", name=Markup('<span lang="{}">{}</span>').format(lang, name))

    def _official(self, authority: Authority, name: str) -> Markup:
        return Markup('<span lang="{}">{}</span>').format(authority.name_lang, name) if name else Markup("")
