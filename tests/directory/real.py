"""A directory with every authority that ships, made once for all tests that only search it."""

from __future__ import annotations

from pathlib import Path

from node.directory import Directory
from node.directory.importing import Overlay, read_authorities
from node.directory.model import OPERATOR
from node.ids import NodeId
from node.settings import shipped


def shipped_directory(folder: Path, vocabulary: dict[str, list[str]]) -> Directory:
    """Straight into the index, without logs: what is tested is finding."""
    directory = Directory(folder, vocabulary=vocabulary)
    overlay = Overlay(shipped("directory", "overlay.toml"))
    for file in sorted(shipped("directory", "authorities").glob("*.jsonl")):
        home = NodeId(file.stem)
        found = [*overlay.over(read_authorities(file, node=home)), *overlay.new(home)]
        directory.replica.apply([(authority, OPERATOR) for authority in found], home)
    return directory
