"""Reads the files of a catalogue into procedures, naming every fault at once: file, line, name, reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel

from node.domain.calendars import Calendar, Calendars
from node.domain.checks import Checking, check
from node.domain.files import (
    CalendarFile,
    DefinitionFault,
    Document,
    FormFile,
    ListFile,
    Model,
    ProcedureFile,
    WorkflowFile,
    read,
    shape,
)
from node.domain.procedures import Procedure
from node.domain.resolving import Sources, public_name, resolve
from node.ids import State

__all__ = ["DefinitionFault", "Definitions", "parse_definitions"]

KINDS: Final[Mapping[str, type[BaseModel]]] = {
    "workflows": WorkflowFile,
    "procedures": ProcedureFile,
    "questions": FormFile,
    "forms": FormFile,
    "lists": ListFile,
    "calendars": CalendarFile,
}
_PROCEDURE = re.compile(r"[a-z][a-z0-9-]{0,59}/[a-z][a-z0-9-]{0,59}(\.v[0-9]+)?")
_STATE = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """All that a folder of files defines. `faults` empty: the rest can be used."""

    procedures: Mapping[tuple[str, int], Procedure]
    lists: Mapping[str, tuple[str, ...]]
    calendars: Calendars
    sources: Mapping[tuple[str, int], Sources]
    faults: tuple[DefinitionFault, ...]


@dataclass
class _Shelf:
    """Files in their shapes, by kind and by path below the kind's folder, without `.toml`."""

    faults: list[DefinitionFault] = field(default_factory=list)
    models: dict[tuple[str, str], tuple[Document, object]] = field(default_factory=dict)

    def of(self, kind: str, model: type[Model]) -> Iterator[tuple[str, Document, Model]]:
        for (k, name), (document, value) in sorted(self.models.items(), key=lambda item: item[0]):
            if k == kind and isinstance(value, model):
                yield name, document, value

    def get(self, kind: str, name: str, model: type[Model]) -> tuple[Document, Model] | None:
        found = self.models.get((kind, name))
        return (found[0], found[1]) if found and isinstance(found[1], model) else None


def parse_definitions(files: Mapping[str, str]) -> Definitions:
    """Procedures, lists and calendars from texts by path (`workflows/request.toml`)."""
    shelf = _Shelf()
    for path, text in sorted(files.items()):
        _shelve(shelf, path, text)
    lists = {name: _codes(shelf, document, file) for name, document, file in shelf.of("lists", ListFile)}
    calendars = dict(_calendars(shelf))
    procedures: dict[tuple[str, int], Procedure] = {}
    sources: dict[tuple[str, int], Sources] = {}
    for found in _sources(shelf):
        procedure = _procedure(shelf, found, lists, calendars)
        key = procedure.id, procedure.version
        if key in procedures:
            shelf.faults.append(found.procedure[0].fault("this version stands in another file too", "version"))
        procedures[key], sources[key] = procedure, found
    return Definitions(
        procedures=procedures,
        lists=lists,
        calendars=calendars,
        sources=sources,
        faults=tuple(sorted(set(shelf.faults))),
    )


def _shelve(shelf: _Shelf, path: str, text: str) -> None:
    kind, _, rest = path.partition("/")
    if kind not in KINDS or not rest.endswith(".toml"):
        shelf.faults.append(DefinitionFault(path, 1, "file", f"no definition: expected {', '.join(KINDS)} and .toml"))
        return
    document = read(path, text)
    if isinstance(document, DefinitionFault):
        shelf.faults.append(document)
        return
    model = shape(document, KINDS[kind])
    if isinstance(model, list):
        shelf.faults += model
    else:
        shelf.models[kind, rest.removesuffix(".toml")] = document, model


def _codes(shelf: _Shelf, document: Document, file: ListFile) -> tuple[str, ...]:
    for code in {code for code in file.codes if file.codes.count(code) > 1}:
        shelf.faults.append(document.fault(f"code {code} stands twice", "codes"))
    return tuple(file.codes)


def _calendars(shelf: _Shelf) -> Iterator[tuple[State, Calendar]]:
    for name, document, file in shelf.of("calendars", CalendarFile):
        if not _STATE.fullmatch(name):
            shelf.faults.append(document.fault("a calendar is named for a State", "zone"))
            continue
        for year, days in file.holidays.items():
            if any(day.year != int(year) for day in days):
                shelf.faults.append(document.fault("a day of another year", "holidays", year))
        try:
            zone = ZoneInfo(file.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            shelf.faults.append(document.fault(f"unknown zone {file.zone}", "zone"))
            continue
        state = State(name)
        yield (
            state,
            Calendar(
                state=state,
                zone=zone,
                holidays={int(year): frozenset(days) for year, days in file.holidays.items()},
                since={int(year): edition for year, edition in file.since.items()},
            ),
        )


def _sources(shelf: _Shelf) -> Iterator[Sources]:
    for name, document, file in shelf.of("procedures", ProcedureFile):
        if not _PROCEDURE.fullmatch(name):
            shelf.faults.append(document.fault("stands at procedures/<area>/<name>.toml", "version"))
            continue
        if file.area != name.partition("/")[0]:
            shelf.faults.append(document.fault(f"area {file.area}, but the folder is another", "area"))
        if public_name(name) != name and not name.endswith(f".v{file.version}"):
            shelf.faults.append(document.fault(f"version {file.version}, but the file's name says another", "version"))
        workflow = shelf.get("workflows", file.workflow, WorkflowFile)
        questions = shelf.get("questions", file.questions, FormFile) if file.questions else None
        _name_missing(shelf, document, file)
        if workflow:
            yield Sources(
                name=public_name(name),
                procedure=(document, file),
                workflow=workflow,
                forms=_used_forms(shelf, file),
                questions=questions,
            )


def _used_forms(shelf: _Shelf, file: ProcedureFile) -> dict[str, tuple[Document, FormFile]]:
    found = {name: shelf.get("forms", name, FormFile) for names in file.forms.values() for name in names}
    return {name: form for name, form in found.items() if form}


def _name_missing(shelf: _Shelf, document: Document, file: ProcedureFile) -> None:
    wanted: list[tuple[str, str, tuple[str, ...]]]
    wanted = [("workflows", file.workflow, ("workflow",)), ("questions", file.questions, ("questions",))]
    wanted += [("forms", name, ("forms", slot)) for slot, names in file.forms.items() for name in names]
    for kind, name, place in wanted:
        if name and (kind, name) not in shelf.models:
            shelf.faults.append(document.fault(f"no usable file {kind}/{name}.toml", *place))


def _procedure(
    shelf: _Shelf, sources: Sources, lists: Mapping[str, tuple[str, ...]], calendars: Calendars
) -> Procedure:
    """The procedure, with its faults put on the shelf; of a workflow cut by `without`, the whole is checked too."""
    for whole in {False, bool(sources.procedure[1].without)}:
        procedure, faults = resolve(sources, whole=whole)
        shelf.faults += faults
        checking = Checking(procedure=procedure, sources=sources, lists=lists, calendars=calendars)
        shelf.faults += check(checking)
    return resolve(sources)[0]
