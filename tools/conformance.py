"""Run the conformance tests and write docs/reference/as4-conformance.md from them (a test compares the two)."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/conformance/test_as4_conformance.py"
PAGE = ROOT / "docs/reference/as4-conformance.md"
SUITES = ("2.0", "2.0-ecc", "1.15")
HEAD = """# AS4 conformance

What the eDelivery AS4 conformance tests assert, and how this software does. Each line is a test in
`tests/conformance/test_as4_conformance.py`, run for three suites: eDelivery AS4 2.0 Common Usage (Ed25519, X25519), 2.0
Alternative ECC (here P-256) and 1.15 (RSA, here 3072 bits). `make conformance` runs them and writes this page.

"Nodes" are two nodes with databases, keys certified by their States and mutual TLS 1.3; "functions" are the message
functions of two parties, for what nodes do not do: two-way exchanges. Preferred and permitted assertions may be left
unmet by a conformant product. Pull, split and join, payload wrappers and discovery have assertions of their own, which
are not in this table: this software does none of them.

"""


@dataclass(frozen=True, slots=True)
class Assertion:
    """One test: what is done, what must be seen, and between whom."""

    name: str
    test: str
    done: str
    seen: str
    between: str


def assertions() -> list[Assertion]:
    """The tests in the order of their numbers, the Common Profile first."""
    tree = ast.parse((ROOT / TESTS).read_text(encoding="utf-8"))
    found = [
        _assertion(item)
        for item in tree.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_")
    ]
    return sorted(found, key=lambda one: (one.name.startswith("4CT"), one.name))


def _assertion(item: ast.FunctionDef | ast.AsyncFunctionDef) -> Assertion:
    done, arrow, seen = (ast.get_docstring(item) or "").partition(" → ")
    if not arrow or "\n" in seen or not re.fullmatch(r"test_(CP|4CT)_TA\d\d", item.name):
        raise ValueError(f"{item.name}: no assertion's name, or no docstring of one line `done → seen`")
    between = "functions" if any(argument.arg == "pair" for argument in item.args.args) else "nodes"
    return Assertion(item.name.removeprefix("test_"), item.name, done, seen, between)


def render(results: dict[tuple[str, str], str]) -> str:
    """The page.

    Args:
        results: by test and suite.
    """
    rows = [
        "| assertion | what is done | what must be seen | between | 2.0 | 2.0 ECC | 1.15 |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| `{one.test}` | {one.done} | {one.seen} | {one.between} | "
            + " | ".join(results.get((one.test, suite), "not run") for suite in SUITES)
            + " |"
            for one in assertions()
        ),
    ]
    return HEAD + "\n".join(rows) + "\n"


class Recorder:
    """A pytest plugin: the worst outcome of each test and suite."""

    def __init__(self) -> None:
        self.results: dict[tuple[str, str], str] = {}
        self._suites: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Which suite each test runs for."""
        for item in items:
            if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
                self._suites[item.nodeid] = (item.originalname, str(item.callspec.params["suite"]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Once for set-up, call and end of each test."""
        key = self._suites[report.nodeid]
        if report.outcome != "passed" and self.results.get(key) != "failed":
            self.results[key] = report.outcome
        elif report.when == "call":
            self.results.setdefault(key, "passed")


def main() -> int:
    """Pytest's exit code."""
    recorder = Recorder()
    code = pytest.main(["-q", str(ROOT / TESTS), *sys.argv[1:]], plugins=[recorder])
    if len(recorder.results) == len(assertions()) * len(SUITES):
        PAGE.write_text(render(recorder.results), encoding="utf-8")
    else:
        print(f"not everything was run: {PAGE.name} stays as it is")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
