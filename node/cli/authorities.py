"""`imi-node authorities`: bring authorities into the directory, and find them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, table
from node.cli.directory import Alone, own_logs, signer_of
from node.directory.model import Authority
from node.ids import parse_node, parse_state

app = typer.Typer(help="Authorities of the directory.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSONL file of one State's authorities.")],
    node: Annotated[str, typer.Option(help="Node they belong to; default: this node.")] = "",
    overlay: Annotated[Path | None, typer.Option(help="TOML file with competences, languages and roles.")] = None,
    alone: Alone = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Append authorities to the log this node signs; peers follow within a minute, or at once while it runs.

    **Example** `imi-node authorities import EE.jsonl --overlay overlay.toml`
    """
    from node.directory.importing import Overlay, read_authorities

    with own_logs(config, alone=alone) as (settings, keys, directory):
        home = parse_node(node) if node else settings.node
        found = list(read_authorities(file, node=home))
        if overlay is not None:
            laid = Overlay(overlay)
            found = [*(a for a in laid.over(found) if a.node == home), *laid.new(home)]
        checkpoint = directory.publish(home, found, signer_of(home, settings, keys))
    console.print(f"{len(found)} authorities added; the log of {home} has {checkpoint.size} entries now.")


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
