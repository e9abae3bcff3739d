"""`imi-node users`: officials of this node's authorities."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.common import DEFAULT_CONFIG, Config, ask_password, console, look, stores, table
from node.errors import ImiError
from node.ids import AuthorityId, parse_authority

if TYPE_CHECKING:
    from node.casework.registry import Registry
    from node.directory import Directory

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
    password = ask_password()
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


@app.command("acting")
def acting(
    login: Annotated[str, typer.Argument(help="Sign-in name.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """List the authorities an official acts for: their own, then the bodies without users that it represents.

    **Example** `imi-node users acting mari`
    """
    from node.casework.errors import UnknownUser
    from node.directory import Directory
    from node.local_store import users

    with stores(config) as (settings, database):
        user = look(database, users.by_login, login.strip().casefold())
        if user is None:
            raise UnknownUser("no user has this login")
        directory = Directory(settings.data)
        try:
            own = AuthorityId(user.authority)
            here = [body for body in directory.represented_by(own) if directory.get(body).node == settings.node]
            rows = [(one, _name(directory, one), "own" if one == own else "represented") for one in (own, *here)]
        finally:
            directory.close()
    table(f"{user.login} acts for", ("id", "name", "because it is"), rows, empty="")


def _name(directory: Directory, authority: AuthorityId) -> str:
    try:
        return directory.get(authority).name
    except ImiError:
        return "(not in the directory)"


@app.command("reset-password")
def reset_password(
    login: Annotated[str, typer.Argument(help="Sign-in name.")], config: Config = DEFAULT_CONFIG
) -> None:
    """Make an official's password worthless, and print the path of a link with which a new one is set.

    **Example** `imi-node users reset-password mari`
    """
    from node.cli.acting import acting as beside

    async def act(registry: Registry) -> str:
        official = await registry.operator_for(login)
        _, code = await registry.reset_password(*official)
        return code

    code = beside(config, act)
    console.print("Send this path on the officials' pages, valid three days and shown this once:")
    console.print(f"/set-password/{code}", highlight=False, soft_wrap=True)


@app.command("roles")
def roles_(
    login: Annotated[str, typer.Argument(help="Sign-in name.")],
    role: Annotated[list[str], typer.Option(help="User role (repeatable); these and no others.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give an official other roles; an authority keeps at least one local administrator.

    **Example** `imi-node users roles mari --role handler --role local-administrator`
    """
    from node.cli.acting import acting as beside

    async def act(registry: Registry) -> None:
        official, user = await registry.operator_for(login)
        name = (await registry.colleague(official, user)).name
        await registry.change_user(official, user, name=name, roles=role)

    beside(config, act)
    console.print(f"{login} has the roles {', '.join(role)} now.")


@app.command("close")
def close(login: Annotated[str, typer.Argument(help="Sign-in name.")], config: Config = DEFAULT_CONFIG) -> None:
    """Close an account: its sessions end, its data are blocked for three years and then erased.

    **Example** `imi-node users close mari`
    """
    from node.cli.acting import acting as beside

    async def act(registry: Registry) -> None:
        await registry.close_user(*await registry.operator_for(login))

    beside(config, act)
    console.print(f"{login} cannot sign in any more.")


async def _add(  # one act's fields
    config: Path, login: str, password: str, authority: str, roles: list[str], name: str, language: str, *, token: bool
) -> str:
    from node.casework.errors import UnknownRole
    from node.casework.registering import NOT_GIVEN
    from node.casework.users import Users  # late: argon2 and the database are needed only here
    from node.catalogue import Catalogue
    from node.clock import SystemClock
    from node.settings import shipped

    with stores(config) as (settings, database):
        known = Catalogue.load(settings.catalogue or shipped()).lists["user-role"]
        if unknown := set(roles) - (set(known) - NOT_GIVEN):
            may = ", ".join(one for one in known if one not in NOT_GIVEN)
            raise UnknownRole(f"no user has the role {min(unknown)}; there are {may}", role=min(unknown)[:40])
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
