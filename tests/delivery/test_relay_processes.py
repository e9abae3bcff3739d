"""Three node processes, the middle one a relay: killed under load nothing is lost, and a large message is not held in memory."""

from __future__ import annotations

import asyncio
import random
import sqlite3

import pytest

from node.ids import NodeId

from .harness import MIB, Noise, Nursery, SmallNode, arrived, prepare, summed, until
from .test_large import LARGE, delivered, peak, post, process

FR, DE, DE_SN = NodeId("FR"), NodeId("DE"), NodeId("DE-SN")
GOAL = 400
HELD = 30 * MIB


@pytest.fixture
def nursery():
    opened = Nursery()
    yield opened
    opened.close()


def rows(folder, node, query):
    with sqlite3.connect(f"file:{folder / node / 'node.db'}?mode=ro", uri=True, timeout=20) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def count(folder, node, state):
    try:
        return rows(folder, node, f"SELECT count(*) FROM outbox WHERE state = '{state}'")[0][0]
    except sqlite3.OperationalError:  # its first life has only begun
        return 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.long)])
async def test_a_relay_killed_in_the_middle_of_passages_loses_and_doubles_nothing(tmp_path, nursery, kills):
    prepare(tmp_path, [FR, DE, DE_SN], relays={DE_SN: "DE"})
    dice = random.Random("relay")
    goal = GOAL * max(1, kills // 4)
    nursery.start(tmp_path, FR, DE_SN, goal)
    nursery.start(tmp_path, DE_SN, FR, goal)
    in_flight = 0
    for _ in range(kills):
        pid = nursery.start(tmp_path, DE, FR, 0)
        before = count(tmp_path, FR, "received")
        await until(lambda: count(tmp_path, FR, "received") > before + 10, seconds=60)  # noqa: B023  # called at once
        await asyncio.sleep(dice.uniform(0.0, 0.3))
        nursery.kill(pid)
        in_flight += count(tmp_path, FR, "waiting") > 0
    assert in_flight >= kills // 2, "hardly any load"
    nursery.start(tmp_path, DE, FR, 0)
    for sender in (FR, DE_SN):
        await until(lambda: count(tmp_path, sender, "received") == goal, seconds=150, every=0.2)  # noqa: B023  # called at once
    repeats = 0
    for sender, receiver in ((FR, DE_SN), (DE_SN, FR)):
        sent = rows(tmp_path, sender, "SELECT message_id, order_key FROM outbox ORDER BY id")
        there = [row[0] for row in rows(tmp_path, receiver, "SELECT what FROM log ORDER BY id")]
        assert sorted(there) == sorted(message.partition("@")[0] for message, _ in sent), "lost or doubled"
        for key in {key for _, key in sent}:
            expected = [message.partition("@")[0] for message, order in sent if order == key]
            among = set(expected)
            assert [what for what in there if what in among] == expected, "out of order"
        repeats += rows(tmp_path, receiver, "SELECT sum(repeats) FROM inbox")[0][0]
    assert rows(tmp_path, DE, "SELECT count(*) FROM inbox") == [(0,)]
    print(f"\n{kills} kills of the relay, {2 * goal} messages, {repeats} came again: none lost, doubled, out of order")


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_hundred_megabytes_pass_through_a_relay_that_holds_little_of_them(tmp_path):
    """Each in a process of its own, warmed with a small file; what is counted is what the large one adds to the relay."""
    prepare(tmp_path, [FR, DE, DE_SN], relays={DE_SN: "DE"})
    async with (
        process(tmp_path, DE_SN, "FR", "0", ""),
        process(tmp_path, DE, "FR", "0", "") as relay,
        process(tmp_path, FR, "DE-SN", "1", ""),
        SmallNode(tmp_path, FR).storing() as france,
    ):
        await france.database.transact(post, france, 1, DE_SN)
        await until(lambda: delivered(tmp_path, 2, FR), seconds=60)
        before = peak(relay)
        await france.database.transact(post, france, LARGE, DE_SN)
        await until(lambda: delivered(tmp_path, 3, FR), seconds=240)
        added = peak(relay) - before
    assert added < HELD, f"the relay took {added // MIB} MiB more"
    assert not list((tmp_path / "DE" / "messages").iterdir())
    async with SmallNode(tmp_path, DE_SN).storing() as saxony:
        assert (await saxony.database.read(arrived))[-1] == f"see the file {summed(Noise(LARGE * MIB))}"
    print(f"\n{LARGE} MiB passed, the relay took {added / MIB:.1f} MiB more")
