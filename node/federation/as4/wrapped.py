"""A content key as a message carries it, whichever suite wrapped it."""

from __future__ import annotations

from typing import Protocol

from lxml import etree

from node.federation.as4.model import Decrypter


class WrappedKey(Protocol):
    """A content key for one recipient."""

    @property
    def recipient(self) -> etree._Element | None:
        """The element that names the recipient's certificate; None where it was not read from elements."""
        ...

    def unwrap(self, key: Decrypter) -> bytes:
        """The content key, 16 bytes. Raises FailedDecryption."""
        ...
