"""Keys for content at rest: one random key a case, wrapped by the node's storage key.

AES-256-GCM with a random nonce in front of the ciphertext. Every seal is bound to a context (what it is and where it
belongs), so that a row copied elsewhere does not open. Erasing a case is forgetting its wrapped key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.errors import SetupError

KEY_BYTES: Final = 32
_NONCE: Final = 12
_SALT: Final = 16
_PLAIN, _LOCKED = b"imi-storage-key 1 plain\n", b"imi-storage-key 1 scrypt\n"


class BadStorageKey(SetupError):
    """The key that opens stored content is missing, damaged, or needs another passphrase."""

    code = "setup.storage-key"


class DoesNotOpen(SetupError):
    """Stored content does not open with its key: the file or row was changed outside the node."""

    code = "setup.stored-content"


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(key: bytes, data: bytes, context: str) -> bytes:
    """Nonce and ciphertext of `data`."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, context.encode())


def unseal(key: bytes, sealed: bytes, context: str) -> bytes:
    """Inverse of seal. Raises DoesNotOpen."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], context.encode())
    except (InvalidTag, ValueError) as error:
        raise DoesNotOpen(f"stored content does not open ({context.partition(':')[0]})") from error


class Vault:
    """The node's storage key: wraps the keys that seal content."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open(cls, path: Path, *, passphrase: bytes | None = None, create: bool = False) -> Vault:
        """The storage key in a 0600 file, made on request; locked by the passphrase if one is configured.

        Raises:
            BadStorageKey: there is none, it is damaged, or the passphrase is another.
        """
        if create and not path.exists():
            _write(path, new_key(), passphrase)
        try:
            stored = path.read_bytes()
        except OSError as error:
            raise BadStorageKey(f"the storage key {path} cannot be read: restore it from its backup") from error
        return cls(_unlock(stored, passphrase, path))

    def wrap(self, key: bytes, context: str) -> bytes:
        return seal(self._key, key, f"key:{context}")

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Raises DoesNotOpen."""
        return unseal(self._key, wrapped, f"key:{context}")


def _write(path: Path, key: bytes, passphrase: bytes | None) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        if passphrase:
            salt = os.urandom(_SALT)
            file.write(_LOCKED + salt + seal(_derive(passphrase, salt), key, "storage-key"))
        else:
            file.write(_PLAIN + key)
        file.flush()
        os.fsync(file.fileno())


def _unlock(stored: bytes, passphrase: bytes | None, path: Path) -> bytes:
    if stored.startswith(_PLAIN) and len(stored) == len(_PLAIN) + KEY_BYTES:
        return stored[len(_PLAIN) :]
    if stored.startswith(_LOCKED) and passphrase:
        body = stored[len(_LOCKED) :]
        try:
            return unseal(_derive(passphrase, body[:_SALT]), body[_SALT:], "storage-key")
        except DoesNotOpen:
            raise BadStorageKey(f"the passphrase does not open the storage key {path}") from None
    raise BadStorageKey(f"{path} is not a storage key, or it needs a passphrase (`passphrase_file`)")


def _derive(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=2**15, r=8, p=1).derive(passphrase)
