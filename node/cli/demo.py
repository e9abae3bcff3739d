"""`imi-node demo`: a federation on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from node.demo import plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Folder of the federation; made if missing.")],
    once: Annotated[bool, typer.Option("--once", help="Play the scenarios, check, stop everything, end.")] = False,
    nodes: Annotated[str, typer.Option("--nodes", help="Which nodes to run, by code.")] = ",".join(plan.NODES),
    base_port: Annotated[int, typer.Option("--base-port", help="First port; 0 takes free ones.")] = plan.BASE_PORT,
) -> None:
    """Run a federation on this machine: real processes, real TLS, real authorities, fictional people.

    Plays six scenarios over the wire and tells what it checked; then stays up until Ctrl-C (or ends, with --once).
    A second start on the same folder continues where it was. `federation.json` in the folder has addresses and logins.

    **Examples**

    `imi-node demo --dir demo` · `imi-node demo --dir demo --once` · `imi-node demo --dir demo --nodes EE,FR,EU`
    """
    from node.demo.running import run  # late: the whole node is needed only here

    raise typer.Exit(asyncio.run(run(directory, plan.chosen(nodes.split(",")), once=once, base_port=base_port)))
