from __future__ import annotations

import html
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from argon2 import PasswordHasher

from node import web
from node.casework import Users
from node.catalogue import Catalogue
from node.ids import AuthorityId, NodeId
from node.settings import Settings, shipped
from node.texts import Texts

_spec = importlib.util.spec_from_file_location(
    "casework_federation", Path(__file__).parents[2] / "casework" / "federation.py"
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
class Page:
    """What a browser shows after following redirections."""

    status: int
    path: str
    text: str

    def hidden(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        return html.unescape(found[1]) if found else ""


@dataclass
class Browser:
    """One signed-in user's browser at one node."""

    client: Any
    world: Any
    csrf: str = ""

    async def get(self, path: str) -> Page:
        async with self.client.get(path) as answer:
            return await self._page(answer)

    async def post(self, path: str, *, files: Mapping[str, tuple[str, bytes]] | None = None, **fields: Any) -> Page:
        """Send a form with the token and the version of the page it is on."""
        if "version" not in fields and re.search("/(new|act)/", path):
            fields["version"] = (await self.get(path)).hidden("version")
        form = aiohttp.FormData(default_to_multipart=bool(files), quote_fields=False)
        for name, value in {"csrf": self.csrf, **fields}.items():
            for one in (value,) if isinstance(value, str) else value:
                form.add_field(name, one)
        for name, (filename, data) in (files or {}).items():
            form.add_field(name, data, filename=filename, content_type="application/pdf")
        async with self.client.post(path, data=form, headers={"Accept-Encoding": "identity"}) as answer:
            return await self._page(answer)

    async def send(self, review: Page) -> Page:
        """Press the button of a review."""
        path = review.path.partition("?")[0]
        return await self.post(path, expected=review.hidden("expected"))

    async def _page(self, answer: aiohttp.ClientResponse) -> Page:
        page = Page(answer.status, answer.url.path, await answer.text())
        self.csrf = page.hidden("csrf") or self.csrf
        return page


@pytest.fixture
async def browser(federation: Any, aiohttp_client: Any) -> Any:
    """`await browser("EE", "EE:school")`: signed in at a node, as a user of an authority."""

    async def open_browser(node: str, authority: str, roles: tuple[str, ...] = ("handler", "disseminator")) -> Browser:
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
        app = web.application(
            node_settings=Settings(node=NodeId(node), data=running.folder),
            casework=running.casework,
            users=users,
            registry=world.registry(node, users),
            directory=running.directory,
            catalogue=world.catalogue,
            texts=Texts.load(world.catalogue.folder),
            clock=world.clock,
        )
        opened = Browser(await aiohttp_client(app), world)
        await opened.get("/sign-in")
        page = await opened.post("/sign-in", login=login, password="a long password", back="/work")
        assert page.path == "/work"
        return opened

    return open_browser
