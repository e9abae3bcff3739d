"""The page of benchmarks names every key they write, and none besides."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "benchmarks.md").read_text(encoding="utf-8")


def shape(node: ast.expr) -> str:
    """A key as the code writes it, with `*` for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
    assert isinstance(node, ast.Constant)
    return node.value


def written() -> set[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "bench").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                named = zip(node.keys, node.values, strict=True)
                found |= {shape(v) for k, v in named if isinstance(k, ast.Constant) and k.value == "key"}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_row":
                found.add("delivery." + shape(node.args[0]))
    return {key for key in found if key != "delivery.*"}


def test_every_key_is_listed_and_none_besides():
    listed = {re.sub(r"<[a-z]+>", "*", key) for key in re.findall(r"^\| `([a-z0-9.<>-]+)` \|", PAGE, re.MULTILINE)}
    assert listed == written()
