"""The command `imi-node`, and `python -m node`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command; expected failures end with one sentence and a documented exit code."""
    from node.cli import run  # late: `--help` and completion should not wait for what they don't use

    sys.exit(run())


if __name__ == "__main__":
    main()
