"""Logs carry facts, never contents."""

from __future__ import annotations

import io
import json

import structlog

from node import log


def test_json_lines_carry_the_node_and_drop_fields_that_could_hold_contents():
    stream = io.StringIO()
    log.configure(node="EE", stream=stream)
    structlog.get_logger().info("message delivered", peer="FR", content="CANARY", surname="CANARY")
    line = json.loads(stream.getvalue())
    assert line["node"] == "EE"
    assert line["peer"] == "FR"
    assert line["event"] == "message delivered"
    assert "CANARY" not in stream.getvalue()


def test_a_terminal_gets_readable_lines():
    stream = io.StringIO()
    log.configure(stream=stream, json=False)
    structlog.get_logger().warning("peer is slow", peer="FR")
    assert "peer is slow" in stream.getvalue()
