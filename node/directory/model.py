"""What a directory says: authorities, groups of them, registers and repository entries; and how a log entry says it.

The classes are read from foreign bytes as they stand: pydantic checks every field against its annotation, ignores what a
later version may add, and leaves out what is empty when it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from node.errors import PeerError
from node.ids import AuthorityId, NodeId, State, state_of

MAX_ENTRY_BYTES: Final = 32 * 1024

Name = Annotated[str, StringConstraints(max_length=400)]
Words = Annotated[str, StringConstraints(max_length=4000)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9./_-]{1,80}$")]
Lang = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
Url = Annotated[str, StringConstraints(pattern=r"^(https?://[^\s<>\"]{1,500})?$")]
Id = Annotated[AuthorityId, StringConstraints(pattern=r"^[A-Z]{2}:[a-z0-9-]{1,40}$")]
Node = Annotated[NodeId, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,8})?$")]

Function = Literal["validating", "access", "request", "alert", "notification"]
Status = Literal["active", "suspended", "left"]
Access = Literal["public", "authorities", "on-request"]
YesNo = Literal["yes", "no", "unknown"]


class BadEntry(PeerError):
    """An entry of a directory log is malformed, or speaks for another State."""

    code = "peer.bad-directory-entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A coordinator an authority is linked to, and for what (imi.md section 2.2); without an area: for all."""

    coordinator: Id
    function: Function = "request"
    area: Code | Literal[""] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A competent authority or coordinator, hosted by exactly one node at a time (imi.md section 2.3).

    `roles`: procedure area or procedure id -> directory roles (`ca`, `coordinator`, `alert-inbox` …): what access was
    granted. `settings`: likewise -> how the authority works (`approve-requests`, `approve-replies`, `allocation`,
    `referral`: yes or no; `reply-language`). `represented_by`: the coordinator whose users act for a body that has none.
    `assignment_invented`: what it is competent for was made up for a demo; the body itself is real.
    """

    kind: ClassVar[str] = "authority"

    id: Id
    node: Node
    names: Mapping[Lang, Name]  # language -> official name
    name_lang: Lang
    short_name: Name = ""
    informal: Mapping[Lang, Name] = field(default_factory=dict)  # language -> short, self-explaining name
    type: Name = ""
    level: Name = ""
    parent: Id | Literal[""] = ""
    territory: tuple[Code, ...] = ()  # NUTS codes; none: the whole State
    areas: tuple[Code, ...] = ()  # legal areas
    professions: tuple[Code, ...] = ()
    activities: tuple[Code, ...] = ()
    keywords: tuple[Name, ...] = ()
    competence: Mapping[Lang, Words] = field(default_factory=dict)
    languages: tuple[Lang, ...] = ()  # working languages, the preferred first
    roles: Mapping[Code, tuple[Code, ...]] = field(default_factory=dict)
    settings: Mapping[Code, Mapping[Code, Code]] = field(default_factory=dict)
    coordinators: tuple[Link, ...] = ()
    represented_by: Id | Literal[""] = ""
    address: Mapping[Code, Name] = field(default_factory=dict)  # street, postal_code, city
    website: Url = ""
    email: Name = ""  # of the office
    phone: Name = ""
    contact: Name = ""  # an office or unit, no person
    status: Status = "active"
    registered: date | None = None
    reviewed: date | None = None  # when its own people last said that all this is right
    identifiers: Mapping[Code, Name] = field(default_factory=dict)  # scheme -> what others call it
    assignment_invented: bool = False
    source: Name = ""
    former: Annotated[tuple[Node, ...], Field(max_length=200)] = ()  # the nodes it was on before, in order

    @property
    def state(self) -> State:
        """The State it belongs to."""
        return state_of(self.id)

    @property
    def homes(self) -> tuple[NodeId, ...]:
        """The nodes that hosted it, in order; the last one does."""
        return (*self.former, self.node)

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

    def coordinators_for(self, function: Function, area: str = "") -> tuple[AuthorityId, ...]:
        """The coordinators linked for a function in an area, those of the area before those of all areas."""
        fitting = [link for link in self.coordinators if link.function == function and link.area in {area, ""}]
        return tuple(dict.fromkeys(link.coordinator for link in sorted(fitting, key=lambda link: not link.area)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityGroup:
    """A named set of authorities, of any State, that a procedure addresses or a search is narrowed to."""

    kind: ClassVar[str] = "group"

    id: Id
    node: Node
    names: Mapping[Lang, Name]
    procedures: tuple[Code, ...] = ()  # that use it; none: any
    members: Annotated[tuple[Id, ...], Field(max_length=1000)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A register that can be consulted in a State (imi.md section 5; Directive 2006/123/EC Art. 28(7))."""

    kind: ClassVar[str] = "register"

    id: Id
    node: Node
    names: Mapping[Lang, Name]
    name_lang: Lang
    type: Name = ""  # business, trade, professional …
    territory: tuple[Code, ...] = ()  # NUTS codes; none: the whole State
    areas: tuple[Code, ...] = ()
    professions: tuple[Code, ...] = ()
    activities: tuple[Code, ...] = ()
    contents: Mapping[Lang, Words] = field(default_factory=dict)  # what can be found in it
    operator: Id | Literal[""] = ""  # the authority that keeps it
    operator_name: Name = ""  # where that is not in the directory
    access: Access = "public"
    fee: YesNo = "unknown"
    online: YesNo = "unknown"
    login: YesNo = "unknown"
    languages: tuple[Lang, ...] = ()
    website: Url = ""
    contact: Name = ""
    valid_on: date | None = None  # when this was last found to be right
    identifiers: Mapping[Code, Name] = field(default_factory=dict)
    source: Name = ""

    @property
    def state(self) -> State:
        """The State it belongs to."""
        return state_of(self.id)

    @property
    def name(self) -> str:
        """Its name in its own language."""
        return self.names.get(self.name_lang) or next(iter(self.names.values()), self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryEntry:
    """One published entry of a repository that is replicated; its procedure says which fields it has and who may read."""

    kind: ClassVar[str] = "entry"

    id: Id
    node: Node
    procedure: Code  # the repository: a procedure of kind `repository`
    owner: Id  # the authority that published it
    fields: Mapping[Code, JsonValue]  # by form and field
    status: Literal["published", "withdrawn"] = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An authority moves to another node of its State: what the node it leaves says (ADR 10).

    It counts when the log of the new node has the authority too, with the same `homes`. Never taken back: two logs have
    no common order, so some would have read of the move before and some after.
    """

    kind: ClassVar[str] = "move"

    id: Id  # of the authority
    node: Node  # that it leaves
    to: Node
    former: Annotated[tuple[Node, ...], Field(max_length=200)] = ()  # where it was before that
    cases: Annotated[int, Field(ge=0)] = 0  # that go with it

    @property
    def homes(self) -> tuple[NodeId, ...]:
        """The nodes that hosted it, in order, up to the new one."""
        return (*self.former, self.node, self.to)


Record = Authority | AuthorityGroup | Move | Register | RepositoryEntry
Kind = Literal["authority", "group", "move", "register", "entry"]
COLLECTIONS: Final[Mapping[str, tuple[Kind, ...]]] = {  # which log speaks of what
    "authorities": ("authority", "group", "move"),
    "registers": ("register",),
    "repositories": ("entry",),
}
COLLECTION_OF: Final[Mapping[str, str]] = {kind: name for name, kinds in COLLECTIONS.items() for kind in kinds}


@dataclass(frozen=True, slots=True)
class Deleted:
    """A record is no longer in the directory."""

    id: AuthorityId
    kind: Kind = "authority"


Change = Record | Deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who made a change, and when: an authority, and its user by the home node's number, never by name.

    Without an authority: the operator of the node, by a command.
    """

    authority: Id | Literal[""] = ""
    user: int | None = None
    at: AwareDatetime | None = None


OPERATOR: Final = By()


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    by: By = OPERATOR


class _Put(_Body):
    op: Literal["put"]
    authority: Authority | None = None
    group: AuthorityGroup | None = None
    move: Move | None = None
    register_: Register | None = Field(default=None, alias="register")
    entry: RepositoryEntry | None = None


class _Delete(_Body):
    op: Literal["delete"]
    id: Id
    kind: Kind = "authority"


_CHANGE: TypeAdapter[_Put | _Delete] = TypeAdapter(Annotated[_Put | _Delete, Field(discriminator="op")])
_BY: TypeAdapter[By] = TypeAdapter(By)
_RECORDS: Final[Mapping[str, TypeAdapter[Any]]] = {
    one.kind: TypeAdapter(one) for one in (Authority, AuthorityGroup, Move, Register, RepositoryEntry)
}


def write_change(change: Change, by: By = OPERATOR) -> bytes:
    """The body of a log entry, JSON."""
    made = b',"by":' + _BY.dump_json(by, exclude_defaults=True) if by != OPERATOR else b""
    if isinstance(change, Deleted):
        return b'{"op":"delete","kind":"%b","id":"%b"%b}' % (change.kind.encode(), change.id.encode(), made)
    return b'{"op":"put","%b":%b%b}' % (change.kind.encode(), write_record(change), made)


def read_change(body: bytes, *, node: NodeId, collection: str = "authorities") -> tuple[Change, By]:
    """A log entry's body, from a log of `node`, and who made the change.

    Raises:
        BadEntry: malformed, too large, or about something that this log may not speak of.
    """
    if len(body) > MAX_ENTRY_BYTES:
        raise BadEntry("a directory entry is too large")
    try:
        found = _CHANGE.validate_json(body)
    except ValidationError as error:
        raise BadEntry("a directory entry is malformed") from error
    change = Deleted(found.id, found.kind) if isinstance(found, _Delete) else _only(found)
    if isinstance(change, Deleted) and change.kind == Move.kind:
        raise BadEntry("a move is never taken back")
    if change.kind not in COLLECTIONS.get(collection, ()):
        raise BadEntry(f"the log {node}/{collection} speaks of a {change.kind}")
    if state_of(change.id) != state_of(node) or (not isinstance(change, Deleted) and change.node != node):
        raise BadEntry(f"the log of {node} speaks of {change.id}")
    return change, found.by


def _only(put: _Put) -> Record:
    found = [one for one in (put.authority, put.group, put.move, put.register_, put.entry) if one is not None]
    if len(found) != 1:
        raise BadEntry("a directory entry puts one record, no more and no less")
    return found[0]


def write_record(record: Record) -> bytes:
    """A record as JSON; what is empty is left out."""
    data: bytes = _RECORDS[record.kind].dump_json(record, exclude_defaults=True)
    return data


def read_record(kind: str, data: bytes) -> Record:
    """Inverse of write_record. Raises ValidationError for bytes that are none of ours."""
    record: Record = _RECORDS[kind].validate_json(data)
    return record


def write_by(by: By) -> bytes:
    """Who made a change, as JSON."""
    return _BY.dump_json(by, exclude_defaults=True)


def read_by(data: bytes) -> By:
    """Inverse of write_by."""
    return _BY.validate_json(data)


def read_authority(data: bytes) -> Authority:
    """An authority from what write_record made of it."""
    found: Authority = _RECORDS["authority"].validate_json(data)
    return found
