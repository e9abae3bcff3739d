"""Reads the files of a catalogue into procedures, naming every fault at once: file, line, name, reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.domain.calendars import Calendars
from node.domain.procedures import Procedure


@dataclass(frozen=True, slots=True, order=True)
class DefinitionFault:
    """One fault in a definition file."""

    file: str
    line: int  # 1 where the place is the file as a whole
    name: str  # what is at fault: `step.send`, `deadlines.answer`
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """All that a folder of files defines. `faults` empty: the rest can be used."""

    procedures: Mapping[tuple[str, int], Procedure]
    lists: Mapping[str, tuple[str, ...]]
    calendars: Calendars
    faults: tuple[DefinitionFault, ...]


def parse_definitions(files: Mapping[str, str]) -> Definitions:
    """Procedures, lists and calendars from texts by path (`workflows/request.toml`)."""
    raise NotImplementedError
