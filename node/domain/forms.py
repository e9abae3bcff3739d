"""Content of parts: which values a field takes, and what is wrong with the ones given.

A value, by answer type: `yes-no-unknown` yes, no, unknown; `list` a code; `date` 2026-11-27; `text`
`{text, lang}`; `number` "12.5"; `money` "300.00 EUR"; `document` `{sha256, size, name, type, lang}`; `check`
confirmed, corrected; `register-link` an https address. A field with several types takes an object keyed by type.
An answer to a question is always keyed by type, may add `comment` (a text), and may be `{"cannot-say": text}` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from node.domain.events import Value
from node.domain.procedures import Field, Procedure, Step

Lists = Mapping[str, frozenset[str]]  # list -> its codes
Content = Mapping[str, Mapping[str, object]]  # form -> field -> value


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a form: `missing`, `unknown-field`, `malformed`, `too-long`, `not-in-list`, `not-asked`."""

    form: str
    field: str
    code: str


def validate(fields: Iterable[Field], content: Mapping[str, object], lists: Lists, *, form: str = "") -> list[Fault]:
    """What is wrong with one form's content."""
    raise NotImplementedError


def validate_step(
    procedure: Procedure, step: Step, control: Mapping[str, Value], content: Content, lists: Lists
) -> list[Fault]:
    """What is wrong with all the forms of a step together, answers included; empty: it can be sent."""
    raise NotImplementedError


def validate_part(
    procedure: Procedure, step: Step, control: Mapping[str, Value], audience: str, content: Content, lists: Lists
) -> list[Fault]:
    """What is wrong with a received part: shapes, sizes, fields of another audience. The fold goes on in any case."""
    raise NotImplementedError


def by_type(field: Field, value: object) -> Mapping[str, object]:
    """A value keyed by answer type, however the field has it."""
    raise NotImplementedError


def documents(content: Content) -> Iterator[Mapping[str, object]]:
    """Every document reference in a content."""
    raise NotImplementedError
