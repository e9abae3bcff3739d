"""Views as answers: keys get their words in the reader's language."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from node.api import models
from node.casework import views
from node.casework.views import Official
from node.clock import parse_rfc3339
from node.directory.model import Authority, Register
from node.domain.forms import CANNOT_SAY, COMMENT, by_type
from node.domain.procedures import ANSWERS, COMMENTS, Field, Procedure

_PLAIN = ("yes-no-unknown", "check")  # answer types whose values are words of the interface


class Words(Protocol):
    """Texts of interface and catalogue."""

    def t(self, lang: str, key: str, /, **values: object) -> str:
        """The text of a key, in this language or the next best, filled in."""
        ...


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders for one reader."""

    words: Words
    lang: str

    def authority(self, found: Authority) -> models.Authority:
        return models.Authority(
            id=found.id,
            node=found.node,
            state=found.state,
            name=found.name,
            name_lang=found.name_lang,
            short_name=found.short_name,
            names=dict(found.names),
            informal=dict(found.informal),
            type=found.type,
            level=found.level,
            territory=list(found.territory),
            areas=list(found.areas),
            professions=list(found.professions),
            activities=list(found.activities),
            parent=found.parent,
            competence=dict(found.competence),
            languages=list(found.languages),
            roles={area: list(roles) for area, roles in found.roles.items()},
            settings={scope: dict(values) for scope, values in found.settings.items()},
            coordinators=[
                models.Link(coordinator=link.coordinator, function=link.function, area=link.area)
                for link in found.coordinators
            ],
            represented_by=found.represented_by,
            address=dict(found.address),
            website=found.website,
            email=found.email,
            phone=found.phone,
            contact=found.contact,
            status=found.status,
            registered=found.registered,
            reviewed=found.reviewed,
            assignment_invented=found.assignment_invented,
        )

    def register(self, found: Register) -> models.Register:
        return models.Register(
            id=found.id,
            node=found.node,
            state=found.state,
            name=found.name,
            name_lang=found.name_lang,
            names=dict(found.names),
            type=found.type,
            territory=list(found.territory),
            areas=list(found.areas),
            professions=list(found.professions),
            activities=list(found.activities),
            contents=dict(found.contents),
            operator=found.operator,
            operator_name=found.operator_name,
            access=found.access,
            fee=found.fee,
            online=found.online,
            login=found.login,
            languages=list(found.languages),
            website=found.website,
            contact=found.contact,
            valid_on=found.valid_on,
            identifiers=dict(found.identifiers),
            source=found.source,
        )

    def procedure(
        self, found: Procedure, offers: Iterable[views.Offer], authorities: Iterable[str]
    ) -> models.Procedure:
        return models.Procedure(
            id=found.id,
            version=found.version,
            text=self._text(f"procedure.{found.id}.title"),
            kind=found.kind,
            area=found.area,
            basis=list(found.basis),
            authorities=list(authorities),
            offers=[self._offer(found, offer) for offer in offers],
        )

    def draft(self, found: views.Draft) -> models.Draft:
        return models.Draft(
            authority=found.authority,
            number=found.number,
            procedure=found.procedure,
            step=found.step,
            opens=found.opens,
            control=_control(found.control),
            content={form: dict(fields) for form, fields in found.content.items()},
            lang=found.lang,
            version=found.version,
            updated_at=found.updated_at,
            updated_by=found.updated_by,
        )

    def work(self, found: views.WorkList, procedures: Mapping[str, Procedure]) -> models.Work:
        groups = {
            name: [self.item(item, procedures) for item in getattr(found, name)]
            for name in ("overdue", "due_soon", "later", "waiting")
        }
        counters = found.counters
        return models.Work(
            **groups,
            drafts=[draft_item(item) for item in found.drafts],
            counters={
                "to_accept": counters.to_accept,
                "to_answer": counters.to_answer,
                "to_check": counters.to_check,
                "overdue": counters.overdue,
                "alerts": counters.alerts,
                "drafts": counters.drafts,
            },
        )

    def item(self, found: views.WorkItem, procedures: Mapping[str, Procedure]) -> models.CaseItem:
        procedure = procedures.get(found.procedure)
        return models.CaseItem(
            authority=found.authority,
            authority_name=found.authority_name,
            number=found.number,
            procedure=found.procedure,
            kind=found.kind,
            area=found.area,
            state=found.state,
            state_text=self._flow(procedure, "state", found.state) if procedure else "",
            final=found.final,
            our_roles=list(found.our_roles),
            our_turn=found.our_turn,
            other=found.other,
            other_name=found.other_name,
            due=_due(found.due) if found.due else None,
            urgency=found.urgency,
            facts=dict(found.facts),
            updated_at=found.updated_at,
            undelivered=found.undelivered,
        )

    def case(self, found: views.CaseView) -> models.Case:
        procedure = found.procedure
        return models.Case(
            authority=found.authority,
            authorities=list(found.authorities),
            number=found.number,
            case=found.case,
            procedure=procedure.id,
            procedure_version=procedure.version,
            text=self._text(f"procedure.{procedure.id}.title"),
            kind=found.kind,
            area=found.area,
            state=found.state,
            state_text=self._flow(procedure, "state", found.state),
            final=found.final,
            turn=found.turn,
            our_turn=found.our_turn,
            our_roles=list(found.our_roles),
            version=found.version,
            opened_at=found.opened_at,
            updated_at=found.updated_at,
            variables=_control(found.variables),
            parties=[_party(party) for party in found.parties],
            due=[_due(due) for due in found.deadlines],
            questions=[self._question(procedure, question) for question in found.questions],
            forms=[self._form(procedure, form) for form in found.forms],
            timeline=[self._entry(procedure, entry) for entry in found.timeline],
            files=[_file(file) for file in found.files],
            deliveries=[_delivery(delivery) for delivery in found.deliveries],
            offers=[self._offer(procedure, offer) for offer in found.offers],
            blocked=found.blocked,
            block_on=found.block_on,
            delete_on=found.delete_on,
            waiting_for_data=found.waiting_for_data,
        )

    def _entry(self, procedure: Procedure, entry: views.Entry) -> models.Entry:
        return models.Entry(
            event=entry.event,
            step=entry.step,
            text=self._flow(procedure, "step", entry.step),
            role=entry.role,
            author=entry.author,
            author_name=entry.author_name,
            official=entry.official,
            at=entry.at,
            arrived_at=entry.arrived_at,
            scope=entry.scope,
            state=entry.state,
            superseded_by=entry.superseded_by,
            control=_control(entry.control),
            received_by=list(entry.received_by),
            deliveries=[_delivery(delivery) for delivery in entry.deliveries],
            forms=[self._form(procedure, form) for form in entry.forms],
        )

    def _question(self, procedure: Procedure, found: views.QuestionView) -> models.Question:
        latest = found.answers[-1] if found.answers else None
        given = dict(latest.value) if latest else {}
        comment, cannot_say = given.pop(COMMENT, None), given.pop(CANNOT_SAY, None)
        words = [self._value(found.spec, kind, value) for kind, value in given.items()] if found.spec else []
        text = "; ".join(word for word in words if word)
        return models.Question(
            key=found.key,
            text=self._text(_question_key(procedure, found.key)),
            open=found.open,
            remark=found.comment,
            answer=models.Answer(values=given, text=text, cannot_say=cannot_say) if latest else None,
            comment=comment,
            answered_by=latest.author if latest else "",
            answered_at=latest.at if latest else None,
            fault=latest.fault if latest else "",
        )

    def _form(self, procedure: Procedure, form: views.FormView) -> models.FormValue:
        spec = procedure.forms.get(form.name)
        key = spec.name if spec else form.name
        return models.FormValue(
            form=key,
            audience=form.audience,
            state=form.state,
            fields=[self._field(procedure, form.name, field) for field in form.fields],
        )

    def _field(self, procedure: Procedure, form: str, found: views.FieldView) -> models.FieldValue:
        asked = form in (ANSWERS, COMMENTS)
        spec = procedure.forms.get(form)
        field = procedure.questions.get(found.key) if asked else spec.field(found.key) if spec else None
        label = _question_key(procedure, found.key) if asked else f"form.{spec.name if spec else form}.{found.key}"
        typed = by_type(field, found.value, answer=form == ANSWERS) if field and form != COMMENTS else {}
        words = [self._value(field, kind, value) for kind, value in typed.items() if field]
        return models.FieldValue(
            key=found.key,
            label=self._text(label),
            value=found.value,
            text="; ".join(word for word in words if word),
            personal=found.personal,
            fault=found.fault,
        )

    def _value(self, field: Field, kind: str, value: object) -> str:
        """A predefined value in words; empty for what speaks for itself."""
        if not isinstance(value, str):
            return ""
        if kind == "list":
            return self._text(f"list.{field.list}.{value}")
        return self._text(f"answer.{value}") if kind in _PLAIN else value

    def _offer(self, procedure: Procedure, offer: views.Offer) -> models.Offer:
        return models.Offer(
            step=offer.step.name,
            text=self._flow(procedure, "step", offer.step.name),
            role=offer.role,
            moves=offer.moves,
            internal=offer.internal,
            control=[
                models.ControlSpec(
                    name=control.name,
                    text=self._flow(procedure, "control", control.name),
                    type=control.type,
                    optional=control.optional,
                    choices=list(control.choices),
                    role=offer.recipients.get(control.name, ""),
                )
                for control in offer.step.control.values()
            ],
            forms=[self._form_spec(procedure, form) for form in offer.forms],
            questions=list(offer.questions),
        )

    def _form_spec(self, procedure: Procedure, form: views.FormSpec) -> models.FormSpec:
        asked = form.name in (ANSWERS, COMMENTS)
        return models.FormSpec(
            form=form.name,
            audiences=list(form.audiences),
            fields=[
                models.FieldSpec(
                    key=field.key,
                    text=self._text(_question_key(procedure, field.key) if asked else f"form.{form.key}.{field.key}"),
                    answers=["text"] if form.name == COMMENTS else list(field.answers),
                    list=field.list,
                    required=field.required,
                    personal=field.data,
                    when=str(field.when) if field.when else "",
                )
                for field in form.fields
            ],
        )

    def _flow(self, procedure: Procedure, kind: str, name: str) -> str:
        return self._text(f"workflow.{procedure.workflow}.{kind}.{name}")

    def _text(self, key: str) -> str:
        return self.words.t(self.lang, key)


def reader(words: Words, official: Official, accept_language: str, offered: Iterable[str]) -> Renderer:
    """For the language a request asks for, as far as it is one of those offered; else the user's."""
    known = frozenset(offered)
    for part in accept_language[:200].split(","):
        lang = part.partition(";")[0].strip().lower()[:2]
        if lang in known:
            return Renderer(words, lang)
    return Renderer(words, official.language)


def draft_item(found: views.DraftItem) -> models.DraftItem:
    return models.DraftItem(
        authority=found.authority,
        number=found.number,
        procedure=found.procedure,
        step=found.step,
        opens=found.opens,
        updated_at=found.updated_at,
        updated_by=found.updated_by,
    )


def event(found: views.RawEvent) -> models.Event:
    body: dict[str, Any] = json.loads(found.data)
    return models.Event(
        id=found.event,
        author=body["author"],
        step=body["step"],
        at=parse_rfc3339(body["at"]),
        event=body,
        signature=base64.b64encode(found.signature).decode(),
        certificate=found.certificate,
    )


def _question_key(procedure: Procedure, key: str) -> str:
    return f"question.{procedure.questions_set.partition('/')[0]}.{key}"


def _control(control: Mapping[str, str | Iterable[str]]) -> dict[str, str | list[str]]:
    return {name: value if isinstance(value, str) else list(value) for name, value in control.items()}


def _due(found: views.Due) -> models.Due:
    return models.Due(name=found.name, on=found.on, ends_at=found.at, role=found.role)


def _party(found: views.PartyView) -> models.Party:
    return models.Party(
        authority=found.authority,
        name=found.name,
        state=found.state,
        node=found.node,
        roles=list(found.roles),
        former=found.former,
        turn=found.turn,
        flags=list(found.flags),
        handled_by=found.handled_by,
        handled_by_name=found.handled_by_name,
    )


def _file(found: views.File) -> models.File:
    return models.File(
        sha256=found.sha256,
        size=found.size,
        name=found.name,
        type=found.type,
        lang=found.lang,
        form=found.form,
        field=found.field,
        by=found.by,
        at=found.at,
        here=found.here,
    )


def _delivery(found: views.Delivery) -> models.Delivery:
    return models.Delivery(
        node=found.node,
        authorities=list(found.authorities),
        state=found.state,
        attempts=found.attempts,
        posted_at=found.posted_at,
        received_at=found.received_at,
        next_attempt_at=found.next_attempt_at,
        last_error=found.last_error,
    )
