"""Draw how the cost of a search grows with the directory: docs/explanation/search-growth.svg, from build/bench.json.

Run after `BENCH_SIZES="15000 300000 1000000" make bench ARGS=search`:
    python tools/search_growth.py [build/bench.json]
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs" / "explanation" / "search-growth.svg"
_KEY: Final = re.compile(r"directory\.search\.(\d+)\.([a-z-]+)\.(p50|p99)")
_KINDS: Final = {
    "word": ("one word", "#0b5cad"), "initials": ("initial letters", "#b3451d"), "two-words": ("two words", "#2b7a3d"),
    "region": ("word + region", "#6b3fa0"),
}  # fmt: skip
_WIDTH: Final = 720
_HEIGHT: Final = 400
_LEFT: Final = 70
_RIGHT: Final = 170
_TOP: Final = 30
_BOTTOM: Final = 50

Points = list[tuple[int, float]]


def drawn(lines: dict[tuple[str, str], Points]) -> str:
    """The picture of (kind, cut) -> (size, milliseconds): both axes logarithmic, p50 solid, p99 dashed."""
    sizes = sorted({size for points in lines.values() for size, _ in points})
    values = [value for points in lines.values() for _, value in points]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(*values, 50)))
    span = math.log10(sizes[-1] / sizes[0]) or 1.0

    def x(size: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log10(size / sizes[0]) / span

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * math.log10(value / low) / math.log10(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">',
        "<title>Milliseconds of a search against the number of authorities, names in 24 languages</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = y(10**power)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ccc"/>',
            f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10**power:g} ms</text>',
        ]
    for goal, name in ((5, "goal p50"), (50, "goal p99")):
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(goal):.1f}" y2="{y(goal):.1f}" stroke="#888" stroke-dasharray="2 3"/>',
            f'<text x="{_LEFT + 4}" y="{y(goal) - 4:.1f}" fill="#555" font-size="11">{name} {goal} ms</text>',
        ]
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{size:,}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">authorities, names in 24 languages</text>'
    )
    for (kind, cut), points in sorted(lines.items()):
        colour, dash = _KINDS[kind][1], "" if cut == "p50" else ' stroke-dasharray="6 4"'
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in sorted(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts += [
            f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"><title>{_KINDS[kind][0]}, {cut}, {size:,}: {value:.2f} ms</title></circle>'
            for size, value in points
        ]
    legend = [(name, colour, "") for name, colour in _KINDS.values()]
    legend += [("solid: half of all", "#333", ""), ("dashed: 99 of 100", "#333", ' stroke-dasharray="6 4"')]
    for n, (name, colour, dash) in enumerate(legend):
        at = _TOP + 20 * n
        start = _WIDTH - _RIGHT + 15
        parts += [
            f'<line x1="{start}" x2="{start + 24}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2"{dash}/>',
            f'<text x="{start + 30}" y="{at + 4}">{name}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Read the rows of the bench, draw those of searches."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "bench.json"
    lines: dict[tuple[str, str], Points] = {}
    for row in json.loads(source.read_text(encoding="utf-8"))["rows"]:
        if found := _KEY.fullmatch(row["key"]):
            lines.setdefault((found[2], found[3]), []).append((int(found[1]), row["value"]))
    if not lines:
        sys.exit(f"{source} has no rows directory.search.*: run make bench ARGS=search first")
    TARGET.write_text(drawn(lines), encoding="utf-8")
    print(f"written to {TARGET}")


if __name__ == "__main__":
    main()
