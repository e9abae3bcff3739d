"""The HTTP entity: SOAP with attachments as multipart/related, written and read strictly.

Bare line feeds, preambles, a missing closing boundary, data after it, repeated Content-IDs and transfer encodings
other than identity are refused: whatever two readers could understand differently.
Parts are slices of the body; nothing is copied, so a body may also be a mapped spool file.

Source: RFC 2046, RFC 2387, SOAP Messages with Attachments; eDelivery AS4 2.0 (binary transfer encoding).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote

from node.federation.as4 import names
from node.federation.as4.errors import BrokenMime, TooLarge
from node.federation.as4.model import MIB, Limits
from node.federation.as4.spooling import Content

Body = bytes | mmap.mmap

_MAX_PART_HEADERS = 8192
_WINDOW = 8 * MIB
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 grammar
_MEDIA_TYPE = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*")
_PARAMETER = re.compile(rf';\s*({_TOKEN})\s*=\s*(?:({_TOKEN})|"((?:[^"\\\r\n]|\\.)*)")\s*')
_PARAMETERS = re.compile(rf'(?:;\s*{_TOKEN}\s*=\s*(?:{_TOKEN}|"(?:[^"\\\r\n]|\\.)*")\s*)*')
_QUOTED_PAIR = re.compile(r"\\(.)")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_HEADERS = re.compile(rf"{_TOKEN}:[\t\x20-\x7e\x80-\xff]*(?:\r\n{_TOKEN}:[\t\x20-\x7e\x80-\xff]*)*")
_FOLD = re.compile(r"\r\n[ \t]+")
_CONTENT_ID = re.compile(r"<([\x21-\x3b\x3d\x3f-\x7e]{1,255})>")
_IDENTITY_ENCODINGS = ("binary", "8bit", "7bit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A MIME part besides the envelope, as it arrived (usually ciphertext)."""

    content: memoryview
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An HTTP entity taken apart; nothing of it is authenticated. Attachments by Content-ID, in order."""

    soap: bytes
    attachments: Mapping[str, Attachment] = field(default_factory=dict)


def unpack(content_type: str, body: Body, limits: Limits) -> Package:
    """The envelope and the attachments of an HTTP entity. Raises BrokenMime or TooLarge."""
    if len(body) > limits.entity:
        raise TooLarge("the entity is too large")
    media_type, parameters = parse_content_type(content_type)
    view = memoryview(body)
    if media_type == names.SOAP:
        return Package(soap=_soap(view, parameters, limits))
    if media_type != "multipart/related":
        raise BrokenMime("neither multipart/related nor application/soap+xml")
    if parameters.get("type", "").lower() != names.SOAP:
        raise BrokenMime("the multipart entity's root is not said to be application/soap+xml")
    parts = [_part(view[start:end]) for start, end in _spans(body, _boundary(parameters), limits)]
    return _package(parts, parameters.get("start"), limits)


def _package(parts: Sequence[tuple[dict[str, str], memoryview]], start: str | None, limits: Limits) -> Package:
    headers, root = parts[0]
    root_type, root_parameters = _part_type(headers.get("content-type", ""))
    if root_type != names.SOAP:
        raise BrokenMime("the first part is not application/soap+xml")
    root_id = headers.get("content-id")
    if start is not None and start != root_id:
        raise BrokenMime("the start parameter does not name the first part")
    attachments: dict[str, Attachment] = {}
    for part_headers, content in parts[1:]:
        content_id = _content_id(part_headers)
        if content_id in attachments or f"<{content_id}>" == root_id:
            raise BrokenMime("a Content-ID occurs twice")
        media_type, _ = _part_type(part_headers.get("content-type", ""))
        attachments[content_id] = Attachment(content=content, mime_type=media_type)
    return Package(soap=_soap(root, root_parameters, limits), attachments=attachments)


def _soap(view: memoryview, parameters: Mapping[str, str], limits: Limits) -> bytes:
    if len(view) > limits.soap:
        raise TooLarge("the SOAP part is too large")
    if parameters.get("charset", "utf-8").lower() != "utf-8":
        raise BrokenMime("the SOAP part is not UTF-8")
    return bytes(view)


def parse_content_type(value: str) -> tuple[str, dict[str, str]]:
    """Media type in lower case and parameters by lower-case name. Raises BrokenMime."""
    if len(value) > 1024:
        raise BrokenMime("the content type is too long")
    head = _MEDIA_TYPE.match(value)
    if head is None:
        raise BrokenMime("no content type")
    if not _PARAMETERS.fullmatch(value, head.end()):
        raise BrokenMime("the content type's parameters are malformed")
    parameters: dict[str, str] = {}
    for name, token, quoted in _PARAMETER.findall(value, head.end()):
        if name.lower() in parameters:
            raise BrokenMime("a content type parameter occurs twice")
        parameters[name.lower()] = token or _QUOTED_PAIR.sub(r"\1", quoted)
    return head[1].lower(), parameters


@lru_cache(maxsize=64)
def _part_type(value: str) -> tuple[str, dict[str, str]]:
    """As `parse_content_type`; parts come with the same few types."""
    return parse_content_type(value)


def _boundary(parameters: Mapping[str, str]) -> bytes:
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BrokenMime("no usable boundary")
    return b"--" + boundary.encode("ascii")


def _spans(body: Body, delimiter: bytes, limits: Limits) -> list[tuple[int, int]]:
    """Start and end of each part, headers included. The body is read once, front to back."""
    opening = 2 if body[:2] == b"\r\n" else 0
    if body[opening : opening + len(delimiter)] != delimiter:
        raise BrokenMime("the entity does not begin with its boundary")
    spans: list[tuple[int, int]] = []
    position = opening + len(delimiter)
    while (after := body[position : position + 2]) == b"\r\n":
        if len(spans) > limits.parts:
            raise TooLarge("too many parts")
        # From the line end of the boundary on: a part without headers and content may share it.
        end = _find(body, b"\r\n" + delimiter, position)
        if end == -1:
            raise BrokenMime("the closing boundary is missing")
        spans.append((position + 2, end))
        position = end + 2 + len(delimiter)
    if after != b"--" or body[position + 2 : position + 5] not in (b"", b"\r\n"):
        raise BrokenMime("the closing boundary is malformed or followed by data")
    if not spans:
        raise BrokenMime("no parts")
    return spans


def _find(body: Body, sought: bytes, start: int) -> int:
    """As `body.find`; the pages of a mapped file are given back while it is read."""
    if not isinstance(body, mmap.mmap):
        return body.find(sought, start)
    for begin in range(start, len(body), _WINDOW):
        found = body.find(sought, begin, begin + _WINDOW + len(sought) - 1)
        if found != -1:
            return found
        body.madvise(mmap.MADV_DONTNEED)
    return -1


def _part(view: memoryview) -> tuple[dict[str, str], memoryview]:
    """Headers by lower-case name, and the content."""
    head = bytes(view[:_MAX_PART_HEADERS])
    end = head.find(b"\r\n\r\n")
    if end == -1:
        raise BrokenMime("a part's headers do not end")
    headers: dict[str, str] = {}
    unfolded = _FOLD.sub(" ", head[:end].decode("latin-1"))
    if not _HEADERS.fullmatch(unfolded):
        raise BrokenMime("a part's headers are malformed")
    for line in unfolded.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() in headers:
            raise BrokenMime("a part's header occurs twice")
        headers[name.lower()] = value.strip(" \t")
    if headers.get("content-transfer-encoding", "binary").lower() not in _IDENTITY_ENCODINGS:
        raise BrokenMime("a transfer encoding other than binary")
    return headers, view[end + 4 :]


def _content_id(headers: Mapping[str, str]) -> str:
    found = _CONTENT_ID.fullmatch(headers.get("content-id", ""))
    if found is None:
        raise BrokenMime("an attachment without a well-formed Content-ID")
    return found[1]


def cid_of(uri: str) -> str | None:
    """The Content-ID a `cid:` URI names, or None if it is another kind of URI."""
    return unquote(uri[4:]) if uri.startswith("cid:") else None


def pack(
    soap: bytes, attachments: Sequence[tuple[str, Content]], *, token: str, domain: str
) -> tuple[str, tuple[Content, ...]]:
    """Content type and body, in pieces, for an envelope with encrypted `attachments` (Content-ID, content).

    `token` must be random: the boundary must not occur in the parts. Without attachments the body is plain SOAP.
    """
    if not attachments:
        return f"{names.SOAP}; charset=UTF-8", (soap,)
    boundary, root = f"=_{token}", f"<root-{token}@{domain}>"
    delimiter = f"--{boundary}\r\n".encode()
    pieces: list[Content] = []
    small = [delimiter, _part_head(f"{names.SOAP}; charset=UTF-8", root), soap]
    for content_id, content in attachments:
        small += (b"\r\n", delimiter, _part_head("application/octet-stream", f"<{content_id}>"))
        if isinstance(content, bytes):
            small.append(content)
        else:
            pieces += (b"".join(small), content)
            small = []
    pieces.append(b"".join((*small, f"\r\n--{boundary}--\r\n".encode())))
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="{names.SOAP}"; start="{root}"; start-info="{names.SOAP}"'
    )
    return content_type, tuple(pieces)


def _part_head(content_type: str, content_id: str) -> bytes:
    head = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {content_id}\r\n\r\n"
    return head.encode("ascii")
