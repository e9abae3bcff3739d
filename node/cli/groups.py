"""`imi-node groups`: named sets of authorities that a procedure addresses or a search is narrowed to."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, field, plain, table
from node.cli.directory import Alone, own_logs, signer_of
from node.directory.model import AuthorityGroup, Deleted
from node.errors import Refused
from node.ids import AuthorityId, NodeId, new_token, parse_authority, state_of
from node.settings import load

app = typer.Typer(help="Groups of authorities.", no_args_is_help=True)
Group = Annotated[str, typer.Argument(help="Its identifier, as `list` shows it.")]


class UnknownGroup(Refused):
    """The directory has no such group, or another node keeps it."""

    code = "refused.unknown-group"


@app.command("put")
def put(
    name: Annotated[str, typer.Argument(help="Its name, in English.")],
    member: Annotated[list[str], typer.Option(help="An authority of any State; may be repeated.")],
    group: Annotated[str, typer.Option(help="The group to change; default: a new one.")] = "",
    procedure: Annotated[
        list[str] | None, typer.Option(help="Only for this area or procedure; may be repeated.")
    ] = None,
    alone: Alone = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make a group of authorities, or put other members in it; every node sees it.

    **Example** `imi-node groups put "Market surveillance" --member EE:a771c054c5 --member FR:e48ce0c12f`
    """
    with own_logs(config, alone=alone) as (settings, keys, directory):
        if group:
            _ours(directory.record("group", parse_authority(group)), settings.node)
        made = AuthorityGroup(
            id=parse_authority(group) if group else AuthorityId(f"{state_of(settings.node)}:{new_token(5)}"),
            node=settings.node,
            names={"en": name},
            procedures=tuple(procedure or ()),
            members=tuple(dict.fromkeys(directory.get(parse_authority(one)).id for one in member)),
        )
        directory.publish(settings.node, [made], signer_of(settings.node, settings, keys))
    console.print(f"{made.id} has {len(made.members)} members.")


@app.command("list")
def list_(config: Config = DEFAULT_CONFIG) -> None:
    """List the groups of all nodes.

    **Example** `imi-node groups list`
    """
    from node.directory import Directory

    with closing(Directory(load(config).data)) as directory:
        found = [one for one in directory.records("group") if isinstance(one, AuthorityGroup)]
    table(
        "", ("id", "name", "node", "members", "for"),
        [(g.id, g.names.get("en", ""), g.node, str(len(g.members)), ", ".join(g.procedures) or "all") for g in found],
        empty="No group yet; `imi-node groups put` makes one.",
    )  # fmt: skip


@app.command("show")
def show(group: Group, config: Config = DEFAULT_CONFIG) -> None:
    """Show a group and its members.

    **Example** `imi-node groups show EE:0a1b2c3d4e`
    """
    from node.directory import Directory

    with closing(Directory(load(config).data)) as directory:
        found = _ours(directory.record("group", parse_authority(group)), None)
        field("id", found.id)
        field("node", found.node)
        field("names", dict(found.names))
        field("for", ", ".join(found.procedures) or "all procedures")
        for name in found.members:
            known = directory.replica.find(name)
            field("member", f"{name} {known.name if known else '(no longer in the directory)'}")


@app.command("delete")
def delete(group: Group, alone: Alone = False, config: Config = DEFAULT_CONFIG) -> None:
    """Delete a group of this node; its members stay.

    **Example** `imi-node groups delete EE:0a1b2c3d4e`
    """
    with own_logs(config, alone=alone) as (settings, keys, directory):
        found = _ours(directory.record("group", parse_authority(group)), settings.node)
        directory.publish(settings.node, [Deleted(found.id, "group")], signer_of(settings.node, settings, keys))
    console.print(f"{plain(found.names.get('en', ''))} ({found.id}) is no longer in the directory.")


def _ours(record: tuple[object, object] | None, node: NodeId | None) -> AuthorityGroup:
    found = record[0] if record else None
    if not isinstance(found, AuthorityGroup) or (node is not None and found.node != node):
        raise UnknownGroup("the directory has no such group, or another node keeps it")
    return found
