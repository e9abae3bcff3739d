"""`imi-node init`, `serve`, `check`: a node's life."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, plain
from node.errors import SetupError
from node.ids import parse_node


class AlreadyThere(SetupError):
    """A node lives in this folder already."""

    code = "setup.already-there"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("serve")(serve)
    app.command("check")(check)


def init(
    folder: Annotated[Path, typer.Argument(help="The node's folder; made if missing.")],
    node: Annotated[str, typer.Option(help="The node's code: EE, DE-BY.")],
    url: Annotated[str, typer.Option(help="Where other nodes reach it: https://imi.example.ee:8443")],
    trust_root: Annotated[Path, typer.Option(help="The trust list's root.json, from a trusted hand.")],
    host: Annotated[
        list[str] | None, typer.Option(help="Names and addresses of its TLS certificate (repeatable).")
    ] = None,
    name: Annotated[str, typer.Option(help="The node's name in the trust list (English).")] = "",
    relay: Annotated[
        str, typer.Option(help="The node of the same State that stands before it: others reach it through that alone.")
    ] = "",
) -> None:
    """Make a node's folder: settings, keys, empty databases, and a request to its State.

    Prints what comes next. The State answers with `python -m pki state admit`; its own keys never come here. With `--relay`
    the address is for the relay's operators and does not get into the trust list.

    **Examples**

    `imi-node init /srv/imi --node EE --url https://imi.example.ee:8443 --trust-root root.json`

    `imi-node init /srv/imi --node DE-SN --relay DE --url https://10.0.0.5:8443 --trust-root root.json`
    """
    from node.making import make_node  # late: keys and databases are needed only here

    code, before = parse_node(node), parse_node(relay) if relay else None
    if before and (before[:2] != code[:2] or before == code):
        raise SetupError(f"{before} cannot be the relay of {code}: a relay is another node of the same State")
    if (folder / "node.toml").exists():
        raise AlreadyThere(f"{folder / 'node.toml'} exists: a node lives here already; choose another folder")
    if not trust_root.is_file():
        raise SetupError(f"there is no file {trust_root}: ask the trust list's publisher for root.json")
    address = url.rstrip("/")
    request = make_node(folder, code, address, trust_root.read_bytes(), hosts=host or [], name=name, relay=before)
    console.print(f"Node {code} is prepared in {folder}. What comes next:")
    console.print(
        f"  1. Take {request} to your State's office: python -m pki state admit OFFICE request.json certificates.json"
    )
    console.print(f"  2. python -m pki node install {folder / 'keys'} certificates.json")
    console.print("  3. Once the trust list names this node: imi-node peers bootstrap --from FOLDER-OR-MIRROR")
    if before:
        console.print(
            f'     and the operators of {before} have written, under [relay] in its settings: {code} = "{address}"',
            markup=False,
            soft_wrap=True,
        )
    console.print(f"  4. imi-node check --config {folder / 'node.toml'}, then imi-node serve --config …")


def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    **Example** `imi-node serve --config /srv/imi/node.toml`
    """
    from node import app, log  # late: the whole node is needed only here
    from node.settings import load

    settings = load(config)
    log.configure(node=settings.node, level=settings.log_level)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with app.running(settings):
            await stop.wait()

    asyncio.run(run())


def check(config: Config = DEFAULT_CONFIG) -> None:
    """Look at settings, keys, clock, database, trust list and every peer; say what to do about each fault.

    Exit code 0 if all is well, 1 if something needs attention. A running node is not disturbed.

    **Example** `imi-node check --config /srv/imi/node.toml`
    """
    from node.cli.checking import run_checks  # late: keys and network are needed only here

    findings = asyncio.run(run_checks(config))
    for finding in findings:
        mark = "[green]well[/]" if finding.well else "[bold red]FAULT[/]"
        console.print(f"{mark:>14}  {finding.what}: {plain(finding.says)}", highlight=False)
        if not finding.well and finding.advice:
            console.print(f"              → {plain(finding.advice)}", highlight=False)
    raise typer.Exit(0 if all(finding.well for finding in findings) else 1)
