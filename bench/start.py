"""A node at rest: how long it takes to be ready, how much memory it holds, with the whole demo's directory."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from node.demo import plan
from node.demo.preparing import prepare
from node.demo.processes import NodeProcess
from node.ids import NodeId

ROUNDS: Final = 5


def run() -> list[dict[str, Any]]:
    """Prepare a federation of one node, and start it several times."""
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        return asyncio.run(_run(Path(name)))


async def _run(folder: Path) -> list[dict[str, Any]]:
    place = plan.place(folder, NodeId("EU"), 0)
    with Progress(disable=True) as progress:
        await prepare(folder, [place], progress)
    seconds, memory = [], []
    for _ in range(ROUNDS):
        process = NodeProcess(node=place.node, config=place.folder / "node.toml", management=place.management)
        began = time.perf_counter()
        await process.start()
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(2)
        memory.append(_resident(process.pid or 0))
        await process.stop()
    return [
        {
            "key": "start.ready",
            "what": "start to ready",
            "value": statistics.median(seconds),
            "unit": "s",
            "goal": "< 2",
            "note": f"median of {ROUNDS}",
        },
        {
            "key": "start.memory",
            "what": "memory idle (15,508 authorities)",
            "value": statistics.median(memory),
            "unit": "MB",
            "goal": "< 150",
        },
    ]


def _resident(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
