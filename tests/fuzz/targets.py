"""What is fuzzed: one function of bytes for each kind of bytes a peer can send.

A target returns or raises As4Error; everything else is a finding, broken promises (LawBroken) included. The text of
an input can be written by hand: see the corpus.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from node.federation import as4
from node.federation.as4 import mime, names, payload

from .law import LawBroken, Target
from .parties import AT, COMMON, LIMITS, PARTIES, Parties, split_entity
from .resigning import DIGEST, SIGN, resign

_HREF = re.compile(rb'href="cid:([^"]{1,255})"')


def fuzz_mime(data: bytes) -> None:
    """An HTTP entity: content type and body.

    Promise: what was unpacked packs and unpacks to the same, and a mapped spool file reads like bytes.
    """
    content_type, body = split_entity(data)
    package = as4.unpack(content_type, body, LIMITS)
    if len(package.attachments) > LIMITS.parts:
        raise LawBroken("more attachments than the limit")
    with_contents = _contents(package)
    if body:  # an empty file cannot be mapped
        spooled = mmap.mmap(-1, len(body))
        spooled.write(body)
        if _contents(as4.unpack(content_type, spooled, LIMITS)) != with_contents:
            raise LawBroken("a mapped file reads differently")
    attached = [(content_id, content) for content_id, (content, _) in with_contents[1].items()]
    kind, pieces = mime.pack(package.soap, attached, token=hashlib.sha256(data).hexdigest(), domain="at.example")
    again = b"".join(pieces)
    if len(again) <= LIMITS.entity and _names_and_octets(as4.unpack(kind, again, LIMITS)) != (package.soap, attached):
        raise LawBroken("what was unpacked does not survive packing")


def _contents(package: as4.Package) -> tuple[bytes, dict[str, tuple[bytes, str]]]:
    return package.soap, {cid: (bytes(one.content), one.mime_type) for cid, one in package.attachments.items()}


def _names_and_octets(package: as4.Package) -> tuple[bytes, list[tuple[str, bytes]]]:
    return package.soap, [(cid, bytes(one.content)) for cid, one in package.attachments.items()]


def fuzz_soap(data: bytes) -> None:
    """An envelope whose parts are all attached, up to the question which agreement it falls under.

    Promise: whatever is wrong with it, the error signal that says so can be written and read.
    """
    parts = {mime.cid_of(f"cid:{found.decode('utf-8', 'replace')}") or "" for found in _HREF.findall(data)}
    attachments = {part: as4.Attachment(content=memoryview(b""), mime_type=names.GZIP) for part in parts}
    try:
        header = as4.parse_soap(as4.Package(soap=data, attachments=attachments), LIMITS)
        if header.timestamp.tzinfo is None:
            raise LawBroken("a time without zone")
        as4.check_agreed(header, COMMON.receiving)
    except as4.As4Error as error:
        _check_answerable(error)
        raise


def _check_answerable(error: as4.As4Error) -> None:
    if error.message_id is None:
        return
    answer = as4.build_error(
        error,
        ref_to_message_id=error.message_id,
        message_id="error-1@c3.example",
        at=AT,
        form=COMMON.receiving.signature_form,
        signer=COMMON.signers["c3"],
    )
    signal = COMMON.read_answer(answer.content_type, answer.body)
    if not isinstance(signal, as4.ErrorSignal) or not signal.authenticated:
        raise LawBroken("our own error signal is not believed")
    if signal.ref_to_message_id != error.message_id:
        raise LawBroken("our own error signal names another message")


def fuzz_security(data: bytes) -> None:
    """A line naming the suite, then a whole HTTP entity: a user message for c3, or an answer to c2.

    `{digest}` and `{sign}` in it are filled in first (see `resigning`), so that what is checked after the signature
    is reached. Promises: an input that does not ask for a signature (digests anyone can write) is accepted only if c2
    or c3 really said it; for what is accepted the receipt can be written, is believed, and fits.
    """
    line, _, entity = data.partition(b"\n")
    parties = _parties(line)
    content_type, body = split_entity(entity)
    if b"SignalMessage" in body:
        signal = parties.read_answer(content_type, _signed(content_type, body, parties, "c3"))
        _check_signal(signal, parties, forged=SIGN not in body)
        return
    verified, message = parties.receive(content_type, _signed(content_type, body, parties, "c2"))
    if SIGN not in body and message not in parties.genuine:
        raise LawBroken("a message was accepted that c2 never signed")
    _check_receipt(verified, parties)


def _parties(line: bytes) -> Parties:
    """Those of the suite that is named, or of any, so that a mutated name means another suite."""
    known = PARTIES.get(line.decode("ascii", "replace"))
    return known or list(PARTIES.values())[zlib.crc32(line) % len(PARTIES)]


def _signed(content_type: str, body: bytes, parties: Parties, signer: str) -> bytes:
    if SIGN not in body and DIGEST not in body:
        return body
    soap = as4.unpack(content_type, body, LIMITS).soap
    return body.replace(soap, resign(soap, parties.signers[signer]), 1)


def _check_signal(signal: as4.Signal, parties: Parties, *, forged: bool) -> None:
    if isinstance(signal, as4.ErrorSignal):
        if signal.code == "EBMS:4001" and not signal.says_duplicate:
            raise LawBroken("a duplicate is not recognised")
        if forged and signal.authenticated:
            raise LawBroken("an error signal was believed that c3 never signed")
        return
    if forged and signal not in parties.genuine_receipts:
        raise LawBroken("a receipt was believed that c3 never signed")
    as4.check_receipt(signal, message_id=signal.ref_to_message_id or "", sent=signal.references)


def _check_receipt(verified: as4.Verified, parties: Parties) -> None:
    stored = as4.load_references(as4.dump_references(verified.references))
    receipt = as4.build_receipt(
        stored,
        ref_to_message_id=verified.header.message_id,
        message_id="receipt-1@c3.example",
        at=AT,
        form=parties.receiving.signature_form,
        signer=parties.signers["c3"],
    )
    try:
        signal = parties.read_answer(receipt.content_type, receipt.body)
        as4.check_receipt(signal, message_id=verified.header.message_id, sent=verified.references)
    except as4.As4Error as error:
        raise LawBroken(f"our own receipt is not believed: {error}") from error


def fuzz_payload(data: bytes) -> None:
    """A line with the media type, then an attached part's octets as they are after decryption.

    Promises: in pieces it is digested and decompressed as in one; never more than the limit; what was decompressed
    compresses to the same content; a canonical form is its own canonical form.
    """
    line, _, octets = data.partition(b"\n")
    media_type = line.decode("utf-8", "replace")
    digest = payload.digest(octets, media_type)
    pieces = _Pieces(octets)
    if payload.digest(pieces, media_type) != digest:
        raise LawBroken("in pieces it has another digest")
    if media_type == names.GZIP:
        _check_pieces(pieces)
        plain = payload.decompress(octets, limit=LIMITS.decompressed, ratio=LIMITS.ratio)
        if len(plain) > LIMITS.decompressed:
            raise LawBroken("more was decompressed than the limit")
        if payload.decompress(payload.compress(plain), limit=LIMITS.decompressed, ratio=10_000) != plain:
            raise LawBroken("compression changed the content")
    elif payload._XML.fullmatch(media_type.partition(";")[0].strip().lower()):
        canonical = payload._canonical_document(octets)
        if payload.digest(canonical, media_type) != digest or hashlib.sha256(canonical).digest() != digest:
            raise LawBroken("a canonical form has another canonical form")


class _Pieces:
    """Octets in pieces of a few bytes, as from a file."""

    def __init__(self, octets: bytes) -> None:
        self.size = len(octets)
        self._octets = octets

    def chunks(self) -> Iterator[bytes]:
        step = 1 + zlib.crc32(self._octets) % 7 if self.size < 2000 else 997
        return (self._octets[start : start + step] for start in range(0, self.size, step))

    def whole(self) -> bytes:
        return payload.decompress(self._octets, limit=LIMITS.decompressed, ratio=LIMITS.ratio)


def _check_pieces(pieces: _Pieces) -> None:
    """Both ways to decompress agree, in what they refuse too."""
    answers = []
    for way in (
        pieces.whole,
        lambda: b"".join(payload.decompressed(pieces, limit=LIMITS.decompressed, ratio=LIMITS.ratio)),
    ):
        try:
            answers.append(way())
        except as4.FailedDecompression:
            answers.append(None)
    if answers[0] != answers[1]:
        raise LawBroken("in pieces it decompresses otherwise")


TARGETS: Mapping[str, Target] = MappingProxyType(
    {"mime": fuzz_mime, "soap": fuzz_soap, "security": fuzz_security, "payload": fuzz_payload}
)
