"""The form of an authority's profile: what it offers, what was typed, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from node.casework.errors import InvalidProfile
from node.casework.profiles import LEVELS, TYPES, Profile
from node.casework.registering import Registration
from node.directory import Authority
from node.directory.folding import fold
from node.directory.regions import regions_of
from node.directory.rules import official_languages
from node.errors import ImiError
from node.ids import State, state_of
from node.pages import FRAME, LANG, render, text_key
from node.texts import ENGLISH, NAMES
from node.web.authorities import named
from node.web.keys import CATALOGUE, REGISTRY

FEW_REGIONS: Final = 60  # so many are ticked; more are written, by code or by name
MOST_LANGUAGES: Final = 4  # working languages that the form has fields for
_FIELD_OF: Final[Mapping[str, str]] = {  # where a refusal is shown that says nothing of fields itself
    "refused.login-taken": "login",
    "refused.weak-password": "password",
    "refused.missing-name": "login",
    "refused.reason-missing": "reason",
    "refused.no-request-coordinator": "access",
    "refused.unknown-role": "access",
    "refused.last-administrator": "roles",
}
_SPLIT: Final = str.maketrans(";\n", ",,")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the form offers. Pairs are (code, name)."""

    official: tuple[str, ...]  # languages of official names, the first one required
    informal: tuple[str, ...]
    types: Sequence[tuple[str, str]]
    levels: Sequence[tuple[str, str]]
    languages: Sequence[tuple[str, str]]
    professions: Sequence[tuple[str, str]]
    activities: Sequence[tuple[str, str]]
    regions: Sequence[tuple[str, str]]  # of the State; empty where they are too many to tick: they are written, then
    numbers: range  # of the fields for working languages


def choices(request: web.Request, profile: Profile) -> Choices:
    """For the node's State, and whatever a profile says already."""
    lists, state = request.app[CATALOGUE].lists, state_of(request.app[FRAME].node)
    regions = regions_of(state)
    official = official_languages(state)
    texts, lang = request.app[FRAME].texts, request[LANG]
    kept = {profile.type: profile.type} if profile.type and profile.type not in TYPES else {}
    types = [(code, texts.t(lang, f"registry.type.{code}")) for code in TYPES]
    return Choices(
        official=tuple(dict.fromkeys((*official, *profile.names))),
        informal=tuple(dict.fromkeys((*official, ENGLISH, *profile.informal))),
        types=[*types, *kept.items()],
        levels=[(code, texts.t(lang, f"registry.level.{code}")) for code in LEVELS],
        languages=list(NAMES.items()),
        professions=named(request, "list.profession", lists["profession"]),
        activities=named(request, "list.activity", lists["activity"]),
        regions=regions if len(regions) <= FEW_REGIONS else (),
        numbers=range(1, max(MOST_LANGUAGES, len(profile.languages)) + 1),
    )


def empty(name: str, lang: str) -> Profile:
    """A form to fill, with the name the invitation is for."""
    return Profile(names={lang: name})


def read(form: MultiMapping[Any], state: State) -> Profile:
    """What was typed, unchecked. Names of the State's regions become their codes."""
    return Profile(
        names=_by_language(form, "name"),
        informal=_by_language(form, "informal"),
        competence=_by_language(form, "competence"),
        type=_text(form, "type"),
        level=_text(form, "level"),
        parent=_text(form, "parent"),
        territory=_territory(form, state),
        professions=ticked(form, "professions"),
        activities=ticked(form, "activities"),
        keywords=_several(form, "keywords"),
        languages=tuple(dict.fromkeys(filter(None, (_text(form, f"language.{n}") for n in range(1, 25))))),
        street=_text(form, "street"),
        postal_code=_text(form, "postal_code"),
        city=_text(form, "city"),
        email=_text(form, "email"),
        phone=_text(form, "phone"),
        website=_text(form, "website"),
        contact=_text(form, "contact"),
    )


def ticked(form: MultiMapping[Any], name: str) -> tuple[str, ...]:
    """The values of a group of checkboxes."""
    return tuple(dict.fromkeys(value for value in form.getall(name, []) if isinstance(value, str)))


def access(form: MultiMapping[Any]) -> dict[str, list[str]]:
    """Scopes and roles ticked; each box is `scope role`."""
    found: dict[str, list[str]] = {}
    for value in ticked(form, "access"):
        scope, _, role = value.partition(" ")
        found.setdefault(scope, []).append(role)
    return found


def access_choices(
    request: web.Request, scopes: Mapping[str, Iterable[str]], *, only_areas: bool = False
) -> list[tuple[str, str]]:
    """Boxes for access: an area or procedure and a role in it, in words."""
    return [
        (f"{scope} {role}", f"{scope_name(request, scope)} – {_say(request, f'list.directory-role.{role}')}")
        for scope, roles in scopes.items()
        for role in roles
        if not only_areas or "/" not in scope
    ]


def scope_name(request: web.Request, scope: str) -> str:
    """An area or procedure in words."""
    return _say(request, f"procedure.{scope}.title" if "/" in scope else f"area.{scope}")


def errors_of(request: web.Request, error: ImiError) -> list[tuple[str, str]]:
    """A refusal as messages beside fields."""
    if isinstance(error, InvalidProfile):
        return [_fault(request, name, code) for name, code in error.faults]
    details: dict[str, object] = {**error.details}
    if "areas" in details:
        details["areas"] = ", ".join(scope_name(request, area) for area in str(details["areas"]).split(", "))
    text = _say(request, text_key(request.app[FRAME].texts, error), **details)
    return [(_FIELD_OF.get(error.code, ""), text)]


def _fault(request: web.Request, name: str, code: str) -> tuple[str, str]:
    first = official_languages(state_of(request.app[FRAME].node))[0]
    field = {"names": f"name.{first}", "informal": f"informal.{first}", "competence": f"competence.{first}",
             "languages": "language.1"}.get(name, name)  # fmt: skip
    part = "authority" if name in ("professions", "activities") else "registry"
    label = _say(request, f"{part}.{name.replace('_', '-')}")
    return field, _say(request, f"registry.fault.{code}", field=label)


def _say(request: web.Request, key: str, **values: object) -> str:
    return request.app[FRAME].texts.t(request[LANG], key, **values)


def _by_language(form: MultiMapping[Any], name: str) -> dict[str, str]:
    found = {lang: _text(form, f"{name}.{lang}") for lang in NAMES}
    return {lang: text for lang, text in found.items() if text}


def _text(form: MultiMapping[Any], name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _territory(form: MultiMapping[Any], state: State) -> tuple[str, ...]:
    """Codes of regions ticked, or written by code or name; what is neither stays as it is typed."""
    by_name = {fold(name): code for code, name in reversed(regions_of(state))}
    typed = [part for value in ticked(form, "territory") for part in _parts(value)]
    return tuple(dict.fromkeys(by_name.get(fold(part), part.upper()) for part in typed))


def _several(form: MultiMapping[Any], name: str) -> tuple[str, ...]:
    return _parts(_text(form, name))


def _parts(text: str) -> tuple[str, ...]:
    parts = (part.strip() for part in text.translate(_SPLIT).split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def page(
    request: web.Request,
    profile: Profile,
    *,
    asked: Sequence[str],
    typed: Mapping[str, str],
    registration: Registration | None = None,
    errors: Sequence[tuple[str, str]] = (),
    alike: Sequence[Authority] = (),
) -> web.Response:
    """The page on which an authority is registered: by itself, if it was invited, or by its coordinator.

    Args:
        asked: the access that is ticked.
        typed: the first user's fields.
        alike: authorities it may be; it is shown once more to say that it is another one.
    """
    return render(
        request,
        "registry/register.html",
        status=422 if errors or alike else 200,
        registration=registration,
        profile=profile,
        choices=choices(request, profile),
        access=access_choices(request, request.app[REGISTRY].desk.scopes(), only_areas=True),
        asked=asked,
        typed=typed,
        alike=alike,
        errors=errors,
    )
