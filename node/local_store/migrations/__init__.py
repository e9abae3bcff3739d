"""The database's format: versions in order, applied at the start of a node."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from node.errors import SetupError

HEAD: Final = "0006"  # newest version; a test compares with the folder `versions`
_HERE = Path(__file__).parent


class WrongFormat(SetupError):
    """The database is of a format this version cannot use."""

    code = "setup.data-format"


_ONE_AT_A_TIME = threading.Lock()  # Alembic's operations go through one global context


def upgrade(engine: Engine, path: Path) -> None:
    """Bring an empty or older database to HEAD.

    Raises:
        WrongFormat: it is of a newer version of this software.
    """
    with engine.begin() as connection:
        found = _version(connection)
        if found == HEAD:
            return
        _refuse_newer(found, path)
        with _ONE_AT_A_TIME:
            _run(connection)


def check(engine: Engine, path: Path) -> None:
    """Raises WrongFormat if the database is not at HEAD."""
    with engine.connect() as connection:
        found = _version(connection)
    _refuse_newer(found, path)
    if found != HEAD:
        raise WrongFormat(
            f"{path} is of format {found or 'none'}, not {HEAD}: start the node once to bring it up to date"
        )


def _version(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def _refuse_newer(found: str, path: Path) -> None:
    if found > HEAD:
        raise WrongFormat(
            f"{path} was written by a newer version (format {found}, this one reads {HEAD}): update imi-node"
        )


def _run(connection: Connection) -> None:
    from alembic import command  # late: only a start that migrates pays for Alembic
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
