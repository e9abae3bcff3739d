"""The demo's hands: REST calls as one fictional official, just as a national system would make them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from node.demo.plan import Login, NodePlace
from node.demo.processes import NotYet
from node.errors import Refused

T = TypeVar("T")
WAIT_SECONDS = 40.0


class ApiRefused(Refused):
    """A node's REST door turned the call down; details carry the problem's code and HTTP status."""

    code = "demo.api-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """One official at one node's REST door."""

    http: aiohttp.ClientSession
    place: NodePlace
    login: Login

    @property
    def node(self) -> str:
        """Code of the official's node."""
        return self.place.node

    @property
    def authority(self) -> str:
        """The official's authority."""
        return self.login.authority

    async def find(self, words: str, **filters: str) -> list[dict[str, Any]]:
        """Authorities found by words, best first."""
        found = await self._json("GET", "/authorities", params={"q": words, **filters})
        return list(found["authorities"])

    async def authority_of(self, authority: str) -> dict[str, Any]:
        """One authority's entry as this node's directory has it."""
        return await self._json("GET", f"/authorities/{authority}")

    async def open(self, procedure: str, step: str, control: Mapping[str, Any], content: Mapping[str, Any]) -> str:
        """Open a case with its first step; the case number."""
        body = {"procedure": procedure, "step": step, "control": control, "content": content}
        return str((await self._json("POST", "/cases", json=body))["number"])

    async def step(
        self, number: str, step: str, control: Mapping[str, Any] | None = None, content: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take one step in a case."""
        body = {"control": control or {}, "content": content or {}}
        return await self._json("POST", f"/cases/{number}/steps/{step}", json=body)

    async def case(self, number: str, language: str = "en") -> dict[str, Any]:
        """A case as this official may see it, texts in `language`."""
        return await self._json("GET", f"/cases/{number}", headers={"Accept-Language": language})

    async def cases(self) -> list[dict[str, Any]]:
        """The cases of the official's authority."""
        return list((await self._json("GET", "/cases"))["cases"])

    async def events(self, number: str) -> list[dict[str, Any]]:
        """The signed events of a case, as held here."""
        return list((await self._json("GET", f"/cases/{number}/events"))["events"])

    async def upload(self, name: str, media_type: str, data: bytes) -> dict[str, Any]:
        """Store a file for use in a document field; its reference."""
        headers = {"Content-Type": media_type}
        return await self._json("POST", "/files", params={"name": name}, data=data, headers=headers)

    async def download(self, number: str, sha256: str) -> bytes:
        """A file of a case."""
        async with self._call("GET", f"/cases/{number}/files/{sha256}") as answer:
            await _raise_for_problem(answer)
            data: bytes = await answer.read()
            return data

    async def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        async with self._call(method, path, **arguments) as answer:
            await _raise_for_problem(answer)
            return dict(await answer.json())

    def _call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **arguments: Any) -> Any:
        token = {"Authorization": f"Bearer {self.login.token}", **(headers or {})}
        return self.http.request(method, self.place.api + path, headers=token, **arguments)


async def _raise_for_problem(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        problem = await answer.json(content_type=None)
        code = str(problem.get("code", ""))
        raise ApiRefused(f"{code}: {problem.get('detail', '')}", problem=code, status=answer.status)


async def until(what: str, look: Callable[[], Awaitable[T | None]], *, seconds: float = WAIT_SECONDS) -> T:
    """Look again and again until there is something; refusals meanwhile count as nothing.

    Raises:
        NotYet: it did not come in time.
    """
    last = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if (found := await look()) is not None:
                        return found
                except (ApiRefused, aiohttp.ClientError) as error:
                    last = f" ({error})"
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise NotYet(f"waited {seconds:.0f} s in vain for: {what}{last}") from None
