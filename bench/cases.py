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

COUNT: Final = 600
AT_ONCE: Final = 16
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
        await _open(france, romania.authority, 20)
        await until("the first requests", lambda: _all_received(folder))
        before = _messages(folder)
        cpu = {node: _cpu(process.pid or 0) for node, process in nodes.items()}
        began = time.perf_counter()
        times = await _open(france, romania.authority, COUNT)
        await until("all receipts", lambda: _all_received(folder), seconds=240)
        seconds = time.perf_counter() - began
        used = {node: _cpu(process.pid or 0) - cpu[node] for node, process in nodes.items()}
        page = await _page_times(romania)
    waits = _waits(folder)
    sent, answered = (after - was for after, was in zip(_messages(folder), before, strict=True))
    return [
        {"key": "cases.rate", "what": "case messages between two nodes, both ways", "value": (sent + answered) / seconds, "unit": "1/s",
         "note": f"{sent} requests over REST, {answered} events back, in {seconds:.0f} s"},
        {"key": "cases.cpu.answering", "what": "CPU a message, answering side", "value": used[NodeId("RO")] / (sent + answered) * 1000, "unit": "ms", "goal": "< 2"},
        {"key": "cases.cpu.opening", "what": "CPU a message, opening side with REST", "value": used[NodeId("FR")] / (sent + answered) * 1000, "unit": "ms"},
        {"key": "cases.wait.p50", "what": "posted to receipt stored, p50", "value": statistics.median(waits), "unit": "ms", "note": "at this load"},
        {"key": "cases.wait.p99", "what": "posted to receipt stored, p99", "value": statistics.quantiles(waits, n=100)[98], "unit": "ms"},
        {"key": "cases.open.p50", "what": "open a request over REST, p50", "value": statistics.median(times) * 1000, "unit": "ms", "note": f"{AT_ONCE} at once"},
        {"key": "cases.open.p99", "what": "open a request over REST, p99", "value": statistics.quantiles(times, n=100)[98] * 1000, "unit": "ms"},
        {"key": "cases.read.p95", "what": "read a case over REST, p95", "value": statistics.quantiles(page, n=20)[18] * 1000, "unit": "ms", "goal": "< 20"},
    ]  # fmt: skip


def _hand(place: plan.NodePlace, http: aiohttp.ClientSession) -> Hand:
    return Hand(http=http, place=place, login=next(login for login in place.logins if "handler" in login.roles))


async def _knows(hand: Hand, authority: str) -> bool | None:
    return True if (await hand.authority_of(authority))["id"] == authority else None


async def _open(hand: Hand, to: str, count: int) -> list[float]:
    limit, times = asyncio.Semaphore(AT_ONCE), list[float]()
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


def _waits(folder: Path) -> list[float]:
    """Milliseconds from posting to the stored receipt, of the opening side's messages; both stores are durable."""
    found: list[float] = []
    for node in ("FR", "RO"):
        path = folder / "nodes" / node / "node.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            query = "SELECT (julianday(received_at) - julianday(posted_at)) * 86400000.0 FROM outbox"
            found += [row[0] for row in connection.execute(query)] if node == "FR" else []
        connection.close()
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
