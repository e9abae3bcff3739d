"""Simulate directories that converge.

python -m tests.simulation --seeds 200            seeds 0 to 199, on two processes
python -m tests.simulation --seed 17              one seed, told line by line
python -m tests.simulation --seed 17 --without 3,5   the same without two of its acts (numbers in brackets)
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from .history import Outcome, draw, play
from .many import report, run_seeds


def main() -> int:
    """0 if every law held for every seed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--without", default="", metavar="NUMBERS")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--size", type=int, help="so many nodes for every seed (default: every tenth has 31)")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    given = parser.parse_args()
    if given.seed is not None:
        without = {int(number) for number in given.without.split(",") if number}
        plan = draw(given.seed, size=given.size)
        outcome = play(replace(plan, acts=tuple(act for act in plan.acts if act.number not in without)))
        print("\n".join(outcome.trace))
        if outcome.violations:
            print(report(outcome))
        return _sum_up([outcome])
    outcomes = []
    for outcome in run_seeds(range(given.first, given.first + given.seeds), processes=given.processes, size=given.size):
        outcomes.append(outcome)
        if outcome.violations:
            print(report(outcome), flush=True)
        elif given.verbose:
            print(f"seed {outcome.plan.seed}: {outcome.counts}", flush=True)
    return _sum_up(outcomes)


def _sum_up(outcomes: list[Outcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.violations]
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for what, count in outcome.counts.items():
            counts[what] = counts.get(what, 0) + count
    print(
        f"{len(outcomes)} seeds, {len(failed)} failed; "
        + ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
