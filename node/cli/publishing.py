"""`imi-node directory export` and `verify`: the directory as files for others, and checking such files."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, plain
from node.cli.directory import log_named, signer_of
from node.ids import NodeId, parse_node
from node.settings import Settings, load

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from node.directory import Directory


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export)
    app.command("verify")(verify)


def export(
    file: Annotated[Path, typer.Argument(help="File to write; compressed if it ends in .gz.")],
    node: Annotated[str, typer.Option(help="Node whose authorities and registers; default: this node.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Those of all States, as this node knows them.")] = False,
    log: Annotated[str, typer.Option(help="Write a whole log instead: EE/authorities.")] = "",
    epoch: Annotated[int, typer.Option(help="Its epoch; default: the one that counts.", min=0, max=999)] = 0,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write the public part of the directory, signed beside it in FILE.sig; or a whole log, which carries its own.

    **Examples**

    `imi-node directory export public.jsonl.gz`

    `imi-node directory export --log EE/authorities authorities.jsonl`
    """
    from node.directory import Directory

    settings = load(config)
    with closing(Directory(settings.data)) as directory:
        if log:
            _export_log(directory, log, epoch, file)
        else:
            _export_public(directory, settings, file, node=node, everything=everything)


def _export_log(directory: Directory, name: str, epoch: int, file: Path) -> None:
    from node.directory.exporting import log_lines, write_file

    asked = log_named(name)
    current = asked.at(epoch) if epoch else directory.replica.standing(asked.name).log
    write_file(file, log_lines(directory, current))
    console.print(f"{plain(file)}: the log {current}; its public key is in the trust list.", highlight=False)


def _export_public(directory: Directory, settings: Settings, file: Path, *, node: str, everything: bool) -> None:
    from node.app import load_keys
    from node.directory.exporting import public_lines, sign_file, signature_path, write_file

    keys = load_keys(settings)
    home = parse_node(node) if node else settings.node
    signer = signer_of(settings.node if everything else home, settings, keys)
    by = settings.node if everything else home
    nodes = [NodeId(name.partition("/")[0]) for name in directory.heads()] if everything else [home]
    digest = write_file(file, public_lines(directory, by, set(nodes), at=datetime.now(UTC)))
    signature_path(file).write_text(sign_file(digest, by, signer), encoding="utf-8")
    console.print(f"{plain(file)} and {plain(signature_path(file).name)}: signed by {by}.", highlight=False)


def verify(
    files: Annotated[list[Path], typer.Argument(help="Files written by export; several epochs of a log together.")],
    key: Annotated[str, typer.Option(help="The log's public key (Base64), or a file with it.")] = "",
    trust: Annotated[Path | None, typer.Option(help="A node's trust folder to take the keys from.")] = None,
) -> int:
    """Check exported files: signatures, roots, every entry, and that epochs follow each other. Needs no node.

    **Example** `imi-node directory verify authorities.jsonl --key 4Xkq…=`
    """
    from node.directory.verify import NoKey, read_key, report

    if bool(key) == (trust is not None):
        raise NoKey("give the log's public key (--key), or a trust folder to take it from (--trust)")
    if trust is not None:
        return report(files, _Listed(trust).key_of, sys.stdout.write)
    known = read_key(key)
    return report(files, lambda _node, _collection: known, sys.stdout.write)


class _Listed:
    """The keys of a trust list that a node has read."""

    def __init__(self, folder: Path) -> None:
        from node.federation.trust import NothingReadYet, TrustReader, from_folder

        kept = TrustReader(folder, from_folder(folder)).kept()
        if kept is None:
            raise NothingReadYet(f"{folder} holds no trust list: give the folder `trust` of a node that has read one")
        self._nodes = kept.nodes

    def key_of(self, node: NodeId, collection: str) -> Ed25519PublicKey:
        """The key of a log; of a public export's, that of any of the node's logs: one key signs them all."""
        from node.directory.verify import NoKey

        logs = self._nodes[node].logs if node in self._nodes else {}
        found = logs.get(collection) if collection else next(iter(logs.values()), None)
        if found is None:
            raise NoKey(f"the trust list has no key of {node}{f'/{collection}' if collection else ''}")
        return found.public_key
