"""Fuzz what reads bytes from peers.

    python -m tests.fuzz                              all targets, a minute each
    python -m tests.fuzz --seconds 600 security       one target, ten minutes
    python -m tests.fuzz --replay FILE security       one input, with its traceback

Each target starts from tests/fuzz/corpus/TARGET and from what earlier runs found (build/fuzz/TARGET, which grows).
With a finding the exit code is 1, and the input lies under build/fuzz/findings. What the targets promise is written
in tests/fuzz/targets.py, what an input may take in tests/fuzz/law.py.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import law, words
from .targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
BUILD = Path("build/fuzz")
FINDINGS = BUILD / "findings"

_PROGRESS_SECONDS = 10
_LONGEST = {"mime": 8192, "soap": 16384, "security": 24576, "payload": 32768}
_LINE = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: \d+ corp: (\d+)/")
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")


@dataclass
class Run:
    """What came of fuzzing one target."""

    target: str
    seconds: float = 0
    executions: int = 0
    edges_before: int = 0
    edges: int = 0
    corpus: int = 0
    findings: list[str] = field(default_factory=list)
    is_whole: bool = True
    said: list[str] = field(default_factory=list)


def main() -> int:
    """Fuzz or replay, as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input through one target and end")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if asked.replay is None:
        return _fuzz(asked.targets or list(TARGETS), asked.seconds)
    if len(asked.targets) != 1:
        parser.error("name the one target to replay with")
    return _replay(asked.targets[0], asked.replay)


def _replay(target: str, file: Path) -> int:
    try:
        cost = law.keep(TARGETS[target], file.read_bytes())
    except Exception:  # noqa: BLE001 - a finding is any exception
        traceback.print_exc()
        return 1
    print(f"{file}: within the law ({cost.seconds * 1000:.1f} ms, {cost.bytes / 2**20:.1f} MiB)")
    return 0


def _fuzz(targets: list[str], seconds: int) -> int:
    console = Console()
    FINDINGS.mkdir(parents=True, exist_ok=True)
    runs = [_run(target, seconds, console) for target in targets]
    console.print(_table(runs))
    for run in runs:
        for finding in run.findings:
            console.print(f"finding: {finding}", soft_wrap=True)
            console.print(f"  replay: make fuzz-one TARGET={run.target} FILE={finding}", soft_wrap=True)
        if not run.is_whole:
            console.print(f"{run.target} ended early:\n{''.join(run.said)}", markup=False, soft_wrap=True)
    return int(any(run.findings or not run.is_whole for run in runs))


def _run(target: str, seconds: int, console: Console) -> Run:
    run, began, shown = Run(target), time.monotonic(), 0.0
    with subprocess.Popen(_command(target, seconds), stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            _note(run, line)
            run.seconds = time.monotonic() - began
            if run.seconds - shown >= _PROGRESS_SECONDS:
                shown = run.seconds
                console.print(f"{target}: {shown:.0f} s, {run.executions:,} executions, {run.edges} edges")
    run.seconds = time.monotonic() - began
    run.is_whole = process.returncode == 0 or bool(run.findings)
    run.corpus = sum(1 for _ in (BUILD / target).iterdir())
    return run


def _command(target: str, seconds: int) -> list[str]:
    grown, dictionary = BUILD / target, BUILD / "words.dict"
    grown.mkdir(parents=True, exist_ok=True)
    dictionary.write_text(words.dictionary(), encoding="ascii")
    return [
        *(sys.executable, "-m", "tests.fuzz.worker", target),
        *(f"-max_total_time={seconds}", f"-max_len={_LONGEST[target]}", f"-dict={dictionary}"),
        *("-timeout=10", "-rss_limit_mb=1024"),  # for what hangs or grows without end; the law itself is law.py's
        *(f"-artifact_prefix={FINDINGS}/{target}-", "-print_final_stats=1", "-reload=0"),
        *(str(grown), str(CORPUS / target)),
    ]


def _note(run: Run, line: str) -> None:
    if found := _LINE.match(line):
        count, event, edges, _ = found.groups()
        run.executions, run.edges = int(count), int(edges)
        if event == "INITED":
            run.edges_before = run.edges
    elif found := _EXECUTED.match(line):
        run.executions = max(run.executions, int(found[1]))
    elif found := _ARTIFACT.search(line):
        run.findings.append(found[1])
    run.said = [*run.said[-30:], line]


def _table(runs: list[Run]) -> Table:
    table = Table(title="fuzzing", title_justify="left")
    for column in ("target", "seconds", "executions", "edges at begin", "edges at end", "corpus", "findings"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for run in runs:
        numbers = (run.executions, run.edges_before, run.edges, run.corpus, len(run.findings))
        table.add_row(run.target, f"{run.seconds:.0f}", *(f"{number:,}" for number in numbers))
    return table


if __name__ == "__main__":
    sys.exit(main())
