"""Bringing 34,936 municipalities in by the command itself, twice, and verifying the exported log: each a process."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.app import load_keys
from node.making import make_stores
from node.settings import load, shipped
from pki.founding import Founding, NodePlan
from pki.keys import raw_public

FILE: Final = "FR_municipalities.csv.gz"
ROWS: Final = 34_936


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process took."""

    seconds: float
    cpu: float  # seconds
    memory: float  # MB at its most


def run() -> list[dict[str, Any]]:
    """Import, import again, export, verify."""
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        config = _node(Path(name))
        key = b64encode(raw_public(load_keys(load(config)).log_signer.public_key)).decode()
        bulk = str(shipped("directory", "bulk", FILE))
        exported = str(Path(name) / "log.jsonl")
        first = _spend("-m", "node", "authorities", "import", bulk, "--config", str(config))
        again = _spend("-m", "node", "authorities", "import", bulk, "--config", str(config))
        _spend("-m", "node", "directory", "export", exported, "--log", "FR/authorities", "--config", str(config))
        verify = _spend("-m", "node.directory.verify", exported, "--key", key)
    return [
        {
            "key": "directory.import.rate",
            "what": "rows imported, logged and indexed",
            "value": ROWS / first.seconds,
            "unit": "1/s",
            "note": f"{ROWS} rows in {first.seconds:.1f} s, {first.cpu:.1f} s CPU",
        },
        {
            "key": "directory.import.cpu",
            "what": "CPU for a new row",
            "value": first.cpu / ROWS * 1000,
            "unit": "ms",
        },
        {
            "key": "directory.import.again",
            "what": "CPU for a row that changes nothing",
            "value": again.cpu / ROWS * 1000,
            "unit": "ms",
        },
        {
            "key": "directory.import.memory",
            "what": "memory of the import at its most",
            "value": max(first.memory, again.memory),
            "unit": "MB",
        },
        {
            "key": "directory.verify.rate",
            "what": "entries of an exported log verified",
            "value": ROWS / verify.cpu,
            "unit": "1/s CPU",
        },
        {
            "key": "directory.verify.memory",
            "what": "memory of that at its most",
            "value": verify.memory,
            "unit": "MB",
        },
    ]


def _node(folder: Path) -> Path:
    founding = Founding(folder / "federation")
    founding.found([NodePlan(node="FR", federation="https://127.0.0.1:1")], host="FR")
    data = founding.keys("FR").parent
    make_stores(data, founding.publisher.root_bytes())
    config = data / "node.toml"
    config.write_text(f'node = "FR"\ndata = "{data}"\n', encoding="utf-8")
    return config


def _spend(*arguments: str) -> Spent:
    began = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return Spent(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
