"""Finding an authority, reading its profile, and the profile of one's own with its users."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from node.directory.model import Authority
from node.ids import parse_authority, parse_state
from node.pages import FRAME, LANG, render
from node.web.keys import CATALOGUE, DIRECTORY

PAGE: Final = 20
MOST: Final = 200
_FILTERS: Final = ("state", "profession", "area")
routes = web.RouteTableDef()


@routes.get("/authorities")
async def search(request: web.Request) -> web.Response:
    """Words in any language, narrowed by State, profession and area; more by a link."""
    asked = {name: request.query.get(name, "").strip()[:200] for name in ("q", *_FILTERS)}
    options = _options(request)
    known = {name: asked[name] for name in _FILTERS if asked[name] in dict(options[name])}
    state = parse_state(known["state"]) if "state" in known else None
    codes = {"profession": known.get("profession"), "area": known.get("area")}
    limit = limit_of(request.query.get("limit", ""))
    ask = partial(request.app[DIRECTORY].search, asked["q"], limit=limit, state=state, **codes)
    found = await asyncio.to_thread(ask)
    more = f"/authorities?{urlencode({**asked, 'limit': limit + PAGE})}" if found.has_more and limit < MOST else ""
    return render(request, "authorities.html", asked=asked, options=options, found=found, more=more)


@routes.get("/authorities/{id}")
async def profile(request: web.Request) -> web.Response:
    """One authority's entry. Raises BadIdentifier, UnknownAuthority."""
    authority = parse_authority(request.match_info["id"])
    found = await asyncio.to_thread(request.app[DIRECTORY].get, authority)
    return render(request, "authority.html", authority=found, rows=rows_of(request, found))


def limit_of(text: str) -> int:
    """How many to show at most, as a query says it."""
    return min(max(int(text), PAGE), MOST) if text.isascii() and text.isdecimal() and len(text) < 5 else PAGE


def _options(request: web.Request) -> Mapping[str, list[tuple[str, str]]]:
    """The choices of each filter, by their names in the reader's language."""
    catalogue = request.app[CATALOGUE]
    areas = {procedure.area for procedure in catalogue.procedures.values()}
    return {
        "state": named(request, "list.country", catalogue.lists["country"]),
        "profession": named(request, "list.profession", catalogue.lists["profession"]),
        "area": named(request, "area", areas),
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
