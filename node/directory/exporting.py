"""What leaves the directory as a file: the public part of it, signed, and whole logs that anybody can check offline.

Both are JSON Lines whose first line says what they are. A public export (`imi-directory/1`) holds what a citizen may
read of authorities and registers; beside it lies its signature, a signed note (C2SP) over its SHA-256. A log
(`imi-log/1`) holds a log's signed checkpoint and then every entry as replicas fetch it: salt and body, or the bare leaf
where the body was deleted. `node.directory.verify` checks both with the log's public key alone.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from node.directory.directory import Directory, LogSigner
from node.directory.model import Authority, Kind, Record, Register, write_record
from node.directory.replication import LogId, batches, write_page
from node.directory.store import LogStore
from node.errors import Refused
from node.ids import NodeId, state_of

PUBLIC_FORMAT: Final = "imi-directory/1"
LOG_FORMAT: Final = "imi-log/1"
AT_ONCE: Final = 1000

# What a citizen may read. Not: roles, settings, coordinators and who acts for whom (how States work together inside),
# the unit to turn to, when an entry was reviewed.
PUBLIC: Final[Mapping[type[Authority | Register], tuple[str, ...]]] = {
    Authority: (
        "id", "node", "names", "name_lang", "short_name", "informal", "type", "level", "parent", "territory", "areas",
        "professions", "activities", "keywords", "competence", "languages", "address", "website", "email", "phone",
        "identifiers", "assignment_invented", "source",
    ),
    Register: (
        "id", "node", "names", "name_lang", "type", "territory", "areas", "professions", "activities", "contents",
        "operator", "operator_name", "access", "fee", "online", "login", "languages", "website", "valid_on",
        "identifiers", "source",
    ),
}  # fmt: skip
_KINDS: Final[tuple[Kind, ...]] = ("authority", "register")


class LogNotHeld(Refused):
    """The entries of a log to export do not lie here."""

    code = "refused.log-not-held"


# -- the public part ----------------------------------------------------------------------------------------------


def is_public(record: Record) -> bool:
    """Whether a record is for everybody: an authority at work, a register that not authorities alone may consult."""
    match record:
        case Authority():
            return record.status == "active"
        case Register():
            return record.access != "authorities"
        case _:
            return False


def public_lines(directory: Directory, node: NodeId, nodes: Iterable[NodeId], *, at: datetime) -> Iterator[bytes]:
    """The public export of what `nodes` host, line by line, as the node `node` gives it."""
    chosen = sorted(nodes)
    heads = {name: note for name, note in sorted(directory.heads().items()) if name.partition("/")[0] in chosen}
    head = {"format": PUBLIC_FORMAT, "node": node, "at": at.isoformat(timespec="seconds"), "heads": heads}
    yield json.dumps(head, ensure_ascii=False).encode() + b"\n"
    for one in chosen:
        for kind in _KINDS:
            for record in directory.each(kind, state_of(one)):
                if record.node == one:
                    yield from _public_line(record)


def _public_line(record: Record) -> Iterator[bytes]:
    if isinstance(record, Authority | Register) and is_public(record):
        whole = json.loads(write_record(record))
        said = {key: whole[key] for key in PUBLIC[type(record)] if key in whole}
        yield json.dumps({record.kind: said}, ensure_ascii=False).encode() + b"\n"


def public_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line of a public export."""
    kinds = {record.kind: _schema_of(record, fields) for record, fields in PUBLIC.items()}
    text = {"type": "string"}
    head = {
        "type": "object",
        "required": ["format", "node", "at", "heads"],
        "properties": {
            "format": {"const": PUBLIC_FORMAT},
            "node": text,
            "at": {"type": "string", "format": "date-time"},
            "heads": {"type": "object", "additionalProperties": text},
        },
    }
    lines = [
        {"type": "object", "required": [kind], "properties": {kind: schema}, "additionalProperties": False}
        for kind, schema in kinds.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of a public export of the directory; the first is the one with `format`",
        "anyOf": [head, *lines],
    }


def _schema_of(record: type[Authority | Register], fields: Iterable[str]) -> dict[str, Any]:
    found = TypeAdapter(record).json_schema()
    return {
        "type": "object",
        "required": [name for name in found["required"] if name in fields],
        "properties": {name: found["properties"][name] for name in fields},
        "additionalProperties": False,
    }


# -- whole logs ---------------------------------------------------------------------------------------------------


def log_lines(directory: Directory, wanted: LogId) -> Iterator[bytes]:
    """One epoch of a log as it is held here, line by line. Raises LogNotHeld."""
    name = str(wanted)
    stores: tuple[LogStore, ...] = (directory.replica, directory.own)  # ours keeps the epoch before, too
    store = next((one for one in stores if one.held(name) and one.has_entries(name)), None)
    held = store.held(name) if store else None
    if store is None or held is None:
        raise LogNotHeld(f"the entries of {wanted} are not held here", log=name)
    yield json.dumps({"format": LOG_FORMAT, "log": name, "checkpoint": held.note}).encode() + b"\n"
    for first, last in batches(0, held.size, AT_ONCE):
        yield write_page(store.entries(name, first, last))


# -- files --------------------------------------------------------------------------------------------------------


def write_file(path: Path, lines: Iterable[bytes]) -> bytes:
    """Write lines to a file, compressed if its name ends in .gz; in its place only once it is whole. Its SHA-256."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as raw:
            packing = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if path.suffix == ".gz" else nullcontext(raw)
            with packing as file:
                for line in lines:
                    file.write(line)
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return sha256_of(path)


def sha256_of(path: Path) -> bytes:
    """A file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies."""
    return path.with_name(f"{path.name}.sig")


def sign_file(digest: bytes, node: NodeId, signer: LogSigner) -> str:
    """The signed note over a file's SHA-256, by the log key of a node."""
    text = signed_text(digest, node)
    signature = base64.b64encode(key_id(node, signer.public_key.public_bytes_raw()) + signer.sign(text.encode()))
    return f"{text}\n— {key_name(node)} {signature.decode()}\n"


def signed_text(digest: bytes, node: NodeId) -> str:
    """What is signed: no checkpoint of any log begins so."""
    return f"{key_name(node)}\n{base64.b64encode(digest).decode()}\n"


def key_name(node: NodeId) -> str:
    """The name of a node's log key where it signs a file."""
    return f"imi-federation-export/{node}"


def key_id(node: NodeId, public_key: bytes) -> bytes:
    """C2SP signed-note key hash of an Ed25519 key under its name."""
    return hashlib.sha256(f"{key_name(node)}\n".encode() + b"\x01" + public_key).digest()[:4]
