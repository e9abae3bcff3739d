"""Directories in folders, and what passes between them without a network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from node.clock import FakeClock
from node.directory import Authority, Directory
from node.directory.replication import LogId, pages, read_page, write_page
from node.federation.peers import LogKey
from node.ids import AuthorityId, NodeId
from pki.keys import generate
from pki.signer import FileSigner

EE = NodeId("EE")
NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Place:
    """One node's directory, and what it knows of Estonia's log in the trust list."""

    def __init__(self, folder, signer: FileSigner, node: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.signer, self.node = folder, signer, NodeId(node)
        self.clock = FakeClock(NOW)
        self.key = LogKey(public_key=signer.public_key, host=EE)
        self.directory = Directory(folder, clock=self.clock)
        self.directory.keys = lambda: {"EE/authorities": self.key}

    def say(self, *names: str, first: int = 1) -> None:
        """Publish authorities with these names, numbered from `first`."""
        self.directory.publish(EE, [authority(name, str(n)) for n, name in enumerate(names, first)], self.signer)

    def see(self, shown: LogId, note: str, *, source: str = "EE", **more):
        return self.directory.see(shown, note, self.key, source=source, at=NOW, **more)

    def follow(self, other: Place, *, source: str = "EE") -> None:
        """What sync does: every log the other shows, in order."""
        heads = other.directory.heads()
        for shown in self.directory.follower.worth_following(heads, lambda _: self.key):
            promised = self.see(shown, heads[str(shown)], source=source)
            if promised is None:
                continue
            held = self.directory.replica.staged(promised.log).size
            for page, width, skip in pages(held, promised.size):
                stores = (other.directory.replica, other.directory.own)
                entries = next((found for s in stores if len(found := s.page(promised.log, page)) >= width), None)
                if entries is None:
                    break
                data = write_page(entries[:width])
                self.directory.replica.stage(promised.log, read_page(data, count=width, from_host=True)[skip:])
            else:
                self.directory.settle(promised, source=source)

    def names(self) -> dict[str, str]:
        return {hit.authority.id: hit.authority.name for hit in self.directory.search("", limit=100).hits}

    def status(self):
        (found,) = [each for each in self.directory.status() if each.name == "EE/authorities"]
        return found


def authority(name: str, number: str = "1", **more) -> Authority:
    return Authority(id=AuthorityId(f"EE:{number}"), node=EE, names={"et": name}, name_lang="et", **more)


@pytest.fixture
def place(tmp_path) -> Callable[[str], Place]:
    signer, made = FileSigner(generate("log")), []

    def make(node: str, *, folder: str = "", signer: FileSigner = signer) -> Place:
        found = Place(tmp_path / (folder or node), signer, node)
        made.append(found)
        return found

    yield make
    for each in made:
        each.directory.close()
