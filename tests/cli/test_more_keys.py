"""Keys for a further suite, made with the commands that `peers add` prints: the federation notices nothing."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from node.federation import as4
from node.federation.agreements import has_keys
from node.federation.trust import TrustReader
from node.ids import NodeId
from node.local_store.database import Database
from pki.founding import Founding, NodePlan
from pki.node_keys import fingerprint, load_node_keys
from pki.trustlist import NodeEntry
from tests.delivery.harness import SUITE, SmallNode, free_port, reader, until
from tests.delivery.partners import Side, files_of, two_sides

NODES = ("EE", "FR")


@pytest.fixture
def founding(tmp_path) -> Founding:
    """Two nodes whose State offices and publisher have their folders."""
    made = Founding(tmp_path / "founded")
    ports = {node: free_port() for node in NODES}
    publisher = made.found(
        [NodePlan(node=node, federation=f"https://127.0.0.1:{ports[node]}", suites=(SUITE,), name={"en": f"The {node}"})
         for node in NODES]
    )  # fmt: skip
    nodes = made.folder / "nodes"
    (nodes / "publisher").symlink_to(made.folder / "publisher")
    for node in NODES:
        (nodes / node / "port").write_text(str(ports[node]))
        TrustReader.start_from(nodes / node / "trust", publisher.root_bytes())
        reader(nodes, node).refresh()
        Database.open(nodes / node / "node.db", create=True).close()
        (nodes / node / "node.toml").write_text(f'node = "{node}"\ndata = "{nodes / node}"\n')
    return made


async def test_the_printed_commands_add_keys_and_cut_nobody_off(founding, tmp_path, capsys):
    nodes = founding.folder / "nodes"
    before = entry_of(founding)
    old = x509.load_pem_x509_certificate(before.signing[0].encode())
    tls = (nodes / "EE/keys/tls.crt").read_bytes()
    running = load_node_keys(nodes / "EE/keys")

    printed = await asyncio.to_thread(commands_printed, founding, tmp_path, capsys)
    assert [" ".join(line.split()[3:5]) for line in printed] == [
        "node request", "state admit", "state sign", "list publish", "node install",
    ]  # fmt: skip
    *published, _install = printed
    await asyncio.to_thread(run_all, published, tmp_path)
    assert load_node_keys(nodes / "EE/keys").signers[0].certificate == running.signers[0].certificate
    for node in NODES:
        reader(nodes, node).refresh()
    await messages_go_both_ways(nodes, "before")  # the State has answered, the node has not installed it

    await asyncio.to_thread(run_all, printed, tmp_path)  # most of them again: nothing is lost that way either
    keys = load_node_keys(nodes / "EE/keys")
    assert has_keys(keys, as4.RSA)
    rsa = (nodes / "EE/keys/sign-rsa.crt").read_text()
    assert entry_of(founding) == before.model_copy(
        update={
            "signing": (*before.signing, rsa),
            "encryption": (*before.encryption, (nodes / "EE/keys/encrypt-rsa.crt").read_text()),
        }
    )
    assert (before.suites, before.retired) == ((SUITE,), ())
    assert (nodes / "EE/keys/tls.crt").read_bytes() == tls
    for node in NODES:
        reader(nodes, node).refresh()
    france = await messages_go_both_ways(nodes, "after")
    assert france.certificate_by_fingerprint(fingerprint(old)) == ("EE", old)
    assert france.certificate_by_fingerprint(fingerprint(x509.load_pem_x509_certificate(rsa.encode())))[0] == "EE"
    assert old in france.get(NodeId("EE")).signing


def entry_of(founding: Founding) -> NodeEntry:
    """What the publisher has of Estonia."""
    (entry,) = founding.publisher.entries("EE")
    return entry


def commands_printed(founding: Founding, folder: Path, capsys) -> list[str]:
    """What `peers add` advises for a partner with RSA, for the folders of this federation."""
    _, partner = two_sides(folder, family="rsa")
    files = [part for pair in files_of(partner, family="rsa").items() for part in pair]
    ours = Side(founding.folder / "nodes", NodeId("EE"), "estonia")
    assert ours.command("peers", "add", "partner", *files) == 2
    lines = re.findall(r"^ +(python -m pki [^#\n]+)", capsys.readouterr().err, flags=re.MULTILINE)
    places = {"OFFICE": founding.folder / "states/EE", "PUBLISHER": founding.folder / "publisher"}
    return [re.sub("OFFICE|PUBLISHER", lambda found: str(places[found[0]]), line) for line in lines]


def run_all(lines: list[str], folder: Path) -> None:
    for line in lines:
        _python, *arguments = shlex.split(line)
        done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


async def messages_go_both_ways(nodes: Path, text: str):
    """The peers as France knows them, once each has had a message of the other."""
    estonia, france = (SmallNode(nodes, NodeId(node)) for node in NODES)
    async with estonia.running(), france.running():
        await estonia.post("FR", f"{text}-to-france")
        await france.post("EE", f"{text}-to-estonia")
        for node in (estonia, france):
            await until(lambda node=node: has(node, text))
            await until(lambda node=node: all_received(node))
        return france.peers


async def has(node: SmallNode, text: str) -> bool:
    return any(each.startswith(text) for each in await node.arrived())


async def all_received(node: SmallNode) -> bool:
    return set(await node.states()) == {"received"}
