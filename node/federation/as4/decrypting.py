"""Decryption of the parts, their digests, and decompression: the last steps before a message is believed.

The shell looks for duplicates between `decrypt` and `decompress`: a repeat needs its stored receipt, not its content.
Every cause of a failed decryption raises the same FailedDecryption, whose answer to the peer is constant.

Source: XML Encryption 1.1; SwA profile 1.1.1 section 5.5; AS4 1.0 section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree

from node.federation.as4 import mime, names, payload, reading, tokens
from node.federation.as4.envelope import Envelope, Header, PartInfo, parse_envelope
from node.federation.as4.errors import (
    BadEnvelope,
    BadSignature,
    FailedDecompression,
    FailedDecryption,
    PolicyBroken,
    WrongCharset,
)
from node.federation.as4.model import Decrypter, Limits, Part, Reference, UserMessage
from node.federation.as4.own_form import OwnEnvelope
from node.federation.as4.spooling import BIG, Content, Spool, pieces_of, size_of, spooled
from node.federation.as4.suites import WrappedKey
from node.federation.as4.verifying import Verified

_NONCE_BYTES = 12
_TAG_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Decrypted:
    """An authenticated message whose parts are decrypted and digested as signed, not yet decompressed."""

    verified: Verified
    octets: Mapping[str, Content]

    @property
    def header(self) -> Header:
        return self.verified.header

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.verified.references


@dataclass(frozen=True, slots=True, kw_only=True)
class _EncryptedPart:
    media_type: str
    content_id: str


def decrypt(verified: Verified, keys: Sequence[Decrypter], spool: Spool | None = None) -> Decrypted:
    """The parts, decrypted with the one of our `keys` the message names.

    Args:
        spool: where parts above 1 MiB go, so that they are never in memory as a whole.

    Raises:
        PolicyBroken: a part is not encrypted, or by an algorithm that is not agreed.
        FailedDecryption: whatever keeps a part from being decrypted.
        BadSignature: a part is not the one that was signed.
        BadEnvelope: the encryption elements are malformed.
    """
    try:
        octets = _decrypt_all(verified, keys, spool) if verified.header.parts else _nothing(verified)
        _check_digests(verified, octets)
    except (BadEnvelope, BadSignature, FailedDecryption, PolicyBroken) as error:
        error.message_id = verified.header.message_id
        raise
    return Decrypted(verified=verified, octets={cid: content for cid, (_, content) in octets.items()})


Octets = dict[str, tuple[str, Content]]  # by Content-ID: media type of the attached octets, and the octets


def _nothing(verified: Verified) -> Octets:
    envelope = _general(verified)
    for name in ("EncryptedKey", "EncryptedData"):
        if envelope.secured_by(names.XENC, name):
            raise BadEnvelope("encryption without parts")
    return {}


def _general(verified: Verified) -> Envelope:
    """The envelope as the general reader has it."""
    found = verified.header.envelope
    return parse_envelope(found.soap, verified.agreement.limits) if isinstance(found, OwnEnvelope) else found


def _decrypt_all(verified: Verified, keys: Sequence[Decrypter], spool: Spool | None) -> Octets:
    own = verified.header.envelope
    read_own = verified.agreement.suite.read_own_key(own.key) if isinstance(own, OwnEnvelope) else None
    if (
        isinstance(own, OwnEnvelope)
        and read_own is not None
        and own.parts.keys() == verified.package.attachments.keys()
    ):
        wrapped: WrappedKey = read_own.wrapped
        named: tokens.Matcher = read_own.is_for
        types: Mapping[str, str] = own.parts
    else:
        envelope = _general(verified)
        encrypted_key = _encrypted_key(envelope)
        types = _encrypted_parts(envelope, encrypted_key, verified)
        wrapped = verified.agreement.suite.read_key(encrypted_key)
        assert wrapped.recipient is not None
        named = tokens.matcher(wrapped.recipient, envelope.identified)
    content_key = wrapped.unwrap(_choose(named, keys))
    attachments = verified.package.attachments
    return {
        content_id: (media_type, _open(content_key, attachments[content_id].content, spool))
        for content_id, media_type in types.items()
    }


def _encrypted_parts(envelope: Envelope, encrypted_key: etree._Element, verified: Verified) -> dict[str, str]:
    """Media type of the encrypted octets by Content-ID: all parts, each once."""
    elements = envelope.secured_by(names.XENC, "EncryptedData")
    _check_listed(encrypted_key, elements)
    parts = [_encrypted_part(element, encrypted_key) for element in elements]
    if sorted(part.content_id for part in parts) != sorted(verified.package.attachments):
        raise PolicyBroken("not every part is encrypted, or one is twice")
    return {part.content_id: part.media_type for part in parts}


def _encrypted_key(envelope: Envelope) -> etree._Element:
    found = envelope.secured_by(names.XENC, "EncryptedKey")
    if not found:
        raise PolicyBroken("not encrypted")
    if len(found) > 1:
        raise BadEnvelope("several encrypted keys")
    return found[0]


def _check_listed(encrypted_key: etree._Element, elements: Sequence[etree._Element]) -> None:
    listed = reading.only_child(encrypted_key, names.XENC, "ReferenceList")
    uris = [child.get("URI", "") for child in listed]
    if sorted(uris) != sorted("#" + element.get("Id", "") for element in elements):
        raise BadEnvelope("the key's reference list does not name the encrypted parts")


def _encrypted_part(element: etree._Element, encrypted_key: etree._Element) -> _EncryptedPart:
    found = reading.fields(element)
    method = reading.need(found, names.XENC, "EncryptionMethod")
    if reading.algorithm(method) != names.AES128_GCM:
        raise PolicyBroken("a content encryption that is not agreed")
    if element.get("Type") != names.ATTACHMENT_CONTENT_ONLY:
        raise PolicyBroken("encrypted content of a kind that is not agreed")
    _check_key_reference(found.get(f"{{{names.DS}}}KeyInfo"), encrypted_key)
    data = reading.need(found, names.XENC, "CipherData")
    cipher = reading.only_child(data, names.XENC, "CipherReference")
    transforms = reading.only_child(cipher, names.XENC, "Transforms")
    if [reading.algorithm(transform) for transform in transforms] != [names.ATTACHMENT_CIPHERTEXT]:
        raise PolicyBroken("a cipher reference with other transforms")
    return _EncryptedPart(
        media_type=element.get("MimeType", "application/octet-stream"),
        content_id=mime.cid_of(cipher.get("URI", "")) or "",
    )


def _check_key_reference(info: etree._Element | None, encrypted_key: etree._Element) -> None:
    """The part's KeyInfo, where there is one, names the message's one key."""
    if info is not None:
        token = reading.only_child(info, names.WSSE, "SecurityTokenReference")
        uri = reading.only_child(token, names.WSSE, "Reference").get("URI", "")
        if uri != "#" + encrypted_key.get("Id", ""):
            raise BadEnvelope("a part is encrypted with a key that is not in the message")


def _choose(named: tokens.Matcher, keys: Sequence[Decrypter]) -> Decrypter:
    """Which of our keys: during a rotation the old and the new one are both in use."""
    for key in keys:
        if _is_for(key.certificate, named):
            return key
    raise FailedDecryption("encrypted for a certificate that is not ours")


def _is_for(certificate: x509.Certificate | None, named: tokens.Matcher) -> bool:
    return certificate is not None and named(certificate)


def _open(content_key: bytes, content: memoryview, spool: Spool | None) -> Content:
    if len(content) < _NONCE_BYTES + _TAG_BYTES:
        raise FailedDecryption("a ciphertext is too short")
    nonce, sealed = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
    try:
        if spool is not None and len(content) > BIG:
            return spooled(_plain_pieces(content_key, bytes(nonce), sealed), spool)
        return AESGCM(content_key).decrypt(nonce, sealed, None)
    except InvalidTag as error:
        raise FailedDecryption("a ciphertext does not decrypt") from error


def _plain_pieces(content_key: bytes, nonce: bytes, sealed: memoryview) -> Iterator[bytes]:
    """The plain octets; not to be believed before the last piece came, with which the tag is checked."""
    tag = bytes(sealed[-_TAG_BYTES:])
    decryptor = Cipher(algorithms.AES(content_key), modes.GCM(nonce, tag)).decryptor()
    for piece in pieces_of(sealed[:-_TAG_BYTES]):
        yield decryptor.update(piece)
    yield decryptor.finalize()


def _check_digests(verified: Verified, octets: Octets) -> None:
    for reference in verified.references:
        content_id = mime.cid_of(reference.uri)
        if content_id is not None:
            media_type, content = octets[content_id]
            if payload.digest(content, media_type) != reference.digest:
                raise BadSignature("the digest of a part differs")


def decompress(decrypted: Decrypted, limits: Limits | None = None, spool: Spool | None = None) -> UserMessage:
    """The message, its parts in the header's order. Raises FailedDecompression or WrongCharset.

    Args:
        spool: where parts go that are, or may become, larger than 1 MiB.

    Limits are the agreement's unless others are given; they hold for all parts together.
    """
    header = decrypted.header
    bounds = limits or decrypted.verified.agreement.limits
    left = bounds.decompressed
    parts: list[Part] = []
    for info in header.parts:
        try:
            part = _plain_part(info, decrypted.octets[info.content_id], left, bounds.ratio, spool)
        except (FailedDecompression, WrongCharset) as error:
            error.message_id = header.message_id
            raise
        left -= size_of(part.content)
        parts.append(part)
    return _user_message(header, tuple(parts))


def _plain_part(info: PartInfo, octets: Content, limit: int, ratio: int, spool: Spool | None) -> Part:
    if info.compression not in (None, names.GZIP):
        raise FailedDecompression("an unknown compression")
    if info.mime_type is None:
        raise FailedDecompression("a part without MimeType")
    compressed = info.compression is not None
    content = _inflate(octets, limit, ratio, spool) if compressed else octets
    if size_of(content) > limit:
        raise FailedDecompression("the parts are too large together")
    if info.charset is not None:
        payload.check_charset(content, info.mime_type, info.charset)
    return Part(
        content=content,
        mime_type=info.mime_type,
        content_id=info.content_id,
        charset=info.charset,
        compressed=compressed,
    )


def _inflate(octets: Content, limit: int, ratio: int, spool: Spool | None) -> Content:
    if isinstance(octets, bytes) and (spool is None or len(octets) * ratio <= BIG):
        return payload.decompress(octets, limit=limit, ratio=ratio)
    pieces = payload.decompressed(octets, limit=limit, ratio=ratio)
    if spool is None:
        return b"".join(pieces)
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) > BIG:
            return spooled(chain((bytes(held),), pieces), spool)
    return bytes(held)


def _user_message(header: Header, parts: tuple[Part, ...]) -> UserMessage:
    return UserMessage(
        message_id=header.message_id,
        conversation_id=header.conversation_id,
        sender=header.sender.id,
        recipient=header.recipient.id,
        service=header.service,
        action=header.action,
        timestamp=header.timestamp,
        ref_to_message_id=header.ref_to_message_id,
        agreement_ref=header.agreement_ref,
        properties=header.properties,
        parts=parts,
    )
