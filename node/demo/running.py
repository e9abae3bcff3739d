"""The demo as a whole: prepare or continue, start, play, tell, stay, stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from node import log
from node.demo import plan
from node.demo.plan import FederationFile, NodePlace
from node.demo.preparing import HOST, prepare
from node.demo.processes import NodeProcess, Processes
from node.demo.scenarios import acting_for, directory_change, intruder, node_away, one_to_many, one_to_one
from node.demo.stage import Stage
from node.demo.transcript import CheckFailed, Transcript
from node.errors import PeerError, Refused, Unavailable
from node.ids import NodeId
from pki.trustlist import Publisher

SCENARIOS = (
    (one_to_one, {"FR", "RO"}),
    (one_to_many, {"EE", "FR", "DE", "EU"}),
    (acting_for, {"EE", "FR"}),
    (node_away, {"FR", "RO"}),
    (intruder, {"EE", "FR", "EU"}),
    (directory_change, {"EE", "EU"}),
)


async def run(folder: Path, nodes: Sequence[NodeId], *, once: bool, base_port: int) -> int:
    """Run the demo in a folder; the process's exit code.

    Raises:
        PortTaken, OldDemo, NodeDidNotStart, OSError: the sentence says what to do.
    """
    console = Console()
    log.configure(level="error")
    file = await _prepared(folder, nodes, base_port, console)
    places = {NodeId(node): place for node, place in file.nodes.items()}
    plan.check_ports(list(places.values()))
    await asyncio.to_thread(Publisher(folder / "publisher").renew)
    stop = _stop_event()
    async with Processes({node: _process(place) for node, place in places.items()}) as processes:
        with console.status(f"starting {len(places)} nodes ..."):
            await processes.start_all()
        transcript = Transcript(console)
        held = await _play(folder, places, processes, transcript, stop)
        _summary(transcript, held=held)
        if not once and not stop.is_set():
            transcript.addresses(
                [(n, p.pages, user.login, user.password) for n, p in places.items() for user in p.logins]
            )
            console.print("\nThe federation stays up. Ctrl-C stops everything.")
            await stop.wait()
    return 0 if held else 1


async def _prepared(folder: Path, nodes: Sequence[NodeId], base_port: int, console: Console) -> FederationFile:
    """The federation in the folder: an earlier one, or a new one."""
    found = FederationFile.read(folder)
    if found is not None:
        console.print(f"continuing the federation in {folder}")
        return found
    if folder.exists() and any(folder.iterdir()):
        raise plan.OldDemo(f"{folder} is not empty and holds no federation.json: choose another --dir, or empty it")
    folder.mkdir(parents=True, exist_ok=True)
    places = [plan.place(folder.resolve(), node, base_port) for node in nodes]
    plan.check_ports(places)
    columns = (SpinnerColumn(), TextColumn("preparing: {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        file = await prepare(folder, places, progress)
    file.write(folder)
    return file


def _process(place: NodePlace) -> NodeProcess:
    return NodeProcess(node=place.node, config=place.folder / "node.toml", management=place.management)


async def _play(
    folder: Path, places: dict[NodeId, NodePlace], processes: Processes, transcript: Transcript, stop: asyncio.Event
) -> bool:
    """Play every scenario whose nodes run; whether all checks held."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        stage = Stage(folder=folder, http=http, places=places, processes=processes, transcript=transcript)
        try:
            await stage.same_directory()
            for scenario, needed in SCENARIOS:
                if stop.is_set():
                    return False
                if needed <= set(places):
                    transcript.chapter(scenario.TITLE, scenario.SUMMARY)
                    await scenario.play(stage)
                else:
                    transcript.console.print(
                        f"   left out, needs {', '.join(sorted(needed))}: {scenario.TITLE}", style="dim"
                    )
        except (CheckFailed, Unavailable, Refused, PeerError, aiohttp.ClientError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            transcript.console.print(f"\n[bold red]{escape(told)}[/]", highlight=False)
            return False
    return True


def _summary(transcript: Transcript, *, held: bool) -> None:
    words = "every check held" if held else "NOT every check held"
    transcript.console.print()
    transcript.console.rule(
        f"[bold {'green' if held else 'red'}]{transcript.checks} checks in {len(transcript.chapters)} scenarios: {words}"
    )


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


__all__ = ["HOST", "run"]
