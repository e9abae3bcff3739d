"""Content of parts: which values a field takes, and what is wrong with the ones given.

A value, by answer type: `yes-no-unknown` yes, no, unknown; `list` a code; `date` 2026-11-27; `text`
`{text, lang}`; `number` "12.5"; `money` "300.00 EUR"; `document` `{sha256, size, name, type, lang}`; `check`
confirmed, corrected; `register-link` an https address. A field with several types takes an object keyed by type, the
first type at least. An answer to a question is always keyed by type, may add `comment` (a text), or is
`{"cannot-say": text}` alone. A comment on a question asked is a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from node.domain.events import Value
from node.domain.procedures import ANSWERS, COMMENTS, Field, Procedure, Step

Lists = Mapping[str, Collection[str]]  # list -> its codes
Content = Mapping[str, Mapping[str, object]]  # form -> field -> value

MAX_TEXT: Final = 20_000  # characters of one free text
MAX_DOCUMENT_BYTES: Final = 20 * 1024 * 1024
COMMENT: Final = "comment"
CANNOT_SAY: Final = "cannot-say"

_LANG = re.compile(r"[a-z]{2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
_MONEY = re.compile(r"[0-9]{1,15}(\.[0-9]{2})? [A-Z]{3}")
_LINK = re.compile(r"https://[!-~]{1,500}")
_MEDIA = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}")
_UNSAFE_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a form.

    Codes: `missing`, `unknown-form`, `unknown-field`, `not-asked` (its condition fails), `malformed`, `too-long`,
    `not-in-list`.
    """

    form: str
    field: str
    code: str


def validate(fields: Iterable[Field], content: Mapping[str, object], lists: Lists, *, form: str = "") -> list[Fault]:
    """What is wrong with one form's content, as its author gives it: whole."""
    known = {field.key: field for field in fields}
    faults = [Fault(form, key, "unknown-field") for key in content if key not in known]
    for key, field in known.items():
        code = _field_fault(field, content, known, lists)
        if code:
            faults.append(Fault(form, key, code))
    return faults


def validate_step(
    procedure: Procedure, step: Step, control: Mapping[str, Value], content: Content, lists: Lists
) -> list[Fault]:
    """What is wrong with all the forms of a step together, answers included; empty: it can be sent."""
    faults = [Fault(form, "", "unknown-form") for form in content if form not in step.forms]
    for form in step.forms:
        given = content.get(form, {})
        if form == ANSWERS:
            faults += _answer_faults(procedure.answers(_asked(control)).fields, given, lists)
        elif form == COMMENTS:
            faults += _comment_faults(_asked(control), given)
        else:
            faults += validate(procedure.forms[form].fields, given, lists, form=form)
    return faults


def validate_part(
    procedure: Procedure,
    event_step: Step,
    audience: str,
    content: Content,
    lists: Lists,
    *,
    asked: tuple[str, ...] = (),
) -> list[Fault]:
    """What is wrong with a received part: forms and fields of another audience, shapes, sizes.

    What is required is not asked for: an earlier field may stand in another part. The fold goes on in any case.
    """
    layout = event_step.layout.get(audience, {})
    faults = [Fault(form, "", "unknown-form") for form in content if form not in layout]
    for form, keys in layout.items():
        given = content.get(form, {})
        if form == ANSWERS:
            known = {field.key: field for field in procedure.answers(asked).fields}
            faults += _shape_faults(form, known, given, lambda f, v: _answer_shape(f, v, lists))
        elif form == COMMENTS:
            faults += _comment_faults(asked, given)
        else:
            known = {f.key: f for f in procedure.forms[form].fields if f.key in keys}
            faults += _shape_faults(form, known, given, lambda f, v: _value_fault(f, v, lists))
    return faults


def by_type(field: Field, value: object, *, answer: bool = False) -> Mapping[str, object]:
    """A value keyed by answer type, however the field has it; an answer to a question is keyed already."""
    if answer or len(field.answers) > 1:
        return value if isinstance(value, Mapping) else {}
    return {field.answers[0]: value}


def documents(content: Content) -> Iterator[Mapping[str, object]]:
    """Every document reference in a content, also in a malformed one."""
    yield from _documents(content)


def _documents(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, Mapping):
        if "sha256" in value:
            yield value
        else:
            for inner in value.values():
                yield from _documents(inner)


def _asked(control: Mapping[str, Value]) -> tuple[str, ...]:
    keys = control.get("questions", ())
    return keys if isinstance(keys, tuple) else (keys,)


def _field_fault(field: Field, content: Mapping[str, object], known: Mapping[str, Field], lists: Lists) -> str:
    value = content.get(field.key)
    if not _is_wanted(field, content, known, answer=False):
        return "not-asked" if value is not None else ""
    if value is None:
        return "missing" if field.required else ""
    return _value_fault(field, value, lists)


def _is_wanted(field: Field, content: Mapping[str, object], known: Mapping[str, Field], *, answer: bool) -> bool:
    """Whether the condition of a field holds; one without a condition is always wanted."""
    if not field.when:
        return True
    parent = known.get(field.when.left)
    given = content.get(field.when.left)
    if parent is None or given is None:
        return False
    matches = field.when.right in (v for v in by_type(parent, given, answer=answer).values() if isinstance(v, str))
    return matches == (field.when.operator == "=")


def _value_fault(field: Field, value: object, lists: Lists) -> str:
    if len(field.answers) == 1:
        return _typed_fault(field, field.answers[0], value, lists)
    if not isinstance(value, Mapping) or not value.keys() <= set(field.answers):
        return "malformed"
    if field.answers[0] not in value:
        return "missing"
    return next((code for kind, v in value.items() if (code := _typed_fault(field, kind, v, lists))), "")


def _answer_faults(fields: tuple[Field, ...], content: Mapping[str, object], lists: Lists) -> list[Fault]:
    known = {field.key: field for field in fields}
    faults = [Fault(ANSWERS, key, "unknown-field") for key in content if key not in known]
    for key, field in known.items():
        code = _answer_fault(field, content, known, lists)
        if code:
            faults.append(Fault(ANSWERS, key, code))
    return faults


def _answer_fault(field: Field, content: Mapping[str, object], known: Mapping[str, Field], lists: Lists) -> str:
    value = content.get(field.key)
    parent_here = field.when is not None and field.when.left in known
    if parent_here and not _is_wanted(field, content, known, answer=True):
        return "not-asked" if value is not None else ""
    if value is None:  # a question whose parent was answered before may have fallen away
        return "" if field.when and not parent_here else "missing"
    return _answer_shape(field, value, lists)


def _answer_shape(field: Field, value: object, lists: Lists) -> str:
    if not isinstance(value, Mapping):
        return "malformed"
    if CANNOT_SAY in value:
        return _text_fault(value[CANNOT_SAY]) if len(value) == 1 else "malformed"
    if not value.keys() <= {*field.answers, COMMENT}:
        return "malformed"
    if field.answers[0] not in value:
        return "missing"
    return next(
        (
            code
            for kind, v in value.items()
            if (code := _text_fault(v) if kind == COMMENT else _typed_fault(field, kind, v, lists))
        ),
        "",
    )


def _comment_faults(asked: tuple[str, ...], content: Mapping[str, object]) -> list[Fault]:
    faults = []
    for key, value in content.items():
        code = _text_fault(value) if key in asked else "unknown-field"
        if code:
            faults.append(Fault(COMMENTS, key, code))
    return faults


def _shape_faults(
    form: str, known: Mapping[str, Field], content: object, fault: Callable[[Field, object], str]
) -> Iterator[Fault]:
    if not isinstance(content, Mapping):
        yield Fault(form, "", "malformed")
        return
    for key, value in content.items():
        code = fault(known[key], value) if key in known else "unknown-field"
        if code:
            yield Fault(form, key, code)


def _typed_fault(field: Field, kind: str, value: object, lists: Lists) -> str:
    match kind:
        case "text":
            return _text_fault(value)
        case "document":
            return _document_fault(value)
        case "list":
            return "" if isinstance(value, str) and value in lists.get(field.list, ()) else "not-in-list"
        case _:
            return "" if isinstance(value, str) and _PLAIN[kind](value) else "malformed"


def _text_fault(value: object) -> str:
    if not isinstance(value, Mapping) or value.keys() != {"text", "lang"}:
        return "malformed"
    text, lang = value["text"], value["lang"]
    if not isinstance(text, str) or not isinstance(lang, str) or not _LANG.fullmatch(lang):
        return "malformed"
    if not text.strip():
        return "missing"
    return "too-long" if len(text) > MAX_TEXT else ""


def _document_fault(value: object) -> str:
    if not isinstance(value, Mapping) or value.keys() != {"sha256", "size", "name", "type", "lang"}:
        return "malformed"
    size, name = value["size"], value["name"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not _is_file_name(name):
        return "malformed"
    texts = ((_SHA256, "sha256"), (_MEDIA, "type"), (_LANG, "lang"))
    if not all(isinstance(value[key], str) and pattern.fullmatch(value[key]) for pattern, key in texts):
        return "malformed"
    return "too-long" if size > MAX_DOCUMENT_BYTES else ""


def _is_file_name(name: object) -> bool:
    """Whether a text can be shown and offered as a file's name: no path, no control characters."""
    return (
        isinstance(name, str) and 0 < len(name) <= 200 and not _UNSAFE_IN_NAMES.search(name) and name not in (".", "..")
    )


def _is_date(value: str) -> bool:
    try:
        return bool(_DATE.fullmatch(value) and date.fromisoformat(value))
    except ValueError:
        return False


_PLAIN: Final[Mapping[str, Callable[[str], bool]]] = {
    "yes-no-unknown": lambda value: value in ("yes", "no", "unknown"),
    "date": _is_date,
    "number": lambda value: bool(_NUMBER.fullmatch(value)),
    "money": lambda value: bool(_MONEY.fullmatch(value)),
    "check": lambda value: value in ("confirmed", "corrected"),
    "register-link": lambda value: bool(_LINK.fullmatch(value)),
}
