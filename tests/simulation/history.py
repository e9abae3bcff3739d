"""One seed: what happens to whom and when is drawn first, then played, then there is quiet, then the laws are asked."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from node.directory import Authority
from node.directory.directory import log_name
from node.directory.model import Deleted
from node.ids import AuthorityId, NodeId

from . import laws
from .loop import OWNER, Stuck, VirtualLoop
from .lying import WAYS, Liar
from .world import Crash, Network, Node, World, _is_crash, copy_files

STATES = [
    "AT",
    "BE",
    "BG",
    "CY",
    "CZ",
    "DE",
    "DK",
    "EE",
    "EL",
    "ES",
    "FI",
    "FR",
    "HR",
    "HU",
    "IE",
    "IS",
    "IT",
    "LI",
    "LT",
    "LU",
    "LV",
    "MT",
    "NL",
    "NO",
    "PL",
    "PT",
    "RO",
    "SE",
    "SI",
    "SK",
    "EU",
]  # 30 States and the Union's own node
HOSTED = "XK"  # a State without a node
ACTIVE_SECONDS = 600.0
QUIET_SECONDS = 1800.0
PUBLISHED_SECONDS = 600.0
BUGS = ("job failed", "following a peer's heads failed")


@dataclass(frozen=True)
class Act:
    """One thing that happens."""

    number: int
    at: float
    kind: str
    node: str
    given: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"[{self.number}] {self.kind} {self.node} " + " ".join(f"{k}={v}" for k, v in self.given.items())


@dataclass(frozen=True)
class Plan:
    """Who there is, who lies, what happens."""

    seed: int
    names: tuple[str, ...]
    liars: Mapping[str, tuple[str, ...]]
    two_faced: str | None
    first: Mapping[str, int]  # how many entries each log begins with
    acts: tuple[Act, ...]
    size: int | None = None  # if it was asked for, and not drawn


@dataclass
class Outcome:
    """What came of a seed."""

    plan: Plan
    trace: list[str]
    violations: list[str]
    quiet_seconds: float
    counts: dict[str, int]


def draw(seed: int, *, size: int | None = None) -> Plan:
    """The plan of a seed; every tenth has the whole federation of 31 nodes."""
    dice = random.Random(f"{seed}/plan")
    count = size or (31 if seed % 10 == 0 else dice.randint(3, 9))
    names = tuple(dice.sample(STATES, count))
    host = names[0]
    bad = list(names[1:])
    dice.shuffle(bad)
    liars = {
        bad.pop(): tuple(dice.sample(WAYS, dice.randint(1, len(WAYS))))
        for _ in range(dice.randint(0, (count - 1) // 3))
    }
    two_faced = bad.pop() if dice.random() < 0.4 and len(bad) > 2 else None
    honest = [name for name in names if name not in liars and name != two_faced]
    first = {name: dice.choice((0, 1, 3, 10)) for name in (*names, HOSTED)}
    if count < 10:
        first[dice.choice(honest)] = dice.choice((250, 255, 256, 257, 300))
    acts: list[Act] = []
    active = ACTIVE_SECONDS if count < len(STATES) else ACTIVE_SECONDS / 4

    def act(kind: str, node: str, at: float | None = None, **given: Any) -> None:
        acts.append(Act(len(acts), dice.uniform(5, active) if at is None else at, kind, node, given))

    for _ in range(dice.randint(5, 40 if count < len(STATES) else 15)):
        node = dice.choice(names)
        owner = HOSTED if node == host and dice.random() < 0.4 else node
        killed = dice.randint(0, 8) if dice.random() < 0.3 else None
        act("publish", node, owner=owner, changes=dice.choice((1, 1, 1, 2, 5, 30)), by=dice.choice(("node", "command")),
            killed_in=killed)  # fmt: skip
    for _ in range(dice.randint(0, 12)):
        act("crash", dice.choice(honest), lines=dice.choice((0, dice.randint(1, 30), dice.randint(1, 300))),
            down=dice.choice((1.0, dice.uniform(1, 90))), power=dice.random() < 0.3)  # fmt: skip
    for _ in range(dice.randint(0, 2)):
        node, at = dice.choice(honest), dice.uniform(5, active / 2)
        act("snapshot", node, at)
        act("restore", node, dice.uniform(at, active),
            files=dice.choice((("logs.db",), ("directory.db",), ("logs.db", "directory.db"))))  # fmt: skip
    for _ in range(dice.randint(0, 2)):
        cut = dice.randint(1, count - 1)
        mixed = dice.sample(names, count)
        act("partition", "", groups=(tuple(mixed[:cut]), tuple(mixed[cut:])), lasts=dice.uniform(20, 240))
    for _ in range(dice.randint(0, 2)):
        act("loss", "", share=dice.choice((0.05, 0.2, 0.6)), lasts=dice.uniform(20, 300))
    for _ in range(dice.randint(0, 2)):
        act(
            "clock",
            dice.choice(names),
            wrong_by=timedelta(seconds=dice.choice((-1, 1)) * dice.choice((90, 86400, 9e7))),
        )
    for _ in range(dice.choice((0, 0, 1, 2))):
        act("compact", dice.choice((*honest, HOSTED)))
    if dice.random() < 0.4:
        act("hand_over", HOSTED, to=dice.choice(honest))
    for restored in [each for each in acts if each.kind == "restore" and len(each.given["files"]) == 2]:
        # the worst that can happen to it: what it published last has come to few, and it publishes again
        cut = dice.randint(1, count - 1)
        others = dice.sample([name for name in names if name != restored.node], count - 1)
        groups = ((restored.node, *others[:cut]), tuple(others[cut:]))
        act("partition", "", restored.at - 40, groups=groups, lasts=dice.choice((35.0, 60.0, 120.0)))
        act("publish", restored.node, restored.at - 20, owner=restored.node, changes=1, by="node", killed_in=None)
        act("publish", restored.node, restored.at + dice.uniform(5, 60), owner=restored.node, changes=2, by="node",
            killed_in=None)  # fmt: skip
        if dice.random() < 0.5:  # alone, it publishes what it cannot know to be there already
            alone = ((restored.node,), tuple(name for name in names if name != restored.node))
            act("partition", "", restored.at + 1, groups=alone, lasts=dice.choice((35.0, 60.0, 120.0)))
    for _ in range(dice.randint(0, 2)):
        act("delay", "", slowest=dice.choice((2.0, 10.0, 25.0)), lasts=dice.uniform(20, 200))
    return Plan(seed, names, liars, two_faced, first, tuple(sorted(acts, key=lambda item: item.at)), size)


def play(plan: Plan) -> Outcome:
    """Play a plan from beginning to end; the same plan plays the same."""
    folder = Path(tempfile.mkdtemp(prefix="imi-simulation-", dir=ram()))
    loop = VirtualLoop()
    world = World(plan.seed, loop, folder)
    history = _History(plan, world)
    loop.set_exception_handler(lambda _, about: _unexpected(world, about))
    try:
        with _telling(world):
            try:
                loop.run_until_complete(history.run())
            except (Stuck, Exception) as error:  # noqa: BLE001  # whatever it is, the seed is told with it
                world.broken(f"nothing fails: {''.join(traceback.format_exception(error))}")
            _end_all(loop, history)
    finally:
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(plan, world.trace, world.violations, history.quiet_seconds, history.counts)


def ram() -> str | None:
    """A folder in memory, if there is one: a simulated disk has its own crashes."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class _History:
    def __init__(self, plan: Plan, world: World) -> None:
        self.plan, self.world = plan, world
        self.quiet_seconds = 0.0
        self.counts: dict[str, int] = {}
        self.serial = 0
        self.living: dict[NodeId, list[AuthorityId]] = {}
        self.snapshots: dict[str, Path] = {}
        self.second: Node | None = None
        self.handing_over: asyncio.Task[None] | None = None

    async def run(self) -> None:
        plan, world = self.plan, self.world
        for n, name in enumerate(plan.names):
            node = world.add(name, hosts=(HOSTED,) if n == 0 else ())
            if name in plan.liars:
                node.is_honest, node.distort = False, Liar(node, plan.liars[name])
            node.folder.mkdir(parents=True)
        world.publisher = NodeId(plan.names[0])
        for owner, count in plan.first.items():
            if count:
                await world.host_of(NodeId(owner)).command(
                    NodeId(owner), self._changes(NodeId(owner), count), killed_in=None
                )
        if plan.two_faced:
            self._split(world.nodes[plan.two_faced])
        for node in self._all():
            node.start()
        begun = world.loop.time()
        async with asyncio.TaskGroup() as group:
            for act in plan.acts:
                await asyncio.sleep(max(0.0, begun + act.at - world.loop.time()))
                world.tell("-", str(act))
                work = group.create_task(getattr(self, f"_{act.kind}")(act), name=str(act))
                if act.kind == "hand_over":
                    self.handing_over = work
            await self._calm()
        await self._quiet()

    def _all(self) -> list[Node]:
        return [*self.world.nodes.values(), *([self.second] if self.second else [])]

    def _split(self, node: Node) -> None:
        """From here on it tells its log in two ways, each to half of the others."""
        world = self.world
        others = [NodeId(name) for name in self.plan.names if name != node.name]
        half = frozenset(others[: len(others) // 2])
        node.is_honest = False
        self.second = Node(world, node.name, alias="b", hosts=node.hosts, is_honest=False)
        node.listing.only, self.second.listing.only = frozenset(others) - half, half
        copy_files(node.folder, self.second.folder)
        for peer in half:
            world.second_face[node.name, peer] = self.second

    def _changes(self, owner: NodeId, count: int) -> list[Authority | Deleted]:
        dice, living = self.world.dice, self.living.setdefault(owner, [])
        found: list[Authority | Deleted] = []
        for _ in range(count):
            self.serial += 1
            what = dice.random()
            if what < 0.3 and len(living) > 1:
                found.append(Deleted(living.pop(dice.randrange(len(living)))))
                continue
            if what < 0.6 and living:
                identifier = dice.choice(living)
            else:
                identifier = AuthorityId(f"{owner}:{self.serial}")  # never used again once it is deleted
                living.append(identifier)
            found.append(Authority(id=identifier, node=owner, names={"en": f"Office {self.serial}"}, name_lang="en"))
        return found

    # -- what happens ----------------------------------------------------------------------------------------------

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    async def _publish(self, act: Act) -> None:
        owner = NodeId(act.given["owner"])
        name = self.world.host_of(owner).name if owner == HOSTED else act.node
        for node in self._all():
            if node.name != name:
                continue
            changes = self._changes(owner, act.given["changes"])
            if act.given["by"] == "node":
                done = node.is_up and await node.publish(owner, changes)
            else:
                done = await node.command(owner, changes, killed_in=act.given["killed_in"])
            self._count("published" if done else "not published")

    async def _crash(self, act: Act) -> None:
        node = self.world.nodes[act.node]
        if not node.is_up:
            return
        process = node.process
        process.crash_in = act.given["lines"]
        until = self.world.loop.time() + 60
        while process.is_alive and self.world.loop.time() < until:  # noqa: ASYNC110  # what is waited for is another's
            await asyncio.sleep(0.5)
        if node.process is not process:
            return
        if act.given["power"]:
            node.lose_power()
        else:
            node.stop()
        self._count("power lost" if act.given["power"] else "crashed")
        await asyncio.sleep(act.given["down"])
        if not node.process.is_alive:
            node.start()

    async def _snapshot(self, act: Act) -> None:
        node = self.world.nodes[act.node]
        kept = self.world.folder / f"snapshot-{act.node}"
        copy_files(node.folder, kept)
        self.snapshots[act.node] = kept

    async def _restore(self, act: Act) -> None:
        node = self.world.nodes[act.node]
        if not node.is_up:
            return
        node.restore(self.snapshots[act.node], act.given["files"])
        self._count(f"restored {'both' if len(act.given['files']) > 1 else act.given['files'][0]}")
        await asyncio.sleep(2)
        if not node.process.is_alive:
            node.start()

    async def _compact(self, act: Act) -> None:
        owner = NodeId(act.node)
        node = self.world.host_of(owner)
        if node.is_up and await node.compact(owner):
            self._count("compacted")
            self.world.list_anew(owner, host=node.name, epoch=node.directory.own.epoch(log_name(owner)))

    async def _hand_over(self, act: Act) -> None:
        """The old host ends its epoch, the trust list names the new one, which begins once it has read all that."""
        owner, to = NodeId(act.node), self.world.nodes[act.given["to"]]
        node = self.world.host_of(owner)
        if node is to or not node.is_up or not await node.close(owner, host=to.name):
            return
        epoch = node.directory.own.epoch(log_name(owner)) + 1
        self.world.list_anew(owner, host=to.name, epoch=epoch)
        while not (  # what is waited for is another's
            to.has_asked
            and to.directory.replica.standing(log_name(owner)).next_host == to.name
            and to.listing.get(owner).logs["authorities"].epoch == epoch
            and await to.take_over(owner, epoch=epoch)
        ):
            await asyncio.sleep(5)
            if to.is_up and to.directory.own.epoch(log_name(owner)) >= epoch:
                break  # it had begun, and died before it said so
        self._count("handed over")

    async def _partition(self, act: Act) -> None:
        self.world.network.groups = [frozenset(map(NodeId, group)) for group in act.given["groups"]]
        self._count("partitions")
        await asyncio.sleep(act.given["lasts"])
        self.world.network.groups = ()

    async def _loss(self, act: Act) -> None:
        self.world.network.loss = act.given["share"]
        self._count("lossy times")
        await asyncio.sleep(act.given["lasts"])
        self.world.network.loss = 0.0

    async def _delay(self, act: Act) -> None:
        self.world.network.slowest = act.given["slowest"]
        self._count("slow times")
        await asyncio.sleep(act.given["lasts"])
        self.world.network.slowest = Network.slowest

    async def _clock(self, act: Act) -> None:
        self._count("clocks set wrong")
        self.world.nodes[act.node].clock.wrong_by += act.given["wrong_by"]

    # -- and then --------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        """Wait for all that was begun; a hand-over may need the quiet for it."""
        pending = {task for task in asyncio.all_tasks() if task.get_name().startswith("[")} - {self.handing_over}
        if pending:
            await asyncio.wait(pending)
        world = self.world
        world.tell("-", "quiet: everybody is up, nothing is lost, liars go on")
        world.network = Network()
        for node in self._all():
            if node.process is not None:
                node.process.crash_in = None
                if not node.process.is_alive:
                    node.start()
        if self.handing_over is not None:
            await asyncio.wait({self.handing_over}, timeout=QUIET_SECONDS)
            if not self.handing_over.done():
                world.broken("a hand-over comes to its end")
                self.handing_over.cancel()

    async def _quiet(self) -> None:
        world = self.world
        begun = world.loop.time()
        await asyncio.sleep(30)
        while world.loop.time() < begun + QUIET_SECONDS:
            if all(node.is_up for node in world.honest()) and not laws.differing(world):
                break
            await asyncio.sleep(10)
        else:  # before a new change brings on what was waiting
            for name in laws.differing(world) if all(node.is_up for node in world.honest()) else ():
                world.broken(f"all logs are equal: {name} differs after quiet time")
        self.quiet_seconds = world.loop.time() - begun
        await self._everybody_publishes()
        await asyncio.sleep(150)  # contradictions are found with the next greetings
        if not all(node.is_up for node in world.honest()):
            world.broken("every node is up after quiet time")
            return
        for law in laws.broken(world):
            world.broken(law)

    async def _everybody_publishes(self) -> None:
        """Every honest owner can, though perhaps not at once, and every honest node shows it."""
        world = self.world
        until, made = world.loop.time() + PUBLISHED_SECONDS, list[AuthorityId]()
        owners = [owner for owner in world.listed if world.is_sound(log_name(owner))]
        while owners and world.loop.time() < until:
            for owner in list(owners):
                self.serial += 1
                one = Authority(
                    id=AuthorityId(f"{owner}:{self.serial}"), node=owner, names={"en": "Last office"}, name_lang="en"
                )
                node = world.host_of(owner)
                if node.has_asked and await node.publish(owner, [one]):
                    made.append(one.id)
                    owners.remove(owner)
            await asyncio.sleep(5)
        for owner in owners:
            world.broken(f"every honest owner can publish: {log_name(owner)} cannot after quiet time")
        while missing := [
            f"{one} on {node.name}"
            for one in made
            for node in world.honest()
            if not node.is_up or node.directory.replica.find(one) is None
        ]:
            if world.loop.time() >= until:
                world.broken(f"everybody sees what is published: after quiet time not {missing[:3]}")
                return
            await asyncio.sleep(5)


def _end_all(loop: VirtualLoop, history: _History) -> None:
    for node in history._all():
        node.stop()
    for task in asyncio.all_tasks(loop):
        task.cancel()

    async def turns() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    loop.run_until_complete(turns())


def _unexpected(world: World, about: Mapping[str, Any]) -> None:
    error = about.get("exception")
    if error is None or not _is_crash(error):
        world.broken(f"nothing fails unseen: {about.get('message')} {error!r}")


@contextmanager
def _telling(world: World) -> Iterator[None]:
    """What nodes log goes into the trace, with who logs; a bug that a job or a follower logs breaks a law."""
    before = structlog.get_config()

    def tell(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        process = OWNER.get()
        if process is not None and not process.is_alive:
            raise structlog.DropEvent
        what = event.pop("event")
        error = event.pop("exc_info", None)
        told = f"{what} " + " ".join(f"{key}={value}" for key, value in event.items())
        who = f"{process.node.name}{process.node.alias}" if process is not None else "command"
        world.tell(who, told)
        if what in BUGS:
            world.broken(f"no bug ends a job: {who}: {told} {traceback.format_exc() if error else ''}")
        raise structlog.DropEvent

    structlog.configure(processors=[tell], wrapper_class=structlog.make_filtering_bound_logger(0))
    try:
        yield
    finally:
        structlog.configure(**before)


__all__ = ["Act", "Crash", "Network", "Outcome", "Plan", "Sequence", "draw", "log_name", "play"]
