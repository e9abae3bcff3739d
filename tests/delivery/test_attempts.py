"""Operators see each attempt of a message: when, what came of it, what the peer said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from node.errors import ImiError
from node.federation import as4, attempts
from node.federation.attempts import Answered
from node.federation.protocol import Again, NeverAgain
from node.federation.transport import PeerAnswered
from node.ids import NodeId
from tests.delivery.harness import SmallNode, prepare, until

EE, FR = NodeId("EE"), NodeId("FR")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path, ["EE", "FR"])
    return tmp_path


async def test_a_message_that_found_no_answer_and_then_a_receipt_tells_both(folder):
    async with SmallNode(folder, EE).running() as estonia:
        await estonia.post("FR", "m")
        await until(lambda: _outcomes(estonia, ["no answer"]))
        async with SmallNode(folder, FR).running():
            await until(lambda: _outcomes(estonia, ["no answer", "received"]))
        first, last = await estonia.database.read(attempts.of_message, 1)
        assert "FR does not answer" in first.said
        assert first.authenticated is None
        assert (last.said, last.authenticated) == ("receipt", True)
        assert last.milliseconds > 0


async def test_the_newest_hundred_are_kept(folder):
    async with SmallNode(folder, EE).running(sending=False) as estonia:
        now = estonia.clock.now()
        for number in range(attempts.KEPT + 5):
            answered = Answered(outcome=Again(reason=f"no {number}"))
            await estonia.database.transact(attempts.add, [(7, number, answered), (8, 0, answered)], at=now)
        kept = await estonia.database.read(attempts.of_message, 7)
        assert [kept[0].said, kept[-1].said, len(kept)] == ["no 5", "no 104", 100]


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (NeverAgain(reason="r"), ("never again", "EBMS:0010 ProcessingModeMismatch: not agreed", True)),
        (Again(reason="unsigned error"), ("again", "EBMS:0010 ProcessingModeMismatch: not agreed", True)),
    ],
)
def test_what_a_peer_said_is_kept_in_its_words(outcome, says):
    signal = as4.ErrorSignal(
        message_id="s@fr", ref_to_message_id=None, timestamp=NOW, code="EBMS:0010", severity="failure",
        short_description="ProcessingModeMismatch", description="not agreed", authenticated=True,
    )  # fmt: skip
    kept = attempts.attempt_of(Answered(outcome=outcome, signal=signal), at=NOW)
    assert (kept.outcome, kept.said, kept.authenticated) == says


def test_an_http_error_keeps_its_status():
    error: ImiError = PeerAnswered("FR answers 503 to a POST", status=503)
    kept = attempts.attempt_of(Answered(outcome=error, status=503), at=NOW)
    assert (kept.outcome, kept.status, kept.said) == ("no answer", 503, "FR answers 503 to a POST")


async def _outcomes(node: SmallNode, expected: list[str]) -> bool:
    found = await node.database.read(attempts.of_message, 1)
    return [attempt.outcome for attempt in found] == expected
