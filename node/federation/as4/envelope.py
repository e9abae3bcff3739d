"""The envelope's fixed places, and the ebMS header read from them. Nothing here is authenticated yet.

Source: SOAP 1.2; ebMS 3.0 Core section 5.2; eDelivery AS4 2.0 (one message unit, empty body, attached parts only).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from lxml import etree

from node.federation.as4 import mime, names, own_form, reading
from node.federation.as4.errors import BadEnvelope, ExternalPayload, PartsDiffer, TooLarge, UnexpectedUnit
from node.federation.as4.model import Limits
from node.federation.as4.own_form import OwnEnvelope

_MESSAGE_ID = re.compile(r"[\x21-\x7e]+")  # RFC 2822 msg-id, loosely
_MAX_MESSAGE_ID = 255
_MUST_UNDERSTAND = f"{{{names.ENV}}}mustUnderstand"
_ROLE, _RELAY = f"{{{names.ENV}}}role", f"{{{names.ENV}}}relay"
_MESSAGING, _SECURITY = f"{{{names.EB}}}Messaging", f"{{{names.WSSE}}}Security"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The elements at their fixed places; `unit` is the UserMessage or SignalMessage.

    `secured` are the children of Security; `identified` holds what a reference may lead to: Messaging, Body and
    those, by identifier.
    """

    messaging: etree._Element
    unit: etree._Element
    security: etree._Element | None
    body: etree._Element
    identified: Mapping[str, etree._Element]
    secured: Sequence[etree._Element]

    def secured_by(self, namespace: str, name: str) -> list[etree._Element]:
        """The children of Security of this name."""
        tag = f"{{{namespace}}}{name}"
        return [element for element in self.secured if element.tag == tag]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A party id with its type (empty if none was given), and the role it plays in the exchange."""

    id: str
    type: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """What the header says of one part: its Content-ID and the type before compression."""

    content_id: str
    mime_type: str | None
    charset: str | None
    compression: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The ebMS header of a user message, for looking up agreement and duplicates. Unauthenticated."""

    message_id: str
    ref_to_message_id: str | None
    timestamp: datetime
    sender: Party
    recipient: Party
    agreement_ref: str | None
    agreement_type: str | None
    service: str
    service_type: str | None
    action: str
    conversation_id: str
    properties: Mapping[str, str]
    parts: tuple[PartInfo, ...]
    envelope: Envelope | OwnEnvelope

    @property
    def is_test(self) -> bool:
        """A ping: answered with a receipt, never delivered."""
        return self.service == names.TEST_SERVICE and self.action == names.TEST_ACTION


def parse_soap(package: mime.Package, limits: Limits) -> Header:
    """The header of a user message. Raises BadEnvelope, ExternalPayload, PartsDiffer, TooLarge or UnexpectedUnit."""
    header = _read_own(package, limits)
    if header is not None:
        return header
    envelope = parse_envelope(package.soap, limits)
    if envelope.unit.tag != f"{{{names.EB}}}UserMessage":
        raise UnexpectedUnit("a signal where a user message must come")
    info = read_info(envelope.unit)
    try:
        _check_empty(envelope.body)
        header = _header(envelope, info, limits)
        _check_attached(header, package)
    except (BadEnvelope, ExternalPayload, PartsDiffer, TooLarge) as error:
        error.message_id = info.message_id
        raise
    return header


def _read_own(package: mime.Package, limits: Limits) -> Header | None:
    """The header of a message in our own form, if it is one and nothing is wrong with it."""
    own = own_form.read(package.soap) if len(package.soap) <= limits.soap else None
    unit = own_form.read_user_message(own.unit) if own else None
    if own is None or unit is None:
        return None
    fields = unit.fields
    parts = tuple(
        PartInfo(
            content_id=content_id,
            mime_type=properties.get("MimeType"),
            charset=properties.get("CharacterSet"),
            compression=properties.get("CompressionType"),
        )
        for content_id, properties in unit.parts
    )
    try:
        header = Header(
            message_id=_message_id(_given(fields, "message_id")),
            ref_to_message_id=fields["ref_to_message_id"],
            timestamp=_timestamp(_given(fields, "timestamp")),
            sender=_own_party(fields, "sender"),
            recipient=_own_party(fields, "recipient"),
            agreement_ref=fields["agreement_ref"],
            agreement_type=fields["agreement_type"],
            service=_given(fields, "service"),
            service_type=fields["service_type"],
            action=_given(fields, "action"),
            conversation_id=_given(fields, "conversation_id"),
            properties=unit.properties,
            parts=parts,
            envelope=own,
        )
        _check_attached(header, package)
    except (BadEnvelope, PartsDiffer):
        return None
    return header if len(parts) <= limits.parts and len({part.content_id for part in parts}) == len(parts) else None


def _own_party(fields: Mapping[str, str | None], side: str) -> Party:
    return Party(id=_given(fields, side), type=fields[f"{side}_type"] or "", role=_given(fields, f"{side}_role"))


def _given(fields: Mapping[str, str | None], name: str) -> str:
    value = fields[name]
    if value is None:
        raise BadEnvelope(f"{name} is missing")
    return value


def _message_id(value: str) -> str:
    if not _MESSAGE_ID.fullmatch(value) or len(value) > _MAX_MESSAGE_ID:
        raise BadEnvelope("the message id is too long, or holds white space, control or foreign characters")
    return value


def _check_empty(body: etree._Element) -> None:
    if len(body) or (body.text or "").strip():
        raise BadEnvelope("a payload in the SOAP body")


def parse_envelope(soap: bytes, limits: Limits) -> Envelope:
    """The places of an envelope with one message unit. Raises BadEnvelope or TooLarge."""
    if len(soap) > limits.soap:
        raise TooLarge("the SOAP part is too large")
    root = reading.parse(soap)
    if root.tag != f"{{{names.ENV}}}Envelope":
        raise BadEnvelope("no SOAP 1.2 envelope")
    reading.check_identifiers(root)
    header, body = _two(root)
    messaging, security = _header_blocks(header)
    secured = [] if security is None else list(security)
    units = list(reading.children(messaging))
    if len(units) != 1:
        raise BadEnvelope("not exactly one message unit")
    return Envelope(
        messaging=messaging,
        unit=units[0],
        security=security,
        body=body,
        identified=reading.by_identifier([messaging, body, *secured]),
        secured=secured,
    )


def _two(root: etree._Element) -> tuple[etree._Element, etree._Element]:
    found = list(reading.children(root))
    if [child.tag for child in found] != [f"{{{names.ENV}}}Header", f"{{{names.ENV}}}Body"]:
        raise BadEnvelope("not exactly one SOAP header and one body")
    return found[0], found[1]


def _header_blocks(header: etree._Element) -> tuple[etree._Element, etree._Element | None]:
    messaging: etree._Element | None = None
    security: etree._Element | None = None
    for block in reading.children(header):
        if block.tag == _MESSAGING and messaging is None:
            messaging = block
        elif block.tag == _SECURITY and security is None:
            security = block
        elif block.tag in (_MESSAGING, _SECURITY) or block.get(_MUST_UNDERSTAND, "false") not in ("false", "0"):
            raise BadEnvelope("a repeated header block, or one that must be understood and is not")
        if block.get(_ROLE) is not None or block.get(_RELAY) is not None:
            raise BadEnvelope("a header block meant for another SOAP node")
    if messaging is None:
        raise BadEnvelope("no eb:Messaging")
    return messaging, security


class Info(NamedTuple):
    """What every message unit says of itself."""

    message_id: str
    ref_to_message_id: str | None
    timestamp: datetime


def read_own_info(fields: Mapping[str, str | None]) -> Info:
    """The MessageInfo of a unit in our own form. Raises BadEnvelope."""
    return Info(
        _message_id(_given(fields, "message_id")),
        fields["ref_to_message_id"],
        _timestamp(_given(fields, "timestamp")),
    )


def read_info(unit: etree._Element) -> Info:
    """The MessageInfo of a message unit. Raises BadEnvelope."""
    info = reading.fields(reading.only_child(unit, names.EB, "MessageInfo"))
    message_id = _message_id(reading.content(reading.need(info, names.EB, "MessageId")))
    try:
        return Info(message_id, _optional_text(info, "RefToMessageId"), _timestamp(_text(info, "Timestamp")))
    except BadEnvelope as error:
        error.message_id = message_id
        raise


def _timestamp(value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadEnvelope("the timestamp is no date and time") from error
    if at.tzinfo is None:
        raise BadEnvelope("the timestamp has no time zone")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise BadEnvelope("the timestamp is out of range") from error


def _header(envelope: Envelope, info: Info, limits: Limits) -> Header:
    unit = reading.fields(envelope.unit)
    parties = reading.fields(reading.need(unit, names.EB, "PartyInfo"))
    about = reading.fields(reading.need(unit, names.EB, "CollaborationInfo"))
    service = reading.need(about, names.EB, "Service")
    agreed = about.get(f"{{{names.EB}}}AgreementRef")
    return Header(
        message_id=info.message_id,
        ref_to_message_id=info.ref_to_message_id,
        timestamp=info.timestamp,
        sender=_party(reading.need(parties, names.EB, "From")),
        recipient=_party(reading.need(parties, names.EB, "To")),
        agreement_ref=_optional_text(about, "AgreementRef"),
        agreement_type=None if agreed is None else agreed.get("type"),
        service=reading.content(service),
        service_type=service.get("type"),
        action=_text(about, "Action"),
        conversation_id=_text(about, "ConversationId"),
        properties=_properties(unit.get(f"{{{names.EB}}}MessageProperties")),
        parts=_parts(unit.get(f"{{{names.EB}}}PayloadInfo"), limits),
        envelope=envelope,
    )


def _party(side: etree._Element) -> Party:
    found = reading.fields(side)
    party = reading.need(found, names.EB, "PartyId")
    role = reading.content(reading.need(found, names.EB, "Role"))
    return Party(id=reading.content(party), type=party.get("type", ""), role=role)


def _text(parent: dict[str, etree._Element], name: str) -> str:
    return reading.content(reading.need(parent, names.EB, name))


def _optional_text(parent: dict[str, etree._Element], name: str) -> str | None:
    found = parent.get(f"{{{names.EB}}}{name}")
    return None if found is None else reading.content(found)


def _properties(holder: etree._Element | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in [] if holder is None else holder:
        name = item.get("name", "")
        if item.tag != f"{{{names.EB}}}Property" or not name or name in found or len(item):
            raise BadEnvelope("a malformed or repeated property")
        found[name] = item.text or ""
    return found


def _parts(holder: etree._Element | None, limits: Limits) -> tuple[PartInfo, ...]:
    infos = [] if holder is None else list(reading.children(holder))
    if len(infos) > limits.parts:
        raise TooLarge("too many parts")
    parts = tuple(map(_part_info, infos))
    if len({part.content_id for part in parts}) != len(parts):
        raise PartsDiffer("a part is named twice")
    return parts


def _part_info(info: etree._Element) -> PartInfo:
    if info.tag != f"{{{names.EB}}}PartInfo":
        raise BadEnvelope("something else than PartInfo in PayloadInfo")
    content_id = mime.cid_of(info.get("href", ""))
    if not content_id:
        raise ExternalPayload("a part that is not attached")
    properties = _properties(reading.optional_child(info, names.EB, "PartProperties"))
    return PartInfo(
        content_id=content_id,
        mime_type=properties.get("MimeType"),
        charset=properties.get("CharacterSet"),
        compression=properties.get("CompressionType"),
    )


def _check_attached(header: Header, package: mime.Package) -> None:
    if {part.content_id for part in header.parts} != set(package.attachments):
        raise PartsDiffer("the parts in the header are not those attached")
