"""Cuts ECL's stylesheet to the components our macros use and takes every url() out: `tools/stylesheet.py IN OUT`.

IN is `dist/styles/ecl-ec.css` of the npm package `@ecl/preset-ec`. See node/pages/static/VENDORED.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

KEPT: Final = [
    "breadcrumb",
    "button",
    "checkbox",
    "feedback-message",
    "form-group",
    "form-label",
    "help-block",
    "label",
    "link",
    "notification",
    "pagination",
    "radio",
    "select",
    "skip-link",
    "text-area",
    "text-input",
]
_COMPONENT: Final = re.compile(r"\.ecl-([a-z]+(?:-[a-z]+)*)")
_AT_ALL: Final = ("@media", "@supports", "@layer")


def rules(css: str) -> Iterator[tuple[str, str]]:
    """Head and body of each rule of the outermost level."""
    start = position = depth = opened = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|/\*.*?\*/|[{};]', css, re.DOTALL):
        sign, position = found.group(), found.end()
        if sign == "{":
            opened, depth = (position if depth == 0 else opened), depth + 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                yield css[start : opened - 1].strip(), css[opened : position - 1]
                start = position
        elif sign == ";" and depth == 0:
            start = position


def is_kept(selector: str) -> bool:
    """Whether a selector is about nothing but components we use."""
    return all(
        any(name == kept or name.startswith(f"{kept}-") for kept in KEPT) for name in _COMPONENT.findall(selector)
    )


def cut(css: str) -> str:
    """The stylesheet without what is not used."""
    kept: list[str] = []
    for head, body in rules(css):
        if head.startswith(_AT_ALL):
            inner = cut(body)
            kept += [f"{head}{{{inner}}}"] if inner else []
        elif not head.startswith("@"):
            selectors = [part for part in head.split(",") if is_kept(part)]
            declarations = ";".join(part for part in body.split(";") if "url(" not in part)
            kept += [f"{','.join(selectors)}{{{declarations}}}"] if selectors and declarations else []
    return "\n".join(kept)


def main() -> None:
    """Read, cut, write."""
    source, target = map(Path, sys.argv[1:])
    css = re.sub(r"/\*.*?\*/", "", source.read_text(encoding="utf-8"), flags=re.DOTALL)
    target.write_text(cut(re.sub(r'url\("data:.*?"\)', "url()", css)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
