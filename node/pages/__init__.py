"""The frame of all pages: templates, macros, static files, sessions, form tokens, languages, failures.

Writing a page takes three things.

A handler, anywhere in `node.web`; it needs a session unless marked `@public`:

    async def show(request: web.Request) -> web.Response:
        official = signed_in(request).official
        return render(request, "thing.html", thing=await ..., errors=())

A template in `node/pages/templates`, which writes no ECL class itself:

    {% extends "base.html" %}
    {% import "macros.html" as ui with context %}
    {% block title %}{{ t("thing.title") }}{% endblock %}
    {% block content %}
    {{ ui.heading(say("thing.title")) }}
    <form method="post">{{ ui.token() }}
      {{ ui.text_field("name", say("thing.name"), name) }}{{ ui.button(say("thing.save")) }}</form>
    {% endblock %}

Texts in `node/pages/locale/en/interface.po`; those of the catalogue (`procedure.…`, `list.country.EE`) are there too.

A template knows: `t(key, **values)` (plain, for attributes and `title`), `say(key, **values)` (HTML, marked if English),
`has_text(key)`, `day(date)`, `instant(datetime)` (in the node's zone), `authority_name(id)`, `lang`, `languages`, `csrf`,
`signed_in` (a SignedIn or None), `path`, `node`, `own_state`, `asset(name)`, `errors`. Blocks: `title`, `content`, `sticky`,
`before`. The menu marks the entry of the path; where the path does not say it: `{% set section = "requests" %}`.

A refused form is shown again: `render(request, ..., status=422, errors=[("name", "message")], name=what_was_typed)`: title,
summary and field messages follow from `errors`. An ImiError that a handler does not catch becomes a page with the text
`error.<code>`. After a POST that did something: `raise see_other("/cases/…", notice="sent")`; the next page shows the text
`notice.sent` once. POSTs without the session's token never reach a handler; `await request.post()` is there already.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from node.casework.users import SignedIn
from node.pages import static
from node.pages.failures import answer_failures, status_of, text_key
from node.pages.frame import ENVIRONMENT, country_name, environment, form_values, render, say
from node.pages.guarding import (
    LANGUAGE_COOKIE,
    MAX_UPLOAD_BYTES,
    drop_cookie,
    identify,
    protect,
    recognise,
    safe_path,
    session_cookie,
    set_cookie,
)
from node.pages.keys import FRAME, LANG, SIGNED_IN, Frame, Handler, MissingCsrf, public

MIDDLEWARES: Final = (identify, answer_failures, recognise, protect)


def application(frame: Frame) -> web.Application:
    """An application with the frame, static files, and no pages yet."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=MAX_UPLOAD_BYTES)
    app[FRAME], app[ENVIRONMENT] = frame, environment()
    app.router.add_get("/static/{digest:[0-9a-f]{16}}/{name:[a-z0-9./-]+}", static.serve)
    return app


def signed_in(request: web.Request) -> SignedIn:
    """Who asks, on a page that needs a session."""
    return request[SIGNED_IN]


def see_other(path: str, *, notice: str = "") -> web.HTTPSeeOther:
    """To be raised after a POST that did something: the browser reads the next page, with the text `notice.<notice>`."""
    mark = "&" if "?" in path else "?"
    return web.HTTPSeeOther(f"{path}{mark}done={notice}" if notice else path)


__all__ = [
    "FRAME", "LANG", "LANGUAGE_COOKIE", "SIGNED_IN", "Frame", "Handler", "MissingCsrf", "application", "country_name", "drop_cookie",
    "form_values", "public", "render", "safe_path", "say", "see_other", "session_cookie", "set_cookie", "signed_in", "status_of", "text_key",
]  # fmt: skip
