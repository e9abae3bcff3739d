"""The OpenAPI 3.1 document, made from the routes and the very models that parse and answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from openapi_pydantic import OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from node.api import models
from node.api.handling import Route
from node.api.routes import ROUTES

_REFERENCE: Final = "#/components/schemas/{model}"
_ABOUT: Final = (
    "The acts of an IMI node for national case systems: the same functions as the officials' pages. "
    "Errors are RFC 9457 problems with a stable `code`. POSTs that take an `Idempotency-Key` may be repeated safely."
)


@cache
def document() -> bytes:
    """The document as it is served and kept in docs/reference/openapi.json."""
    shaped = {model for route in ROUTES for model in (route.takes, route.gives) if model} | {models.Problem}
    _, schemas = models_json_schema(
        [(model, "validation" if _is_request(model) else "serialization") for model in _sorted(shaped)],
        ref_template=_REFERENCE,
    )
    body = {
        "openapi": "3.1.0",
        "info": {"title": "IMI node", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "paths": _paths(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    OpenAPI.model_validate(body)  # a document that is not one would be found by the test that reads it
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _is_request(model: type[BaseModel]) -> bool:
    return any(route.takes is model for route in ROUTES)


def _sorted(found: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(found, key=lambda model: model.__name__)


def _paths() -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": getattr(route.handler, "__name__", ""),
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_other_parameters(route)],
        "responses": {
            str(route.status): _answer(route),
            "default": {"description": "A problem.", "content": {"application/problem+json": _schema(models.Problem)}},
        },
    }
    if route.takes:
        operation["requestBody"] = {"required": True, "content": {"application/json": _schema(route.takes)}}
    elif route.binary == "takes":
        operation["requestBody"] = {"required": True, "content": {"*/*": {}}}
    return operation


def _answer(route: Route) -> dict[str, Any]:
    if route.gives:
        return {"description": "Done.", "content": {"application/json": _schema(route.gives)}}
    if route.binary == "gives":
        return {"description": "The file.", "content": {"application/octet-stream": {}}}
    return {"description": "Done."}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _other_parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "required": name in route.required,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in route.query.items()
    ]
    if route.repeatable:
        about = "Makes repeating safe: the same key gives the first outcome again."
        found.append(_header("Idempotency-Key", about))
    if route.gives and route.method == "GET":
        found.append(_header("Accept-Language", "Language of texts: one of the 24 official languages."))
    return found


def _header(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": about, "schema": {"type": "string"}}
