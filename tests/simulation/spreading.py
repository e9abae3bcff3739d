"""How long a change takes to be on every node: 31 of them, and the owner is gone once the first other node has it.

python -m tests.simulation.spreading --changes 40
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from node.directory import Authority
from node.directory.replication import LogId
from node.ids import AuthorityId, NodeId

from .history import STATES, ram
from .loop import VirtualLoop
from .world import Command, Process, World

LONGEST_SECONDS = 3600.0


@dataclass
class Spread:
    """Seconds from the owner's signature until a node shows the change: of each node, and of the last."""

    each: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def quantile(self, of: str, percent: int) -> float:
        """Of `each` or of `last`."""
        return statistics.quantiles(getattr(self, of), n=100, method="inclusive")[percent - 1]


def measure(*, changes: int, seed: int = 1, loss: float = 0.0) -> Spread:
    """Simulated, so the same on every machine.

    Args:
        changes: how many, one after the other, each of a node drawn by lot.
        loss: the share of requests and of answers that are lost.
    """
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder = Path(tempfile.mkdtemp(prefix="imi-simulation-", dir=ram()))
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _loop, _about: None)  # whoever was stopped
    world = World(seed, loop, folder)
    try:
        return loop.run_until_complete(_measure(world, changes, loss))
    finally:
        for node in world.nodes.values():
            node.stop()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        structlog.configure(**before)


async def _measure(world: World, changes: int, loss: float) -> Spread:
    dice, spread = random.Random(f"{world.seed}/spreading"), Spread()
    for name in STATES:
        world.add(name)
    for node in world.nodes.values():
        await asyncio.sleep(dice.uniform(0, 4))  # their minutes do not begin together
        node.start()
    await asyncio.sleep(90)
    world.network.loss = loss
    for number in range(changes):
        await _one(world, NodeId(dice.choice(STATES)), number, spread)
        await asyncio.sleep(dice.uniform(100, 160))
    return spread


async def _one(world: World, name: NodeId, number: int, spread: Spread) -> None:
    owner, seen, all_seen = world.nodes[name], {}, asyncio.Event()
    log = str(LogId(name))
    made = Authority(id=AuthorityId(f"{name}:{number}"), node=name, names={"en": "Office"}, name_lang="en")

    def watch(process: Process | Command, line: str) -> None:
        if line != "directory.db committed" or process.node is owner or process.node.name in seen:
            return
        if process.directory.replica.find(made.id) is None:
            return
        seen[process.node.name] = world.loop.time() - begun
        if len(seen) == 1:
            world.loop.call_soon(owner.stop)
        if len(seen) == len(world.nodes) - 1:
            all_seen.set()

    while not owner.has_asked:  # noqa: ASYNC110  # what is waited for is another's
        await asyncio.sleep(1)
    begun = world.loop.time()
    world.watchers.append(watch)
    if not await owner.publish(name, [made]):
        raise AssertionError(f"{log} cannot be published")
    async with asyncio.timeout(LONGEST_SECONDS):
        await all_seen.wait()
    world.watchers.remove(watch)
    spread.each += seen.values()
    spread.last.append(max(seen.values()))
    owner.start()


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loss", type=float, default=0.0)
    given = parser.parse_args()
    spread = measure(changes=given.changes, seed=given.seed, loss=given.loss)
    for of in ("each", "last"):
        figures = [f"p{percent} {spread.quantile(of, percent):.1f} s" for percent in (50, 90, 99)]
        print(f"{of} node: {', '.join(figures)}, longest {max(getattr(spread, of)):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
