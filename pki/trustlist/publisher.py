"""The publisher's side of the trust list: a TUF repository in a folder.

    folder/keys/root-1.key … root-5.key       3 of 5 sign the root: kept apart, needed for ceremonies only
    folder/keys/targets-1.key … targets-3.key 2 of 3 sign which States there are
    folder/keys/online.key                    snapshots and time stamps, renewed without hands
    folder/repository/metadata, …/targets     what nodes fetch, byte for byte

Each State signs `nodes/<State>/*` with its own delegated key, and can write nothing else; the publisher only takes
snapshots. Source: The Update Framework specification 1.0, with consistent snapshots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from pki.errors import BadTrustList
from pki.keys import generate, load_private, save_private
from pki.trustlist.models import NodeEntry, StateIndex, crl_path, entry_path, index_path

ROOT_KEYS: Final = (5, 3)  # how many, how many must sign
TARGETS_KEYS: Final = (3, 2)
VALID: Final = {
    "root": timedelta(days=365),
    "targets": timedelta(days=90),
    "state": timedelta(days=90),
    "snapshot": timedelta(days=14),
    "timestamp": timedelta(days=2),
}


S = TypeVar("S", Root, Timestamp, Snapshot, Targets)  # as python-tuf has it


class UnknownState(BadTrustList):
    """The trust list has no delegation for this State."""

    code = "pki.unknown-state"


@dataclass(frozen=True, slots=True)
class Publisher:
    """The repository in a folder."""

    folder: Path
    passphrase: bytes | None = None

    @classmethod
    def ceremony(
        cls, folder: Path, states: Mapping[str, Key], passphrase: bytes | None = None, *, at: datetime | None = None
    ) -> Publisher:
        """Make the keys of all roles, and a first list with a delegation for each State.

        Args:
            states: State -> the public half of its delegation key (`make_state_key`).
        """
        publisher = cls(folder, passphrase)
        for part in ("keys", "repository/metadata", "repository/targets"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        names = [*_named("root", ROOT_KEYS), *_named("targets", TARGETS_KEYS), "online"]
        for name in names:
            save_private(publisher._key_path(name), generate("sign"), passphrase)
        publisher._write_root(at or datetime.now(UTC))
        publisher.set_states(states)
        return publisher

    @property
    def repository(self) -> Path:
        """The folder that nodes fetch from."""
        return self.folder / "repository"

    def root_bytes(self) -> bytes:
        """The newest root metadata: what a joining node is given by a trusted hand."""
        versions = sorted((self.repository / "metadata").glob("*.root.json"), key=lambda p: int(p.name.split(".")[0]))
        return versions[-1].read_bytes()

    def set_states(self, states: Mapping[str, Key]) -> None:
        """Say which States there are, with which delegation keys; 2 of 3 targets keys sign.

        A State that is left out loses its delegation, and with it all its nodes.
        """
        targets = self._newest("targets", Targets) or Metadata(Targets(expires=_in("targets")))
        targets.signed.delegations = Delegations(
            keys={key.keyid: key for key in states.values()},
            roles={
                role: DelegatedRole(role, [key.keyid], 1, terminating=True, paths=[f"nodes/{state}/*"])
                for state, key in sorted(states.items())
                for role in [state_role(state)]
            },
        )
        self._write(targets, "targets", _named("targets", TARGETS_KEYS)[: TARGETS_KEYS[1]])
        self.snapshot()

    def publish(
        self, state: str, signer: CryptoSigner, entries: Iterable[NodeEntry], crl: bytes, *, snapshot: bool = True
    ) -> None:
        """Replace what a State says of its nodes; its own key signs.

        Raises:
            UnknownState: there is no delegation for it.
        """
        self._check_delegation(state, signer)
        listed = tuple(entries)
        index = StateIndex(state=state, nodes=tuple(sorted(entry.node for entry in listed)))
        files = {index_path(state): _json(index), crl_path(state): crl}
        files |= {entry_path(state, entry.node): _json(entry) for entry in listed}
        role = state_role(state)
        targets = self._newest(role, Targets) or Metadata(Targets(expires=_in("state")))
        targets.signed.targets = {path: self._store(path, data) for path, data in files.items()}
        targets.signed.expires = _in("state")
        self._sign_and_write(targets, role, [signer])
        if snapshot:
            self.snapshot()

    def snapshot(self) -> None:
        """Bind the newest version of every role together, and stamp it with the time."""
        metadata = self.repository / "metadata"
        roles = ["targets", *self.roles()]
        found = {f"{role}.json": newest for role in roles if (newest := self._newest(role, Targets))}
        snapshot = self._newest("snapshot", Snapshot) or Metadata(Snapshot(expires=_in("snapshot")))
        snapshot.signed.meta = {name: MetaFile(version=role.signed.version) for name, role in found.items()}
        self._write(snapshot, "snapshot", ["online"])
        self._stamp(metadata)

    def renew(self) -> None:
        """A new time stamp (and snapshot, when it runs out soon): the publisher's node does this every few hours."""
        newest = self._newest("snapshot", Snapshot)
        if newest is None or newest.signed.expires < datetime.now(UTC) + VALID["snapshot"] / 2:
            self.snapshot()
        else:
            self._stamp(self.repository / "metadata")

    def roles(self) -> tuple[str, ...]:
        """The delegated roles of all States."""
        targets = self._newest("targets", Targets)
        delegations = targets.signed.delegations if targets else None
        return tuple(delegations.roles or ()) if delegations else ()

    def entries(self, state: str) -> tuple[NodeEntry, ...]:
        """What a State says of its nodes now."""
        targets = self._newest(state_role(state), Targets)
        if targets is None:
            return ()
        paths = [path for path in targets.signed.targets if path.endswith(".json") and path != index_path(state)]
        return tuple(NodeEntry.model_validate_json(self._load(targets.signed.targets[path])) for path in sorted(paths))

    def _stamp(self, metadata: Path) -> None:
        snapshot = self._newest("snapshot", Snapshot)
        assert snapshot
        path = metadata / "timestamp.json"
        stamp = (
            Metadata[Timestamp].from_bytes(path.read_bytes())
            if path.exists()
            else Metadata(Timestamp(expires=_in("timestamp")))
        )
        stamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
        if path.exists():
            stamp.signed.version += 1
        stamp.signed.expires = _in("timestamp")
        stamp.sign(self._signer("online"))
        _replace(path, stamp.to_bytes())

    def _write_root(self, at: datetime) -> None:
        root = Root(expires=at.replace(microsecond=0) + VALID["root"], consistent_snapshot=True)
        for role, (count, threshold) in {"root": ROOT_KEYS, "targets": TARGETS_KEYS}.items():
            for name in _named(role, (count, threshold)):
                root.add_key(self._signer(name).public_key, role)
            root.roles[role].threshold = threshold
        for role in ("snapshot", "timestamp"):
            root.add_key(self._signer("online").public_key, role)
        metadata = Metadata(root)
        for name in _named("root", ROOT_KEYS)[: ROOT_KEYS[1]]:
            metadata.sign(self._signer(name), append=True)
        _replace(self.repository / "metadata" / "1.root.json", metadata.to_bytes())

    def _write(self, metadata: Metadata[S], role: str, names: Iterable[str]) -> None:
        metadata.signed.expires = _in(role)
        self._sign_and_write(metadata, role, [self._signer(name) for name in names])

    def _sign_and_write(self, metadata: Metadata[S], role: str, signers: Iterable[CryptoSigner]) -> None:
        folder = self.repository / "metadata"
        if self._newest_path(role):
            metadata.signed.version += 1
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        _replace(folder / f"{metadata.signed.version}.{role}.json", metadata.to_bytes())

    def _check_delegation(self, state: str, signer: CryptoSigner) -> None:
        targets = self._newest("targets", Targets)
        roles = targets.signed.delegations.roles if targets and targets.signed.delegations else None
        role = (roles or {}).get(state_role(state))
        if role is None or signer.public_key.keyid not in role.keyids:
            raise UnknownState(f"the trust list has no delegation for {state} with this key")

    def _newest_path(self, role: str) -> Path | None:
        found = [p for p in (self.repository / "metadata").glob(f"*.{role}.json") if p.name.split(".")[0].isdecimal()]
        return max(found, key=lambda path: int(path.name.split(".")[0]), default=None)

    def _newest(self, role: str, kind: type[S]) -> Metadata[S] | None:
        path = self._newest_path(role)
        if path is None:
            return None
        metadata: Metadata[S] = Metadata.from_bytes(path.read_bytes())
        assert isinstance(metadata.signed, kind)
        return metadata

    def _store(self, path: str, data: bytes) -> TargetFile:
        target = TargetFile.from_data(path, data, ["sha256"])
        folder, _, name = path.rpartition("/")
        place = self.repository / "targets" / folder
        place.mkdir(parents=True, exist_ok=True)
        _replace(place / f"{hashlib.sha256(data).hexdigest()}.{name}", data)
        return target

    def _load(self, target: TargetFile) -> bytes:
        folder, _, name = target.path.rpartition("/")
        return (self.repository / "targets" / folder / f"{target.hashes['sha256']}.{name}").read_bytes()

    def _key_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.key"

    def _signer(self, name: str) -> CryptoSigner:
        return CryptoSigner(cast("Ed25519PrivateKey", load_private(self._key_path(name), "sign", self.passphrase)))


def state_role(state: str) -> str:
    """The TUF role a State's entries are signed under."""
    return f"state-{state}"


def make_state_key(path: Path, passphrase: bytes | None = None) -> CryptoSigner:
    """A State's delegation key, in its own folder."""
    save_private(path, generate("sign"), passphrase)
    return load_state_key(path, passphrase)


def load_state_key(path: Path, passphrase: bytes | None = None) -> CryptoSigner:
    """A State's delegation key from its file. Raises BadKeyFile."""
    return CryptoSigner(cast("Ed25519PrivateKey", load_private(path, "sign", passphrase)))


def _named(role: str, keys: tuple[int, int]) -> list[str]:
    return [f"{role}-{number}" for number in range(1, keys[0] + 1)]


def _in(role: str) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + VALID[role]


def _json(model: NodeEntry | StateIndex) -> bytes:
    return model.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: nodes fetch while we write."""
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(data)
    draft.replace(path)
