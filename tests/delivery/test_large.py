"""A hundred megabytes: through files on both sides, never through memory, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from node.federation import as4, outbox
from node.ids import MessageId, NodeId
from node.local_store.messages import InboxRow, OutboxRow

from .harness import MIB, Noise, SmallNode, arrived, prepare, summed, until

EE, FR = NodeId("EE"), NodeId("FR")
LARGE = 100
ALLOWED = 150 * MIB


def post(session, node, size, recipient=FR):
    outbox.post(
        session, message_id=MessageId(f"m{size}@ee.imi.node"), recipient=recipient, order=f"of {size}", conversation="large",
        action="events", content=b"see the file", at=node.clock.now(),
        files=[outbox.OutFile(name="a" * 64, mime="application/octet-stream", reference=f"noise:{size}")],
    )  # fmt: skip


@contextlib.asynccontextmanager
async def process(folder, node, *arguments):
    """A node in a process of its own."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.delivery.harness", str(folder), node, *arguments, cwd=Path(__file__).parents[2]
    )
    try:
        await until((folder / node / "up").exists, seconds=60)
        yield started.pid
    finally:
        started.terminate()
        await started.wait()


def peak(pid: int | str = "self") -> int:
    """The most memory a process had so far, in bytes: what the system counts as resident, mapped files too."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_hundred_megabytes_take_little_memory_on_either_side(tmp_path):
    """Each side is a process of its own, warmed with a small file; what is counted is what the large one adds."""
    prepare(tmp_path, [EE, FR])
    async with (
        process(tmp_path, "FR", "EE", "0", "") as receiver,
        process(tmp_path, "EE", "FR", "1", "") as sender,
        SmallNode(tmp_path, EE).storing() as estonia,
    ):
        await estonia.database.transact(post, estonia, 1)
        await until(lambda: delivered(tmp_path, 2), seconds=60)
        before = peak(sender), peak(receiver)
        await estonia.database.transact(post, estonia, LARGE)
        await until(lambda: delivered(tmp_path, 3), seconds=240)
        added = peak(sender) - before[0], peak(receiver) - before[1]
    assert max(added) < ALLOWED, f"sender and receiver took {[each // MIB for each in added]} MiB more"
    async with SmallNode(tmp_path, FR).storing() as france:
        assert (await france.database.read(arrived))[-1] == f"see the file {summed(Noise(LARGE * MIB))}"


async def delivered(folder, count, sender=EE):
    async with SmallNode(folder, sender).storing() as node:
        rows = await node.database.read(lambda s: s.execute(select(OutboxRow.state)).scalars().all())
    return [*rows].count("received") == count


async def test_parts_above_a_mebibyte_go_through_files_and_come_out_whole(tmp_path):
    prepare(tmp_path, [EE, FR])
    async with SmallNode(tmp_path, EE).running() as estonia, SmallNode(tmp_path, FR).running() as france:
        await estonia.database.transact(post, estonia, 3)
        await until(lambda: has(france, 1))
        assert await france.arrived() == [f"see the file {summed(Noise(3 * MIB))}"]
        row = await france.database.read(lambda s: s.execute(select(InboxRow)).scalar_one())
        sent = await estonia.database.read(lambda s: s.execute(select(OutboxRow)).scalar_one())
        assert (row.body, sent.body) == (b"", None)
        with france.bodies.open(row.body_file) as theirs, estonia.bodies.open(sent.body_file) as ours:
            assert theirs.read() == ours.read()
        # Once more, the same bytes: the stored receipt, and no second file.
        with estonia.bodies.open(sent.body_file) as file:
            _, answer = await estonia.parts.transport.post_message(FR, file, sent.content_type)
        assert answer == row.receipt
        assert [path.name for path in (tmp_path / "FR" / "messages").iterdir()] == [row.body_file]


async def has(node, count):
    return len(await node.arrived()) == count


async def test_files_that_no_message_names_are_swept_after_a_day(tmp_path):
    import os

    prepare(tmp_path, [EE, FR])
    async with SmallNode(tmp_path, EE).running(sending=False) as estonia:
        named = estonia.bodies.write(lambda file: file.write(b"named"))
        old = estonia.bodies.write(lambda file: file.write(b"left behind by a crash"))
        new = estonia.bodies.write(lambda file: file.write(b"about to be named"))
        for name in (named, old):
            os.utime(tmp_path / "EE" / "messages" / name, (0, 0))
        assert estonia.bodies.sweep({named}) == 1
        assert {path.name for path in (tmp_path / "EE" / "messages").iterdir()} == {named, new}


async def test_a_body_larger_than_agreed_is_refused_before_it_is_read(tmp_path):
    prepare(tmp_path, [EE, FR])
    async with SmallNode(tmp_path, EE).running(sending=False) as estonia, SmallNode(tmp_path, FR).running() as france:

        async def never():
            yield b"x"
            await asyncio.Event().wait()

        kept = estonia.parts.transport._connections(estonia.peers.route(FR))
        headers = {"Content-Type": "multipart/related", "Content-Length": str(as4.Limits().entity + 1)}
        async with asyncio.timeout(20):
            async with kept.session.post(f"{kept.url}/imi/v1/as4", data=never(), headers=headers) as answer:
                assert answer.status == 413
        assert not list((tmp_path / "FR" / "messages").iterdir())
        assert await france.arrived() == []
