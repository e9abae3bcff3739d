"""`make bench`: measure, print a table, write build/bench.json.

Figures are of this machine in this run; compare them as ratios within one run, never across machines. Each module of
this folder offers `run() -> list[dict]` with rows of: key, what, value, unit, goal and note (texts, may be left out).
Keys stay what they are: docs/reference/benchmarks.md lists them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from node import log

MODULES = ("messages", "delivery", "cases", "directory", "replication", "spreading", "importing", "search", "start")
MORE = ("peers",)  # only when named: needs Java and a quarter of an hour
TARGET = Path("build/bench.json")


def main() -> None:
    """Run the chosen modules one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = f"some of: {', '.join(MODULES)} (default: these), {', '.join(MORE)}"
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=known)
    chosen = parser.parse_args().modules or MODULES
    if unknown := set(chosen) - {*MODULES, *MORE}:
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    log.configure(level="error")
    console = Console()
    rows: list[dict[str, Any]] = []
    for name in chosen:
        began = time.monotonic()
        with console.status(f"measuring {name} ..."):
            found = importlib.import_module(f"bench.{name}").run()
        rows += found
        console.print(_table(name, found, time.monotonic() - began))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps({"machine": _machine(), "rows": rows}, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {TARGET}")


def _table(name: str, rows: list[dict[str, Any]], seconds: float) -> Table:
    table = Table(title=f"{name} ({seconds:.0f} s)", title_justify="left")
    for column in ("what", "value", "unit", "goal", "note"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for row in rows:
        value = row["value"]
        shown = f"{value:,.2f}" if isinstance(value, float) else str(value)
        table.add_row(row["what"], shown, row.get("unit", ""), row.get("goal", ""), row.get("note", ""))
    return table


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}


if __name__ == "__main__":
    main()
