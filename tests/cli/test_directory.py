"""What operators do with logs, by commands: a hosted State signs at home, a log changes its host, begins anew, is frozen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import structlog

from node.cli import run
from node.directory import Authority, Directory
from node.directory.model import write_change
from node.directory.replication import LogId
from node.federation.trust import TrustReader, from_folder
from node.ids import AuthorityId, NodeId
from node.making import make_stores, settings_text
from pki.founding import Founding, NodePlan
from pki.node_keys import create_own_log_key
from pki.trustlist.models import COLLECTIONS

NODES = {"EE": 18443, "EU": 18444}


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    """Two nodes that are not running, and Luxembourg, whose logs lie at EU and whose key lies at home."""
    founding = Founding(tmp_path_factory.mktemp("federation"))
    plans = [NodePlan(node=code, federation=f"https://127.0.0.1:{port}") for code, port in NODES.items()]
    founding.found(plans, hosted=["LU"], host="EU")
    (founding.keys("EU") / "log-LU.key").unlink()
    founding.office("LU").host(dict.fromkeys(COLLECTIONS, create_own_log_key(founding.folder / "states" / "LU")), "EU")
    founding.publish("LU")
    for code, port in NODES.items():
        folder = founding.folder / "nodes" / code
        make_stores(folder, founding.publisher.root_bytes())
        text = settings_text(code, host="127.0.0.1", federation=port, officials=0, management=0)
        (folder / "node.toml").write_text(text, encoding="utf-8")
    read(founding)
    return founding


@pytest.fixture(autouse=True)
def log_as_it_was():
    """Commands set the log up for a process of their own."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def read(founding: Founding) -> None:
    for code in NODES:
        TrustReader(founding.folder / "nodes" / code / "trust", from_folder(founding.publisher.repository)).refresh()


def at(founding: Founding, node: str, *arguments: str) -> int:
    return run([*arguments, "--config", str(founding.folder / "nodes" / node / "node.toml")])


def names(founding: Founding, node: str) -> dict[str, str]:
    directory = Directory(founding.folder / "nodes" / node)
    try:
        return {hit.authority.id: hit.authority.name for hit in directory.search("", limit=100).hits}
    finally:
        directory.close()


def entry(name: str, number: str, node: str = "LU") -> bytes:
    made = Authority(id=AuthorityId(f"{node}:{number}"), node=NodeId(node), names={"fr": name}, name_lang="fr")
    return write_change(made) + b"\n"


def sign(founding: Founding, out: str, *more: str) -> int:
    home = founding.folder / "states" / "LU"
    return run(
        [
            "directory",
            "sign",
            str(home / "logs"),
            "LU/authorities",
            str(home / out),
            "--key",
            str(home / "log.key"),
            *more,
        ]
    )


def test_a_state_without_a_node_signs_at_home_and_its_host_publishes(founded, capsys):
    home = founded.folder / "states" / "LU"
    (home / "new.jsonl").write_bytes(entry("Ministère", "1") + entry("Commune", "2"))
    assert sign(founded, "one", "--changes", str(home / "new.jsonl")) == 0
    (home / "more.jsonl").write_bytes(entry("Chambre", "3"))
    assert sign(founded, "two", "--changes", str(home / "more.jsonl")) == 0
    assert at(founded, "EU", "directory", "take", str(home / "two")) == 1  # entries between are missing
    assert "begins at 2" in capsys.readouterr().err
    assert at(founded, "EE", "directory", "take", str(home / "one")) == 1  # it does not lie there
    for name in ("one", "two"):
        assert at(founded, "EU", "directory", "take", str(home / name)) == 0
    assert names(founded, "EU") == {"LU:1": "Ministère", "LU:2": "Commune", "LU:3": "Chambre"}
    (home / "bad.jsonl").write_bytes(entry("Ministère", "1", "FR"))
    assert sign(founded, "bad", "--changes", str(home / "bad.jsonl")) == 1
    assert "LU" in capsys.readouterr().err

    assert sign(founded, "anew", "--new-epoch") == 0
    assert at(founded, "EU", "directory", "take", str(home / "anew")) == 1  # the State has not published the epoch
    founded.office("LU").move_logs("LU", collections=["authorities"])
    founded.publish("LU")
    read(founded)
    assert at(founded, "EU", "directory", "take", str(home / "anew")) == 0
    assert len(names(founded, "EU")) == 3


def test_nothing_is_signed_before_peers_were_asked(founded, capsys, tmp_path):
    (tmp_path / "EE.jsonl").write_text('{"id": "EE-1", "name": "Amet"}\n')
    assert at(founded, "EE", "authorities", "import", str(tmp_path / "EE.jsonl")) == 75
    assert "--alone" in capsys.readouterr().err
    assert at(founded, "EE", "authorities", "import", str(tmp_path / "EE.jsonl"), "--alone") == 0


def test_a_log_begins_anew_here_and_goes_on_at_another_host(founded, capsys, tmp_path):
    (tmp_path / "EE.jsonl").write_text('{"id": "EE-2", "name": "Amet"}\n')
    for _ in range(2):
        assert at(founded, "EE", "authorities", "import", str(tmp_path / "EE.jsonl"), "--alone") == 0
    before = names(founded, "EE")
    assert at(founded, "EE", "directory", "compact", "EE/authorities", "--alone") == 0
    assert at(founded, "EE", "directory", "compact", "EE/authorities", "--alone") == 1
    assert "publish epoch 2" in " ".join(capsys.readouterr().err.split())
    assert names(founded, "EE") == before
    assert at(founded, "EE", "directory", "hand-over", "EE/authorities", "--to", "EU", "--alone") == 0
    (tmp_path / "EE.jsonl").write_text('{"id": "EE-3", "name": "Hiline amet"}\n')
    assert at(founded, "EE", "authorities", "import", str(tmp_path / "EE.jsonl"), "--alone") == 1
    assert at(founded, "EU", "directory", "take-over", "EE/authorities", "--alone") == 1  # it has no key of that log
    assert "directory sign" in capsys.readouterr().err


def test_a_frozen_log_is_released_with_a_reason(founded):
    directory = Directory(founded.folder / "nodes" / "EE")
    directory.own.freeze("LU/authorities", kind="peer.log-rolled-back", at=datetime.now(UTC))
    assert at(founded, "EE", "directory", "release", "LU/authorities", "--because", "restored") == 0
    assert directory.own.frozen(str(LogId(NodeId("LU")))) == ""
    directory.close()
    assert at(founded, "EE", "directory", "release", "LU/authorities", "--because", "restored") == 1
    assert at(founded, "EE", "directory", "release", "LU/nonsense", "--because", "restored") == 1
