"""Messages between two node processes over mutual TLS, both stores durable: rate, waiting times, CPU, bytes, memory.

The receiver runs in a process of its own, the sender in this one; WAL and synchronous=FULL are asserted on both files.
The same two processes are measured with storing switched off, too: what is left is AS4, HTTP and TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import text

from node.federation import as4, outbox
from node.federation.agreements import terms
from node.ids import MessageId, NodeId, new_message_id
from tests.delivery.harness import MIB, SmallNode, prepare, until

COUNT: Final = 3000
SIZE: Final = 2048
FLIGHTS: Final = (1, 8, 32)
CASES: Final = 200
MANY: Final = 1_000_000
LARGE: Final = 48  # messages with a file of 1 MiB
SUITES: Final = {"2.0": ("as4-2.0-ed25519-x25519", ()), "1.15": ("as4-1.15-rsa", ("rsa",))}
EE, FR = NodeId("EE"), NodeId("FR")
HERE: Final = Path(__file__).resolve().parents[1]

Row = dict[str, Any]


def run() -> list[Row]:
    """Both suites; with 2.0 also large messages, and the claim behind a million."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rows: list[Row] = []
    for key, (suite, families) in SUITES.items():
        with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
            folder = Path(name)
            prepare(folder, [EE, FR], families=families, suite=suite)
            rows += asyncio.run(_bare(folder, key))
            rows += asyncio.run(_durable(folder, key, whole=key == "2.0"))
    return rows


def _row(key: str, what: str, value: float, unit: str, **more: str) -> Row:
    return {"key": f"delivery.{key}", "what": what, "value": value, "unit": unit, **more}


@dataclass
class Meter:
    """Seconds by the clock, and of CPU at both sides, since it was made."""

    pid: int

    def __post_init__(self) -> None:
        self.began, self.here, self.there = time.perf_counter(), time.process_time(), _cpu(self.pid)

    def read(self) -> tuple[float, float, float]:
        return time.perf_counter() - self.began, time.process_time() - self.here, _cpu(self.pid) - self.there


async def _durable(folder: Path, suite: str, *, whole: bool) -> list[Row]:
    async with _other(folder, "0") as pid, SmallNode(folder, EE).running() as sender:
        await _check_durable(sender)
        await _send(sender, 300, "warm")
        meter = Meter(pid)
        await _send(sender, COUNT, "full")
        seconds, here, there = meter.read()
        rate = COUNT / seconds
        rows = [
            _row(f"{suite}.rate", f"{suite}: messages between two nodes", rate, "1/s", goal=">= 800" if whole else "",
                 note=f"{COUNT} of {SIZE} bytes, {CASES} cases, as many in flight as the lane allows"),
            _row(f"{suite}.cpu.sender", f"{suite}: CPU a message, sender", here / COUNT * 1000, "ms", goal="< 1.3" if whole else ""),
            _row(f"{suite}.cpu.receiver", f"{suite}: CPU a message, receiver", there / COUNT * 1000, "ms", goal="< 1.3" if whole else ""),
        ]  # fmt: skip
        rows += [row for flight in FLIGHTS for row in await _in_flight(sender, suite, flight)]
        waits = await _half_load(sender, rate / 2)
        rows += [
            _row(f"{suite}.half-load.p50", f"{suite}: posted to receipt stored at half load, p50", _p(waits, 50), "ms"),
            _row(f"{suite}.half-load.p99", f"{suite}: posted to receipt stored at half load, p99", _p(waits, 99), "ms", goal="< 100"),
        ]  # fmt: skip
        rows += await _bytes(sender, suite)
        if whole:
            rows += [row for flight in FLIGHTS for row in await _large(sender, pid, flight)]
            claim = await _claim_behind_a_million(sender)
            rows.append(_row("claim", f"claim of the next batch behind {MANY:,} waiting", claim, "ms", goal="< 2"))
        lost = "SELECT count(*) FROM outbox WHERE receipt IS NULL AND recipient = 'FR'"
        state = await sender.database.read(lambda s: s.execute(text(lost)).scalar())
        rows.append(
            _row(f"{suite}.lost", f"{suite}: messages without a verified receipt", int(state or 0), "", goal="0")
        )
        rows += [
            _row(f"{suite}.memory.{side}", f"{suite}: most memory, {side}", peak / MIB, "MiB")
            for side, peak in (("sender", _peak("self")), ("receiver", _peak(pid)))
        ]
    return rows


async def _bare(folder: Path, suite: str) -> list[Row]:
    """The same two processes without their stores: built, posted, read, receipted, receipt checked."""
    async with _other(folder, "bare") as pid, SmallNode(folder, EE).running(sending=False) as sender:
        await _send_bare(sender, 300)
        meter = Meter(pid)
        await _send_bare(sender, COUNT)
        seconds, here, there = meter.read()
    return [
        _row(f"{suite}.bare.rate", f"{suite}: the same with storing switched off", COUNT / seconds, "1/s"),
        _row(f"{suite}.bare.cpu", f"{suite}: CPU a message without storing, both sides", (here + there) / COUNT * 1000, "ms"),
    ]  # fmt: skip


async def _send_bare(node: SmallNode, count: int) -> None:
    found = terms(node.peers, node.parts.keys, FR)
    numbers = iter(range(count))
    part = as4.Part(content=_body(), mime_type="application/json")

    async def one_after_the_other() -> None:
        for _ in numbers:
            message = as4.UserMessage(
                message_id=new_message_id(EE), conversation_id="bench", sender=found.agreement.our_party,
                recipient=found.agreement.their_party, service=as4.SERVICE, action="events",
                timestamp=datetime.now(UTC), properties={"originalSender": "EE", "finalRecipient": "FR"}, parts=(part,),
            )  # fmt: skip
            built = as4.build(message, agreement=found.agreement, signer=found.signer, encrypt_for=found.encrypt_for)
            kind, answer = await node.parts.transport.post_message(FR, built.body, built.content_type)
            signal = as4.read_signal(kind, answer, found.agreement, at=datetime.now(UTC))
            assert isinstance(signal, as4.Receipt), signal
            as4.check_receipt(signal, message_id=message.message_id, sent=built.references)

    await asyncio.gather(*(one_after_the_other() for _ in range(max(FLIGHTS))))


@contextlib.asynccontextmanager
async def _other(folder: Path, goal: str) -> AsyncIterator[int]:
    (folder / FR / "up").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.delivery.harness", str(folder), FR, EE, goal, "", cwd=HERE
    )
    try:
        await until((folder / FR / "up").exists)
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


async def _check_durable(node: SmallNode) -> None:
    mode = await node.database.transact(lambda s: s.execute(text("PRAGMA journal_mode")).scalar())
    level = await node.database.transact(lambda s: s.execute(text("PRAGMA synchronous")).scalar())
    assert (mode, level) == ("wal", 2), f"not durable: {mode}, {level}"


def _body() -> bytes:
    return json.dumps({"x": "y" * (SIZE - 10)}).encode()


async def _send(node: SmallNode, count: int, prefix: str) -> None:
    """Post in business transactions of their own, many at once, and wait for all receipts."""
    body, limit = _body(), asyncio.Semaphore(64)

    async def one(number: int) -> None:
        async with limit:
            await node.database.transact(_post, node, body, f"{prefix}-{number}", f"{prefix}-case-{number % CASES}")

    await asyncio.gather(*(one(number) for number in range(count)))
    await until(lambda: _done(node), seconds=300)


def _post(session: Any, node: SmallNode, body: bytes, name: str, order: str, *, file: str = "") -> None:
    outbox.post(
        session, message_id=MessageId(f"{name}@ee.imi.node"), recipient=FR, order=order, conversation=order,
        action="events", content=body, at=node.clock.now(),
        files=[outbox.OutFile(name="a" * 64, mime="application/octet-stream", reference=file)] if file else (),
    )  # fmt: skip


async def _in_flight(node: SmallNode, suite: str, flight: int) -> list[Row]:
    """Rounds of `flight` messages of different cases: the next round begins when the last has its receipts."""
    rounds = max(10, 300 // flight)
    body, began = _body(), time.perf_counter()
    for turn in range(rounds):
        names = [f"flight-{flight}-{turn}-{number}" for number in range(flight)]
        await node.database.transact(lambda s, names=names: [_post(s, node, body, name, name) for name in names])
        await until(lambda: _done(node), every=0.001)
    rate, waits = rounds * flight / (time.perf_counter() - began), await _waits(node, f"flight-{flight}-%")
    what = f"{suite}: {flight} in flight"
    return [
        _row(f"{suite}.flight-{flight}.rate", f"{what}, messages", rate, "1/s"),
        _row(f"{suite}.flight-{flight}.p50", f"{what}, posted to receipt stored, p50", _p(waits, 50), "ms"),
        _row(f"{suite}.flight-{flight}.p99", f"{what}, posted to receipt stored, p99", _p(waits, 99), "ms"),
    ]


async def _large(node: SmallNode, pid: int, flight: int) -> list[Row]:
    """Rounds of `flight` messages with a file of 1 MiB that does not compress."""
    meter = Meter(pid)
    for turn in range(max(2, LARGE // flight)):
        for number in range(flight):
            name = f"large-{flight}-{turn}-{number}"
            await node.database.transact(_post, node, b"{}", name, name, file="noise:1")
        await until(lambda: _done(node), seconds=300, every=0.005)
    seconds, here, there = meter.read()
    waits = await _waits(node, f"large-{flight}-%")
    what, count = f"2.0: 1 MiB, {flight} in flight", len(waits)
    return [
        _row(f"2.0.1-mib.flight-{flight}.rate", f"{what}, messages", count / seconds, "1/s"),
        _row(f"2.0.1-mib.flight-{flight}.cpu.sender", f"{what}: CPU a message, sender", here / count * 1000, "ms"),
        _row(f"2.0.1-mib.flight-{flight}.cpu.receiver", f"{what}: CPU a message, receiver", there / count * 1000, "ms"),
        _row(f"2.0.1-mib.flight-{flight}.p50", f"{what}, posted to receipt stored, p50", _p(waits, 50), "ms"),
        _row(f"2.0.1-mib.flight-{flight}.p99", f"{what}, posted to receipt stored, p99", _p(waits, 99), "ms"),
    ]


async def _bytes(node: SmallNode, suite: str) -> list[Row]:
    query = "SELECT avg(length(body)), avg(length(receipt)) FROM outbox WHERE message_id LIKE 'full-%'"
    sent, got = await node.database.read(lambda s: s.execute(text(query)).one())
    return [
        _row(f"{suite}.bytes.message", f"{suite}: bytes of a message", sent, "bytes", note=f"payload {SIZE} bytes"),
        _row(f"{suite}.bytes.receipt", f"{suite}: bytes of a receipt", got, "bytes"),
    ]


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
    return not (await node.database.read(outbox.waiting_by_recipient)).get(FR, 0)


async def _half_load(node: SmallNode, rate: float) -> list[float]:
    """One message every 1/rate seconds for five seconds."""
    body, count = _body(), int(rate * 5)
    began = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        await node.database.transact(_post, node, body, f"half-{number}", f"half-case-{number}")
    await until(lambda: _done(node), seconds=60)
    return await _waits(node, "half-%")


async def _waits(node: SmallNode, like: str) -> list[float]:
    """From posting to the stored receipt, in milliseconds."""
    query = "SELECT (julianday(received_at) - julianday(posted_at)) * 86400e3 FROM outbox WHERE message_id LIKE :like"
    return [row[0] for row in await node.database.read(lambda s: s.execute(text(query), {"like": like}).fetchall())]


def _p(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _cpu(pid: int) -> float:
    """User and system seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int | str) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0.0
