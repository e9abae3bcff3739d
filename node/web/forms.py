"""Forms of steps as fields to fill, and what was typed as the values of `node.domain.forms`.

A field of a page is named `f.<form>.<field>.<type>`, a control value `c.<control>`, a file to take away `x.<form>.<field>`.
Nothing is judged here: what cannot be read stays as typed, and the domain finds the fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from node.casework.views import FormSpec, Offer
from node.domain.forms import CANNOT_SAY, COMMENT, MAX_TEXT, by_type
from node.domain.procedures import ANSWERS, COMMENTS, Control, Field, Procedure
from node.web.wording import Words

TEXT: Final = "text"
DOCUMENT: Final = "document"
_DATE: Final = re.compile(r"\s*(\d{1,4})\s*[-./\s]\s*(\d{1,2})\s*[-./\s]\s*(\d{1,4})\s*\.?\s*")
_AMOUNT: Final = re.compile(r"(-?\d+)(?:[.,](\d{1,2}))?(?: ?([A-Za-z]{3}))?")

Typed = Mapping[str, str]  # names of the page's fields -> what was typed
Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One thing to fill in; `kind` is the answer type, or question for one that may be asked."""

    name: str
    kind: str
    label: Markup | str
    hint: Markup | str = ""
    value: str = ""
    lang: str = ""  # the language of what was typed
    options: tuple[tuple[str, Markup | str], ...] = ()
    required: bool = False
    document: Mapping[str, object] | None = None
    folded: bool = False  # shown on demand, unless something stands in it
    remove: str = ""  # the name of the tick that takes a document away


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A field or question with its inputs, one for each answer type, and what depends on it below."""

    form: str
    key: str
    label: Markup | str
    hint: Markup | str
    personal: str
    inputs: tuple[Input, ...]
    when: Markup | str = ""  # "If yes", for one that depends on the box around it
    ticked: bool | None = None  # whether a question is chosen; None: there is nothing to choose
    after: tuple[Box, ...] = ()
    remark: Markup | str = ""  # what the other side said to the question

    @property
    def name(self) -> str:
        """Where a fault of the whole is shown."""
        return self.inputs[0].name if self.inputs else f"q.{self.key}"

    @property
    def is_written(self) -> bool:
        """Whether something of it is in a language: a text or a document, in it or below."""
        here = any(given.kind in (TEXT, DOCUMENT) for given in self.inputs)
        return here or any(box.is_written for box in self.after)


class Boxes:
    """Makes the boxes of an offer's forms, filled with a draft's content."""

    def __init__(
        self, words: Words, procedure: Procedure, lists: Lists, content: Mapping[str, Mapping[str, object]]
    ) -> None:
        self.words, self.procedure, self.lists, self.content = words, procedure, lists, content

    def of(
        self, spec: FormSpec, wanted: Callable[[Field], bool], remarks: Mapping[str, Markup] | None = None
    ) -> tuple[Box, ...]:
        """The boxes of a form's fields that are wanted, those with a condition below what they depend on."""
        fields = [field for field in spec.fields if wanted(field)]
        known = {field.key for field in fields}
        tops = [field for field in fields if not field.when or field.when.left not in known]
        return tuple(self._box(spec, field, fields, remarks or {}) for field in tops)

    def questions(self, keys: tuple[str, ...], chosen: Iterable[str], *, comments: bool) -> tuple[Box, ...]:
        """Questions to tick, each with room for a comment."""
        ticked, found = set(chosen), [self.procedure.questions[key] for key in keys]
        known = set(keys)

        def box(field: Field) -> Box:
            below = tuple(box(f) for f in found if f.when and f.when.left == field.key)
            inputs = (self._comment(field),) if comments else ()
            return self._plain_box(COMMENTS, field, inputs, below, ticked=field.key in ticked)

        return tuple(box(field) for field in found if not field.when or field.when.left not in known)

    def _comment(self, field: Field) -> Input:
        given = self.content.get(COMMENTS, {}).get(field.key)
        text, lang = _text_of(given)
        label = self.words.say("cases.comment")
        return Input(
            name=f"f.{COMMENTS}.{field.key}.{TEXT}", kind=TEXT, label=label, value=text, lang=lang, folded=True
        )

    def _box(self, spec: FormSpec, field: Field, fields: list[Field], remarks: Mapping[str, Markup]) -> Box:
        below = tuple(
            self._box(spec, other, fields, remarks) for other in fields if other.when and other.when.left == field.key
        )
        inputs = tuple(self._inputs(spec, field))
        return self._plain_box(spec.name, field, inputs, below, remark=remarks.get(field.key, ""))

    def _plain_box(
        self,
        form: str,
        field: Field,
        inputs: tuple[Input, ...],
        below: tuple[Box, ...],
        *,
        ticked: bool | None = None,
        remark: Markup | str = "",
    ) -> Box:
        key = self.words.field_key(self.procedure, form, field.key)
        return Box(
            form=form,
            key=field.key,
            label=self.words.say(key),
            hint=self.words.maybe(f"{key}.help"),
            personal=field.data,
            inputs=inputs,
            when=self._when(form, field),
            ticked=ticked,
            after=below,
            remark=remark,
        )

    def _when(self, form: str, field: Field) -> Markup | str:
        if not field.when:
            return ""
        spec = self.procedure.forms.get(form)
        parent = spec.field(field.when.left) if spec else self.procedure.questions.get(field.when.left)
        kind = parent.answers[0] if parent else ""
        word = self.words.value(parent, kind, field.when.right) if parent else field.when.right
        return self.words.say("cases.if" if field.when.operator == "=" else "cases.if-not", answer=word)

    def _inputs(self, spec: FormSpec, field: Field) -> Iterator[Input]:
        answer = spec.name == ANSWERS
        given = dict(by_type(field, self.content.get(spec.name, {}).get(field.key), answer=answer))
        required = field.required or answer
        label = self.words.say(self.words.field_key(self.procedure, spec.name, field.key))
        for number, kind in enumerate(field.answers):
            shown = label if number == 0 else self.words.say(f"cases.type.{kind}")
            yield self._input(spec.name, field, kind, given.get(kind), shown, required=required and number == 0)
        if answer:
            for kind in (COMMENT, CANNOT_SAY):
                yield self._input(
                    spec.name, field, kind, given.get(kind), self.words.say(f"cases.{kind}"), required=False
                )

    def _input(self, form: str, field: Field, kind: str, value: object, label: Markup, *, required: bool) -> Input:
        name = f"f.{form}.{field.key}.{kind}"
        if kind in (TEXT, COMMENT, CANNOT_SAY):
            text, lang = _text_of(value)
            folded = kind != TEXT
            return Input(name=name, kind=TEXT, label=label, value=text, lang=lang, required=required, folded=folded)
        if kind == DOCUMENT:
            document = value if isinstance(value, Mapping) else None
            return Input(
                name=name, kind=kind, label=label, document=document, remove=f"x.{form}.{field.key}", required=required
            )
        shown = value if isinstance(value, str) else ""
        shown = self.words.typed_date(shown) if kind == "date" else shown
        return Input(
            name=name, kind=kind, label=label, value=shown, options=self._options(field, kind), required=required
        )

    def _options(self, field: Field, kind: str) -> tuple[tuple[str, Markup | str], ...]:
        if kind == "list":
            codes = self.lists.get(field.list, ())
            return tuple((code, self.words.plain(f"list.{field.list}.{code}")) for code in codes)
        codes = {"yes-no-unknown": ("yes", "no", "unknown"), "check": ("confirmed", "corrected")}.get(kind, ())
        return tuple((code, self.words.say(f"answer.{code}")) for code in codes)


def read_fields(
    spec: FormSpec, wanted: Callable[[Field], bool], typed: Typed, lang: str, old: Mapping[str, object]
) -> dict[str, object]:
    """A form's content from what was typed; fields of other pages and documents stay as they were in `old`."""
    content = {key: value for key, value in old.items() if not any(f.key == key and wanted(f) for f in spec.fields)}
    for field in filter(wanted, spec.fields):
        value = (
            _read_comment(field, typed, lang) if spec.name == COMMENTS else _read_field(spec, field, typed, lang, old)
        )
        if value:
            content[field.key] = value
    return content


def _read_comment(field: Field, typed: Typed, lang: str) -> object:
    return _text_value(typed.get(f"f.{COMMENTS}.{field.key}.{TEXT}", ""), lang)


def _read_field(spec: FormSpec, field: Field, typed: Typed, lang: str, old: Mapping[str, object]) -> object:
    answer = spec.name == ANSWERS
    before = by_type(field, old.get(field.key), answer=answer)
    kinds = (*field.answers, COMMENT, CANNOT_SAY) if answer else field.answers
    found: dict[str, object] = {}
    for kind in kinds:
        name = f"f.{spec.name}.{field.key}.{kind}"
        if kind == DOCUMENT:
            value = None if typed.get(f"x.{spec.name}.{field.key}") else before.get(DOCUMENT)
        elif kind in (TEXT, COMMENT, CANNOT_SAY):
            value = _text_value(typed.get(name, ""), lang)
        else:
            value = read_typed(kind, typed.get(name, ""))
        if value:
            found[kind] = value
    if answer or len(field.answers) > 1:
        return found
    return found.get(field.answers[0])


def read_typed(kind: str, typed: str) -> str:
    """A date, number or amount as the domain writes it; as typed where it is none."""
    typed = typed.strip()
    if kind == "date":
        return read_date(typed)
    if kind == "number":
        return typed.replace(" ", "").replace(",", ".")
    amount = _AMOUNT.fullmatch(typed) if kind == "money" else None
    if amount:
        whole, cents, currency = amount.groups()
        return f"{whole}.{(cents or '0').ljust(2, '0')} {(currency or 'EUR').upper()}"
    return typed


def read_date(typed: str) -> str:
    """`1 9 2014`, `01.09.2014` or `2014-09-01` as 2014-09-01; anything else as it was typed."""
    match = _DATE.fullmatch(typed)
    if match is None:
        return typed
    first, month, last = match.groups()
    year, day = (first, last) if len(first) == 4 else (last, first)
    return f"{year}-{int(month):02}-{int(day):02}" if len(year) == 4 and len(day) <= 2 else typed


def asked_questions(typed: Iterable[str], offer: Offer) -> list[str]:
    """The questions that were ticked, as far as they may be chosen."""
    ticked = set(typed)
    return [key for key in offer.questions if key in ticked]


def keys_control(offer: Offer) -> Control | None:
    """The control that chooses questions, if the step has one."""
    return next((control for control in offer.step.control.values() if control.type == "keys"), None)


def is_fixed(offer: Offer, control: Control) -> bool:
    """Whether a step takes all the questions that it may name, so that there is nothing to choose."""
    return any(c.left == control.name and c.operator == "=" for c in offer.step.needs)


def _text_value(typed: str, lang: str) -> dict[str, str] | None:
    text = typed.replace("\r\n", "\n").strip()
    return {"text": text[: MAX_TEXT + 1], "lang": lang} if text else None


def _text_of(value: object) -> tuple[str, str]:
    """Text and language of a text value; empty for none."""
    return (str(value.get("text", "")), str(value.get("lang", ""))) if isinstance(value, Mapping) else ("", "")
