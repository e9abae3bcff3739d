"""Suites: how the parties sign, and how a content key reaches its recipient.

A suite is an object that an agreement names; nothing else in this package knows an algorithm of signature or key
transport.

| name                   | profile                             | signature      | content key                          |
|---|---|---|---|
| as4-2.0-ed25519-x25519 | eDelivery AS4 2.0, Common Usage     | Ed25519        | X25519, HKDF-SHA256, AES-128 key wrap |
| as4-2.0-ecc            | eDelivery AS4 2.0, Alternative ECC  | ECDSA, SHA-256 | ECDH-ES, HKDF-SHA256, AES-128 key wrap |
| as4-1.15-rsa           | eDelivery AS4 1.15                  | RSA, SHA-256   | RSA-OAEP with SHA-256                |

Source: eDelivery AS4 1.15 and 2.0; RFC 9231 and its successor; XML Encryption 1.1.
"""

from __future__ import annotations

from typing import Protocol

from cryptography import x509
from lxml import etree

from node.federation.as4.key_agreement import COMMON, CURVES
from node.federation.as4.key_transport import OLDER, RSA
from node.federation.as4.model import Random
from node.federation.as4.own_form import OwnKey
from node.federation.as4.wrapped import WrappedKey

__all__ = ["COMMON", "CURVES", "RSA", "SUITES", "Suite", "WrappedKey", "suite_of"]


class Suite(Protocol):
    """How messages under an agreement are signed and their content keys wrapped."""

    @property
    def name(self) -> str: ...

    @property
    def signature_algorithm(self) -> str:
        """What we sign with; `Signer.sign` of a key that `can_sign` makes such signatures."""
        ...

    def can_sign(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate's key signs under this suite."""
        ...

    def can_decrypt(self, certificate: x509.Certificate) -> bool:
        """Whether content keys can be wrapped for the certificate under this suite."""
        ...

    def verify(self, certificate: x509.Certificate, algorithm: str, signature: bytes, data: bytes) -> None:
        """Raises PolicyBroken for an algorithm that is not the suite's, BadSignature."""
        ...

    def wrap(self, certificate: x509.Certificate, content_key: bytes, recipient: str, random: Random) -> str:
        """The children of `xenc:EncryptedKey` before its ReferenceList.

        `recipient` is the finished `wsse:SecurityTokenReference` for `certificate`.
        """
        ...

    def read_key(self, encrypted_key: etree._Element) -> WrappedKey:
        """The wrapped content key. Raises PolicyBroken if algorithms are not those of the suite, or BadEnvelope."""
        ...

    def read_own_key(self, written: bytes) -> OwnKey | None:
        """The wrapped content key as `wrap` writes it for a subject key identifier; None if it is written otherwise."""
        ...


SUITES: dict[str, Suite] = {suite.name: suite for suite in (COMMON, CURVES, RSA)}


def suite_of(certificate: x509.Certificate) -> Suite:
    """The suite a certificate signs under, with every algorithm that is taken from anybody. Raises ValueError."""
    for suite in SUITES.values():
        if suite.can_sign(certificate):
            return RSA.accepting(OLDER) if suite is RSA else suite
    raise ValueError("a certificate that signs under no suite")
