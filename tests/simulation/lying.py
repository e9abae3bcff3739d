"""What a node that lies sends in the place of what it should: pages, checkpoints, greetings."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable

from node.directory.replication import read_page, sign_checkpoint
from node.directory.sync import GOSSIP_PATH
from node.ids import NodeId
from node.merkle import Frontier

from .world import Node


class Liar:
    """Lies most of the time, in the ways it was given."""

    def __init__(self, node: Node, ways: tuple[str, ...]) -> None:
        self.node, self.ways = node, ways
        self.dice = random.Random(f"{node.world.seed}/{node.name}/lies")
        self.first_seen: dict[str, str] = {}

    def __call__(self, path: str, data: bytes, peer: NodeId) -> bytes:
        if path != GOSSIP_PATH and "/tile/entries/" not in path:
            return data
        where = GREETINGS if path == GOSSIP_PATH else PAGES
        ways = [way for way in self.ways if way in where]
        if not ways or self.dice.random() > 0.7:
            return data
        way = self.dice.choice(ways)
        self.node.world.tell(self.node.name, f"lies to {peer}: {way}")
        return where[way](self, data)


def _other_bytes(liar: Liar, data: bytes) -> bytes:
    text = bytearray(gzip.decompress(data))
    at = liar.dice.randrange(len(text) // 2, len(text) - 4)
    text[at] = ord("b") if text[at] != ord("b") else ord("c")
    return gzip.compress(bytes(text), 1)


def _without_bodies(liar: Liar, data: bytes) -> bytes:
    text = gzip.decompress(data)
    entries = read_page(text, count=len(text.splitlines()), from_host=True)
    return gzip.compress(b"".join(f'["{entry.leaf.hex()}"]\n'.encode() for entry in entries), 1)


def _cut(liar: Liar, data: bytes) -> bytes:
    return data[: liar.dice.randrange(len(data))]


def _too_large(_liar: Liar, _data: bytes) -> bytes:
    return gzip.compress(bytes(13 * 1024 * 1024), 1)


def _too_few(_liar: Liar, data: bytes) -> bytes:
    return gzip.compress(b"".join(gzip.decompress(data).splitlines(keepends=True)[:-1]), 1)


def _old_checkpoints(liar: Liar, data: bytes) -> bytes:
    found = json.loads(data)
    for name, note in found["heads"].items():
        found["heads"][name] = liar.first_seen.setdefault(name, note)
    return json.dumps(found).encode()


def _forged(liar: Liar, data: bytes) -> bytes:
    """Larger sizes than were signed, under the old signature, under another's, or under the liar's own."""
    found = json.loads(data)
    names = list(found["heads"])
    for name in names:
        lines = found["heads"][name].split("\n")
        match liar.dice.randrange(4):
            case 0:
                lines[1] = str(int(lines[1]) + liar.dice.randint(1, 3))
            case 1:
                lines[2] = "A" * 43 + "="
            case 2:
                lines = found["heads"][liar.dice.choice(names)].split("\n")
            case _:
                ours = liar.node.world.signer(liar.node.name)
                forged, _ = Frontier().grow([bytes(32)] * liar.dice.randint(1, 600))
                lines = sign_checkpoint(name, forged, public_key=ours.public_key, sign=ours.sign).note.split("\n")
        found["heads"][name] = "\n".join(lines)
    return json.dumps(found).encode()


def _garbage(liar: Liar, _data: bytes) -> bytes:
    return liar.dice.choice(
        (b"", b"[]", b'{"heads": 1}', b"[" * 5000, b'{"heads": {"EE/authorities": ""}}', bytes(300_000))
    )


PAGES: dict[str, Callable[[Liar, bytes], bytes]] = {
    "other bytes": _other_bytes,
    "bodies withheld": _without_bodies,
    "pages cut": _cut,
    "pages too large": _too_large,
    "pages too short": _too_few,
}
GREETINGS: dict[str, Callable[[Liar, bytes], bytes]] = {
    "old checkpoints": _old_checkpoints,
    "forged checkpoints": _forged,
    "greetings malformed": _garbage,
}
WAYS = (*PAGES, *GREETINGS)
