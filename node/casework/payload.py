"""What one message says about one case: `application/json`, the first part of every case message.

    {"schema": 1, "case": "<case id>",
     "events": [{"event": {…}, "signature": "<base64>", "certificate": "<sha256>"}],
     "parts":  [{"event": "<event id>", "audience": "content", "salt": "<hex>", "content": {…}}]}

Files follow as further parts of the message; they are recognised by their SHA-256. Unknown keys beside these are kept
out of sight, not refused: peers may be newer than we are. Events are strict, see `node.domain.events`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from node.domain.events import SALT_BYTES, BadEvent, Part, SignedEvent, canonical, parse_event
from node.errors import PeerError
from node.ids import CaseId, EventId

SCHEMA: Final = 1
MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024
MAX_EVENTS: Final = 500
MAX_PARTS: Final = 2000
MAX_DEPTH: Final = 12


class BadPayload(PeerError):
    """The content of a case message is not one: too large, not JSON, keys missing or malformed."""

    code = "peer.bad-payload"


class UnknownSchema(PeerError):
    """The content of a case message is of a schema this node does not know."""

    code = "peer.unknown-schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPart:
    event: EventId
    audience: str
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    case: CaseId
    events: tuple[SignedEvent, ...]
    parts: tuple[SentPart, ...]


def write(case: CaseId, events: Iterable[SignedEvent], parts: Iterable[SentPart]) -> bytes:
    """The JSON of a message."""
    body = {
        "schema": SCHEMA,
        "case": case,
        "events": [
            {
                "event": json.loads(signed.event_bytes),
                "signature": base64.b64encode(signed.signature).decode(),
                "certificate": signed.certificate,
            }
            for signed in events
        ],
        "parts": [
            {"event": sent.event, "audience": sent.audience, "salt": sent.part.salt.hex(), "content": sent.part.content}
            for sent in parts
        ],
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def read(data: bytes) -> Payload:
    """The message in these bytes.

    Raises:
        BadPayload, UnknownSchema, BadEvent.

    Does not check signatures, commitments or whether anything was allowed.
    """
    raw = _json(data)
    if raw.get("schema") != SCHEMA:
        raise UnknownSchema("the message's schema is not known here")
    try:
        model = _PayloadModel.model_validate(raw)
        events = tuple(_event(item) for item in model.events)
        parts = tuple(_part(item) for item in model.parts)
    except BadEvent:
        raise
    except (ValidationError, ValueError, RecursionError) as error:
        raise BadPayload("the message does not have the form of a case message") from error
    if any(signed.event.case_id != model.case for signed in events):
        raise BadPayload("an event belongs to another case than its message")
    return Payload(case=CaseId(model.case), events=events, parts=parts)


_Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _EventModel(BaseModel):
    model_config = ConfigDict(strict=True)

    event: dict[str, Any]
    signature: Annotated[str, StringConstraints(max_length=200)]
    certificate: _Hex


class _PartModel(BaseModel):
    model_config = ConfigDict(strict=True)

    event: _Hex
    audience: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,59}$")]
    salt: Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{2 * SALT_BYTES}}}$")]
    content: dict[str, dict[str, Any]]


class _PayloadModel(BaseModel):
    model_config = ConfigDict(strict=True)

    case: _Hex
    events: Annotated[list[_EventModel], Field(max_length=MAX_EVENTS)]
    parts: Annotated[list[_PartModel], Field(max_length=MAX_PARTS)]


def _json(data: bytes) -> Mapping[str, Any]:
    if len(data) > MAX_PAYLOAD_BYTES:
        raise BadPayload("the content of a message is too large", size=len(data))
    if not _is_shallow(data):
        raise BadPayload("the content of a message is nested too deeply")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadPayload("the content of a message is not JSON") from error
    if not isinstance(raw, dict):
        raise BadPayload("the content of a message is not a JSON object")
    return raw


def _is_shallow(data: bytes) -> bool:
    """Whether brackets outside texts nest no deeper than honest content: before anything recursive sees them."""
    depth = 0
    for bracket in _TEXT.sub(b"", data).translate(None, delete=_NO_BRACKETS):
        depth += 1 if bracket in b"{[" else -1
        if depth > MAX_DEPTH:
            return False
    return True


# Possessive, and content without the right to fail: linear on whatever comes.
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"{}[]")


def _event(item: _EventModel) -> SignedEvent:
    data = canonical(item.event)
    try:
        signature = base64.b64decode(item.signature, validate=True)
    except binascii.Error as error:
        raise ValueError("a signature is base64") from error
    return SignedEvent(event_bytes=data, event=parse_event(data), signature=signature, certificate=item.certificate)


def _part(item: _PartModel) -> SentPart:
    part = Part(salt=bytes.fromhex(item.salt), content=item.content)
    return SentPart(event=EventId(item.event), audience=item.audience, part=part)
