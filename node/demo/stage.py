"""What a scenario can reach: officials' hands, processes, folders, logs and the tellings."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from node.demo.client import ApiRefused, Hand, until
from node.demo.plan import NodePlace
from node.demo.processes import Processes
from node.demo.transcript import Transcript
from node.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One running federation, as scenarios use it."""

    folder: Path
    http: aiohttp.ClientSession
    places: Mapping[NodeId, NodePlace]
    processes: Processes
    transcript: Transcript

    def today(self) -> date:
        """The day of this run."""
        return datetime.now(UTC).date()

    def hand(self, node: str, role: str) -> Hand:
        """The first official of a node that holds a user role."""
        place = self.places[NodeId(node)]
        login = next(login for login in place.logins if role in login.roles)
        return Hand(http=self.http, place=place, login=login)

    def hand_of(self, login: str) -> Hand:
        """The official with a sign-in name."""
        found = ((place, one) for place in self.places.values() for one in place.logins if one.login == login)
        place, one = next(found)
        return Hand(http=self.http, place=place, login=one)

    def any_hand(self, node: NodeId) -> Hand:
        """Some official of a node."""
        place = self.places[node]
        return Hand(http=self.http, place=place, login=place.logins[0])

    def authority(self, node: str, role: str = "handler") -> str:
        """The authority of that official."""
        return self.hand(node, role).authority

    def files_with(self, node: str, *needles: bytes) -> list[str]:
        """The files in a node's folder, databases and logs too, that contain any of `needles`."""
        folder = self.places[NodeId(node)].folder
        return sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and any(needle in path.read_bytes() for needle in needles)
        )

    def log_lines(self, node: str, event: str) -> list[dict[str, Any]]:
        """The lines of a node's log with this fixed phrase."""
        lines = self.processes.nodes[NodeId(node)].log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        parsed = (json.loads(line) for line in lines if line.startswith("{"))
        return [line for line in parsed if line.get("event") == event]

    async def messages(self, node: str, conversation: str = "") -> list[dict[str, Any]]:
        """What `imi-node messages list --json` says at a node."""
        more = ["--conversation", conversation] if conversation else []
        return list(await self.command(node, "messages", "list", "--json", *more))

    async def command(self, node: str, *arguments: str) -> Any:
        """Run an operator's command at a node that answers in JSON."""
        config = str(self.places[NodeId(node)].folder / "node.toml")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "node", *arguments, "--config", config,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode:
            raise ApiRefused(f"imi-node {' '.join(arguments)}: {err.decode().strip()}", problem="command", status=0)
        return json.loads(out)

    async def same_directory(self) -> None:
        """Wait until every node's directory holds as many authorities as the others."""

        async def look() -> bool | None:
            counts = {int(await self.metric(node, "imi_directory_authorities")) for node in self.places}
            return True if len(counts) == 1 and counts.pop() > 0 else None

        with self.transcript.console.status("directories become equal ..."):
            await until("equal directories", look, seconds=90)

    async def metric(self, node: NodeId, name: str) -> float:
        """The sum of one figure of a node's /metrics."""
        async with self.http.get(f"{self.places[node].management}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    async def refused(self, act: Awaitable[object]) -> str:
        """The code with which an act is refused; empty if it is not."""
        try:
            await act
        except ApiRefused as error:
            return str(error.details["problem"])
        return ""

    async def quiet(self) -> None:
        """Wait until no node that runs has a message under way."""
        for node in self.places:
            if self.processes.nodes[node].pid is not None:
                await until(f"quiet lanes at {node}", partial(self._idle, node))

    async def _idle(self, node: NodeId) -> bool | None:
        return True if not await self.metric(node, "imi_lane_waiting") else None
