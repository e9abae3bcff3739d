"""Handlers: each parses, calls one casework function, and answers. `ROUTES` is also what the OpenAPI document says."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Final
from urllib.parse import quote

from aiohttp import web

from node.api import models, registry, rendering
from node.api.handling import Route, body_of, json_of, parse
from node.api.keys import CASEWORK, CATALOGUE, DIRECTORY, OFFICIAL, WORDS
from node.api.problems import BadRequest
from node.api.rendering import Renderer
from node.casework.views import DraftContent, Once
from node.catalogue.texts import LANGUAGES
from node.directory.competence import Need, reason_in_words
from node.domain.procedures import Procedure
from node.ids import CaseNumber, parse_authority, parse_number, parse_state
from node.local_store.files import MAX_FILE_BYTES, FileTooLarge

UPLOAD_SECONDS: Final = 300.0  # for a file
MAX_FOUND: Final = 100
_KEY: Final = re.compile(r"[!-~]{1,128}")
_STEP: Final = re.compile(r"[a-z][a-z0-9-]{0,59}")


async def search_authorities(request: web.Request) -> web.Response:
    query = _query(request, _SEARCH)
    state = parse_state(query["state"]) if "state" in query else None
    found = await asyncio.to_thread(
        request.app[DIRECTORY].search,
        query.get("q", "")[:200],
        state=state,
        area=query.get("area"),
        profession=query.get("profession"),
        activity=query.get("activity"),
        role=query.get("role"),
        nuts=query.get("nuts"),
        language=query.get("language"),
        limit=_number(query.get("limit", "20"), most=MAX_FOUND),
    )
    renderer = _renderer(request)
    return json_of(
        models.Authorities(
            authorities=[renderer.authority(hit.authority) for hit in found.hits],
            understood=list(found.understood),
            partial=found.partial,
            coordinators=[renderer.authority(authority) for authority in found.fallback],
            more=found.has_more,
        )
    )


async def find_competent(request: web.Request) -> web.Response:
    query = _query(request, _NEED)
    if missing := sorted(_NEEDED - {name for name, value in query.items() if value}):
        raise BadRequest(f"the query lacks {', '.join(missing)}")
    need = Need(
        area=query["area"],
        state=parse_state(query["state"]),
        profession=query.get("profession", ""),
        activity=query.get("activity", ""),
        region=query.get("nuts", ""),
        place=query.get("place", "")[:200],
    )
    found = await asyncio.to_thread(request.app[DIRECTORY].competent, need)
    renderer = _renderer(request)
    return json_of(
        models.Competent(
            authorities=[renderer.authority(authority) for authority in found.authorities],
            reason=found.reason.value,
            text=reason_in_words(need, found, partial(renderer.words.t, renderer.lang)),
            region=found.region,
            place_known=found.is_place_known,
        )
    )


async def get_authority(request: web.Request) -> web.Response:
    authority = parse_authority(request.match_info["id"])
    found = await asyncio.to_thread(request.app[DIRECTORY].get, authority)
    return json_of(_renderer(request).authority(found))


async def search_registers(request: web.Request) -> web.Response:
    query = _query(request, _REGISTERS)
    found = await asyncio.to_thread(
        request.app[DIRECTORY].find_registers,
        query.get("q", "")[:200],
        state=parse_state(query["state"]) if "state" in query else None,
        type_=query.get("type", ""),
        access=query.get("access", ""),
        limit=_number(query.get("limit", "20"), most=MAX_FOUND),
    )
    registers = [_renderer(request).register(one) for one in found.found]
    return json_of(models.Registers(registers=registers, more=found.has_more))


async def get_register(request: web.Request) -> web.Response:
    name = parse_authority(request.match_info["id"])
    found = await asyncio.to_thread(request.app[DIRECTORY].register, name)
    return json_of(_renderer(request).register(found))


async def list_procedures(request: web.Request) -> web.Response:
    renderer, official = _renderer(request), request[OFFICIAL]
    casework = request.app[CASEWORK]
    shown = []
    for procedure in await asyncio.to_thread(casework.procedures, official):
        openers = await asyncio.to_thread(casework.openers, official, procedure)
        offers = casework.first_offers(openers[0], procedure)
        shown.append(renderer.procedure(procedure, offers, [one.authority for one in openers]))
    return json_of(models.Procedures(procedures=shown))


async def list_acted_for(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(request.app[CASEWORK].authorities, request[OFFICIAL])
    return json_of(models.ActedFor(authorities=list(found)))


async def open_case(request: web.Request) -> web.Response:
    body = await body_of(request)
    asked = parse(models.CaseRequest, body)
    official, casework = request[OFFICIAL], request.app[CASEWORK]
    if asked.step is None:
        draft = await casework.create_draft(official, asked.procedure)
        content = DraftContent(control=asked.control, content=asked.content, lang=asked.lang or official.language)
        await casework.save_draft(official, draft.number, content)
        return json_of(models.Number(number=draft.number, draft=True), status=201)
    number = await casework.open_case(
        official,
        asked.procedure,
        asked.step,
        control=asked.control,
        content=asked.content,
        lang=asked.lang or official.language,
        once=_once(request, body),
    )
    return json_of(models.Number(number=number, draft=False), status=201)


async def take_step(request: web.Request) -> web.Response:
    body = await body_of(request)
    asked = parse(models.StepRequest, body)
    official, casework = request[OFFICIAL], request.app[CASEWORK]
    number = await casework.take_step(
        official,
        _case_number(request),
        _step(request.match_info["step"]),
        control=asked.control,
        content=asked.content,
        lang=asked.lang or official.language,
        expected=asked.expected,
        once=_once(request, body),
    )
    state, version = await casework.standing(official, number)
    return json_of(models.Taken(number=number, state=state, version=version))


async def list_cases(request: web.Request) -> web.Response:
    query = _query(request, _LIST)
    found = await request.app[CASEWORK].cases(
        request[OFFICIAL],
        kind=query.get("kind", ""),
        open_only=query.get("open", "") in ("1", "true"),
        after=query.get("after", "")[:200],
        limit=_number(query.get("limit", "50"), most=200),
    )
    renderer, procedures = _renderer(request), _procedures(request)
    return json_of(models.Cases(cases=[renderer.item(item, procedures) for item in found.items], more=found.more))


async def get_work(request: web.Request) -> web.Response:
    found = await request.app[CASEWORK].work(request[OFFICIAL])
    return json_of(_renderer(request).work(found, _procedures(request)))


async def get_case(request: web.Request) -> web.Response:
    found = await request.app[CASEWORK].case(request[OFFICIAL], _case_number(request))
    return json_of(_renderer(request).case(found))


async def get_events(request: web.Request) -> web.Response:
    found = await request.app[CASEWORK].events(request[OFFICIAL], _case_number(request))
    return json_of(models.Events(events=[rendering.event(event) for event in found]))


async def list_drafts(request: web.Request) -> web.Response:
    found = await request.app[CASEWORK].drafts(request[OFFICIAL])
    return json_of(models.Drafts(drafts=[rendering.draft_item(item) for item in found]))


async def get_draft(request: web.Request) -> web.Response:
    found = await request.app[CASEWORK].draft(request[OFFICIAL], _case_number(request), _draft_step(request))
    return json_of(_renderer(request).draft(found))


async def save_draft(request: web.Request) -> web.Response:
    asked = parse(models.DraftRequest, await body_of(request))
    official = request[OFFICIAL]
    content = DraftContent(control=asked.control, content=asked.content, lang=asked.lang or official.language)
    saved = await request.app[CASEWORK].save_draft(
        official, _case_number(request), content, step=_draft_step(request), expected=asked.expected
    )
    return json_of(_renderer(request).draft(saved))


async def delete_draft(request: web.Request) -> web.Response:
    await request.app[CASEWORK].delete_draft(request[OFFICIAL], _case_number(request), _draft_step(request))
    return web.Response(status=204)


async def upload(request: web.Request) -> web.Response:
    query, official = _query(request, _FILE), request[OFFICIAL]
    if (request.content_length or 0) > MAX_FILE_BYTES:
        raise FileTooLarge(f"a file may have {MAX_FILE_BYTES} bytes", limit=MAX_FILE_BYTES)
    async with asyncio.timeout(UPLOAD_SECONDS):
        file = await request.app[CASEWORK].attach(
            official,
            name=query.get("name", ""),
            media_type=request.headers.get("Content-Type", "application/octet-stream"),
            lang=query.get("lang", official.language),
            chunks=_chunks(request),
        )
    document = models.Document(sha256=file.sha256, size=file.size, name=file.name, type=file.type, lang=file.lang)
    return json_of(document, status=201)


async def download(request: web.Request) -> web.StreamResponse:
    file, chunks = await request.app[CASEWORK].fetch_file(
        request[OFFICIAL], _case_number(request), request.match_info["sha256"]
    )
    headers = {
        # The uploader's media type could make a browser run the file: it is offered for saving only.
        "Content-Type": "application/octet-stream",
        "X-Media-Type": file.type,
        "Content-Length": str(file.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    answer = web.StreamResponse(headers=headers)
    await answer.prepare(request)
    async for chunk in chunks:
        await answer.write(chunk)
    await answer.write_eof()
    return answer


_FOR: Final = {"for": "Authority to act for, where it is not the user's own or not clear from the case or draft."}
_SEARCH: Final = {
    "q": "Words in any language and script; accents don't matter.",
    "state": "State code, EL for Greece.",
    "area": "Legal area.",
    "profession": "Code of the list `profession`.",
    "activity": "Code of the list `activity`.",
    "role": "Directory role in an area: `professional-qualifications/ca`.",
    "nuts": "NUTS code of a region: found are its bodies, those of its parts, and those whose territory holds it.",
    "language": "Working language of the authority: two letters.",
    "limit": f"At most {MAX_FOUND}; 20 unless given.",
}
_REGISTERS: Final = {
    "q": "Words of name, contents or keeper, in any language and script.",
    "state": "State code, EL for Greece.",
    "type": "Type of register.",
    "access": "Who may consult it: public, authorities or on-request.",
    "limit": f"At most {MAX_FOUND}; 20 unless given.",
}
_NEED: Final = {
    "area": "Legal area.",
    "state": "State code, EL for Greece.",
    "profession": "Code of the list `profession`.",
    "activity": "Code of the list `activity`.",
    "nuts": "NUTS code of the place.",
    "place": "Instead of `nuts`: a town, postal code or region, as typed.",
}
_NEEDED: Final = frozenset({"area", "state"})
_LIST: Final = {
    "kind": "Kind of procedure: request, alert …",
    "open": "`true`: closed ones are left out.",
    "after": "`more` of the page before.",
    "limit": "At most 200; 50 unless given.",
}
_FILE: Final = {"name": "File name to show, without a folder.", "lang": "Language of the file; default: the user's."}
_DRAFT: Final = {"step": "Step within a case; none: the draft of a new case."}

ROUTES: Final = (
    Route(
        method="GET", path="/authorities", handler=search_authorities, gives=models.Authorities, query=_SEARCH,
        summary="Find competent authorities and coordinators of all States.",
    ),
    Route(
        method="GET", path="/authorities/competent", handler=find_competent, gives=models.Competent, query=_NEED,
        required=_NEEDED, summary="Who is competent for a profession or activity in a place: the authority, else its coordinator.",
    ),
    Route(
        method="GET", path="/authorities/{id}", handler=get_authority, gives=models.Authority,
        summary="One authority.",
    ),
    Route(
        method="GET", path="/registers", handler=search_registers, gives=models.Registers, query=_REGISTERS,
        summary="Find registers that can be consulted in the States.",
    ),
    Route(
        method="GET", path="/registers/{id}", handler=get_register, gives=models.Register,
        summary="One register.",
    ),
    Route(
        method="GET", path="/acted-for", handler=list_acted_for, gives=models.ActedFor, query=_FOR,
        summary="The authorities this user acts for: their own, then the bodies without users that it represents.",
    ),
    Route(
        method="GET", path="/procedures", handler=list_procedures, gives=models.Procedures, query=_FOR,
        summary="Procedures in which a case may be opened now, with their first steps and forms.",
    ),
    Route(
        method="POST", path="/cases", handler=open_case, takes=models.CaseRequest, gives=models.Number, status=201,
        query=_FOR, repeatable=True, summary="Open a case with its first step, or make a draft.",
    ),
    Route(
        method="GET", path="/cases", handler=list_cases, gives=models.Cases, query=_LIST | _FOR,
        summary="The authority's cases, last changed first.",
    ),
    Route(method="GET", path="/work", handler=get_work, gives=models.Work, query=_FOR, summary="What waits, by urgency."),
    Route(
        method="GET", path="/cases/{number}", handler=get_case, gives=models.Case, query=_FOR,
        summary="A case as this user may see it; reading personal data is audited.",
    ),
    Route(
        method="POST", path="/cases/{number}/steps/{step}", handler=take_step, takes=models.StepRequest,
        gives=models.Taken, query=_FOR, repeatable=True, summary="Take a step in a case, or send a draft.",
    ),
    Route(
        method="GET", path="/cases/{number}/events", handler=get_events, gives=models.Events, query=_FOR,
        summary="The signed events of a case, in the order they came.",
    ),
    Route(method="GET", path="/drafts", handler=list_drafts, gives=models.Drafts, query=_FOR, summary="The authority's drafts."),
    Route(
        method="GET", path="/cases/{number}/draft", handler=get_draft, gives=models.Draft, query=_DRAFT | _FOR,
        summary="A draft.",
    ),
    Route(
        method="PUT", path="/cases/{number}/draft", handler=save_draft, takes=models.DraftRequest, gives=models.Draft,
        query=_DRAFT | _FOR, summary="Keep a draft, unchecked.",
    ),
    Route(
        method="DELETE", path="/cases/{number}/draft", handler=delete_draft, status=204, query=_DRAFT | _FOR,
        summary="Forget a draft.",
    ),
    Route(
        method="POST", path="/files", handler=upload, gives=models.Document, status=201, query=_FILE | _FOR,
        required=frozenset({"name"}), binary="takes",
        summary="Store a file (20 MiB) for a document field; the answer is the field's value.",
    ),
    Route(
        method="GET", path="/cases/{number}/files/{sha256}", handler=download, query=_FOR, binary="gives",
        summary="A file of a case; audited.",
    ),
    *registry.ROUTES,
)  # fmt: skip


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(65536):
        yield chunk


def _query(request: web.Request, known: dict[str, str]) -> dict[str, str]:
    given = {name: value for name, value in request.query.items() if name != "for"}
    if unknown := given.keys() - known.keys():
        raise BadRequest("an unknown query parameter", tuple((name[:60], "unknown") for name in sorted(unknown)))
    return {name: value for name, value in given.items() if value}


def _number(text: str, *, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise BadRequest("not a number", (("limit", "number"),))
    return max(1, min(int(text), most))


def _case_number(request: web.Request) -> CaseNumber:
    return parse_number(request.match_info["number"])


def _step(text: str) -> str:
    if not _STEP.fullmatch(text):
        raise BadRequest("not the name of a step", (("step", "malformed"),))
    return text


def _draft_step(request: web.Request) -> str:
    text = _query(request, _DRAFT).get("step", "")
    return _step(text) if text else ""


def _once(request: web.Request, body: bytes) -> Once | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise BadRequest("an Idempotency-Key has 1 to 128 printable characters", (("Idempotency-Key", "malformed"),))
    digest = hashlib.sha256(f"{request.method} {request.path_qs}\n".encode() + body).hexdigest()
    return Once(key=key, digest=digest)


def _renderer(request: web.Request) -> Renderer:
    language = request.headers.get("Accept-Language", "")
    return rendering.reader(request.app[WORDS], request[OFFICIAL], language, LANGUAGES)


def _procedures(request: web.Request) -> dict[str, Procedure]:
    return {procedure.id: procedure for procedure in request.app[CATALOGUE].current()}
