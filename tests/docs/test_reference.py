"""The reference says what the code does: error codes, commands, links between pages."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import click
import typer

import node
import pki
from node.cli import app
from node.errors import ImiError
from pki.errors import PkiError

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_no_two_errors_share_a_code():
    all_errors()
    waiting: list[type] = [ImiError, PkiError]
    owners: dict[str, set[str]] = {}
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "code" in vars(kind) and kind.__module__.startswith(("node.", "pki.")):
            owners.setdefault(kind.code, set()).add(f"{kind.__module__}.{kind.__qualname__}")
    assert {code: names for code, names in owners.items() if len(names) > 1} == {}


def all_errors() -> dict[str, type[Exception]]:
    for package in (node, pki):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: dict[str, type[Exception]] = {}
    waiting: list[type] = [ImiError, PkiError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        found.setdefault(kind.code, kind)
    return {code: kind for code, kind in found.items() if kind.__module__.startswith(("node.", "pki."))}


def test_every_error_code_has_its_heading_and_says_what_the_code_says():
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `([a-z.0-9-]+)`$", page, flags=re.MULTILINE))
    errors = all_errors()
    assert headings == set(errors), headings ^ set(errors)
    for code, kind in errors.items():
        first = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        assert first, code
        assert first in " ".join(page.split()), code


def commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}

    def walk(name: str, command: object) -> None:
        inner = getattr(command, "commands", None)
        if inner:
            for part, child in inner.items():
                walk(f"{name} {part}", child)
        else:
            found[name] = command

    walk("imi-node", typer.main.get_command(app))
    return found


def test_every_command_has_its_heading_and_an_example():
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    for name, command in commands().items():
        assert f"### `{name}`" in page, name
        assert "Example" in (command.help or ""), name


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} → {target}"
