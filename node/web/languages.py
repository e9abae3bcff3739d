"""The 24 languages, each by its own name."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from aiohttp import web

from node.casework.errors import UnknownLanguage
from node.pages import FRAME, LANGUAGE_COOKIE, SIGNED_IN, form_values, public, render, safe_path, see_other
from node.texts import NAMES

_KEPT: Final = timedelta(days=365)
routes = web.RouteTableDef()


@routes.get("/languages")
@public
async def show(request: web.Request) -> web.Response:
    """The list; choosing returns to the page it was opened from."""
    return render(request, "languages.html", back=safe_path(request.query.get("back", ""), default="/"))


@routes.post("/languages")
@public
async def choose(request: web.Request) -> web.Response:
    """Remember a language in this browser, and for the user. Raises UnknownLanguage."""
    typed = form_values(await request.post(), "language", "back")
    language, frame = typed["language"], request.app[FRAME]
    if language not in NAMES:
        raise UnknownLanguage("not the code of an official language", lang=language[:8])
    if SIGNED_IN in request:
        await frame.users.set_language(request[SIGNED_IN].official, language)
    answer = see_other(safe_path(typed["back"], default="/"))
    answer.set_cookie(
        LANGUAGE_COOKIE,
        language,
        path="/",
        max_age=int(_KEPT.total_seconds()),
        httponly=True,
        samesite="Lax",
        secure=frame.https,
    )
    raise answer
