"""What can go wrong, by whose fault it is.

    ImiError
    ├── Refused       our rules forbid it: the user's act is turned down, nothing changed
    ├── PeerError     another node (or someone who says so) broke the protocol
    ├── Unavailable   something needed is not there now; the same act may succeed later
    └── SetupError    this node is set up wrongly; the sentence says what to do about it

Subclasses stand beside the code that raises them. Each has a `code` that never changes
(docs/reference/errors.md lists all, and a test compares). `str(error)` is one English sentence for logs and for
API clients; officials' pages show the catalogue's text for the code, filled in from `details`.
Anything that is not an ImiError is a bug: logged in full, shown as "internal".
"""

from __future__ import annotations

from typing import ClassVar


class ImiError(Exception):
    """An expected failure, with a stable code and named details (never personal data)."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: str | int) -> None:
        super().__init__(message)
        self.details = details


class Refused(ImiError):
    """Our rules forbid it."""

    code = "refused"


class PeerError(ImiError):
    """A peer broke the protocol."""

    code = "peer.error"


class Unavailable(ImiError):
    """Try later."""

    code = "unavailable"


class SetupError(ImiError):
    """The node cannot run like this; the message says what to do."""

    code = "setup"
