"""`imi-node directory`: the logs that lie here: new epochs, other hosts, what owners sign elsewhere, what is frozen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, table
from node.errors import Refused
from node.ids import NodeId, parse_node

if TYPE_CHECKING:
    from node.directory import Directory
    from node.directory.hosting import LogSigner
    from node.directory.replication import LogId
    from node.directory.status import LogStatus
    from node.federation.peers import LogKey, Peers
    from node.settings import Settings
    from pki.node_keys import NodeKeys

app = typer.Typer(help="The directory's logs.", no_args_is_help=True)

Alone = Annotated[
    bool, typer.Option("--alone", help="Sign although no peer says how far our logs were: this is no restored backup.")
]
Log = Annotated[str, typer.Argument(help="The log: EE/authorities, EE/registers, EE/repositories.")]


@app.command("status")
def status(config: Config = DEFAULT_CONFIG) -> None:
    """Show every log as this node holds it: host, epoch, entries, age, what is missing, what is frozen and why.

    **Example** `imi-node directory status`
    """
    from node.app import know_hosts
    from node.directory import Directory
    from node.settings import load

    settings = load(config)
    directory = Directory(settings.data)
    try:
        peers = _peers(settings)
        if peers is not None:
            know_hosts(directory, peers)
        logs, evidence = directory.status(), directory.evidence()
    finally:
        directory.close()
    table(
        "", ("log", "host", "epoch", "entries", "newest", "from", "state"),
        [
            (one.name, one.host, str(one.held_epoch), str(one.size), f"{one.head_at:%Y-%m-%d %H:%M}" if one.head_at else "",
             one.source or "here", _state(one))
            for one in logs
        ],
        empty="No log is here yet; they come with the first greetings of other nodes.",
    )  # fmt: skip
    for found in evidence:
        console.print(f"{found.at} {found.log}: {found.kind}, shown by {found.source or 'this node'}")


def _state(one: LogStatus) -> str:
    parts = [f"frozen: {one.frozen}"] if one.frozen else []
    parts += [f"{one.behind} behind"] if one.behind else []
    parts += [f"{one.invalid} without effect"] if one.invalid else []
    return ", ".join(parts) or "current"


class NoSuchLog(Refused):
    """There is no log of this name, in the trust list or at all."""

    code = "refused.no-such-log"


@contextmanager
def own_logs(config: Path, *, alone: bool) -> Iterator[tuple[Settings, NodeKeys, Directory]]:
    """Settings, keys and directory, beside a node that may be running; its peers were asked how far our logs were."""
    from node.app import know_hosts, load_keys  # late: most commands need none of this
    from node.directory import Directory
    from node.settings import load

    settings = load(config)
    keys = load_keys(settings)
    directory = Directory(settings.data)
    try:
        peers = _peers(settings)
        if peers is not None:
            know_hosts(directory, peers)
            if not alone:
                directory.host.asked = False
                asyncio.run(_ask(directory, peers, keys))
        yield settings, keys, directory
    finally:
        directory.close()


def _peers(settings: Settings) -> Peers | None:
    """The nodes of the trust list; none of them is known before the first reading, so nobody is asked."""
    from node.cli.common import known_peers
    from node.federation.trust import NothingReadYet

    try:
        return known_peers(settings)
    except NothingReadYet:
        return None


async def _ask(directory: Directory, peers: Peers, keys: NodeKeys) -> None:
    from node.clock import SystemClock
    from node.directory.sync import Sync
    from node.federation.transport import Transport

    transport = Transport(keys, peers)
    try:
        dice = random.Random()  # noqa: S311  # no secret
        await Sync(directory, peers, transport, clock=SystemClock(), dice=dice).ask_peers()
    finally:
        await transport.close()


def signer_of(node: NodeId, settings: Settings, keys: NodeKeys) -> LogSigner:
    """The key of a node's logs, if it lies here. Raises NotOurLog."""
    from node.directory.hosting import NotOurLog

    signer = keys.log_signer if node == settings.node else keys.hosted_logs.get(node)
    if signer is None:
        raise NotOurLog(f"this node has no key of the logs of {node}: sign where it lies, imi-node directory sign")
    return signer


def log_named(text: str) -> LogId:
    """A log by its name. Raises NoSuchLog."""
    from node.directory.model import COLLECTIONS
    from node.directory.replication import LogId

    found = LogId.parse(text)
    if found is None or found.collection not in COLLECTIONS:
        raise NoSuchLog(f"{text[:60]} is no log: EE/authorities, EE/registers or EE/repositories", log=text[:60])
    return found


def _key(directory: Directory, log: LogId) -> LogKey:
    key = directory.keys().get(log.name)
    if key is None:
        raise NoSuchLog(f"the trust list has no log {log.name}; read it first: imi-node peers bootstrap", log=log.name)
    return key


@app.command("compact")
def compact(log: Log, alone: Alone = False, config: Config = DEFAULT_CONFIG) -> None:
    """Begin the log's next epoch here, with what counts and nothing else; once a year is enough.

    The trust list must name the present epoch. Have the State publish the new one afterwards:
    `python -m pki state logs`.

    **Example** `imi-node directory compact EE/authorities`
    """
    named = log_named(log)
    with own_logs(config, alone=alone) as (settings, keys, directory):
        epoch = _key(directory, named).epoch
        signer = signer_of(named.node, settings, keys)
        made = directory.host.compact(named, signer, host=settings.node, trusted_epoch=epoch)
    console.print(f"{made.log} has {made.size} entries. Have the State publish its epoch: python -m pki state logs …")


@app.command("hand-over")
def hand_over(
    log: Log,
    to: Annotated[str, typer.Option("--to", help="The node that serves it from now on.")],
    alone: Alone = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """End the log's epoch on this node, its old host; it goes on at another, which takes it over.

    The State publishes the new host and epoch (`python -m pki state logs --host`); that alone is enough if this
    node is gone.

    **Example** `imi-node directory hand-over LU/authorities --to EU`
    """
    named = log_named(log)
    with own_logs(config, alone=alone) as (settings, keys, directory):
        made = directory.host.close(named, signer_of(named.node, settings, keys), host=parse_node(to))
    console.print(f"{made.log} ends with entry {made.size}. On {to}: imi-node directory take-over {named.name}")


@app.command("take-over")
def take_over(log: Log, alone: Alone = False, config: Config = DEFAULT_CONFIG) -> None:
    """Begin the log's new epoch on this node, its new host, from this node's copy.

    **Example** `imi-node directory take-over LU/authorities`
    """
    named = log_named(log)
    with own_logs(config, alone=alone) as (settings, keys, directory):
        signer = signer_of(named.node, settings, keys)
        made = directory.host.take_over(named, signer, epoch=_key(directory, named).epoch)
    console.print(f"{made.log} begins here with {made.size} entries.")


@app.command("release")
def release(
    log: Log,
    because: Annotated[str, typer.Option("--because", help="Why; it is kept.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Let a frozen log go on. What was seen stays kept; if it is seen again, the log is frozen again.

    **Example** `imi-node directory release EE/authorities --because "restored from a backup, and caught up"`
    """
    from node.directory import Directory
    from node.settings import load

    named = log_named(log)
    directory = Directory(load(config).data)
    try:
        current = named if named.epoch > 1 else directory.replica.standing(named.name).log
        if not directory.release(current, because=because):
            raise NoSuchLog(f"{current} is not frozen", log=str(current))
    finally:
        directory.close()
    console.print(f"{current} goes on.")


@app.command("sign")
def sign(
    folder: Annotated[Path, typer.Argument(help="The State's folder of its own logs; made if missing.")],
    log: Log,
    out: Annotated[Path, typer.Argument(help="File for the log's host.")],
    key: Annotated[Path, typer.Option(help="log.key, the key of the State's logs.")],
    changes: Annotated[Path | None, typer.Option(help="Entries to add: a line of JSON each.")] = None,
    since: Annotated[int | None, typer.Option("--from", help="First entry to write; default: the new ones.")] = None,
    new_epoch: Annotated[bool, typer.Option("--new-epoch", help="Begin the next epoch, with what counts.")] = False,
    passphrase_file: Annotated[Path | None, typer.Option(help="File with the key's passphrase.")] = None,
) -> None:
    """Add to a State's log and sign it, where its key lies and no node is; another node hosts it.

    A line is an entry's body, `{"op":"put","authority":{…}}`. Take the file to the host: `imi-node directory take`.

    **Example** `imi-node directory sign logs LU/authorities LU.signed --key log.key --changes new.jsonl`
    """
    from node.directory import Directory
    from node.directory.serving import write_signed
    from pki.node_keys import load_log_signer

    named = log_named(log)
    signer = load_log_signer(key, passphrase_file.read_bytes().strip() if passphrase_file else None)
    bodies = changes.read_bytes().splitlines() if changes else []
    folder.mkdir(parents=True, exist_ok=True)
    directory = Directory(folder)
    try:
        signed = directory.host.sign(named, bodies, signer, new_epoch=new_epoch, first=since)
    finally:
        directory.close()
    out.write_bytes(write_signed(signed))
    console.print(f"{out}: {len(signed.entries)} entries of {signed.log}, from number {signed.first} on.")


@app.command("take")
def take(
    file: Annotated[Path, typer.Argument(help="What the log's owner signed.")], config: Config = DEFAULT_CONFIG
) -> None:
    """Publish what a State signed elsewhere, for a log that this node hosts.

    **Example** `imi-node directory take LU.signed`
    """
    from node.app import know_hosts
    from node.cli.common import known_peers
    from node.directory import Directory
    from node.directory.serving import read_signed
    from node.settings import load

    settings = load(config)
    directory = Directory(settings.data)
    try:
        know_hosts(directory, known_peers(settings))
        signed = read_signed(file.read_bytes())
        made = directory.accept(signed, _key(directory, signed.log))
    finally:
        directory.close()
    console.print(f"{made.log} has {made.size} entries now.")
