"""Reading the trust list: fetched by python-tuf, kept for bad days by us.

python-tuf verifies every role, version and expiry, and refuses a list that is rolled back, expired, tampered with, or
in which a State writes outside its own folder. It cannot list what a delegation holds, start without the publisher,
or use a list past its end. So each State keeps an index of its nodes, and the last complete reading is remembered in
`current.json` beside the metadata; a node that starts while the publisher is away goes on with it (`freshness`).
Whoever can write that file can read the node's keys in the folder beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from node.errors import SetupError, Unavailable
from node.federation.peers import LogKey, Peer, TrustList
from node.ids import NodeId, State
from pki.errors import BadTrustList
from pki.trustlist.models import NodeEntry, crl_path, entry_path, index_path, read_entry, read_index

MAX_STATES: Final = 64
MAX_FILE_BYTES: Final = 5_000_000
_SERVED: Final = frozenset(".abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/")

log = structlog.get_logger()
Fetch = Callable[[str], bytes]  # path below the repository -> bytes; raises NotPublished or Unavailable


class NotPublished(Unavailable):
    """The repository has no such file."""

    code = "unavailable.not-published"


class TrustListUnavailable(Unavailable):
    """Neither the publisher nor a mirror could be read, or what they gave is not a valid list."""

    code = "unavailable.trust-list"


class NoTrustList(SetupError):
    """This node has never read a trust list and has no root to begin with."""

    code = "setup.no-trust-list"


class _Kept(BaseModel):
    """The last complete reading, as written to `current.json`."""

    model_config = ConfigDict(extra="forbid")

    versions: dict[str, int]
    read_at: datetime
    valid_until: datetime
    entries: list[NodeEntry]
    crls: dict[str, str]


class TrustReader:
    """Reads the list into `folder`, and mirrors it in `folder/repository`."""

    def __init__(self, folder: Path, fetch: Fetch, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self._fetch = fetch
        self._fetched: dict[str, bytes] = {}
        self._now = now

    @staticmethod
    def start_from(folder: Path, root: bytes) -> None:
        """Give a new node its first root, from a trusted hand."""
        (folder / "metadata").mkdir(parents=True, exist_ok=True)
        (folder / "first-root.json").write_bytes(root)

    def kept(self) -> TrustList | None:
        """The last complete reading, if there was one."""
        try:
            kept = _Kept.model_validate_json((self.folder / "current.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return _trust_list(kept)

    def refresh(self) -> TrustList:
        """Fetch and verify what changed; call on a thread.

        Raises:
            NoTrustList: there is no root to begin with.
            TrustListUnavailable: not reachable, or refused; what was in force stays.
        """
        try:
            kept = self._read()
        except RepositoryError as error:
            log.error("trust list refused", reason=f"{type(error).__name__}: {error}")  # noqa: TRY400  # no bug of ours
            raise TrustListUnavailable(f"the trust list is refused: {error}") from error
        except (DownloadError, BadTrustList) as error:
            raise TrustListUnavailable(f"the trust list cannot be read: {error}") from error
        self._mirror()
        _write(self.folder / "current.json", kept.model_dump_json().encode())
        return _trust_list(kept)

    def _mirror(self) -> None:
        """Keep what was fetched and verified, byte for byte, for peers that read the list from us."""
        for path, data in sorted(self._fetched.items(), key=lambda item: item[0] == "metadata/timestamp.json"):
            place = self.repository / path
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, data)

    def _read(self) -> _Kept:
        self._fetched = {}
        updater = self._updater()
        updater.refresh()
        trusted = updater._trusted_set  # noqa: SLF001  # python-tuf shows versions and delegations nowhere else
        found = _Reading(updater)
        entries, crls = found.all_states(trusted.targets)
        roles = {"root": trusted.root, "timestamp": trusted.timestamp, "snapshot": trusted.snapshot}
        roles |= {name: trusted[name] for name in ("targets", *_roles(trusted.targets)) if name in trusted}
        return _Kept(
            versions={name: role.version for name, role in roles.items()},
            read_at=self._now(),
            valid_until=min(role.expires for role in roles.values()),
            entries=entries,
            crls=crls,
        )

    def _updater(self) -> Updater:
        metadata, targets = self.folder / "metadata", self.folder / "targets"
        first = self.folder / "first-root.json"
        if not first.exists():
            raise NoTrustList(f"{first} is missing: `imi-node init --trust-root FILE` puts it there")
        targets.mkdir(exist_ok=True)
        config = UpdaterConfig(max_delegations=MAX_STATES + 1)
        return Updater(
            str(metadata), "metadata/", str(targets), "targets/", _Fetcher(self._remember), config,
            bootstrap=first.read_bytes(),
        )  # fmt: skip

    def _remember(self, path: str) -> bytes:
        data = self._fetch(path)
        self._fetched[path] = data
        return data


class _Reading:
    """One walk through all States' targets."""

    def __init__(self, updater: Updater) -> None:
        self._updater = updater

    def all_states(self, targets: Targets) -> tuple[list[NodeEntry], dict[str, str]]:
        entries: list[NodeEntry] = []
        crls: dict[str, str] = {}
        for state in _states(targets):
            index = self._target(index_path(state))
            if index is None:  # a delegation that has published nothing yet
                continue
            crl = self._target(crl_path(state))
            if crl is not None:
                crls[state] = crl.decode("ascii", errors="replace")
            for node in read_index(index, state).nodes:
                data = self._target(entry_path(state, node))
                if data is None:
                    raise BadTrustList(f"the index of {state} names {node}, which has no entry")
                entries.append(read_entry(data, state, node))
        return entries, crls

    def _target(self, path: str) -> bytes | None:
        try:
            info = self._updater.get_targetinfo(path)
        except DownloadHTTPError:
            return None
        if info is None:
            return None
        if info.length > MAX_FILE_BYTES:
            raise BadTrustList(f"{path} is too large")
        cached = self._updater.find_cached_target(info)
        return Path(cached or self._updater.download_target(info)).read_bytes()


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
    file = repository / path
    return file.read_bytes() if file.is_file() else None


def _roles(targets: Targets) -> list[str]:
    roles = targets.delegations.roles if targets.delegations else None
    return sorted(roles or ())


def _states(targets: Targets) -> list[str]:
    return [name.removeprefix("state-") for name in _roles(targets) if name.startswith("state-")]


def _trust_list(kept: _Kept) -> TrustList:
    nodes = {NodeId(entry.node): _peer(entry, kept.crls) for entry in kept.entries}
    return TrustList(versions=kept.versions, read_at=kept.read_at, valid_until=kept.valid_until, nodes=nodes)


def _peer(entry: NodeEntry, crls: Mapping[str, str]) -> Peer:
    crl = crls.get(entry.state)
    return Peer(
        node=NodeId(entry.node),
        state=State(entry.state),
        name=entry.name,
        url=entry.federation,
        state_ca=x509.load_pem_x509_certificate(entry.state_ca.encode()),
        crl=x509.load_pem_x509_crl(crl.encode()) if crl else None,
        signing=tuple(x509.load_pem_x509_certificate(text.encode()) for text in entry.signing),
        encryption=tuple(x509.load_pem_x509_certificate(text.encode()) for text in entry.encryption),
        suites=entry.suites,
        features=entry.features,
        logs={
            collection: LogKey(
                public_key=Ed25519PublicKey.from_public_bytes(base64.b64decode(found.public_key)),
                host=NodeId(found.host),
            )
            for collection, found in entry.logs.items()
        },
    )


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(data)
    draft.replace(path)
