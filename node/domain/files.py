"""The shape of definition files: which keys there are and what they hold. What they mean is for `resolving`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

_NAME: Final = r"^[a-z][a-z0-9-]{0,59}$"
_FILE: Final = r"^[a-z0-9][a-z0-9./-]{0,119}$"

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,59}$")]
Reference = Annotated[str, StringConstraints(pattern=_FILE)]
Names = Annotated[list[Name], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
Words = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FieldFile(_File):
    key: Code
    answer: Names
    data: Literal["none", "P", "PS"]
    list_name: str = Field("", alias="list")
    required: bool = False
    when: str = ""


class FormFile(_File):
    fields: list[FieldFile]


class RoleFile(_File):
    many: bool = False
    external: bool = False
    carries: list[Name] = []


class StateFile(_File):
    turn: str = ""
    final: bool = False


class StepFile(_File):
    source: Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = Field(alias="from")
    to: str = ""
    by: Names
    user: str = ""
    forms: Words = []
    audience: str = ""
    control: dict[Name, str] = {}
    needs: list[str] = []
    offer: list[str] = []
    assign: dict[Name, str] = {}
    admit: dict[Name, Words] = {}
    set_: dict[Name, str] = Field({}, alias="set")
    remove: dict[Name, str] = {}
    flag: str = ""
    race: Literal["", "wins", "yields"] = ""
    scope: Literal["case", "state", "authority"] = "case"
    withhold: str = ""
    release: str = ""
    spawn: str = ""
    closes: bool = False


class DeadlineFile(_File):
    start: list[str] = []
    stop: list[str] = []
    length: str = ""
    calendar: str = ""
    restart: bool = False
    date: str = ""
    extended_by: str = ""
    extension: str = ""
    times: int = 0


class MeasuresFile(_File):
    of: Name
    sent: list[Name]
    answered: list[Name]
    refused: list[Name] = []
    forwarded: list[Name] = []
    split: list[Name] = []
    referred: list[Name] = []
    accept_by: str = Field("", alias="accept-by")
    answer_by: str = Field("", alias="answer-by")
    ratings: dict[Literal["timeliness", "effort"], str] = {}
    negative: list[Code] = []


class WorkflowFile(_File):
    start: Name
    user: str = ""
    roles: dict[Name, RoleFile]
    audiences: dict[Name, list[Name]]
    variables: dict[Name, Literal["word", "keys", "date", "authority"]] = {}
    states: dict[Name, StateFile]
    forms: dict[Name, FormFile] = {}
    step: dict[Name, StepFile]
    deadlines: dict[Name, DeadlineFile] = {}
    measures: MeasuresFile | None = None


class RetentionFile(_File):
    block: str = ""
    delete: str
    start: Names = Field(["closure"], alias="from")


class CommissionFile(_File):
    receives: Name
    personal_data: bool = Field(default=False, alias="personal-data")


class SearchFile(_File):
    keys: list[Code]
    persons: list[Code] = []
    purpose: str = ""
    copy_: Literal["everywhere", "owner-only"] = Field("everywhere", alias="copy")


class ProcedureFile(_File):
    version: Annotated[int, Field(ge=1)]
    kind: Literal["request", "notification", "alert", "repository", "application"]
    area: Name
    basis: Annotated[list[str], Field(min_length=1)]
    workflow: Reference
    questions: str = ""
    without: list[str] = []
    texts: Literal["complete", "draft"] = "complete"
    scoreboard: bool = False
    forms: dict[Name, Words] = {}
    see: dict[Name, list[str]] = {}
    deadlines: dict[Name, str | dict[str, str]] = {}
    recipients: dict[str, str] = {}
    participants: dict[Name, str] = {}
    search: SearchFile | None = None
    retention: RetentionFile
    commission: CommissionFile


class ListFile(_File):
    codes: Annotated[list[Code], Field(min_length=1)]


class CalendarFile(_File):
    zone: str
    holidays: dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")], list[date]]
    since: dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")], int] = {}


Model = TypeVar("Model", bound=BaseModel)

_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


@dataclass(frozen=True, slots=True, order=True)
class DefinitionFault:
    """One fault in a definition file: where, what, why."""

    file: str
    line: int  # 1 where the place is the file as a whole
    name: str  # what is at fault: `step.send`, `deadlines.answer`
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file: its text, what TOML makes of it, and where its keys stand."""

    path: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _lines(self) -> Mapping[tuple[str, ...], int]:
        found: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(self.text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = _split(header[1])
                found.setdefault(table, number)
            elif key := _KEY.match(line):
                found.setdefault((*table, *_split(key[1])), number)
        return found

    def line(self, *place: str) -> int:
        """The line of a key, or of the nearest table around it; for an entry of a list, of the line that has it."""
        for length in range(len(place), 0, -1):
            number = self._lines.get(place[:length])
            if number:
                return self._entry(number, place[length]) if length < len(place) else number
        return 1

    def _entry(self, number: int, name: str) -> int:
        lines = self.text.splitlines()
        return next((i for i in range(number, len(lines) + 1) if f'"{name}"' in lines[i - 1]), number)

    def fault(self, reason: str, *place: str) -> DefinitionFault:
        return DefinitionFault(self.path, self.line(*place), ".".join(place) or "file", reason)


def read(path: str, text: str) -> Document | DefinitionFault:
    """A document of a TOML text, or where it is not TOML."""
    try:
        return Document(path=path, text=text, data=tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        return DefinitionFault(path, int(at[1]) if at else 1, "file", f"not TOML: {error}")


def shape(document: Document, model: type[Model]) -> Model | list[DefinitionFault]:
    """The file as its model, or every key that is unknown, missing or of the wrong type."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        return [_shape_fault(document, e) for e in error.errors(include_url=False)]


def _shape_fault(document: Document, error: Any) -> DefinitionFault:
    place = [str(word) for word in error["loc"] if word != "[key]"]
    document_place = [_entry_key(document.data, place, i) for i in range(len(place))]
    reason = {"extra_forbidden": "unknown key", "missing": "key missing"}.get(error["type"], error["msg"])
    return document.fault(reason, *document_place)


def _entry_key(data: Any, place: list[str], index: int) -> str:
    """A place's word; for the number of a field in a list, the field's key, which a reader can find."""
    for word in place[:index]:
        data = data.get(word) if isinstance(data, dict) else _item(data, word)
    entry = _item(data, place[index]) if isinstance(data, list) else None
    return str(entry["key"]) if isinstance(entry, dict) and "key" in entry else place[index]


def _item(data: Any, word: str) -> Any:
    return data[int(word)] if isinstance(data, list) and word.isdecimal() and int(word) < len(data) else None


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip('"') for part in dotted.split("."))
