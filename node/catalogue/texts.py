"""Which texts a procedure shows, by key, and which a language lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from babel.messages.pofile import PoFileError, read_po

from node.domain.procedures import Field, Procedure

LANGUAGES = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr",
    "hu", "it", "lt", "lv", "mt", "nl", "pl", "pt", "ro", "sk", "sl", "sv",
)  # fmt: skip


def text_keys(procedure: Procedure, lists: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The keys of all texts a procedure shows.

    `area.<area>`, `procedure.<id>.title`, `workflow.<flow>.{state|step|role|audience|deadline|control|choice|flag}.<n>`,
    `form.<form>.<field>`, `question.<area>.<key>`, `list.<list>.<code>`. Each may add `.help`, which nobody must have.
    """
    flow = f"workflow.{procedure.workflow}"
    keys = {f"area.{procedure.area}", f"procedure.{procedure.id}.title"}
    keys |= {f"{flow}.{kind}.{name}" for kind, name in _names(procedure)}
    keys |= {f"form.{form.name}.{f.key}" for form in procedure.forms.values() for f in form.fields}
    area = procedure.questions_set.partition("/")[0]
    keys |= {f"question.{area}.{key}" for key in procedure.questions}
    return frozenset(keys | {f"list.{name}.{code}" for name in _lists(procedure) for code in lists.get(name, ())})


def _names(procedure: Procedure) -> Iterator[tuple[str, str]]:
    tables = {
        "state": procedure.states,
        "step": procedure.steps,
        "role": procedure.roles,
        "audience": procedure.audiences,
        "deadline": procedure.deadlines,
    }
    for kind, names in tables.items():
        yield from ((kind, name) for name in names)
    for step in procedure.steps.values():
        if step.flag:
            yield "flag", step.flag
        for control in step.control.values():
            yield "control", control.name
            yield from (("choice", choice) for choice in control.choices)


def _lists(procedure: Procedure) -> set[str]:
    fields: list[Field] = [f for form in procedure.forms.values() for f in form.fields]
    return {f.list for f in (*fields, *procedure.questions.values()) if f.list}


def texts_of(folder: Path, language: str) -> Mapping[str, str]:
    """Key -> text of every `.po` file of a language; keys without a text are left out.

    Raises:
        ValueError: a file is not a message catalogue.
    """
    found: dict[str, str] = {}
    for path in sorted((folder / "locale" / language).glob("*.po")):
        try:
            with path.open("rb") as file:
                catalogue = read_po(file, locale=language, abort_invalid=True)
        except (PoFileError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from error
        found |= {str(m.id): str(m.string) for m in catalogue if m.id and m.string and not m.fuzzy}
    return found
