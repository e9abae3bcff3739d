"""An event loop whose time passes only when nobody has anything to do: hours in a second, the same each time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

OWNER: ContextVar[Any] = ContextVar("owner", default=None)  # the process that a task belongs to


class Stuck(AssertionError):
    """Everybody waits and nothing will ever happen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Timers fire in order, without waiting. Tasks are handed to their OWNER, which may be killed with all of them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        super().__init__(_NoSelector(self))
        self.set_task_factory(_owned)

    def time(self) -> float:
        return self.seconds


class _NoSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is ever going to happen")
        self._loop.seconds += max(timeout, 0.0)
        return []


def _owned(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **named: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
    context = named.get("context")
    owner = context.get(OWNER) if context is not None else OWNER.get()
    if owner is not None:
        owner.tasks[task] = None  # a dict keeps their order
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task
