"""The law of every target: nothing escapes but As4Error, within a second and 64 MiB.

Time is the thread's CPU time, so that a busy machine reports nothing; what hangs without using the processor is left
to libFuzzer's own clock. Memory is the growth of the process's peak, which counts what C libraries take as well; on
Linux the peak is set back before each input, elsewhere it is the growth of the highest peak so far.
An input that passes a limit runs a second time: only what does it twice is a finding (first runs fill caches).
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from node.federation import as4

Target = Callable[[bytes], None]

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5)


class LawBroken(Exception):
    """An input took too much, or a promise about what was accepted does not hold."""


class Cost(NamedTuple):
    """What one input took."""

    seconds: float
    bytes: int

    def is_within(self, most: Cost) -> bool:
        return self.seconds <= most.seconds and self.bytes <= most.bytes


LIMIT = Cost(seconds=1.0, bytes=64 * 1024 * 1024)


def keep(target: Target, data: bytes, *, limit: Cost = LIMIT) -> Cost:
    """Run `data` through `target`. Raises LawBroken, or whatever else than As4Error escapes."""
    cost = _run(target, data)
    if not cost.is_within(limit):
        cost = _run(target, data)
    if not cost.is_within(limit):
        raise LawBroken(f"{len(data)} bytes took {cost.seconds:.2f} s and {cost.bytes / 2**20:.0f} MiB")
    return cost


def _run(target: Target, data: bytes) -> Cost:
    before = _reset_peak()
    began = time.thread_time()
    with contextlib.suppress(as4.As4Error):
        target(data)
    return Cost(time.thread_time() - began, _peak() - before)


def _reset_peak() -> int:
    _trim()(0)
    with contextlib.suppress(OSError):
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    return _peak()


@cache
def _trim() -> Callable[[int], int]:
    """glibc's malloc_trim: free blocks that an earlier input left would hide what this one takes."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return lambda _: 0


def _peak() -> int:
    """The process's peak memory in bytes."""
    with contextlib.suppress(OSError):
        _, _, rest = _STATUS.read_text(encoding="ascii", errors="replace").partition("VmHWM:")
        if rest:
            return int(rest.split(maxsplit=1)[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
