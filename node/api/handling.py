"""What handlers share: an operation as the document says it, reading a body within limits, parsing, answering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from node.api.problems import BadRequest
from node.casework.errors import TooMuchContent

MAX_BODY: Final = 2 * 1024 * 1024  # bytes of a JSON request
READ_SECONDS: Final = 30.0  # for a JSON body

M = TypeVar("M", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation: its handler, and what the document says of it."""

    method: str
    path: str
    handler: Handler
    summary: str
    takes: type[BaseModel] | None = None
    gives: type[BaseModel] | None = None
    status: int = 200
    query: dict[str, str] = field(default_factory=dict)  # parameter -> description
    required: frozenset[str] = frozenset()
    binary: str = ""  # "takes" or "gives" a file's bytes
    repeatable: bool = False  # takes an Idempotency-Key


async def body_of(request: web.Request) -> bytes:
    """The bytes of a JSON body. Raises BadRequest, TooMuchContent."""
    if request.content_type != "application/json":
        raise BadRequest("the body must be application/json")
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = b"".join([chunk async for chunk in _bounded(request, MAX_BODY)])
    except TimeoutError:
        raise BadRequest("the body did not arrive in time") from None
    return body


async def _bounded(request: web.Request, most: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.content.iter_chunked(65536):
        size += len(chunk)
        if size > most:
            raise TooMuchContent(f"a request may have {most} bytes", limit=most)
        yield chunk


def parse(model: type[M], body: bytes) -> M:
    """A body as what the operation takes. Raises BadRequest."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        # Where and what kind only: values may be personal.
        faults = tuple((".".join(map(str, e["loc"]))[:200], str(e["type"])) for e in error.errors()[:50])
        raise BadRequest("the body is not what this operation takes", faults) from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def json_of(model: BaseModel, *, status: int = 200) -> web.Response:
    """A model as the answer."""
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")
