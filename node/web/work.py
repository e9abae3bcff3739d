"""The lists: what waits for the authority, its requests, its alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import Markup

from node.casework.acting import READERS
from node.casework.views import DraftItem, Official, WorkItem
from node.domain.procedures import Procedure
from node.errors import ImiError
from node.ids import AuthorityId
from node.pages import FRAME, render, see_other, signed_in
from node.web.acting import case_at, official_of, step_at
from node.web.keys import CASEWORK, CATALOGUE, CLOCK, REGISTRY
from node.web.wording import Words, words_of

REQUEST: Final = "request"  # the kind that stands on its own page; all others are told to many
OTHER_KINDS: Final = ("alert", "notification", "repository", "application")
PAGE: Final = 50
routes = web.RouteTableDef()


@routes.get("/work")
async def work(request: web.Request) -> web.Response:
    """What waits for the official's authority, by urgency. Raises NoAccess."""
    official = official_of(request)
    if not official.roles & READERS:
        raise see_other("/our-authority")  # an administrator, who reads no case
    found = await request.app[CASEWORK].work(official)
    lines = Lines(request)
    groups = [
        ("overdue", "late", [lines.row(item) for item in found.overdue]),
        ("soon", "near", [lines.row(item) for item in found.due_soon]),
        ("later", "later", [lines.row(item) for item in found.later]),
        ("waiting", "waiting", [lines.row(item) for item in found.waiting]),
    ]
    return render(
        request,
        "cases/work.html",
        groups=groups,
        counters=found.counters,
        drafts=[lines.draft(item) for item in found.drafts],
        news=new_cases(request, official),
        today=request.app[CLOCK].now(),
        tasks=await request.app[REGISTRY].tasks(official),
    )


@routes.get("/requests")
async def requests(request: web.Request) -> web.Response:
    """The authority's requests, in and out. Raises NoAccess."""
    return await _list(request, "requests", (REQUEST,))


@routes.get("/alerts")
async def alerts(request: web.Request) -> web.Response:
    """What was told to many: alerts and notifications. Raises NoAccess."""
    kinds = {p.kind for p in request.app[CATALOGUE].current()}
    return await _list(request, "alerts", tuple(kind for kind in OTHER_KINDS if kind in kinds) or ("alert",))


async def _list(request: web.Request, page: str, kinds: tuple[str, ...]) -> web.Response:
    official, lines = official_of(request), Lines(request)
    open_only, after = request.query.get("show") == "open", request.query.get("after", "")[:200]
    kind = request.query.get("kind", kinds[0])
    kind = kind if kind in kinds else kinds[0]
    found = await request.app[CASEWORK].cases(official, kind=kind, open_only=open_only, after=after, limit=PAGE)
    kept = await request.app[CASEWORK].drafts(official)
    query = {"kind": kind, "after": found.more, **({"show": "open"} if open_only else {})}
    return render(
        request,
        "cases/list.html",
        page=page,
        rows=[lines.row(item) for item in found.items],
        drafts=[lines.draft(item) for item in kept if lines.kind(item.procedure) in kinds],
        more=f"/{page}?{urlencode(query)}" if found.more else "",
        open_only=open_only,
        kinds=kinds,
        kind=kind,
        news=[new for new in new_cases(request, official) if new["kind"] in kinds],
    )


def new_cases(request: web.Request, official: Official) -> list[dict[str, str]]:
    """The buttons for new cases: one for each kind of procedure the official may open.

    `procedure` is empty where there is something to choose first: the procedure, or the authority to act for.
    """
    kinds: dict[str, list[Procedure]] = {}
    for procedure in request.app[CASEWORK].procedures(official):
        kinds.setdefault(procedure.kind, []).append(procedure)
    return [{"kind": kind, "procedure": _only(request, official, found)} for kind, found in sorted(kinds.items())]


def _only(request: web.Request, official: Official, found: Sequence[Procedure]) -> str:
    if len(found) > 1 or len(request.app[CASEWORK].openers(official, found[0], most=2)) > 1:
        return ""
    return found[0].id


class Lines:
    """Rows of lists for one reader; cells are markup."""

    def __init__(self, request: web.Request) -> None:
        self._request, self._official = request, signed_in(request).official
        self.words: Words = words_of(request)
        self._catalogue = request.app[CATALOGUE]

    def kind(self, procedure: str) -> str:
        found = self._catalogue.procedure(procedure)
        return found.kind if found else ""

    def row(self, item: WorkItem) -> Mapping[str, object]:
        """What the template shows of one case."""
        procedure = self._catalogue.procedure(item.procedure)
        words = self.words
        return {
            "href": case_at(self._official, item.number, item.authority),
            "for": self._for(item.authority, item.authority_name),
            "number": item.number,
            "title": words.title(procedure, item.facts) if procedure else Markup("{}").format(item.procedure),
            "state": words.flow(procedure, "state", item.state) if procedure else Markup("{}").format(item.state),
            "tag": words.item_tag(item),
            "other": self._other(item),
            "country": words.say(f"list.country.{item.other[:2]}") if item.other else "",
            "due": item.due,
            "due_words": words.due(item.due) if item.due and not item.final else "",
            "undelivered": item.undelivered,
            "final": item.final,
        }

    def _for(self, authority: AuthorityId, stored: str) -> Markup:
        """The body acted for; empty for the user's own authority."""
        if authority == self._official.own:
            return Markup("")
        return self.words.say("cases.for-authority", name=self._name(authority, stored))

    def _name(self, authority: AuthorityId, stored: str) -> Markup:
        frame = self._request.config_dict[FRAME]
        try:
            name, lang = frame.directory.get(authority).name_in(self.words.lang)
        except ImiError:  # it left the directory
            name, lang = stored, self.words.lang
        return Markup('<span lang="{}">{}</span>').format(lang, name)

    def _other(self, item: WorkItem) -> Markup:
        if item.other is None:
            return Markup("")
        shown = self._name(item.other, item.other_name)
        return (
            shown + Markup(" ") + self.words.say("cases.and-others", count=item.others - 1)
            if item.others > 1
            else shown
        )

    def draft(self, item: DraftItem) -> Mapping[str, object]:
        procedure = self._catalogue.procedure(item.procedure)
        words, step = self.words, step_at(self._official, item.step, item.authority)
        return {
            "href": f"/cases/{item.number}/new" if item.opens else f"/cases/{item.number}/act/{step}",
            "for": self._for(item.authority, item.authority_name),
            "number": item.number,
            "title": words.procedure(procedure) if procedure else item.procedure,
            "step": words.flow(procedure, "step", item.step) if procedure and item.step else "",
            "at": item.updated_at,
            "by": item.updated_by,
        }
