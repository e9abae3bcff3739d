"""A case as one official may see it: the fold, with the contents that official's authority may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from node.casework import acting, drafting, representing
from node.casework.delivering import Deliveries
from node.casework.loading import Case
from node.casework.settling import due_role, facts, is_blocked
from node.casework.views import (
    AnswerView,
    CaseView,
    Due,
    Entry,
    EventState,
    FieldView,
    File,
    FormSpec,
    FormView,
    Offer,
    Official,
    PartState,
    PartyView,
    QuestionView,
    Urgency,
    Value,
)
from node.domain import deadlines
from node.domain.calendars import Calendar
from node.domain.events import RECEIVED, Event, Part
from node.domain.fold import View, readable, received_by
from node.domain.forms import documents, validate_part
from node.domain.handover import HAND_OVER
from node.domain.procedures import ANSWERS, COMMENTS, Field, Procedure
from node.domain.steps import Offer as StepOffer
from node.ids import AuthorityId, CaseNumber, EventId, state_of
from node.local_store import drafts, files
from node.local_store.cases import StoredEvent

SOON: Final = 2  # working days left


@dataclass(slots=True)
class Shown:
    """A case view, and whether making it opened personal data."""

    view: CaseView
    personal: tuple[str, ...]  # "event/audience" of the parts with personal data that were opened


def show(case: Case, official: Official) -> Shown:
    """The whole view."""
    return _Showing(case, official).shown()


def offer_view(procedure: Procedure, offer: StepOffer, questions: tuple[str, ...], *, has_draft: bool) -> Offer:
    """A step that may be taken, with its forms; `questions` are what a `keys` control may choose from."""
    step = offer.step
    return Offer(
        step=step,
        role=offer.role,
        forms=tuple(_form_spec(procedure, offer, name, questions) for name in step.forms),
        moves=step.moves,
        internal=step.scope != "case",
        questions=questions if any(control.type == "keys" for control in step.control.values()) else (),
        recipients={
            name: procedure.recipient_role(step.name, name)
            for name, control in step.control.items()
            if control.type in ("authority", "authorities")
        },
        draft=has_draft,
    )


def _form_spec(procedure: Procedure, offer: StepOffer, name: str, questions: tuple[str, ...]) -> FormSpec:
    audiences = tuple(sorted(a for a, layout in offer.step.layout.items() if name in layout))
    if name in (ANSWERS, COMMENTS):
        return FormSpec(name=name, key=name, fields=procedure.answers(questions).fields, audiences=audiences)
    form = procedure.forms[name]
    return FormSpec(name=name, key=form.name, fields=form.fields, audiences=audiences)


def first_questions(procedure: Procedure) -> tuple[str, ...]:
    return tuple(procedure.questions)


def urgency(ends: datetime, left: int, at: datetime) -> Urgency:
    if at > ends:
        return "overdue"
    return "soon" if left <= SOON else "later"


def working_days_left(due: deadlines.Due, calendar: Calendar, at: datetime) -> int:
    """Working days after today up to the last day; negative for those passed since."""
    today = calendar.day_of(at)
    first, last, sign = (today, due.day, 1) if today <= due.day else (due.day, today, -1)
    span = (last - first).days
    if span > _FAR:  # nobody counts working days of years; calendar days say enough
        return sign * span
    days = (first + timedelta(days=n) for n in range(1, span + 1))
    return sign * sum(calendar.is_working_day(day, edition=due.edition) for day in days)


_FAR: Final = 400


class _Showing:
    def __init__(self, case: Case, official: Official) -> None:
        self.case, self.official = case, official
        self.procedure = case.procedure
        self.now = case.tools.clock.now()
        self.blocked = is_blocked(case, self.now)
        self.view: View = case.view(official.authority)
        self.roles = tuple(sorted(self.view.roles_of(official.authority)))
        may_read = readable(self.procedure, self.view, official.authority)
        self.may_read = frozenset[tuple[EventId, str]]() if self.blocked else may_read
        self.deliveries = Deliveries(case)
        self.personal: list[str] = []
        self.opened: dict[tuple[EventId, str], Part | None] = {}

    def shown(self) -> Shown:
        newest_first = sorted(self._visible(), key=lambda s: (s.signed.event.at, s.signed.event.id), reverse=True)
        timeline = tuple(self._entry(stored) for stored in newest_first)
        return Shown(view=self._case_view(timeline), personal=tuple(self.personal))

    def _case_view(self, timeline: tuple[Entry, ...]) -> CaseView:
        row, view = self.case.row, self.view
        kept = deadlines.keeping(self.procedure, view, self.case.tools.catalogue.calendars)
        turn = "" if row.final else self.procedure.states[view.state].turn
        assert row.opened_at
        return CaseView(
            authority=self.official.authority,
            authorities=self._acted_for(),
            number=CaseNumber(row.number or ""),
            case=self.case.id,
            procedure=self.procedure,
            kind=self.procedure.kind,
            area=self.procedure.area,
            state=view.state,
            final=row.final,
            turn=turn,
            our_turn=bool(turn) and turn in self.roles,
            our_roles=self.roles,
            version=acting.version_of(self.case, self.official),
            opened_at=row.opened_at,
            updated_at=row.updated_at,
            variables=dict(view.variables),
            parties=self._parties(),
            deadlines=tuple(self._deadlines()),
            questions=tuple(self._questions()),
            forms=tuple(self._forms()),
            timeline=timeline,
            files=tuple(self._files()),
            deliveries=self.deliveries.overall(),
            offers=self._offers(),
            drafts=tuple(
                drafting.item(self.case.tools, d)
                for d in drafts.of_case(self.case.session, self.official.authority, self._number())
            ),
            facts=facts(self.case, view, self.official.authority),
            blocked=self.blocked,
            block_on=kept.block.date() if kept.block else None,
            delete_on=kept.delete.date() if kept.delete else None,
            waiting_for_data=bool(view.waiting) or row.held > 0,
        )

    def _acted_for(self) -> tuple[AuthorityId, ...]:
        """The parties this user may act for, the one that is acted for first."""
        tools, reader = self.case.tools, self.official
        mine = [party for party in sorted(self.case.parties()) if representing.may_act_for(tools, reader, party)]
        return tuple(sorted(mine, key=lambda party: party != reader.authority))

    def _number(self) -> CaseNumber:
        return CaseNumber(self.case.row.number or "")

    def _visible(self) -> list[StoredEvent]:
        """The events of the timeline: receipts, moves of authorities and what others keep to themselves left out."""
        own = self.official.authority
        return [
            stored
            for stored in self.case.stored
            if not stored.door
            and stored.signed.event.step not in (RECEIVED, *HAND_OVER)
            and (stored.signed.event.scope != "authority" or stored.signed.event.author == own)
        ]

    def _entry(self, stored: StoredEvent) -> Entry:
        event = stored.signed.event
        step = self.procedure.step(event.step)
        moves = step is not None and step.moves
        return Entry(
            event=event.id,
            step=event.step,
            role=event.role,
            author=event.author,
            author_name=self.case.tools.name(event.author),
            received_by=tuple(sorted(received_by(self.view, event))),
            official=stored.login if event.author == self.official.authority else "",
            at=event.at,
            arrived_at=stored.arrived_at,
            scope=event.scope,
            state=self._event_state(event),
            superseded_by=self.view.superseded.get(event.id) or self.view.ended.get(event.id),
            control=event.control,
            forms=tuple(self._part_forms(event)),
            deliveries=self.deliveries.of_event(event.id),
            to_state=self._state_after(event) if moves else "",
        )

    def _state_after(self, event: Event) -> str:
        step = self.procedure.steps[event.step]
        return step.target or ("" if not step.stays else self._state_before(event))

    def _state_before(self, event: Event) -> str:
        for earlier in reversed(self.view.moves):
            step = self.procedure.steps[earlier.step]
            if earlier.at < event.at and step.target:
                return step.target
        return self.procedure.start

    def _event_state(self, event: Event) -> EventState:
        if event.id in self.view.superseded or event.id in self.view.ended:
            return "superseded"
        if event.id in self.view.refused:
            return "void"
        return "waiting" if event.id in self.view.waiting else "counts"

    def _part(self, event: Event, audience: str) -> Part | None:
        """The content of a part this official may read; opened once, and noted if it holds personal data."""
        key = (event.id, audience)
        if key not in self.may_read:
            return None
        if key not in self.opened:
            part = self.opened[key] = self.case.part(event.id, audience)
            if part and any(self._data(form, name) != "none" for form, given in part.content.items() for name in given):
                self.personal.append(f"{event.id}/{audience}")
        return self.opened[key]

    def _part_state(self, event: Event, audience: str) -> PartState:
        if (event.id, audience) not in self.may_read:
            return "not-for-you"
        sealed = self.case.sealed_parts().get((event.id, audience))
        if sealed is None or not sealed.checked:
            return "not-arrived"
        return "erased" if sealed.sealed is None else "readable"

    def _part_forms(self, event: Event) -> Iterator[FormView]:
        for audience in sorted(event.parts):
            part = self._part(event, audience)
            if part is None:
                yield FormView(name="", audience=audience, state=self._part_state(event, audience), fields=())
                continue
            faults = self._faults(event, audience, part)
            for form, given in part.content.items():
                yield self._form_view(form, given, audience, faults)

    def _form_view(
        self, form: str, given: Mapping[str, Value], audience: str, faults: Mapping[tuple[str, str], str]
    ) -> FormView:
        whole = faults.get((form, ""), "")
        fields = tuple(
            FieldView(key=key, value=value, personal=self._data(form, key), fault=faults.get((form, key), ""))
            for key, value in given.items()
        )
        return FormView(name=form, audience=audience, state="faulty" if whole else "readable", fields=fields)

    def _faults(self, event: Event, audience: str, part: Part) -> Mapping[tuple[str, str], str]:
        step = self.procedure.step(event.step)
        if step is None:
            return {}
        asked = _keys(event.control.get("questions"))
        lists = self.case.tools.catalogue.lists
        found = validate_part(self.procedure, step, audience, part.content, lists, asked=asked)
        return {(fault.form, fault.field): fault.code for fault in found}

    def _data(self, form: str, key: str) -> str:
        if form in (ANSWERS, COMMENTS):
            question = self.procedure.questions.get(key)
            return "P" if form == COMMENTS or question is None else question.data
        spec = self.procedure.forms.get(form)
        field = spec.field(key) if spec else None
        return field.data if field else "P"

    def _contents(self) -> Iterator[tuple[Event, str, str, Mapping[str, Value]]]:
        """(event, audience, form, fields) of everything readable that counts, oldest first."""
        for event in sorted(self.view.counting(), key=lambda e: e.at):
            for audience in sorted(event.parts):
                part = self._part(event, audience)
                for form, given in part.content.items() if part else ():
                    yield event, audience, form, given

    def _forms(self) -> Iterator[FormView]:
        latest: dict[str, tuple[Event, dict[str, Value], str]] = {}
        for event, audience, form, given in self._contents():
            if form in (ANSWERS, COMMENTS):
                continue
            known = latest.get(form)
            # A form may be split over audiences: what belongs to one event is shown together.
            fields = {**known[1], **given} if known and known[0] is event else dict(given)
            latest[form] = (event, fields, audience)
        for form, (event, fields, audience) in latest.items():
            part = self._part(event, audience)
            yield self._form_view(form, fields, audience, self._faults(event, audience, part) if part else {})

    def _questions(self) -> Iterator[QuestionView]:
        still_open = set(_keys(self.view.variables.get("open")))
        answers: dict[str, list[AnswerView]] = {}
        comments: dict[str, Value] = {}
        asked: set[str] = set()
        for event in self.view.moves:
            asked.update(key for value in event.control.values() for key in _keys(value))
        for event, audience, form, given in self._contents():
            if form == COMMENTS:
                comments |= given
            if form == ANSWERS:
                part = self._part(event, audience)
                faults = self._faults(event, audience, part) if part else {}
                for key, value in given.items():
                    answers.setdefault(key, []).append(_answer(event, value, faults.get((ANSWERS, key), "")))
        for key, spec in self.procedure.questions.items():
            if key in asked:
                yield _question(key, spec, comments.get(key), answers.get(key, ()), is_open=key in still_open)

    def _parties(self) -> tuple[PartyView, ...]:
        turn = self.procedure.states[self.view.state].turn
        names = set(self.case.parties()) if self.roles else {self.official.authority, *self.view.roles.values()}
        return tuple(sorted((self._party(a, turn) for a in names), key=_by_role(self.procedure)))

    def _party(self, authority: AuthorityId, turn: str) -> PartyView:
        tools, roles = self.case.tools, self.view.roles_of(authority)
        flags = {
            step.flag
            for event in self.view.lanes
            if event.author == authority and (step := self.procedure.step(event.step)) and step.flag
        }
        handled_by = tools.handled_by(authority)
        return PartyView(
            authority=authority,
            name=tools.name(authority),
            state=state_of(authority),
            node=tools.home(authority),
            roles=tuple(sorted(roles)),
            former=not roles,
            ours=authority == self.official.authority,
            turn=bool(turn) and turn in roles and not self.case.row.final,
            flags=tuple(sorted(flags)),
            handled_by=handled_by,
            handled_by_name=tools.name(handled_by) if handled_by else "",
        )

    def _deadlines(self) -> Iterator[Due]:
        calendars = self.case.tools.catalogue.calendars
        if self.case.row.final:
            return
        for due in deadlines.due_dates(self.procedure, self.view, calendars).values():
            if due.is_running:
                left = working_days_left(due, calendars[due.state], self.now)
                yield Due(
                    name=due.name,
                    on=due.day,
                    at=due.ends.astimezone(UTC),
                    role=due_role(self.case, due),
                    urgency=urgency(due.ends, left, self.now),
                    working_days_left=left,
                )

    def _files(self) -> Iterator[File]:
        here = files.digests_in_case(self.case.session, self.case.id)
        seen: set[tuple[str, str, str]] = set()
        for event, _audience, form, given in self._contents():
            for key, value in given.items():
                for document in documents({form: {key: value}}):
                    sha256 = str(document["sha256"])
                    if (sha256, form, key) not in seen:
                        seen.add((sha256, form, key))
                        yield file_view(document, form=form, field=key, event=event, here=sha256 in here)

    def _offers(self) -> tuple[Offer, ...]:
        kept = {d.step for d in drafts.of_case(self.case.session, self.official.authority, self._number())}
        return tuple(
            offer_view(self.procedure, offer, self._choosable(offer), has_draft=offer.step.name in kept)
            for offer in acting.offers_now(self.case, self.official)
        )

    def _choosable(self, offer: StepOffer) -> tuple[str, ...]:
        """What questions a step may name: those its conditions compare with, all if they compare with none."""
        keys = {name for name, control in offer.step.control.items() if control.type == "keys"}
        for condition in offer.step.needs:
            if condition.left in keys and self.procedure.variables.get(condition.right) == "keys":
                chosen = _keys(self.view.variables.get(condition.right))
                return tuple(key for key in self.procedure.questions if key in chosen)
        return tuple(self.procedure.questions)


def file_view(document: Mapping[str, object], *, form: str, field: str, event: Event, here: bool) -> File:
    size = document.get("size")
    return File(
        sha256=str(document["sha256"]),
        size=size if isinstance(size, int) else 0,
        name=str(document.get("name", "")),
        type=str(document.get("type", "application/octet-stream")),
        lang=str(document.get("lang", "")),
        form=form,
        field=field,
        by=event.author,
        event=event.id,
        at=event.at,
        here=here,
    )


def _question(
    key: str, spec: Field, comment: Value | None, answers: Iterable[AnswerView], *, is_open: bool
) -> QuestionView:
    return QuestionView(key=key, open=is_open, spec=spec, comment=comment, answers=tuple(answers))


def _answer(event: Event, value: Value, fault: str) -> AnswerView:
    given = value if isinstance(value, Mapping) else {}
    return AnswerView(event=event.id, author=event.author, at=event.at, value=given, fault=fault)


def _keys(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _by_role(procedure: Procedure) -> Callable[[PartyView], tuple[int, str]]:
    order = list(procedure.roles)

    def rank(party: PartyView) -> tuple[int, str]:
        return min((order.index(role) for role in party.roles), default=len(order)), party.authority

    return rank
