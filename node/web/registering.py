"""Pages behind a link with a code, for people without an account: registering an authority, setting a password."""

from __future__ import annotations

from aiohttp import web

from node.casework.profiles import Profile
from node.casework.registering import Registration
from node.casework.registry import NewUser
from node.directory.model import Authority
from node.errors import Refused
from node.ids import state_of
from node.pages import FRAME, LANG, form_values, public, render, see_other
from node.web import profiles
from node.web.keys import REGISTRY
from node.web.signing import source_of

routes = web.RouteTableDef()


@routes.get("/register/{code}")
@public
async def show(request: web.Request) -> web.Response:
    """The form of self-registration, or what became of it. Raises UnknownInvitation, TooManyGuesses."""
    found = await _invitation(request)
    if found.state != "invited":
        return render(request, "registry/registered.html", registration=found)
    profile = profiles.empty(found.name, profiles.choices(request, Profile(names={})).official[0])
    asked = {f"{scope} ca" for scope in found.scopes}
    return profiles.page(request, profile, registration=found, asked=sorted(asked), typed={"login": "", "name": ""})


@routes.post("/register/{code}")
@public
async def submit(request: web.Request) -> web.Response:
    """Register: once lookalikes were shown, or there are none. What was typed stays when it is refused."""
    found, form = await _invitation(request), await request.post()
    registry, profile = request.app[REGISTRY], profiles.read(form, state_of(request.app[FRAME].node))
    typed = form_values(form, "login", "user_name", "distinct")
    password = form.get("password", "")
    asked = profiles.ticked(form, "access")
    typed = {**typed, "name": typed["user_name"]}
    alike: tuple[Authority, ...] = ()
    try:
        registry.check_profile(profile)
        if not typed["distinct"]:
            alike = await registry.lookalikes(profile)
        if not alike:
            first = NewUser(
                login=typed["login"],
                name=typed["name"],
                password=password if isinstance(password, str) else "",
                language=request[LANG],
            )
            await registry.submit(_code(request), profile, asked=profiles.access(form), first=first)
    except Refused as error:
        errors = profiles.errors_of(request, error)
        return profiles.page(request, profile, registration=found, asked=asked, typed=typed, errors=errors)
    if alike:
        return profiles.page(request, profile, registration=found, asked=asked, typed=typed, alike=alike)
    raise see_other(f"/register/{_code(request)}", notice="registered")


@routes.get("/set-password/{code}")
@public
async def ask_password(request: web.Request) -> web.Response:
    """The form for a new password. Raises UnknownInvitation, TooManyGuesses."""
    login = await request.app[REGISTRY].password_link(_code(request), source=source_of(request))
    return render(request, "registry/password.html", login=login)


@routes.post("/set-password/{code}")
@public
async def set_password(request: web.Request) -> web.Response:
    """Set it; the link is worthless then."""
    form = await request.post()
    password, source = form.get("password", ""), source_of(request)
    login = await request.app[REGISTRY].password_link(_code(request), source=source)
    try:
        chosen = password if isinstance(password, str) else ""
        await request.app[REGISTRY].set_password(_code(request), chosen, source=source)
    except Refused as error:
        errors = profiles.errors_of(request, error)
        return render(request, "registry/password.html", status=422, login=login, errors=errors)
    raise see_other("/sign-in", notice="password-set")


async def _invitation(request: web.Request) -> Registration:
    return await request.app[REGISTRY].invitation(_code(request), source=source_of(request))


def _code(request: web.Request) -> str:
    return request.match_info["code"]
