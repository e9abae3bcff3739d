"""Logging, set up once: colours in a terminal, one JSON object a line otherwise.

A log line tells operators what happened to messages, peers and jobs. Case contents, personal data and keys stay
out; `forbid_contents` drops fields that could carry them, whoever logs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import IO, Any

import structlog

# Names of fields in which content or personal data would travel: dropped at the last door (tests/logging).
FORBIDDEN = frozenset(
    {"content", "body", "text", "control", "name", "surname", "birth_date", "password", "token", "key"}
)


def forbid_contents(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop fields that could hold contents or personal data."""
    for field in FORBIDDEN & event.keys():
        del event[field]
    return event


def configure(*, node: str = "", level: str = "info", stream: IO[str] | None = None, json: bool | None = None) -> None:
    """Route structlog and the libraries' loggers to `stream` (standard error if none is given).

    Args:
        node: bound to every line.
        json: one JSON object a line; None decides by whether `stream` is a terminal.
    """
    stream = stream or sys.stderr
    as_json = (not stream.isatty()) if json is None else json
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        forbid_contents,
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=stream),  # type: ignore[arg-type]  # any text stream will do
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    structlog.contextvars.clear_contextvars()
    if node:
        structlog.contextvars.bind_contextvars(node=node)
