"""Finding a register: every word typed begins a word of its names, contents, keeper or codes, in any script.

There are some hundreds of registers, not hundreds of thousands as of authorities: they are read and compared, without an
index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from node.directory.folding import spellings, words
from node.directory.model import Access, Record, Register
from node.errors import Refused

_WORDS: Final = re.compile(r"\w+")


class UnknownRegister(Refused):
    """The directory has no such register."""

    code = "refused.unknown-register"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """What was found, by State and name; `types`: all types of register there are."""

    found: tuple[Register, ...]
    types: tuple[str, ...]
    has_more: bool


def find_registers(
    records: Iterable[Record], text: str, *, type_: str = "", access: Access | str = "", limit: int
) -> Registers:
    """The registers of which all that is asked for is true, at most `limit`."""
    registers = [record for record in records if isinstance(record, Register)]
    typed = words(text)
    fitting = [
        one
        for one in registers
        if (not type_ or one.type == type_) and (not access or one.access == access) and _has_all(one, typed)
    ]
    fitting.sort(key=lambda one: (one.state, one.name.casefold(), one.id))
    types = tuple(sorted({one.type for one in registers if one.type}))
    return Registers(found=tuple(fitting[:limit]), types=types, has_more=len(fitting) > limit)


def _has_all(register: Register, typed: list[str]) -> bool:
    if not typed:
        return True
    held = _WORDS.findall(spellings(" ".join(_texts(register))))
    return all(any(word.startswith(one) for word in held) for one in typed)


def _texts(register: Register) -> Iterator[str]:
    yield from register.names.values()
    yield from register.contents.values()
    yield from register.identifiers.values()
    yield from (*register.professions, *register.activities)
    yield from (register.operator_name, register.type)
