"""Using keys without seeing them: files now, a hardware module later behind the same interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

_HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256}  # SHA-1 in OAEP only, for peers that know no other


class MessageSigner(Protocol):
    """Signs messages with a key of any suite."""

    @property
    def certificate(self) -> x509.Certificate | None: ...

    def sign(self, data: bytes) -> bytes:
        """The signature over `data` as XML Signature writes it.

        Ed25519: 64 bytes. Elliptic curves: r and s, each as wide as the curve's order. RSA: PKCS#1 v1.5.
        """
        ...


class Signer(MessageSigner, Protocol):
    """Signs with one Ed25519 key."""

    @property
    def public_key(self) -> Ed25519PublicKey: ...


class Decrypter(Protocol):
    """Finds out content keys with one X25519, elliptic curve or RSA key."""

    @property
    def certificate(self) -> x509.Certificate | None: ...

    def exchange(self, peer_public: X25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
        """The raw shared secret with a sender's ephemeral key.

        Raises ValueError if the keys are of different kinds or the secret would be all zero.
        """
        ...

    def decrypt(self, wrapped: bytes, *, digest: str, mgf_digest: str) -> bytes:
        """What was encrypted with RSA-OAEP and these hash functions ("sha1", "sha256").

        Raises ValueError if it was not for this key, or this is no RSA key.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileSigner:
    """An Ed25519 signing key read from a file."""

    _key: Ed25519PrivateKey
    certificate: x509.Certificate | None = None

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._key.public_key()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


@dataclass(frozen=True, slots=True)
class FileMessageSigner:
    """An elliptic curve or RSA signing key read from a file."""

    _key: ec.EllipticCurvePrivateKey | RSAPrivateKey
    certificate: x509.Certificate | None = None

    def sign(self, data: bytes) -> bytes:
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        width = (self._key.curve.key_size + 7) // 8
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")


@dataclass(frozen=True, slots=True)
class FileDecrypter:
    """A decryption key read from a file."""

    _key: X25519PrivateKey | ec.EllipticCurvePrivateKey | RSAPrivateKey
    certificate: x509.Certificate | None = None

    def exchange(self, peer_public: X25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
        match self._key, peer_public:
            case X25519PrivateKey() as ours, X25519PublicKey() as theirs:
                return ours.exchange(theirs)
            case ec.EllipticCurvePrivateKey() as ours, ec.EllipticCurvePublicKey() as theirs:
                return ours.exchange(ec.ECDH(), theirs)
            case _:
                raise ValueError("keys of different kinds")

    def decrypt(self, wrapped: bytes, *, digest: str, mgf_digest: str) -> bytes:
        if not isinstance(self._key, RSAPrivateKey):
            raise ValueError("not an RSA key")  # noqa: TRY004 - as with a ciphertext that is not for this key
        oaep = padding.OAEP(padding.MGF1(_HASHES[mgf_digest]()), _HASHES[digest](), None)
        return self._key.decrypt(wrapped, oaep)
