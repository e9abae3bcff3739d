"""What surrounds every page: identity of the request, headers, language, session, form tokens."""

from __future__ import annotations

import hmac
import secrets
from typing import Final
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from node.casework.errors import SessionExpired
from node.casework.users import SignedIn
from node.pages.keys import (
    CSRF,
    FRAME,
    LANG,
    NEW_COOKIE,
    REQUEST_ID,
    SIGNED_IN,
    Frame,
    Handler,
    MissingCsrf,
    is_public,
)
from node.texts import ENGLISH, NAMES

MAX_FORM_BYTES: Final = 1024 * 1024
MAX_UPLOAD_BYTES: Final = 42 * 1024 * 1024  # the files of one act, and the form around them
LANGUAGE_COOKIE: Final = "imi-language"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_API: Final = "/api/"
log = structlog.get_logger()


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A number for the log and for the error page, and the headers of every answer."""
    if request.path.startswith(_API):
        return await handler(request)
    request[REQUEST_ID] = secrets.token_hex(8)
    request[LANG], request[CSRF], request[NEW_COOKIE] = language_of(request, None), "", True
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        try:
            answer = await handler(request)
        except web.HTTPException as redirection:
            _add_headers(request, redirection)
            raise
    if not answer.prepared:
        _add_headers(request, answer)
    return answer


def _add_headers(request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers["X-Request-Id"] = request[REQUEST_ID]
    for name, value in {**HEADERS, "Cache-Control": "no-store"}.items():
        answer.headers.setdefault(name, value)
    frame = request.config_dict[FRAME]
    if frame.https:
        answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


@web.middleware
async def recognise(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who asks, and in which language the answer is."""
    if request.path.startswith(_API):
        return await handler(request)
    frame = request.config_dict[FRAME]
    signed_in = await _session(request, frame)
    if signed_in is not None:
        request[SIGNED_IN] = signed_in
    request[LANG] = language_of(request, signed_in)
    anonymous = request.cookies.get(cookie_name(frame, "form"), "")
    request[NEW_COOKIE] = signed_in is None and len(anonymous) != _TOKEN_LENGTH
    request[CSRF] = signed_in.csrf if signed_in else (secrets.token_hex(16) if request[NEW_COOKIE] else anonymous)
    answer = await handler(request)
    if request[NEW_COOKIE] and not answer.prepared and answer.content_type == "text/html":
        set_cookie(answer, frame, "form", request[CSRF])
    return answer


_TOKEN_LENGTH: Final = 32


@web.middleware
async def protect(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Deny by default: pages need a session, forms their token, bodies an end."""
    if request.path.startswith(_API) or request.match_info.http_exception is not None:
        return await handler(request)
    if SIGNED_IN not in request and not is_public(request):
        raise web.HTTPSeeOther(f"/sign-in?back={quote(_way_back(request), safe='/')}")
    if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
        _check_size(request)
        await _check_token(request)
    return await handler(request)


def _check_size(request: web.Request) -> None:
    is_upload = request.content_type == "multipart/form-data" and SIGNED_IN in request
    limit = MAX_UPLOAD_BYTES if is_upload else MAX_FORM_BYTES
    if request.content_length is None and request.body_exists:
        raise web.HTTPLengthRequired
    if (request.content_length or 0) > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=request.content_length or 0)


async def _check_token(request: web.Request) -> None:
    """A form carries the token of the session it was shown to; browsers also say where a request comes from."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise MissingCsrf("the form was sent from another site")
    try:
        given = (await request.post()).get("csrf", "")
    except (ValueError, LookupError, AssertionError, HttpProcessingError) as error:
        raise web.HTTPBadRequest from error  # no form: unknown or wrong charset, broken multipart
    if request[NEW_COOKIE] or not isinstance(given, str) or not hmac.compare_digest(given.encode(), _token(request)):
        raise MissingCsrf("the form lacks the token of this session")


def _token(request: web.Request) -> bytes:
    return request[CSRF].encode()


async def _session(request: web.Request, frame: Frame) -> SignedIn | None:
    secret = session_cookie(request)
    if not secret or len(secret) > 100:
        return None
    try:
        return await frame.users.session(secret)
    except SessionExpired:
        return None


def session_cookie(request: web.Request) -> str:
    """The secret that the browser holds, whether its session still runs or not."""
    return request.cookies.get(cookie_name(request.config_dict[FRAME], "session"), "")


def language_of(request: web.Request, signed_in: SignedIn | None) -> str:
    """The user's language, else the cookie's, else the best the browser asks for, else English."""
    for code in (signed_in.official.language if signed_in else "", request.cookies.get(LANGUAGE_COOKIE, "")):
        if code in NAMES:
            return code
    return _asked(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")[:400])


def _asked(header: str) -> str:
    wanted: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, _, weight = part.partition(";")
        code = tag.strip().lower()[:2] if tag.strip()[2:3] in {"", "-"} else ""
        try:
            wanted.append((-float(weight.strip().removeprefix("q=") or 1), code))
        except ValueError:
            continue
    return next((code for _, code in sorted(wanted, key=lambda w: w[0]) if code in NAMES), ENGLISH)


def cookie_name(frame: Frame, kind: str) -> str:
    """Cookies carry the node's code: several nodes on one machine do not sign each other out."""
    prefix = "__Host-" if frame.https else ""
    return f"{prefix}imi-{frame.node.lower()}-{kind}"


def set_cookie(answer: web.StreamResponse, frame: Frame, kind: str, value: str) -> None:
    """A cookie until the browser is closed, out of reach for scripts and other sites."""
    answer.set_cookie(cookie_name(frame, kind), value, path="/", httponly=True, samesite="Lax", secure=frame.https)


def drop_cookie(answer: web.StreamResponse, frame: Frame, kind: str) -> None:
    answer.del_cookie(cookie_name(frame, kind), path="/", httponly=True, samesite="Lax", secure=frame.https)


def _way_back(request: web.Request) -> str:
    """The page to return to after signing in: this one, or the one whose form was sent."""
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD}:
        return request.path_qs
    referrer = urlsplit(request.headers.get(hdrs.REFERER, "")[:2000])
    return safe_path(referrer.path) if referrer.netloc == request.host else "/work"


def safe_path(path: str, default: str = "/work") -> str:
    """A path of this site, or the default: never a way to another host."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and len(path) <= 1000
    return path if is_ours and path.isprintable() and "\\" not in path else default
