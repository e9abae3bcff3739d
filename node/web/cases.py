"""One case: what it is, what was asked and answered, who did what, and whether it arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from aiohttp import web
from markupsafe import Markup

from node.casework.views import (
    CaseView,
    Delivery,
    Due,
    Entry,
    File,
    FormView,
    Offer,
    Official,
    PartyView,
    QuestionView,
)
from node.domain.procedures import ANSWERS, COMMENTS
from node.errors import ImiError
from node.ids import AuthorityId, NodeId, parse_number, state_of
from node.pages import render
from node.web.acting import case_at, official_of, step_at
from node.web.forms import is_fixed, keys_control
from node.web.keys import CASEWORK, DIRECTORY
from node.web.wording import Words, words_of

_DELIVERY_TAGS: Final = {
    "received": "good",
    "sending": "waiting",
    "waiting": "waiting",
    "parked": "late",
    "refused": "late",
}
_URGENCY: Final = {"overdue": 0, "soon": 1, "later": 2, "waiting": 3}
MANY: Final = 3  # other parties; more are told in numbers
routes = web.RouteTableDef()


@routes.get("/cases/{number}")
async def show(request: web.Request) -> web.Response:
    """A case as the official may see it. Raises UnknownCase, CaseErased, NoAccess."""
    number, official = parse_number(request.match_info["number"]), official_of(request)
    case = await request.app[CASEWORK].case(official, number)
    words = words_of(request)
    named = await asyncio.to_thread(_names, request, words, case)
    shown = Showing(words, case, named, official)
    return render(
        request,
        "cases/case.html",
        case=case,
        section="requests" if case.kind == "request" else "alerts",
        title=words.title(case.procedure, case.facts),
        state_word=words.flow(case.procedure, "state", case.state),
        tag="good" if case.final else "blocked" if case.blocked else "yours" if case.our_turn else "theirs",
        procedure=words.procedure(case.procedure),
        facts=shown.facts(),
        forms=shown.forms(),
        questions=[shown.question(question) for question in case.questions],
        parties=[shown.party(party) for party in case.parties],
        timeline=[shown.entry(entry) for entry in case.timeline],
        files=[shown.file(file) for file in case.files],
        deliveries=[shown.delivery(delivery) for delivery in case.deliveries],
        due=[shown.due(due) for due in case.deadlines],
        acts=shown.acts(),
        kept=[(shown.act(d.step), words.flow(case.procedure, "step", d.step)) for d in case.drafts if d.step],
        acting_for=named[case.authority] if case.authority != official.own else "",
        act_for=[(named[other], case_at(official, number, other)) for other in case.authorities[1:]],
    )


@routes.get("/cases/{number}/files/{sha256:[0-9a-f]{64}}")
async def download(request: web.Request) -> web.StreamResponse:
    """A file, only for saving: no browser shows or runs it. Raises UnknownCase, UnknownFile, FileNotHere."""
    number = parse_number(request.match_info["number"])
    file, chunks = await request.app[CASEWORK].fetch_file(official_of(request), number, request.match_info["sha256"])
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(file.size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    answer = web.StreamResponse(headers=headers)
    await answer.prepare(request)
    async for chunk in chunks:
        await answer.write(chunk)
    await answer.write_eof()
    return answer


def _names(request: web.Request, words: Words, case: CaseView) -> Mapping[AuthorityId, Markup]:
    """The name of every authority of a case, for this reader."""
    known = {party.authority: party.name for party in case.parties}
    known |= {entry.author: entry.author_name for entry in case.timeline}
    known |= {party.handled_by: party.handled_by_name for party in case.parties if party.handled_by}
    known |= {authority: known.get(authority, authority) for authority in case.authorities}
    return {authority: _name(request, words, authority, name) for authority, name in known.items()}


def _name(request: web.Request, words: Words, authority: AuthorityId, stored: str) -> Markup:
    try:
        name, lang = request.app[DIRECTORY].get(authority).name_in(words.lang)
    except ImiError:  # it left the directory
        return Markup("{}").format(stored)
    return Markup('<span lang="{}">{}</span>').format(lang, name)


class Showing:
    """The parts of a case's page in words."""

    def __init__(self, words: Words, case: CaseView, named: Mapping[AuthorityId, Markup], official: Official) -> None:
        self.words, self.case, self.named, self.official = words, case, named, official
        self.procedure = case.procedure

    def facts(self) -> list[tuple[Markup, Markup | str, Markup | str]]:
        """Other side, holder of the turn, the nearest deadline, delivery."""
        words, case = self.words, self.case
        others = [party for party in case.parties if not party.ours and not party.former]
        facts: list[tuple[Markup, Markup | str, Markup | str]] = [
            (words.say("cases.fact.other"), *self._others(others))
        ]
        holder = [party for party in case.parties if party.turn]
        if holder:
            name = words.say("cases.fact.you") if holder[0].ours else self._authority(holder[0].authority)
            facts.append((words.say("cases.fact.holder"), name, self._roles(holder[0])))
        if due := self._nearest():
            label = words.flow(self.procedure, "deadline", due.name)
            facts.append((label, words.date(due.on.isoformat()), words.due(due)))
        facts.append((words.say("cases.fact.delivery"), words.delivery(case.deliveries), ""))
        return facts

    def _others(self, others: Sequence[PartyView]) -> tuple[Markup, Markup]:
        if len(others) > MANY:
            received = sum(bool(party.flags) for party in others)
            small = self.words.say("cases.flagged", count=received) if received else Markup("")
            return self.words.say("cases.parties-count", count=len(others)), small
        names = Markup("<br>").join(self._authority(party.authority) for party in others)
        countries = dict.fromkeys(party.state for party in others)
        return names, Markup(", ").join(self.words.say(f"list.country.{state}") for state in countries)

    def _nearest(self) -> Due | None:
        """The deadline to show first: of those who have the turn, the soonest."""
        running = [due for due in self.case.deadlines if due.role] or list(self.case.deadlines)
        return min(running, key=lambda due: (_URGENCY[due.urgency], due.at), default=None)

    def _authority(self, authority: AuthorityId) -> Markup:
        return self.named.get(authority) or Markup("{}").format(authority)

    def _roles(self, party: PartyView) -> Markup:
        return Markup(", ").join(self.words.flow(self.procedure, "role", role) for role in party.roles)

    def due(self, due: Due) -> tuple[Markup, str, Markup]:
        """A deadline: its name, last day, and how long there is."""
        label = self.words.flow(self.procedure, "deadline", due.name)
        return label, self.words.date(due.on.isoformat()), self.words.due(due)

    def forms(self) -> list[Mapping[str, object]]:
        """The forms of the case, each with its fields in words; what only the timeline tells is left to it."""
        found: list[Mapping[str, object]] = []
        for form in self.case.forms:
            entry = self._giver(form)
            if form.fields and not (entry and self._is_lane(entry)):
                step = self.words.flow(self.procedure, "step", entry.step) if entry else ""
                found.append({"rows": self._rows(form), "data": _data(form), "name": form.name, "step": step})
        return found

    def _giver(self, form: FormView) -> Entry | None:
        """The newest counting step that gave a form."""
        given = (e for e in self.case.timeline if e.state == "counts" and any(f.name == form.name for f in e.forms))
        return next(given, None)

    def _rows(self, form: FormView) -> list[tuple[Markup, Markup]]:
        spec = self.procedure.forms.get(form.name)
        order = [field.key for field in spec.fields] if spec else list(self.procedure.questions)
        rows = []
        for given in sorted(form.fields, key=lambda f: order.index(f.key) if f.key in order else len(order)):
            field = (
                self.procedure.questions.get(given.key)
                if form.name in {ANSWERS, COMMENTS}
                else spec and spec.field(given.key)
            )
            if field:
                label = self.words.say(self.words.field_key(self.procedure, form.name, given.key))
                value = self.words.values(field, given.value, form=form.name)
                rows.append((label, self._faulty(value, given.fault)))
        return rows

    def _faulty(self, value: Markup, fault: str) -> Markup:
        if not fault:
            return value
        return Markup('{} <span class="late-text">{}</span>').format(value, self.words.say("cases.faulty-value"))

    def question(self, question: QuestionView) -> Mapping[str, object]:
        """A question with its answers, the newest last."""
        words = self.words
        key = words.field_key(self.procedure, ANSWERS, question.key)
        return {
            "label": words.say(key),
            "open": question.open,
            "data": question.spec.data if question.spec else "P",
            "remark": words.values(question.spec, question.comment, form=COMMENTS)
            if question.spec and question.comment
            else "",
            "answers": [
                {
                    "value": self._faulty(words.values(question.spec, answer.value, form=ANSWERS), answer.fault),
                    "author": self._authority(answer.author),
                    "at": answer.at,
                }
                for answer in question.answers
                if question.spec
            ],
        }

    def party(self, party: PartyView) -> list[Markup]:
        """A row of the table of parties."""
        words = self.words
        country = words.say(f"list.country.{party.state}")
        name = Markup("{}<br><small>{}</small>").format(self._authority(party.authority), country)
        if party.ours:
            name += Markup(" <small>· {}</small>").format(words.say("cases.you"))
        if party.handled_by:
            by = words.say("cases.handled-by", name=self._authority(party.handled_by))
            name += Markup("<br><small>{}</small>").format(by)
        roles = words.say("cases.former") if party.former else self._roles(party)
        flags = Markup(", ").join(words.flow(self.procedure, "flag", flag) for flag in party.flags)
        return [name, roles, flags or Markup("–")]

    def entry(self, entry: Entry) -> Mapping[str, object]:
        """One line of the timeline, with what was said in it."""
        words = self.words
        winner = next((e for e in self.case.timeline if e.event == entry.superseded_by), None)
        step = (
            words.say("cases.received") if entry.step == "received" else words.flow(self.procedure, "step", entry.step)
        )
        by = (
            Markup("{} · {}").format(self._authority(entry.author), entry.official)
            if entry.official
            else self._authority(entry.author)
        )
        return {
            "title": step,
            "by": by,
            "at": entry.at,
            "internal": entry.scope != "case",
            "state": "" if entry.state == "counts" else words.say(f"cases.event.{entry.state}"),
            "winner": words.flow(self.procedure, "step", winner.step) if winner else "",
            "control": self._control(entry),
            "rows": [row for form in entry.forms if form.state == "readable" for row in self._rows(form)]
            if self._is_lane(entry)
            else [],
            "hidden": [
                words.say(f"cases.part.{form.state}")
                for form in entry.forms
                if form.state not in {"readable", "faulty"}
            ],
        }

    def _is_lane(self, entry: Entry) -> bool:
        """Whether the timeline shows what a step says: notes and messages, whose forms come again and again."""
        step = self.procedure.step(entry.step)
        return step is not None and not step.moves

    def _control(self, entry: Entry) -> list[tuple[Markup, Markup]]:
        """Authorities, dates and choices that a step named; questions stand on the page already."""
        step = self.procedure.step(entry.step)
        rows = []
        for name, value in entry.control.items():
            spec = step.control.get(name) if step else None
            if spec is None or spec.type == "keys":
                continue
            values = (value,) if isinstance(value, str) else tuple(value)
            shown = [self._control_word(spec.type, word) for word in values[:MANY]]
            if len(values) > MANY:
                shown.append(self.words.say("cases.and-others", count=len(values) - MANY))
            rows.append((self.words.flow(self.procedure, "control", name), Markup(", ").join(shown)))
        return rows

    def _control_word(self, kind: str, word: str) -> Markup:
        if kind in {"authority", "authorities"}:
            return self._authority(AuthorityId(word))
        if kind == "choice":
            return self.words.flow(self.procedure, "choice", word)
        return Markup("{}").format(self.words.date(word) if kind == "date" else word)

    def file(self, file: File) -> tuple[str, str, Markup]:
        """Name, address and small print of a file."""
        by = self._authority(file.by) if file.by else Markup("")
        here = Markup("") if file.here else Markup(" · {}").format(self.words.say("cases.file-not-here"))
        small = Markup("{} · {} · {}{}").format(by, self.words.size(file.size), file.lang.upper(), here)
        case = case_at(self.official, f"{self.case.number}/files/{file.sha256}", self.case.authority)
        return file.name, case if file.here else "", small

    def delivery(self, delivery: Delivery) -> Mapping[str, object]:
        """One node: which State's, whether it has all, since when or how often it was tried."""
        return {
            "country": self._node(delivery.node),
            "tag": _DELIVERY_TAGS[delivery.state],
            "state": self.words.say(f"delivery.{delivery.state}"),
            "delivery": delivery,
        }

    def _node(self, node: NodeId) -> Markup:
        country = self.words.say(f"list.country.{state_of(node)}")
        return Markup("{} ({})").format(country, node) if "-" in node else country

    def act(self, step: str) -> str:
        """The address where a step is filled in."""
        return f"/cases/{self.case.number}/act/{step_at(self.official, step, self.case.authority)}"

    def acts(self) -> list[tuple[Markup, str, str]]:
        """Label, address and rank of the steps this official may take: the first of them foremost."""
        offers = sorted(self.case.offers, key=self._rank)
        return [
            (
                self.words.flow(self.procedure, "step", offer.step.name),
                self.act(offer.step.name),
                "primary" if number == 0 and offer.moves and self.case.our_turn else "secondary",
            )
            for number, offer in enumerate(offers)
        ]

    def _rank(self, offer: Offer) -> tuple[bool, ...]:
        """Moves before notes, what answers all before what answers some, taking back last; else as they are declared."""
        keys = keys_control(offer)
        answers_all = keys is not None and is_fixed(offer, keys) and ANSWERS in offer.step.forms
        return not offer.moves, offer.internal, offer.step.race == "wins", not answers_all


def _data(form: FormView) -> str:
    """The strictest data class of a form's fields."""
    classes = {field.personal for field in form.fields}
    return "PS" if "PS" in classes else "P" if "P" in classes else "none"
