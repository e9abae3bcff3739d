"""Search: among 15,000 authorities with names in 24 languages, and among as many as BENCH_SIZES says.

BENCH_SIZES="15000 300000 1000000" measures all three; the last needs 12 GB of disk and half an hour of a core.
Names are real ones for the first 15,000, then real ones with another town; informal names are made of code-list labels
(labels.csv: NACE Rev. 2 divisions and eForms lists, Eurostat and Publications Office, CC BY 4.0) and real towns.
"""

from __future__ import annotations

import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from node.directory.importing import read_authorities
from node.directory.model import OPERATOR, Authority
from node.directory.regions import region_names
from node.directory.search import Replica
from node.ids import AuthorityId, NodeId
from node.settings import shipped

SIZES: Final = (15_000,)
SEARCHES: Final = 500
GOAL_SIZE: Final = 300_000
_BATCH: Final = 20_000
_LABELS: Final = Path(__file__).with_name("labels.csv")
_PROFESSIONS: Final = ("doctor", "nurse", "architect", "pharmacist", "secondary-school-teacher", "electrician")
KINDS: Final = ("word", "initials", "two-words", "region")
_SAID: Final = {
    "word": "one word", "initials": "two to four initial letters", "two-words": "beginnings of two words",
    "region": "one word, in a region (NUTS 2)",
}  # fmt: skip


def run() -> list[dict[str, Any]]:
    """One index that grows from size to size, searched at each in a process of its own."""
    sizes = sorted(int(size) for size in os.environ.get("BENCH_SIZES", "").split()) or list(SIZES)
    with tempfile.TemporaryDirectory(prefix="imi-bench-", dir=os.environ.get("BENCH_FOLDER")) as name:
        return [row for rows in grown(Path(name), sizes) for row in rows]


def grown(folder: Path, sizes: list[int]) -> Iterator[list[dict[str, Any]]]:
    """The rows of each size, as soon as it is measured."""
    file, made, spent, dice = folder / "directory.db", authorities(sizes[-1]), 0.0, random.Random(2)
    sample: list[Authority] = []
    stored = 0
    for size in sizes:
        replica = Replica(file, durable=False)
        replica.regions = region_names()
        while batch := list(islice(made, min(_BATCH, size - stored))):
            began = time.process_time()
            replica.apply([(authority, OPERATOR) for authority in batch], NodeId("EU"))
            spent += time.process_time() - began
            stored += len(batch)
            sample += dice.sample(batch, min(len(batch), 200))
        replica.close()  # the last one to close empties the write-ahead log into the file
        (folder / "asked.json").write_text(json.dumps(list(queries(sample, dice))), encoding="utf-8")
        command = [sys.executable, "-m", "bench.search", str(file), str(folder / "asked.json")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        yield [*_built(size, size / spent, file.stat().st_size), *_searched(size, found)]


def authorities(size: int) -> Iterator[Authority]:
    """So many authorities, always the same."""
    dice = random.Random(1)
    real = [a for file in sorted(shipped("directory", "authorities").glob("*.jsonl")) for a in _read(file)]
    towns = sorted({town for a in real if 2 < len(town := a.address.get("city", "")) < 30})
    regions = sorted({nuts for a in real for nuts in a.territory if len(nuts) == 5})
    with _LABELS.open(encoding="utf-8", newline="") as file:
        labels = [{lang: text for lang, text in row.items() if lang != "code" and text} for row in csv.DictReader(file)]
    for n in range(size):
        base, town, label = real[n % len(real)], dice.choice(towns), dice.choice(labels)
        own = {base.name_lang: f"{base.name} {town}" if n >= len(real) else base.name}
        yield Authority(
            id=AuthorityId(f"{base.state}:{n:010x}"),
            node=NodeId(base.state),
            names={lang: name[:400] for lang, name in own.items()},
            name_lang=base.name_lang,
            informal={lang: f"{text} {town}" for lang, text in label.items()},
            level=base.level,
            territory=(dice.choice(regions),) if dice.random() < 0.9 else (),
            areas=("professional-qualifications",) if dice.random() < 0.3 else ("services",),
            professions=tuple(dice.sample(_PROFESSIONS, 2)) if dice.random() < 0.3 else (),
            languages=(base.name_lang,),
            roles={"services": ("ca",)} if dice.random() < 0.2 else {},
            address={"city": town},
        )


def _read(file: Path) -> Iterator[Authority]:
    return read_authorities(file, node=NodeId(file.stem))


def _built(size: int, rate: float, size_bytes: int) -> list[dict[str, Any]]:
    note = f"{size:,} authorities, names in 24 languages"
    return [
        {"key": f"directory.search.{size}.index", "what": "authorities stored and indexed", "value": rate,
         "unit": "1/s CPU", "note": note},
        {"key": f"directory.search.{size}.file", "what": "file of records and index", "value": size_bytes / 1e6,
         "unit": "MB", "note": note},
    ]  # fmt: skip


def _searched(size: int, found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for kind in KINDS:
        times = found[kind]
        cuts = statistics.quantiles(times, n=100)
        for cut, value, goal in (("p50", cuts[49], "< 5"), ("p99", cuts[98], "< 50")):
            rows.append(
                {"key": f"directory.search.{size}.{kind}.{cut}", "what": f"search, {_SAID[kind]}, {cut}",
                 "value": value, "unit": "ms CPU", "goal": goal if size == GOAL_SIZE else "",
                 "note": f"{size:,} x 24 languages, {len(times)} searches"}
            )  # fmt: skip
    memory = {"key": f"directory.search.{size}.memory", "what": "memory of a process that searches", "value": found["memory"],
              "unit": "MB", "note": f"{size:,} x 24 languages"}  # fmt: skip
    return [*rows, memory]


def queries(sample: list[Authority], dice: random.Random) -> Iterator[tuple[str, str, str]]:
    """(kind, text, region), drawn from the names themselves: what is common is also typed often."""
    for kind in KINDS:
        for _ in range(SEARCHES):
            authority = dice.choice(sample)
            name = dice.choice([*authority.names.values(), *authority.informal.values()])
            words = [word for word in name.split() if len(word) > 3] or name.split()
            word = dice.choice(words)
            if kind == "initials":
                yield kind, word[: dice.randint(2, 4)], ""
            elif kind == "two-words":
                two = dice.sample(words, min(2, len(words)))
                yield kind, " ".join(word[: dice.randint(3, 9)] for word in two), ""
            else:
                yield kind, word, authority.territory[0][:4] if kind == "region" and authority.territory else ""


def measure(file: Path, asked: list[tuple[str, str, str]]) -> dict[str, Any]:
    """CPU milliseconds of each search by kind, after a short warming up, and the megabytes this process holds then."""
    replica = Replica(file, durable=False)
    for _, text, region in asked[:: len(asked) // 50]:
        replica.search(text, region=region)
    times: dict[str, Any] = {kind: [] for kind in KINDS}
    for kind, text, region in asked:
        began = time.thread_time()
        replica.search(text, region=region)
        times[kind].append((time.thread_time() - began) * 1000)
    replica.close()
    return {**times, "memory": _memory()}


def _memory() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))))
