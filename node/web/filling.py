"""A step being filled in: what it offers, what was typed so far, page by page, and what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web
from aiohttp.web_request import FileField

from node.casework.errors import BadFileName, BadFileType, StepNotAllowed, UnknownProcedure
from node.casework.views import CaseView, Content, DraftContent, FormSpec, Offer, Official
from node.domain.forms import Fault, validate_step
from node.domain.procedures import ANSWERS, COMMENTS, Control, Field, Procedure
from node.ids import CaseNumber
from node.local_store.files import FileTooLarge
from node.pages import signed_in
from node.texts import NAMES
from node.web import forms
from node.web.acting import case_at, step_at, step_of
from node.web.keys import CASEWORK, CATALOGUE
from node.web.wording import Words

RECIPIENTS: Final = "recipients"
CONTENT: Final = "content"
DETAILS: Final = "details"
FILL: Final = "fill"  # all of a step within a case
REVIEW: Final = "review"
_CHUNK: Final = 256 * 1024
_PAGE_OF: Final = {"authority": RECIPIENTS, "authorities": RECIPIENTS, "keys": CONTENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """`official` is the user for the one authority that acts here.

    `version` belongs to the draft, empty where none is kept yet; `case` is None for a new case.
    """

    official: Official
    number: CaseNumber
    procedure: Procedure
    offer: Offer
    draft: DraftContent
    version: str
    case: CaseView | None

    @property
    def base(self) -> str:
        """The address before the page's name."""
        return f"/cases/{self.number}/{'act' if self.case else 'new'}/{self.step}"

    @property
    def step(self) -> str:
        """The step as addresses name it; a new case's draft says itself for whom it is."""
        name = self.offer.step.name
        return step_at(self.official, name, self.official.authority) if self.case else name

    @property
    def case_address(self) -> str:
        """The address of the case."""
        return case_at(self.official, self.number, self.official.authority)

    @property
    def expected(self) -> str:
        """The version to take the step on."""
        return self.case.version if self.case else self.version

    @property
    def pages(self) -> tuple[str, ...]:
        """The pages this step needs, the review last."""
        names = (FILL,) if self.case else (RECIPIENTS, CONTENT, DETAILS)
        return (*(name for name in names if self._has(name)), REVIEW)

    def _has(self, page: str) -> bool:
        return any(self.controls(page)) or any(
            any(map(self.wanted(page, spec), spec.fields)) for spec in self.offer.forms
        )

    def following(self, page: str) -> str:
        """The page after this one."""
        return self.pages[min(self.pages.index(page) + 1, len(self.pages) - 1)]

    def controls(self, page: str) -> Iterator[Control]:
        """The control values asked for on a page; what follows from the answers is not asked."""
        for control in self.offer.step.control.values():
            is_asked = control.type != "keys" or not (forms.is_fixed(self.offer, control) or self.answers)
            if is_asked and page in (FILL, _PAGE_OF.get(control.type, DETAILS)):
                yield control

    def wanted(self, page: str, spec: FormSpec) -> Callable[[Field], bool]:
        """Which fields of a form stand on a page: of a new case, documents come with the details."""
        return lambda field: page in {FILL, DETAILS if _is_document(spec, field) else CONTENT}

    def page_of(self, form: str, key: str) -> str:
        """The page with a field."""
        if self.case:
            return FILL
        spec = next((spec for spec in self.offer.forms if spec.name == form), None)
        field = next((f for f in spec.fields if f.key == key), None) if spec else None
        return DETAILS if spec and field and _is_document(spec, field) else CONTENT

    def page_of_control(self, control: Control) -> str:
        return FILL if self.case else _PAGE_OF.get(control.type, DETAILS)

    @property
    def answers(self) -> FormSpec | None:
        return next((spec for spec in self.offer.forms if spec.name == ANSWERS), None)

    def control(self) -> dict[str, str | Sequence[str]]:
        """The control values as they are taken: those typed, and the questions that the answers name."""
        found = {name: value for name, value in self.draft.control.items() if name in self.offer.step.control}
        keys = forms.keys_control(self.offer)
        if keys and forms.is_fixed(self.offer, keys):
            found[keys.name] = list(self.offer.questions)
        elif keys and self.answers:
            given = self.draft.content.get(ANSWERS, {})
            found[keys.name] = [key for key in self.offer.questions if key in given]
        return found

    def faults(self, lists: forms.Lists, content: Content | None = None) -> list[Fault]:
        """What is wrong with the content, control values that are missing included (as form `control`)."""
        control = self.control()
        typed = {name: value if isinstance(value, str) else tuple(value) for name, value in control.items()}
        missing = [
            Fault("control", name, "missing")
            for name, spec in self.offer.step.control.items()
            if not spec.optional and not typed.get(name)
        ]
        given = self.draft.content if content is None else content
        return missing + validate_step(self.procedure, self.offer.step, typed, given, lists)

    def sent(self, lists: forms.Lists) -> tuple[dict[str, dict[str, object]], list[tuple[str, str]]]:
        """The content as it is taken, and what is left out of it: fields and remarks nobody asks for any more."""
        known = {spec.name for spec in self.offer.forms}
        content = {name: dict(fields) for name, fields in self.draft.content.items() if name in known}
        left_out = []
        for _ in range(10):  # conditions of conditions; deeper than any form
            idle = [f for f in self.faults(lists, content) if f.field in content.get(f.form, {}) and _is_idle(f)]
            for fault in idle:
                del content[fault.form][fault.field]
                left_out.append((fault.form, fault.field))
            if not idle:
                break
        return {name: fields for name, fields in content.items() if fields}, left_out

    def on_page(self, fault: Fault, page: str) -> bool:
        """Whether a fault is to be mended on a page."""
        if fault.form == "control":
            control = self.offer.step.control[fault.field]
            return page == (CONTENT if not self.case and control.type == "keys" else self.page_of_control(control))
        return self.page_of(fault.form, fault.field) == page

    def name_of(self, fault: Fault) -> str:
        """The name of the page's field that a fault belongs to."""
        if fault.form == "control":
            control = self.offer.step.control.get(fault.field)
            return "c.questions-top" if control is None else f"c.{fault.field}"
        spec = next((spec for spec in self.offer.forms if spec.name == fault.form), None)
        field = next((f for f in spec.fields if f.key == fault.field), None) if spec else None
        kind = forms.TEXT if fault.form == COMMENTS or field is None else field.answers[0]
        return f"f.{fault.form}.{fault.field}.{kind}"


def _is_document(spec: FormSpec, field: Field) -> bool:
    return spec.name not in (ANSWERS, COMMENTS) and field.answers == (forms.DOCUMENT,)


def _is_idle(fault: Fault) -> bool:
    return fault.code == "not-asked" or (fault.form == COMMENTS and fault.code == "unknown-field")


async def load_new(request: web.Request, number: CaseNumber, step: str) -> Filling:
    """A new case's first step. Raises UnknownCase, StepNotAllowed, UnknownProcedure."""
    official = signed_in(request).official
    draft = await request.app[CASEWORK].draft(official, number)
    procedure = request.app[CATALOGUE].procedure(draft.procedure)
    if procedure is None:
        raise UnknownProcedure("the catalogue has no such procedure any more")
    kept = DraftContent(control=draft.control, content=draft.content, lang=draft.lang)
    return Filling(
        official=official.acting_for(draft.authority),
        number=number,
        procedure=procedure,
        offer=_offer(draft.offers, step),
        draft=kept,
        version=draft.version,
        case=None,
    )


async def load_act(request: web.Request, number: CaseNumber, step: str) -> Filling:
    """A step within a case, with its draft or what the case already says.

    Raises UnknownCase, StepNotAllowed; HTTPSeeOther where a draft was overtaken by another step.
    """
    casework = request.app[CASEWORK]
    step, official = step_of(request, step)
    case = await casework.case(official, number)
    official = official.acting_for(case.authority)
    if step in {d.step for d in case.drafts} and step not in {o.step.name for o in case.offers}:
        raise web.HTTPSeeOther(f"/cases/{number}/overtaken/{step_at(official, step, case.authority)}")
    offer = _offer(case.offers, step)
    version, content = "", _from_case(case, offer, official)
    if offer.draft:
        draft = await casework.draft(official, number, step)
        version, content = draft.version, DraftContent(control=draft.control, content=draft.content, lang=draft.lang)
    return Filling(
        official=official,
        number=number,
        procedure=case.procedure,
        offer=offer,
        draft=content,
        version=version,
        case=case,
    )


def _offer(offers: Sequence[Offer], step: str) -> Offer:
    found = next((offer for offer in offers if offer.step.name == step), None)
    if found is None:
        raise StepNotAllowed("this step is not possible now", reason="not-offered")
    return found


def _from_case(case: CaseView, offer: Offer, official: Official) -> DraftContent:
    """What the fields of a step begin with: variables that it sets again, forms that it gives again."""
    control = {
        word: case.variables[name]
        for name, word in offer.step.set.items()
        if word in offer.step.control and name in case.variables and case.variables[name]
    }
    named = {spec.name for spec in offer.forms}
    content = {
        form.name: {field.key: field.value for field in form.fields} for form in case.forms if form.name in named
    }
    remarks = {question.key: question.comment for question in case.questions if question.comment}
    if COMMENTS in named and remarks:
        content[COMMENTS] = remarks
    return DraftContent(control=control, content=content, lang=official.language)


@dataclass(frozen=True, slots=True)
class Typed:
    """A page as it was sent: the draft with it, and what was wrong with its files."""

    filling: Filling
    errors: list[tuple[str, str]]


async def read_page(request: web.Request, filling: Filling, page: str, words: Words) -> Typed:
    """The draft with what was typed on a page; its files are stored."""
    data = await request.post()
    typed = {name: value for name, value in data.items() if isinstance(value, str)}
    lang = typed.get("lang", "")
    lang = lang if lang in NAMES else filling.draft.lang
    control: dict[str, str | Sequence[str]] = dict(filling.draft.control)
    for spec in filling.controls(page):
        control[spec.name] = _read_control(
            filling, spec, [v for v in data.getall(f"c.{spec.name}", ()) if isinstance(v, str)]
        )
    content: dict[str, Mapping[str, object]] = dict(filling.draft.content)
    for form in filling.offer.forms:
        content[form.name] = forms.read_fields(
            form, filling.wanted(page, form), typed, lang, content.get(form.name, {})
        )
    draft = DraftContent(control={n: v for n, v in control.items() if v}, content=content, lang=lang)
    return await _store_files(request, replace(filling, draft=draft), page, words)


def _read_control(filling: Filling, spec: Control, typed: list[str]) -> str | list[str]:
    if spec.type == "keys":
        return forms.asked_questions(typed, filling.offer)
    if spec.type == "authorities":
        return list(dict.fromkeys(value[:60] for value in typed))[:200]
    first = typed[0].strip()[:60] if typed else ""
    return forms.read_date(first) if spec.type == "date" else first


async def _store_files(request: web.Request, filling: Filling, page: str, words: Words) -> Typed:
    data, errors = await request.post(), []
    content, lang = dict(filling.draft.content), filling.draft.lang
    for spec in filling.offer.forms:
        for field in filter(filling.wanted(page, spec), spec.fields):
            name = f"f.{spec.name}.{field.key}.{forms.DOCUMENT}"
            sent = data.get(name)
            if forms.DOCUMENT not in field.answers or not isinstance(sent, FileField) or not sent.filename:
                continue
            try:
                document = await _attach(request, filling.official, sent, lang)
            except (FileTooLarge, BadFileName, BadFileType) as error:
                errors.append((name, words.plain(f"error.{error.code}")))
                continue
            content[spec.name] = _with_document(content.get(spec.name, {}), spec, field, document)
    kept = {name: fields for name, fields in content.items() if fields}
    return Typed(replace(filling, draft=replace(filling.draft, content=kept)), errors)


def _with_document(
    given: Mapping[str, object], spec: FormSpec, field: Field, document: Mapping[str, object]
) -> dict[str, object]:
    if spec.name != ANSWERS and len(field.answers) == 1:
        return {**given, field.key: dict(document)}
    before = given.get(field.key)
    typed = dict(before) if isinstance(before, Mapping) else {}
    return {**given, field.key: {**typed, forms.DOCUMENT: dict(document)}}


async def _attach(request: web.Request, official: Official, sent: FileField, lang: str) -> Mapping[str, object]:
    name = sent.filename.replace("\\", "/").rpartition("/")[2]
    stored = await request.app[CASEWORK].attach(
        official, name=name, media_type=sent.content_type.lower(), lang=lang, chunks=_chunks(sent)
    )
    return stored.document()


async def _chunks(sent: FileField) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(sent.file.read, _CHUNK):
        yield chunk
