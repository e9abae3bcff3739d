"""Write docs/reference/errors.md and commands.md from the code (a test compares them)."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.docs.test_reference import all_errors, commands  # noqa: E402  # the path comes first

HEAD = """# Error codes

A code never changes its meaning. REST clients find it in a problem's `code`, operators in the log's `code`; officials read a
sentence in their language. What begins with `refused.` is turned down by our rules, `peer.` is another node's fault,
`unavailable.` may work later, `setup.` and `pki.` are for whoever runs the node.
"""


def main() -> None:
    """Both pages."""
    errors = [HEAD]
    for code, kind in sorted(all_errors().items()):
        first = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        ebms = f" Answered to the peer with {kind.ebms.code} ({kind.ebms.name})." if hasattr(kind, "ebms") else ""
        errors.append(f"### `{code}`\n\n{first}{ebms}\n")
    (ROOT / "docs/reference/errors.md").write_text("\n".join(errors), encoding="utf-8")
    pages = [
        "# Commands\n",
        "`imi-node --help` lists them; each has `--help` with an example. Exit codes: 0 done, 1 refused or a",
        "check failed, 2 wrong use or set-up, 75 not now, try later.\n",
    ]
    for name, command in sorted(commands().items()):
        help_text = (command.help or "").replace("**Example** ", "Example: ").replace("**Examples**\n", "Examples:\n")
        options = [
            f"| `{'`, `'.join(p.opts)}` | {getattr(p, 'help', None) or ''} |"
            for p in command.params
            if p.name != "help"
        ]
        table = "\n".join(["| option or argument | |", "|---|---|", *options]) if options else ""
        pages.append(f"### `{name}`\n\n{help_text}\n\n{table}\n")
    (ROOT / "docs/reference/commands.md").write_text("\n".join(pages), encoding="utf-8")


if __name__ == "__main__":
    main()
