"""An authority's entry: who it is, for what it is competent, where, in which languages, and how to write to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from node.errors import PeerError
from node.ids import AuthorityId, NodeId, State

MAX_ENTRY_BYTES: Final = 32 * 1024

_Short = Annotated[str, StringConstraints(max_length=400)]
_Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9./_-]{1,80}$")]
_Lang = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]


class BadEntry(PeerError):
    """An entry of a directory log is malformed, or speaks for another State."""

    code = "peer.bad-directory-entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A competent authority or coordinator, hosted by exactly one node at a time.

    `roles`: procedure area or procedure id -> directory roles (`ca`, `coordinator`, `alert-inbox` …).
    `assignment_invented`: what it is competent for was made up for a demo; the body itself is real.
    """

    id: AuthorityId
    node: NodeId
    state: State
    names: Mapping[str, str]  # language -> official name
    name_lang: str
    short_name: str = ""
    informal: Mapping[str, str] = field(default_factory=dict)  # language -> short, self-explaining name
    type: str = ""
    level: str = ""
    territory: tuple[str, ...] = ()  # NUTS codes
    areas: tuple[str, ...] = ()  # legal areas
    professions: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    coordinators: tuple[AuthorityId, ...] = ()
    address: Mapping[str, str] = field(default_factory=dict)  # street, postal_code, city
    website: str = ""
    email: str = ""
    assignment_invented: bool = False
    source: str = ""

    @property
    def name(self) -> str:
        """The official name in its own language."""
        return self.names.get(self.name_lang) or next(iter(self.names.values()), self.id)

    def name_in(self, lang: str) -> tuple[str, str]:
        """The best name for a reader, and its language: informal in theirs, official in theirs, the original."""
        for names in (self.informal, self.names):
            if lang in names:
                return names[lang], lang
        return self.name, self.name_lang


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}:[a-z0-9-]{1,40}$")]
    node: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,8})?$")]
    names: dict[_Lang, _Short]
    name_lang: _Lang
    short_name: _Short = ""
    informal: dict[_Lang, _Short] = {}
    type: _Short = ""
    level: _Short = ""
    territory: tuple[_Code, ...] = ()
    areas: tuple[_Code, ...] = ()
    professions: tuple[_Code, ...] = ()
    activities: tuple[_Code, ...] = ()
    keywords: tuple[_Short, ...] = ()
    languages: tuple[_Lang, ...] = ()
    roles: dict[_Code, tuple[_Code, ...]] = {}
    coordinators: tuple[str, ...] = ()
    address: dict[_Code, _Short] = {}
    website: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s<>\"]{1,500})?$")] = ""
    email: _Short = ""
    assignment_invented: bool = False
    source: _Short = ""


class _Put(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    op: Literal["put"]
    authority: _Model


class _Delete(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    op: Literal["delete"]
    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}:[a-z0-9-]{1,40}$")]


_CHANGE: TypeAdapter[_Put | _Delete] = TypeAdapter(_Put | _Delete)
_PUT: TypeAdapter[_Model] = TypeAdapter(_Model)


@dataclass(frozen=True, slots=True)
class Deleted:
    """The authority is no longer in the directory."""

    id: AuthorityId


Change = Authority | Deleted


def write_change(change: Change) -> bytes:
    """The body of a log entry, JSON."""
    if isinstance(change, Deleted):
        return _Delete(op="delete", id=change.id).model_dump_json().encode()
    return _Put(op="put", authority=_to_model(change)).model_dump_json(exclude_defaults=True).encode()


def read_change(body: bytes, *, node: NodeId) -> Change:
    """A log entry's body, from the log of `node`.

    Raises:
        BadEntry: malformed, too large, or about an authority that this log may not speak of.
    """
    if len(body) > MAX_ENTRY_BYTES:
        raise BadEntry("a directory entry is too large")
    try:
        change = _CHANGE.validate_json(body)
    except ValidationError as error:
        raise BadEntry("a directory entry is malformed") from error
    name = change.id if isinstance(change, _Delete) else change.authority.id
    if name[:2] != node[:2] or (isinstance(change, _Put) and change.authority.node != node):
        raise BadEntry(f"the log of {node} speaks of {name}")
    return Deleted(AuthorityId(name)) if isinstance(change, _Delete) else _from_model(change.authority)


def write_authority(authority: Authority) -> bytes:
    """An authority as JSON, for the replica."""
    return _to_model(authority).model_dump_json(exclude_defaults=True).encode()


def read_authority(data: bytes) -> Authority:
    """Inverse of write_authority; the bytes are our own."""
    return _from_model(_PUT.validate_json(data))


def _to_model(authority: Authority) -> _Model:
    values = {name: getattr(authority, name) for name in _Model.model_fields}
    return _Model.model_construct(**values)


def _from_model(model: _Model) -> Authority:
    values = {name: getattr(model, name) for name in _Model.model_fields}
    return Authority(**values, state=State(model.id[:2]))
