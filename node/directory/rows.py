"""What a file to import says: its rows, one authority or register each, and the record that a row makes of an older one.

CSV (a header line; comma, semicolon or tab) and JSON Lines, either also compressed with gzip; UTF-8. Files are read row by
row. What a file does not name stays as it is; what it names and leaves empty is emptied. The two row classes are the
format: docs/reference/import-format.md describes it, the schemas beside that page are made from them.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from node.directory.model import Access, Authority, Record, Register, YesNo, read_record, write_record
from node.errors import SetupError
from node.ids import AuthorityId, NodeId

MAX_LINE_BYTES: Final = 64 * 1024
MAX_COLUMNS: Final = 200
NAME: Final = 400  # characters

_MAIN_LANGUAGE: Final[Mapping[str, str]] = {  # of a name whose language nobody wrote down
    "AT": "de", "BE": "nl", "BG": "bg", "CY": "el", "CZ": "cs", "DE": "de", "DK": "da", "EE": "et", "EL": "el",
    "ES": "es", "FI": "fi", "FR": "fr", "HR": "hr", "HU": "hu", "IE": "en", "IS": "is", "IT": "it", "LI": "de",
    "LT": "lt", "LU": "fr", "LV": "lv", "MT": "mt", "NL": "nl", "NO": "nb", "PL": "pl", "PT": "pt", "RO": "ro",
    "SE": "sv", "SI": "sl", "SK": "sk",
}  # fmt: skip
_WEBSITE: Final = re.compile(r"https?://[^\s<>\"]{1,500}")
_ID: Final = re.compile(r"([A-Z]{2})[:-]([a-z0-9-]{1,40})")
_REGION: Final = re.compile(r"[A-Z]{2}[0-9A-Z]{1,3}")
_TOO_LONG: Final = "\uffff"  # no character: it stands for a line that was not read
_ADDRESS: Final = ("street", "postal_code", "city", "nuts")
_LOCAL_TYPES: Final = ("municipality",)
_REGIONAL_TYPES: Final = (
    "regional_authority", "regional_or_local_authority", "regional_or_local_agency", "prefecture", "district_authority",
)  # fmt: skip

R = TypeVar("R", bound=Record)


class Lines(Protocol):
    """A file of bytes."""

    def readline(self, size: int = -1, /) -> bytes: ...


class BadImport(SetupError):
    """A file to import cannot be read; the message names file and line."""

    code = "setup.import"


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file, and where that is."""

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, or says what no record may say."""

    line: int
    reason: str


def _listed(value: object) -> object:
    """A list as a table writes it: `a|b`."""
    return [part.strip() for part in value.split("|") if part.strip()] if isinstance(value, str) else value


def _first_source(value: object) -> object:
    match value:
        case [{"source": str(first)}, *_]:
            return first
        case [] | None:
            return ""
        case _:
            return value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Texts = dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9./_-]{1,80}$")], str]


class _RowModel(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class AuthorityRow(_RowModel):
    """A row of a file of authorities."""

    id: str = Field(default="", description="Identifier in the directory, `EE:bb37c2d5c2` or `EE-bb37c2d5c2`.")
    name: str = Field(min_length=1, description="Official name, in the language `name_lang`.")
    name_lang: str = Field(default="", description="ISO 639-1; default: the State's first official language.")
    names: Texts = Field(default={}, description="Language -> official name in it.")
    informal: Texts = Field(default={}, description="Language -> short name that explains itself.")
    short_name: str = Field(default="", description="Acronym.")
    type: str = Field(default="", description="Kind of body: ministry, municipality, court …")
    level: str = Field(default="", description="national, regional, local, regional_or_local or eu.")
    parent: str = Field(default="", description="Identifier of the body it belongs to; other text is not taken over.")
    street: str = ""
    postal_code: str = ""
    city: str = ""
    nuts: str = Field(default="", description="NUTS region of the seat, level 3 where possible.")
    nuts_by: str = Field(
        default="", description="By which rule the region was found, where the source did not name it."
    )
    territory: Words = Field(default=(), description="NUTS regions it is competent for; none: the whole State.")
    areas: Words = Field(default=(), description="Legal areas.")
    professions: Words = ()
    activities: Words = ()
    keywords: Words = ()
    competence: Texts = Field(default={}, description="Language -> what it is competent for.")
    languages: Words = Field(default=(), description="Working languages, ISO 639-1, the preferred first.")
    website: str = ""
    email: str = Field(default="", description="Mailbox of the office, of no person.")
    phone: str = ""
    contact: str = Field(default="", description="Office or unit to turn to, no person.")
    identifiers: Texts = Field(default={}, description="Scheme -> what others call it: national, wikidata …")
    source: Annotated[str, BeforeValidator(_first_source)] = Field(
        default="", validation_alias=AliasChoices("source", "sources"), description="Where the row comes from."
    )


class RegisterRow(_RowModel):
    """A row of a file of registers."""

    id: str = Field(default="", description="Identifier in the directory, `EE:ariregister` or `EE-ariregister`.")
    name: str = Field(min_length=1, description="Official name, in the language `name_lang`.")
    name_lang: str = Field(default="", description="ISO 639-1; default: the State's first official language.")
    names: Texts = Field(default={}, description="Language -> name in it.")
    type: str = Field(
        default="",
        description="business, crafts, professional, contractors, associations, public-bodies, tax, trusted-list or other.",
    )
    territory: Words = Field(default=(), description="NUTS regions it covers; none: the whole State.")
    areas: Words = Field(default=(), description="Legal areas.")
    professions: Words = ()
    activities: Words = ()
    contents: Texts = Field(default={}, description="Language -> what can be found in it.")
    operator: str = Field(default="", description="Identifier of the authority that keeps it.")
    operator_name: str = Field(default="", description="Who keeps it, where that is not in the directory.")
    access: Access | Literal[""] = Field(default="", description="Who may consult it; default: public.")
    fee: YesNo | Literal[""] = Field(default="", description="Whether that costs something.")
    online: YesNo | Literal[""] = Field(default="", description="Whether it can be consulted online.")
    login: YesNo | Literal[""] = Field(default="", description="Whether that takes an account.")
    languages: Words = Field(default=(), description="Languages it can be consulted in, ISO 639-1.")
    website: str = ""
    contact: str = Field(default="", description="Office or unit to turn to, no person.")
    valid_on: date | Literal[""] = Field(default="", description="Date on which this was last found to be right.")
    identifiers: Texts = Field(default={}, description="Scheme -> what others call it: org-id …")
    source: str = Field(default="", description="Where the row comes from.")


M = TypeVar("M", bound=_RowModel)


# -- reading ------------------------------------------------------------------------------------------------------


def read_rows(path: Path, progress: Callable[[int], None] = lambda _: None) -> Iterator[Row | BadRow]:
    """The rows of a file, one after the other.

    Args:
        progress: told how many bytes of the file (as it lies there, compressed or not) have been read.

    Raises:
        BadImport: the file is of no known kind, or its header cannot be read.
    """
    kind = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
    reader = {".csv": _csv, ".jsonl": _json_lines}.get(kind.removesuffix(".gz"))
    if reader is None:
        raise BadImport(f"{path}: a file to import ends in .csv, .jsonl, .csv.gz or .jsonl.gz")
    with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else nullcontext(raw) as file:
        try:
            for found in reader(path, file):
                progress(raw.tell())
                yield found
        except (OSError, EOFError) as error:
            raise BadImport(f"{path}: {error or 'the compressed file ends too early'}") from error


def _lines(file: Lines) -> Iterator[bytes | None]:
    """Lines; None for one that is too long, read past and not kept."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield None


def _json_lines(_path: Path, file: Lines) -> Iterator[Row | BadRow]:
    for number, line in enumerate(_lines(file), 1):
        if line is None:
            yield BadRow(number, f"longer than {MAX_LINE_BYTES} bytes")
        elif line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: bytes) -> Row | BadRow:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow(number, f"not JSON: {error}")
    if not isinstance(found, dict):
        return BadRow(number, "not a JSON object")
    return Row(number, {key: "" if value is None else value for key, value in found.items()})


def _csv(path: Path, file: Lines) -> Iterator[Row | BadRow]:
    lines = (_TOO_LONG if line is None else line.decode("utf-8", "surrogateescape") for line in _lines(file))
    header = next(lines, "").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    delimiter = max(",;\t", key=header.count)
    columns = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if "name" not in columns or len(columns) > MAX_COLUMNS or len(set(columns)) < len(columns):
        raise BadImport(f"{path}, line 1: the header names the columns, each once, `name` among them")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield BadRow(first, str(error))
            continue
        if cells is None:
            return
        if cells:
            yield _csv_row(first, columns, cells)


def _csv_row(number: int, columns: list[str], cells: list[str]) -> Row | BadRow:
    if any(_TOO_LONG in cell for cell in cells):
        return BadRow(number, f"longer than {MAX_LINE_BYTES} bytes")
    if len(cells) != len(columns):
        return BadRow(number, f"{len(cells)} cells for {len(columns)} columns")
    if not all(cell.isascii() or _is_text(cell) for cell in cells):
        return BadRow(number, "not UTF-8")
    values: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        whole, _, part = column.partition(".")
        if part:
            values.setdefault(whole, {})[part] = cell.strip()
        else:
            values[column] = cell.strip()
    if scheme := values.pop("id_scheme", ""):
        values["identifiers"] = {**values.get("identifiers", {}), scheme: values.pop("id_value", "")}
    return Row(number, values)


def _is_text(cell: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in cell)


def parse(model: type[M], row: Row) -> M | BadRow:
    """A row as its class has it."""
    try:
        parsed: M = model.model_validate(row.values)
    except ValidationError as error:
        return BadRow(row.line, complaint(error))
    return parsed


def complaint(error: ValidationError) -> str:
    """What is wrong with which field, without what stands there."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def id_of(text: str, node: NodeId) -> AuthorityId | None:
    """The identifier a row gives itself, in either spelling. None: it is none, or another State's."""
    found = _ID.fullmatch(text)
    return AuthorityId(f"{found[1]}:{found[2]}") if found and found[1] == node[:2] else None


# -- what a row makes of a record ---------------------------------------------------------------------------------


def authority_from(row: AuthorityRow, base: Authority | None, name: AuthorityId, node: NodeId) -> Authority:
    """The authority a row speaks of: what it names is changed in `base`, the rest stays. Raises ValidationError."""
    lang = _name_lang(row, base, node)
    old = base or Authority(id=name, node=node, names={}, name_lang=lang)
    words = ("informal", "competence", "identifiers")
    plain = (
        "short_name", "type", "level", "territory", "areas", "professions", "activities", "keywords", "languages",
        "email", "phone", "contact", "source",
    )  # fmt: skip
    changes = {key: getattr(row, key) for key in plain if key in row.model_fields_set}
    changes |= {key: _merged(getattr(old, key), getattr(row, key)) for key in words}
    address = _merged(old.address, {key: getattr(row, key)[:NAME] for key in _ADDRESS if key in row.model_fields_set})
    if "territory" not in row.model_fields_set:
        changes["territory"] = _territory(row, old, address)
    if "parent" in row.model_fields_set:
        changes["parent"] = id_of(row.parent, node) or ""
    if "website" in row.model_fields_set:
        changes["website"] = _website(row.website)
    return _checked(replace(old, node=node, name_lang=lang, names=_names(row, old, lang), address=address, **changes))


def register_from(row: RegisterRow, base: Register | None, name: AuthorityId, node: NodeId) -> Register:
    """The register a row speaks of, likewise. Raises ValidationError."""
    lang = _name_lang(row, base, node)
    old = base or Register(id=name, node=node, names={}, name_lang=lang)
    plain = (
        "type", "territory", "areas", "professions", "activities", "operator_name", "languages", "contact", "source",
    )  # fmt: skip
    changes = {key: getattr(row, key) for key in plain if key in row.model_fields_set}
    changes |= {key: _merged(getattr(old, key), getattr(row, key)) for key in ("contents", "identifiers")}
    for key, empty in (("access", "public"), ("fee", "unknown"), ("online", "unknown"), ("login", "unknown")):
        if key in row.model_fields_set:
            changes[key] = getattr(row, key) or empty
    if "operator" in row.model_fields_set:
        changes["operator"] = id_of(row.operator, node) or ""
    if "website" in row.model_fields_set:
        changes["website"] = _website(row.website)
    if "valid_on" in row.model_fields_set:
        changes["valid_on"] = row.valid_on or None
    return _checked(replace(old, node=node, name_lang=lang, names=_names(row, old, lang), **changes))


def _checked(record: R) -> R:
    """The record as others will read it. Raises ValidationError."""
    return read_record(record.kind, write_record(record))  # type: ignore[return-value]  # of the kind that was written


def _name_lang(row: AuthorityRow | RegisterRow, base: Authority | Register | None, node: NodeId) -> str:
    return row.name_lang[:2] or (base.name_lang if base else _MAIN_LANGUAGE.get(node[:2], "en"))


def _names(row: AuthorityRow | RegisterRow, old: Authority | Register, lang: str) -> Mapping[str, str]:
    given = {key[:2]: value[:NAME] for key, value in row.names.items()}
    return _merged(_merged(old.names, given), {lang: row.name[:NAME]})


def _merged(old: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    """What is named is changed, what is named and empty goes."""
    return {key: value for key, value in {**old, **given}.items() if value}


def _website(text: str) -> str:
    """An address to link to; what is none is left out."""
    found = text.strip()
    found = found if "://" in found else f"http://{found}"
    return found if _WEBSITE.fullmatch(found) and "." in found else ""


def _territory(row: AuthorityRow, old: Authority, address: Mapping[str, str]) -> tuple[str, ...]:
    """A municipality is competent in the region of its seat; of a regional body only a source may say so."""
    region = address.get("nuts", "")
    before = old.address.get("nuts")
    if old.territory not in {(), (before,)}:
        return old.territory
    type_, level = row.type or old.type, row.level or old.level
    is_local = level == "local" or type_ in _LOCAL_TYPES
    is_regional = not is_local and (level in {"regional", "regional_or_local"} or type_ in _REGIONAL_TYPES)
    if not _REGION.fullmatch(region) or level == "national":
        return ()
    return (region,) if is_local or (is_regional and not row.nuts_by) else ()


def remarks(row: AuthorityRow | RegisterRow, record: Authority | Register) -> Iterable[str]:
    """What of a row could not be taken over, though the row as a whole could."""
    if any(len(text) > NAME for text in (row.name, *row.names.values(), getattr(row, "street", ""))):
        yield f"cut at {NAME} characters"
    if row.website.strip() and not record.website:
        yield "website is no address, left out"
    if isinstance(row, AuthorityRow) and row.parent and isinstance(record, Authority) and not record.parent:
        yield "parent is no identifier, left out"
