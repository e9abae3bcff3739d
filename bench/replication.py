"""Following a log: pages fetched, verified, applied and indexed by a node that has nothing yet.

BENCH_LOGS="100000 1000000" measures these sizes; the last needs 10 GB of disk and half an hour of a core. Each is measured in
a process of its own, once with two names an entry and once with names in all 24 languages.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.search import authorities
from node.directory import Authority, Directory
from node.directory.model import write_change
from node.directory.replication import (
    PAGE,
    LogId,
    frontier_after,
    new_entry,
    read_page,
    sign_checkpoint,
    write_page,
)
from node.federation.peers import LogKey
from node.ids import AuthorityId, NodeId
from node.merkle import Frontier

SIZES: Final = (15_000,)
OWNER: Final = NodeId("FR")
NAMED: Final = {"two": "two names an entry", "all": "names in 24 languages"}
_GOALS: Final = {(1_000_000, "two"): "< 60", (1_000_000, "all"): "< 200"}


def run() -> list[dict[str, Any]]:
    """Logs of each size, with few names and with many."""
    sizes = [int(size) for size in os.environ.get("BENCH_LOGS", "").split()] or list(SIZES)
    return [row for size in sizes for names in NAMED for row in _measured(size, names)]


def _measured(size: int, names: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="imi-bench-", dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        wire = _write_log(folder, size, names)
        done = subprocess.run(
            [sys.executable, "-m", "bench.replication", str(folder)], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
    note = f"{size:,} entries, {NAMED[names]}"
    return [
        {"key": f"directory.log.{size}.{names}.cpu", "what": "verify, apply and index a whole log, CPU", "value": found["cpu"], "unit": "s",
         "goal": _GOALS.get((size, names), ""), "note": note},
        {"key": f"directory.log.{size}.{names}.wire", "what": "pages on the wire, gzip", "value": wire / 1e6, "unit": "MB",
         "note": f"{note}; {wire / size:.0f} bytes each"},
        {"key": f"directory.log.{size}.{names}.memory", "what": "peak memory of the process", "value": found["memory"], "unit": "MB", "note": note},
        {"key": f"directory.log.{size}.{names}.file", "what": "its copy and index on disk", "value": found["file"], "unit": "MB", "note": note},
    ]  # fmt: skip


def _entries(size: int, names: str) -> Iterator[Authority]:
    for n, authority in enumerate(authorities(size)):
        informal = authority.informal if names == "all" else dict(islice(authority.informal.items(), 1))
        yield replace(authority, id=AuthorityId(f"{OWNER}:{n:010x}"), node=OWNER, informal=informal)


def _write_log(folder: Path, size: int, names: str) -> int:
    """The pages of a log as a host serves them, and its signed head; the bytes of all pages."""
    key, frontier, wire = Ed25519PrivateKey.generate(), Frontier(), 0
    made = _entries(size, names)
    for page in range(-(-size // PAGE)):
        entries = [new_entry(write_change(authority)) for authority in islice(made, PAGE)]
        frontier = frontier_after(frontier, entries)
        data = gzip.compress(write_page(entries), 1, mtime=0)
        (folder / f"{page:06}.gz").write_bytes(data)
        wire += len(data)
    log = LogId(OWNER)
    head = sign_checkpoint(log, frontier, public_key=key.public_key(), sign=key.sign)
    (folder / "head").write_text(head.note, encoding="utf-8")
    (folder / "key").write_bytes(key.public_key().public_bytes_raw())
    return wire


def _follow(folder: Path) -> dict[str, float]:
    """What a node does with fetched pages; its CPU, memory and disk."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    key = LogKey(public_key=Ed25519PublicKey.from_public_bytes((folder / "key").read_bytes()), host=OWNER)
    (folder / "data").mkdir()
    directory = Directory(folder / "data")
    began = time.process_time()
    promised = directory.see(
        LogId(OWNER), (folder / "head").read_text(encoding="utf-8"), key, source=OWNER, at=datetime.now(UTC)
    )
    assert promised
    for file in sorted(folder.glob("*.gz")):
        data = gzip.decompress(file.read_bytes())
        directory.replica.stage(promised.log, read_page(data, count=data.count(b"\n")))
    directory.settle(promised, source=OWNER)
    cpu = time.process_time() - began
    count = directory.count()
    directory.close()
    assert count == promised.size
    size = sum(path.stat().st_size for path in (folder / "data").iterdir())
    return {"cpu": cpu, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "file": size / 1e6}


if __name__ == "__main__":
    print(json.dumps(_follow(Path(sys.argv[1]))))
