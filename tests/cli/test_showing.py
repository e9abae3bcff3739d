"""What others wrote is shown as it is: no markup, no steering of the terminal."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update
from sqlalchemy.orm import Session

from node import cli
from node.clock import SystemClock
from node.federation import outbox
from node.ids import MessageId, NodeId
from node.local_store.database import Database
from node.local_store.messages import OutboxRow

MESSAGE = "m@ee.imi.node"
SAID_BY_A_PEER = "EBMS:0004 urn:example:id:7 [/red] \x1b[2J gone"


def test_an_error_text_of_a_peer_is_no_markup(tmp_path, capsys):
    config = _node(tmp_path)
    for command in (["lanes"], ["messages", "list"], ["messages", "show", MESSAGE]):
        assert cli.run([*command, "--config", str(config)]) == 0
        assert "\x1b[2J" not in capsys.readouterr().out
    cli.run(["messages", "show", MESSAGE, "--config", str(config)])
    assert "urn:example:id:7 [/red]" in capsys.readouterr().out


def _node(folder: Path) -> Path:
    database = Database.open(folder / "node.db", create=True)
    database.run(_post)
    database.close()
    config = folder / "node.toml"
    config.write_text(f'node = "EE"\ndata = "{folder}"\n')
    return config


def _post(session: Session) -> None:
    outbox.post(
        session, message_id=MessageId(MESSAGE), recipient=NodeId("FR"), order="c", conversation="c",
        action="events", content=b"{}", at=SystemClock().now(),
    )  # fmt: skip
    session.execute(update(OutboxRow).values(last_error=SAID_BY_A_PEER))
