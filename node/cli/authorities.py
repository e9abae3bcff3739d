"""`imi-node authorities`: bring authorities into the directory, and find them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from node.cli import importing
from node.cli.common import DEFAULT_CONFIG, Config, console, plain, table
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
    region: Annotated[
        str, typer.Option(help="Only a NUTS region: its bodies, and those whose territory holds it.")
    ] = "",
    language: Annotated[str, typer.Option(help="Only those that work in this language.")] = "",
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
            " ".join(words), state=parse_state(state) if state else None, area=area or None, nuts=region or None,
            language=language or None, limit=limit,
        )  # fmt: skip
    finally:
        directory.close()
    if result.partial:
        console.print("No authority has all words; these have most of them.")
    _list(hit.authority for hit in result.hits)
    if result.fallback:
        console.print("Coordinators who know whom to ask:")
        _list(result.fallback)


@app.command("competent")
def competent(
    area: Annotated[str, typer.Argument(help="Legal area: professional-qualifications.")],
    state: Annotated[str, typer.Argument(help="State of the authority.")],
    profession: Annotated[str, typer.Option(help="Code of the list `profession`.")] = "",
    activity: Annotated[str, typer.Option(help="Code of the list `activity`.")] = "",
    place: Annotated[str, typer.Option(help="Town, postal code, region or NUTS code.")] = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Who is competent for a profession or an activity in a place: the authority, else its coordinator, and why.

    **Example** `imi-node authorities competent professional-qualifications FR --profession doctor --place Marseille`
    """
    from node.directory import Directory
    from node.directory.competence import Need, reason_in_words
    from node.settings import load, shipped
    from node.texts import ENGLISH, Texts

    need = Need(area=area, state=parse_state(state), profession=profession, activity=activity, place=place)
    directory = Directory(load(config).data)
    try:
        found = directory.competent(need)
    finally:
        directory.close()
    texts = Texts.load(shipped())
    console.print(plain(reason_in_words(need, found, partial(texts.t, ENGLISH))))
    _list(found.authorities)


def _list(found: Iterable[Authority]) -> None:
    table(
        "", ("id", "name", "node", "competence"),
        [(a.id, a.name, a.node, _competence(a)) for a in found],
        empty="Nothing found. Try fewer words, or the beginning of a word.",
    )  # fmt: skip


def _competence(authority: Authority) -> str:
    mark = " (assignment invented)" if authority.assignment_invented else ""
    return ", ".join(f"{area}: {'/'.join(names)}" for area, names in authority.roles.items()) + mark
