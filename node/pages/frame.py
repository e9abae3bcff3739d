"""The Jinja environment, and `render`: a template with the frame around it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from node import texts as reading
from node.errors import ImiError
from node.ids import AuthorityId, State, state_of
from node.pages import static
from node.pages.keys import CSRF, FRAME, LANG, REQUEST_ID, SIGNED_IN, Frame
from node.texts import NAMES, Texts

TEMPLATES: Final = Path(__file__).parent / "templates"
MENU: Final = (
    ("work", "/work"),
    ("requests", "/requests"),
    ("alerts", "/alerts"),
    ("authorities", "/authorities"),
    ("registers", "/registers"),
    ("our-authority", "/our-authority"),
    ("coordination", "/coordination"),
)
_NEEDS: Final[Mapping[str, str]] = {"coordination": "data-administrator"}  # entries without a right are absent
_OWN_LANGUAGE: Final[Mapping[str, str]] = {
    "AT": "de", "BE": "nl", "BG": "bg", "CY": "el", "CZ": "cs", "DE": "de", "DK": "da", "EE": "et", "EL": "el", "ES": "es",
    "FI": "fi", "FR": "fr", "HR": "hr", "HU": "hu", "IT": "it", "LI": "de", "LT": "lt", "LU": "fr", "LV": "lv", "MT": "mt",
    "NL": "nl", "PL": "pl", "PT": "pt", "RO": "ro", "SE": "sv", "SI": "sl", "SK": "sk",
}  # fmt: skip
ENVIRONMENT: Final = web.AppKey("ENVIRONMENT", Environment)


def environment() -> Environment:
    """Templates escape everything; a name that is not there is a bug and raises."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(asset=static.url, languages=NAMES)
    return made


def render(request: web.Request, template: str, /, *, status: int = 200, **context: object) -> web.Response:
    """A page.

    Besides `context`, a template knows `t`, `say`, `day`, `instant`, `lang`, `signed_in`, `csrf`, `path`, `authority_name`
    and what the layout needs (see `node.pages`).
    """
    page = request.config_dict[ENVIRONMENT].get_template(template)
    body = page.render({**_common(request), **context})
    return web.Response(text=body, status=status, content_type="text/html", charset="utf-8")


def _common(request: web.Request) -> dict[str, object]:
    frame, lang, signed_in = request.config_dict[FRAME], request[LANG], request.get(SIGNED_IN)
    return {
        "lang": lang,
        "t": partial(frame.texts.t, lang),
        "has_text": partial(_has, frame.texts, lang),
        "say": partial(say, frame.texts, lang),
        "day": partial(_day, frame, lang),
        "instant": partial(_instant, frame, lang),
        "authority_name": partial(_authority_name, frame, lang),
        "csrf": request[CSRF],
        "signed_in": signed_in,
        "path": request.path,
        "path_qs": request.path_qs,
        "request_id": request[REQUEST_ID],
        "menu": _menu(signed_in.official.roles) if signed_in else (),
        "own_state": state_of(frame.node),
        "node": frame.node,
        **_own_name(frame),
        "errors": (),
        "notice_key": _notice(request, frame.texts),
    }


def _menu(roles: Collection[str]) -> list[tuple[str, str]]:
    return [(name, href) for name, href in MENU if name not in _NEEDS or _NEEDS[name] in roles]


def _notice(request: web.Request, texts: Texts) -> str:
    """What the act before this page did, as the key of a text; anything else in the address shows nothing."""
    key = f"notice.{request.query.get('done', '')[:40]}"
    return key if texts.has(reading.ENGLISH, key) else ""


def _own_name(frame: Frame) -> dict[str, str]:
    """The State's name in its (first) own language, as far as the catalogue has it."""
    state = state_of(frame.node)
    lang = _OWN_LANGUAGE.get(state, reading.ENGLISH)
    return {"own_name": country_name(frame.texts, lang, state), "own_lang": lang}


def say(texts: Texts, lang: str, key: str, /, **values: object) -> Markup:
    """A text as HTML; one that this language lacks is marked as English. A value that is markup stays markup."""
    places = {name: f"\ue000{n}\ue001" for n, (name, value) in enumerate(values.items()) if isinstance(value, Markup)}
    found = texts.find(lang, key, **{**values, **places})
    shown = Markup("{}").format(found.text)
    for name, place in places.items():
        shown = shown.replace(place, Markup("{}").format(values[name]))
    return shown if found.lang == lang else Markup('<span lang="{}">{}</span>').format(found.lang, shown)


def _has(texts: Texts, lang: str, key: str) -> bool:
    return texts.has(lang, key) or texts.has(reading.ENGLISH, key)


def _day(frame: Frame, lang: str, at: date | str) -> str:
    """A day, with its weekday; an instant is read in the node's zone. Accepts YYYY-MM-DD."""
    if isinstance(at, str):
        at = date.fromisoformat(at)
    return reading.day(at.astimezone(frame.zone).date() if isinstance(at, datetime) else at, lang)


def _instant(frame: Frame, lang: str, at: datetime) -> Markup:
    shown = reading.instant(at.astimezone(frame.zone), lang)
    machine = at.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(machine, shown)


def _authority_name(frame: Frame, lang: str, authority: AuthorityId) -> Markup:
    """The best name for this reader, marked with its language; the identifier of one that left the directory."""
    try:
        name, language = frame.directory.get(authority).name_in(lang)
    except ImiError:
        return Markup("{}").format(authority)
    return Markup("{}").format(name) if language == lang else Markup('<span lang="{}">{}</span>').format(language, name)


def country_name(texts: Texts, lang: str, state: State | str) -> str:
    """A State's name for a reader."""
    return texts.t(lang, f"list.country.{state}")


def form_values(form: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Fields of a form as stripped texts; what is missing or a file is empty."""
    return {name: value.strip() if isinstance(value := form.get(name, ""), str) else "" for name in names}
