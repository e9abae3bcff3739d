"""`imi-node authorities move`, `accept-move`, `moves`: authorities that change between nodes of one State."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, known_peers, stores, table
from node.ids import AuthorityId, NodeId, parse_authority, parse_node

if TYPE_CHECKING:
    from node.casework.casework import Casework
    from node.directory import Directory
    from node.directory.hosting import LogSigner


def register(app: typer.Typer) -> None:
    """Add the commands to `imi-node authorities`."""
    app.command("move")(move)
    app.command("accept-move")(accept_move)
    app.command("moves")(moves)


def move(
    authority: Annotated[str, typer.Argument(help="An authority of this node: DE:558c1b780f")],
    to: Annotated[str, typer.Option(help="The node of the same State it moves to: DE-BY")],
    leave_drafts: Annotated[
        bool, typer.Option("--leave-drafts", help="Drafts stay behind: they do not travel.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Hand an authority over to another node of the State, with its cases. This cannot be taken back.

    From now on its people can do nothing here; they can again when the other node has accepted. May be repeated after
    a failure: it goes on where it stopped.

    **Example** `imi-node authorities move DE:558c1b780f --to DE-BY`
    """
    with _opened(config) as ours:
        who, where = parse_authority(authority), parse_node(to)
        count = asyncio.run(ours.casework.begin_move(who, where, leave_drafts=leave_drafts))
        _announce(ours, who, where, count)
    console.print(f"{authority} leaves with {count} cases; on {to} run: imi-node authorities accept-move {authority}")


def accept_move(
    authority: Annotated[str, typer.Argument(help="An authority that another node of the State hands over.")],
    despite_missing: Annotated[
        int, typer.Option("--despite-missing", help="Accept though so many of its cases will never come.", min=0)
    ] = 0,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take over an authority that moves to this node, once all its cases have arrived.

    **Example** `imi-node authorities accept-move DE:558c1b780f`
    """
    from node.casework.errors import NotYetArrived

    who = parse_authority(authority)
    with _opened(config) as ours:
        known = ours.directory.get(who)
        if known.node == ours.node:
            console.print(f"{authority} is on this node already.")
            return
        found = next((one for one in ours.directory.coming(ours.node) if one.id == who), None)
        if found is None:
            raise NotYetArrived(
                f"the log of {known.node} does not say yet that {authority} moves here: try again later"
            )
        expected = max(0, found.cases - despite_missing)
        number = len(found.former) + 1
        count = asyncio.run(ours.casework.accept_move(who, number=number, expected=expected))
        here = replace(known, node=ours.node, former=found.homes[:-1])
        ours.directory.publish(ours.node, [here], ours.signer)
    console.print(
        f"{authority} is on this node now, with {count} cases. Make accounts for its people: imi-node users add"
    )


def moves(config: Config = DEFAULT_CONFIG) -> None:
    """List the authorities that are to move to this node, and those that have moved anywhere.

    **Example** `imi-node authorities moves`
    """
    from node.directory import Directory
    from node.settings import load

    settings = load(config)
    directory = Directory(settings.data)
    try:
        coming = [(m.id, m.node, m.to, m.cases, "to be accepted here") for m in directory.coming(settings.node)]
        moved = [(a, homes[-2], homes[-1], "", "has moved") for a, homes in sorted(directory.moved().items())]
    finally:
        directory.close()
    table("", ("authority", "from", "to", "cases", ""), [*coming, *moved], empty="No authority has moved or is to.")


@dataclass(frozen=True, slots=True)
class _Ours:
    node: NodeId
    casework: Casework
    directory: Directory
    signer: LogSigner


def _announce(ours: _Ours, authority: AuthorityId, to: NodeId, cases: int) -> None:
    """Say it in our log, once; the directory of a node that was restored says it again."""
    from node.directory.model import Move

    known = ours.directory.get(authority)
    found = Move(id=authority, node=ours.node, to=to, former=known.former, cases=cases)
    if found not in ours.directory.coming(to):
        ours.directory.publish(ours.node, [found], ours.signer)


@contextmanager
def _opened(config: Path) -> Iterator[_Ours]:
    """This node's cases and directory, beside the node that may be running."""
    from node.app import casework_of, load_keys  # late: most commands need none of this
    from node.catalogue import Catalogue
    from node.clock import SystemClock
    from node.directory import Directory
    from node.settings import shipped

    with stores(config) as (settings, database):
        keys, peers = load_keys(settings), known_peers(settings)
        directory = Directory(settings.data)
        try:
            catalogue = Catalogue.load(settings.catalogue or shipped())
            casework = casework_of(
                settings,
                keys=keys,
                database=database,
                catalogue=catalogue,
                directory=directory,
                peers=peers,
                clock=SystemClock(),
            )
            yield _Ours(settings.node, casework, directory, keys.log_signer)
        finally:
            directory.close()
