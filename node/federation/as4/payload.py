"""Payload octets: compression with bounds, and what of a part is digested.

Source: AS4 1.0 section 3.1 (compression); SwA profile 1.1.1 section 5.4.2 (what is digested).
"""

from __future__ import annotations

import codecs
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator

from lxml import etree

from node.federation.as4 import reading
from node.federation.as4.canonical import sha256
from node.federation.as4.errors import BadEnvelope, BadSignature, FailedDecompression, WrongCharset
from node.federation.as4.model import MIB
from node.federation.as4.spooling import CHUNK, Content, chunks_of, size_of, whole

_GZIP = 31  # zlib's window size with a gzip header and trailer
_MAX_XML = 2 * MIB  # canonicalising takes many times that in memory; larger documents are sent compressed
_XML = re.compile(r"(text/xml|application/xml|[^/]+/[^/]+\+xml)")
# No others: Python's codecs include compressions, ciphers and some whose time is quadratic.
_CHARSETS = re.compile(
    r"utf-(8|16|16le|16be|32|32le|32be)|us-ascii|iso-8859-([1-9]|1[013456])|windows-125[0-8]", re.IGNORECASE
)


def compress(content: bytes) -> bytes:
    """`content` as one gzip member; the same bytes for the same content (no time, no name)."""
    return b"".join(compressed((content,)))


def compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces` as one gzip member, in pieces."""
    packer = zlib.compressobj(level=6, wbits=_GZIP)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def decompress(content: bytes, *, limit: int, ratio: int) -> bytes:
    """The content of one gzip member of at most `limit` bytes. Raises FailedDecompression.

    Beyond 1 MiB the content may not be more than `ratio` times its compressed size: no more than that is ever held.
    """
    allowed = min(limit, max(MIB, ratio * len(content)))
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = unpacker.decompress(content, allowed + 1)
    except zlib.error as error:
        raise FailedDecompression("damaged gzip data") from error
    if len(plain) > allowed:
        raise FailedDecompression("the part is too large once decompressed")
    if not unpacker.eof:
        raise FailedDecompression("the gzip data ends early")
    if unpacker.unused_data:
        raise FailedDecompression("data after the gzip member")
    return plain


def decompressed(content: Content, *, limit: int, ratio: int) -> Iterator[bytes]:
    """As `decompress`, in pieces of at most 1 MiB; what came before an error must not be believed."""
    left = min(limit, max(MIB, ratio * size_of(content)))
    unpacker = zlib.decompressobj(wbits=_GZIP)
    for piece in chunks_of(content):
        waiting = piece
        while waiting and not unpacker.eof:
            try:
                plain = unpacker.decompress(waiting, min(CHUNK, left + 1))
            except zlib.error as error:
                raise FailedDecompression("damaged gzip data") from error
            left -= len(plain)
            if left < 0:
                raise FailedDecompression("the part is too large once decompressed")
            waiting = unpacker.unconsumed_tail
            yield plain
        if waiting or unpacker.unused_data:
            raise FailedDecompression("data after the gzip member")
    if not unpacker.eof:
        raise FailedDecompression("the gzip data ends early")


def check_charset(content: Content, media_type: str, charset: str) -> None:
    """Raises WrongCharset if `content`, of a text or XML type, is not text in `charset`. Other types are not judged.

    XML must also begin as XML does: nearly any bytes of even number are UTF-16LE.
    """
    kind = _kind(media_type)
    is_xml = _XML.fullmatch(kind) is not None
    if not is_xml and not kind.startswith("text/"):
        return
    if not _CHARSETS.fullmatch(charset):
        raise WrongCharset(f"character set {charset[:40]!r} is not read here")
    decoder = codecs.getincrementaldecoder(charset)()
    beginning = ""
    try:
        for piece in chunks_of(content):  # text takes up to four times its bytes
            found = decoder.decode(piece)
            beginning = beginning or found.lstrip("\ufeff \t\r\n")[:1]
        decoder.decode(b"", final=True)
    except UnicodeError as error:  # also for UTF-16 and UTF-32 without a byte order mark
        raise WrongCharset(f"a part is not {charset}") from error
    if is_xml and beginning not in ("", "<"):
        raise WrongCharset(f"an XML part does not begin as XML in {charset}")


def digest(content: Content, media_type: str) -> bytes:
    """The digest of an attachment's content under the Attachment-Content-Signature transform.

    `media_type` is that of the attached octets: application/gzip for a compressed part. Raises BadSignature if it
    says XML and the content is none, has a document type, is larger than 2 MiB, or too broad to be canonicalised.
    """
    kind = _kind(media_type)
    if _XML.fullmatch(kind):
        try:
            return sha256(_canonical_document(content))
        except (BadEnvelope, etree.LxmlError, ValueError) as error:
            raise BadSignature("an attachment said to be XML cannot be digested") from error
    if isinstance(content, bytes):
        return sha256(_with_crlf(content) if kind.startswith("text/") else content)
    pieces = _with_line_ends(content.chunks()) if kind.startswith("text/") else content.chunks()
    summed = hashlib.sha256()
    for piece in pieces:
        summed.update(piece)
    return summed.digest()


def is_digested_as_it_is(media_type: str) -> bool:
    """Whether the octets themselves are digested, and not another form of them."""
    kind = _kind(media_type)
    return not kind.startswith("text/") and not _XML.fullmatch(kind)


def _kind(media_type: str) -> str:
    """A media type without its parameters."""
    return media_type.partition(";")[0].strip().lower()


def _with_crlf(text: bytes) -> bytes:
    """In three passes: one by a regular expression holds an object for every line."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _with_line_ends(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Text with CRLF at every line's end, wherever the pieces were cut."""
    held = b""
    for piece in pieces:
        text = held + piece
        held = text[-1:] if text.endswith(b"\r") else b""  # its line feed may come with the next piece
        yield _with_crlf(text[: len(text) - len(held)])
    yield b"\r\n" if held else b""


def _canonical_document(content: Content) -> bytes:
    """The exclusive canonical form of a whole document; unlike an envelope it may nest and hold comments."""
    if size_of(content) > _MAX_XML:
        raise BadEnvelope("uncompressed XML is too large")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(whole(content), parser)
    reading.check_breadth(root)
    tree = root.getroottree()
    if tree.docinfo.internalDTD is not None or tree.docinfo.externalDTD is not None:
        raise BadEnvelope("a document type")
    return etree.tostring(tree, method="c14n", exclusive=True, with_comments=False)
