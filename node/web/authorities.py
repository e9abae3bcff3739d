"""Finding an authority, reading its profile, and the profile of one's own with its users."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from node.directory import Directory, SearchResult
from node.directory.competence import Need, reason_in_words
from node.directory.model import Authority
from node.directory.regions import regions_of
from node.directory.search import ANY
from node.ids import State, parse_authority, parse_state
from node.pages import FRAME, LANG, render
from node.texts import NAMES
from node.web.keys import CATALOGUE, DIRECTORY

PAGE: Final = 20
MOST: Final = 200
_FILTERS: Final = ("state", "profession", "area", "activity", "nuts", "role", "language")
_NEED: Final = ("area", "state", "profession", "activity")
_FIRST: Final = 3  # filters that are always shown
routes = web.RouteTableDef()


@routes.get("/authorities")
async def search(request: web.Request) -> web.Response:
    """Words in any language, narrowed by State, region, area, profession, activity, role and language; more by a link."""
    asked = _asked(request, ("q", *_FILTERS))
    options = _options(request, asked["state"])
    known = {name: asked[name] for name in _FILTERS if asked[name] in dict(options[name])}
    state = parse_state(known.pop("state")) if "state" in known else None
    limit = limit_of(request.query.get("limit", ""))
    found = await asyncio.to_thread(partial(_search, request.app[DIRECTORY], asked["q"], state, known, limit))
    more = f"/authorities?{urlencode({**asked, 'limit': limit + PAGE})}" if found.has_more and limit < MOST else ""
    return render(
        request, "authorities.html", asked=asked, options=options, found=found, more=more,
        first=_FILTERS[:_FIRST], others=[name for name in _FILTERS[_FIRST:] if options[name]],
    )  # fmt: skip


@routes.get("/authorities/competent")
async def who_is_competent(request: web.Request) -> web.Response:
    """From area, profession or activity, State and place to the authority, else its coordinator, and why."""
    asked = _asked(request, (*_NEED, "place"))
    options = _options(request, asked["state"])
    known = {name: asked[name] for name in _NEED if asked[name] in dict(options[name])}
    found, reason = None, ""
    if {"area", "state"} <= known.keys():
        state = parse_state(known.pop("state"))
        need = Need(**known, state=state, place=asked["place"])
        found = await asyncio.to_thread(request.app[DIRECTORY].competent, need)
        reason = reason_in_words(need, found, partial(request.app[FRAME].texts.t, request[LANG]))
    return render(request, "competent.html", asked=asked, options=options, need=_NEED, found=found, reason=reason)


@routes.get("/authorities/{id}")
async def profile(request: web.Request) -> web.Response:
    """One authority's entry. Raises BadIdentifier, UnknownAuthority."""
    authority = parse_authority(request.match_info["id"])
    found = await asyncio.to_thread(request.app[DIRECTORY].get, authority)
    return render(request, "authority.html", authority=found, rows=rows_of(request, found))


def limit_of(text: str) -> int:
    """How many to show at most, as a query says it."""
    return min(max(int(text), PAGE), MOST) if text.isascii() and text.isdecimal() and len(text) < 5 else PAGE


def _asked(request: web.Request, names: Iterable[str]) -> dict[str, str]:
    return {name: request.query.get(name, "").strip()[:200] for name in names}


def _search(directory: Directory, words: str, state: State | None, known: dict[str, str], limit: int) -> SearchResult:
    """A role is chosen without its area: it is the area asked for, or any."""
    role = f"{known.get('area', ANY)}/{known['role']}" if "role" in known else None
    return directory.search(words, state=state, limit=limit, **{**known, "role": role})


def _options(request: web.Request, state: str) -> Mapping[str, list[tuple[str, str]]]:
    """The choices of each filter, by their names in the reader's language; regions are those of the State chosen."""
    catalogue = request.app[CATALOGUE]
    areas = {procedure.area for procedure in catalogue.procedures.values()}
    return {
        "state": named(request, "list.country", catalogue.lists["country"]),
        "profession": named(request, "list.profession", catalogue.lists["profession"]),
        "area": named(request, "area", areas),
        "activity": named(request, "list.activity", catalogue.lists["activity"]),
        "role": named(request, "list.directory-role", catalogue.lists["directory-role"]),
        "language": sorted(((code, name) for code, name in NAMES.items()), key=lambda pair: pair[1].casefold()),
        "nuts": [(nuts, f"{nuts} {name}") for nuts, name in regions_of(State(state))] if state else [],
    }


def named(request: web.Request, kind: str, codes: Iterable[str]) -> list[tuple[str, str]]:
    """Codes with their names in the reader's language, by name."""
    texts, lang = request.app[FRAME].texts, request[LANG]
    return sorted(((code, texts.t(lang, f"{kind}.{code}")) for code in codes), key=lambda pair: pair[1].casefold())


def rows_of(request: web.Request, authority: Authority) -> list[tuple[str, list[str]]]:
    """What the profile lists, by text key: names of codes the catalogue knows; what is empty is left out."""
    address = authority.address
    town = " ".join(address[part] for part in ("postal_code", "city") if address.get(part))
    rows = {
        "areas": words_for(request, "area", authority.areas),
        "professions": words_for(request, "list.profession", authority.professions),
        "activities": words_for(request, "list.activity", authority.activities),
        "roles": words_for(request, "list.directory-role", sorted({r for rs in authority.roles.values() for r in rs})),
        "address": [part for part in (address.get("street", ""), town) if part],
        "territory": list(authority.territory),
    }
    return [(name, values) for name, values in rows.items() if values]


def words_for(request: web.Request, kind: str, codes: Iterable[str]) -> list[str]:
    """The names of codes; a code that has none as it is."""
    texts, lang = request.app[FRAME].texts, request[LANG]
    shown = ((code, texts.t(lang, f"{kind}.{code}")) for code in codes)
    return [code if text == f"{kind}.{code}" else text for code, text in shown]
