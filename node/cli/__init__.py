"""The command line of a node's operators: `imi-node COMMAND`.

Every command ends with exit code 0 (done), 1 (refused, or a check failed), 2 (wrong use or wrong set-up) or 75 (not
now: try later). Failures are one sentence on standard error that says what to do.
"""

from __future__ import annotations

import errno
import sys
from typing import Final

import typer

from node.cli import (
    authorities,
    demo,
    directory,
    groups,
    messages,
    moving,
    nodes,
    peers,
    publishing,
    registering,
    registers,
    users,
)
from node.errors import ImiError, SetupError, Unavailable
from pki.errors import PkiError

app = typer.Typer(
    name="imi-node",
    help="A national node for administrative cooperation between European States.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
nodes.register(app)
demo.register(app)
app.add_typer(users.app, name="users")
moving.register(authorities.app)
registering.register(authorities.app)
app.add_typer(authorities.app, name="authorities")
app.add_typer(registers.app, name="registers")
app.add_typer(groups.app, name="groups")
publishing.register(directory.app)
app.add_typer(directory.app, name="directory")
messages.register(app)
peers.register(app)


_EXPECTED: Final = (ImiError, PkiError, OSError)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; the process's exit code."""
    try:
        return int(app(args=arguments, standalone_mode=False) or 0)
    except typer.Exit as done:
        return done.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except _EXPECTED as error:
        return _expected(error)
    except BaseExceptionGroup as group:
        return _expected(_first_expected(group))
    except Exception as error:  # click's own usage errors show themselves and carry an exit code; the rest are bugs
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(error, "exit_code", 2))


def _expected(error: ImiError | PkiError | OSError) -> int:
    sentence, code = (_about_os_error(error), 2) if isinstance(error, OSError) else (str(error), _exit_code(error))
    print(f"imi-node: {sentence}", file=sys.stderr)
    return code


def _exit_code(error: ImiError | PkiError) -> int:
    match error:
        case SetupError() | PkiError():
            return 2
        case Unavailable():
            return 75
        case _:
            return 1


def _first_expected(group: BaseExceptionGroup[BaseException]) -> ImiError | PkiError | OSError:
    """The first expected failure of several tasks speaks for all; a bug among them is raised whole."""
    expected, bugs = group.split(_EXPECTED)
    if bugs is not None or expected is None:
        raise group
    first: BaseException = expected
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, _EXPECTED)
    return first


def _about_os_error(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"the disk is full{where}: free some space and start again; nothing acknowledged was lost"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"no permission{where}: run as the node's user, or correct the owner of its folder"
        case errno.EADDRINUSE:
            return "a port is in use: stop what listens there, or choose another in the settings"
        case errno.ENOENT | errno.ENOTDIR:
            return f"there is no such file or folder{where}"
        case _:
            return f"{error.strerror or error}{where}"
