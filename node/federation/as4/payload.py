"""Payload octets: compression with bounds, and what of a part is digested.

Source: AS4 1.0 section 3.1 (compression); SwA profile 1.1.1 section 5.4.2 (what is digested).
"""

from __future__ import annotations

import re
import zlib

from lxml import etree

from node.federation.as4.canonical import sha256
from node.federation.as4.errors import BadEnvelope, BadSignature, FailedDecompression
from node.federation.as4.model import MIB

_GZIP = 31  # zlib's window size with a gzip header and trailer
_MAX_XML = 8 * MIB  # canonicalising takes many times that in memory; larger documents are sent compressed
_XML = re.compile(r"(text/xml|application/xml|[^/]+/[^/]+\+xml)")


def compress(content: bytes) -> bytes:
    """`content` as one gzip member; the same bytes for the same content (no time, no name)."""
    packer = zlib.compressobj(level=6, wbits=_GZIP)
    return packer.compress(content) + packer.flush()


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


def digest(content: bytes, media_type: str) -> bytes:
    """The digest of an attachment's content under the Attachment-Content-Signature transform.

    `media_type` is that of the attached octets: application/gzip for a compressed part. Raises BadSignature if it
    says XML and the content is none, has a document type, or is larger than 8 MiB.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if _XML.fullmatch(kind):
        try:
            return sha256(_canonical_document(content))
        except (BadEnvelope, etree.LxmlError, ValueError) as error:
            raise BadSignature("an attachment said to be XML cannot be digested") from error
    if kind.startswith("text/"):
        return sha256(re.sub(rb"\r\n|\r|\n", b"\r\n", content))
    return sha256(content)


def _canonical_document(content: bytes) -> bytes:
    """The exclusive canonical form of a whole document; unlike an envelope it may nest and hold comments."""
    if len(content) > _MAX_XML:
        raise BadEnvelope("uncompressed XML is too large")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    tree = etree.fromstring(content, parser).getroottree()
    if tree.docinfo.internalDTD is not None or tree.docinfo.externalDTD is not None:
        raise BadEnvelope("a document type")
    return etree.tostring(tree, method="c14n", exclusive=True, with_comments=False)
