"""Messages between two node processes over mutual TLS, both stores durable: messages a second, CPU a message, waiting.

The receiver runs in a process of its own, the sender in this one; WAL and synchronous=FULL are asserted on both files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import text

from node.federation import outbox
from node.ids import NodeId
from tests.delivery.harness import SmallNode, prepare, until

COUNT: Final = 3000
SIZE: Final = 2048
CASES: Final = 200
MANY: Final = 1_000_000
HERE: Final = Path(__file__).resolve().parents[1]


def run() -> list[dict[str, Any]]:
    """Throughput at full load, then waiting times at half of it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        folder = Path(name)
        prepare(folder, ["EE", "FR"])
        return asyncio.run(_run(folder))


async def _run(folder: Path) -> list[dict[str, Any]]:
    async with _other(folder) as pid, SmallNode(folder, NodeId("EE")).running() as sender:
        await _check_durable(sender)
        await _send(sender, 200, "warm")
        cpu_here, cpu_there, began = time.process_time(), _cpu(pid), time.perf_counter()
        await _send(sender, COUNT, "full")
        seconds = time.perf_counter() - began
        here, there = time.process_time() - cpu_here, _cpu(pid) - cpu_there
        rate = COUNT / seconds
        waits = await _half_load(sender, rate / 2)
        claim = await _claim_behind_a_million(sender)
        state = await sender.database.read(
            lambda s: s.execute(text("SELECT count(*) FROM outbox WHERE receipt IS NULL AND recipient = 'FR'")).scalar()
        )
    note = f"{COUNT} messages of {SIZE} bytes, {CASES} cases"
    return [
        {
            "what": "messages between two nodes, opaque payload",
            "value": rate,
            "unit": "1/s",
            "goal": ">= 800",
            "note": note,
        },
        {"what": "CPU a message, sender", "value": here / COUNT * 1000, "unit": "ms", "goal": "< 1.3"},
        {"what": "CPU a message, receiver", "value": there / COUNT * 1000, "unit": "ms", "goal": "< 1.3"},
        {"what": "posted to receipt stored at half load, p50", "value": statistics.median(waits) * 1000, "unit": "ms"},
        {
            "what": "posted to receipt stored at half load, p99",
            "value": statistics.quantiles(waits, n=100)[98] * 1000,
            "unit": "ms",
            "goal": "< 100",
        },
        {"what": f"claim of the next batch behind {MANY:,} waiting", "value": claim, "unit": "ms", "goal": "< 2"},
        {"what": "messages without a verified receipt at the end", "value": int(state or 0), "goal": "0"},
    ]


@contextlib.asynccontextmanager
async def _other(folder: Path) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.delivery.harness", str(folder), "FR", "EE", "0", "", cwd=HERE
    )
    try:
        await until((folder / "FR" / "up").exists)
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


async def _check_durable(node: SmallNode) -> None:
    mode = await node.database.transact(lambda s: s.execute(text("PRAGMA journal_mode")).scalar())
    level = await node.database.transact(lambda s: s.execute(text("PRAGMA synchronous")).scalar())
    assert (mode, level) == ("wal", 2), f"not durable: {mode}, {level}"


async def _send(node: SmallNode, count: int, prefix: str) -> None:
    """Post in business transactions of their own, many at once, and wait for all receipts."""
    body = json.dumps({"x": "y" * (SIZE - 10)})
    limit = asyncio.Semaphore(64)

    async def one(number: int) -> None:
        async with limit:
            await node.database.transact(_post, node, body, f"{prefix}-{number}", f"{prefix}-case-{number % CASES}")

    await asyncio.gather(*(one(number) for number in range(count)))
    await until(lambda: _done(node), seconds=180)


def _post(session: Any, node: SmallNode, body: str, name: str, order: str) -> None:
    outbox.post(
        session, message_id=f"{name}@ee.imi.node", recipient=NodeId("FR"), order=order, conversation=order,
        action="events", content=body.encode(), at=node.clock.now(),
    )  # fmt: skip


async def _claim_behind_a_million(node: SmallNode) -> float:
    """Milliseconds; the messages wait for a node without a lane here, ten in each case."""
    await node.database.transact(lambda s: s.execute(text(_FILL)))
    now, spent = node.clock.now(), []
    for _ in range(50):
        began = time.perf_counter()
        claimed = await node.database.read(outbox.claim, NodeId("XX"), at=now)
        spent.append((time.perf_counter() - began) * 1000)
        assert len(claimed) == outbox.BATCH
    return statistics.median(spent)


_FILL: Final = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY} - 1)
INSERT INTO outbox (message_id, recipient, order_key, conversation, action, posted_at, state, attempts, due_at, unanswered,
                    last_error, content, content_reference, files, properties, content_type, signed)
SELECT i || '@xx', 'XX', 'case-' || (i % {MANY // 10}), '', 'events', '2026-01-01 00:00:00.000000', 'waiting', 0,
       CASE WHEN i < {MANY // 10} THEN '2026-01-01 00:00:00.000000' END, 0, '', zeroblob(100), '', '[]', '{{}}', '', ''
FROM n
"""


async def _done(node: SmallNode) -> bool:
    return not (await node.database.read(outbox.waiting_by_recipient)).get(NodeId("FR"), 0)


async def _half_load(node: SmallNode, rate: float) -> list[float]:
    """One message every 1/rate seconds for five seconds; from posting to the stored receipt, in seconds."""
    body, count = json.dumps({"x": "y" * (SIZE - 10)}), int(rate * 5)
    began = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        await node.database.transact(_post, node, body, f"half-{number}", f"half-case-{number}")
    await until(lambda: _done(node), seconds=60)
    query = (
        "SELECT (julianday(received_at) - julianday(posted_at)) * 86400.0 FROM outbox WHERE message_id LIKE 'half-%'"
    )
    return [row[0] for row in await node.database.read(lambda s: s.execute(text(query)).fetchall())]


def _cpu(pid: int) -> float:
    """User and system seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
