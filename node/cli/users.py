"""`imi-node users`: officials of this node's authorities."""

from __future__ import annotations

import asyncio
import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, console, look, stores, table
from node.ids import parse_authority

app = typer.Typer(help="Officials of this node's authorities.", no_args_is_help=True)


@app.command("add")
def add(
    login: Annotated[str, typer.Argument(help="Sign-in name.")],
    authority: Annotated[str, typer.Option(help="Authority the official acts for: EE:b81b464c76")],
    role: Annotated[list[str], typer.Option(help="User role: handler, disseminator, supervisor … (repeatable).")],
    name: Annotated[str, typer.Option(help="Name as colleagues see it.")] = "",
    language: Annotated[str, typer.Option(help="Language of the pages.")] = "en",
    token: Annotated[bool, typer.Option("--token", help="Make an API token too, and print it once.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Register an official; the password is asked for, or read from standard input.

    **Example** `imi-node users add mari --authority EE:b81b464c76 --role handler --language et`
    """
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    secret = asyncio.run(_add(config, login, password, authority, role, name or login, language, token=token))
    console.print(f"{login} may sign in now.")
    if secret:
        console.print(f"API token, shown this once: {secret}", highlight=False, soft_wrap=True)


@app.command("list")
def show(config: Config = DEFAULT_CONFIG) -> None:
    """List the officials of this node.

    **Example** `imi-node users list`
    """
    from node.local_store import users

    with stores(config) as (_, database):
        rows = look(database, users.listed)
    table(
        "Officials", ("login", "authority", "roles", "language", "closed"),
        [(u.login, u.authority, u.roles, u.language, u.closed_at or "") for u in rows],
        empty="No official yet. Add one: imi-node users add LOGIN --authority CC:… --role handler",
    )  # fmt: skip


async def _add(  # one act's fields
    config: Path, login: str, password: str, authority: str, roles: list[str], name: str, language: str, *, token: bool
) -> str:
    from node.casework.users import Users  # late: argon2 and the database are needed only here
    from node.clock import SystemClock

    with stores(config) as (_, database):
        users = Users(database, SystemClock())
        await users.create_user(
            login=login,
            name=name,
            password=password,
            authority=parse_authority(authority),
            roles=roles,
            language=language,
        )
        return await users.create_token(login, label="made with the account") if token else ""
