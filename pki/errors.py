"""What can go wrong with keys, certificates and the trust list."""

from __future__ import annotations

from typing import ClassVar


class PkiError(Exception):
    """An expected failure with a stable code; the message says what to do."""

    code: ClassVar[str] = "pki.error"


class BadKeyFile(PkiError):
    """A private key cannot be read: missing, wrong passphrase, of another kind, or open to others."""

    code = "pki.key-file"


class Untrusted(PkiError):
    """A certificate does not lead to its State's authority; `reasons` has one entry a fault."""

    code = "pki.untrusted"

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class BadTrustList(PkiError):
    """Trust-list metadata or a target is not as its signers made it."""

    code = "pki.trust-list"
