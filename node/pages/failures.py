"""Failures as pages: what happened and what to do, in the reader's language, with the frame around it."""

from __future__ import annotations

from typing import Final

import structlog
from aiohttp import web

from node.errors import ImiError, PeerError, Refused, Unavailable
from node.pages.frame import render
from node.pages.keys import FRAME, Handler
from node.texts import ENGLISH, Texts

_STATUS: Final = {
    "refused.bad-identifier": 404,
    "refused.unknown-language": 404,
    "refused.unknown-case": 404,
    "refused.unknown-file": 404,
    "refused.unknown-procedure": 404,
    "refused.unknown-authority": 404,
    "refused.unknown-register": 404,
    "refused.form-token": 403,
    "refused.no-access": 403,
    "refused.authority-moving": 409,
    "refused.case-on-its-way": 409,
    "refused.case-blocked": 403,
    "refused.case-erased": 410,
    "refused.step-not-allowed": 409,
    "refused.stale-form": 409,
    "refused.file-too-large": 413,
    "refused.sign-in": 401,
    "refused.sign-in-throttled": 429,
    "refused.unknown-invitation": 404,
    "refused.unknown-registration": 404,
    "refused.not-coordinator": 403,
    "refused.not-administrator": 403,
    "refused.authority-suspended": 403,
    "refused.already-decided": 409,
    "refused.wrong-status": 409,
    "refused.open-cases": 409,
    "refused.too-many-guesses": 429,
    "refused.unknown-user": 404,
}
_CLASSES: Final = ((Unavailable, 503), (Refused, 422), (PeerError, 502), (ImiError, 500))
_OF_HTTP: Final = {
    404: "not-found",
    405: "not-found",
    411: "too-much-content",
    413: "too-much-content",
}
log = structlog.get_logger()


@web.middleware
async def answer_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong becomes a page; what we did not expect is logged in full."""
    if request.path.startswith("/api/"):
        return await handler(request)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if isinstance(error, web.HTTPMethodNotAllowed) else {}
        return _page(request, error.status, f"error.{_OF_HTTP.get(error.status, 'refused')}", headers=headers)
    except ImiError as error:
        log.info("refused", code=error.code)
        key = text_key(request.config_dict[FRAME].texts, error)
        headers = {"Retry-After": str(error.details["seconds"])} if "seconds" in error.details else {}
        return _page(request, status_of(error), key, error.details, headers)
    except Exception:  # the last resort: a bug must not close the connection without an answer
        log.exception("page failed", method=request.method)
        return _page(request, 500, "error.internal")


def status_of(error: ImiError) -> int:
    """The HTTP status of an expected failure."""
    return _STATUS.get(error.code) or next(status for kind, status in _CLASSES if isinstance(error, kind))


def text_key(texts: Texts, error: ImiError) -> str:
    """The key of the text for an error: `error.<code>`, or that of its nearest wider code, or error.internal."""
    code = error.code
    while code:
        if texts.has(ENGLISH, f"error.{code}"):
            return f"error.{code}"
        code = code.rpartition(".")[0]
    return "error.internal"


def _page(
    request: web.Request,
    status: int,
    key: str,
    details: dict[str, str | int] | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    title = "not-found" if status in {404, 410} else "internal" if status >= 500 else "refused"
    answer = render(request, "error.html", status=status, kind=title, text=key, values=details or {})
    answer.headers.update(headers or {})
    return answer
