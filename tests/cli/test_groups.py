"""`imi-node groups` and `imi-node directory status`: made, shown, changed and deleted by the node that keeps them."""

from __future__ import annotations

import re

import pytest

from node import cli
from node.directory import Authority, Directory
from node.directory.model import AuthorityGroup
from node.ids import AuthorityId, NodeId
from pki.founding import Founding, NodePlan
from pki.node_keys import load_node_keys

EE = NodeId("EE")


@pytest.fixture
def home(tmp_path):
    """A node's folder, with keys, settings and two authorities."""
    Founding(tmp_path).found(
        [NodePlan(node="EE", federation="https://127.0.0.1:1"), NodePlan(node="EU", federation="https://127.0.0.1:2")]
    )
    home = tmp_path / "nodes" / "EE"
    (home / "node.toml").write_text('node = "EE"\ndata = "."\n')
    directory = Directory(home)
    bodies = [Authority(id=AuthorityId(f"EE:{n}"), node=EE, names={"et": n}, name_lang="et") for n in ("a", "b")]
    directory.publish(EE, bodies, load_node_keys(home / "keys").log_signer)
    directory.close()
    return home


def test_a_group_is_made_changed_and_deleted_by_its_node(home, capsys):
    def run(*words: str) -> tuple[int, str]:
        code = cli.run([*words, "--config", str(home / "node.toml")])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    code, shown = run("groups", "put", "Schools", "--member", "EE:a", "--member", "EE:b", "--alone")
    assert code == 0, shown
    group = re.search(r"EE:[0-9a-f]{10}", shown)[0]
    assert group in run("groups", "list")[1]
    assert "EE:b b" in run("groups", "show", group)[1]
    assert run("groups", "put", "Schools", "--group", group, "--member", "EE:a", "--alone")[0] == 0
    directory = Directory(home)
    found = directory.record("group", AuthorityId(group))[0]
    directory.close()
    assert isinstance(found, AuthorityGroup)
    assert found.members == ("EE:a",)
    assert run("groups", "put", "Schools", "--member", "EE:nobody", "--alone")[0] == 1
    assert run("groups", "delete", group, "--alone")[0] == 0
    code, shown = run("groups", "show", group)
    assert code == 1
    assert "no such group" in shown


def test_the_state_of_each_log_is_shown(home, capsys):
    assert cli.run(["directory", "status", "--config", str(home / "node.toml")]) == 0
    shown = capsys.readouterr().out
    assert "EE/authorities" in shown
    assert "current" in shown
