"""The operator registers authorities and looks after users beside a node; the node takes changes over into its log."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from node import cli
from node.directory import Authority, Directory
from node.directory.model import read_change
from node.ids import AuthorityId, NodeId
from node.local_store import registrations
from node.local_store.database import Database
from node.local_store.users import UserRow
from pki.signer import FileSigner

PQ = "professional-qualifications"
COORDINATOR = "EE:coordinator"
PROFILE = {
    "names": {"et": "Tartu Kutsekool"},
    "level": "local",
    "languages": ["et"],
    "city": "Tartu",
    "email": "info@example.ee",
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A node's folder with a coordinator in its directory."""
    Database.open(tmp_path / "node.db", create=True).close()
    directory = Directory(tmp_path)
    entry = Authority(
        id=AuthorityId(COORDINATOR),
        node=NodeId("EE"),
        names={"en": "Coordinator"},
        name_lang="en",
        roles={PQ: ("coordinator",)},
    )
    directory.publish(NodeId("EE"), [entry], FileSigner(Ed25519PrivateKey.generate()))
    directory.close()
    path = tmp_path / "node.toml"
    path.write_text(f'node = "EE"\ndata = "{tmp_path}"\n')
    return str(path)


def run(config: str, *arguments: str) -> int:
    return cli.run([*arguments, "--config", config])


def pending(config: str) -> Authority:
    database = Database.open(Path(config).parent / "node.db", exclusive=False)
    found = database.run(registrations.next_change)
    database.close()
    assert found
    change, by = read_change(found[1], node=NodeId("EE"))
    assert isinstance(change, Authority)
    assert (by.authority, by.user) == ("", None)
    return change


def user(config: str, login: str) -> tuple[str, bool]:
    def read(session: Session) -> tuple[str, bool]:
        row = session.query(UserRow).where(UserRow.login == login).one()
        return row.roles, row.closed_at is None

    database = Database.open(Path(config).parent / "node.db", exclusive=False)
    found = database.run(read)
    database.close()
    return found


def test_an_invitation_is_made_and_listed(config, capsys):
    assert run(config, "authorities", "invite", "Tartu Kutsekool", "--coordinator", COORDINATOR, "--scope", PQ) == 0
    assert "/register/" in capsys.readouterr().out
    assert run(config, "authorities", "registrations") == 0
    assert "Tartu Kutsekool" in capsys.readouterr().out
    assert run(config, "authorities", "validate", "1", "--coordinator", COORDINATOR) == 1
    assert "does not wait" in capsys.readouterr().err
    assert run(config, "authorities", "invite", "X", "--coordinator", "EE:nobody") == 1


def test_an_authority_is_registered_from_a_file(config, tmp_path, capsys, monkeypatch):
    file = tmp_path / "school.json"
    file.write_text(json.dumps(PROFILE))
    register = ("authorities", "register", str(file), "--coordinator", COORDINATOR, "--access", f"{PQ}:ca")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long password\n"))
    assert run(config, *register, "--login", "tiiu", "--name", "Tiiu Example") == 0
    assert pending(config).names == {"et": "Tartu Kutsekool"}
    assert "local-administrator" in user(config, "tiiu")[0]
    file.write_text(json.dumps({**PROFILE, "colour": "blue"}))
    assert run(config, *register) == 2
    assert "colour" in capsys.readouterr().err


def test_an_operator_looks_after_users_and_their_roles(config, capsys, monkeypatch):
    add = ("users", "add", "mari", "--authority", COORDINATOR, "--role")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long password\n"))
    assert run(config, *add, "wizard") == 1
    assert "local-administrator" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long password\n"))
    assert run(config, *add, "local-administrator") == 0
    assert run(config, "users", "reset-password", "mari") == 0
    assert "/set-password/" in capsys.readouterr().out
    assert run(config, "users", "roles", "mari", "--role", "handler") == 1
    assert "at least one local data administrator" in capsys.readouterr().err
    assert run(config, "users", "close", "mari") == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long password\n"))
    run(config, "users", "add", "jaan", "--authority", COORDINATOR, "--role", "local-administrator")
    assert run(config, "users", "roles", "mari", "--role", "handler", "--role", "supervisor") == 0
    assert user(config, "mari") == ("handler,supervisor", True)
    assert run(config, "users", "close", "mari") == 0
    assert user(config, "mari")[1] is False
