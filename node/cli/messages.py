"""`imi-node messages`, `lanes`: what was sent and received, what waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from json import dumps
from mimetypes import guess_extension, guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, field, known_peers, look, stores, table
from node.ids import NodeId, new_message_id, new_token

if TYPE_CHECKING:
    from node.federation.as4 import Part
    from node.federation.rejections import Rejection

messages = typer.Typer(help="Messages exchanged with other nodes and access points.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(messages, name="messages")
    app.command("lanes")(lanes)


@messages.command("list")
def list_(
    conversation: Annotated[str, typer.Option(help="Only this conversation (a case's number).")] = "",
    peer: Annotated[str, typer.Option(help="Only to and from this peer.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 100,
    refused: Annotated[
        bool, typer.Option("--refused", help="Those of others that this node refused, and why.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """List messages, newest first: types, sizes and times, never contents.

    **Examples** `imi-node messages list --conversation FR-2026-000001`, `imi-node messages list --refused --peer partner`
    """
    from node.federation import operator, rejections
    from node.local_store.bodies import Bodies

    if refused and conversation:
        raise typer.BadParameter("what was refused is not looked up by conversation: leave out --conversation")
    with stores(config) as (settings, database):
        if refused:
            _print_rejections(look(database, rejections.newest, peer=peer, limit=limit), json=json)
            return
        bodies = Bodies(settings.data / "messages")
        lines = look(database, operator.list_messages, bodies, conversation=conversation, peer=peer, limit=limit)
    if json:
        print(operator.as_json(lines))
        return
    table(
        "", ("", "at", "peer", "conversation", "state", "tries", "bytes", "message id"),
        [("→" if m.direction == "out" else "←", f"{m.at:%Y-%m-%d %H:%M:%S}", m.peer, m.conversation,
          m.state, m.attempts, m.size, m.message_id) for m in lines],
        empty="No message yet.",
    )  # fmt: skip


def _print_rejections(found: Sequence[Rejection], *, json: bool) -> None:
    if json:
        print(dumps([asdict(one) for one in found], default=str, indent=1))
        return
    table(
        "", ("at", "peer", "told", "field", "expected", "received", "reason", "message id"),
        [(f"{one.at:%Y-%m-%d %H:%M:%S}", one.peer, one.ebms, one.field, one.expected, one.received, one.reason,
          one.message_id) for one in found],
        empty="No message was refused.",
    )  # fmt: skip


@messages.command("show")
def show(message_id: str, config: Config = DEFAULT_CONFIG) -> None:
    """Tell the whole story of one message: what was agreed, each attempt and its answer, receipt, certificates, digests.

    For the id of a message that was refused here: which field differed. **Example** `imi-node messages show 3f…@fr.imi.node`
    """
    from node.federation import operator, stories
    from node.federation.trust import NothingReadYet
    from node.local_store.bodies import Bodies

    with stores(config) as (settings, database):
        try:
            peers = known_peers(settings)
        except NothingReadYet:
            peers = None
        read_body = partial(operator.read_body, Bodies(settings.data / "messages"))
        found = look(database, stories.tell, message_id, peers=peers, read_body=read_body)
    for number, story in enumerate(found):
        if number:
            console.print()
        for label, value in story.items():
            field(label, value)


@messages.command("send")
def send(
    peer: Annotated[str, typer.Argument(help="An access point outside the federation.")],
    file: Annotated[Path, typer.Argument(help="What to send, up to 1 MiB.", exists=True, dir_okay=False)],
    action: Annotated[str, typer.Option(help="As agreed with the peer.")],
    service: Annotated[str, typer.Option(help="As agreed; none: the first of the agreement.")] = "",
    conversation: Annotated[str, typer.Option(help="Its messages arrive in order; none: one of its own.")] = "",
    mime: Annotated[str, typer.Option("--type", help="MIME type; none: by the file's name.")] = "",
    answers: Annotated[
        str, typer.Option(help="The id of a message of this peer that this one answers, where two-way is agreed.")
    ] = "",
    properties: Annotated[
        list[str] | None, typer.Option("--property", help="NAME=VALUE, a message property (repeatable).")
    ] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Send a file to an access point outside the federation, and print the message's id.

    Nodes of the federation get their messages from procedures. A running node sends it within a minute.
    originalSender and finalRecipient are this node and the peer unless `--property` says otherwise.

    **Example** `imi-node messages send partner permit.xml --action Submit --property originalSender=urn:example:town-hall`
    """
    from node.clock import SystemClock
    from node.federation import by_hand

    given = dict(_property(each) for each in properties or ())
    with stores(config) as (settings, database):
        found = known_peers(settings).get(NodeId(peer))
        message_id = new_message_id(settings.node)
        database.run(
            by_hand.post, found, message_id=message_id, content=_content(file), mime_type=mime or _type_of(file),
            service=service, action=action, conversation=conversation or new_token(8), properties=given, at=SystemClock().now(),
            answers=answers,
        )  # fmt: skip
    console.print(message_id, highlight=False, soft_wrap=True)


def _content(file: Path) -> bytes:
    """What a file holds; not more than a byte beyond what is allowed is read."""
    from node.federation.by_hand import MAX_BYTES

    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)


def _type_of(file: Path) -> str:
    return guess_type(file.name)[0] or "application/octet-stream"


def _property(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


@messages.command("payload")
def payload(
    message_id: str,
    to: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    peer: Annotated[str, typer.Option(help="Whose message, if several peers sent one of this id.")] = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Decrypt a message from an access point outside the federation, and write its payloads and `message.json`.

    Only its own user may read the files. What nodes of the federation send is opened by procedures, for officials.

    **Example** `imi-node messages payload 7c…@partner.example --to inbox/7c`
    """
    from node.app import load_keys
    from node.federation import by_hand, operator, outside
    from node.local_store.bodies import Bodies

    with stores(config) as (settings, database):
        row = look(database, by_hand.received, message_id, peer=peer)
        if not outside.is_name(row.sender):
            raise by_hand.NotByHand(f"{row.sender} is a node of the federation: procedures open its messages")
        bodies = Bodies(settings.data / "messages")
        body, keys = operator.read_body(bodies, row), load_keys(settings).decrypters
        message = by_hand.open_message(row, body, keys, bodies.spool)
    to.mkdir(parents=True, mode=0o700)
    written = [_write_part(to, number, part) for number, part in enumerate(message.parts, start=1)]
    about = {
        "message_id": message.message_id, "peer": row.sender, "received_at": str(row.received_at),
        "service": message.service, "action": message.action, "conversation": message.conversation_id,
        "refers_to": message.ref_to_message_id, "properties": dict(message.properties), "parts": written,
    }  # fmt: skip
    _write(to / "message.json", [dumps(about, indent=1, ensure_ascii=False).encode()])
    console.print(f"written to {to}: {', '.join([*(part['file'] for part in written), 'message.json'])}")


def _write_part(folder: Path, number: int, part: Part) -> dict[str, str]:
    """A payload in a file named by its place and type: what the peer calls it is no name for a file here."""
    from node.federation.as4 import chunks_of

    name = f"payload-{number}{guess_extension(part.mime_type) or '.bin'}"
    _write(folder / name, chunks_of(part.content))
    return {"file": name, "mime_type": part.mime_type, "content_id": part.content_id}


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    path.touch(mode=0o600, exist_ok=False)
    with path.open("wb") as file:
        file.writelines(chunks)


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
    from node.local_store.bodies import Bodies

    with stores(config) as (settings, database):
        files = look(
            database, operator.export_message, message_id, known_peers(settings), Bodies(settings.data / "messages")
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
