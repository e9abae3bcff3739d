"""SIGKILL at any moment, on both sides, under load: nothing lost, nothing doubled, nothing out of order.

Two processes post to each other under twelve order keys; they are killed again and again, or kill themselves at one of
the numbered lines of docs/explanation/delivery.md; at the end both databases are compared.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import sqlite3
from pathlib import Path

import pytest

from node.ids import NodeId

from .harness import Nursery, SmallNode, prepare, until

ROOT = Path(__file__).parents[2]
LINES = ("posted", "claimed", "signed", "built", "opened", "before commit", "stored", "answered", "receipts stored")
ON_RECEIVER = frozenset({"opened", "before commit", "stored"})


@pytest.fixture(scope="module")
def nursery():
    opened = Nursery()
    yield opened
    opened.close()


def test_every_numbered_line_is_tried():
    page = (ROOT / "docs/explanation/delivery.md").read_text(encoding="utf-8")
    numbered = re.findall(r"^\d+\. (?:.*\n)*?.*?\(`([a-z ]+)`\)", page, flags=re.MULTILINE)
    assert tuple(numbered) == LINES


async def test_a_kill_at_each_line_loses_and_doubles_nothing(tmp_path, nursery):
    """Each line in turn, the other side alive; each life posts thirty messages more than the one before."""
    prepare(tmp_path, ["EE", "FR"])
    goal = 0
    for number, line in enumerate(LINES, start=1):
        goal = 30 * number
        victim, other = ("FR", "EE") if line in ON_RECEIVER else ("EE", "FR")
        alive = nursery.start(tmp_path, other, victim, goal)
        dying = nursery.start(tmp_path, victim, other, goal, line)
        assert await _end_of(nursery, dying) == signal.SIGKILL, f"the line was not reached: {line}"
        nursery.kill(alive)
    await _finish_and_compare(tmp_path, goal)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "kills", [6, pytest.param(30, marks=pytest.mark.long), pytest.param(100, marks=pytest.mark.long)]
)
async def test_kills_on_both_sides_under_load_lose_and_double_nothing(tmp_path, nursery, kills):
    """Both sides die at random moments, while they start and while they stop as well, often both at once."""
    prepare(tmp_path, ["EE", "FR"])
    async with asyncio.TaskGroup() as group:
        for node, peer in (("EE", "FR"), ("FR", "EE")):
            group.create_task(_live_and_die(nursery, tmp_path, node, peer, kills, random.Random(node)))
    under_way = sum(_count(tmp_path, node, "received") for node in ("EE", "FR"))
    await _finish_and_compare(tmp_path, None)
    count = sum(_rows(tmp_path, node, "SELECT count(*) FROM outbox")[0][0] for node in ("EE", "FR"))
    assert under_way > kills, "hardly any load"
    print(
        f"\n{2 * kills} kills, {count} messages, {under_way} of them received meanwhile: none lost, doubled, out of order"
    )


async def _live_and_die(nursery: Nursery, folder: Path, node: str, peer: str, kills: int, dice: random.Random) -> None:
    for _ in range(kills):
        pid = nursery.start(folder, node, peer, 1_000_000)
        await asyncio.sleep(dice.uniform(0.0, 0.9))
        assert nursery.ended(pid) is None, "it ended by itself"
        nursery.kill(pid)


async def _end_of(nursery: Nursery, pid: int) -> int:
    found: list[int] = []

    def has_ended() -> bool:
        ended = nursery.ended(pid)
        found.extend([] if ended is None else [ended])
        return bool(found)

    await until(has_ended, seconds=60)
    return found[0]


async def _finish_and_compare(folder: Path, goal: int | None) -> None:
    """Let both run in peace until every message has its receipt, then compare (`goal`: how many each has sent)."""
    ee, fr = SmallNode(folder, NodeId("EE")), SmallNode(folder, NodeId("FR"))
    async with ee.running(), fr.running():
        await _until_all_received(folder)
    for sender, receiver in (("EE", "FR"), ("FR", "EE")):
        sent = _rows(folder, sender, "SELECT message_id, order_key FROM outbox ORDER BY id")
        arrived = [row[0] for row in _rows(folder, receiver, "SELECT what FROM log ORDER BY id")]
        assert goal is None or len(sent) <= goal
        assert sorted(arrived) == sorted(message.partition("@")[0] for message, _ in sent), "lost or doubled"
        for key in {key for _, key in sent}:
            expected = [message.partition("@")[0] for message, order in sent if order == key]
            among = set(expected)
            assert [what for what in arrived if what in among] == expected, "out of order"
        assert _count(folder, sender, "received") == len(sent)


async def _until_all_received(folder: Path) -> None:
    """Until nothing waits; it fails when nothing has moved for half a minute."""

    def waiting() -> int:
        return _count(folder, "EE", "waiting") + _count(folder, "FR", "waiting")

    await until(lambda: _is_made(folder, "EE") and _is_made(folder, "FR"))  # on a busy machine the first life is short
    left = waiting()
    while left:
        before = left
        await until(lambda: waiting() < before, seconds=30)  # noqa: B023  # called before the next turn
        left = waiting()


def _is_made(folder: Path, node: str) -> bool:
    try:
        return _count(folder, node, "waiting") >= 0
    except sqlite3.OperationalError:
        return False


def _count(folder: Path, node: str, state: str) -> int:
    return _rows(folder, node, f"SELECT count(*) FROM outbox WHERE state = '{state}'")[0][0]


def _rows(folder: Path, node: str, query: str) -> list[tuple]:
    with sqlite3.connect(f"file:{folder / node / 'node.db'}?mode=ro", uri=True, timeout=20) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows
