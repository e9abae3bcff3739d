"""`imi-node messages`, `lanes`: what was sent and received, what waits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, look, plain, stores, table

messages = typer.Typer(help="Messages exchanged with other nodes.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(messages, name="messages")
    app.command("lanes")(lanes)


@messages.command("list")
def list_(
    conversation: Annotated[str, typer.Option(help="Only this case number.")] = "",
    peer: Annotated[str, typer.Option(help="Only to and from this node.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 100,
    json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """List messages, newest first: types, sizes and times, never contents.

    **Example** `imi-node messages list --conversation FR-2026-000001`
    """
    from node.federation import operator

    with stores(config) as (_, database):
        lines = look(database, operator.list_messages, conversation=conversation, peer=peer, limit=limit)
    if json:
        print(operator.as_json(lines))
        return
    table(
        "", ("", "at", "peer", "case", "state", "tries", "bytes", "message id"),
        [("→" if m.direction == "out" else "←", f"{m.at:%Y-%m-%d %H:%M:%S}", m.peer, m.conversation,
          m.state, m.attempts, m.size, m.message_id) for m in lines],
        empty="No message yet.",
    )  # fmt: skip


@messages.command("show")
def show(message_id: str, config: Config = DEFAULT_CONFIG) -> None:
    """Tell the whole story of one message: attempts, answer, certificates, digests.

    **Example** `imi-node messages show 3f…@fr.imi.node`
    """
    from node.federation import operator

    with stores(config) as (_, database):
        story = look(database, operator.show_message, message_id)
    for label, value in story.items():
        _print(label, value)


@messages.command("retry")
def retry(message_id: str, config: Config = DEFAULT_CONFIG) -> None:
    """Send a message again that its peer refused, once the cause is mended; what is parked behind it follows.

    A running node takes it up within half a minute. **Example** `imi-node messages retry 3f…@fr.imi.node`
    """
    from node.federation import operator

    with stores(config) as (_, database):
        recipient = database.run(operator.retry_message, message_id)
    console.print(f"waits for {recipient} again")


@messages.command("export")
def export(
    message_id: str,
    to: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write the wire bytes, the receipt and the certificates of one message, for verification without this software.

    docs/how-to/verify-a-message.md says how. **Example** `imi-node messages export ID --to evidence`
    """
    from node.federation import operator
    from node.federation.peers import Peers
    from node.federation.trust import NothingReadYet, TrustReader, from_folder
    from node.local_store.bodies import Bodies

    with stores(config) as (settings, database):
        trust = settings.data / "trust"
        kept = TrustReader(trust, from_folder(trust)).kept()
        if kept is None:
            raise NothingReadYet("this node has read no trust list yet, so it knows no certificates to export")
        files = look(
            database,
            operator.export_message,
            message_id,
            Peers(settings.node, kept),
            Bodies(settings.data / "messages"),
        )
    to.mkdir(parents=True)
    for name, data in files.items():
        (to / name).write_bytes(data)
    console.print(f"written to {to}: {', '.join(sorted(files))}")


def lanes(config: Config = DEFAULT_CONFIG) -> None:
    """Show what waits for which node, since when and why.

    **Example** `imi-node lanes --config /srv/imi/node.toml`
    """
    from node.federation import operator

    with stores(config) as (_, database):
        rows = look(database, operator.lanes)
    table(
        "", ("node", "waiting", "parked", "oldest", "last error"),
        [(lane.node, lane.waiting, lane.parked, lane.oldest or "", lane.last_error) for lane in rows],
        empty="Nothing waits: every message has its receipt.",
    )  # fmt: skip


def _print(label: str, value: Any) -> None:
    if isinstance(value, dict):
        console.print(f"{label}:")
        for name, item in value.items():
            console.print(f"    {name}  {plain(item)}", highlight=False, soft_wrap=True)
    else:
        console.print(
            f"{label:>20}  {plain(value) if value not in (None, '') else '–'}", highlight=False, soft_wrap=True
        )
