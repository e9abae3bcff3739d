"""`imi-node authorities invite …`: registrations, access and status, by the operator for a coordinator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from node.cli.common import DEFAULT_CONFIG, Config, ask_password, console, look, stores, table
from node.ids import parse_authority

if TYPE_CHECKING:
    from node.casework.registry import Registry
    from node.casework.views import Official

T = TypeVar("T")
Coordinator = Annotated[str, typer.Option(help="The coordinator it is done for: EE:b81b464c76")]
Reason = Annotated[str, typer.Option(help="Why; those whom it concerns read it.")]
Access = Annotated[
    list[str], typer.Option(help="Area or procedure and role: professional-qualifications:ca (repeatable).")
]
_SOON = "It enters the directory within seconds while the node runs, or when it starts."


def register(app: typer.Typer) -> None:
    """Add the commands to `imi-node authorities`."""
    for name, function in (
        ("invite", invite), ("registrations", registrations), ("register", add), ("validate", validate),
        ("reject", reject), ("suspend", suspend), ("lift", lift), ("leave", leave),
    ):  # fmt: skip
        app.command(name)(function)


def invite(
    name: Annotated[str, typer.Argument(help="Name of the authority that is invited.")],
    coordinator: Coordinator,
    scope: Annotated[list[str], typer.Option(help="Area or procedure it is for (repeatable).")] = [],  # noqa: B006  # typer copies it
    language: Annotated[str, typer.Option(help="Language of the invited.")] = "en",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make a link with which an authority registers itself; it is shown once and valid 30 days.

    **Example** `imi-node authorities invite "Tartu Kutsekool" --coordinator EE:b81b464c76 --scope professional-qualifications`
    """
    made, code = _act(
        config,
        coordinator,
        lambda registry, official: registry.invite(official, name=name, scopes=scope, language=language),
    )
    console.print(f"Registration {made.id}. Send this path on the officials' pages, shown this once:")
    console.print(f"/register/{code}", highlight=False, soft_wrap=True)


def registrations(config: Config = DEFAULT_CONFIG) -> None:
    """List invitations and registrations.

    **Example** `imi-node authorities registrations`
    """
    from node.local_store import registrations as store

    with stores(config) as (_, database):
        rows = look(database, store.listed)
    table(
        "Registrations", ("number", "state", "name", "coordinator", "begun", "authority"),
        [(r.id, r.state, r.name, r.coordinator, f"{r.created_at:%Y-%m-%d}", r.authority) for r in rows],
        empty="No registration yet. Invite an authority: imi-node authorities invite NAME --coordinator CC:…",
    )  # fmt: skip


def add(
    file: Annotated[
        Path, typer.Argument(help="JSON file with the profile, as PUT /authorities/{id}/profile takes it.")
    ],
    coordinator: Coordinator,
    access: Access = [],  # noqa: B006  # typer copies it
    login: Annotated[str, typer.Option(help="Sign-in name of the first user; none: the coordinator acts for it.")] = "",
    name: Annotated[str, typer.Option(help="Name of the first user.")] = "",
    language: Annotated[str, typer.Option(help="Language of the first user.")] = "en",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Register an authority without invitation; the first user's password is asked for.

    **Example** `imi-node authorities register school.json --coordinator EE:b81b464c76 --access professional-qualifications:ca`
    """
    from node.casework.registry import NewUser
    from node.cli.acting import read_profile

    profile = read_profile(file)
    first = None
    if login:
        first = NewUser(login=login, name=name or login, password=ask_password(), language=language)
    made = _act(
        config,
        coordinator,
        lambda registry, official: registry.register(official, profile, granted=_granted(access), first=first),
    )
    console.print(f"{made.id} is registered. {_SOON}", highlight=False)


def validate(
    number: Annotated[int, typer.Argument(help="Number of the registration.")],
    coordinator: Coordinator,
    access: Access = [],  # noqa: B006  # typer copies it
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Validate a registration; without `--access` everything that was asked for is granted.

    **Example** `imi-node authorities validate 7 --coordinator EE:b81b464c76`
    """

    async def act(registry: Registry, official: Official) -> Any:
        asked = (await registry.registration(official, number)).asked
        return await registry.validate(official, number, _granted(access) or asked)

    console.print(f"{_act(config, coordinator, act).authority} is registered. {_SOON}", highlight=False)


def reject(
    number: Annotated[int, typer.Argument(help="Number of the registration.")],
    coordinator: Coordinator,
    reason: Reason,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Reject a registration; the registrant reads why at the invitation's link.

    **Example** `imi-node authorities reject 7 --coordinator EE:b81b464c76 --reason "It is registered already."`
    """
    _act(config, coordinator, lambda registry, official: registry.reject(official, number, reason))
    console.print(f"Registration {number} is rejected.")


def suspend(
    authority: Annotated[str, typer.Argument(help="The authority: EE:bb37c2d5c2")],
    coordinator: Coordinator,
    reason: Reason,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Suspend an authority: it finishes its cases, and opens none.

    **Example** `imi-node authorities suspend EE:bb37c2d5c2 --coordinator EE:b81b464c76 --reason "Nobody answers."`
    """
    name = parse_authority(authority)
    _act(config, coordinator, lambda registry, official: registry.suspend(official, name, reason))
    console.print(f"{name} is suspended. {_SOON}", highlight=False)


def lift(
    authority: Annotated[str, typer.Argument(help="The authority: EE:bb37c2d5c2")],
    coordinator: Coordinator,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Lift a suspension.

    **Example** `imi-node authorities lift EE:bb37c2d5c2 --coordinator EE:b81b464c76`
    """
    name = parse_authority(authority)
    _act(config, coordinator, lambda registry, official: registry.lift(official, name))
    console.print(f"{name} may open cases again. {_SOON}", highlight=False)


def leave(
    authority: Annotated[str, typer.Argument(help="The authority: EE:bb37c2d5c2")],
    coordinator: Coordinator,
    reason: Reason,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Take an authority out: its coordinator finishes its cases, its users are closed.

    **Example** `imi-node authorities leave EE:bb37c2d5c2 --coordinator EE:b81b464c76 --reason "Merged."`
    """
    name = parse_authority(authority)
    _act(config, coordinator, lambda registry, official: registry.leave(official, name, reason))
    console.print(f"{name} has left. {_SOON}", highlight=False)


def _act(config: Path, coordinator: str, act: Callable[[Registry, Official], Awaitable[T]]) -> T:
    from node.casework.desk import operator  # late: see node.cli.acting
    from node.cli.acting import acting

    official = operator(parse_authority(coordinator))
    return acting(config, lambda registry: act(registry, official))


def _granted(access: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in access:
        scope, _, role = one.partition(":")
        found.setdefault(scope, []).append(role)
    return found
