"""The API's routes, as an aiohttp application to be mounted at /api/v1, and what guards every request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from node.api import openapi, routes
from node.api.keys import CASEWORK, CATALOGUE, DIRECTORY, OFFICIAL, REGISTRY, USERS, WORDS
from node.api.problems import problem, problem_of, response
from node.api.rendering import Words
from node.casework.casework import Casework
from node.casework.errors import BadToken
from node.casework.registry import Registry
from node.casework.users import Users
from node.catalogue import Catalogue
from node.clock import Clock
from node.directory import Directory
from node.errors import ImiError
from node.ids import parse_authority

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BEARER: Final = "Bearer "
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}
log = structlog.get_logger()


def application(
    *,
    casework: Casework,
    users: Users,
    registry: Registry,
    directory: Directory,
    catalogue: Catalogue,
    texts: Words,
    clock: Clock,  # noqa: ARG001  # all doors are given the same parts
) -> web.Application:
    """The API. Every route but the OpenAPI document needs a token."""
    app = web.Application(middlewares=[_answer_problems, _authenticate])
    app[CASEWORK], app[USERS], app[DIRECTORY] = casework, users, directory
    app[CATALOGUE], app[WORDS], app[REGISTRY] = catalogue, texts, registry
    app.router.add_get("/openapi.json", _document)
    for route in routes.ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
    return app


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as a problem; what we did not expect is logged in full and shown as internal."""
    try:
        answer = await handler(request)
    except ImiError as error:
        retry = {"Retry-After": str(error.details["seconds"])} if "seconds" in error.details else {}
        challenge = {"WWW-Authenticate": 'Bearer realm="imi-node"'} if isinstance(error, BadToken) else {}
        answer = response(problem_of(error, instance=request.path), **retry, **challenge)
    except web.HTTPException as error:
        answer = response(_of_http(error, request.path))
        if isinstance(error, web.HTTPMethodNotAllowed):
            answer.headers["Allow"] = error.headers["Allow"]
    except Exception:  # the last resort: a bug must not close the connection without an answer
        log.exception("request failed", method=request.method, path=request.match_info.route.name or "api")
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        answer = response(problem("internal", status, "a fault of this node; it was logged", instance=request.path))
    if not answer.prepared:
        answer.headers.update({name: value for name, value in _HEADERS.items() if name not in answer.headers})
    return answer


def _of_http(error: web.HTTPException, path: str) -> dict[str, object]:
    status = HTTPStatus(error.status)
    codes = {404: "refused.unknown-path", 405: "refused.method", 413: "refused.too-much-content"}
    return problem(codes.get(error.status, "refused.bad-request"), status, status.phrase, instance=path)


@web.middleware
async def _authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.match_info.handler is _document or request.match_info.http_exception is not None:
        return await handler(request)
    header = request.headers.get("Authorization", "")
    if not header.startswith(_BEARER) or len(header) > _LONGEST_HEADER:
        raise BadToken("a request needs the header `Authorization: Bearer <token>`")
    official = await request.app[USERS].official_of_token(header.removeprefix(_BEARER).strip())
    chosen = request.query.get("for", "")
    request[OFFICIAL] = official.acting_for(parse_authority(chosen)) if chosen else official
    return await handler(request)


_LONGEST_HEADER: Final = 200


async def _document(_: web.Request) -> web.Response:
    return web.Response(body=openapi.document(), content_type="application/json")
