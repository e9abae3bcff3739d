"""Finding an authority, reading its profile, and the profile of one's own with its users."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.orm import Session

from node.directory.model import Authority
from node.errors import ImiError
from node.ids import AuthorityId, parse_authority, parse_state
from node.local_store import users
from node.pages import FRAME, LANG, render, signed_in
from node.web.keys import CASEWORK, CATALOGUE, DIRECTORY

PAGE: Final = 20
MOST: Final = 200
_FILTERS: Final = ("state", "profession", "area")
routes = web.RouteTableDef()


@dataclass(frozen=True, slots=True)
class Colleague:
    """Who works in one's authority, with user roles."""

    name: str
    roles: tuple[str, ...]


@routes.get("/authorities")
async def search(request: web.Request) -> web.Response:
    """Words in any language, narrowed by State, profession and area; more by a link."""
    asked = {name: request.query.get(name, "").strip()[:200] for name in ("q", *_FILTERS)}
    options = _options(request)
    known = {name: asked[name] for name in _FILTERS if asked[name] in dict(options[name])}
    state = parse_state(known["state"]) if "state" in known else None
    codes = {"profession": known.get("profession"), "area": known.get("area")}
    limit = _limit(request.query.get("limit", ""))
    ask = partial(request.app[DIRECTORY].search, asked["q"], limit=limit, state=state, **codes)
    found = await asyncio.to_thread(ask)
    more = f"/authorities?{urlencode({**asked, 'limit': limit + PAGE})}" if found.has_more and limit < MOST else ""
    return render(request, "authorities.html", asked=asked, options=options, found=found, more=more)


@routes.get("/authorities/{id}")
async def profile(request: web.Request) -> web.Response:
    """One authority's entry. Raises BadIdentifier, UnknownAuthority."""
    authority = parse_authority(request.match_info["id"])
    found = await asyncio.to_thread(request.app[DIRECTORY].get, authority)
    return render(request, "authority.html", authority=found, rows=_rows(request, found))


@routes.get("/our-authority")
async def ours(request: web.Request) -> web.Response:
    """The signed-in user's authority and who works in it; read only."""
    official = signed_in(request).official
    colleagues = await request.app[CASEWORK].database.read(_colleagues, official.authority)
    try:
        found = await asyncio.to_thread(request.app[DIRECTORY].get, official.authority)
    except ImiError:
        return render(request, "our-authority.html", authority=None, rows=(), colleagues=colleagues)
    return render(request, "our-authority.html", authority=found, rows=_rows(request, found), colleagues=colleagues)


def _colleagues(session: Session, authority: AuthorityId) -> tuple[Colleague, ...]:
    rows = users.of_authority(session, authority)
    return tuple(
        Colleague(row.name, tuple(filter(None, row.roles.split(",")))) for row in rows if row.closed_at is None
    )


def _limit(text: str) -> int:
    return min(max(int(text), PAGE), MOST) if text.isascii() and text.isdecimal() and len(text) < 5 else PAGE


def _options(request: web.Request) -> Mapping[str, list[tuple[str, str]]]:
    """The choices of each filter, by their names in the reader's language."""
    catalogue = request.app[CATALOGUE]
    areas = {procedure.area for procedure in catalogue.procedures.values()}
    return {
        "state": _named(request, "list.country", catalogue.lists["country"]),
        "profession": _named(request, "list.profession", catalogue.lists["profession"]),
        "area": _named(request, "area", areas),
    }


def _named(request: web.Request, kind: str, codes: Iterable[str]) -> list[tuple[str, str]]:
    texts, lang = request.app[FRAME].texts, request[LANG]
    return sorted(((code, texts.t(lang, f"{kind}.{code}")) for code in codes), key=lambda pair: pair[1].casefold())


def _rows(request: web.Request, authority: Authority) -> list[tuple[str, list[str]]]:
    """What the profile lists, by text key: names of codes the catalogue knows; what is empty is left out."""
    address = authority.address
    town = " ".join(address[part] for part in ("postal_code", "city") if address.get(part))
    rows = {
        "areas": _words(request, "area", authority.areas),
        "professions": _words(request, "list.profession", authority.professions),
        "activities": _words(request, "list.activity", authority.activities),
        "roles": _words(request, "list.directory-role", sorted({r for rs in authority.roles.values() for r in rs})),
        "address": [part for part in (address.get("street", ""), town) if part],
        "territory": list(authority.territory),
    }
    return [(name, values) for name, values in rows.items() if values]


def _words(request: web.Request, kind: str, codes: Iterable[str]) -> list[str]:
    texts, lang = request.app[FRAME].texts, request[LANG]
    shown = ((code, texts.t(lang, f"{kind}.{code}")) for code in codes)
    return [code if text == f"{kind}.{code}" else text for code, text in shown]
