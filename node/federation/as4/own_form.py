"""Reading the form we write ourselves, without an XML parser.

What our nodes send is made of fixed pieces in canonical form (`signing`, `building`, `signals`), so that the bytes sent
are the bytes signed. A message made of exactly these pieces can be taken apart at their borders; what lies between is
text in which nothing can be misread: no markup, no character XML forbids, no escapes but the canonical ones. What was
signed is digested as it stands.

This reader understands every byte, or says None; then the general reader (`envelope`, `verifying`, `decrypting`) decides,
which also finds the words for what is wrong. So it never refuses, and what it takes the general reader takes with
the same result: tests/federation/as4/test_own_form.py holds the two together. ADR 5 says why there are two.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from cryptography import x509

from node.federation.as4 import names, pieces, tokens
from node.federation.as4.canonical import is_writable, sha256
from node.federation.as4.model import Reference
from node.federation.as4.wrapped import WrappedKey

_MAX_TEXT = 1024
_ESCAPES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "#xD": "\r", "#x9": "\t", "#xA": "\n"}
_IN_TEXT = re.compile("&(?:(amp|lt|gt|#xD);)?")
_IN_ATTRIBUTE = re.compile("&(?:(amp|lt|quot|#xD|#x9|#xA);)?")

_TEXT = b"[^<>\0-\x08\x0b-\x1f]*"
_ATTRIBUTE = b'[^<"\0-\x1f]*'
_ID = rb"[0-9a-f]{32}"
_NUMBER = rb"[1-9][0-9]{0,2}"
BASE64 = rb"[A-Za-z0-9+/]*={0,2}"
BY_SKI = pieces.IDENTIFIER.format(kind=names.X509_SKI, value="{ski}")
_CID = rb"[A-Za-z0-9._@-]{1,255}"


class _OtherForm(Exception):
    """It is not our own form."""


def compiled(template: str, **groups: bytes) -> re.Pattern[bytes]:
    """What a writer makes of `template` by `str.format`, each field being a group of this name."""
    pattern, seen = b"", set[str]()
    for constant, field, _, _ in Formatter().parse(template):
        pattern += re.escape(constant).encode()
        if field is not None:
            name = field.encode()
            pattern += b"(?P=%s)" % name if field in seen else b"(?P<%s>%s)" % (name, groups[field])
            seen.add(field)
    return re.compile(pattern)


_REFERENCE = compiled(pieces.REFERENCE, declare=b"", uri=_ATTRIBUTE, transform=_ATTRIBUTE, inclusive=b"",
                      method=_ATTRIBUTE, digest=BASE64)  # fmt: skip
_RECEIPTED = compiled(
    pieces.RECEIPTED.format(reference=pieces.REFERENCE), declare=re.escape(pieces.DECLARE_DS).encode(), uri=_ATTRIBUTE,
    transform=_ATTRIBUTE, inclusive=b"", method=_ATTRIBUTE, digest=BASE64,
)  # fmt: skip
_SIGNED_INFO = compiled(pieces.SIGNED_INFO_OPEN, algorithm=_ATTRIBUTE)
_ENCRYPTED_DATA = compiled(pieces.ENCRYPTED_DATA, token=_ID, number=_NUMBER, media=_ATTRIBUTE, cid=_CID)
_LISTED = compiled(pieces.LISTED, token=_ID, number=_NUMBER)
_PROPERTY = re.compile(b'<eb:Property name="(%s)"(?: type="%s")?>(%s)</eb:Property>' % (_ATTRIBUTE, _ATTRIBUTE, _TEXT))
_PART_INFO = re.compile(
    b'<eb:PartInfo href="cid:(%s)"><eb:PartProperties>((?:%s)+)</eb:PartProperties></eb:PartInfo>'
    % (_CID, _PROPERTY.pattern.replace(b"(%s)" % _TEXT, _TEXT).replace(b"(%s)" % _ATTRIBUTE, _ATTRIBUTE))
)


def _element(name: str, group: str, *, attribute: str = "", optional: bool = False) -> bytes:
    typed = b'(?: type="(?P<%s>%s)")?' % (attribute.encode(), _ATTRIBUTE) if attribute else b""
    found = b"<eb:%s%s>(?P<%s>%s)</eb:%s>" % (name.encode(), typed, group.encode(), _TEXT, name.encode())
    return b"(?:%s)?" % found if optional else found


_INFO = b"<eb:MessageInfo>%s%s%s</eb:MessageInfo>" % (
    _element("Timestamp", "timestamp"),
    _element("MessageId", "message_id"),
    _element("RefToMessageId", "ref_to_message_id", optional=True),
)
_USER_MESSAGE = re.compile(
    b"<eb:UserMessage>%s<eb:PartyInfo><eb:From>%s%s</eb:From><eb:To>%s%s</eb:To></eb:PartyInfo>"
    b"<eb:CollaborationInfo>%s%s%s%s</eb:CollaborationInfo>"
    b"(?:<eb:MessageProperties>(?P<properties>(?:<eb:Property [^<]*<[^<]*>)+)</eb:MessageProperties>)?"
    b"(?:<eb:PayloadInfo>(?P<parts><eb:PartInfo .*)</eb:PayloadInfo>)?</eb:UserMessage>"
    % (
        _INFO,
        _element("PartyId", "sender", attribute="sender_type"),
        _element("Role", "sender_role"),
        _element("PartyId", "recipient", attribute="recipient_type"),
        _element("Role", "recipient_role"),
        _element("AgreementRef", "agreement_ref", attribute="agreement_type", optional=True),
        _element("Service", "service", attribute="service_type"),
        _element("Action", "action"),
        _element("ConversationId", "conversation_id"),
    ),
    re.DOTALL,
)
_RECEIPT = re.compile(
    b"<eb:SignalMessage>%s%s(?P<parts><ebbp:MessagePartNRInformation>.*)%s</eb:SignalMessage>"
    % (_INFO, re.escape(pieces.RECEIPT_OPEN).encode(), re.escape(pieces.RECEIPT_CLOSE).encode()),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEnvelope:
    """An envelope in our own form, whose references cover Messaging and Body with the right digests.

    The signature over `info`, from which they were read, is not verified.
    """

    soap: bytes
    unit: bytes
    info: bytes  # ds:SignedInfo in canonical form
    algorithm: str
    signature: bytes
    certificate: str  # Base64 of DER: as the message says
    references: tuple[Reference, ...]
    key: bytes  # what EncryptedKey holds before its list; empty if nothing is encrypted
    parts: Mapping[str, str]  # Content-ID -> media type of the encrypted octets

    def named(self, certificates: Sequence[x509.Certificate]) -> x509.Certificate | None:
        """The one of `certificates` that the message is signed with, as it says."""
        return next((each for each in certificates if tokens.token_base64(each) == self.certificate), None)


@dataclass(frozen=True, slots=True)
class OwnUnit:
    """A message unit's fields, unescaped; a field that is not there is None."""

    fields: Mapping[str, str | None]
    properties: Mapping[str, str]
    parts: tuple[tuple[str, Mapping[str, str]], ...]  # Content-ID and properties


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A wrapped content key in our own form, and the subject key identifier of the certificate it is for."""

    wrapped: WrappedKey
    ski: bytes

    def is_for(self, certificate: x509.Certificate) -> bool:
        """Whether it was wrapped for this certificate."""
        return tokens.ski(certificate) == self.ski


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, constant: str) -> None:
        expected = constant.encode()
        if not self.data.startswith(expected, self.position):
            raise _OtherForm
        self.position += len(expected)

    def until(self, constant: str) -> bytes:
        """What comes before `constant`; both are passed."""
        sought = constant.encode()
        end = self.data.find(sought, self.position)
        if end == -1:
            raise _OtherForm
        found = self.data[self.position : end]
        self.position = end + len(sought)
        return found

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self.data, self.position)
        if found is not None:
            self.position = found.end()
        return found


def read(soap: bytes) -> OwnEnvelope | None:
    """The envelope, if it is in our own form and its digests of Messaging and Body are right."""
    try:
        return _envelope(_Cursor(soap))
    except (_OtherForm, UnicodeDecodeError, binascii.Error):
        return None


def _envelope(cursor: _Cursor) -> OwnEnvelope:
    soap = cursor.data
    cursor.take(pieces.HEAD)
    begin = cursor.position
    cursor.take(pieces.MESSAGING_OPEN)
    token = cursor.until('"').decode()
    if not re.fullmatch("[0-9a-f]{32}", token):
        raise _OtherForm
    cursor.take(pieces.MESSAGING_REST)
    unit = cursor.until(pieces.MESSAGING_CLOSE)
    messaging = soap[begin : cursor.position]
    cursor.take(pieces.SECURITY_OPEN)
    key, parts = _encryption(cursor, token)
    cursor.take(pieces.TOKEN_OPEN.format(kind=names.X509V3, identifier=f"X509-{token}"))
    certificate = cursor.until(pieces.TOKEN_CLOSE)
    cursor.take(pieces.SIGNATURE_OPEN.format(token=token))
    begin = cursor.position
    algorithm = cursor.match(_SIGNED_INFO)
    if algorithm is None:
        raise _OtherForm
    references = tuple(map(_reference, _each(_REFERENCE, cursor.until(pieces.SIGNED_INFO_CLOSE))))
    info = soap[begin : cursor.position]
    cursor.take(pieces.VALUE_OPEN)
    signature = decoded(cursor.until(pieces.VALUE_CLOSE))
    cursor.take(
        pieces.KEY_INFO.format(
            reference=pieces.TOKEN_REFERENCE.format(kind=names.X509V3, identifier=f"X509-{token}", says="")
        )
    )
    cursor.take(pieces.SECURITY_CLOSE)
    body = pieces.BODY.format(token=token)
    cursor.take(body + pieces.END)
    if cursor.position != len(soap) or not _covers(references, token, messaging, body.encode()):
        raise _OtherForm
    return OwnEnvelope(
        soap=soap,
        unit=unit,
        info=info,
        algorithm=_attribute(algorithm["algorithm"]),
        signature=signature,
        certificate=certificate.decode("ascii"),
        references=references,
        key=key,
        parts=parts,
    )


def _encryption(cursor: _Cursor, token: str) -> tuple[bytes, Mapping[str, str]]:
    opening = pieces.ENCRYPTED_KEY_OPEN.format(token=token)
    if not cursor.data.startswith(opening.encode(), cursor.position):
        return b"", {}
    cursor.take(opening)
    key = cursor.until(pieces.LIST_OPEN)
    listed = [(m["token"].decode(), m["number"]) for m in _each(_LISTED, cursor.until(pieces.ENCRYPTED_KEY_CLOSE))]
    parts: dict[str, str] = {}
    for expected in listed:
        match = cursor.match(_ENCRYPTED_DATA)
        if match is None or (match["token"].decode(), match["number"]) != expected or expected[0] != token:
            raise _OtherForm
        parts[match["cid"].decode()] = _attribute(match["media"])
    if not len(parts) == len(set(listed)) == len(listed):
        raise _OtherForm
    return key, parts


def _covers(references: Sequence[Reference], token: str, messaging: bytes, body: bytes) -> bool:
    """Whether exactly Messaging, Body and attachments are signed, each once, and the first two as they stand here."""
    expected = {f"#MSG-{token}": messaging, f"#BODY-{token}": body}
    found = {reference.uri: reference for reference in references}
    if len(found) != len(references) or not expected.keys() <= found.keys():
        return False
    for uri, reference in found.items():
        element = expected.get(uri)
        if element is None and not uri.startswith("cid:"):
            return False
        if not _is_agreed(reference):
            return False
        if element is not None and sha256(element) != reference.digest:
            return False
    return True


def _is_agreed(reference: Reference) -> bool:
    """Whether transform and digest are those the profile fixes."""
    transform = names.ATTACHMENT_SIGNATURE if reference.uri.startswith("cid:") else names.EXC_C14N
    return (reference.transform, reference.digest_method) == (transform, names.SHA256)


def read_user_message(unit: bytes) -> OwnUnit | None:
    """The fields of a user message in our own form."""
    match = _USER_MESSAGE.fullmatch(unit)
    if match is None:
        return None
    try:
        fields = _fields(match, ("sender_type", "recipient_type", "agreement_type", "service_type"))
        parts = tuple((part[1].decode(), _properties(part[2])) for part in _each(_PART_INFO, match["parts"] or b""))
        return OwnUnit(fields, _properties(match["properties"] or b""), parts)
    except (_OtherForm, UnicodeDecodeError):
        return None


def read_receipt(unit: bytes) -> tuple[Mapping[str, str | None], tuple[Reference, ...]] | None:
    """The fields of a receipt in our own form, and the references it repeats."""
    match = _RECEIPT.fullmatch(unit)
    if match is None:
        return None
    try:
        references = tuple(map(_reference, _each(_RECEIPTED, match["parts"])))
        return (_fields(match, ()), references) if all(map(_is_agreed, references)) else None
    except (_OtherForm, UnicodeDecodeError, binascii.Error):
        return None


def _fields(match: re.Match[bytes], attributes: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, value in match.groupdict().items():
        if name in ("properties", "parts"):
            continue
        if value is None:
            found[name] = None
        elif name in attributes:
            found[name] = _attribute(value)
        else:
            found[name] = _text(value)
            if not 0 < len(found[name] or "") <= _MAX_TEXT:
                raise _OtherForm
    return found


def _properties(written: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _each(_PROPERTY, written):
        name = _attribute(match[1])
        if not name or name in found:
            raise _OtherForm
        found[name] = _text(match[2])
    return found


def _each(pattern: re.Pattern[bytes], written: bytes) -> Iterator[re.Match[bytes]]:
    """`written` as a row of what `pattern` matches, nothing between and nothing after."""
    position = 0
    while position < len(written):
        match = pattern.match(written, position)
        if match is None or match.end() == position:
            raise _OtherForm
        position = match.end()
        yield match


def _reference(match: re.Match[bytes]) -> Reference:
    return Reference(
        uri=_attribute(match["uri"]),
        digest=decoded(match["digest"]),
        transform=_attribute(match["transform"]),
        digest_method=_attribute(match["method"]),
    )


def decoded(value: bytes) -> bytes:
    """The octets of a Base64 text. Raises binascii.Error."""
    return binascii.a2b_base64(value, strict_mode=True)


def _text(value: bytes) -> str:
    return _unescaped(value.decode(), _IN_TEXT)


def _attribute(value: bytes) -> str:
    return _unescaped(value.decode(), _IN_ATTRIBUTE)


def _unescaped(value: str, escape: re.Pattern[str]) -> str:
    if "&" in value:
        value = escape.sub(_escaped, value)
    if not is_writable(value):
        raise _OtherForm
    return value


def _escaped(match: re.Match[str]) -> str:
    if match[1] is None:
        raise _OtherForm
    return _ESCAPES[match[1]]
