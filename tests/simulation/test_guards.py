"""The laws bite: with one guard taken out of a copy of the tree, a seed breaks a law (the mechanism of tools/traps.py)."""

from __future__ import annotations

import pytest

from tools.traps import ROOT, Guard, copy_tree, prove, run

PLACE = "node/directory"
TESTS = "tests/simulation/test_simulation.py"


def guard(file: str, where: str, old: str, new: str, *, seen_by: str) -> Guard:
    """What stands in `file` within `where`, what stands there without the guard, and the test that sees it gone."""
    return Guard(file=f"{PLACE}/{file}", where=where, old=old, new=new, test=f"{TESTS}::{seen_by}")


GUARDS = (
    guard(
        "following.py",
        "settle",
        "                check_root(self._replica.staged(name), checkpoint)\n",
        "",
        seen_by="test_the_laws_hold[56]",
    ),
    guard(
        "replication.py",
        "read_page",
        "if not from_host and any(entry.body is None for entry in entries):",
        "if not entries and count:",
        seen_by="test_the_laws_hold_among_five[4]",
    ),
    guard(
        "replication.py",
        "read_checkpoint",
        ' if _is_signature(line, text + "\\n", log, public_key)), None)\n',
        "), None)\n",
        seen_by="test_the_laws_hold_among_five[4]",
    ),
    guard(
        "originals.py",
        "keep_evidence",
        "            if known or count >= MAX_EVIDENCE:\n",
        "            if known or count >= 0:\n",
        seen_by="test_the_laws_hold[1]",
    ),
    guard(
        "sync.py",
        "_shown",
        "if not self._is_ours(name) or self._is_whole(name)}",
        "}",
        seen_by="test_the_laws_hold_among_five[1]",
    ),
    guard(
        "sync.py",
        "notice",
        "        await self._in_thread(self._directory.catch_up)\n",
        "",
        seen_by="test_the_laws_hold_among_five[26]",
    ),
    guard(
        "hosting.py",
        "_current",
        "        self._recover(current, key)\n",
        "",
        seen_by="test_the_laws_hold_among_five[1]",
    ),
    guard(
        "hosting.py",
        "_current",
        "        if not self.asked:\n            raise PeersNotAsked(\n",
        "        if not base.node:\n            raise PeersNotAsked(\n",
        seen_by="test_the_laws_hold_among_five[9]",
    ),
    guard(
        "following.py",
        "_behind",
        "if found is None or (found.epoch, seen.size) >= by.knew:",
        "if found is None:",
        seen_by="test_the_laws_hold_among_five[4]",
    ),
)


def named(found: Guard) -> str:
    return f"{found.where} {found.name}"


@pytest.mark.parametrize("found", GUARDS, ids=named)
def test_each_guard_stands_once_in_its_file(found):
    assert (ROOT / found.file).read_text(encoding="utf-8").count(found.old) == 1


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    copy = copy_tree(tmp_path_factory.mktemp("guards"))
    assert run(copy, sorted({found.test for found in GUARDS})) == 0
    return copy


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("found", GUARDS, ids=named)
def test_without_its_guard_a_law_is_broken(tree, found):
    prove(tree, found)
