"""The fuzzer's corpus without the fuzzer: every file, and mutations of them, keep the law. Findings have a test here."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from node.federation import as4

from . import __main__ as command
from . import law, mutation, seeds, words
from .targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())
MUTATIONS = {"mime": 2000, "soap": 1200, "security": 700, "payload": 300}
STEPS = 4  # mutations of mutations, then from a file again


def name_of(path: Path) -> str:
    return str(path.relative_to(CORPUS))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_corpus_file_keeps_the_law(path):
    law.keep(TARGETS[path.parent.name], path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_of_the_corpus_keep_the_law(target):
    dice = random.Random(target)
    files = [path.read_bytes() for path in FILES if path.parent.name == target]
    for count in range(MUTATIONS[target]):
        if count % STEPS == 0:
            data = dice.choice(files)
        data = mutation.mutate(target, data, dice, lambda piece: mutation.blur_bytes(piece, dice))
        if dice.random() < 0.1:
            data = mutation.cross(data, dice.choice(files), dice)
        try:
            law.keep(TARGETS[target], data)
        except Exception as error:
            error.add_note(f"mutation {count} of {target}: {data!r}")
            raise


REFUSED = (
    "other-digests",
    "zero-",
    "point-",
    "two-keys",
    "two-receipts",
    "key-without",
    "short-",
    "long-",
    "unknown-",
    "oaep-",
)
ACCEPTED = [path for path in FILES if path.parent.name == "security" and not path.name.startswith(REFUSED)]


@pytest.mark.parametrize("path", ACCEPTED, ids=name_of)
def test_the_security_target_gets_past_the_signature(path):
    """Otherwise it would fuzz the first gate only: a changed builder needs `python -m tests.fuzz.seeds`."""
    TARGETS["security"](path.read_bytes())


def test_a_forged_message_would_be_found():
    """The promise is checked: a genuine signature under another message is refused, not merely unnoticed."""
    genuine = (CORPUS / "security" / f"genuine.{as4.COMMON.name}").read_bytes()
    with pytest.raises(as4.As4Error):
        TARGETS["security"](genuine.replace(b"IMI-0001", b"IMI-0002"))


def spend(data: bytes) -> None:
    """Ten milliseconds and four MiB."""
    until = time.thread_time() + 0.01
    assert len(b"x" * (4 * 2**20 + len(data)))
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize("limit", [law.Cost(seconds=0.005, bytes=2**30), law.Cost(seconds=9, bytes=2**21)])
def test_what_takes_too_much_breaks_the_law(limit):
    with pytest.raises(law.LawBroken):
        law.keep(spend, b"", limit=limit)
    law.keep(spend, b"")


def test_the_corpus_stays_small():
    assert sum(path.stat().st_size for path in FILES) < 320_000


def test_every_target_has_a_corpus_and_the_seeds_write_into_it():
    assert {path.parent.name for path in FILES} == set(TARGETS)
    assert seeds.CORPUS == CORPUS


def test_the_dictionary_is_one_that_libfuzzer_reads():
    lines = words.dictionary().splitlines()
    assert len(lines) > 200
    assert all(line.startswith('"\\x') and line.endswith('"') for line in lines)


def test_what_libfuzzer_says_becomes_the_table():
    run = command.Run("mime")
    for line in (
        "#79\tINITED cov: 68 ft: 180 corp: 12/5Kb exec/s: 0 rss: 66Mb",
        "#4096\tpulse  cov: 82 ft: 300 corp: 40/9Kb lim: 8192 exec/s: 900 rss: 66Mb",
        "artifact_prefix='x'; Test unit written to build/fuzz/findings/mime-crash-1",
        "stat::number_of_executed_units: 5000",
    ):
        command._note(run, line)
    assert (run.edges_before, run.edges, run.executions) == (68, 82, 5000)
    assert run.findings == ["build/fuzz/findings/mime-crash-1"]


def test_an_input_is_replayed(capsys, tmp_path):
    assert command._replay("mime", CORPUS / "mime" / "two-parts") == 0
    assert "within the law" in capsys.readouterr().out
    (tmp_path / "unknown-suite").write_bytes(b"")
    assert command._replay("security", tmp_path / "unknown-suite") == 0
