"""What a review shows: each value in words, who will see it, and the way back to change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from node.directory import Directory
from node.domain.forms import Fault
from node.domain.procedures import COMMENTS, Control, Procedure
from node.errors import ImiError
from node.ids import parse_authority
from node.web import filling as pages
from node.web.filling import REVIEW, Filling
from node.web.forms import Input
from node.web.wording import Words

Row = tuple[Markup, Markup, str, str]  # label, value, address to change it (or empty), data class


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One form of a review."""

    name: str
    rows: Sequence[Row]

    @property
    def data(self) -> str:
        """The strictest data class of its rows."""
        classes = {row[3] for row in self.rows}
        return next((found for found in ("PS", "P") if found in classes), "none")


def step_line(words: Words, filling: Filling, page: str) -> list[tuple[Markup, str]]:
    """The pages of a new case with where we are; a step within a case has no line."""
    if filling.case:
        return []
    names = filling.pages
    at = names.index(page)
    status = ["done" if number < at else "now" if number == at else "next" for number in range(len(names))]
    return [(words.say(f"cases.page.{name}"), state) for name, state in zip(names, status, strict=True)]


def heading(words: Words, filling: Filling) -> Markup:
    """The procedure of a new case; the step within a case."""
    return (
        words.flow(filling.procedure, "step", filling.offer.step.name)
        if filling.case
        else words.procedure(filling.procedure)
    )


def about(words: Words, filling: Filling) -> Markup:
    """The line above the heading: the number, and what the case is about or the step that opens it."""
    if filling.case:
        return Markup("{} · {}").format(filling.number, words.title(filling.procedure, filling.case.facts))
    return Markup("{} · {}").format(filling.number, words.flow(filling.procedure, "step", filling.offer.step.name))


def plain_controls(words: Words, filling: Filling, controls: Sequence[Control]) -> list[Input]:
    """Dates, choices and case numbers as inputs."""
    found = []
    for control in controls:
        if control.type not in {"date", "choice", "case"}:
            continue
        value = filling.draft.control.get(control.name, "")
        text = value if isinstance(value, str) else ""
        found.append(
            Input(
                name=f"c.{control.name}",
                kind=control.type,
                label=words.flow(filling.procedure, "control", control.name),
                hint=words.flow_help(filling.procedure, "control", control.name),
                value=words.typed_date(text) if control.type == "date" else text or next(iter(control.choices), ""),
                options=tuple((choice, words.flow(filling.procedure, "choice", choice)) for choice in control.choices),
                required=not control.optional,
            )
        )
    return found


def names(directory: Directory, words: Words, filling: Filling) -> dict[str, Markup]:
    """The names of all authorities that the control values name. Reads the directory: run it on a thread."""
    found = {}
    for name, spec in filling.offer.step.control.items():
        if spec.type in {"authority", "authorities"}:
            value = filling.draft.control.get(name, ())
            for authority in (value,) if isinstance(value, str) else value:
                found[authority] = _name(directory, words, authority)
    return found


def _name(directory: Directory, words: Words, authority: str) -> Markup:
    try:
        entry = directory.get(parse_authority(authority))
    except ImiError:  # taking the step will refuse it by name
        return Markup("{}").format(authority)
    name, lang = entry.name_in(words.lang)
    country = words.say(f"list.country.{entry.state}")
    return Markup('<span lang="{}">{}</span> <small>{}</small>').format(lang, name, country)


def control_rows(words: Words, filling: Filling, known: Mapping[str, Markup]) -> list[Row]:
    """The control values in words."""
    rows: list[Row] = []
    typed = filling.control()
    shown_on = {control.name for page in filling.pages for control in filling.controls(page)}
    for name, control in filling.offer.step.control.items():
        link = f"{filling.base}/{filling.page_of_control(control)}" if name in shown_on else ""
        value = _control_value(words, filling, control, typed.get(name, ""), known)
        rows.append((words.flow(filling.procedure, "control", name), value, link, "none"))
    return rows


def _control_value(
    words: Words, filling: Filling, control: Control, value: str | Sequence[str], known: Mapping[str, Markup]
) -> Markup:
    if not value:
        return words.say("cases.nothing")
    if control.type in {"authority", "authorities"}:
        named = (value,) if isinstance(value, str) else value
        return Markup("<br>").join(known.get(name, Markup("{}").format(name)) for name in named)
    if control.type == "keys":
        keys = (value,) if isinstance(value, str) else value
        return Markup("<br>").join(words.say(words.field_key(filling.procedure, COMMENTS, key)) for key in keys)
    if control.type == "choice" and isinstance(value, str):
        return words.flow(filling.procedure, "choice", value)
    shown = value if isinstance(value, str) else ", ".join(value)
    return Markup("{}").format(words.date(shown) if control.type == "date" else shown)


def form_parts(words: Words, filling: Filling, content: Mapping[str, Mapping[str, object]]) -> list[Part]:
    """The forms with what was typed, in the order of the step."""
    parts = []
    for spec in filling.offer.forms:
        given = content.get(spec.name, {})
        rows = [
            (
                words.say(words.field_key(filling.procedure, spec.name, field.key)),
                words.values(field, given[field.key], form=spec.name),
                f"{filling.base}/{filling.page_of(spec.name, field.key)}",
                field.data,
            )
            for field in spec.fields
            if field.key in given
        ]
        if rows:
            parts.append(Part(name=spec.name, rows=rows))
    return parts


def readers(words: Words, filling: Filling) -> list[Markup]:
    """Who will read something of this step."""
    audiences = sorted({audience for spec in filling.offer.forms for audience in spec.audiences})
    if filling.offer.step.scope == "authority":
        return [words.say("cases.only-ours")]
    return [words.flow(filling.procedure, "audience", audience) for audience in audiences if audience]


def change_link(filling: Filling, fault: Fault) -> str:
    """The page on which a fault is mended."""
    for page in filling.pages:
        if page != REVIEW and filling.on_page(fault, page):
            return f"{filling.base}/{page}?try=1"
    return f"{filling.base}/{pages.REVIEW}"


def kept_texts(
    words: Words, procedure: Procedure, content: Mapping[str, Mapping[str, object]]
) -> list[tuple[Markup, Markup]]:
    """What a draft says, for one whose step cannot be taken any more."""
    rows = []
    for name, given in content.items():
        spec = procedure.forms.get(name)
        for key, value in given.items():
            field = procedure.questions.get(key) if spec is None else spec.field(key)
            if field:
                label = words.say(words.field_key(procedure, name, key))
                rows.append((label, words.values(field, value, form=name)))
    return rows
