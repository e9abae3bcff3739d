"""Registers of all States: finding one, and what its entry says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from node.directory.model import Register
from node.ids import parse_authority, parse_state
from node.pages import FRAME, LANG, render
from node.web.authorities import MOST, PAGE, limit_of, named, words_for
from node.web.keys import CATALOGUE, DIRECTORY

_FILTERS: Final = ("state", "type", "access")
_TYPES: Final = (
    "business", "crafts", "professional", "contractors", "associations", "public-bodies", "tax", "trusted-list", "other",
)  # fmt: skip
_ACCESS: Final = ("public", "authorities", "on-request")
routes = web.RouteTableDef()


@routes.get("/registers")
async def search(request: web.Request) -> web.Response:
    """Words in any language, narrowed by State, kind and who may consult it."""
    asked = {name: request.query.get(name, "").strip()[:200] for name in ("q", *_FILTERS)}
    options = _options(request)
    known = {name: asked[name] for name in _FILTERS if asked[name] in dict(options[name])}
    limit = limit_of(request.query.get("limit", ""))
    find = partial(
        request.app[DIRECTORY].find_registers,
        asked["q"],
        state=parse_state(known["state"]) if "state" in known else None,
        type_=known.get("type", ""),
        access=known.get("access", ""),
        limit=limit,
    )
    found = await asyncio.to_thread(find)
    more = f"/registers?{urlencode({**asked, 'limit': limit + PAGE})}" if found.has_more and limit < MOST else ""
    return render(request, "registers.html", asked=asked, options=options, found=found, more=more)


@routes.get("/registers/{id}")
async def entry(request: web.Request) -> web.Response:
    """One register's entry. Raises BadIdentifier, UnknownRegister."""
    name = parse_authority(request.match_info["id"])
    found = await asyncio.to_thread(request.app[DIRECTORY].register, name)
    return render(request, "register.html", register=found, rows=_rows(request, found))


def _options(request: web.Request) -> Mapping[str, list[tuple[str, str]]]:
    """The choices of each filter, by their names in the reader's language."""
    texts, lang = request.app[FRAME].texts, request[LANG]
    return {
        "state": named(request, "list.country", request.app[CATALOGUE].lists["country"]),
        "type": named(request, "register.type", _TYPES),
        "access": [(code, texts.t(lang, f"register.access.{code}")) for code in _ACCESS],
    }


def _rows(request: web.Request, register: Register) -> list[tuple[str, list[str]]]:
    """What the entry lists besides contents and links, by text key; what nobody knows is left out."""
    texts, lang = request.app[FRAME].texts, request[LANG]
    answers = {key: getattr(register, key) for key in ("fee", "online", "login")}
    rows = {
        "register.type": words_for(request, "register.type", [register.type] if register.type else []),
        "register.access": [texts.t(lang, f"register.access.{register.access}")],
        **{
            f"register.{key}": [texts.t(lang, f"register.answer.{answer}")] if answer != "unknown" else []
            for key, answer in answers.items()
        },
        "authority.areas": words_for(request, "area", register.areas),
        "authority.professions": words_for(request, "list.profession", register.professions),
        "authority.activities": words_for(request, "list.activity", register.activities),
        "register.territory": list(register.territory),
        "register.contact": [register.contact] if register.contact else [],
        "register.identifiers": [f"{scheme}: {value}" for scheme, value in register.identifiers.items()],
    }
    return [(name, values) for name, values in rows.items() if values]
