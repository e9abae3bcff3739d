"""The page on AS4 traps: its guards and tests are there, and each test fails without its guard."""

from __future__ import annotations

import ast

import pytest

from tools.traps import GUARDS, PAGE, ROOT, TRAPS, copy_tree, prove, render, run


def test_the_page_says_what_the_list_says():
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m tools.traps"


def test_every_trap_has_a_guard():
    assert [trap.number for trap in TRAPS] == [*"12345", "5a", *(str(number) for number in range(6, 22))]
    assert all(trap.guards for trap in TRAPS)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.where} {guard.name}")
def test_each_guard_stands_once_where_it_is_said_to_and_its_test_exists(guard):
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    assert text.count(guard.old) == 1
    line = text[: text.index(guard.old)].count("\n") + 1
    assert any(first <= line <= last for first, last in lines_of(text, guard.where)), guard.where
    tests = ast.parse((ROOT / guard.test.partition("::")[0]).read_text(encoding="utf-8"))
    assert guard.name in {item.name for item in tests.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


def lines_of(text: str, name: str) -> list[tuple[int, int]]:
    """Where functions, classes and constants of this name stand, first and last line."""
    found = []
    for item in ast.walk(ast.parse(text)):
        targets = (
            item.targets if isinstance(item, ast.Assign) else [item.target] if isinstance(item, ast.AnnAssign) else []
        )
        if name in [getattr(item, "name", None), *(getattr(target, "id", None) for target in targets)]:
            found.append((item.lineno, item.end_lineno))
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    copy = copy_tree(tmp_path_factory.mktemp("guards"))
    assert run(copy, sorted({guard.test for guard in GUARDS})) == 0
    return copy


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.where} {guard.name}")
def test_without_its_guard_the_test_fails(tree, guard):
    prove(tree, guard)
