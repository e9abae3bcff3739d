"""Conditions: three words, `left operator right`. No other expression exists in a procedure.

size.questions >= 1        state.to != state.author        at <= due.objection        questions part-of open
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

Operand = str | int | datetime | frozenset[str] | None

OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=", "within", "part-of")
COUNTERS: Final = ("lanes", "here", "missing")  # `lanes.<flag>`: numbers counted from lanes


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `left` and `right` are words, looked up where it is judged."""

    left: str
    operator: str
    right: str

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"

    @property
    def words(self) -> tuple[str, str]:
        return self.left, self.right


def parse_condition(text: str) -> Condition:
    """The condition in a text; ValueError unless it is three words with an operator in the middle."""
    words = text.split(" ")
    if len(words) != 3 or words[1] not in OPERATORS or not words[0] or not words[2]:
        raise ValueError(f"{text!r} is not 'left operator right'; operators: {' '.join(OPERATORS)}")
    return Condition(*words)


def holds(condition: Condition, look_up: Callable[[str], Operand]) -> bool:
    """Whether a condition is true. A word without a value (a deadline not running, an empty variable) makes it false.

    An authority is compared with a set as the set of it alone.
    """
    left, right = look_up(condition.left), look_up(condition.right)
    if left is None or right is None:
        return False
    if isinstance(left, frozenset) or isinstance(right, frozenset):
        return _SETS.get(condition.operator, _never)(_as_set(left), _as_set(right))
    if type(left) is not type(right):
        return False
    return _ORDERED.get(condition.operator, _never)(left, right)


def _as_set(value: Operand) -> frozenset[str]:
    return value if isinstance(value, frozenset) else frozenset([str(value)])


def _never(_left: object, _right: object) -> bool:
    return False


_SETS: Final[Mapping[str, Callable[[frozenset[str], frozenset[str]], bool]]] = {
    "=": frozenset.__eq__,
    "!=": frozenset.__ne__,
    "within": frozenset.__le__,
    "part-of": lambda left, right: bool(left) and left < right,  # proper, not empty
}
_ORDERED: Final[Mapping[str, Callable[[Operand, Operand], bool]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,  # type: ignore[operator]  # `holds` gives two of one ordered type
    "<=": lambda left, right: left <= right,  # type: ignore[operator]  # likewise
    ">": lambda left, right: left > right,  # type: ignore[operator]  # likewise
    ">=": lambda left, right: left >= right,  # type: ignore[operator]  # likewise
    "within": lambda left, right: left == right,  # one authority within another: the same
}
