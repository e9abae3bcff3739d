"""One edition of the catalogue, loaded and checked from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.catalogue.texts import LANGUAGES, text_keys, texts_of
from node.domain.calendars import Calendars
from node.domain.parsing import KINDS, DefinitionFault, Definitions, parse_definitions
from node.domain.procedures import Procedure
from node.errors import SetupError

MAX_FILE_BYTES: Final = 1024 * 1024
MANIFEST: Final = "manifest.json"

log = structlog.get_logger()


class MalformedCatalogue(SetupError):
    """Definition files are faulty; `faults` names every one: file, line, name, reason."""

    code = "setup.malformed-catalogue"

    def __init__(self, folder: Path, faults: tuple[DefinitionFault, ...]) -> None:
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"the catalogue in {folder} has {len(faults)} faults; mend them:\n{lines}", faults=len(faults))
        self.faults = faults


class _Manifest(BaseModel):
    """What the Commission publishes beside the files: the edition, and every file's digest."""

    model_config = ConfigDict(extra="forbid", strict=True)

    edition: Annotated[int, Field(ge=0, le=1_000_000)]
    files: dict[str, Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """An edition: everything frozen, safe to share between threads."""

    folder: Path
    edition: int  # 0: as shipped with the code
    procedures: Mapping[tuple[str, int], Procedure]  # by id and version
    lists: Mapping[str, tuple[str, ...]]
    calendars: Calendars

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """The catalogue in a folder.

        Reads the six kinds of definition below it, and `manifest.json` where there is one (else edition 0).

        Raises:
            MalformedCatalogue: with all faults at once; a faulty edition is refused whole.
        """
        files, faults = _read(folder)
        edition = _edition(folder, files, faults)
        definitions = parse_definitions({path: data.decode(errors="replace") for path, data in files.items()})
        faults += definitions.faults
        if not definitions.procedures and not faults:
            faults.append(DefinitionFault("procedures", 1, "file", "no procedure here: not a catalogue's folder"))
        faults += _lacking(folder, definitions)
        if faults:
            raise MalformedCatalogue(folder, tuple(sorted(set(faults))))
        return cls(
            folder=folder,
            edition=edition,
            procedures=definitions.procedures,
            lists=definitions.lists,
            calendars=definitions.calendars,
        )

    def procedure(self, procedure: str, version: int | None = None) -> Procedure | None:
        """A version of a procedure; the newest without one."""
        versions = {v: p for (name, v), p in self.procedures.items() if name == procedure}
        return versions.get(max(versions, default=0) if version is None else version)

    def current(self) -> tuple[Procedure, ...]:
        """The newest version of each procedure, by id: what a new case may be opened in."""
        names = sorted({name for name, _ in self.procedures})
        return tuple(found for name in names if (found := self.procedure(name)))

    def by_digest(self, digest: str) -> Procedure | None:
        """The procedure a first event froze."""
        return self._digests.get(digest)

    def text_keys(self, procedure: Procedure) -> frozenset[str]:
        """The keys of all texts a procedure shows."""
        return text_keys(procedure, self.lists)

    def missing_texts(self, language: str) -> tuple[str, ...]:
        """The keys of the current procedures that have no text in a language, sorted."""
        wanted = {key for procedure in self.current() for key in self.text_keys(procedure)}
        return tuple(sorted(wanted - texts_of(self.folder, language).keys()))

    @cached_property
    def _digests(self) -> Mapping[str, Procedure]:
        return {procedure.digest: procedure for procedure in self.procedures.values()}


def _read(folder: Path) -> tuple[dict[str, bytes], list[DefinitionFault]]:
    files: dict[str, bytes] = {}
    faults: list[DefinitionFault] = []
    for path in _definition_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            data = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else None
        except OSError as error:
            faults.append(DefinitionFault(name, 1, "file", f"cannot be read: {error.strerror}"))
            continue
        if data is None:
            faults.append(DefinitionFault(name, 1, "file", "larger than 1 MiB"))
        elif line := _foreign_bytes(data):
            faults.append(DefinitionFault(name, line, "file", "not UTF-8"))
        else:
            files[name] = data
    return files, faults


def _definition_files(folder: Path) -> Iterator[Path]:
    for kind in KINDS:
        yield from sorted(path for path in (folder / kind).rglob("*") if path.is_file() and path.name[0] != ".")


def _foreign_bytes(data: bytes) -> int:
    """The line of the first byte that is not UTF-8; 0 where all are."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return data[: error.start].count(b"\n") + 1
    return 0


def _edition(folder: Path, files: Mapping[str, bytes], faults: list[DefinitionFault]) -> int:
    path = folder / MANIFEST
    if not path.exists():
        return 0
    try:
        manifest = _Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        faults.append(DefinitionFault(MANIFEST, 1, "file", f"not a manifest: {str(error).splitlines()[0]}"))
        return 0
    held = {name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in files.items()}
    listed = {name: digest for name, digest in manifest.files.items() if name.partition("/")[0] in KINDS}
    differing = sorted(name for name in held.keys() | listed.keys() if held.get(name) != listed.get(name))
    faults += [DefinitionFault(name, 1, "file", "not as the edition's manifest says") for name in differing]
    return manifest.edition


def _lacking(folder: Path, definitions: Definitions) -> Iterator[DefinitionFault]:
    """Texts missing in one of 24 languages, for procedures that say they are complete; a warning for drafts."""
    drafts = sorted({procedure.id for procedure in definitions.procedures.values() if procedure.texts == "draft"})
    if drafts:
        log.info("procedures with draft texts", procedures=drafts)
    for key, procedure in definitions.procedures.items():
        if procedure.texts == "draft":
            continue
        document = definitions.sources[key].procedure[0]
        wanted = text_keys(procedure, definitions.lists)
        for language in LANGUAGES:
            try:
                lacking = sorted(wanted - texts_of(folder, language).keys())
            except ValueError as error:
                yield document.fault(f"texts cannot be read: {error}", "texts")
                continue
            if lacking:
                reason = f'{len(lacking)} texts missing in {language}, first {lacking[0]}; or set texts = "draft"'
                yield document.fault(reason, "texts")
