"""What the commands share: the settings option, opening a node's stores without running it, tables."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Concatenate, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from node.local_store.database import Database
from node.settings import Settings, load

if TYPE_CHECKING:
    from node.federation.peers import Peers

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The node's settings file.", envvar="IMI_CONFIG", show_default=True)
]
P = ParamSpec("P")
T = TypeVar("T")
DEFAULT_CONFIG = Path("node.toml")
console = Console(emoji=False)  # urn:example:id:7 is an identifier


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
        shown.add_row(*(plain(value) if value is not None else "" for value in row))
    console.print(shown)


def plain(value: object) -> str:
    """A value as it is: what a peer wrote must not be read as markup, nor steer the terminal."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(value)))


def look(database: Database, function: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Read without holding up the writer of a node that runs."""
    return asyncio.run(database.read(function, *args, **kwargs))


def ask_password() -> str:
    """A password, typed unseen at a terminal, else the first line of standard input."""
    return getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


@contextmanager
def stores(config: Path) -> Iterator[tuple[Settings, Database]]:
    """Settings and database, beside a node that may be running."""
    settings = load(config)
    database = Database.open(settings.data / "node.db", exclusive=False)
    try:
        yield settings, database
    finally:
        database.close()


def known_peers(settings: Settings) -> Peers:
    """Nodes of the trust list and access points outside, as a running node has them. Raises NothingReadYet."""
    from node.app import read_outside  # late: most commands need none of this
    from node.federation.peers import Peers
    from node.federation.trust import NothingReadYet, TrustReader, from_folder

    trust = settings.data / "trust"
    kept = TrustReader(trust, from_folder(trust)).kept()
    if kept is None:
        raise NothingReadYet(
            "this node has read no trust list yet, so it knows no peers: imi-node peers bootstrap --from FOLDER"
        )
    return Peers(settings.node, kept, outside=read_outside(settings, kept), addresses=settings.relay)


def field(label: str, value: object) -> None:
    """Print a labelled value, or the labelled lines of a mapping."""
    if isinstance(value, dict) and value:
        console.print(f"{label:>36}:")
        for name, item in value.items():
            console.print(f"{'':>38}{plain(name)}  {plain(item)}", highlight=False, soft_wrap=True)
    else:
        shown = plain(f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else value)
        shown = "–" if value in (None, "", {}) else shown
        console.print(f"{label:>36}  {shown}", highlight=False, soft_wrap=True)
