"""`imi-node authorities`: bring authorities into the directory, and find them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from node.cli import importing
from node.cli.common import DEFAULT_CONFIG, Config, console, table
from node.cli.directory import Alone, own_logs, signer_of
from node.directory.intake import AUTHORITIES
from node.directory.model import Authority
from node.errors import Refused
from node.ids import parse_authority, parse_state

app = typer.Typer(help="Authorities of the directory.", no_args_is_help=True)


class NotOnThisNode(Refused):
    """A body can be represented only by another authority of its own node, which signs for both."""

    code = "refused.not-on-this-node"


@app.command("import")
def import_(
    file: importing.File,
    node: importing.Node = "",
    overlay: Annotated[Path | None, typer.Option(help="TOML file with competences, languages and roles.")] = None,
    dry_run: importing.DryRun = False,
    strict: importing.Strict = False,
    delete_missing: importing.DeleteMissing = False,
    yes: importing.Yes = False,
    alone: Alone = False,
    config: Config = DEFAULT_CONFIG,
) -> int:
    """Bring authorities into the log this node signs; peers follow within a minute, or at once while it runs.

    What is there already stays, and a second import of the same file changes nothing. Exit code 1: rows were refused.

    **Example** `imi-node authorities import authorities.csv --dry-run`
    """
    order = importing.Order(
        file=file, dry_run=dry_run, strict=strict, delete_missing=delete_missing, yes=yes, alone=alone
    )
    return importing.run(AUTHORITIES, order, node=node, config=config, overlay=overlay)


@app.command("represent")
def represent(
    authority: Annotated[str, typer.Argument(help="A body of this node: EE:059b7de689")],
    by: Annotated[
        str, typer.Option(help="The coordinator of this node whose users act for it; none: its own do.")
    ] = "",
    alone: Alone = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Have a coordinator's users act for a body that has none; without `--by` they do so no more.

    The body stays the party of its cases and goes on with them by itself once it has users of its own.

    **Examples** `imi-node authorities represent EE:059b7de689 --by EE:a771c054c5` ·
    `imi-node authorities represent EE:059b7de689`
    """
    with own_logs(config, alone=alone) as (settings, keys, directory):
        body = directory.get(parse_authority(authority))
        coordinator = directory.get(parse_authority(by)) if by else None
        if body.node != settings.node or (coordinator and coordinator.node != settings.node):
            raise NotOnThisNode(
                "a body and the coordinator that represents it are both on this node", node=settings.node
            )
        if coordinator and coordinator.id == body.id:
            raise NotOnThisNode("a body does not represent itself: leave --by out", node=settings.node)
        changed = replace(body, represented_by=coordinator.id if coordinator else "")
        directory.publish(settings.node, [changed], signer_of(settings.node, settings, keys))
    who = f"users of {coordinator.id}" if coordinator else "its own users alone"
    console.print(f"{body.id} is acted for by {who}.")


@app.command("search")
def search(
    words: Annotated[list[str], typer.Argument(help="Words of name, place or profession, in any script.")],
    state: Annotated[str, typer.Option(help="Only this State.")] = "",
    area: Annotated[str, typer.Option(help="Only this legal area.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=100)] = 20,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Find authorities in the local copy of the directory.

    **Example** `imi-node authorities search profesor diploma --state RO`
    """
    from node.directory import Directory
    from node.settings import load

    directory = Directory(load(config).data)
    try:
        result = directory.search(
            " ".join(words), state=parse_state(state) if state else None, area=area or None, limit=limit
        )
    finally:
        directory.close()
    table(
        "", ("id", "name", "node", "competence"),
        [(h.authority.id, h.authority.name, h.authority.node, _competence(h.authority)) for h in result.hits],
        empty="Nothing found. Try fewer words, or the beginning of a word.",
    )  # fmt: skip


def _competence(authority: Authority) -> str:
    mark = " (assignment invented)" if authority.assignment_invented else ""
    return ", ".join(f"{area}: {'/'.join(names)}" for area, names in authority.roles.items()) + mark
