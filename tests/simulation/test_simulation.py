"""The laws of the directory, whatever happens to its nodes: seeds played by the node's own functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .history import draw, play
from .many import report

ROOT = Path(__file__).parents[2]
SHORT = (1, 3, 5, 9, pytest.param(56, marks=pytest.mark.long))
FIVE = (1, 4, 7, 9, 26)
MANY = 40


@pytest.mark.parametrize("seed", SHORT)
def test_the_laws_hold(seed):
    outcome = play(draw(seed))
    assert not outcome.violations, report(outcome)


@pytest.mark.long
@pytest.mark.parametrize("seed", FIVE)
def test_the_laws_hold_among_five(seed):
    """Short seeds, each of which finds a guard that is gone: see test_guards.py."""
    outcome = play(draw(seed, size=5))
    assert not outcome.violations, report(outcome)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_laws_hold_for_many_seeds():
    run = command("--seeds", str(MANY))
    assert run.returncode == 0, run.stdout


def test_a_seed_plays_the_same_again_however_python_hashes():
    first, second = (command("--seed", "3", hashing=number) for number in ("1", "2"))
    assert first.stdout == second.stdout
    assert first.stdout.count("\n") > 100


def command(*arguments: str, hashing: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments], cwd=ROOT, check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONHASHSEED": hashing},
    )  # fmt: skip
