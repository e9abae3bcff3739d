"""What a sender makes of the errors that answer it."""

from __future__ import annotations

import datetime as dt

import pytest

from node.federation import as4, protocol

KNOWN = "message 1@at was already handled (this is a duplicate)"


@pytest.mark.parametrize(
    ("code", "detail", "authenticated", "unanswered", "outcome"),
    [
        ("EBMS:4001", "", True, True, protocol.Received),
        ("EBMS:4001", "", True, False, protocol.NeverAgain),
        ("EBMS:0004", KNOWN, True, True, protocol.Received),
        ("EBMS:0004", KNOWN, True, False, protocol.NeverAgain),  # its first answer was an error: it lost the message
        ("EBMS:0004", KNOWN, False, True, protocol.Again),
        ("EBMS:0004", "", True, True, protocol.Again),
        ("EBMS:0101", KNOWN, True, True, protocol.NeverAgain),
        ("EBMS:0101", "", False, False, protocol.Again),
    ],
)
def test_what_an_error_means(code, detail, authenticated, unanswered, outcome):
    signal = as4.ErrorSignal(
        message_id="2@si", ref_to_message_id="1@at", timestamp=dt.datetime(2026, 11, 24, tzinfo=dt.UTC), code=code,
        severity="failure", short_description="", description="", detail=detail, authenticated=authenticated,
    )  # fmt: skip
    assert isinstance(protocol.judge_answer(signal, message_id="1@at", signed=(), unanswered=unanswered), outcome)
