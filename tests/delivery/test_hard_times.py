"""Files that vanish, shutdowns that cut in, answers meant for others: nothing is lost, and nobody else pays for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from node.federation import as4, attempts, outbox, rejections, stories
from node.federation.attempts import Answered
from node.federation.lanes import Lane
from node.federation.protocol import Again, NeverAgain, judge_answer
from node.federation.receiver import Body
from node.ids import MessageId, NodeId
from tests.delivery.harness import MIB, SmallNode, prepare, until
from tests.delivery.partners import introduce, two_sides

EE, FR = NodeId("EE"), NodeId("FR")


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path, [EE, FR])
    return tmp_path


def post_large(session, node, size=2):
    outbox.post(
        session, message_id=MessageId("large@ee.imi.node"), recipient=FR, order="large", conversation="large",
        action="events", content=b"see the file", at=node.clock.now(),
        files=[outbox.OutFile(name="a" * 64, mime="application/octet-stream", reference=f"noise:{size}")],
    )  # fmt: skip


async def built_large(estonia, size=2):
    """A large message that is built, and could not be sent: France is down."""
    await estonia.database.transact(post_large, estonia, size)
    lane = Lane(FR, estonia.parts)
    await lane.flush_once()
    row = await estonia.database.read(lambda s: s.execute(text("SELECT * FROM outbox")).one())
    return lane, row


async def test_a_message_whose_bytes_are_lost_is_refused_here_and_the_others_go(folder):
    """As after a restore without the folder of large messages."""
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        lane, row = await built_large(estonia)
        estonia.bodies.delete(row.body_file)
        await estonia.post("FR", "one", order="one")
        await estonia.post("FR", "two", order="two")
        async with SmallNode(folder, FR).running(sending=False) as france:
            lane.wake()
            await until(lambda: sent(lane, france, ["one", "two"]))
        assert await estonia.states("large") == ["refused"]
        (status,) = await estonia.database.read(outbox.statuses, "large")
        assert "bytes are not on this node" in status.last_error


async def test_a_large_file_that_is_gone_before_its_message_is_built_stops_its_own_case_only(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia, SmallNode(folder, FR).running() as france:
        object.__setattr__(estonia.parts, "open_file", lambda _session, _reference: Gone())
        await estonia.database.transact(post_large, estonia)
        await estonia.post("FR", "one", order="one")
        await until(lambda: sent(Lane(FR, estonia.parts), france, ["one"]))
        assert await estonia.states("large") == ["refused"]


class Gone:
    """A stored file whose bytes were deleted since the message was posted."""

    size = 2 * MIB

    def chunks(self):
        raise FileNotFoundError("gone")
        yield b""


async def sent(lane, node, bodies):
    await lane.flush_once()
    return sorted(await node.arrived()) == bodies


async def test_a_receiver_that_is_cancelled_while_it_stores_keeps_what_it_stored(folder):
    """Cancelled means unknown: the row is committed, so the file it names stays."""
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        _, row = await built_large(estonia)
        with estonia.bodies.open(row.body_file) as file:
            data = file.read()
        cancelled = asyncio.Event()
        loop = asyncio.get_running_loop()

        def cut_in(line):
            if line == "before commit":
                loop.call_soon_threadsafe(cancelled.set)
                time.sleep(0.2)  # on the writer's thread: the handler is cancelled meanwhile

        async with SmallNode(folder, FR, crash_at=cut_in).running(sending=False) as france:
            draft = france.bodies.draft()
            draft.file.write(data)
            body = Body(data=draft.map(), draft=draft)
            task = asyncio.create_task(france.receiver.receive(france.peers.get(EE), row.content_type, body))
            await cancelled.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            draft.discard()
            stored = await france.database.read(lambda s: s.execute(text("SELECT body_file FROM inbox")).scalar_one())
            assert france.bodies.size(stored) == len(data)


async def test_a_repeat_of_a_large_message_is_not_copied_into_memory(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        _, row = await built_large(estonia, size=40)
        async with SmallNode(folder, FR).running(sending=False):
            for repeat in (False, True):
                with estonia.bodies.open(row.body_file) as file:
                    if repeat:
                        tracemalloc.start()
                    try:
                        await estonia.parts.transport.post_message(FR, file, row.content_type)
                    finally:
                        peak = tracemalloc.get_traced_memory()[1] if repeat else 0
                        tracemalloc.stop()
        assert peak < 20 * MIB


async def test_what_was_built_for_nothing_leaves_no_file(folder):
    """The database is busy each time: a disk that fills must not be filled further."""
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.database.transact(post_large, estonia)
        await estonia.database.transact(lambda s: s.execute(text(_NO_BYTES)))
        lane = Lane(FR, estonia.parts)
        for _ in range(3):
            await lane.flush_once()
        assert lane.failures == 3
        assert not list((folder / "EE" / "messages").iterdir())


_NO_BYTES = "CREATE TRIGGER no_bytes BEFORE UPDATE OF content_type ON outbox BEGIN SELECT RAISE(ABORT, 'no room'); END"


def test_a_signed_error_about_another_message_ends_nothing():
    """Whoever stands before the peer's door could show an old one."""
    error = as4.ErrorSignal(
        message_id="e@fr.imi.node", ref_to_message_id="another@ee.imi.node", timestamp=datetime.now(UTC),
        code="EBMS:0101", severity="failure", short_description="", description="", detail="", authenticated=True,
    )  # fmt: skip
    for code in ("EBMS:0101", "EBMS:4001"):
        for about in ("another@ee.imi.node", None):
            old = as4.ErrorSignal(**{
                **{name: getattr(error, name) for name in error.__dataclass_fields__},
                "code": code, "ref_to_message_id": about,
            })  # fmt: skip
            for unanswered in (True, False):
                judged = judge_answer(old, message_id="m@ee.imi.node", signed=(), unanswered=unanswered)
                assert isinstance(judged, Again)


async def test_an_answer_that_says_not_yet_is_an_answer(folder):
    """After a signed EBMS:0004 a duplicate error means a loss: phase4 forgets what its consumer failed to take."""
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "m")
        async with SmallNode(folder, FR, crash_at=_fault).running(sending=False):
            await Lane(FR, estonia.parts).flush_once()
        row = await estonia.database.read(lambda s: s.execute(text("SELECT unanswered, last_error FROM outbox")).one())
        assert (row.unanswered, row.last_error[:9]) == (0, "EBMS:0004")
    duplicate = as4.ErrorSignal(
        message_id="e@fr.imi.node", ref_to_message_id="m@ee.imi.node", timestamp=datetime.now(UTC),
        code="EBMS:4001", severity="failure", short_description="", description="", detail="", authenticated=True,
    )  # fmt: skip
    judged = judge_answer(duplicate, message_id="m@ee.imi.node", signed=(), unanswered=bool(row.unanswered))
    assert isinstance(judged, NeverAgain)


def _fault(line):
    if line == "opened":
        raise RuntimeError("a fault of the receiver's own")


async def test_a_late_message_to_a_partner_is_told_though_a_node_has_a_long_queue(tmp_path):
    us, them = two_sides(tmp_path)
    introduce(us, them, more="[retry]\nreport_after_seconds = 60\n")
    async with us.small().running(sending=False) as estonia:
        await estonia.database.transact(_fill, estonia.clock.now())
        await estonia.sender.look_after()
        assert estonia.told == ["p@ee.imi.node"]


def _fill(session, now):
    for number in range(1001):
        _post(session, f"n{number}@ee.imi.node", FR, now - timedelta(hours=3))
    _post(session, "p@ee.imi.node", NodeId("partner"), now - timedelta(hours=2))


def _post(session, name, recipient, at):
    outbox.post(
        session, message_id=MessageId(name), recipient=recipient, order=name, conversation="c", action="Submit",
        content=b"x", at=at,
    )  # fmt: skip


async def test_a_partner_that_knows_no_test_service_is_sent_to_after_a_failure(tmp_path):
    """Its refusal of the ping shows that it is there."""
    us, them = two_sides(tmp_path)
    introduce(us, them)
    introduce(them, us, more='their_party_type = "urn:other"')  # whatever we send is refused there, pings too
    async with us.small().running(sending=False) as estonia:
        await estonia.database.transact(_post, "p@ee.imi.node", NodeId("partner"), estonia.clock.now())
        lane = Lane(NodeId("partner"), estonia.parts)
        await lane.flush_once()  # it is down
        async with them.small().running(sending=False):
            lane.wake()
            await lane.flush_once()
        row = await estonia.database.read(lambda s: s.execute(text("SELECT state, last_error FROM outbox")).one())
        assert row.state == "refused", "it was posted, and refused by its own answer"
        assert "EBMS:0001" in row.last_error


async def test_the_story_tells_each_attempt_of_one_second(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        await estonia.post("FR", "one")
        at = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
        for number in range(2):
            answers = [(1, number, Answered(outcome=Again(reason=f"answer {number}")))]
            await estonia.database.transact(attempts.add, answers, at=at + timedelta(milliseconds=975 * number))
        (story,) = await estonia.database.read(
            stories.tell, "one@ee.imi.node", peers=estonia.peers, read_body=lambda _row: b""
        )
        assert len(story["attempts"]) == 2


async def test_a_peer_that_sends_rubbish_pushes_out_no_one_elses_rejections(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        error = as4.NotAgreed("no", message_id="x", field="Action", expected="a", received="b")

        def many(session):
            rejections.add(session, FR, error, at=estonia.clock.now())
            for _ in range(rejections.KEPT + 5):
                rejections.add(session, NodeId("partner"), error, at=estonia.clock.now())

        await estonia.database.transact(many)
        assert len(await estonia.database.read(rejections.newest, peer="FR")) == 1
        theirs = await estonia.database.read(rejections.newest, peer="partner", limit=5000)
        assert len(theirs) == rejections.KEPT
