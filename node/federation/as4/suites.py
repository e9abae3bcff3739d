"""Suites: how the parties sign, and how a content key reaches its recipient.

A suite is an object that an agreement names; nothing else in this package knows an algorithm of signature or key
transport. `COMMON` is the Common Usage Profile of eDelivery AS4 2.0: Ed25519, ephemeral-static X25519, HKDF-SHA256,
AES-128 key wrap. Another suite (RSA of 1.15, the elliptic curves of 2.0) is another class with these five members.

Source: eDelivery AS4 2.0; RFC 9231 and its successor for Ed25519, X25519 and HKDF in XML; XML Encryption 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from lxml import etree

from node.federation.as4 import names
from node.federation.as4.canonical import b64
from node.federation.as4.errors import BadSignature, FailedDecryption, PolicyBroken
from node.federation.as4.model import Decrypter, Signer
from node.federation.as4.reading import algorithm, binary, fields, need, only_child

Random = Callable[[int], bytes]

CONTENT_KEY_BYTES = 16
_SPKI_X25519 = bytes.fromhex("302a300506032b656e032100")  # SubjectPublicKeyInfo of RFC 8410, without the 32 key bytes


class WrappedKey(Protocol):
    """A content key as a message carries it."""

    @property
    def recipient(self) -> etree._Element:
        """The element that names the recipient's certificate."""
        ...

    def unwrap(self, key: Decrypter) -> bytes:
        """The content key. Raises FailedDecryption."""
        ...


class Suite(Protocol):
    """How messages under an agreement are signed and their content keys wrapped."""

    @property
    def name(self) -> str: ...

    @property
    def signature_algorithm(self) -> str: ...

    def sign(self, signer: Signer, data: bytes) -> bytes:
        """The octets of `ds:SignatureValue` over `data`."""
        ...

    def verify(self, certificate: x509.Certificate, signature: bytes, data: bytes) -> None:
        """Raises BadSignature."""
        ...

    def wrap(self, certificate: x509.Certificate, content_key: bytes, recipient: str, random: Random) -> str:
        """The children of `xenc:EncryptedKey` before its ReferenceList.

        `recipient` is the finished `wsse:SecurityTokenReference` for `certificate`.
        """
        ...

    def read_key(self, encrypted_key: etree._Element) -> WrappedKey:
        """The wrapped content key. Raises PolicyBroken if algorithms are not those of the suite, or BadEnvelope."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSuite:
    """eDelivery AS4 2.0, Common Usage Profile."""

    name: str = "as4-2.0-ed25519-x25519"
    signature_algorithm: str = names.ED25519

    def sign(self, signer: Signer, data: bytes) -> bytes:
        return signer.sign(data)

    def verify(self, certificate: x509.Certificate, signature: bytes, data: bytes) -> None:
        try:
            _signing_key(certificate).verify(signature, data)
        except InvalidSignature as error:
            raise BadSignature("the signature value does not verify") from error

    def wrap(self, certificate: x509.Certificate, content_key: bytes, recipient: str, random: Random) -> str:
        ephemeral, public = _ephemeral(random)
        salt = random(32)
        wrapped = aes_key_wrap(_derive(ephemeral.exchange(_encryption_key(certificate)), salt, b""), content_key)
        return _ENCRYPTED_KEY.format(
            salt=b64(salt), originator=b64(_SPKI_X25519 + public), recipient=recipient, wrapped=b64(wrapped)
        )

    def read_key(self, encrypted_key: etree._Element) -> WrappedKey:
        found = fields(encrypted_key)
        _expect(need(found, names.XENC, "EncryptionMethod"), names.KW_AES128)
        agreement = only_child(need(found, names.DS, "KeyInfo"), names.XENC, "AgreementMethod")
        _expect(agreement, names.X25519)
        agreed = fields(agreement)
        salt, info = _derivation(need(agreed, names.XENC11, "KeyDerivationMethod"))
        originator = only_child(need(agreed, names.XENC, "OriginatorKeyInfo"), names.DSIG11, "DEREncodedKeyValue")
        value = only_child(need(found, names.XENC, "CipherData"), names.XENC, "CipherValue")
        return AgreedKey(
            recipient=need(agreed, names.XENC, "RecipientKeyInfo"),
            originator=binary(originator),
            salt=salt,
            info=info,
            wrapped=binary(value),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedKey:
    """A content key under a key that was agreed with X25519; `originator` is the sender's SubjectPublicKeyInfo."""

    recipient: etree._Element
    originator: bytes
    salt: bytes
    info: bytes
    wrapped: bytes

    def unwrap(self, key: Decrypter) -> bytes:
        if not self.originator.startswith(_SPKI_X25519) or len(self.originator) != len(_SPKI_X25519) + 32:
            raise FailedDecryption("the originator's key is no X25519 key")
        try:
            secret = key.exchange(X25519PublicKey.from_public_bytes(self.originator[-32:]))
            content_key = aes_key_unwrap(_derive(secret, self.salt, self.info), self.wrapped)
        except (ValueError, InvalidUnwrap) as error:  # ValueError: an all-zero secret, or a wrong length
            raise FailedDecryption("the content key cannot be unwrapped") from error
        if len(content_key) != CONTENT_KEY_BYTES:
            raise FailedDecryption("the content key has a wrong length")
        return content_key


COMMON = CommonSuite()
SUITES: dict[str, Suite] = {COMMON.name: COMMON}


def _ephemeral(random: Random) -> tuple[X25519PrivateKey, bytes]:
    """A fresh key pair that Java peers can read.

    Santuario tries DSA before X25519: a public key beginning 02 01 to 02 1e reads as an ASN.1 integer there, and the
    message would be refused for ever. One key in about 2,100 is drawn again.
    """
    while True:
        private = X25519PrivateKey.from_private_bytes(random(32))
        public = private.public_key().public_bytes_raw()
        if not (public[0] == 0x02 and public[1] <= 0x1E):
            return private, public


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=16, salt=salt, info=info).derive(secret)


def _derivation(method: etree._Element) -> tuple[bytes, bytes]:
    """Salt and info of the HKDF parameters; the rest must be what the profile fixes."""
    _expect(method, names.HKDF)
    params = fields(only_child(method, names.DSIG_MORE, "HKDFParams"))
    _expect(need(params, names.DSIG_MORE, "PRF"), names.HMAC_SHA256)
    length = need(params, names.DSIG_MORE, "KeyLength").text or ""
    if not re.fullmatch(r"\s*16\s*", length):  # bytes, not bits
        raise PolicyBroken("HKDF KeyLength is not 16")
    salt, info = (params.get(f"{{{names.DSIG_MORE}}}{name}") for name in ("Salt", "Info"))
    return (b"" if salt is None else binary(salt)), (b"" if info is None else binary(info))


def _expect(element: etree._Element, wanted: str) -> None:
    if algorithm(element) != wanted:
        raise PolicyBroken("an encryption algorithm that is not agreed")


@lru_cache(maxsize=1024)
def _signing_key(certificate: x509.Certificate) -> Ed25519PublicKey:
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise BadSignature("the signing certificate holds no Ed25519 key")
    return key


@lru_cache(maxsize=1024)
def _encryption_key(certificate: x509.Certificate) -> X25519PublicKey:
    key = certificate.public_key()
    if not isinstance(key, X25519PublicKey):
        raise TypeError("the encryption certificate holds no X25519 key")
    return key


_ENCRYPTED_KEY = (
    f'<xenc:EncryptionMethod Algorithm="{names.KW_AES128}"/>'
    f'<ds:KeyInfo xmlns:ds="{names.DS}"><xenc:AgreementMethod Algorithm="{names.X25519}">'
    f'<xenc11:KeyDerivationMethod xmlns:xenc11="{names.XENC11}" Algorithm="{names.HKDF}">'
    f'<dsig-more:HKDFParams xmlns:dsig-more="{names.DSIG_MORE}">'
    f'<dsig-more:PRF Algorithm="{names.HMAC_SHA256}"/><dsig-more:Salt>{{salt}}</dsig-more:Salt>'
    "<dsig-more:KeyLength>16</dsig-more:KeyLength></dsig-more:HKDFParams></xenc11:KeyDerivationMethod>"
    f'<xenc:OriginatorKeyInfo><dsig11:DEREncodedKeyValue xmlns:dsig11="{names.DSIG11}">{{originator}}'
    "</dsig11:DEREncodedKeyValue></xenc:OriginatorKeyInfo>"
    "<xenc:RecipientKeyInfo>{recipient}</xenc:RecipientKeyInfo></xenc:AgreementMethod></ds:KeyInfo>"
    "<xenc:CipherData><xenc:CipherValue>{wrapped}</xenc:CipherValue></xenc:CipherData>"
)
