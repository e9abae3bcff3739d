"""Private keys: one kind for each purpose, files only their owner can read.

TLS and State authorities use P-256, signing and logs Ed25519, encryption X25519 (eDelivery AS4 2.0, Common Profile).
Peers that speak another profile are met with further keys: `sign-ecc` and `encrypt-ecc` (P-256, the elliptic-curve
alternative of 2.0), `sign-rsa` and `encrypt-rsa` (RSA-3072, eDelivery AS4 1.15).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

from pki.errors import BadKeyFile

Kind = Literal["tls", "sign", "encrypt", "log", "ca", "sign-ecc", "encrypt-ecc", "sign-rsa", "encrypt-rsa"]
PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey | rsa.RSAPrivateKey
)
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey | rsa.RSAPublicKey

RSA_BITS: Final = 3072
MAX_RSA_BITS: Final = 4096  # no suite takes a longer one

_TYPES: Final[dict[Kind, type]] = {
    "tls": ec.EllipticCurvePrivateKey,
    "ca": ec.EllipticCurvePrivateKey,
    "sign": ed25519.Ed25519PrivateKey,
    "log": ed25519.Ed25519PrivateKey,
    "encrypt": x25519.X25519PrivateKey,
    "sign-ecc": ec.EllipticCurvePrivateKey,
    "encrypt-ecc": ec.EllipticCurvePrivateKey,
    "sign-rsa": rsa.RSAPrivateKey,
    "encrypt-rsa": rsa.RSAPrivateKey,
}


def generate(kind: Kind) -> PrivateKey:
    """A new key of the kind that serves this purpose."""
    match kind:
        case "tls" | "ca" | "sign-ecc" | "encrypt-ecc":
            return ec.generate_private_key(ec.SECP256R1())
        case "sign" | "log":
            return ed25519.Ed25519PrivateKey.generate()
        case "encrypt":
            return x25519.X25519PrivateKey.generate()
        case "sign-rsa" | "encrypt-rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def save_private(path: Path, key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a key as PKCS#8 PEM into a new 0600 file, on disk before this returns.

    Raises:
        FileExistsError: a key is never overwritten.
    """
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load_private(path: Path, kind: Kind, passphrase: bytes | None = None) -> PrivateKey:
    """The key in a file.

    Raises:
        BadKeyFile: missing, readable by others, wrong passphrase, or of another kind.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise BadKeyFile(
                f"{path} can be read by others: chmod 600 it, and replace the key if they could be strangers"
            )
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase or None)
    except OSError as error:
        raise BadKeyFile(f"{path} cannot be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise BadKeyFile(f"{path}: no private key, or the passphrase is wrong or missing") from error
    if not isinstance(key, _TYPES[kind]):
        raise BadKeyFile(f"{path} holds another kind of key than `{kind}` needs")
    return key  # type: ignore[return-value]  # the kinds of _TYPES are those of PrivateKey


def raw_public(key: PublicKey) -> bytes:
    """The 32 raw bytes of an Ed25519 or X25519 public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def public_pem(key: PublicKey) -> bytes:
    """A public key as PEM (SubjectPublicKeyInfo)."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
