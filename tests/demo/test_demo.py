"""The demo as its users meet it: it plays, checks, stays, stops, continues, and fails when a check does."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pybergshamra
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.demo import plan

from .conftest import imi_node

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
CHECKER = Path(__file__).parents[1] / "outside" / "check_message.py"


def test_six_scenarios_are_told_and_every_check_holds(demo):
    for number in range(1, 7):
        assert f"\n{number}. " in demo.transcript
    assert "every check held" in demo.transcript
    assert "FAIL" not in demo.transcript
    assert set(demo.places) == set(plan.NODES)
    assert all(place["logins"] for place in demo.places.values())


def test_a_message_of_the_demo_verifies_with_code_that_is_not_ours(demo, tmp_path):
    listed = imi_node("messages", "list", "--json", "--config", demo.config("FR"))
    assert listed.returncode == 0, listed.stderr
    import json

    sent = [m for m in json.loads(listed.stdout) if m["direction"] == "out" and m["size"] > 100_000]
    message = sent[-1]["message_id"]  # the one with the scan attached
    told = imi_node("messages", "show", message, "--config", demo.config("FR"))
    assert told.returncode == 0, told.stderr
    signers = re.findall(r"CN=(\w\w) sign", told.stdout)  # of the message and of its receipt
    assert len(set(signers)) == 2, told.stdout
    exported = imi_node(
        "messages", "export", message, "--to", str(tmp_path / "evidence"), "--config", demo.config("FR")
    )
    assert exported.returncode == 0, exported.stderr
    folder = tmp_path / "evidence"
    _openssl_verifies(folder)
    _pybergshamra_verifies(folder / "receipt.xml", folder / "recipient.crt")
    key = demo.folder / "nodes" / "RO" / "keys" / "encrypt.key"
    checked = subprocess.run(
        [sys.executable, "-I", str(CHECKER), str(folder), str(key)], check=False, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout) == (0, "message and receipt hold; 2 attachments checked\n"), (
        checked.stderr
    )


def test_operators_commands_answer_beside_running_nodes(demo):
    for command in (
        ["peers"],
        ["lanes"],
        ["messages", "list"],
        ["users", "list"],
        ["authorities", "search", "diploma"],
    ):
        done = imi_node(*command, "--config", demo.config("FR"))
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    checked = imi_node("check", "--config", demo.config("EE"))
    assert checked.returncode == 0, checked.stdout


def test_a_taken_port_is_said_in_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        base = taken.getsockname()[1] - 1
        done = imi_node("demo", "--dir", str(tmp_path / "d"), "--once", "--base-port", str(base), "--nodes", "EE,EU")
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--dir", "d", "--nodes", "EE"], "EU must be among"),
        (["demo", "--dir", "d", "--nodes", "XX,EU"], "no node XX"),
        (["serve", "--config", "none.toml"], "there is no settings file"),
        (["check", "--config", "none.toml"], "there is no settings file"),
        (["messages", "list", "--config", "none.toml"], "there is no settings file"),
    ],
)
def test_wrong_use_is_one_sentence_and_no_traceback(tmp_path, arguments, says):
    done = imi_node(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert says in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_folder_of_another_kind_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")
    done = imi_node("demo", "--dir", str(tmp_path), "--once", "--base-port", "0")
    assert done.returncode == 2
    assert "not empty" in done.stderr
    (tmp_path / "precious").unlink()
    (tmp_path / "federation.json").write_text('{"format": 0, "nodes": {}}')
    done = imi_node("demo", "--dir", str(tmp_path), "--once")
    assert "another version" in done.stderr


def test_it_stops_cleanly_continues_and_notices_a_broken_check(demo):
    """Last in this file: it ends the federation that the tests before used."""
    assert demo.stop() == 0
    assert not list(demo.folder.glob("nodes/*/spool/*"))
    with sqlite3.connect(demo.folder / "nodes" / "RO" / "node.db") as database:  # break something on purpose
        database.execute("UPDATE users SET roles = replace(roles, 'handler', 'supervisor') WHERE login = 'ro-handler'")
    database.close()
    again = imi_node("demo", "--dir", str(demo.folder), "--once")
    assert "continuing the federation" in again.stdout
    assert again.returncode == 1, again.stdout[-2000:]
    assert "NOT every check held" in again.stdout


def _openssl_verifies(folder: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.fail("openssl is needed")
    for name in ("sender.crt", "recipient.crt"):
        command = ["openssl", "verify", "-CAfile", str(folder / "ca.crt"), str(folder / name)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def _pybergshamra_verifies(soap: Path, certificate: Path) -> None:
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    manager = pybergshamra.KeysManager()
    manager.add_key(
        pybergshamra.load_ed25519_public_spki_der(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    )
    context = pybergshamra.DsigContext(manager, strict_verification=False, require_reference_digests=False)
    assert pybergshamra.verify(context, soap.read_text())
