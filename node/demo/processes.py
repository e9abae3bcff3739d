"""The demo's node processes: started, watched, killed where a scenario says so, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp

from node.errors import SetupError, Unavailable
from node.ids import NodeId

START_SECONDS = 45.0
STOP_SECONDS = 15.0


class NodeDidNotStart(SetupError):
    """A node process ended, or was not ready in time; the message carries its last log lines."""

    code = "setup.node-did-not-start"


class NotYet(Unavailable):
    """Something awaited did not happen in time."""

    code = "unavailable.not-yet"


@dataclass(slots=True)
class NodeProcess:
    """One `imi-node serve`, with its log in its folder."""

    node: NodeId
    config: Path
    management: str
    _process: asyncio.subprocess.Process | None = None

    @property
    def log_file(self) -> Path:
        """Where the process writes its JSON log lines."""
        return self.config.parent / "node.log"

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, *extra: str) -> None:
        """Start and wait until the node says it is ready.

        Raises:
            NodeDidNotStart: it ended or took too long.
        """
        with self.log_file.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "node", "serve", "--config", str(self.config), *extra,
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        await self._until_ready()

    async def _until_ready(self) -> None:
        assert self._process is not None
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            for _ in range(int(START_SECONDS / 0.1)):
                if self._process.returncode is not None:
                    raise NodeDidNotStart(f"node {self.node} ended at its start: {self._last_lines()}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"{self.management}/health/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise NodeDidNotStart(f"node {self.node} was not ready after {START_SECONDS:.0f} s: {self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no flush."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


@dataclass(slots=True)
class Processes:
    """All node processes of a demo; leaving the context ends them."""

    nodes: dict[NodeId, NodeProcess] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(process.stop() for process in self.nodes.values()))

    async def start_all(self) -> None:
        """Start every node, several at once."""
        async with asyncio.TaskGroup() as group:
            for process in self.nodes.values():
                group.create_task(process.start(), name=f"start {process.node}")
