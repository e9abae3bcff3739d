"""What peers get of the logs held here, and what they may hand in: paths, bodies, limits.

C2SP tlog-tiles below `/imi/v1/log/<node>/<collection>/`, from the second epoch on with its number behind:

    checkpoint                      the signed note
    tile/<L>/<N>[.p/<W>]            hashes of a tile, side by side
    tile/entries/<N>[.p/<W>]        a page of entries, gzipped lines of JSON
    entries                         POST: what the log's owner signed elsewhere, for its host
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.directory.directory import Directory
from node.directory.hosting import Signed
from node.directory.replication import (
    MAX_NOTE,
    MAX_PAGE_BYTES,
    PAGE,
    BadCheckpoint,
    BadPage,
    Checkpoint,
    Divergence,
    LogForked,
    LogId,
    LogRolledBack,
    contradict,
    log_of,
    read_checkpoint,
    read_lines,
    write_page,
)
from node.errors import PeerError
from node.federation.peers import LogKey
from node.merkle import HASH_BYTES, TILE

LOG_PATH: Final = "/imi/v1/log/"
EVIDENCE_PATH: Final = "/imi/v1/evidence"
MAX_SIGNED_BYTES: Final = 256 * 1024 * 1024  # what an owner hands in at once, unpacked
MAX_EVIDENCE_BYTES: Final = 64 * 1024
TILE_BYTES: Final = TILE * HASH_BYTES

_TILE: Final = r"(?:x[0-9]{3}/){0,2}[0-9]{3}(?:\.p/[0-9]{1,3})?"
_PATH: Final = re.compile(
    rf"(?P<log>[^/]+/[a-z-]+(?:/[0-9]+)?)/(?:(?P<checkpoint>checkpoint)|tile/(?P<level>entries|[0-4])/(?P<tile>{_TILE}))"
)


class BadEvidence(PeerError):
    """What a peer reports does not show that a log contradicts itself, or is not signed by the log's key."""

    code = "peer.bad-evidence"


@dataclass(frozen=True, slots=True)
class Served:
    """The answer to a GET."""

    body: bytes
    content_type: str


class Server:
    """Answers from the files of this node; every function may block."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def find(self, path: str) -> Served | None:
        """What lies at a path below `LOG_PATH`; None if nothing does."""
        match = _PATH.fullmatch(path)
        log = LogId.parse(match["log"]) if match else None
        if match is None or log is None:
            return None
        if match["checkpoint"]:
            note = self.checkpoint(str(log))
            return Served(note, "text/plain") if note else None
        found = read_tile(match["tile"])
        if found is None:
            return None
        if match["level"] == "entries":
            page = self.page(str(log), *found)
            return Served(page, "application/gzip") if page else None
        tile = self.tile(str(log), int(match["level"]), *found)
        return Served(tile, "application/octet-stream") if tile else None

    def checkpoint(self, name: str) -> bytes | None:
        """The newest checkpoint of a log held here."""
        held = self._directory.replica.held(name)
        return held.note.encode() if held else None

    def page(self, name: str, number: int, width: int) -> bytes | None:
        """The first `width` entries of a page, gzipped; of an epoch that is over only its host still has them."""
        for store in (self._directory.replica, self._directory.own):
            entries = store.page(name, number)
            if 0 < width <= len(entries):
                return gzip.compress(write_page(entries[:width]), 1, mtime=0)
        return None

    def tile(self, name: str, level: int, number: int, width: int) -> bytes | None:
        """The first `width` hashes of a tile."""
        found = self._directory.replica.tile(name, level, number)
        return found[: width * HASH_BYTES] if 0 < width * HASH_BYTES <= len(found) else None


def tile_path(log: LogId, level: int | Literal["entries"], number: int, width: int) -> str:
    """C2SP tlog-tiles: groups of three digits, all but the last marked x; `.p/W` for a tile that is not full."""
    digits = f"{number:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    tile = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    partial = "" if width == PAGE else f".p/{width}"
    return f"{LOG_PATH}{log}/tile/{level}/{tile}{partial}"


def read_tile(tile: str) -> tuple[int, int] | None:
    """Page number and width, from the end of a path (`x001/234.p/5`); None if no log can be so long."""
    path, _, width = tile.partition(".p/")
    digits = path.replace("x", "").replace("/", "")
    if len(digits) > 9:
        return None
    return int(digits or "0"), int(width) if width else PAGE


def gunzip(data: bytes, limit: int = MAX_PAGE_BYTES) -> bytes:
    """Decompress at most `limit` bytes. Raises BadPage."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise BadPage("a page is not compressed as it should be") from error
    if len(found) > limit or not unpacker.eof or unpacker.unused_data:
        raise BadPage("a page is too large or damaged")
    return found


# -- what an owner hands in ------------------------------------------------------------------------------------------


def write_signed(signed: Signed) -> bytes:
    """Entries and checkpoint as they travel from a log's owner to its host: gzip; a line about it, a line an entry."""
    head = json.dumps({"log": str(signed.log), "first": signed.first, "note": signed.note})
    return gzip.compress(head.encode() + b"\n" + write_page(signed.entries), 6, mtime=0)


def read_signed(data: bytes) -> Signed:
    """Inverse of write_signed; nothing is verified but the form. Raises BadPage, BadCheckpoint."""
    head, _, lines = gunzip(data, MAX_SIGNED_BYTES).partition(b"\n")
    try:
        found: Any = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise BadPage("this is nothing that a log's owner signed") from error
    match found:
        case {"log": str(name), "first": int(first), "note": str(note)} if first >= 0 and (log := LogId.parse(name)):
            return Signed(log=log, first=first, entries=read_lines(lines), note=note)
        case _:
            raise BadPage("this is nothing that a log's owner signed")


# -- evidence --------------------------------------------------------------------------------------------------------


class Report(BaseModel):
    """Two notes of one log that cannot both stand, from a peer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal["peer.log-rolled-back", "peer.log-forked"]
    held: str = Field(max_length=MAX_NOTE)
    seen: str = Field(max_length=MAX_NOTE)
    proof: dict[str, Any] | None = None


def read_report(data: bytes) -> Report:
    """A report from bytes. Raises BadEvidence."""
    if len(data) > MAX_EVIDENCE_BYTES:
        raise BadEvidence("the evidence is too large")
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        raise BadEvidence("the evidence is malformed") from error


def check_report(report: Report, keys: Mapping[str, LogKey]) -> LogId:
    """The log that a report shows to contradict itself.

    A fork is proven by two notes of one size, or with the proof that comes along. That the smaller note of a rollback
    was shown after the larger is the reporter's word; both are signed by the log's key all the same.

    Args:
        keys: of the logs by name, as the trust list has them.

    Raises:
        BadEvidence: it shows nothing of the kind.
    """
    try:
        held, seen = (_signed_by_its_key(note, keys) for note in (report.held, report.seen))
        proof = Divergence.from_json(report.proof) if report.proof else None
    except (BadCheckpoint, ValueError) as error:
        raise BadEvidence(str(error)) from error
    ours, theirs = log_of(held.note), log_of(seen.note)
    assert ours is not None, "verified above"
    assert theirs is not None, "verified above"
    shown = {
        LogForked.code: contradict(held, seen, proof),
        LogRolledBack.code: ours.name == theirs.name and (theirs.epoch, seen.size) < (ours.epoch, held.size),
    }
    if not shown[report.kind]:
        raise BadEvidence("the two notes do not contradict each other")
    return theirs


def _signed_by_its_key(note: str, keys: Mapping[str, LogKey]) -> Checkpoint:
    log = log_of(note)
    if log is None or log.name not in keys:
        raise BadCheckpoint("a note is of no log in the trust list")
    return read_checkpoint(note, log=str(log), public_key=keys[log.name].public_key)
