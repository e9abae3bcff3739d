from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from lxml import html

from node import web as officials
from node.casework.users import Users
from node.catalogue import Catalogue
from node.ids import AuthorityId, NodeId
from node.settings import Officials, Settings, shipped
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
PASSWORD = "a long password"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(shipped())


@pytest.fixture(scope="session")
def texts(catalogue: Catalogue) -> Texts:
    return Texts.load(catalogue.folder)


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
    """An answer: status, headers, and what a browser would make of it."""

    status: int
    headers: Any
    text: str

    @property
    def tree(self) -> Any:
        return html.document_fromstring(self.text)

    @property
    def h1(self) -> str:
        return " ".join(self.tree.findtext(".//h1").split())

    @property
    def says(self) -> str:
        return " ".join(self.tree.text_content().split())

    @property
    def csrf(self) -> str:
        return re.search(r'name="csrf" value="([^"]+)"', self.text)[1]  # type: ignore[index]


@dataclass
class Browser:
    """A browser at one node's pages, with its own cookies."""

    client: Any
    world: Any
    users: Users
    node: Any

    async def get(self, path: str, **more: Any) -> Page:
        return await self._ask("GET", path, **more)

    async def post(self, path: str, form: Any, **more: Any) -> Page:
        return await self._ask("POST", path, data=form, **more)

    async def send(self, page: Page, path: str, form: Mapping[str, str], **more: Any) -> Page:
        """Send a form shown on a page: with its token."""
        return await self.post(path, {"csrf": page.csrf, **form}, **more)

    async def sign_in(self, login: str = "user", password: str = PASSWORD, back: str = "/authorities") -> Page:
        return await self.send(
            await self.get("/sign-in"), "/sign-in", {"login": login, "password": password, "back": back}
        )

    async def _ask(self, method: str, path: str, **more: Any) -> Page:
        more.setdefault("allow_redirects", False)
        async with self.client.request(method, path, **more) as answer:
            raw = await answer.read()
            return Page(answer.status, answer.headers, raw.decode("utf-8", "replace"))


@pytest.fixture
async def open_browser(federation: Any, aiohttp_client: Any, texts: Texts, tmp_path: Path) -> Any:
    """`await open_browser("EE", "EE:school")`: a browser, and a user `user` of that authority."""

    async def start(
        node: str = "EE",
        authority: str = "EE:school",
        *,
        roles: tuple[str, ...] = ("handler", "disseminator"),
        https: bool = False,
        prepare: Callable[[Any], None] | None = None,
    ) -> Browser:
        world = federation()
        running = world.nodes.get(NodeId(node)) or world.start(node)
        users = Users(running.database, world.clock, hasher=QUICK)
        await users.create_user(
            login="user",
            name="Kadri Näidis",
            password=PASSWORD,
            authority=AuthorityId(authority),
            roles=roles,
            language="en",
        )
        app = officials.application(
            node_settings=Settings(node=node, data=tmp_path, officials=Officials(https=https)),
            casework=running.casework,
            users=users,
            registry=world.registry(node, users),
            directory=running.directory,
            catalogue=world.catalogue,
            texts=texts,
            clock=world.clock,
        )
        if prepare:
            prepare(app)
        return Browser(await aiohttp_client(app), world, users, running)

    return start
