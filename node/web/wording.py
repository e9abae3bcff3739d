"""Keys of procedures and cases as words for one reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from markupsafe import Markup

from node.casework.views import Delivery, Due, WorkItem
from node.domain.forms import CANNOT_SAY, COMMENT, by_type
from node.domain.procedures import ANSWERS, COMMENTS, Field, Procedure
from node.pages import FRAME, LANG, say
from node.texts import ENGLISH, Texts, day

_WORDS: Final = ("yes-no-unknown", "check")  # answer types whose values are words of the interface
_TAGS: Final = {"overdue": "late", "soon": "near", "later": "yours", "waiting": "theirs"}


@dataclass(frozen=True, slots=True)
class Words:
    """Texts for one reader."""

    texts: Texts
    lang: str

    def say(self, key: str, /, **values: object) -> Markup:
        return say(self.texts, self.lang, key, **values)

    def plain(self, key: str, /, **values: object) -> str:
        return self.texts.t(self.lang, key, **values)

    def maybe(self, key: str) -> Markup | str:
        """A text that need not be there."""
        return self.say(key) if self.texts.has(ENGLISH, key) else ""

    def procedure(self, procedure: Procedure) -> Markup:
        return self.say(f"procedure.{procedure.id}.title")

    def flow(self, procedure: Procedure, kind: str, name: str) -> Markup:
        """The word for a state, step, role, audience, deadline, control, choice or flag."""
        return self.say(f"workflow.{procedure.workflow}.{kind}.{name}")

    def flow_help(self, procedure: Procedure, kind: str, name: str) -> Markup | str:
        return self.maybe(f"workflow.{procedure.workflow}.{kind}.{name}.help")

    def field_key(self, procedure: Procedure, form: str, field: str) -> str:
        """The key of a field's label, with `form` as steps name it."""
        if form in (ANSWERS, COMMENTS):
            return f"question.{procedure.questions_set.partition('/')[0]}.{field}"
        spec = procedure.forms.get(form)
        return f"form.{spec.name if spec else form}.{field}"

    def title(self, procedure: Procedure, facts: Mapping[str, str]) -> Markup:
        """What a case is about, in words of lists; the procedure's title where it says nothing. Never a person's name."""
        opening = {name for step in procedure.first_steps for name in step.forms}
        forms = [form for name, form in procedure.forms.items() if name in opening]
        lists = {f"{form.name}.{f.key}": f.list for form in forms for f in form.fields if f.list}
        named = [self.say(f"list.{lists[name]}.{code}") for name, code in facts.items() if name in lists]
        return Markup(", ").join(named[:2]) if named else self.procedure(procedure)

    def value(self, field: Field, kind: str, value: object) -> Markup:
        """One typed value. A text carries its language and is marked with it."""
        if isinstance(value, Mapping):
            return self._text(value) if "text" in value else self._document(value)
        if not isinstance(value, str):
            return Markup("")
        if kind == "list":
            return self.say(f"list.{field.list}.{value}")
        if kind in _WORDS:
            return self.say(f"answer.{value}")
        return Markup("{}").format(self.date(value) if kind == "date" else value)

    def date(self, value: str) -> str:
        """An ISO date in words; anything else as it is."""
        try:
            return day(datetime.fromisoformat(value).date(), self.lang)
        except ValueError:
            return value

    def typed_date(self, value: str) -> str:
        """An ISO date as it is typed: day, month, year; anything else as it is."""
        try:
            at = datetime.fromisoformat(value).date()
        except ValueError:
            return value
        return f"{at.day} {at.month} {at.year}"

    def _text(self, value: Mapping[str, object]) -> Markup:
        lang, text = str(value.get("lang", ENGLISH)), str(value.get("text", ""))
        if lang == self.lang:
            return Markup('<span lang="{}" class="lines">{}</span>').format(lang, text)
        mark = Markup('<span class="lang-mark">{}</span> ').format(lang.upper())
        return mark + Markup('<span lang="{}" class="lines">{}</span>').format(lang, text)

    def _document(self, value: Mapping[str, object]) -> Markup:
        size = value.get("size")
        shown = self.size(size) if isinstance(size, int) else ""
        return Markup("{} <small>({})</small>").format(value.get("name", ""), shown)

    def size(self, size: int) -> str:
        """The size of a file in kilobytes or megabytes."""
        kilobytes = max(1, round(size / 1000))
        return f"{kilobytes / 1000:.1f} MB" if kilobytes >= 1000 else f"{kilobytes} KB"

    def values(self, field: Field, value: object, *, form: str = "") -> Markup:
        """A whole field: all its types; of an answer also its comment, or why none can be given."""
        if form == COMMENTS:
            return self.value(field, "text", value)
        typed = dict(by_type(field, value, answer=form == ANSWERS))
        cannot, comment = typed.pop(CANNOT_SAY, None), typed.pop(COMMENT, None)
        shown = [self.value(field, kind, typed[kind]) for kind in field.answers if kind in typed]
        if cannot is not None:
            shown.append(
                Markup("{} {}").format(self.say("cases.cannot-say-because"), self.value(field, "text", cannot))
            )
        if comment is not None:
            shown.append(self.value(field, "text", comment))
        return Markup("<br>").join(word for word in shown if word)

    def due(self, due: Due) -> Markup:
        """How long there is, in words; amber when near, red when late."""
        left = due.working_days_left
        if due.urgency == "overdue":
            return Markup('<span class="late-text">{}</span>').format(self.say("cases.due.late", count=abs(left)))
        words = self.say("cases.due.left", count=left) if left else self.say("cases.due.today")
        return Markup('<span class="near-text">{}</span>').format(words) if due.urgency == "soon" else words

    def item_tag(self, item: WorkItem) -> str:
        """The kind of tag of a line in a list."""
        return "blocked" if item.final else _TAGS[item.urgency]

    def delivery(self, deliveries: Iterable[Delivery]) -> Markup:
        """In one line, whether all has arrived."""
        found = list(deliveries)
        open_ones = [d for d in found if d.state != "received"]
        if not found:
            return self.say("cases.delivery.none")
        if not open_ones:
            return self.say("cases.delivery.all", count=len(found))
        return self.say("cases.delivery.some", count=len(open_ones), nodes=", ".join(d.node for d in open_ones[:3]))


def words_of(request: web.Request) -> Words:
    """For the language that this request is answered in."""
    return Words(request.config_dict[FRAME].texts, request[LANG])
