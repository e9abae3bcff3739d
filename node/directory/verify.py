"""Checking exported files of the directory offline: only the files and the public key of whoever signed them are needed.

    python -m node.directory.verify EE.jsonl --key 4Xkq…=

A log's file is right if its checkpoint is signed with the key, and its entries lead to the signed root. Every entry is
read as a replica reads it; those that have no effect are named. Of several epochs of one log each must begin with the
checkpoint that the one before ended with, and repeat what counted then, no more and no less.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from node.directory.copies import read_entries
from node.directory.exporting import (
    LOG_FORMAT,
    PUBLIC_FORMAT,
    key_id,
    key_name,
    sha256_of,
    signature_path,
    signed_text,
)
from node.directory.model import MAX_ENTRY_BYTES, Deleted
from node.directory.replication import (
    PAGE,
    BadPage,
    Checkpoint,
    LogId,
    check_root,
    frontier_after,
    log_of,
    read_checkpoint,
    read_lines,
    read_opening,
)
from node.errors import ImiError, Refused
from node.ids import NodeId
from node.merkle import Frontier

MAX_LINE: Final = 6 * MAX_ENTRY_BYTES + 1024  # every character of a body may be written as six
KeyOf = Callable[[NodeId, str], Ed25519PublicKey]  # node, collection ("" for a file) -> its log key; raises NoKey


class BadExport(Refused):
    """A file is no export, or not what its signature or its checkpoint says."""

    code = "refused.bad-export"


class NoKey(Refused):
    """No key is known to check a file with."""

    code = "refused.no-key-to-check-with"


class _Lines(Protocol):
    def readline(self, size: int = -1, /) -> bytes: ...


@dataclass(slots=True)
class LogReport:
    """What one epoch of a log holds."""

    path: Path
    log: LogId
    checkpoint: Checkpoint
    puts: int = 0
    deletes: int = 0
    without_body: int = 0
    invalid: list[tuple[int, str]] = field(default_factory=list)
    opens_from: str = ""  # the note of the epoch before, if it repeats one
    repeats: int = 0
    ends: bool = False
    begins_with: dict[tuple[str, str], bytes] = field(default_factory=dict)  # what the opening repeats
    says: dict[tuple[str, str], bytes] = field(default_factory=dict)  # (kind, id) -> half a digest, of what counts

    def lines(self) -> Iterator[str]:
        """What was found, for people."""
        counted = Counter(kind for kind, _ in self.says)
        yield f"{self.path}: {self.log}, {self.checkpoint.size} entries, root {self.checkpoint.root.hex()}: as signed"
        yield f"  {self.puts} put, {self.deletes} deleted, {self.without_body} whose body was removed"
        yield f"  in force: {', '.join(f'{n} {kind}' for kind, n in sorted(counted.items())) or 'nothing'}"
        if self.opens_from:
            yield f"  begins with {self.repeats} entries of the epoch before"
        if self.ends:
            yield "  ends: the log goes on in the next epoch"
        for seq, reason in self.invalid[:20]:
            yield f"  INVALID entry {seq}: {reason}"
        if len(self.invalid) > 20:
            yield f"  … and {len(self.invalid) - 20} more invalid entries"


@dataclass(slots=True)
class FileReport:
    """What a public export holds."""

    path: Path
    node: NodeId
    at: str
    counted: Counter[str]

    def lines(self) -> Iterator[str]:
        """What was found, for people."""
        yield f"{self.path}: public export by {self.node} of {self.at}: as signed"
        yield f"  {', '.join(f'{n} {kind}' for kind, n in sorted(self.counted.items())) or 'nothing'}"


def verify(paths: Sequence[Path], key_of: KeyOf) -> list[LogReport | FileReport]:
    """Check files, and how the epochs among them follow each other.

    Raises:
        BadExport: one is not what it says it is, with the reason.
        BadCheckpoint: its checkpoint is not signed with the key.
        NoKey: there is no key to check it with.
    """
    reports = [_verify_file(path, key_of) for path in paths]
    logs = sorted((one for one in reports if isinstance(one, LogReport)), key=lambda one: one.log)
    for before, after in pairwise(logs):
        if before.log.name == after.log.name:
            _check_chain(before, after, key_of)
    return reports


def _verify_file(path: Path, key_of: KeyOf) -> LogReport | FileReport:
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else nullcontext(raw) as file:
            head = _head(path, file)
            match head:
                case {"format": "imi-log/1", "log": str(name), "checkpoint": str(note)}:
                    return _verify_log(path, file, name, note, key_of)
                case {"format": "imi-directory/1", "node": str(node), "at": str(at)}:
                    return _verify_public(path, file, NodeId(node), at, key_of)
    except (EOFError, gzip.BadGzipFile) as error:
        raise BadExport(f"{path} is damaged: {error}") from error
    raise BadExport(f"{path} is neither {LOG_FORMAT} nor {PUBLIC_FORMAT}")


def _head(path: Path, file: _Lines) -> Any:
    try:
        return json.loads(file.readline(MAX_LINE))
    except (ValueError, RecursionError) as error:
        raise BadExport(f"{path} does not begin as an export does") from error


# -- logs ---------------------------------------------------------------------------------------------------------


def _verify_log(path: Path, file: _Lines, name: str, note: str, key_of: KeyOf) -> LogReport:
    log = LogId.parse(name)
    if log is None:
        raise BadExport(f"{path} names no log")
    checkpoint = read_checkpoint(note, log=name, public_key=key_of(log.node, log.collection))
    report = LogReport(path, log, checkpoint)
    frontier = Frontier()
    for data in _pages(path, file):
        try:
            entries = read_lines(data)
        except BadPage as error:
            raise BadExport(f"{path}, behind entry {frontier.size}: {error}") from error
        _read(report, entries, frontier.size)
        frontier = frontier_after(frontier, entries)
    try:
        check_root(frontier, checkpoint)
    except BadPage as error:
        raise BadExport(f"{path}: {error} ({frontier.size} entries, {checkpoint.size} signed)") from error
    return report


def _pages(path: Path, file: _Lines) -> Iterator[bytes]:
    lines: list[bytes] = []
    while line := file.readline(MAX_LINE):
        if not line.endswith(b"\n"):
            raise BadExport(f"{path} holds a line that is too long, or ends within one")
        lines.append(line)
        if len(lines) == PAGE:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


def _read(report: LogReport, entries: Sequence[Any], first: int) -> None:
    opening = read_opening(entries[0].body) if first == 0 and entries and report.log.epoch > 1 else None
    if opening is not None:
        report.opens_from, report.repeats = opening.previous, opening.entries
    for seq, entry in enumerate(entries, first):
        reading = read_entries((entry,), report.log, seq, closed=report.ends)
        report.without_body += entry.body is None
        report.invalid += reading.invalid
        report.ends = report.ends or reading.closing is not None
        for (change, _), body in zip(reading.changes, reading.bodies, strict=True):
            if isinstance(change, Deleted):
                report.deletes += 1
                report.says.pop((change.kind, change.id), None)
            else:
                report.puts += 1
                report.says[change.kind, change.id] = sha256(body).digest()[:16]
        if report.repeats and seq == report.repeats:
            report.begins_with = dict(report.says)


def _check_chain(before: LogReport, after: LogReport, key_of: KeyOf) -> None:
    """Raises BadExport unless an epoch goes on where the one before ended."""
    if after.log.epoch == before.log.epoch:
        raise BadExport(f"{before.path} and {after.path} are the same epoch: give one of them")
    if after.log.epoch != before.log.epoch + 1:
        raise BadExport(f"between {before.log} and {after.log} an epoch is missing")
    previous = log_of(after.opens_from)
    if previous != before.log:
        raise BadExport(f"{after.path} does not begin with a checkpoint of {before.log}")
    key = key_of(after.log.node, after.log.collection)
    named = read_checkpoint(after.opens_from, log=str(before.log), public_key=key)
    if (named.size, named.root) != (before.checkpoint.size, before.checkpoint.root):
        raise BadExport(
            f"{after.log} goes on from {named.size} entries of {before.log}; {before.path} has "
            f"{before.checkpoint.size}, or others"
        )
    differ = sorted(f"{kind} {name}" for kind, name in _differing(before.says, after.begins_with))
    if differ:
        raise BadExport(f"{after.path} does not repeat what {before.log} ended with: {', '.join(differ[:10])}")


def _differing(one: Mapping[tuple[str, str], bytes], other: Mapping[tuple[str, str], bytes]) -> set[tuple[str, str]]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


# -- public exports -----------------------------------------------------------------------------------------------


def _verify_public(path: Path, file: _Lines, node: NodeId, at: str, key_of: KeyOf) -> FileReport:
    note = signature_path(path)
    if not note.is_file() or note.stat().st_size > MAX_LINE:
        raise BadExport(f"{path} has no signature beside it: {note.name}")
    if not _is_signed(note.read_text(encoding="utf-8", errors="replace"), sha256_of(path), node, key_of(node, "")):
        raise BadExport(f"{note} is no signature of {node} over {path}")
    counted: Counter[str] = Counter()
    for data in _pages(path, file):
        try:
            counted.update(str(next(iter(json.loads(line)))) for line in data.splitlines())
        except (ValueError, RecursionError, StopIteration, TypeError, RuntimeError) as error:
            raise BadExport(f"{path} has a line that is no record") from error
    return FileReport(path, node, at, counted)


def _is_signed(note: str, digest: bytes, node: NodeId, key: Ed25519PublicKey) -> bool:
    text = signed_text(digest, node)
    for line in note.removeprefix(f"{text}\n").splitlines() if note.startswith(f"{text}\n") else ():
        name, _, value = line.removeprefix("— ").partition(" ")
        try:
            blob = base64.b64decode(value, validate=True)
            if name == key_name(node) and blob[:4] == key_id(node, key.public_bytes_raw()):
                key.verify(blob[4:], text.encode())
                return True
        except (binascii.Error, ValueError, InvalidSignature):
            continue
    return False


# -- on its own ---------------------------------------------------------------------------------------------------


def read_key(text: str) -> Ed25519PublicKey:
    """A log's public key as a trust entry has it (Base64 of 32 bytes), or a file that holds that. Raises NoKey."""
    try:
        found = Path(text).read_text(encoding="ascii").strip() if Path(text).is_file() else text
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(found, validate=True))
    except (ValueError, binascii.Error) as error:
        raise NoKey("a log's key is 44 characters of Base64, as its entry in the trust list has it") from error


def report(paths: Sequence[Path], key_of: KeyOf, write: Callable[[str], object]) -> int:
    """Check files and say what was found; the exit code: 1 if an entry has no effect."""
    reports = verify(paths, key_of)
    for line in (line for one in reports for line in one.lines()):
        write(line + "\n")
    logs = [one for one in reports if isinstance(one, LogReport)]
    if any(one.opens_from for one in logs) and len(logs) > len({one.log.name for one in logs}):
        write("The epochs follow each other.\n")
    return int(any(one.invalid for one in logs))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code: 0 all is right, 1 something is not."""
    parser = argparse.ArgumentParser(prog="python -m node.directory.verify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--key", required=True, help="public key of the log, Base64, or a file with it")
    asked = parser.parse_args(arguments)
    try:
        key = read_key(asked.key)
        return report(asked.files, lambda _node, _collection: key, sys.stdout.write)
    except (ImiError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
