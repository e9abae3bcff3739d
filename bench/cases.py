"""Case events between two whole nodes: requests opened over REST, carried, judged, folded and stored by casework.

Each request sends one message (event, parts) one way, and the automatic receipt-of-case event comes back. The figure for
the opening side includes REST, validation and composing; that of the answering side is receiving and casework alone,
and sending the small event back.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.progress import Progress

from node.demo import plan
from node.demo.client import Hand, until
from node.demo.preparing import prepare
from node.demo.processes import NodeProcess, Processes
from node.ids import NodeId

COUNT: Final = {1: 60, 8: 240, 32: 600}  # requests opened, by how many at once
PROCEDURE: Final = "professional-qualifications/information-request"


def run() -> list[dict[str, Any]]:
    """Open many requests from France to Romania, and wait until every message has its receipt."""
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        return asyncio.run(_run(Path(name)))


async def _run(folder: Path) -> list[dict[str, Any]]:
    places = [plan.place(folder, NodeId(node), 0) for node in ("FR", "RO", "EU")]
    with Progress(disable=True) as progress:
        file = await prepare(folder, places, progress)
    nodes = {p.node: NodeProcess(node=p.node, config=p.folder / "node.toml", management=p.management) for p in places}
    async with Processes(nodes) as processes, aiohttp.ClientSession() as http:
        await processes.start_all()
        france, romania = (_hand(file.nodes[node], http) for node in ("FR", "RO"))
        await until("the directory", lambda: _knows(france, romania.authority))
        await _open(france, romania.authority, 20, at_once=8)
        await until("the first requests", lambda: _all_received(folder))
        await until("the end of what nodes do after a start", lambda: _is_idle(nodes), seconds=120)
        rows = []
        for at_once in COUNT:
            rows += await _measure(folder, nodes, france, romania.authority, at_once)
        page = await _page_times(romania)
    return [
        *rows,
        {"key": "cases.read.p95", "what": "read a case over REST, p95", "value": _p(page, 95) * 1000, "unit": "ms", "goal": "< 20"},
    ]  # fmt: skip


async def _measure(
    folder: Path, nodes: dict[NodeId, NodeProcess], france: Hand, to: str, at_once: int
) -> list[dict[str, Any]]:
    """Requests opened so many at once: until every message, both ways, has its receipt."""
    before, known = _messages(folder), _last(folder)
    cpu = {node: _cpu(process.pid or 0) for node, process in nodes.items()}
    began = time.perf_counter()
    times = await _open(france, to, COUNT[at_once], at_once=at_once)
    await until("all receipts", lambda: _all_received(folder), seconds=240)
    seconds = time.perf_counter() - began
    used = {node: _cpu(process.pid or 0) - cpu[node] for node, process in nodes.items()}
    waits = _waits(folder, known)
    sent, answered = (after - was for after, was in zip(_messages(folder), before, strict=True))
    what, both = f"{at_once} at once", sent + answered
    return [
        {"key": f"cases.flight-{at_once}.rate", "what": f"{what}: case messages, both ways", "value": both / seconds, "unit": "1/s",
         "note": f"{sent} requests over REST, {answered} events back"},
        {"key": f"cases.flight-{at_once}.cpu.answering", "what": f"{what}: CPU a message, answering side", "value": used[NodeId("RO")] / both * 1000, "unit": "ms", "goal": "< 2"},
        {"key": f"cases.flight-{at_once}.cpu.opening", "what": f"{what}: CPU a message, opening side with REST", "value": used[NodeId("FR")] / both * 1000, "unit": "ms"},
        {"key": f"cases.flight-{at_once}.p50", "what": f"{what}: posted to receipt stored, p50", "value": _p(waits, 50), "unit": "ms"},
        {"key": f"cases.flight-{at_once}.p99", "what": f"{what}: posted to receipt stored, p99", "value": _p(waits, 99), "unit": "ms"},
        {"key": f"cases.flight-{at_once}.open.p50", "what": f"{what}: open a request over REST, p50", "value": _p(times, 50) * 1000, "unit": "ms"},
        {"key": f"cases.flight-{at_once}.open.p99", "what": f"{what}: open a request over REST, p99", "value": _p(times, 99) * 1000, "unit": "ms"},
    ]  # fmt: skip


async def _is_idle(nodes: dict[NodeId, NodeProcess]) -> bool | None:
    """Whether the nodes have read their directories and the like: they take less than a tenth of a core."""
    before = sum(_cpu(process.pid or 0) for process in nodes.values())
    await asyncio.sleep(2)
    return True if sum(_cpu(process.pid or 0) for process in nodes.values()) - before < 0.2 else None


def _p(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _hand(place: plan.NodePlace, http: aiohttp.ClientSession) -> Hand:
    return Hand(http=http, place=place, login=next(login for login in place.logins if "handler" in login.roles))


async def _knows(hand: Hand, authority: str) -> bool | None:
    return True if (await hand.authority_of(authority))["id"] == authority else None


async def _open(hand: Hand, to: str, count: int, *, at_once: int) -> list[float]:
    limit, times = asyncio.Semaphore(at_once), list[float]()
    wanted = (datetime.now(UTC).date() + timedelta(days=20)).isoformat()
    words = {"text": "Exemple", "lang": "fr"}

    async def one() -> None:
        async with limit:
            began = time.perf_counter()
            await hand.open(
                PROCEDURE, "send", {"to": to, "questions": ["Q2", "Q3"], "wanted": wanted, "urgency": "normal"},
                {"person": {"surname": words, "given-names": words, "birth-date": "1990-01-01"},
                 "profession": {"profession": "nurse"}, "reasoned-request": {"justification": words}},
            )  # fmt: skip
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(count)))
    return times


async def _page_times(hand: Hand) -> list[float]:
    number = (await hand.cases())[0]["number"]
    times = []
    for _ in range(60):
        began = time.perf_counter()
        await hand.case(number, "ro")
        times.append(time.perf_counter() - began)
    return times


async def _all_received(folder: Path) -> bool | None:
    return True if all(_count(folder, node, "state <> 'received'") == 0 for node in ("FR", "RO")) else None


def _messages(folder: Path) -> tuple[int, int]:
    return _count(folder, "FR", "1"), _count(folder, "RO", "1")


def _count(folder: Path, node: str, where: str) -> int:
    path = folder / "nodes" / node / "node.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20) as connection:
        found = connection.execute(f"SELECT count(*) FROM outbox WHERE {where}").fetchone()[0]
    connection.close()
    return int(found)


def _last(folder: Path) -> int:
    """The opening side's last message."""
    with sqlite3.connect(f"file:{folder / 'nodes' / 'FR' / 'node.db'}?mode=ro", uri=True, timeout=20) as connection:
        found = connection.execute("SELECT max(id) FROM outbox").fetchone()[0]
    connection.close()
    return int(found)


def _waits(folder: Path, after: int) -> list[float]:
    """Milliseconds from posting to the stored receipt, of the opening side's later messages; both stores are durable."""
    found: list[float] = []
    for node in ("FR", "RO"):
        path = folder / "nodes" / node / "node.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            query = "SELECT (julianday(received_at) - julianday(posted_at)) * 86400000.0 FROM outbox WHERE id > ?"
            found += [row[0] for row in connection.execute(query, [after])] if node == "FR" else []
        connection.close()
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
