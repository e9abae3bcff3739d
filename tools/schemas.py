"""Write the JSON schemas of what the directory reads and gives as files, and the tables of the import format's page.

python -m tools.schemas
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from node.directory.exporting import public_schema
from node.directory.rows import AuthorityRow, RegisterRow

REFERENCE: Final = Path(__file__).resolve().parents[1] / "docs" / "reference"
PAGE: Final = REFERENCE / "import-format.md"
_ROWS: Final = {"authorities": AuthorityRow, "registers": RegisterRow}


def schemas() -> Mapping[Path, dict[str, Any]]:
    """Every schema, by its file."""
    rows = {REFERENCE / f"import-{name}.schema.json": _row_schema(model) for name, model in _ROWS.items()}
    return {**rows, REFERENCE / "public-export.schema.json": public_schema()}


def _row_schema(model: type[AuthorityRow | RegisterRow]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=False)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def text(schema: Mapping[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def with_tables(page: str) -> str:
    """The page with its tables as the row classes say."""
    for name, model in _ROWS.items():
        between = re.compile(rf"(<!-- columns: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = between.sub(lambda found, model=model: found[1] + _table(model) + found[2], page)  # type: ignore[misc]
    return page


def _table(model: type[AuthorityRow | RegisterRow]) -> str:
    rows = ["| field | |", "|---|---|"]
    for name, field in model.model_fields.items():
        kind = str(field.annotation)
        form = " List." if "tuple" in kind else f" In a table: columns `{name}.…`." if "dict" in kind else ""
        rows.append(f"| `{name}` | {(field.description or '') + form} |".replace("|  ", "| "))
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the files."""
    for path, schema in schemas().items():
        path.write_text(text(schema), encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
