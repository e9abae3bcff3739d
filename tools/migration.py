"""Write the next migration from the difference between the tables in the code and a database at HEAD.

Usage: python tools/migration.py ID "what changes". The result is a draft: read it, and say in it what old workers see.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from node import local_store
from node.local_store import migrations


def main(revision: str, message: str) -> None:
    """Compare with a database made by the migrations so far."""
    for module in pkgutil.iter_modules(local_store.__path__, "node.local_store."):
        importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/empty.db")
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(migrations.__file__).parent))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            command.revision(config, message=message, rev_id=revision, autogenerate=True)
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--quiet", str(Path(migrations.__file__).parent)], check=True
    )  # our own arguments


if __name__ == "__main__":
    main(*sys.argv[1:])
