"""SIGKILL at any moment, on both sides, under load: nothing lost, nothing doubled, nothing out of order.

Two processes post to each other under three order keys; they are killed again and again, or kill themselves at one of
the numbered lines of docs/explanation/delivery.md; at the end both databases are compared.
"""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from node.ids import NodeId

from .harness import SmallNode, prepare, until

ROOT = Path(__file__).parents[2]
LINES = ("posted", "claimed", "signed", "built", "opened", "before commit", "stored", "answered", "receipts stored")
ON_RECEIVER = frozenset({"opened", "before commit", "stored"})


class Process:
    """One node process of the harness."""

    def __init__(self, folder: Path, node: str, peer: str, goal: int) -> None:
        self.folder, self.node, self.peer, self.goal = folder, node, peer, goal
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, line: str = "") -> None:
        (self.folder / self.node / "up").unlink(missing_ok=True)
        script = Path(__file__).with_name("harness.py")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), str(self.folder), self.node, self.peer, str(self.goal), line, cwd=ROOT,
        )  # fmt: skip
        await until(lambda: (self.folder / self.node / "up").exists() or self.process.returncode is not None)

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
        if self.process:
            await self.process.wait()


def test_every_numbered_line_is_tried():
    page = (ROOT / "docs/explanation/delivery.md").read_text(encoding="utf-8")
    numbered = re.findall(r"^\d+\. (?:.*\n)*?.*?\(`([a-z ]+)`\)", page, flags=re.MULTILINE)
    assert tuple(numbered) == LINES


@pytest.mark.parametrize("line", LINES)
async def test_a_kill_at_each_line_loses_and_doubles_nothing(tmp_path, line):
    prepare(tmp_path, ["EE", "FR"])
    first, second = Process(tmp_path, "EE", "FR", 60), Process(tmp_path, "FR", "EE", 60)
    victim, other = (second, first) if line in ON_RECEIVER else (first, second)
    try:
        await other.start()
        await victim.start(line)
        await until(lambda: victim.process.returncode is not None, seconds=30)
        assert victim.process.returncode == -9, "the line was not reached"
        await victim.start()
        await until(lambda: _all_posted(tmp_path, 60), seconds=30)
    finally:
        await first.kill()
        await second.kill()
    await _finish_and_compare(tmp_path, 60)


@pytest.mark.long
@pytest.mark.timeout(420)
async def test_sixty_kills_under_load_lose_and_double_nothing(tmp_path):
    prepare(tmp_path, ["EE", "FR"])
    goal, dice = 1500, random.Random(2026)
    processes = [Process(tmp_path, "EE", "FR", goal), Process(tmp_path, "FR", "EE", goal)]
    kills = {"EE": 0, "FR": 0}
    try:
        for process in processes:
            await process.start()
        while sum(kills.values()) < 60:
            await asyncio.sleep(dice.uniform(0.02, 0.5))
            victim = dice.choice(processes)
            await victim.kill()
            kills[victim.node] += 1
            await victim.start()
        await until(lambda: _all_posted(tmp_path, goal), seconds=120)
    finally:
        for process in processes:
            await process.kill()
    await _finish_and_compare(tmp_path, goal)
    assert min(kills.values()) >= 20
    print(f"\n{sum(kills.values())} kills ({kills}), {2 * goal} messages: none lost, doubled or out of order")


async def _finish_and_compare(folder: Path, goal: int) -> None:
    """Let both run in peace until every message has its receipt, then compare."""
    ee, fr = SmallNode(folder, NodeId("EE")), SmallNode(folder, NodeId("FR"))
    async with ee.running(), fr.running():
        await until(lambda: not _count(folder, "EE", "waiting") and not _count(folder, "FR", "waiting"), seconds=60)
    for sender, receiver in (("EE", "FR"), ("FR", "EE")):
        sent = _rows(folder, sender, "SELECT message_id, order_key FROM outbox ORDER BY id")
        arrived = [row[0] for row in _rows(folder, receiver, "SELECT what FROM log ORDER BY id")]
        assert len(sent) == goal
        assert sorted(arrived) == sorted(message.partition("@")[0] for message, _ in sent), "lost or doubled"
        for key in {key for _, key in sent}:
            expected = [message.partition("@")[0] for message, order in sent if order == key]
            assert [what for what in arrived if what in set(expected)] == expected, "out of order"
        assert _count(folder, sender, "received") == goal


def _all_posted(folder: Path, goal: int) -> bool:
    return all(_rows(folder, node, "SELECT count(*) FROM outbox")[0][0] >= goal for node in ("EE", "FR"))


def _count(folder: Path, node: str, state: str) -> int:
    return _rows(folder, node, f"SELECT count(*) FROM outbox WHERE state = '{state}'")[0][0]


def _rows(folder: Path, node: str, query: str) -> list[tuple]:
    with sqlite3.connect(f"file:{folder / node / 'node.db'}?mode=ro", uri=True, timeout=20) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows
