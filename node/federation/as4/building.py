"""Building a user message: compress, sign, encrypt, pack.

What is built is stored and posted again unchanged: building anew would give other identifiers, salt and signature,
and a receiver would take it for another message under a known id.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.federation.as4 import mime, names, payload, pieces, tokens
from node.federation.as4.canonical import attribute, text
from node.federation.as4.errors import BadSignature
from node.federation.as4.model import (
    CONTENT_KEY_BYTES,
    FOUR_CORNERS,
    Agreement,
    Built,
    Part,
    Random,
    Reference,
    Service,
    Signer,
    UserMessage,
)
from node.federation.as4.signing import envelope, write_timestamp_and_id
from node.federation.as4.spooling import Content, Source, Spool, Spooled, spooled

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,200}@[A-Za-z0-9._-]{1,200}")
_SAFE_CONTENT_ID = re.compile(rf"[A-Za-z0-9._-]{{1,200}}|{_SAFE_ID.pattern}")  # Domibus: payload profiles fix `message`


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    """A part as it travels: what it is called, what of it is signed, and its ciphertext."""

    part: Part
    content_id: str
    digest: bytes
    media_type: str
    ciphertext: Content


def build(
    message: UserMessage,
    *,
    agreement: Agreement,
    signer: Signer,
    encrypt_for: x509.Certificate,
    random: Random = os.urandom,
    spool: Spool | None = None,
) -> Built:
    """The signed and encrypted HTTP entity of `message`.

    Args:
        spool: where parts go whose content is no bytes; they are never in memory as a whole.

    A message that contradicts the agreement, or that XML cannot carry, is our own fault: ValueError.
    """
    service = _check(message, agreement)
    token = random(16).hex()
    domain = message.message_id.rpartition("@")[2]
    content_key = random(CONTENT_KEY_BYTES)
    sealed = _seal(message.parts, content_key, f"{token}@{domain}", random, spool)
    security = ""
    if sealed:
        security = _encryption(sealed, content_key, token, agreement=agreement, encrypt_for=encrypt_for, random=random)
    soap, references = envelope(
        _user_message(message, agreement, service, sealed),
        token=token,
        security=security,
        attached=[_reference(part) for part in sealed],
        form=agreement.signature_form,
        signer=signer,
    )
    attachments = [(part.content_id, part.ciphertext) for part in sealed]
    content_type, body = mime.pack(soap, attachments, token=token, domain=domain)
    built = Built(content_type=content_type, pieces=body, soap=soap, references=references)
    if built.size > agreement.limits.entity:
        raise ValueError(f"{built.size} bytes: larger than agreed ({agreement.limits.entity})")
    return built


def _check(message: UserMessage, agreement: Agreement) -> Service:
    """The agreed service the message is for."""
    if (message.sender, message.recipient) != (agreement.our_party, agreement.their_party):
        raise ValueError("the message is not between the parties of the agreement")
    service = agreement.service(message.service)
    if service is None or message.action not in service.actions:
        raise ValueError("service or action is not agreed")
    if message.ref_to_message_id is not None and not agreement.two_way:
        raise ValueError("an answer to a message, where only one-way exchanges are agreed")
    if agreement.four_corner and not message.properties.keys() >= FOUR_CORNERS:
        raise ValueError("originalSender and finalRecipient are missing")
    if not _SAFE_ID.fullmatch(message.message_id):
        raise ValueError("the message id is no plain id@domain")
    if not message.conversation_id:
        raise ValueError("a message without a conversation")
    if len(message.parts) > agreement.limits.parts:
        raise ValueError("too many parts")
    if any(part.content_id and not _SAFE_CONTENT_ID.fullmatch(part.content_id) for part in message.parts):
        raise ValueError("a content id is no plain id")
    return service


def _seal(parts: Sequence[Part], content_key: bytes, suffix: str, random: Random, spool: Spool | None) -> list[_Sealed]:
    cipher = AESGCM(content_key)
    sealed = []
    for number, part in enumerate(parts, start=1):
        nonce = random(12)
        media_type = names.GZIP if part.compressed else part.mime_type
        if isinstance(part.content, bytes):
            octets = payload.compress(part.content) if part.compressed else part.content
            digest = _digest(octets, media_type)
            ciphertext: Content = nonce + cipher.encrypt(nonce, octets, None)
        else:
            digest, ciphertext = _seal_large(part, part.content, nonce, content_key, spool)
        content_id = part.content_id or f"part-{number}-{suffix}"
        sealed.append(
            _Sealed(part=part, content_id=content_id, digest=digest, media_type=media_type, ciphertext=ciphertext)
        )
    if len({part.content_id for part in sealed}) != len(sealed):
        raise ValueError("two parts share a content id")
    return sealed


def _digest(octets: bytes, media_type: str) -> bytes:
    try:
        return payload.digest(octets, media_type)
    except BadSignature as error:
        raise ValueError("an uncompressed part of an XML type that is no XML") from error


def _seal_large(
    part: Part, content: Source, nonce: bytes, content_key: bytes, spool: Spool | None
) -> tuple[bytes, Spooled]:
    """Digest and ciphertext of a part, read once."""
    if spool is None:
        raise ValueError("large content needs a spool")
    if not part.compressed and not payload.is_digested_as_it_is(part.mime_type):
        raise ValueError("large text and XML are sent compressed: uncompressed, another form of them is digested")
    octets = payload.compressed(content.chunks()) if part.compressed else content.chunks()
    encryptor = Cipher(algorithms.AES(content_key), modes.GCM(nonce)).encryptor()
    summed = hashlib.sha256()

    def ciphertext() -> Iterator[bytes]:
        yield nonce
        for piece in octets:
            summed.update(piece)
            yield encryptor.update(piece)
        yield encryptor.finalize() + encryptor.tag

    written = spooled(ciphertext(), spool)
    return summed.digest(), written


def _reference(sealed: _Sealed) -> Reference:
    return Reference(uri=f"cid:{sealed.content_id}", digest=sealed.digest, transform=names.ATTACHMENT_SIGNATURE)


def write_timestamp(at: datetime) -> str:
    """xsd:dateTime in UTC to the millisecond. Raises ValueError for a time without zone."""
    if at.tzinfo is None:
        raise ValueError("a time without zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _user_message(message: UserMessage, agreement: Agreement, service: Service, sealed: Sequence[_Sealed]) -> str:
    reference = message.ref_to_message_id
    refers = f"<eb:RefToMessageId>{text(reference)}</eb:RefToMessageId>" if reference else ""
    properties = "".join(
        _property(name, value, agreement.property_types.get(name)) for name, value in message.properties.items()
    )
    parts = "".join(map(_part_info, sealed))
    return (
        "<eb:UserMessage><eb:MessageInfo>"
        f"{write_timestamp_and_id(write_timestamp(message.timestamp), text(message.message_id))}{refers}"
        f"</eb:MessageInfo>{_party_info(message, agreement)}{_collaboration(message, agreement, service)}"
        f"{f'<eb:MessageProperties>{properties}</eb:MessageProperties>' if properties else ''}"
        f"{f'<eb:PayloadInfo>{parts}</eb:PayloadInfo>' if parts else ''}</eb:UserMessage>"
    )


def _property(name: str, value: str, kind: str | None) -> str:
    typed = f' type="{attribute(kind)}"' if kind else ""
    return f'<eb:Property name="{attribute(name)}"{typed}>{text(value)}</eb:Property>'


def _party_info(message: UserMessage, agreement: Agreement) -> str:
    ours, theirs = agreement.roles if message.ref_to_message_id is None else reversed(agreement.roles)
    return (
        f'<eb:PartyInfo><eb:From><eb:PartyId type="{attribute(agreement.our_party_type)}">'
        f"{text(agreement.our_party)}</eb:PartyId><eb:Role>{text(ours)}</eb:Role></eb:From>"
        f'<eb:To><eb:PartyId type="{attribute(agreement.their_party_type)}">'
        f"{text(agreement.their_party)}</eb:PartyId><eb:Role>{text(theirs)}</eb:Role></eb:To></eb:PartyInfo>"
    )


def _collaboration(message: UserMessage, agreement: Agreement, service: Service) -> str:
    kind = f' type="{attribute(service.type)}"' if service.type else ""
    return (
        f"<eb:CollaborationInfo>{_agreement_ref(agreement)}"
        f"<eb:Service{kind}>{text(message.service)}</eb:Service><eb:Action>{text(message.action)}</eb:Action>"
        f"<eb:ConversationId>{text(message.conversation_id)}</eb:ConversationId></eb:CollaborationInfo>"
    )


def _agreement_ref(agreement: Agreement) -> str:
    if agreement.agreement_ref is None:
        return ""
    kind = f' type="{attribute(agreement.agreement_type)}"' if agreement.agreement_type else ""
    return f"<eb:AgreementRef{kind}>{text(agreement.agreement_ref)}</eb:AgreementRef>"


def _part_info(sealed: _Sealed) -> str:
    part = sealed.part
    charset = f'<eb:Property name="CharacterSet">{text(part.charset)}</eb:Property>' if part.charset else ""
    compression = f'<eb:Property name="CompressionType">{names.GZIP}</eb:Property>' if part.compressed else ""
    return (
        f'<eb:PartInfo href="cid:{sealed.content_id}"><eb:PartProperties>'
        f'<eb:Property name="MimeType">{text(part.mime_type)}</eb:Property>{charset}{compression}'
        "</eb:PartProperties></eb:PartInfo>"
    )


def _encryption(
    sealed: Sequence[_Sealed],
    content_key: bytes,
    token: str,
    *,
    agreement: Agreement,
    encrypt_for: x509.Certificate,
    random: Random,
) -> str:
    """The encrypted key and one EncryptedData per part, in the order receivers need."""
    named = tokens.write_named(encrypt_for, agreement.encryption_reference, f"X509E-{token}")
    numbers = range(1, len(sealed) + 1)
    listed = "".join(pieces.LISTED.format(token=token, number=number) for number in numbers)
    return (
        f"{named.token}{pieces.ENCRYPTED_KEY_OPEN.format(token=token)}"
        f"{agreement.suite.wrap(encrypt_for, content_key, named.reference, random)}"
        f"{pieces.LIST_OPEN}{listed}{pieces.ENCRYPTED_KEY_CLOSE}"
        f"{''.join(_encrypted_data(part, token, number) for number, part in zip(numbers, sealed, strict=True))}"
    )


def _encrypted_data(sealed: _Sealed, token: str, number: int) -> str:
    return pieces.ENCRYPTED_DATA.format(
        token=token, number=number, media=attribute(sealed.media_type), cid=sealed.content_id
    )
