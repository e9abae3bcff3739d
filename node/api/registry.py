"""Handlers about who takes part: registrations, access, an authority's own data, its users. `ROUTES` joins those of cases."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web

from node.api import models
from node.api import registry_models as shapes
from node.api.handling import Route, body_of, json_of, parse
from node.api.keys import OFFICIAL, REGISTRY
from node.api.problems import BadRequest
from node.casework.profiles import Profile, profile_of
from node.casework.registering import Registration
from node.casework.registry import NewUser, Ours
from node.casework.staff import Colleague
from node.casework.stewarding import AccessRequest
from node.directory.model import Link
from node.ids import AuthorityId, parse_authority

_LINK: Final = "The code is shown this once: the link is `/register/{code}` on the officials' pages."


# Registrations.


async def invite_authority(request: web.Request) -> web.Response:
    asked = parse(shapes.InvitationRequest, await body_of(request))
    made, code = await request.app[REGISTRY].invite(
        request[OFFICIAL], name=asked.name, scopes=asked.scopes, language=asked.language
    )
    return json_of(shapes.Invitation(id=made.id, code=code, expires_at=made.expires_at), status=201)


async def withdraw_invitation(request: web.Request) -> web.Response:
    await request.app[REGISTRY].withdraw_invitation(request[OFFICIAL], _number(request))
    return web.Response(status=204)


async def list_registrations(request: web.Request) -> web.Response:
    found = await request.app[REGISTRY].coordination(request[OFFICIAL])
    return json_of(shapes.Registrations(registrations=[_registration(one) for one in found.registrations]))


async def get_registration(request: web.Request) -> web.Response:
    found = await request.app[REGISTRY].registration(request[OFFICIAL], _number(request))
    return json_of(_registration(found))


async def register_authority(request: web.Request) -> web.Response:
    asked = parse(shapes.RegistrationRequest, await body_of(request))
    first = NewUser(**asked.first_user.model_dump()) if asked.first_user else None
    made = await request.app[REGISTRY].register(
        request[OFFICIAL], _profile(asked.profile), granted=asked.access, first=first
    )
    return json_of(shapes.Registered(authority=made.id), status=201)


async def validate_registration(request: web.Request) -> web.Response:
    asked = parse(shapes.AccessGrant, await body_of(request))
    found = await request.app[REGISTRY].validate(request[OFFICIAL], _number(request), asked.access)
    return json_of(_registration(found))


async def reject_registration(request: web.Request) -> web.Response:
    asked = parse(shapes.Reason, await body_of(request))
    found = await request.app[REGISTRY].reject(request[OFFICIAL], _number(request), asked.reason)
    return json_of(_registration(found))


# One's own authority, or one that is coordinated.


async def get_own_authority(request: web.Request) -> web.Response:
    return json_of(_ours(await request.app[REGISTRY].ours(request[OFFICIAL])))


async def get_coordinated_authority(request: web.Request) -> web.Response:
    return json_of(_ours(await request.app[REGISTRY].theirs(request[OFFICIAL], _authority(request))))


async def edit_authority(request: web.Request) -> web.Response:
    profile = _profile(parse(shapes.Profile, await body_of(request)))
    await request.app[REGISTRY].edit(request[OFFICIAL], _authority(request), profile)
    return await _shown(request)


async def change_settings(request: web.Request) -> web.Response:
    asked = parse(shapes.SettingsRequest, await body_of(request))
    official, authority = request[OFFICIAL], _authority(request)
    await request.app[REGISTRY].set_settings(official, authority, asked.scope, asked.settings)
    return await _shown(request)


async def change_coordinators(request: web.Request) -> web.Response:
    asked = parse(shapes.Coordinators, await body_of(request))
    links = [
        Link(coordinator=parse_authority(one.coordinator), function=one.function, area=one.area)
        for one in asked.coordinators
    ]
    await request.app[REGISTRY].set_coordinators(request[OFFICIAL], _authority(request), links)
    return await _shown(request)


async def review_authority(request: web.Request) -> web.Response:
    await request.app[REGISTRY].review(request[OFFICIAL], _authority(request))
    return await _shown(request)


async def suspend_authority(request: web.Request) -> web.Response:
    asked = parse(shapes.Reason, await body_of(request))
    await request.app[REGISTRY].suspend(request[OFFICIAL], _authority(request), asked.reason)
    return await _shown(request)


async def lift_suspension(request: web.Request) -> web.Response:
    await request.app[REGISTRY].lift(request[OFFICIAL], _authority(request))
    return await _shown(request)


async def leave(request: web.Request) -> web.Response:
    asked = parse(shapes.Reason, await body_of(request))
    await request.app[REGISTRY].leave(request[OFFICIAL], _authority(request), asked.reason)
    return web.Response(status=204)


async def withdraw_access(request: web.Request) -> web.Response:
    asked = parse(shapes.AccessWithdrawal, await body_of(request))
    await request.app[REGISTRY].withdraw_access(request[OFFICIAL], _authority(request), asked.scope, asked.reason)
    return await _shown(request)


# Access.


async def ask_access(request: web.Request) -> web.Response:
    asked = parse(shapes.AccessQuestion, await body_of(request))
    made = await request.app[REGISTRY].ask_access(request[OFFICIAL], asked.scope, asked.roles)
    return json_of(_access(made), status=201)


async def list_access_requests(request: web.Request) -> web.Response:
    found = await request.app[REGISTRY].coordination(request[OFFICIAL])
    return json_of(shapes.AccessRequests(requests=[_access(one) for one in found.access]))


async def grant_access(request: web.Request) -> web.Response:
    asked = parse(shapes.Roles, await body_of(request))
    await request.app[REGISTRY].grant(request[OFFICIAL], _number(request), asked.roles)
    return web.Response(status=204)


async def refuse_access(request: web.Request) -> web.Response:
    asked = parse(shapes.Reason, await body_of(request))
    await request.app[REGISTRY].refuse(request[OFFICIAL], _number(request), asked.reason)
    return web.Response(status=204)


# Users.


async def list_users(request: web.Request) -> web.Response:
    found = await request.app[REGISTRY].colleagues(request[OFFICIAL].authority)
    return json_of(shapes.Users(users=[_user(one) for one in found]))


async def add_user(request: web.Request) -> web.Response:
    asked = parse(shapes.UserRequest, await body_of(request))
    made, code = await request.app[REGISTRY].add_user(
        request[OFFICIAL], login=asked.login, name=asked.name, roles=asked.roles, language=asked.language
    )
    return json_of(shapes.UserLink(user=_user(made), code=code), status=201)


async def change_user(request: web.Request) -> web.Response:
    asked = parse(shapes.UserChange, await body_of(request))
    found = await request.app[REGISTRY].change_user(
        request[OFFICIAL], _number(request), name=asked.name, roles=asked.roles
    )
    return json_of(_user(found))


async def reset_password(request: web.Request) -> web.Response:
    found, code = await request.app[REGISTRY].reset_password(request[OFFICIAL], _number(request))
    return json_of(shapes.UserLink(user=_user(found), code=code))


async def close_user(request: web.Request) -> web.Response:
    await request.app[REGISTRY].close_user(request[OFFICIAL], _number(request))
    return web.Response(status=204)


def _number(request: web.Request) -> int:
    text = request.match_info["number"]
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadRequest("not a number", (("number", "malformed"),))
    return int(text)


def _authority(request: web.Request) -> AuthorityId:
    return parse_authority(request.match_info["id"])


async def _shown(request: web.Request) -> web.Response:
    return json_of(_ours(await request.app[REGISTRY].ours(request[OFFICIAL], _authority(request))))


def _profile(asked: shapes.Profile) -> Profile:
    said = asked.model_dump().items()
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said}
    return Profile(**fields)


def _profile_model(profile: Profile) -> shapes.Profile:
    return shapes.Profile.model_validate_json(json.dumps(asdict(profile)))


def _registration(found: Registration) -> shapes.Registration:
    return shapes.Registration(
        id=found.id,
        state=found.state,
        name=found.name,
        scopes=list(found.scopes),
        language=found.language,
        created_at=found.created_at,
        expires_at=found.expires_at,
        submitted_at=found.submitted_at,
        decided_at=found.decided_at,
        reason=found.reason,
        profile=_profile_model(found.profile) if found.profile else None,
        access={scope: list(roles) for scope, roles in found.asked.items()},
        first_user=found.first_user,
        authority=found.authority,
        published=found.published,
    )


def _access(found: AccessRequest) -> shapes.AccessRequest:
    return shapes.AccessRequest(
        id=found.id,
        authority=found.authority,
        scope=found.scope,
        roles=list(found.roles),
        state=found.state,
        asked_at=found.asked_at,
        decided_at=found.decided_at,
        reason=found.reason,
    )


def _user(found: Colleague) -> shapes.User:
    return shapes.User(
        id=found.id, login=found.login, name=found.name, roles=list(found.roles), language=found.language
    )


def _ours(found: Ours) -> shapes.OwnAuthority:
    entry = found.authority
    return shapes.OwnAuthority(
        id=entry.id,
        status=entry.status,
        publishing=found.publishing,
        review_due=found.is_stale,
        registered=entry.registered,
        reviewed=entry.reviewed,
        represented_by=entry.represented_by,
        profile=_profile_model(profile_of(entry)),
        roles={scope: list(roles) for scope, roles in entry.roles.items()},
        settings={scope: dict(values) for scope, values in entry.settings.items()},
        coordinators=[
            models.Link(coordinator=link.coordinator, function=link.function, area=link.area)
            for link in entry.coordinators
        ],
        access=[_access(one) for one in found.access],
        decisions=[
            shapes.Decision(act=one.act, subject=one.subject, reason=one.reason, at=one.at, coordinator=one.coordinator)
            for one in found.decisions
        ],
    )


ROUTES: Final = (
    Route(
        method="POST", path="/invitations", handler=invite_authority, takes=shapes.InvitationRequest,
        gives=shapes.Invitation, status=201, summary=f"Invite an authority to register. {_LINK}",
    ),
    Route(
        method="DELETE", path="/invitations/{number}", handler=withdraw_invitation, status=204,
        summary="Withdraw an invitation that nobody used.",
    ),
    Route(
        method="GET", path="/registrations", handler=list_registrations, gives=shapes.Registrations,
        summary="Invitations and registrations of a coordinator, those under way first.",
    ),
    Route(
        method="POST", path="/registrations", handler=register_authority, takes=shapes.RegistrationRequest,
        gives=shapes.Registered, status=201,
        summary="Register an authority without invitation; without a first user the coordinator acts for it.",
    ),
    Route(
        method="GET", path="/registrations/{number}", handler=get_registration, gives=shapes.Registration,
        summary="One registration.",
    ),
    Route(
        method="POST", path="/registrations/{number}/validate", handler=validate_registration, takes=shapes.AccessGrant,
        gives=shapes.Registration, summary="Validate a registration: into the directory with it.",
    ),
    Route(
        method="POST", path="/registrations/{number}/reject", handler=reject_registration, takes=shapes.Reason,
        gives=shapes.Registration, summary="Reject a registration, with a reason that the registrant reads.",
    ),
    Route(
        method="GET", path="/authority", handler=get_own_authority, gives=shapes.OwnAuthority,
        summary="The user's own authority, with changes that are on their way into the directory.",
    ),
    Route(
        method="GET", path="/coordination/{id}", handler=get_coordinated_authority, gives=shapes.OwnAuthority,
        summary="An authority that the user's one coordinates.",
    ),
    Route(
        method="PUT", path="/authorities/{id}/profile", handler=edit_authority, takes=shapes.Profile,
        gives=shapes.OwnAuthority, summary="Change what an authority says of itself: one's own, or one that is coordinated.",
    ),
    Route(
        method="PUT", path="/authorities/{id}/settings", handler=change_settings, takes=shapes.SettingsRequest,
        gives=shapes.OwnAuthority, summary="How an authority works in an area or procedure.",
    ),
    Route(
        method="PUT", path="/authorities/{id}/coordinators", handler=change_coordinators, takes=shapes.Coordinators,
        gives=shapes.OwnAuthority, summary="Who coordinates an authority, for what.",
    ),
    Route(
        method="POST", path="/authorities/{id}/review", handler=review_authority, gives=shapes.OwnAuthority,
        summary="Say that all is right: the yearly review.",
    ),
    Route(
        method="POST", path="/authorities/{id}/suspend", handler=suspend_authority, takes=shapes.Reason,
        gives=shapes.OwnAuthority, summary="Suspend an authority: it finishes its cases, and opens none.",
    ),
    Route(
        method="POST", path="/authorities/{id}/lift", handler=lift_suspension, gives=shapes.OwnAuthority,
        summary="Lift a suspension.",
    ),
    Route(
        method="POST", path="/authorities/{id}/leave", handler=leave, takes=shapes.Reason, status=204,
        summary="An authority leaves; its coordinator finishes its cases, its users are closed.",
    ),
    Route(
        method="POST", path="/authorities/{id}/withdraw-access", handler=withdraw_access, takes=shapes.AccessWithdrawal,
        gives=shapes.OwnAuthority, summary="Take an authority's access to an area or procedure away.",
    ),
    Route(
        method="POST", path="/access-requests", handler=ask_access, takes=shapes.AccessQuestion,
        gives=shapes.AccessRequest, status=201, summary="Ask the coordinator for access to an area or procedure.",
    ),
    Route(
        method="GET", path="/access-requests", handler=list_access_requests, gives=shapes.AccessRequests,
        summary="Requests for access that wait for the coordinator.",
    ),
    Route(
        method="POST", path="/access-requests/{number}/grant", handler=grant_access, takes=shapes.Roles, status=204,
        summary="Grant a request for access, in full or in part.",
    ),
    Route(
        method="POST", path="/access-requests/{number}/refuse", handler=refuse_access, takes=shapes.Reason, status=204,
        summary="Refuse a request for access, with a reason.",
    ),
    Route(method="GET", path="/users", handler=list_users, gives=shapes.Users, summary="The authority's users."),
    Route(
        method="POST", path="/users", handler=add_user, takes=shapes.UserRequest, gives=shapes.UserLink, status=201,
        summary="Register a user; the code of the link `/set-password/{code}` is shown this once.",
    ),
    Route(
        method="PUT", path="/users/{number}", handler=change_user, takes=shapes.UserChange, gives=shapes.User,
        summary="Change a user's name and roles.",
    ),
    Route(
        method="POST", path="/users/{number}/reset-password", handler=reset_password, gives=shapes.UserLink,
        summary="Make a user's password worthless; the code of a link for a new one is shown this once.",
    ),
    Route(
        method="DELETE", path="/users/{number}", handler=close_user, status=204,
        summary="Close an account: blocked for three years, then erased.",
    ),
)  # fmt: skip
