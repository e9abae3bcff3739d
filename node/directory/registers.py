"""What a search for registers finds."""

from __future__ import annotations

from dataclasses import dataclass

from node.directory.model import Register
from node.errors import Refused


class UnknownRegister(Refused):
    """The directory has no such register."""

    code = "refused.unknown-register"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """What was found, best first; `types`: all types of register there are."""

    found: tuple[Register, ...]
    types: tuple[str, ...]
    has_more: bool
