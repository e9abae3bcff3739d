"""phase4 and a node, each as sender and as receiver: the same message, the same suite, mutual TLS 1.3, in one run.

A node is a real one: its messages come from and go to durable stores. phase4 stores nothing. CPU is that of the whole
process, for phase4 without its compiler threads, and after a minute at full load. Compare CPU a message; the rate
depends on how the two sides share the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import text

from bench.messages import PAYLOAD
from node.federation import as4, outbox
from node.ids import NodeId
from pki.node_keys import Family
from tests.delivery.harness import SmallNode, prepare, until
from tests.interop.keys import ListedNode
from tests.interop.phase4 import Party, Phase4, Receiver, build

WARM_SECONDS: Final = 60
COUNT: Final = 2000
FLIGHT: Final = 32
CASES: Final = 200
KEYS_MISREAD: Final = 1 / 200  # far above the 1 in 2,100 that phase4 refuses of phase4
PATH: Final = "/imi/v1/as4"
PART: Final = as4.Part(content=PAYLOAD, mime_type="application/json")
OPTIONS: Final = ("-XX:-UseDynamicNumberOfCompilerThreads", "-Xmx2g")
HERE: Final = Path(__file__).resolve().parents[1]

Spent = Callable[[], float]  # seconds of CPU of a process so far


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What COUNT messages took: seconds by the clock, and of CPU at both sides."""

    wall: float
    sender: float
    receiver: float
    refused: int = 0


def run() -> list[dict[str, Any]]:
    """Rows for each pair under 2.0 and 1.15."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        return asyncio.run(_run(Path(name), build()))


async def _run(folder: Path, classpath: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    suites: tuple[tuple[str, as4.Suite, Family | None], ...] = (
        ("2.0", as4.COMMON, None),
        ("1.15 with RSA-3072", as4.RSA, "rsa"),
    )
    for name, suite, family in suites:
        where = folder / suite.name
        prepare(where, ["EE", "FR"], families=(family,) if family else (), suite=suite.name)
        bench = _Bench(where, classpath, suite, *(ListedNode.of(where, node, family) for node in ("EE", "FR")))
        rows += _rows(f"{name[:4].strip()}.phase4-phase4", f"{name}, phase4 to phase4", await bench.phase4_to_phase4())
        rows += _rows(f"{name[:4].strip()}.phase4-node", f"{name}, phase4 to a node", await bench.phase4_to_node())
        rows += _rows(f"{name[:4].strip()}.node-phase4", f"{name}, a node to phase4", await bench.node_to_phase4())
        rows += _rows(f"{name[:4].strip()}.node-node", f"{name}, a node to a node", await bench.node_to_node())
    return rows


def _rows(key: str, what: str, measured: Measured) -> list[dict[str, Any]]:
    note = f"{COUNT} messages of {len(PAYLOAD)} bytes"
    if measured.refused:
        note += f", of them {measured.refused} refused for ever: their X25519 key read as a DSA key"
    return [
        {"key": f"peers.{key}.rate", "what": what, "value": COUNT / measured.wall, "unit": "1/s", "note": note},
        {
            "key": f"peers.{key}.cpu.sender",
            "what": f"{what}: sender",
            "value": measured.sender / COUNT * 1000,
            "unit": "ms CPU",
        },
        {
            "key": f"peers.{key}.cpu.receiver",
            "what": f"{what}: receiver",
            "value": measured.receiver / COUNT * 1000,
            "unit": "ms CPU",
        },
    ]


class _Bench:
    """Estonia sends, France receives; each is a phase4 or a node."""

    def __init__(self, folder: Path, classpath: Path, suite: as4.Suite, estonia: Party, france: Party) -> None:
        self._folder = folder
        where = folder / "java"
        self._sending = Phase4(classpath, suite, us=estonia, peer=france, folder=where / "EE", options=OPTIONS)
        self._receiving = Phase4(classpath, suite, us=france, peer=estonia, folder=where / "FR", options=OPTIONS)

    async def phase4_to_phase4(self) -> Measured:
        with self._receiving.receiving(store="false") as receiver:
            return await self._phase4_sends(receiver.url, _of(receiver))

    async def phase4_to_node(self) -> Measured:
        async with self._france() as spent:
            return await self._phase4_sends(f"https://127.0.0.1:{self._port('FR')}{PATH}", spent)

    async def node_to_phase4(self) -> Measured:
        with self._receiving.receiving(store="false", port=self._port("FR"), path=PATH) as receiver:
            return await self._node_sends(_of(receiver), WARM_SECONDS)

    async def node_to_node(self) -> Measured:
        async with self._france() as spent:
            return await self._node_sends(spent, 1)

    def _port(self, node: str) -> int:
        return int((self._folder / node / "port").read_text())

    async def _phase4_sends(self, url: str, receiver: Spent) -> Measured:
        settings = {"warm": WARM_SECONDS, "count": COUNT, "flight": FLIGHT}
        command = self._sending.sending(url, [PART], settings)
        log = (self._sending.folder / "send.log").open("wb")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
        try:
            assert process.stdout
            async with asyncio.timeout(WARM_SECONDS + 300):
                assert await process.stdout.readline() == b"measuring\n", Path(log.name).read_text()
                before = receiver()
                summary = json.loads(await process.stdout.readline())
                spent = receiver() - before
                await process.wait()
        finally:
            log.close()
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert summary["failures"] <= COUNT * KEYS_MISREAD, summary
        assert not summary["failures"] or "EBMS:0102" in summary["failure"], summary
        return Measured(
            wall=summary["wall"],
            sender=summary["cpu"] - summary["compiling"],
            receiver=spent,
            refused=summary["failures"],
        )

    async def _node_sends(self, receiver: Spent, warm_seconds: float) -> Measured:
        async with SmallNode(self._folder, NodeId("EE")).running() as node:
            until_then, rounds = time.monotonic() + warm_seconds, 0
            while time.monotonic() < until_then:
                await _send(node, 200, f"{time.monotonic_ns()}-{rounds}")
                rounds += 1
            before, here, began = receiver(), time.process_time(), time.perf_counter()
            await _send(node, COUNT, f"{time.monotonic_ns()}-measured")
            wall, sender = time.perf_counter() - began, time.process_time() - here
            return Measured(wall=wall, sender=sender, receiver=receiver() - before)

    @contextlib.asynccontextmanager
    async def _france(self) -> AsyncIterator[Spent]:
        """A node in a process of its own."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.delivery.harness", str(self._folder), "FR", "EE", "0", "", cwd=HERE
        )
        up = self._folder / "FR" / "up"
        try:
            await until(up.exists)
            yield lambda: _cpu(process.pid)
        finally:
            up.unlink(missing_ok=True)
            process.terminate()
            await process.wait()


def _of(receiver: Receiver) -> Spent:
    def spent() -> float:
        cpu, compiling, _ = receiver.usage()
        return cpu - compiling

    return spent


async def _send(node: SmallNode, count: int, prefix: str) -> None:
    """Post messages in transactions of their own, FLIGHT at once, and wait for all receipts."""
    limit = asyncio.Semaphore(FLIGHT)

    async def one(number: int) -> None:
        async with limit:
            await node.database.transact(_post, node, f"{prefix}-{number}", f"case-{number % CASES}")

    await asyncio.gather(*(one(number) for number in range(count)))
    await until(lambda: _all_received(node), seconds=300)


def _post(session: Any, node: SmallNode, name: str, order: str) -> None:
    outbox.post(
        session, message_id=f"{name}@ee.imi.node", recipient=NodeId("FR"), order=order, conversation=order,
        action="events", content=PAYLOAD, at=node.clock.now(),
    )  # fmt: skip


async def _all_received(node: SmallNode) -> bool:
    states = await node.database.read(
        lambda s: s.execute(text("SELECT DISTINCT state FROM outbox WHERE state != 'received'")).scalars().all()
    )
    assert set(states) <= {"waiting"}, f"phase4 or a node refused a message: {states}"
    return not states


def _cpu(pid: int) -> float:
    """User and system seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
