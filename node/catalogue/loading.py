"""One edition of the catalogue, loaded and checked from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.domain.calendars import Calendars
from node.domain.parsing import DefinitionFault
from node.domain.procedures import Procedure
from node.errors import SetupError


class MalformedCatalogue(SetupError):
    """Definition files are faulty; `faults` names every one: file, line, name, reason."""

    code = "setup.malformed-catalogue"

    def __init__(self, faults: tuple[DefinitionFault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults), faults=len(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """An edition: everything frozen, safe to share between threads."""

    edition: int
    procedures: Mapping[tuple[str, int], Procedure]  # by id and version
    lists: Mapping[str, tuple[str, ...]]
    calendars: Calendars
    texts: Mapping[str, Mapping[str, str]]  # language -> key -> text

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """The catalogue in a folder; raises MalformedCatalogue with all faults at once."""
        raise NotImplementedError

    def procedure(self, procedure: str, version: int | None = None) -> Procedure | None:
        """A version of a procedure; the newest without one."""
        raise NotImplementedError

    def by_digest(self, digest: str) -> Procedure | None:
        """The procedure a first event froze."""
        raise NotImplementedError

    def text_keys(self, procedure: Procedure) -> frozenset[str]:
        """The keys of all texts a procedure shows."""
        raise NotImplementedError

    def missing_texts(self, language: str) -> tuple[str, ...]:
        """The keys of all shipped procedures that have no text in a language, sorted."""
        raise NotImplementedError
