"""Signing in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from node.casework.errors import AuthorityMoving, SignInRefused, SignInThrottled
from node.pages import (
    FRAME,
    LANG,
    SIGNED_IN,
    drop_cookie,
    form_values,
    public,
    render,
    safe_path,
    see_other,
    session_cookie,
    set_cookie,
    text_key,
)

HOME: Final = "/work"
routes = web.RouteTableDef()


@routes.get("/")
@public
async def start(request: web.Request) -> web.Response:
    """The first page: work, or the sign-in."""
    raise see_other(HOME if SIGNED_IN in request else "/sign-in")


@routes.get("/sign-in")
@public
async def ask(request: web.Request) -> web.Response:
    """The form; whoever is signed in goes on at once."""
    back = safe_path(request.query.get("back", ""), default=HOME)
    if SIGNED_IN in request:
        raise see_other(back)
    notice = "expired" if session_cookie(request) else "needed" if "back" in request.query else ""
    return _form(request, {"login": "", "back": back}, notice=notice)


@routes.post("/sign-in")
@public
async def sign_in(request: web.Request) -> web.Response:
    """A session in a fresh cookie. A refusal never says whether the name or the password was wrong."""
    typed = form_values(await request.post(), "login", "back")
    password = (await request.post()).get("password", "")
    missing = [name for name, value in (("login", typed["login"]), ("password", password)) if not value]
    if missing or not isinstance(password, str):
        return _form(request, typed, errors=[(name, _t(request, f"sign-in.{name}-missing")) for name in missing])
    frame = request.app[FRAME]
    try:
        made = await frame.users.sign_in(typed["login"], password, source=source_of(request))
    except (AuthorityMoving, SignInRefused, SignInThrottled) as error:
        text = _t(request, text_key(frame.texts, error), **error.details)
        return _form(request, typed, errors=[("login", text)], wait=error.details.get("seconds"))
    if SIGNED_IN in request:
        await frame.users.sign_out(request[SIGNED_IN].secret)
    answer = see_other(safe_path(typed["back"], default=HOME))
    set_cookie(answer, frame, "session", made.secret)
    drop_cookie(answer, frame, "form")
    raise answer


@routes.post("/sign-out")
async def sign_out(request: web.Request) -> web.Response:
    """End the session here and in the browser."""
    frame = request.app[FRAME]
    await frame.users.sign_out(request[SIGNED_IN].secret)
    answer = see_other("/sign-in?done=signed-out")
    drop_cookie(answer, frame, "session")
    raise answer


def _form(
    request: web.Request,
    typed: Mapping[str, str],
    *,
    errors: list[tuple[str, str]] | None = None,
    notice: str = "",
    wait: str | int | None = None,
) -> web.Response:
    status = 429 if wait else 422 if errors else 200
    back = safe_path(typed["back"], default=HOME)
    answer = render(
        request, "sign-in.html", status=status, login=typed["login"], back=back, notice=notice, errors=errors or ()
    )
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer


def _t(request: web.Request, key: str, **values: object) -> str:
    return request.app[FRAME].texts.t(request[LANG], key, **values)


def source_of(request: web.Request) -> str:
    """The address that tries: behind the proxy that https needs, the one the proxy saw (its own entry is the last)."""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded[:64] if request.app[FRAME].https and forwarded else str(request.remote)
