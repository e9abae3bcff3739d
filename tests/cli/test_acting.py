"""`imi-node users acting`: for whom an official acts, as the directory says now."""

from __future__ import annotations

import asyncio

from node import cli
from node.casework.users import Users
from node.clock import SystemClock
from node.directory import Authority, Directory
from node.ids import AuthorityId, NodeId
from node.local_store.database import Database
from pki.keys import generate
from pki.signer import FileSigner

EE = NodeId("EE")


async def test_the_bodies_an_official_acts_for_are_listed(tmp_path, capsys):
    database = Database.open(tmp_path / "node.db", create=True)
    users = Users(database, SystemClock())
    fields = {"name": "Fictional Person", "password": "a long password", "roles": ["handler"], "language": "et"}
    await users.create_user(login="mari", authority=AuthorityId("EE:coordinator"), **fields)
    database.close()
    directory = Directory(tmp_path)
    bodies = [_body("EE:coordinator", ""), _body("EE:town", "EE:coordinator"), _body("EE:school", "EE:other")]
    directory.publish(EE, bodies, FileSigner(generate("log")))
    directory.close()
    config = tmp_path / "node.toml"
    config.write_text(f'node = "EE"\ndata = "{tmp_path}"\n')
    assert await asyncio.to_thread(cli.run, ["users", "acting", "Mari", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert "EE:coordinator" in shown
    assert "EE:town" in shown
    assert "EE:school" not in shown
    assert await asyncio.to_thread(cli.run, ["users", "acting", "nobody", "--config", str(config)]) != 0
    assert "no user has this login" in capsys.readouterr().err


def _body(name: str, represented_by: str) -> Authority:
    return Authority(
        id=AuthorityId(name), node=EE, names={"et": name}, name_lang="et", represented_by=AuthorityId(represented_by)
    )
