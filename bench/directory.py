"""The directory: following a log: verify, apply, index. Its search: see search.py."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from node.directory import Authority, Directory
from node.directory.directory import log_name
from node.directory.importing import Overlay, read_authorities
from node.directory.replication import LogId, pages, read_page, write_page
from node.federation.peers import LogKey
from node.ids import NodeId
from node.settings import shipped
from pki.keys import generate
from pki.signer import FileSigner


def run() -> list[dict[str, Any]]:
    """Load everything, and follow the largest log with a second directory."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        (Path(name) / "a").mkdir()
        (Path(name) / "b").mkdir()
        owner, replica = Directory(Path(name) / "a"), Directory(Path(name) / "b")
        try:
            _load(owner)
            return [_follow(owner, replica)]
        finally:
            owner.close()
            replica.close()


_SIGNER: Final = FileSigner(generate("log"))


def _load(directory: Directory) -> None:
    overlay = Overlay(shipped("directory", "overlay.toml"))
    loaded: dict[NodeId, list[Authority]] = {}
    for file in sorted(shipped("directory", "authorities").glob("*.jsonl")):
        for authority in overlay.over(read_authorities(file, node=NodeId(file.stem))):
            loaded.setdefault(authority.node, []).append(authority)
    for node, authorities in loaded.items():
        directory.publish(node, authorities, _SIGNER)


def _follow(owner: Directory, replica: Directory) -> dict[str, Any]:
    node = NodeId("FR")
    held = owner.replica.held(log_name(node))
    assert held
    data = [(write_page(owner.replica.page(held.log, page)[:width]), width) for page, width, _ in pages(0, held.size)]
    began = time.process_time()
    key = LogKey(public_key=_SIGNER.public_key, host=node)
    replica.see(LogId(node), held.note, key, source="FR", at=datetime.now(UTC))
    for page, width in data:
        replica.replica.stage(held.log, read_page(page, count=width))
    replica.settle(held)
    seconds = time.process_time() - began
    note = f"{held.size} entries in {seconds:.2f} s CPU"
    return {
        "key": "directory.entries",
        "what": "entries verified, applied and indexed",
        "value": held.size / seconds,
        "unit": "1/s CPU",
        "note": note,
    }
