"""A node behind a relay, in the commands of its own operators and of everybody else's."""

from __future__ import annotations

import json

import pytest

from node import cli
from node.local_store.database import Database
from tests.delivery.harness import address, prepare


@pytest.fixture
def federation(tmp_path):
    publisher = prepare(tmp_path, ["FR", "DE", "DE-SN"], relays={"DE-SN": "DE"})
    (tmp_path / "root.json").write_bytes(publisher.root_bytes())
    for node in ("FR", "DE"):
        Database.open(tmp_path / node / "node.db", create=True).close()
        (tmp_path / node / "node.toml").write_text(f'node = "{node}"\ndata = "."\n')
    return tmp_path


def shown(federation, node, capsys, *command, expect=0):
    assert cli.run([*command, "--config", str(federation / node / "node.toml")]) == expect
    said = capsys.readouterr()
    return said.out + said.err


def test_others_see_through_whom_a_node_is_reached(federation, capsys):
    assert "through DE" in shown(federation, "FR", capsys, "peers")
    said = shown(federation, "FR", capsys, "peers", "show", "DE-SN")
    assert f"through DE ({address(federation, 'DE')}/imi/v1/relay/DE-SN/as4)" in said
    assert address(federation, "DE-SN") not in said


def test_the_relay_sees_the_address_from_its_settings_or_what_is_missing(federation, capsys):
    assert "settings do not say where: [relay]" in shown(federation, "DE", capsys, "peers", "show", "DE-SN")
    with (federation / "DE" / "node.toml").open("a") as settings:
        settings.write(f'[relay]\nDE-SN = "{address(federation, "DE-SN")}"\n')
    said = shown(federation, "DE", capsys, "peers", "show", "DE-SN")
    assert f"{address(federation, 'DE-SN')}/imi/v1/as4" in said


def test_a_check_says_that_the_relay_does_not_answer(federation, capsys):
    said = " ".join(shown(federation, "FR", capsys, "check", expect=1).split())
    assert "peer DE-SN: the relay DE of DE-SN does not answer" in said
    assert f"is through DE ({address(federation, 'DE')}/imi/v1/relay/DE-SN/as4) reachable" in said


def init(federation, relay):
    return cli.run([
        "init", str(federation / "new"), "--node", "DE-ST", "--relay", relay, "--url", "https://10.0.0.6:8443",
        "--trust-root", str(federation / "root.json"),
    ])  # fmt: skip


def test_a_node_behind_a_relay_asks_its_state_without_an_address(federation, capsys):
    assert init(federation, "DE") == 0
    assert 'DE-ST = "https://10.0.0.6:8443"' in capsys.readouterr().out
    request = json.loads((federation / "new" / "request.json").read_text())
    assert (request["relay"], request["federation"]) == ("DE", None)
    assert request["hosts"] == ["10.0.0.6"]
    assert "port = 8443" in (federation / "new" / "node.toml").read_text()


@pytest.mark.parametrize("relay", ["FR", "DE-ST"])
def test_a_relay_of_another_state_or_the_node_itself_is_refused_before_keys_are_made(federation, capsys, relay):
    assert init(federation, relay) == 2
    assert "another node of the same State" in " ".join(capsys.readouterr().err.split())
    assert not (federation / "new").exists()
