"""Authorities we coordinate: invitations, registrations to decide on, access, suspension, reviews that are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from aiohttp import web

from node.casework.profiles import Profile
from node.casework.registering import Registration
from node.casework.registry import NewUser, Ours
from node.directory.model import Authority
from node.errors import Refused
from node.ids import parse_authority, state_of
from node.pages import FRAME, LANG, form_values, render, see_other, signed_in
from node.texts import NAMES
from node.web import profiles
from node.web.authorities import rows_of
from node.web.keys import REGISTRY, SECRETS
from node.web.ours import address

HOME = "/coordination"
_ONE = "/coordination/registrations/{number:[0-9]{1,9}}"
_AUTHORITY = "/coordination/authorities/{id}"
_NOTHING: Final = MappingProxyType({"reason": "", "scope": "", "withdraw_reason": ""})  # typed on an authority's page
routes = web.RouteTableDef()


@routes.get(HOME)
async def show(request: web.Request) -> web.Response:
    """What waits, who is linked. Raises NotAdministrator, NotCoordinator."""
    return await _show(request)


@routes.get(f"{HOME}/invite")
async def invite(request: web.Request) -> web.Response:
    """The form of an invitation, or the link that was just made, once."""
    official = signed_in(request).official
    link = request.app[SECRETS].take(request.query.get("link", "")[:40], official.user)
    return await _invite(request, {"name": "", "language": official.language}, (), link=link)


@routes.post(f"{HOME}/invite")
async def do_invite(request: web.Request) -> web.Response:
    """Make a link; it is shown on the next page, once."""
    official, form = signed_in(request).official, await request.post()
    typed, scopes = form_values(form, "name", "language"), profiles.ticked(form, "scopes")
    try:
        _, code = await request.app[REGISTRY].invite(
            official, name=typed["name"], scopes=scopes, language=typed["language"]
        )
    except Refused as error:
        errors = [("name" if field == "login" else field, text) for field, text in profiles.errors_of(request, error)]
        return await _invite(request, typed, scopes, errors=errors)
    handle = request.app[SECRETS].keep(address(request, f"/register/{code}"), official.user)
    raise see_other(f"{HOME}/invite?link={handle}", notice="invited")


@routes.post(f"{_ONE}/withdraw")
async def withdraw(request: web.Request) -> web.Response:
    """An invitation opens nothing any more."""
    await request.app[REGISTRY].withdraw_invitation(signed_in(request).official, _number(request))
    raise see_other(HOME, notice="invitation-withdrawn")


@routes.get(_ONE)
async def registration(request: web.Request) -> web.Response:
    """A registration beside the authorities it may be. Raises UnknownRegistration."""
    return await _registration(request, await _read(request))


@routes.post(f"{_ONE}/validate")
async def validate(request: web.Request) -> web.Response:
    """Into the directory with it, with the access that was ticked."""
    found, form = await _read(request), await request.post()
    try:
        await request.app[REGISTRY].validate(signed_in(request).official, found.id, profiles.access(form))
    except Refused as error:
        errors = profiles.errors_of(request, error)
        return await _registration(request, found, ticked=profiles.ticked(form, "access"), errors=errors)
    raise see_other(f"{HOME}/registrations/{found.id}", notice="validated")


@routes.post(f"{_ONE}/reject")
async def reject(request: web.Request) -> web.Response:
    """Turned down, with a reason that the registrant reads."""
    found = await _read(request)
    reason = form_values(await request.post(), "reason")["reason"]
    try:
        await request.app[REGISTRY].reject(signed_in(request).official, found.id, reason)
    except Refused as error:
        return await _registration(request, found, errors=profiles.errors_of(request, error))
    raise see_other(HOME, notice="rejected")


@routes.get(f"{HOME}/register")
async def register(request: web.Request) -> web.Response:
    """An authority that the coordinator registers itself."""
    await request.app[REGISTRY].coordination(signed_in(request).official)
    return profiles.page(request, Profile(names={}), asked=(), typed={"login": "", "name": ""})


@routes.post(f"{HOME}/register")
async def do_register(request: web.Request) -> web.Response:
    """Register it; without a first user the coordinator acts for it."""
    official, form = signed_in(request).official, await request.post()
    registry, profile = request.app[REGISTRY], profiles.read(form, state_of(request.app[FRAME].node))
    typed = form_values(form, "login", "user_name", "distinct")
    typed["name"], password = typed["user_name"], form.get("password", "")
    chosen = password if isinstance(password, str) else ""
    alike: tuple[Authority, ...] = ()
    try:
        registry.check_profile(profile)
        alike = () if typed["distinct"] else await registry.lookalikes(profile)
        if not alike:
            has_user = bool(typed["login"] or typed["name"] or chosen)
            first = NewUser(login=typed["login"], name=typed["name"], password=chosen, language=request[LANG])
            await registry.register(official, profile, granted=profiles.access(form), first=first if has_user else None)
    except Refused as error:
        errors = profiles.errors_of(request, error)
        return profiles.page(request, profile, asked=profiles.ticked(form, "access"), typed=typed, errors=errors)
    if alike:
        return profiles.page(request, profile, asked=profiles.ticked(form, "access"), typed=typed, alike=alike)
    raise see_other(HOME, notice="validated")


@routes.post("/coordination/access/{number:[0-9]{1,9}}/grant")
async def grant(request: web.Request) -> web.Response:
    """Grant what was ticked of a request for access."""
    official, form, number = signed_in(request).official, await request.post(), _number(request)
    try:
        await request.app[REGISTRY].grant(official, number, profiles.ticked(form, f"roles.{number}"))
    except Refused as error:
        return await _show(request, [(f"roles.{number}", text) for _, text in profiles.errors_of(request, error)])
    raise see_other(HOME, notice="access-granted")


@routes.post("/coordination/access/{number:[0-9]{1,9}}/refuse")
async def refuse(request: web.Request) -> web.Response:
    """Refuse a request for access, with a reason."""
    name = f"reason.{_number(request)}"
    reason = form_values(await request.post(), name)[name]
    try:
        await request.app[REGISTRY].refuse(signed_in(request).official, _number(request), reason)
    except Refused as error:
        return await _show(request, [(name, text) for _, text in profiles.errors_of(request, error)])
    raise see_other(HOME, notice="access-refused")


@routes.get(_AUTHORITY)
async def authority(request: web.Request) -> web.Response:
    """One authority that we coordinate. Raises NotCoordinator, UnknownAuthority."""
    return _authority(request, await _ours(request))


@routes.post(f"{_AUTHORITY}/{{act:suspend|lift|withdraw-access}}")
async def act(request: web.Request) -> web.Response:
    """Suspend, lift, or take access away."""
    ours, official, registry = await _ours(request), signed_in(request).official, request.app[REGISTRY]
    typed = form_values(await request.post(), "reason", "scope", "withdraw_reason")
    try:
        match request.match_info["act"]:
            case "suspend":
                await registry.suspend(official, ours.authority.id, typed["reason"])
            case "lift":
                await registry.lift(official, ours.authority.id)
            case _:
                await registry.withdraw_access(official, ours.authority.id, typed["scope"], typed["withdraw_reason"])
    except Refused as error:
        field = {"withdraw-access": "withdraw_reason"}.get(request.match_info["act"], "reason")
        errors = [(field if name == "reason" else name, text) for name, text in profiles.errors_of(request, error)]
        return _authority(request, ours, typed=typed, errors=errors)
    raise see_other(f"{HOME}/authorities/{ours.authority.id}", notice="decided")


@routes.post(f"{_AUTHORITY}/users/{{user:[0-9]{{1,9}}}}/reset")
async def reset(request: web.Request) -> web.Response:
    """A new password for a local administrator; the link is shown on the next page, once."""
    official = signed_in(request).official
    _, code = await request.app[REGISTRY].reset_password(official, int(request.match_info["user"]))
    handle = request.app[SECRETS].keep(address(request, f"/set-password/{code}"), official.user)
    raise see_other(f"{HOME}/authorities/{request.match_info['id']}?link={handle}", notice="password-reset")


async def _show(request: web.Request, errors: Sequence[tuple[str, str]] = ()) -> web.Response:
    found = await request.app[REGISTRY].coordination(signed_in(request).official)
    waiting = [(one, profiles.scope_name(request, one.scope)) for one in found.access]
    status = 422 if errors else 200
    return render(request, "registry/coordination.html", status=status, found=found, waiting=waiting, errors=errors)


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])


async def _read(request: web.Request) -> Registration:
    return await request.app[REGISTRY].registration(signed_in(request).official, _number(request))


async def _ours(request: web.Request) -> Ours:
    name = parse_authority(request.match_info["id"])
    return await request.app[REGISTRY].theirs(signed_in(request).official, name)


async def _invite(
    request: web.Request,
    typed: dict[str, str],
    scopes: Sequence[str],
    *,
    link: str = "",
    errors: Sequence[tuple[str, str]] = (),
) -> web.Response:
    await request.app[REGISTRY].coordination(signed_in(request).official)
    known = [(s, profiles.scope_name(request, s)) for s in request.app[REGISTRY].desk.scopes() if "/" not in s]
    return render(
        request,
        "registry/invite.html",
        status=422 if errors else 200,
        typed=typed,
        scopes=known,
        ticked=scopes,
        languages_all=list(NAMES.items()),
        link=link,
        errors=errors,
    )


async def _registration(
    request: web.Request,
    found: Registration,
    *,
    ticked: Sequence[str] | None = None,
    errors: Sequence[tuple[str, str]] = (),
) -> web.Response:
    alike: Sequence[Authority] = ()
    if found.profile and found.state == "submitted":
        alike = await request.app[REGISTRY].lookalikes(found.profile)
    asked = {scope: list(roles) for scope, roles in found.asked.items()}
    choices = profiles.access_choices(request, asked)
    return render(
        request,
        "registry/registration.html",
        status=422 if errors else 200,
        registration=found,
        scopes=[profiles.scope_name(request, scope) for scope in found.scopes],
        access=choices,
        ticked=[value for value, _ in choices] if ticked is None else ticked,
        alike=alike,
        errors=errors,
    )


def _authority(
    request: web.Request,
    ours: Ours,
    *,
    typed: Mapping[str, str] = _NOTHING,
    errors: Sequence[tuple[str, str]] = (),
) -> web.Response:
    official = signed_in(request).official
    return render(
        request,
        "registry/authority.html",
        status=422 if errors else 200,
        ours=ours,
        typed=typed,
        rows=rows_of(request, ours.authority),
        scopes=[(scope, profiles.scope_name(request, scope)) for scope in ours.authority.roles],
        administrators=[one for one in ours.colleagues if "local-administrator" in one.roles],
        link=request.app[SECRETS].take(request.query.get("link", "")[:40], official.user),
        errors=errors,
    )
