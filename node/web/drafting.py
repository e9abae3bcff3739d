"""Filling in a step and taking it: a new case page by page, a step within a case on one page; each ends in a review."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from node.casework.errors import (
    InvalidContent,
    InvalidControl,
    NoAccess,
    RecipientWithoutAccess,
    StaleForm,
    TooMuchContent,
    UnknownProcedure,
)
from node.casework.views import DraftContent
from node.domain.forms import Fault
from node.domain.procedures import ANSWERS, COMMENTS
from node.errors import ImiError
from node.ids import CaseNumber, parse_authority, parse_number
from node.local_store.files import FileTooLarge
from node.pages import FRAME, render, see_other, signed_in, status_of, text_key
from node.texts import NAMES
from node.web import filling as pages
from node.web import forms, reviewing
from node.web.acting import case_at, official_of, step_of
from node.web.filling import CONTENT, FILL, REVIEW, Filling
from node.web.keys import CASEWORK, CATALOGUE, DIRECTORY
from node.web.recipients import Asked, Choice, Recipients
from node.web.wording import words_of

_MENDED: Final = (InvalidControl, RecipientWithoutAccess, TooMuchContent, FileTooLarge)  # what another review can mend
routes = web.RouteTableDef()


@routes.get("/cases/new")
async def choose_procedure(request: web.Request) -> web.Response:
    """The procedures in which the official may open a case; `to` names the authority to ask, `kind` narrows."""
    official, words, casework = official_of(request), words_of(request), request.app[CASEWORK]
    kind, to = request.query.get("kind", ""), request.query.get("to", "")[:60]
    open_to = [p for p in casework.procedures(official) if kind in {"", p.kind}]
    shown = [
        {
            "id": p.id,
            "title": words.procedure(p),
            "area": words.say(f"area.{p.area}"),
            "kind": p.kind,
            "for": [one.authority for one in casework.openers(official, p)],
        }
        for p in open_to
    ]
    return render(request, "cases/new.html", procedures=shown, to=to)


@routes.post("/cases/new")
async def start(request: web.Request) -> web.Response:
    """An empty draft, with the authority to ask where one was named.

    Raises UnknownProcedure, NoAccess, AuthorityNotChosen.
    """
    data, official, casework = await request.post(), signed_in(request).official, request.app[CASEWORK]
    if chosen := str(data.get("for", "")):
        official = official.acting_for(parse_authority(chosen))
    draft = await casework.create_draft(official, str(data.get("procedure", ""))[:200])
    to = str(data.get("to", ""))
    procedure = request.app[CATALOGUE].procedure(draft.procedure)
    if to and procedure:
        for offer in draft.offers:
            chooser = Recipients(
                words=words_of(request),
                directory=request.app[DIRECTORY],
                procedure=procedure,
                offer=offer,
                ours=draft.authority,
                case=None,
            )
            control = await asyncio.to_thread(_control_for, chooser, to)
            if control:
                content = DraftContent(control=control, lang=draft.lang)
                await casework.save_draft(official, draft.number, content, expected=draft.version)
                break
    raise see_other(f"/cases/{draft.number}/new")


def _control_for(chooser: Recipients, to: str) -> dict[str, str | Sequence[str]]:
    """The first control that an authority fits."""
    try:
        authority = chooser.directory.get(parse_authority(to))
    except ImiError:
        return {}
    for control in chooser.offer.step.control.values():
        if control.type in {"authority", "authorities"} and chooser.fits(control, authority):
            return {control.name: to if control.type == "authority" else [to]}
    return {}


@routes.get("/cases/{number}/new")
async def choose_step(request: web.Request) -> web.Response:
    """The first steps of a draft; goes on by itself where there is one. Raises UnknownCase, NoAccess."""
    number = _number(request)
    draft = await request.app[CASEWORK].draft(signed_in(request).official, number)
    procedure = request.app[CATALOGUE].procedure(draft.procedure)
    if procedure is None:
        raise UnknownProcedure("the catalogue has no such procedure any more")
    if not draft.offers:
        raise NoAccess("this authority or user may not open a case in this procedure")
    if len(draft.offers) == 1:
        raise see_other(f"/cases/{number}/new/{draft.offers[0].step.name}")
    words = words_of(request)
    steps = [
        (
            f"/cases/{number}/new/{o.step.name}",
            words.flow(procedure, "step", o.step.name),
            words.flow_help(procedure, "step", o.step.name),
        )
        for o in draft.offers
    ]
    return render(request, "cases/choose-step.html", number=number, title=words.procedure(procedure), steps=steps)


@routes.get("/cases/{number}/{mode:new|act}/{step}")
async def first_page(request: web.Request) -> web.Response:
    """To the first page of a step."""
    filling = await _load(request)
    raise see_other(f"{filling.base}/{filling.pages[0]}")


@routes.get("/cases/{number}/{mode:new|act}/{step}/review")
async def review(request: web.Request) -> web.Response:
    """What will be sent, and what is wrong with it still."""
    filling = await _load(request)
    errors = _errors(request, filling, filling.faults(request.app[CATALOGUE].lists, _sent(request, filling)))
    return await _review_page(request, filling, errors if request.query.get("try") else ())


@routes.post("/cases/{number}/{mode:new|act}/{step}/review")
async def take(request: web.Request) -> web.Response:
    """Take the step. What the domain refuses is shown on the review, with the way to mend it."""
    filling, data = await _load(request), await request.post()
    content = _sent(request, filling)
    try:
        await request.app[CASEWORK].take_step(
            filling.official,
            filling.number,
            filling.offer.step.name,
            control=filling.control(),
            content=content,
            lang=filling.draft.lang,
            expected=str(data.get("expected", "")),
        )
    except StaleForm:
        return await _review_page(request, filling, [("", words_of(request).plain("cases.stale"))], status=409)
    except InvalidContent as error:
        errors = _errors(request, filling, [Fault(*fault) for fault in error.faults])
        return await _review_page(request, filling, errors, status=422)
    except _MENDED as error:
        return await _review_page(request, filling, [_mended(request, filling, error)], status=status_of(error))
    raise see_other(filling.case_address, notice="step-taken")


def _mended(request: web.Request, filling: Filling, error: ImiError) -> tuple[str, str]:
    words, control = words_of(request), str(error.details.get("control", ""))
    if control in filling.offer.step.control:
        return f"c.{control}", _message(request, filling, Fault("control", control, "not-possible"))
    return "", words.plain(text_key(request.config_dict[FRAME].texts, error))


@routes.get("/cases/{number}/{mode:new|act}/{step}/{page}")
async def show_page(request: web.Request) -> web.Response:
    """A page of a step, as the draft has it."""
    filling, page = await _load(request), request.match_info["page"]
    if page not in filling.pages:
        raise see_other(f"{filling.base}/{filling.pages[0]}")
    faults = filling.faults(request.app[CATALOGUE].lists, _sent(request, filling)) if request.query.get("try") else []
    return await _step_page(
        request, filling, _errors(request, filling, [f for f in faults if filling.on_page(f, page)])
    )


@routes.post("/cases/{number}/{mode:new|act}/{step}/{page}")
async def save_page(request: web.Request) -> web.Response:
    """Keep what was typed, always; then search, leave or go on."""
    filling, page, data = await _load(request), request.match_info["page"], await request.post()
    if page not in filling.pages:
        raise see_other(f"{filling.base}/{filling.pages[0]}")
    go = str(data.get("go", "next"))
    typed = await pages.read_page(request, filling, page, words_of(request))
    filling = await _tick_all(request, typed.filling, go)
    try:
        filling = await _save(request, filling, str(data.get("version", "")))
    except StaleForm:
        return await _step_page(request, filling, [("", words_of(request).plain("cases.stale-draft"))], status=409)
    if typed.errors:
        return await _step_page(request, filling, typed.errors, status=422)
    if go == "leave":
        raise see_other("/work", notice="draft-saved")
    if go.startswith(("search", "all.")):
        raise see_other(f"{filling.base}/{page}?{urlencode(_searched(filling, data))}")
    lists = request.app[CATALOGUE].lists
    faults = [f for f in filling.faults(lists, _sent(request, filling)) if filling.on_page(f, page)]
    if faults:
        return await _step_page(request, filling, _errors(request, filling, faults), status=422)
    raise see_other(f"{filling.base}/{filling.following(page)}")


async def _tick_all(request: web.Request, filling: Filling, go: str) -> Filling:
    """With every authority of a control chosen, where that was asked."""
    control = filling.offer.step.control.get(go.removeprefix("all.")) if go.startswith("all.") else None
    if control is None or control.type != "authorities":
        return filling
    everyone = await asyncio.to_thread(_recipients(request, filling).all, control)
    draft = replace(filling.draft, control={**filling.draft.control, control.name: everyone})
    return replace(filling, draft=draft)


def _searched(filling: Filling, data: Mapping[str, object]) -> dict[str, str]:
    names = [f"{kind}.{name}" for name in filling.offer.step.control for kind in ("q", "state")]
    return {name: str(data[name])[:200] for name in names if data.get(name)}


async def _save(request: web.Request, filling: Filling, expected: str) -> Filling:
    """Raises StaleForm: the draft was saved elsewhere since the page was read."""
    step = filling.offer.step.name if filling.case else ""
    draft = replace(filling.draft, control={**filling.draft.control, **filling.control()})
    saved = await request.app[CASEWORK].save_draft(
        filling.official, filling.number, draft, step=step, expected=expected if filling.version else None
    )
    return replace(filling, version=saved.version)


@routes.get("/cases/{number}/overtaken/{step}")
async def overtaken(request: web.Request) -> web.Response:
    """A draft whose step is not possible any more: its text, for copying. Raises UnknownCase."""
    words, number = words_of(request), _number(request)
    step, official = step_of(request, request.match_info["step"])
    draft = await request.app[CASEWORK].draft(official, number, step)
    case = await request.app[CASEWORK].case(official, number)
    rows = reviewing.kept_texts(words, case.procedure, draft.content)
    title = words.flow(case.procedure, "step", draft.step)
    return render(
        request,
        "cases/overtaken.html",
        number=number,
        step=request.match_info["step"],
        address=case_at(official, number, draft.authority),
        step_word=title,
        rows=rows,
    )


@routes.post("/cases/{number}/discard")
async def discard(request: web.Request) -> web.Response:
    """Forget a draft. Raises UnknownCase."""
    step, official = step_of(request, str((await request.post()).get("step", ""))[:100])
    await request.app[CASEWORK].delete_draft(official, _number(request), step)
    raise see_other("/work", notice="draft-deleted")


def _number(request: web.Request) -> CaseNumber:
    return parse_number(request.match_info["number"])


async def _load(request: web.Request) -> Filling:
    number, step = _number(request), request.match_info["step"]
    load = pages.load_new if request.match_info["mode"] == "new" else pages.load_act
    return await load(request, number, step)


def _sent(request: web.Request, filling: Filling) -> dict[str, dict[str, object]]:
    return filling.sent(request.app[CATALOGUE].lists)[0]


def _recipients(request: web.Request, filling: Filling) -> Recipients:
    return Recipients(
        words=words_of(request),
        directory=request.app[DIRECTORY],
        procedure=filling.procedure,
        offer=filling.offer,
        ours=filling.official.authority,
        case=filling.case,
    )


def _errors(request: web.Request, filling: Filling, faults: Sequence[Fault]) -> list[tuple[str, str]]:
    return [(filling.name_of(fault), _message(request, filling, fault)) for fault in faults]


def _message(request: web.Request, filling: Filling, fault: Fault) -> str:
    words = words_of(request)
    if fault.form == "control":
        key = f"workflow.{filling.procedure.workflow}.control.{fault.field}"
    else:
        key = words.field_key(filling.procedure, fault.form, fault.field)
    return words.plain(f"cases.fault.{fault.code}", field=words.plain(key))


async def _step_page(
    request: web.Request, filling: Filling, errors: Sequence[tuple[str, str]], *, status: int = 200
) -> web.Response:
    page, words = request.match_info["page"], words_of(request)
    boxes = forms.Boxes(words, filling.procedure, request.app[CATALOGUE].lists, filling.draft.content)
    remarks = {
        q.key: words.value(q.spec, "text", q.comment)
        for q in (filling.case.questions if filling.case else ())
        if q.spec and q.comment
    }
    shown = [
        (spec, boxes.of(spec, filling.wanted(page, spec), remarks if spec.name == ANSWERS else None))
        for spec in filling.offer.forms
        if spec.name != COMMENTS
    ]
    controls = list(filling.controls(page))
    keys = next((control for control in controls if control.type == "keys"), None)
    with_comments = any(spec.name == COMMENTS for spec in filling.offer.forms)
    chosen = forms.asked_questions(filling.draft.control.get(keys.name, ()), filling.offer) if keys else []
    return render(
        request,
        "cases/step.html",
        status=status,
        errors=errors,
        filling=filling,
        page=page,
        steps=reviewing.step_line(words, filling, page),
        title=words.flow(filling.procedure, "step", filling.offer.step.name),
        heading=reviewing.heading(words, filling),
        about=reviewing.about(words, filling),
        help=words.flow_help(filling.procedure, "step", filling.offer.step.name),
        choices=await _choices(request, filling, page),
        forms=[(spec, found) for spec, found in shown if found],
        questions=boxes.questions(filling.offer.questions, chosen, comments=with_comments) if keys else (),
        keys=keys.name if keys else "",
        controls=reviewing.plain_controls(words, filling, controls),
        writes=any(box.is_written for _, found in shown for box in found) or (bool(keys) and with_comments),
        write_languages=sorted(NAMES.items(), key=lambda pair: pair[1].casefold()),
        is_last=page == FILL or filling.following(page) == REVIEW,
        is_content=page in {FILL, CONTENT},
    )


async def _choices(request: web.Request, filling: Filling, page: str) -> list[Choice]:
    found, chooser = [], _recipients(request, filling)
    for control in filling.controls(page):
        if control.type in {"authority", "authorities"}:
            value = filling.draft.control.get(control.name, ())
            chosen = (value,) if isinstance(value, str) else tuple(value)
            asked = Asked(
                words=request.query.get(f"q.{control.name}", "")[:200],
                state=request.query.get(f"state.{control.name}", "")[:2],
            )
            found.append(await asyncio.to_thread(chooser.choice, control, chosen, asked))
    return found


async def _review_page(
    request: web.Request, filling: Filling, errors: Sequence[tuple[str, str]], *, status: int = 200
) -> web.Response:
    words = words_of(request)
    lists = request.app[CATALOGUE].lists
    content, left_out = filling.sent(lists)
    faults = filling.faults(lists, content)
    names = await asyncio.to_thread(reviewing.names, request.app[DIRECTORY], words, filling)
    return render(
        request,
        "cases/review.html",
        status=status,
        errors=errors,
        filling=filling,
        steps=reviewing.step_line(words, filling, REVIEW),
        title=words.flow(filling.procedure, "step", filling.offer.step.name),
        heading=reviewing.heading(words, filling),
        about=reviewing.about(words, filling),
        help=words.flow_help(filling.procedure, "step", filling.offer.step.name),
        control=reviewing.control_rows(words, filling, names),
        forms=reviewing.form_parts(words, filling, content),
        seen_by=reviewing.readers(words, filling),
        left_out=[words.say(words.field_key(filling.procedure, form, key)) for form, key in left_out],
        missing=_errors(request, filling, faults),
        mend=[
            (message, reviewing.change_link(filling, fault))
            for fault, (_, message) in zip(faults, _errors(request, filling, faults), strict=True)
        ],
    )
