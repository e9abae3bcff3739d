"""Events: what nodes sign and exchange about a case, and the commitments to the parts that travel beside them.

An event holds control data only (authorities, question keys, dates, choices), never free text or personal data.
For each audience it holds the salted hash of a part; the part, with the form fields, goes only to those it is for.
Bytes are RFC 8785 JSON without floats; an event's id is their SHA-256; a node signs `imi-event/1` LF id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from node.clock import parse_rfc3339, rfc3339
from node.errors import PeerError
from node.ids import AuthorityId, CaseId, CaseNumber, EventId, State, state_of

MAX_EVENT_BYTES: Final = 256 * 1024
MAX_CONTROL_ITEMS: Final = 1000  # authorities or keys in one control value
SALT_BYTES: Final = 16
RECEIVED: Final = "received"  # the one step no workflow file names: a node says that it holds what it was sent

Scope = Literal["case", "state", "authority", "receipt"]
Value = str | tuple[str, ...]  # one authority, date, choice or case; or sorted authorities or keys
Lane = str  # an author and a scope: `EE:x`, `EE:x#state`

_TICK: Final = timedelta(milliseconds=1)
_NO_CASE: Final = CaseId("")
_NOTHING: Final = EventId("")
_NAME = r"^[a-z][a-z0-9-]{0,59}$"
_HEX = r"^[0-9a-f]{64}$"
_INSTANT = re.compile(r"2[01][0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


class BadEvent(PeerError):
    """Bytes that should be an event are not one: too long, not canonical, a field missing, unknown or malformed."""

    code = "peer.bad-event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What only the first event says: which definition the case follows for its whole life, and its number."""

    procedure: str  # "<area>/<name>"
    version: int
    digest: str  # SHA-256 of the resolved definition, hexadecimal
    number: CaseNumber


@dataclass(frozen=True, kw_only=True)
class Event:
    """One step of one case, as its author's node signed it.

    `case` and `after` are empty in the first event, whose id is the case's. `after` is the last move its author had
    seen, `seen` the last `seq` of each lane taken into account. `parts` maps an audience to a commitment.
    """

    step: str
    role: str
    author: AuthorityId
    seq: int  # 1, 2, 3 … per author, case and scope
    at: datetime  # UTC, whole milliseconds
    catalogue: int  # edition whose calendars and lists the author used
    case: CaseId = _NO_CASE
    after: EventId = _NOTHING
    scope: Scope = "case"
    seen: Mapping[Lane, int] = field(default_factory=dict)
    control: Mapping[str, Value] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    opening: Opening | None = None

    @cached_property
    def id(self) -> EventId:
        return EventId(hashlib.sha256(self.canonical).hexdigest())

    @cached_property
    def canonical(self) -> bytes:
        """The bytes that are hashed and sent."""
        return canonical(_as_json(self))

    @property
    def case_id(self) -> CaseId:
        """The case this event belongs to, also for the event that opens it."""
        return CaseId(self.id) if self.opening else self.case

    @property
    def state(self) -> State:
        """The author's State."""
        return state_of(self.author)

    @property
    def lane(self) -> Lane:
        return self.author if self.scope == "case" else f"{self.author}#{self.scope}"

    def __hash__(self) -> int:
        return hash(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedEvent:
    """An event with the bytes as signed, the signature over `signing_input`, and its certificate's SHA-256 (hex)."""

    event_bytes: bytes
    event: Event
    signature: bytes
    certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Content for one audience: form -> field -> value, and the salt its commitment is made with."""

    salt: bytes
    content: Mapping[str, Mapping[str, object]]


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a JSON value; `ValueError` for what has none (NaN, integers beyond 2^53)."""
    return rfc8785.dumps(value)  # type: ignore[arg-type]  # its type lists the JSON types; ours is checked by it


def commitment(salt: bytes, content: Mapping[str, object]) -> str:
    """SHA-256(salt ‖ canonical JSON), hexadecimal: binds the author without telling the content.

    The salt is 16 random bytes of its own for each part: `yes` and `no` can be guessed.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    return hashlib.sha256(salt + canonical(content)).hexdigest()


def signing_input(event_id: EventId) -> bytes:
    """What an author's node signs (Ed25519)."""
    return b"imi-event/1\n" + event_id.encode()


def later_than(newest: datetime | None, at: datetime) -> datetime:
    """The instant of an event signed at `at`, in whole milliseconds: behind the newest it counts on."""
    whole = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return max(whole, newest + _TICK) if newest else whole


def parse_event(data: bytes, *, stored: bool = False) -> Event:
    """The event in canonical bytes.

    Args:
        data: from a peer, or from our own store (`stored`: already judged once, so canonical form is not tested again).

    Raises:
        BadEvent: longer than 256 KiB, not canonical, unknown or missing fields, values out of their patterns.

    Does not check signature, procedure, or whether the step was allowed: see `fold`.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise BadEvent("an event is larger than 256 KiB", size=len(data))
    try:
        event = _from_model(_EventModel.model_validate_json(data))
    except (ValidationError, ValueError) as error:
        raise BadEvent("bytes are not an event") from error
    if not stored and event.canonical != data:
        raise BadEvent("an event is not in canonical form")
    event.__dict__["canonical"] = data
    return event


_Name = Annotated[str, StringConstraints(pattern=_NAME)]
_Hex = Annotated[str, StringConstraints(pattern=_HEX)]
_HexOrEmpty = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
_Authority = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}:[a-z0-9-]{1,40}$")]
_Lane = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}:[a-z0-9-]{1,40}(#(state|authority|receipt))?$")]
_Count = Annotated[int, Field(ge=1, le=1_000_000)]
# A control value is an identifier, a key, a date or a choice: never long enough or free enough to carry text.
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:.-]{1,64}$")]
_Words = Annotated[list[_Word], Field(max_length=MAX_CONTROL_ITEMS)]


class _OpeningModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    procedure: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,60}/[a-z0-9-]{1,60}$")]
    version: _Count
    digest: _Hex
    number: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,8})?-[0-9]{4}-[0-9]{6,9}(\.[0-9]{1,3})?$")]


class _EventModel(BaseModel):
    # Unknown fields are refused: a later meaning we cannot see must not be folded as if it were not there.
    model_config = ConfigDict(extra="forbid", strict=True)

    after: _HexOrEmpty
    at: str
    author: _Authority
    case: _HexOrEmpty
    catalogue: Annotated[int, Field(ge=0, le=1_000_000)]
    control: Annotated[dict[_Name, _Word | _Words], Field(max_length=20)]
    opening: _OpeningModel | None = None
    parts: Annotated[dict[_Name, _Hex], Field(max_length=20)]
    role: _Name
    scope: Scope
    seen: Annotated[dict[_Lane, _Count], Field(max_length=2000)]
    seq: _Count
    step: _Name


def _as_json(event: Event) -> dict[str, object]:
    body: dict[str, object] = {
        "after": event.after,
        "at": rfc3339(event.at),
        "author": event.author,
        "case": event.case,
        "catalogue": event.catalogue,
        "control": {name: value if isinstance(value, str) else list(value) for name, value in event.control.items()},
        "parts": dict(event.parts),
        "role": event.role,
        "scope": event.scope,
        "seen": dict(event.seen),
        "seq": event.seq,
        "step": event.step,
    }
    if event.opening:
        opening = event.opening
        body["opening"] = {
            "digest": opening.digest,
            "number": opening.number,
            "procedure": opening.procedure,
            "version": opening.version,
        }
    return body


def _from_model(model: _EventModel) -> Event:
    if not _INSTANT.fullmatch(model.at):
        raise ValueError("an instant is UTC with milliseconds")
    if (model.opening is None) != bool(model.case) or (model.opening is None) != bool(model.after):
        raise ValueError("the first event opens, the others name case and move")
    return Event(
        step=model.step,
        role=model.role,
        author=AuthorityId(model.author),
        seq=model.seq,
        at=parse_rfc3339(model.at),
        catalogue=model.catalogue,
        case=CaseId(model.case),
        after=EventId(model.after),
        scope=model.scope,
        seen=model.seen,
        control={name: v if isinstance(v, str) else tuple(v) for name, v in model.control.items()},
        parts=model.parts,
        opening=_opening(model.opening),
    )


def _opening(model: _OpeningModel | None) -> Opening | None:
    if model is None:
        return None
    return Opening(
        procedure=model.procedure, version=model.version, digest=model.digest, number=CaseNumber(model.number)
    )
