"""An authority's own pages: its profile, how it works, its access, its users. Most of them serve its coordinator too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from node.casework.desk import DATA, LOCAL
from node.casework.profiles import Profile, profile_of
from node.casework.registry import Ours
from node.casework.staff import Colleague
from node.directory import UnknownAuthority
from node.directory.model import Link
from node.directory.rules import REPLY_LANGUAGE, SETTINGS
from node.errors import Refused
from node.ids import AuthorityId, parse_authority, state_of
from node.pages import FRAME, form_values, render, see_other, signed_in
from node.texts import NAMES
from node.web import profiles
from node.web.authorities import rows_of
from node.web.keys import CASEWORK, DIRECTORY, REGISTRY, SECRETS

OURS: Final = "/our-authority"
THEIRS: Final = "/coordination/authorities/{id}"
FUNCTIONS: Final = ("validating", "access", "request", "alert", "notification")
_NEW_LINKS: Final = 3  # empty lines to fill in the form of coordinators
routes = web.RouteTableDef()


@routes.get(OURS)
async def show(request: web.Request) -> web.Response:
    """The signed-in user's authority and who works in it, with what its administrator can do."""
    official = signed_in(request).official
    registry = request.app[REGISTRY]
    colleagues = await registry.colleagues(official.authority)
    represented = (await asyncio.to_thread(request.app[CASEWORK].authorities, official))[1:]
    page = partial(
        render,
        request,
        "our-authority.html",
        colleagues=colleagues,
        represented=represented,
        is_local=LOCAL in official.roles,
    )
    try:
        ours = await registry.ours(official)
    except UnknownAuthority:
        return page(ours=None, rows=())
    return page(ours=ours, rows=rows_of(request, ours.authority), tasks=await registry.tasks(official))


@routes.get(f"{OURS}/edit")
@routes.get(f"{THEIRS}/edit")
async def edit(request: web.Request) -> web.Response:
    """The profile as a form."""
    ours = await _ours(request)
    return _edit(request, ours, profile_of(ours.authority))


@routes.post(f"{OURS}/edit")
@routes.post(f"{THEIRS}/edit")
async def save(request: web.Request) -> web.Response:
    """Keep the profile; it was looked over, then."""
    ours, profile = await _ours(request), profiles.read(await request.post(), state_of(request.app[FRAME].node))
    try:
        await request.app[REGISTRY].edit(signed_in(request).official, ours.authority.id, profile)
    except Refused as error:
        return _edit(request, ours, profile, errors=profiles.errors_of(request, error))
    raise see_other(_base(request), notice="profile-saved")


@routes.post(f"{OURS}/review")
@routes.post(f"{THEIRS}/review")
async def review(request: web.Request) -> web.Response:
    """All is right."""
    await request.app[REGISTRY].review(signed_in(request).official, _target(request))
    raise see_other(_base(request), notice="reviewed")


@routes.get(f"{OURS}/procedures")
@routes.get(f"{THEIRS}/procedures")
async def procedures(request: web.Request) -> web.Response:
    """How the authority works in each area and procedure, and its coordinators."""
    return _procedures(request, await _ours(request))


@routes.post(f"{OURS}/procedures")
@routes.post(f"{THEIRS}/procedures")
async def save_procedures(request: web.Request) -> web.Response:
    """Settings of one area or procedure."""
    ours, form = await _ours(request), await request.post()
    scope = form_values(form, "scope")["scope"]
    typed = form_values(form, *(f"{scope}.{name}" for name in (*SETTINGS, REPLY_LANGUAGE)))
    settings = {name.removeprefix(f"{scope}."): value for name, value in typed.items()}
    try:
        await request.app[REGISTRY].set_settings(signed_in(request).official, ours.authority.id, scope, settings)
    except Refused as error:
        return _procedures(request, ours, errors=profiles.errors_of(request, error))
    raise see_other(f"{_base(request)}/procedures", notice="settings-saved")


@routes.post(f"{OURS}/coordinators")
@routes.post(f"{THEIRS}/coordinators")
async def save_coordinators(request: web.Request) -> web.Response:
    """Who coordinates the authority, for what."""
    ours, form = await _ours(request), await request.post()
    names = [f"{part}.{n}" for n in range(60) for part in ("coordinator", "function", "area")]
    typed = form_values(form, *names)
    rows = [tuple(typed[f"{part}.{n}"] for part in ("coordinator", "function", "area")) for n in range(60)]
    rows = [row for row in rows if row[0]]
    try:
        links = [_link(*row) for row in rows]
        await request.app[REGISTRY].set_coordinators(signed_in(request).official, ours.authority.id, links)
    except Refused as error:
        errors = [("coordinator.0", text) for _, text in profiles.errors_of(request, error)]
        return _procedures(request, ours, links=rows, errors=errors)
    raise see_other(f"{_base(request)}/procedures", notice="coordinators-saved")


@routes.get(f"{OURS}/access")
async def access(request: web.Request) -> web.Response:
    """What the authority takes part in, and asking for more."""
    return _access(request, await _ours(request))


@routes.post(f"{OURS}/access")
async def ask_access(request: web.Request) -> web.Response:
    """Ask the coordinator for what was ticked."""
    ours, form = await _ours(request), await request.post()
    asked = profiles.access(form)
    try:
        if not asked:
            asked = {"": []}
        for scope, roles in asked.items():
            await request.app[REGISTRY].ask_access(signed_in(request).official, scope, roles)
    except Refused as error:
        return _access(request, ours, ticked=profiles.ticked(form, "access"), errors=profiles.errors_of(request, error))
    raise see_other(f"{OURS}/access", notice="access-asked")


@routes.get(f"{OURS}/leave")
@routes.get(f"{THEIRS}/leave")
async def leave(request: web.Request) -> web.Response:
    """What leaving means, and the reason for it."""
    return _leave(request, await _ours(request))


@routes.post(f"{OURS}/leave")
@routes.post(f"{THEIRS}/leave")
async def do_leave(request: web.Request) -> web.Response:
    """The authority leaves; its users, perhaps this one, are signed out."""
    ours = await _ours(request)
    reason = form_values(await request.post(), "reason")["reason"]
    try:
        await request.app[REGISTRY].leave(signed_in(request).official, ours.authority.id, reason)
    except Refused as error:
        return _leave(request, ours, reason=reason, errors=profiles.errors_of(request, error))
    raise see_other("/sign-in" if _base(request) == OURS else "/coordination", notice="left")


@routes.get(f"{OURS}/users")
async def users(request: web.Request) -> web.Response:
    """Who may sign in, and a form for one more."""
    return await _users(request, {"login": "", "name": ""}, ("handler",))


@routes.post(f"{OURS}/users")
async def add_user(request: web.Request) -> web.Response:
    """One more; the link for the password is shown on the next page, once."""
    form = await request.post()
    typed, roles = form_values(form, "login", "name", "language"), profiles.ticked(form, "roles")
    try:
        added, code = await request.app[REGISTRY].add_user(
            signed_in(request).official,
            login=typed["login"],
            name=typed["name"],
            roles=roles,
            language=typed["language"],
        )
    except Refused as error:
        return await _users(request, typed, roles, errors=profiles.errors_of(request, error))
    raise see_other(f"{OURS}/users/{added.id}?link={_keep(request, code)}", notice="user-added")


@routes.get(f"{OURS}/users/{{user:[0-9]{{1,9}}}}")
async def user(request: web.Request) -> web.Response:
    """One user, with the link for the password where it was just made."""
    official = signed_in(request).official
    found = await request.app[REGISTRY].colleague(official, _number(request))
    link = request.app[SECRETS].take(request.query.get("link", "")[:40], official.user)
    return _user(request, found, link=link)


@routes.post(f"{OURS}/users/{{user:[0-9]{{1,9}}}}")
async def change_user(request: web.Request) -> web.Response:
    """Another name, other roles."""
    official, form = signed_in(request).official, await request.post()
    found = await request.app[REGISTRY].colleague(official, _number(request))
    name, roles = form_values(form, "name")["name"], profiles.ticked(form, "roles")
    try:
        await request.app[REGISTRY].change_user(official, found.id, name=name, roles=roles)
    except Refused as error:
        errors = [("name" if field == "login" else field, text) for field, text in profiles.errors_of(request, error)]
        return _user(request, found, name=name, roles=roles, errors=errors)
    raise see_other(f"{OURS}/users", notice="user-saved")


@routes.post(f"{OURS}/users/{{user:[0-9]{{1,9}}}}/reset")
async def reset_user(request: web.Request) -> web.Response:
    """The old password is worthless; a link for a new one is shown on the next page, once."""
    official = signed_in(request).official
    found, code = await request.app[REGISTRY].reset_password(official, _number(request))
    raise see_other(f"{OURS}/users/{found.id}?link={_keep(request, code)}", notice="password-reset")


@routes.post(f"{OURS}/users/{{user:[0-9]{{1,9}}}}/close")
async def close_user(request: web.Request) -> web.Response:
    """The user signs in no more."""
    official = signed_in(request).official
    found = await request.app[REGISTRY].colleague(official, _number(request))
    try:
        await request.app[REGISTRY].close_user(official, found.id)
    except Refused as error:
        return _user(request, found, errors=profiles.errors_of(request, error))
    raise see_other(f"{OURS}/users", notice="user-closed")


def address(request: web.Request, path: str) -> str:
    """A path of this site as a whole address, to be sent to somebody."""
    scheme = "https" if request.app[FRAME].https else request.scheme
    return f"{scheme}://{request.host}{path}"


def _keep(request: web.Request, code: str) -> str:
    link = address(request, f"/set-password/{code}")
    return request.app[SECRETS].keep(link, signed_in(request).official.user)


async def _ours(request: web.Request) -> Ours:
    return await request.app[REGISTRY].ours(signed_in(request).official, _target(request))


def _target(request: web.Request) -> AuthorityId:
    """The authority these pages are about: the one in the address, else one's own. Raises BadIdentifier."""
    name = request.match_info.get("id", "")
    return parse_authority(name) if name else signed_in(request).official.authority


def _base(request: web.Request) -> str:
    name = request.match_info.get("id", "")
    return f"/coordination/authorities/{name}" if name else OURS


def _number(request: web.Request) -> int:
    return int(request.match_info["user"])


def _edit(request: web.Request, ours: Ours, profile: Profile, errors: Sequence[tuple[str, str]] = ()) -> web.Response:
    return render(
        request,
        "registry/edit.html",
        status=422 if errors else 200,
        ours=ours,
        base=_base(request),
        profile=profile,
        choices=profiles.choices(request, profile),
        errors=errors,
    )


def _procedures(
    request: web.Request,
    ours: Ours,
    *,
    links: Sequence[tuple[str, ...]] = (),
    errors: Sequence[tuple[str, str]] = (),
) -> web.Response:
    kept = [(link.coordinator, link.function, link.area) for link in ours.authority.coordinators]
    rows = [*(links or kept), *[("", "request", "")] * _NEW_LINKS]
    areas = sorted({scope for scope in ours.scopes if "/" not in scope})
    held = [
        scope
        for scope in ours.scopes
        if scope in ours.authority.roles or scope.partition("/")[0] in ours.authority.roles
    ]
    others = request.app[DIRECTORY]
    return render(
        request,
        "registry/procedures.html",
        status=422 if errors else 200,
        ours=ours,
        base=_base(request),
        scopes=[(scope, profiles.scope_name(request, scope), ours.authority.settings.get(scope, {})) for scope in held],
        settings=SETTINGS,
        languages_all=list(NAMES.items()),
        links=list(enumerate(rows)),
        coordinators=_coordinators(others, areas, ours),
        functions=FUNCTIONS,
        areas=[(area, profiles.scope_name(request, area)) for area in areas],
        errors=errors,
    )


def _coordinators(directory: Any, areas: Sequence[str], ours: Ours) -> list[tuple[str, str]]:
    """The State's coordinators, and those linked already."""
    found = {a.id: a.name for area in areas for a in directory.with_role(area, "coordinator", ours.authority.state)}
    for link in ours.authority.coordinators:
        found.setdefault(link.coordinator, str(link.coordinator))
    return sorted(found.items(), key=lambda pair: pair[1].casefold())


def _link(coordinator: str, function: str, area: str) -> Link:
    name = parse_authority(coordinator)
    chosen: Any = function if function in FUNCTIONS else "request"
    return Link(coordinator=name, function=chosen, area=area)


def _access(
    request: web.Request, ours: Ours, *, ticked: Sequence[str] = (), errors: Sequence[tuple[str, str]] = ()
) -> web.Response:
    open_scopes = {one.scope for one in ours.access if one.state == "requested"}
    missing: Mapping[str, list[str]] = {
        scope: [role for role in roles if role not in ours.authority.roles.get(scope, ())]
        for scope, roles in ours.scopes.items()
        if scope not in open_scopes
    }
    return render(
        request,
        "registry/access.html",
        status=422 if errors else 200,
        ours=ours,
        held=[(profiles.scope_name(request, scope), roles) for scope, roles in ours.authority.roles.items()],
        asked=[(profiles.scope_name(request, one.scope), one) for one in ours.access],
        access=profiles.access_choices(request, missing),
        ticked=ticked,
        errors=errors,
    )


def _leave(
    request: web.Request, ours: Ours, *, reason: str = "", errors: Sequence[tuple[str, str]] = ()
) -> web.Response:
    return render(
        request,
        "registry/leave.html",
        status=422 if errors else 200,
        ours=ours,
        base=_base(request),
        reason=reason,
        errors=errors,
    )


async def _users(
    request: web.Request, typed: dict[str, str], roles: Sequence[str], errors: Sequence[tuple[str, str]] = ()
) -> web.Response:
    official, registry = signed_in(request).official, request.app[REGISTRY]
    ours = await registry.ours(official)
    return render(
        request,
        "registry/users.html",
        status=422 if errors else 200,
        ours=ours,
        typed={"language": official.language, **typed},
        roles=roles,
        all_roles=registry.user_roles(),
        languages_all=list(NAMES.items()),
        is_local=LOCAL in official.roles,
        errors=errors,
    )


def _user(
    request: web.Request,
    found: Colleague,
    *,
    name: str | None = None,
    roles: Sequence[str] | None = None,
    link: str = "",
    errors: Sequence[tuple[str, str]] = (),
) -> web.Response:
    return render(
        request,
        "registry/user.html",
        status=422 if errors else 200,
        user=found,
        name=found.name if name is None else name,
        roles=found.roles if roles is None else roles,
        all_roles=request.app[REGISTRY].user_roles(),
        link=link,
        errors=errors,
    )


__all__ = ["DATA", "OURS", "address", "routes"]
