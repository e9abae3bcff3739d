"""Using keys without seeing them: files now, a hardware module later behind the same interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey


class Signer(Protocol):
    """Signs with one Ed25519 key."""

    @property
    def certificate(self) -> x509.Certificate | None:
        """The key's certificate; a log key has none."""
        ...

    @property
    def public_key(self) -> Ed25519PublicKey: ...

    def sign(self, data: bytes) -> bytes:
        """64 bytes over `data`."""
        ...


class Decrypter(Protocol):
    """Agrees on secrets with one X25519 key."""

    @property
    def certificate(self) -> x509.Certificate | None: ...

    def exchange(self, peer_public: X25519PublicKey) -> bytes:
        """The raw shared secret with a sender's ephemeral key; ValueError if it is all zero."""
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A signing key read from a file."""

    _key: Ed25519PrivateKey
    certificate: x509.Certificate | None = None

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._key.public_key()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


@dataclass(frozen=True, slots=True)
class FileDecrypter:
    """A decryption key read from a file."""

    _key: X25519PrivateKey
    certificate: x509.Certificate | None = None

    def exchange(self, peer_public: X25519PublicKey) -> bytes:
        return self._key.exchange(peer_public)
