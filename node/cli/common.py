"""What the commands share: the settings option, opening a node's stores without running it, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from node.errors import SetupError
from node.local_store.database import Database
from node.settings import Settings, load

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The node's settings file.", envvar="IMI_CONFIG", show_default=True)
]
DEFAULT_CONFIG = Path("node.toml")
console = Console()


class NoTrustListYet(SetupError):
    """This node has no trust list yet."""

    code = "setup.no-trust-list"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table, or what it means that there is nothing."""
    found = list(rows)
    if not found:
        console.print(empty)
        return
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in found:
        shown.add_row(*(str(value) if value is not None else "" for value in row))
    console.print(shown)


@contextmanager
def stores(config: Path) -> Iterator[tuple[Settings, Database]]:
    """Settings and database, beside a node that may be running."""
    settings = load(config)
    database = Database.open(settings.data / "node.db", exclusive=False)
    try:
        yield settings, database
    finally:
        database.close()
