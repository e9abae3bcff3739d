from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from node import api
from node.casework import Users
from node.catalogue import Catalogue
from node.ids import AuthorityId, NodeId
from node.settings import shipped
from node.texts import Texts

_spec = importlib.util.spec_from_file_location(
    "casework_federation", Path(__file__).parent.parent / "casework" / "federation.py"
)
assert _spec
assert _spec.loader
federation_module = importlib.util.module_from_spec(_spec)
sys.modules["casework_federation"] = federation_module
_spec.loader.exec_module(federation_module)

NODES = ("EE", "FR", "DE", "DE-BY", "EU")
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(shipped())


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Mapping[NodeId, Any]:
    return federation_module.make_signing(tmp_path_factory.mktemp("states"), NODES)


@pytest.fixture
def federation(tmp_path: Path, catalogue: Catalogue, signing: Mapping[NodeId, Any]) -> Iterator[Callable[..., Any]]:
    made = federation_module.Federation(tmp_path, catalogue, signing)

    def start(*names: str) -> Any:
        for name in names:
            made.start(name)
        return made

    yield start
    made.stop()


@dataclass
class Door:
    """One node's API, and the token of one of its users."""

    client: Any
    token: str

    async def __call__(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        async with self.client.request(method, f"/api/v1{path}", headers=headers, **more) as answer:
            raw = await answer.read()
            kind = answer.content_type
            self.headers = answer.headers
            return answer.status, (await answer.json(content_type=None)) if "json" in kind else raw


@pytest.fixture
async def door(federation: Any, aiohttp_client: Any) -> Any:
    """`await door("EE", "EE:school")`: the API of a node, as a user of an authority."""

    async def open_door(node: str, authority: str, roles: tuple[str, ...] = ("handler", "disseminator")) -> Door:
        from aiohttp import web

        world = federation()
        running = world.nodes.get(NodeId(node)) or world.start(node)
        users = Users(running.database, world.clock, hasher=QUICK)
        login = f"user-{authority.replace(':', '-').lower()}"
        await users.create_user(
            login=login,
            name="Fictional Person",
            password="a long password",
            authority=AuthorityId(authority),
            roles=roles,
            language="en",
        )
        token = await users.create_token(login, label="test")
        app = web.Application()
        part = api.application(
            casework=running.casework,
            users=users,
            registry=world.registry(node, users),
            directory=running.directory,
            catalogue=world.catalogue,
            texts=Texts.load(world.catalogue.folder),
            clock=world.clock,
        )
        app.add_subapp("/api/v1", part)
        return Door(await aiohttp_client(app), token)

    open_door.world = federation()
    return open_door
