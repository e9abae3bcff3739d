from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pki.__main__ import app


@pytest.fixture
def run(tmp_path):
    """Run `python -m pki` in a folder; its result."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pki", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return call


def test_help_shows_how_a_node_joins():
    text = CliRunner().invoke(app, ["--help"]).output
    for step in ("state create", "list ceremony", "node request", "state admit", "node install", "list publish"):
        assert step in text


@pytest.mark.parametrize(
    "command",
    [
        ("state", "create"), ("state", "admit"), ("state", "sign"), ("state", "remove"), ("state", "revoke"),
        ("state", "show"), ("node", "request"), ("node", "install"), ("list", "ceremony"), ("list", "publish"), ("list", "admit"), ("list", "expel"),
        ("list", "renew"), ("list", "show"), ("verify",), ("found",),
    ],
)  # fmt: skip
def test_each_command_has_an_example(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_a_node_joins_by_hand_and_is_shut_out(run, tmp_path):
    for step in (
        "state create states/EE EE",
        "list ceremony publisher EE=states/EE/trust.pub",
        "node request keys EE request.json --host ee.example --url https://ee.example:8443 --suite s",
        "state admit states/EE request.json certificates.json",
        "node install keys certificates.json",
        "state sign states/EE EE.submission",
        "list publish publisher EE.submission",
    ):
        result = run(*step.split())
        assert result.returncode == 0, result.stderr
    assert "https://ee.example:8443" in run("list", "show", "publisher").stdout
    verify = [
        "verify",
        "keys/tls.crt",
        "--authority",
        "states/EE/ca.crt",
        "--crl",
        "states/EE/crl.pem",
        "--purpose",
        "tls",
    ]
    assert run(*verify).stdout == "EE\n"
    run("state", "remove", "states/EE", "EE", "EE.submission")
    run("list", "publish", "publisher", "EE.submission")
    assert run("list", "show", "publisher").stdout == ""
    assert run(*verify).stderr == "pki: certificate revoked (pki.untrusted)\n"
    assert (tmp_path / "publisher" / "root.json").exists()


def test_states_are_admitted_and_expelled(run):
    for state in ("EE", "EL"):
        run("state", "create", f"states/{state}", state)
    run("list", "ceremony", "publisher", "EE=states/EE/trust.pub")
    assert "EE, EL" in run("list", "admit", "publisher", "EL=states/EL/trust.pub").stdout
    assert run("list", "expel", "publisher", "EE").stdout == "publisher: EL\n"
    run("state", "sign", "states/EE", "EE.submission")
    assert "no delegation for EE" in run("list", "publish", "publisher", "EE.submission").stderr


def test_a_fault_is_one_sentence(run):
    for command, sentence in {
        "state sign nowhere out": "ca.key cannot be read",
        "list show nowhere": "begin with a ceremony",
        "list publish nowhere missing": "missing: No such file or directory",
    }.items():
        result = run(*command.split())
        assert result.returncode == 1
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_a_request_for_further_keys_may_be_made_twice_and_name_suites(run, tmp_path):
    again = "node request keys EE request.json --also ecc --host ee.example --url https://ee.example:8443 --suite t"
    run("state", "create", "EE", "EE")
    asked = []
    for arguments in (again.replace(" --also ecc", "").replace("--suite t", "--suite s"), again, again):
        assert run(*arguments.split()).returncode == 0
        asked.append({path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()})
        assert run("state", "admit", "EE", "request.json", "certificates.json").returncode == 0
    assert asked[1] == asked[2]
    entry = json.loads((tmp_path / "EE/entries/EE.json").read_text())
    assert (entry["suites"], len(entry["signing"]), entry["retired"]) == (["s", "t"], 2, [])


def test_keys_are_not_made_twice(run):
    run("state", "create", "EE", "EE")
    assert "never overwritten" in run("state", "create", "EE", "EE").stderr
