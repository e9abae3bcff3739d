"""Directory logs as values: checkpoints, pages of entries, epochs, and whether one checkpoint contradicts another.

A log belongs to a node and a collection (`EE/authorities`). Its leaf is the salted hash of an entry's body, so a body
can be deleted without breaking the log. A checkpoint is a signed note (C2SP tlog-checkpoint) with the log's origin, size
and root. A replica appends the leaves of new pages to its frontier; only when the root it computes is the signed
one do the entries count. A smaller checkpoint than ours is a rollback, one that does not continue ours or is not
continued by it a fork: both are refused, and kept as evidence.

A log has epochs. The first ends with a `close` entry that names the next and its host; the next begins with an `open`
entry that names the last checkpoint before it, and a snapshot of everything that counts. Each epoch has an origin of its
own (`EE/authorities`, `EE/authorities/2` …), so a checkpoint of one is never taken for another's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from node.errors import PeerError
from node.ids import NodeId
from node.merkle import HASH_BYTES, Frontier, is_consistent, leaf_hash

PAGE: Final = 256  # entries in a full page, as C2SP tiles have
MAX_PAGE_BYTES: Final = 17 * 1024 * 1024  # 256 entries of 32 KiB, of which every byte may need a backslash
MAX_LOG: Final = 50_000_000
SALT_BYTES: Final = 16
MAX_NOTE: Final = 4096  # characters of a signed note
COLLECTION: Final = "authorities"

MAX_EPOCH: Final = 999  # as the origin has it: three digits

_ORIGIN: Final = "imi-federation/"
_LOG: Final = re.compile(r"([A-Z]{2}(?:-[A-Z0-9]{1,8})?)/([a-z-]{1,40})(?:/([2-9]|[1-9][0-9]{1,2}))?")
_CHECKPOINT: Final = re.compile(rf"imi-federation/({_LOG.pattern})\n(0|[1-9][0-9]{{0,12}})\n([A-Za-z0-9+/]{{43}}=)\n")
_OPEN: Final = b'{"op":"open",'
CLOSE: Final = b'{"op":"close",'  # how the body of an epoch's last entry begins


class BadCheckpoint(PeerError):
    """A log's checkpoint is malformed, not signed by the log's key, or of another log."""

    code = "peer.bad-checkpoint"


class BadPage(PeerError):
    """A page of a log is malformed, or does not lead to the root that its owner signed."""

    code = "peer.bad-log-page"


class LogRolledBack(PeerError):
    """A log's host shows a smaller log than it signed before."""

    code = "peer.log-rolled-back"


class LogForked(PeerError):
    """A log's owner signed two logs of which neither continues the other."""

    code = "peer.log-forked"


@dataclass(frozen=True, slots=True, order=True)
class LogId:
    """One epoch of a log. `name` is that of all its epochs; as a string it is this one's, `EE/authorities/2`."""

    node: NodeId
    collection: str = COLLECTION
    epoch: int = 1

    @classmethod
    def parse(cls, text: str) -> LogId | None:
        """Inverse of str(); None for anything else."""
        match = _LOG.fullmatch(text)
        return cls(NodeId(match[1]), match[2], int(match[3] or 1)) if match else None

    @property
    def name(self) -> str:
        """The log's name, in whatever epoch."""
        return f"{self.node}/{self.collection}"

    def at(self, epoch: int) -> LogId:
        """Another epoch of the same log."""
        return replace(self, epoch=epoch)

    def __str__(self) -> str:
        return self.name if self.epoch == 1 else f"{self.name}/{self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What an owner signed: this log has this size and root. `note` is the signed text itself, `log` a LogId's string."""

    log: str
    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its leaf, and salt and body unless they were deleted."""

    leaf: bytes
    salt: bytes | None
    body: bytes | None


def new_entry(body: bytes, *, random: Callable[[int], bytes] = os.urandom) -> Entry:
    """An entry for a body, with a fresh salt."""
    salt = random(SALT_BYTES)
    return Entry(leaf_of(salt, body), salt, body)


def leaf_of(salt: bytes, body: bytes) -> bytes:
    """An entry's leaf: the salted commitment to its body."""
    return hashlib.sha256(salt + body).digest()


def frontier_after(frontier: Frontier, entries: Iterable[Entry]) -> Frontier:
    """The frontier once these entries are appended."""
    return frontier.append(leaf_hash(entry.leaf) for entry in entries)


def sign_checkpoint(
    log: str, frontier: Frontier, *, public_key: Ed25519PublicKey, sign: Callable[[bytes], bytes]
) -> Checkpoint:
    """The signed note over a log's size and root."""
    text = f"{_ORIGIN}{log}\n{frontier.size}\n{base64.b64encode(frontier.root).decode()}\n"
    signature = base64.b64encode(_key_id(log, public_key) + sign(text.encode())).decode()
    return Checkpoint(log=log, size=frontier.size, root=frontier.root, note=f"{text}\n— {_ORIGIN}{log} {signature}\n")


def read_checkpoint(note: str, *, log: str, public_key: Ed25519PublicKey) -> Checkpoint:
    """A checkpoint from a peer. What stands in a note beside the log's signature is left out: whoever shows it may add to it.

    Raises:
        BadCheckpoint: see there.
    """
    text, separator, signatures = note.partition("\n\n")
    match = _CHECKPOINT.fullmatch(text + "\n") if separator and len(note) < MAX_NOTE else None
    if match is None or match[1] != log or int(match[5]) > MAX_LOG:
        raise BadCheckpoint(f"not a checkpoint of {log}")
    signed = next((line for line in signatures.split("\n") if _is_signature(line, text + "\n", log, public_key)), None)
    if signed is None:
        raise BadCheckpoint(f"the checkpoint of {log} is not signed by the log's key")
    note = f"{text}\n\n{signed}\n"
    return Checkpoint(log=log, size=int(match[5]), root=base64.b64decode(match[6]), note=note)


def log_of(note: str) -> LogId | None:
    """Which log a note says it is of; nothing is verified."""
    first = note[:100].partition("\n")[0]
    return LogId.parse(first.removeprefix(_ORIGIN)) if first.startswith(_ORIGIN) else None


def judge(held: Checkpoint | None, seen: Checkpoint) -> bool:
    """Whether `seen` promises more than `held`.

    Raises:
        LogRolledBack: it is smaller.
        LogForked: same size, other root.
    """
    if held is None:
        return seen.size > 0
    if seen.size < held.size:
        raise LogRolledBack(f"{seen.log} had {held.size} entries and now shows {seen.size}", log=seen.log)
    if seen.size == held.size and seen.root != held.root:
        raise LogForked(f"{seen.log} has two roots for {seen.size} entries", log=seen.log)
    return seen.size > held.size


@dataclass(frozen=True, slots=True)
class Divergence:
    """Proof that the larger of two checkpoints does not begin with the smaller: `root` is what it has at that size."""

    root: bytes
    path: tuple[bytes, ...]  # from `root` to the larger's root, RFC 6962 section 2.1.2

    def to_json(self) -> dict[str, Any]:
        """As it travels with evidence."""
        return {"root": self.root.hex(), "path": [step.hex() for step in self.path]}

    @classmethod
    def from_json(cls, found: Any) -> Divergence:
        """Inverse of to_json. Raises ValueError."""
        try:
            return cls(bytes.fromhex(found["root"]), tuple(bytes.fromhex(step) for step in found["path"]))
        except (TypeError, KeyError) as error:
            raise ValueError("not a proof") from error


def contradict(one: Checkpoint, other: Checkpoint, proof: Divergence | None) -> bool:
    """Whether two checkpoints of one log cannot both be true, as anybody can check: its owner signed two logs."""
    small, large = sorted((one, other), key=lambda each: each.size)
    if one.log != other.log or small.size == 0:
        return False
    if small.size == large.size:
        return small.root != large.root
    return (
        proof is not None
        and proof.root != small.root
        and is_consistent(small.size, proof.root, large.size, large.root, proof.path)
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """How an epoch begins: the checkpoint its predecessor ended with, and how many entries repeat what counts of it."""

    previous: str  # the signed note; empty where there was nothing
    entries: int


@dataclass(frozen=True, slots=True)
class Closing:
    """How an epoch ends: the one that follows, and the node that serves it."""

    epoch: int
    host: NodeId


def write_opening(opening: Opening) -> bytes:
    """The body of an epoch's first entry."""
    return _OPEN + json.dumps({"previous": opening.previous, "entries": opening.entries})[1:].encode()


def read_opening(body: bytes | None) -> Opening | None:
    """Inverse of write_opening; None for any other entry."""
    match _special(body, _OPEN):
        case {"previous": str(previous), "entries": int(entries)} if (
            0 <= entries < MAX_LOG and len(previous) < MAX_NOTE
        ):
            return Opening(previous, entries)
        case _:
            return None


def write_closing(closing: Closing) -> bytes:
    """The body of an epoch's last entry."""
    return CLOSE + json.dumps({"epoch": closing.epoch, "host": closing.host})[1:].encode()


def read_closing(body: bytes | None, log: LogId) -> Closing | None:
    """Inverse of write_closing; None for any other entry, and for one that names another epoch than the next."""
    match _special(body, CLOSE):
        case {"epoch": int(epoch), "host": str(host)} if epoch == log.epoch + 1 and LogId.parse(f"{host}/x"):
            return Closing(epoch, NodeId(host))
        case _:
            return None


def _special(body: bytes | None, begins: bytes) -> Any:
    if body is None or not body.startswith(begins):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def write_page(entries: Sequence[Entry]) -> bytes:
    """Entries as NDJSON: `[salt, body]`, or `[leaf]` where the body was deleted."""
    return b"".join(_write_entry(entry) for entry in entries)


def read_page(data: bytes, *, count: int, from_host: bool = False) -> list[Entry]:
    """A page that should hold `count` entries.

    Args:
        from_host: the log's own host gives it: only the host may say that a body was deleted, a mirror could withhold it.

    Raises:
        BadPage: another number, malformed, or without a body that should be there.
    """
    if len(data) > MAX_PAGE_BYTES:
        raise BadPage("a page is too large")
    lines = data.splitlines()
    if len(lines) != count:
        raise BadPage(f"a page of {count} entries holds {len(lines)}")
    entries = [_read_entry(line) for line in lines]
    if not from_host and any(entry.body is None for entry in entries):
        raise BadPage("a page lacks bodies, and does not come from the log's own host")
    return entries


def read_lines(data: bytes) -> list[Entry]:
    """Entries from lines, as write_page writes them. Raises BadPage."""
    return [_read_entry(line) for line in data.splitlines()]


def check_root(frontier: Frontier, checkpoint: Checkpoint) -> None:
    """Raises BadPage unless the entries up to `frontier` are those the checkpoint signs."""
    if frontier.size != checkpoint.size or frontier.root != checkpoint.root:
        raise BadPage(f"the entries of {checkpoint.log} are not those its owner signed", log=checkpoint.log)


def pages(held: int, size: int) -> list[tuple[int, int, int]]:
    """What to fetch to get from `held` to `size` entries: (page number, entries in it, of which to skip)."""
    first, last = held // PAGE, (size - 1) // PAGE
    return [
        (page, min(PAGE, size - page * PAGE), held - page * PAGE if page == first else 0)
        for page in range(first, last + 1)
        if held < size
    ]


def batches(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """The range [first, last) in pieces of at most `size`."""
    return ((start, min(start + size, last)) for start in range(first, last, size))


def _write_entry(entry: Entry) -> bytes:
    if entry.body is None or entry.salt is None:
        return json.dumps([entry.leaf.hex()]).encode() + b"\n"
    return json.dumps([entry.salt.hex(), entry.body.decode()], ensure_ascii=False).encode() + b"\n"


def _read_entry(line: bytes) -> Entry:
    try:
        found = json.loads(line)
        match found:
            case [str(leaf)]:
                entry = Entry(bytes.fromhex(leaf), None, None)
            case [str(salt), str(body)]:
                raw, bound = bytes.fromhex(salt), body.encode()
                entry = Entry(leaf_of(raw, bound), raw, bound)
            case _:
                raise BadPage("a page holds something that is no entry")
    except (ValueError, RecursionError) as error:
        raise BadPage("a page is malformed") from error
    if len(entry.leaf) != HASH_BYTES or (entry.salt is not None and len(entry.salt) != SALT_BYTES):
        raise BadPage("an entry has a leaf or salt of another length")
    return entry


def _key_id(log: str, key: Ed25519PublicKey) -> bytes:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(f"{_ORIGIN}{log}\n".encode() + b"\x01" + raw).digest()[:4]


def _is_signature(line: str, text: str, log: str, key: Ed25519PublicKey) -> bool:
    name, _, value = line.removeprefix("— ").partition(" ")
    try:
        blob = base64.b64decode(value, validate=True)
        if name != f"{_ORIGIN}{log}" or blob[:4] != _key_id(log, key):
            return False
        key.verify(blob[4:], text.encode())
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True
