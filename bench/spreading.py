"""How long a change takes to be on every node: 31 simulated ones whose owner is gone after one push; simulated time."""

from __future__ import annotations

from typing import Any, Final

from tests.simulation.spreading import measure

CHANGES: Final = 20


def run() -> list[dict[str, Any]]:
    """Spread changes one after the other, each of an owner that stops as soon as one other node has it."""
    spread = measure(changes=CHANGES)
    note = f"{CHANGES} changes on 31 nodes, simulated time"
    return [
        {
            "key": f"directory.spread.{of}.p{percent}",
            "what": f"a change whose owner is gone, on {'a' if of == 'each' else 'the last'} node, p{percent}",
            "value": spread.quantile(of, percent),
            "unit": "s",
            "goal": "< 120" if (of, percent) == ("last", 99) else "",
            "note": note if (of, percent) == ("each", 50) else "",
        }
        for of in ("each", "last")
        for percent in (50, 99)
    ]
