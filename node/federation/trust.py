"""Reading the trust list: fetched by python-tuf, kept for bad days by us.

python-tuf verifies every role, version and expiry, and refuses a list that is rolled back, expired, tampered with, or
in which a State writes outside its own folder. It cannot list what a delegation holds, start without the publisher,
or use a list past its end. So each State keeps an index of its nodes, and the last complete reading is remembered in
`current.json` beside the metadata; a node that starts while the publisher is away goes on with it (`freshness`).
Whoever can write that file can read the node's keys in the folder beside it.

One State cannot stop the others. Bytes that are not those the publisher bound together (its snapshot names a digest for
each role) refuse the whole reading; a State that let its part expire, signed it with a key that is no longer its own,
or published nonsense harms itself alone. An expired part counts for two weeks more, the others not at all.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from node.errors import SetupError, Unavailable
from node.federation.peers import STALE_FOR, LogKey, Peer, TrustList
from node.ids import NodeId, State
from pki.errors import BadTrustList
from pki.files import write_whole
from pki.trustlist.models import (
    LogEntry,
    NodeEntry,
    crl_path,
    entry_path,
    index_path,
    read_crl,
    read_entry,
    read_index,
    trusted,
)
from pki.trustlist.publisher import TRAINING

MAX_STATES: Final = 64
MAX_FILE_BYTES: Final = 5_000_000
TIMESTAMP: Final = "metadata/timestamp.json"
_SERVED: Final = frozenset(".abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/")

R = TypeVar("R", Root, Timestamp, Snapshot, Targets)
log = structlog.get_logger()
Fetch = Callable[[str], bytes]  # path below the repository -> bytes; raises NotPublished or Unavailable


class NotPublished(Unavailable):
    """The repository has no such file."""

    code = "unavailable.not-published"


class TrustListUnavailable(Unavailable):
    """Neither the publisher nor a mirror could be read, or what they gave is not a valid list."""

    code = "unavailable.trust-list"


class NothingReadYet(SetupError):
    """The node has never read a trust list, and needs one for this."""

    code = "setup.no-trust-list-yet"


class NoTrustList(SetupError):
    """This node has never read a trust list and has no root to begin with."""

    code = "setup.no-trust-list"


class _StatePart(BaseModel):
    """What one State says of its nodes."""

    model_config = ConfigDict(extra="forbid")

    valid_until: datetime
    entries: list[NodeEntry]
    crl: str


class _Kept(BaseModel):
    """The last complete reading, as written to `current.json`."""

    model_config = ConfigDict(extra="forbid")

    versions: dict[str, int]
    read_at: datetime
    valid_until: datetime
    training: bool
    states: dict[str, _StatePart]


class TrustReader:
    """Reads the list into `folder`, and mirrors it in `folder/repository`; one reading at a time, whatever threads ask."""

    def __init__(self, folder: Path, fetch: Fetch, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.fetch = fetch
        self._now = now
        self._mirrored: frozenset[str] = frozenset()
        self._reading = threading.Lock()

    @staticmethod
    def start_from(folder: Path, root: bytes) -> None:
        """Give a new node its first root, from a trusted hand."""
        (folder / "metadata").mkdir(parents=True, exist_ok=True)
        write_whole(folder / "first-root.json", root)

    def kept(self) -> TrustList | None:
        """The last complete reading, if there was one."""
        kept = self._kept()
        return None if kept is None else _trust_list(kept, at=self._now())

    def refresh(self, fetch: Fetch | None = None) -> TrustList:
        """Fetch and verify what changed; call on a thread.

        Args:
            fetch: where every file of this reading comes from; default: the reader's own.

        Raises:
            NoTrustList: there is no root to begin with.
            TrustListUnavailable: not reachable, or refused; what was in force stays. Or another reading is under way:
                who was cancelled while waiting for one has not ended it.
        """
        if not self._reading.acquire(blocking=False):
            raise TrustListUnavailable("the trust list is being read already")
        try:
            return self._read(fetch or self.fetch)
        finally:
            self._reading.release()

    def _read(self, fetch: Fetch) -> TrustList:
        try:
            reading = _Reading(self._updater(fetch), self.folder / "metadata", self._kept(), self._now())
            kept = reading.all()
        except (RepositoryError, DownloadLengthMismatchError) as error:
            log.error("trust list refused", reason=f"{type(error).__name__}: {error}")  # noqa: TRY400  # no bug of ours
            raise TrustListUnavailable(f"the trust list is refused: {error}") from error
        except (DownloadError, BadTrustList) as error:
            raise TrustListUnavailable(f"the trust list cannot be read: {error}") from error
        self._mirror(reading.files)
        write_whole(self.folder / "current.json", kept.model_dump_json().encode())
        return _trust_list(kept, at=self._now())

    def _kept(self) -> _Kept | None:
        try:
            return _Kept.model_validate_json((self.folder / "current.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _mirror(self, files: Mapping[str, bytes]) -> None:
        """Keep what was verified, byte for byte, for peers that read the list from us; the time stamp comes last.

        Files of the reading before stay for one more, for a peer that is in the middle of reading.
        """
        for path, data in sorted(files.items(), key=lambda item: item[0] == TIMESTAMP):
            place = self.repository / path
            if path == TIMESTAMP or not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, data)
        if self._mirrored and self._mirrored != files.keys():
            for place in [place for place in self.repository.rglob("*") if place.is_file()]:
                path = place.relative_to(self.repository).as_posix()
                if path not in files and path not in self._mirrored:
                    place.unlink()
        self._mirrored = frozenset(files)

    def _updater(self, fetch: Fetch) -> Updater:
        metadata, targets = self.folder / "metadata", self.folder / "targets"
        first = self.folder / "first-root.json"
        if not first.exists():
            raise NoTrustList(f"{first} is missing: `imi-node init --trust-root FILE` puts it there")
        targets.mkdir(exist_ok=True)
        config = UpdaterConfig(max_delegations=MAX_STATES + 1)
        return Updater(
            str(metadata), "metadata/", str(targets), "targets/", _Fetcher(fetch), config,
            bootstrap=first.read_bytes(),
        )  # fmt: skip


class _Reading:
    """One walk through the whole list. `files`: what was verified, by its path in a repository."""

    def __init__(self, updater: Updater, metadata: Path, before: _Kept | None, at: datetime) -> None:
        self._updater = updater
        self._metadata = metadata
        self._before = before
        self._at = at
        self.files: dict[str, bytes] = {}

    def all(self) -> _Kept:
        """Everything the list says. Raises RepositoryError, DownloadError."""
        self._updater.refresh()
        for path in (self._metadata / "root_history").glob("*.root.json"):
            self.files[f"metadata/{path.name}"] = path.read_bytes()
        root, stamp = self._role("root", Root), self._role("timestamp", Timestamp)
        snapshot, targets = self._role("snapshot", Snapshot), self._role("targets", Targets)
        states = {state: part for state in _states(targets) if (part := self._state(state, snapshot)) is not None}
        roles: dict[str, Root | Timestamp | Snapshot | Targets] = {
            "root": root, "timestamp": stamp, "snapshot": snapshot, "targets": targets,
        }  # fmt: skip
        versions = {name: role.version for name, role in roles.items()}
        return _Kept(
            versions=versions | {f"state-{state}": snapshot.meta[f"state-{state}.json"].version for state in states},
            read_at=self._at,
            valid_until=min(role.expires for role in roles.values()),
            training=bool(root.unrecognized_fields.get(TRAINING)),
            states=states,
        )

    def _role(self, name: str, kind: type[R]) -> R:
        """A role that python-tuf has just verified and stored."""
        data = (self._metadata / f"{name}.json").read_bytes()
        signed = Metadata.from_bytes(data).signed
        assert isinstance(signed, kind)
        self.files[TIMESTAMP if kind is Timestamp else f"metadata/{signed.version}.{name}.json"] = data
        return signed

    def _state(self, state: str, snapshot: Snapshot) -> _StatePart | None:
        """What a State says; None if it says nothing, or nothing that counts."""
        if f"state-{state}.json" not in snapshot.meta:  # a delegation that has published nothing yet
            return None
        try:
            return self._read_state(state)
        except ExpiredMetadataError:
            return self._expired(state)
        except (UnsignedMetadataError, BadTrustList) as error:
            log.error("state left out of the trust list", state=state, reason=str(error))  # noqa: TRY400  # no bug
            return None

    def _read_state(self, state: str) -> _StatePart:
        index = read_index(self._target(index_path(state)), state)
        crl = self._target(crl_path(state))
        read_crl(crl, state)
        entries = [read_entry(self._target(entry_path(state, node)), state, node) for node in index.nodes]
        role = self._role(f"state-{state}", Targets)
        return _StatePart(valid_until=role.expires, entries=entries, crl=crl.decode("ascii"))

    def _expired(self, state: str) -> _StatePart | None:
        """A State that let its part expire is heard for two weeks more, as we last read it."""
        part = self._before.states.get(state) if self._before else None
        counts = part is not None and self._at <= part.valid_until + STALE_FOR
        log.error("state's part of the trust list has expired", state=state, counts=counts)
        return part if counts else None

    def _target(self, path: str) -> bytes:
        info = self._updater.get_targetinfo(path)
        if info is None:
            raise BadTrustList(f"{path} is missing")
        if info.length > MAX_FILE_BYTES:
            raise BadTrustList(f"{path} is too large")
        cached = self._updater.find_cached_target(info)
        data = Path(cached or self._updater.download_target(info)).read_bytes()
        self.files[_served_as(info)] = data
        return data


def _served_as(info: TargetFile) -> str:
    folder, _, name = info.path.rpartition("/")
    return f"targets/{folder}/{info.hashes['sha256']}.{name}"


class _Fetcher(FetcherInterface):
    def __init__(self, fetch: Fetch) -> None:
        self._get = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            return iter((self._get(url),))
        except NotPublished as error:
            raise DownloadHTTPError(str(error), 404) from error
        except Unavailable as error:
            raise DownloadError(str(error)) from error


def from_folder(repository: Path) -> Fetch:
    """A fetch from a repository's folder: the publisher reads its own list so, and a mirror carried by hand."""

    def fetch(path: str) -> bytes:
        data = serve(repository, path)
        if data is None:
            raise NotPublished(f"the repository has no {path}")
        return data

    return fetch


def serve(repository: Path, path: str) -> bytes | None:
    """The bytes of `metadata/…` or `targets/…` for a peer that mirrors us; None for anything else."""
    if not path.startswith(("metadata/", "targets/")) or ".." in path or not _SERVED.issuperset(path):
        return None
    if not path.endswith((".json", ".pem")):
        return None
    file = repository / path
    return file.read_bytes() if file.is_file() else None


def _states(targets: Targets) -> list[str]:
    roles = targets.delegations.roles if targets.delegations else None
    return sorted(name.removeprefix("state-") for name in roles or () if name.startswith("state-"))[:MAX_STATES]


def _trust_list(kept: _Kept, *, at: datetime) -> TrustList:
    nodes = {NodeId(e.node): _peer(e, part.crl, at) for part in kept.states.values() for e in part.entries}
    for state, part in kept.states.items():
        end = read_crl(part.crl.encode(), state).next_update_utc
        if end is not None and end < at:  # an alarm, not a refusal of the State
            log.error("revocation list has expired", state=state, ended=end.isoformat())
    return TrustList(
        versions=kept.versions,
        read_at=kept.read_at,
        valid_until=kept.valid_until,
        training=kept.training,
        nodes=nodes,
    )


def _peer(entry: NodeEntry, crl_text: str, at: datetime) -> Peer:
    """A peer, with those of its certificates that its State's authority vouches for now."""
    anchor, crl = x509.load_pem_x509_certificate(entry.state_ca.encode()), read_crl(crl_text.encode(), entry.state)
    signing, sign_faults = trusted(entry.node, entry.signing, "sign", anchor, crl, at=at)
    encryption, encrypt_faults = trusted(entry.node, entry.encryption, "encrypt", anchor, crl, at=at)
    for fault in (*sign_faults, *encrypt_faults):
        log.warning("certificate left out of the trust list", peer=entry.node, reason=fault)
    known = (x509.load_pem_x509_certificate(text.encode()) for text in (*entry.signing, *entry.retired))
    return Peer(
        node=NodeId(entry.node),
        state=State(entry.state),
        name=entry.name,
        url=None if entry.relay else entry.federation,
        relay=None if entry.relay is None else NodeId(entry.relay),
        state_ca=anchor,
        crl=crl,
        signing=signing,
        retired=tuple(certificate for certificate in known if certificate not in signing),
        encryption=encryption,
        suites=entry.suites,
        features=entry.features,
        logs={collection: _log_key(found) for collection, found in entry.logs.items()},
    )


def _log_key(found: LogEntry) -> LogKey:
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(found.public_key))
    return LogKey(public_key=public, host=NodeId(found.host), epoch=found.epoch)
