"""Chromium at the pages of several nodes in this process: real databases, catalogue, directories and keys."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from argon2 import PasswordHasher
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, Page, async_playwright

from node import web as officials
from node.casework.users import Users
from node.catalogue import Catalogue
from node.directory.importing import Overlay, read_authorities, read_registers
from node.ids import AuthorityId, NodeId
from node.settings import Settings, shipped
from node.texts import Texts

_spec = importlib.util.spec_from_file_location(
    "casework_federation", Path(__file__).parent.parent / "casework" / "federation.py"
)
assert _spec
assert _spec.loader
back_to_back = importlib.util.module_from_spec(_spec)
sys.modules["casework_federation"] = back_to_back
_spec.loader.exec_module(back_to_back)

NODES = ("EE", "FR", "RO", "DE", "DE-BY", "EU")
PASSWORD = "a long password"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PEOPLE = {  # node -> login -> authority, all of the shipped directory
    "FR": {"school": "FR:8a294d95e1", "alerts": "FR:e48ce0c12f"},
    "RO": {"school": "RO:9b96e157d7"},
    "EE": {"school": "EE:4920f9f426", "alerts": "EE:a771c054c5", "ministry": "EE:b81b464c76"},
}
ROLES = {
    "ministry": ("handler", "data-administrator", "local-administrator")
}  # of everybody else: handler, disseminator


class Federation(back_to_back.Federation):
    """With the shipped authorities of the nodes that run, the overlay laid over them."""

    def publish(self, directory: Any, _: Any) -> None:
        overlay = Overlay(shipped("directory", "overlay.toml"))
        for state in ("EE", "FR", "RO"):
            read = read_authorities(shipped("directory", "authorities", f"{state}.jsonl"), node=NodeId(state))
            named = [authority for authority in overlay.over(read) if authority.roles]
            directory.publish(NodeId(state), named, self.signing[NodeId("EU")].signer)
            registers = [
                register
                for file in sorted(shipped("directory", "registers").glob("*.jsonl"))
                for register in read_registers(file)
                if register.state == state
            ]
            directory.publish(NodeId(state), registers, self.signing[NodeId("EU")].signer, collection="registers")


@dataclass
class Office:
    """A person's browser at one node."""

    page: Page
    address: str
    login: str
    axe: Axe
    looked_at: list[str] = field(default_factory=list)

    async def open(self, path: str) -> int:
        """Go to a page; its status."""
        answer = await self.page.goto(self.address + path)
        assert answer
        return answer.status

    async def sign_in(self) -> None:
        await self.open("/sign-in")
        await self.page.fill("[name=login]", self.login)
        await self.page.fill("[name=password]", PASSWORD)
        await self.page.click("main button[type=submit]")

    async def look(self) -> None:
        """No violation that axe knows, one title, nothing to be scrolled sideways on a small screen."""
        where = self.page.url.removeprefix(self.address)
        found = (await self.axe.run(self.page)).response["violations"]
        faults = [(fault["id"], [spot["html"][:200] for spot in fault["nodes"][:3]]) for fault in found]
        assert faults == [], where
        assert await self.page.locator("h1").count() == 1, where
        await self.page.set_viewport_size({"width": 320, "height": 800})
        wide = await self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        await self.page.set_viewport_size({"width": 1280, "height": 900})
        assert not wide, f"{where} is wider than a small screen"
        self.looked_at.append(where)


@dataclass
class World:
    """The federation, and the doors of its nodes."""

    federation: Any
    addresses: Mapping[str, str]
    applications: Mapping[str, web.Application]
    registries: Mapping[str, Any]
    contexts: Any
    axe: Axe

    async def office(self, node: str, login: str, *, language: str = "en-GB") -> Office:
        """A browser of somebody, signed in; without script, as every page must work."""
        context: BrowserContext = await self.contexts(locale=language)
        page = await context.new_page()
        office = Office(page, self.addresses[node], login, self.axe)
        await office.sign_in()
        return office


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(shipped())


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Mapping[NodeId, Any]:
    return back_to_back.make_signing(tmp_path_factory.mktemp("states"), NODES)


@pytest.fixture
def federation(tmp_path: Path, catalogue: Catalogue, signing: Mapping[NodeId, Any]) -> Iterator[Any]:
    made = Federation(tmp_path, catalogue, signing)
    for node in PEOPLE:
        made.start(node)
    yield made
    made.stop()


@pytest.fixture
async def chromium() -> AsyncIterator[Any]:
    """The distribution's Chromium; nothing is downloaded."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        reason = "Chromium is not installed (apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing in CI: {reason}")
        pytest.skip(reason)
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield running
        await running.close()


@pytest.fixture
async def world(federation: Any, chromium: Any, catalogue: Catalogue) -> AsyncIterator[World]:
    texts, servers, applications, registries = Texts.load(catalogue.folder), {}, {}, {}
    for node, people in PEOPLE.items():
        running = federation[node]
        users = Users(running.database, federation.clock, hasher=QUICK)
        for login, authority in people.items():
            await users.create_user(
                login=login,
                name=f"Person {node} Näidis",
                password=PASSWORD,
                authority=AuthorityId(authority),
                roles=ROLES.get(login, ("handler", "disseminator")),
                language="en",
            )
        registries[node] = federation.registry(node, users)
        applications[node] = officials.application(
            node_settings=Settings(node=node, data=running.folder),
            casework=running.casework,
            users=users,
            registry=registries[node],
            directory=running.directory,
            catalogue=catalogue,
            texts=texts,
            clock=federation.clock,
        )
        servers[node] = TestServer(applications[node])
        await servers[node].start_server()
    addresses = {node: str(server.make_url("")).rstrip("/") for node, server in servers.items()}
    yield World(federation, addresses, applications, registries, chromium.new_context, Axe())
    for server in servers.values():
        await server.close()
