"""The document says what the routes do, and the copy in docs/ is the one that is served."""

from __future__ import annotations

import json
from pathlib import Path

from openapi_pydantic import OpenAPI

from node.api import openapi
from node.api.routes import ROUTES

KEPT = Path(__file__).parent.parent.parent / "docs" / "reference" / "openapi.json"


def test_the_kept_copy_is_the_document():
    assert KEPT.read_bytes() == openapi.document(), (
        "write it anew: python -c 'import sys; from node.api import openapi; sys.stdout.buffer.write(openapi.document())' > docs/reference/openapi.json"
    )


def test_it_is_openapi_and_names_every_route():
    document = OpenAPI.model_validate_json(openapi.document())
    assert document.openapi == "3.1.0"
    named = {(method, path) for path, item in json.loads(openapi.document())["paths"].items() for method in item}
    assert named == {(route.method.lower(), route.path) for route in ROUTES}


def test_every_reference_leads_somewhere():
    text = openapi.document().decode()
    schemas = json.loads(text)["components"]["schemas"]
    for piece in text.split('"#/components/schemas/')[1:]:
        assert piece.split('"')[0] in schemas


async def test_it_is_served_without_a_token(door):
    estonia = await door("EE", "EE:school")
    async with estonia.client.get("/api/v1/openapi.json") as answer:
        assert answer.status == 200
        assert await answer.read() == openapi.document()
