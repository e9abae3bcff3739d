"""Many seeds on several processes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from .history import Outcome, draw, play


def run_seeds(seeds: Iterable[int], *, processes: int, size: int | None = None) -> Iterator[Outcome]:
    """The outcomes of many seeds, in order."""
    with ProcessPoolExecutor(max_workers=processes) as pool:
        yield from pool.map(partial(_one, size=size), seeds)


def _one(seed: int, *, size: int | None) -> Outcome:
    begun = time.process_time()
    outcome = play(draw(seed, size=size))
    outcome.counts["CPU milliseconds"] = int((time.process_time() - begun) * 1000)
    return outcome


def report(outcome: Outcome) -> str:
    """A failed seed: what is broken, its acts, and how to play it again."""
    broken = "\n".join(f"  {law}" for law in dict.fromkeys(outcome.violations))
    more = f' ARGS="--size {outcome.plan.size}"' if outcome.plan.size else ""
    return f"seed {outcome.plan.seed} breaks:\n{broken}\n  again: make simulate SEED={outcome.plan.seed}{more}"
