"""Making a node's folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from node.federation import as4
from node.federation.trust import TrustReader
from node.ids import NodeId
from node.local_store.database import Database
from node.local_store.vault import Vault
from pki.node_keys import create_keys, write_request
from pki.trustlist.models import COLLECTIONS

SETTINGS = """# Settings of node {node}; config/node.example.toml in the package shows all there are.
node = "{node}"
data = "."
{more}
[federation]
host = "{host}"
port = {federation}

[officials]
host = "127.0.0.1"
port = {officials}

[management]
host = "127.0.0.1"
port = {management}
"""


def make_node(
    folder: Path,
    node: NodeId,
    url: str,
    root: bytes,
    *,
    hosts: list[str],
    name: str,
    relay: NodeId | None = None,
    passphrase: bytes | None = None,
) -> Path:
    """Keys, request, settings, empty databases; the request's file.

    Args:
        relay: the node through which alone the others reach it; then only that one learns `url`.
    """
    address = urlsplit(url)
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys"
    create_keys(keys, passphrase)
    request = write_request(
        keys, node, hosts or [address.hostname or "localhost"], passphrase,
        name={"en": name or node}, federation=None if relay else url, relay=relay, suites=[as4.COMMON.name],
        collections=COLLECTIONS,
    )  # fmt: skip
    (folder / "request.json").write_text(request.model_dump_json(indent=1) + "\n", encoding="utf-8")
    make_stores(folder, root, passphrase)
    settings = settings_text(node, host="0.0.0.0", federation=address.port or 443, officials=8080, management=8090)  # noqa: S104  # the door for other nodes is meant to be reached
    (folder / "node.toml").write_text(settings, encoding="utf-8")
    return folder / "request.json"


def make_stores(folder: Path, root: bytes, passphrase: bytes | None = None) -> None:
    """The storage key, the empty database, the files' folder, and the first root of the trust list."""
    (folder / "files").mkdir(exist_ok=True)
    TrustReader.start_from(folder / "trust", root)
    Vault.open(folder / "keys" / "storage.key", passphrase=passphrase, create=True)
    Database.open(folder / "node.db", create=True).close()


def settings_text(node: str, *, host: str, federation: int, officials: int, management: int, more: str = "") -> str:
    """A settings file's text; `more` are lines for the top."""
    return SETTINGS.format(
        node=node, host=host, federation=federation, officials=officials, management=management, more=more
    )
