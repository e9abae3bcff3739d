"""What `imi-node authorities import` and `imi-node registers import` do: say of each row what happens, and do it."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from node.cli.common import console, plain, table
from node.cli.directory import own_logs, signer_of
from node.directory import Directory
from node.directory.hosting import LogSigner
from node.directory.intake import AUTHORITIES, Intake, Judge, Outcome, Verdict, judge_for, judged, publish
from node.directory.model import COLLECTION_OF
from node.directory.replication import LogId
from node.directory.rows import Row, read_rows
from node.errors import Refused
from node.ids import NodeId, parse_node
from node.settings import load

if TYPE_CHECKING:
    from node.directory.importing import Overlay

SHOWN_MISSING: Final = 20
_MEANING: Final[dict[Verdict, str]] = {
    "new": "added",
    "changed": "changed",
    "unchanged": "as it was",
    "refused": "refused: see above",
    "other node": "of another node of the State, left alone",
    "missing": "in the directory, not in the file: left as it is",
    "deleted": "deleted: not in the file",
}
File = Annotated[Path, typer.Argument(help="CSV or JSON Lines, also as .gz; docs/reference/import-format.md.")]
Node = Annotated[str, typer.Option(help="Node they belong to; default: this node.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say of each row what would happen, and change nothing.")]
Strict = Annotated[bool, typer.Option("--strict", help="Import nothing if one row is refused.")]
DeleteMissing = Annotated[bool, typer.Option("--delete-missing", help="Delete those that the file does not name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]


class NotImported(Refused):
    """A row was refused and the import is strict: nothing is imported."""

    code = "refused.not-imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line."""

    file: Path
    dry_run: bool
    strict: bool
    delete_missing: bool
    yes: bool
    alone: bool


def run(intake: Intake, order: Order, *, node: str, config: Path, overlay: Path | None = None) -> int:
    """Import one file; the exit code: 1 if a row was refused."""
    with _quiet_log():
        return _run(intake, order, node, config, _overlay(overlay))


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Warnings only: what is followed and found is said by the command itself."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.configure(**before)


def _run(intake: Intake, order: Order, node: str, config: Path, lay: Overlay | None) -> int:
    if order.dry_run:
        settings = load(config)
        with closing(Directory(settings.data)) as directory:
            home = parse_node(node) if node else settings.node
            return _Import(directory, intake, home, order, lay, None).all()
    with own_logs(config, alone=order.alone) as (settings, keys, directory):
        home = parse_node(node) if node else settings.node
        signer = signer_of(home, settings, keys)
        directory.catch_up()  # an import that was broken off may have left the copy behind the log
        return _Import(directory, intake, home, order, lay, signer).all()


@dataclass(frozen=True, slots=True)
class _Import:
    directory: Directory
    intake: Intake
    home: NodeId
    order: Order
    overlay: Overlay | None
    signer: LogSigner | None  # none: a dry run

    @property
    def collection(self) -> str:
        return COLLECTION_OF[self.intake.kind]

    def all(self) -> int:
        """Row by row, then what no row named; the exit code."""
        self.warn_of_columns()
        if self.order.strict and (refused := [one for one in self.outcomes(self.judge()) if one.verdict == "refused"]):
            self.show(refused)
            raise NotImported(f"{len(refused)} rows of {self.order.file} are refused; --strict: nothing is imported")
        judge = self.judge()
        counted = Counter(one.verdict for one in self.shown(self.publish(self.outcomes(judge))))
        counted += self.missing(judge)
        _summary(counted, self.order)
        if self.signer is not None:
            epoch, size = self.directory.position(LogId(self.home, self.collection))
            console.print(
                f"The log {LogId(self.home, self.collection, max(epoch, 1))} has {size} entries.", highlight=False
            )
        return int(counted["refused"] > 0)

    def publish(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """The outcomes, each once it is in the log; in a dry run as they come."""
        if self.signer is None:
            return iter(outcomes)
        return publish(self.directory, self.home, self.signer, outcomes, collection=self.collection)

    def judge(self) -> Judge:
        after = self.overlay.laid if self.overlay else lambda record: record
        return judge_for(self.directory, self.intake, self.home, after=after)

    def outcomes(self, judge: Judge) -> Iterator[Outcome]:
        """Row by row, with a bar that tells how much of the file has been read."""
        extra = self.overlay.new(self.home) if self.overlay and self.intake is AUTHORITIES else ()
        errors = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task(plain(self.order.file.name), total=self.order.file.stat().st_size)
            yield from judged(judge, self.order.file, extra, lambda read: bar.update(task, completed=read))

    def warn_of_columns(self) -> None:
        """Name what the first row says and nobody reads: a column's name may be misspelt."""
        first = next(read_rows(self.order.file), None)
        if isinstance(first, Row):
            unknown = sorted(first.values.keys() - self.intake.columns)
            if unknown:
                print(f"not read: {plain(', '.join(unknown))}", file=sys.stderr)

    def shown(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Print what is worth a line: in a dry run all that would change, else what somebody should look at."""
        for one in outcomes:
            matters = one.verdict == "refused" or one.remarks or one.matched == "matched by name"
            if one.verdict != "unchanged" and (self.order.dry_run or matters):
                self.show([one])
            yield replace(one, change=None)

    def show(self, outcomes: Sequence[Outcome]) -> None:
        for one in outcomes:
            details = "; ".join(filter(None, [one.reason, one.matched, ", ".join(one.changed), *one.remarks]))
            where = f"{self.order.file}:{one.line}" if one.line else str(self.order.file)
            print(plain("  ".join(filter(None, [where, one.verdict, one.id or "", one.name, details]))))

    def missing(self, judge: Judge) -> Counter[Verdict]:
        """Report, or delete, what the file does not name."""
        found = list(judge.missing())
        if not found:
            return Counter()
        if self.order.delete_missing and judge.has_unreadable:
            print("A refused row may be about one of those that are missing: nothing is deleted.", file=sys.stderr)
        elif self.order.delete_missing:
            gone = [replace(one, verdict="deleted") for one in found]
            self.show(gone if self.order.dry_run else gone[:SHOWN_MISSING])
            if self.signer is None or self._is_sure(len(gone)):
                return Counter(one.verdict for one in self.publish(gone))
        else:
            self.show(found[:SHOWN_MISSING])
        return Counter({"missing": len(found)})

    def _is_sure(self, number: int) -> bool:
        return self.order.yes or typer.confirm(f"Delete these {number} from the directory?", default=False)


def _overlay(path: Path | None) -> Overlay | None:
    from node.directory.importing import Overlay

    return None if path is None else Overlay(path)


def _summary(counted: Counter[Verdict], order: Order) -> None:
    console.print("What would happen:" if order.dry_run else "Done:")
    rows: list[tuple[Any, ...]] = [(counted[verdict], text) for verdict, text in _MEANING.items() if counted[verdict]]
    table("", ("rows", ""), rows, empty="The file holds no rows.")
