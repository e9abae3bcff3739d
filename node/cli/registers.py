"""`imi-node registers`: bring registers into the directory, find them, show and delete them."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from node.cli import importing
from node.cli.common import DEFAULT_CONFIG, Config, console, field, plain, table
from node.cli.directory import Alone, own_logs, signer_of
from node.directory.intake import REGISTERS
from node.directory.model import Deleted
from node.ids import parse_authority, parse_state, state_of
from node.settings import load

app = typer.Typer(help="Registers of the directory.", no_args_is_help=True)
Register = Annotated[str, typer.Argument(help="Its identifier: EE:annex-xi-1")]


@app.command("import")
def import_(
    file: importing.File,
    node: importing.Node = "",
    dry_run: importing.DryRun = False,
    strict: importing.Strict = False,
    delete_missing: importing.DeleteMissing = False,
    yes: importing.Yes = False,
    alone: Alone = False,
    config: Config = DEFAULT_CONFIG,
) -> int:
    """Bring registers into the log this node signs; peers follow within a minute, or at once while it runs.

    What is there already stays, and a second import of the same file changes nothing. Exit code 1: rows were refused.

    **Example** `imi-node registers import registers.csv --dry-run`
    """
    order = importing.Order(
        file=file, dry_run=dry_run, strict=strict, delete_missing=delete_missing, yes=yes, alone=alone
    )
    return importing.run(REGISTERS, order, node=node, config=config)


@app.command("search")
def search(
    words: Annotated[list[str] | None, typer.Argument(help="Words of name, contents or keeper, in any script.")] = None,
    state: Annotated[str, typer.Option(help="Only this State.")] = "",
    kind: Annotated[str, typer.Option("--type", help="Only this type: business, professional …")] = "",
    access: Annotated[str, typer.Option(help="Only these: public, authorities, on-request.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Find registers in the local copy of the directory.

    **Example** `imi-node registers search handelsregister --state DE`
    """
    from node.directory import Directory

    with closing(Directory(load(config).data)) as directory:
        asked = parse_state(state) if state else None
        result = directory.find_registers(" ".join(words or ()), state=asked, type_=kind, access=access, limit=limit)
    table(
        "", ("id", "name", "type", "access", "website"),
        [(one.id, one.name, one.type, one.access, one.website) for one in result.found],
        empty="Nothing found. Try fewer words, or the beginning of a word.",
    )  # fmt: skip
    if result.has_more:
        console.print(f"There are more than {limit}; narrow the search or raise --limit.")


@app.command("show")
def show(register: Register, config: Config = DEFAULT_CONFIG) -> None:
    """Show one register's entry.

    **Example** `imi-node registers show EE:annex-xi-1`
    """
    from node.directory import Directory

    with closing(Directory(load(config).data)) as directory:
        found = directory.register(parse_authority(register))
    rows = {
        "id": found.id, "node": found.node, "name": found.name, "names": dict(found.names), "type": found.type,
        "contents": dict(found.contents), "kept by": found.operator_name, "keeper's entry": found.operator,
        "who may consult it": found.access, "fee": found.fee, "online": found.online, "account needed": found.login,
        "languages": ", ".join(found.languages), "website": found.website, "contact": found.contact,
        "found right on": found.valid_on or "", "identifiers": dict(found.identifiers), "source": found.source,
    }  # fmt: skip
    for label, value in rows.items():
        field(label, value)


@app.command("delete")
def delete(register: Register, alone: Alone = False, config: Config = DEFAULT_CONFIG) -> None:
    """Delete a register of a node whose log this node signs; its entry stays in the log's history.

    **Example** `imi-node registers delete EE:annex-xi-1`
    """
    name = parse_authority(register)
    with own_logs(config, alone=alone) as (settings, keys, directory):
        found = directory.register(name)
        signer = signer_of(found.node, settings, keys)
        directory.publish(found.node, [Deleted(name, "register")], signer, collection="registers")
    console.print(f"{plain(found.name)} ({name}) is no longer in the directory of {state_of(name)}.")
