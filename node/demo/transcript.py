"""What the demo tells while it plays: chapters, steps, and what was checked at each."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from node.errors import ImiError


class CheckFailed(ImiError):
    """A check of a demo scenario did not hold."""

    code = "demo.check-failed"


@dataclass(slots=True)
class Transcript:
    """Tells the story on `console` and counts checks; a failed check ends the run at once."""

    console: Console
    checks: int = 0
    chapters: list[str] = field(default_factory=list)

    def chapter(self, title: str, summary: str) -> None:
        """Begin a scenario."""
        self.chapters.append(title)
        self.console.print()
        self.console.rule(f"[bold]{len(self.chapters)}. {title}", align="left")
        self.console.print(f"   {summary}", style="dim")

    def tell(self, who: str, what: str) -> None:
        """One step: `who` (a node's code) did `what`."""
        self.console.print(f"   [bold cyan]{who:>6}[/]  {escape(what)}", highlight=False)

    def quote(self, text: str, *, mark: str = "") -> None:
        """What a user reads on the page."""
        self.console.print(f"           “{escape(text)}” {f'[dim]{mark}[/]' if mark else ''}", highlight=False)

    def check(self, what: str, holds: bool, *, found: object = "") -> None:  # noqa: FBT001  # check("...", a == b) reads well
        """Record that `what` holds.

        Raises:
            CheckFailed: it does not.
        """
        if not holds:
            self.console.print(f"   [bold red]  FAIL  {escape(what)}[/]  {escape(str(found))}", highlight=False)
            raise CheckFailed(f"{what} (found: {found})" if found != "" else what)
        self.checks += 1
        self.console.print(f"   [green]    ok  {escape(what)}[/]", highlight=False)

    def addresses(self, rows: list[tuple[str, str, str, str]]) -> None:
        """Where to go now: node, address, login, password."""
        table = Table(title="Sign in at", title_justify="left", box=None, pad_edge=False)
        for column in ("node", "pages", "login", "password"):
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        self.console.print()
        self.console.print(table)
