"""The publisher's side of the trust list: a TUF repository in a folder.

    folder/keys/root-1.key … root-5.key       3 of 5 sign the root: kept apart, needed for ceremonies only
    folder/keys/targets-1.key … targets-3.key 2 of 3 sign which States there are
    folder/keys/online.key                    snapshots and time stamps, renewed without hands
    folder/repository/metadata, …/targets     what nodes fetch, byte for byte

Each State signs `nodes/<State>/*` with its own delegated key, and can write nothing else; the publisher checks what it
is handed and takes snapshots. A snapshot holds each role's digest: bytes changed on the way are told from a State that
signed badly, which harms that State alone. Source: The Update Framework specification 1.0, with consistent snapshots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
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

from pki.errors import BadKeyFile, BadTrustList
from pki.files import write_whole
from pki.keys import generate, load_private, public_pem, save_private
from pki.trustlist.models import NodeEntry, index_path
from pki.trustlist.submission import Submission, check, sign_state, state_role

ROOT_KEYS: Final = (5, 3)  # how many, how many must sign
TARGETS_KEYS: Final = (3, 2)
VALID: Final = {
    "root": timedelta(days=365),
    "targets": timedelta(days=90),
    "snapshot": timedelta(days=14),
    "timestamp": timedelta(days=2),
}
TRAINING: Final = "x-imi-training"  # in the root: a federation for exercises, whose clock may be set

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)  # as python-tuf has it


class UnknownState(BadTrustList):
    """The trust list has no delegation for this State."""

    code = "pki.unknown-state"


@dataclass(frozen=True, slots=True)
class Publisher:
    """The repository in a folder."""

    folder: Path
    passphrase: bytes | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @classmethod
    def ceremony(
        cls,
        folder: Path,
        states: Mapping[str, Key],
        passphrase: bytes | None = None,
        *,
        training: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Publisher:
        """Make the keys of all roles, and a first list with a delegation for each State.

        Args:
            states: State -> the public half of its delegation key (`make_state_key`).
            training: a federation for exercises; nodes see it in the root.
        """
        publisher = cls(folder, passphrase, now)
        for part in ("keys", "repository/metadata", "repository/targets"):
            (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700 if part == "keys" else 0o755)
        names = [*_named("root", ROOT_KEYS), *_named("targets", TARGETS_KEYS), "online"]
        for name in names:
            save_private(publisher._key_path(name), generate("sign"), passphrase)
        publisher._write_root(publisher._root(training=training), ())
        publisher.set_states(states)
        return publisher

    @property
    def repository(self) -> Path:
        """The folder that nodes fetch from."""
        return self.folder / "repository"

    def root_bytes(self) -> bytes:
        """The newest root metadata: what a joining node is given by a trusted hand."""
        newest = self._newest_path("root")
        if newest is None:
            raise BadTrustList(f"{self.repository} holds no trust list: begin with a ceremony")
        return newest.read_bytes()

    def renew_root(self, replace: Sequence[str] = ()) -> None:
        """Sign the root anew, before it ends or to replace keys; 3 of the old keys and 3 of the new ones sign.

        Args:
            replace: names of keys (`root-2`, `targets-1`, `online`) that are made anew; the old files are kept beside.
        """
        old = self._newest("root", Root)
        assert old
        before = [self._signer(name) for name in _signing("root", ROOT_KEYS)]
        for name in replace:
            self._key_path(name).rename(self._key_path(f"{name}-until-{old.signed.version}"))
            save_private(self._key_path(name), generate("sign"), self.passphrase)
        root = self._root(training=bool(old.signed.unrecognized_fields.get(TRAINING)))
        root.version = old.signed.version + 1
        self._write_root(root, before)
        if replace:  # what the old keys signed no longer counts
            targets = self._newest("targets", Targets)
            assert targets
            self._write(targets, "targets", _signing("targets", TARGETS_KEYS))
            self.snapshot()

    def set_states(self, states: Mapping[str, Key]) -> None:
        """Say which States there are, with which delegation keys; 2 of 3 targets keys sign.

        A State that is left out loses its delegation, and with it all its nodes.
        """
        targets = self._newest("targets", Targets) or Metadata(Targets(expires=self._end("targets")))
        targets.signed.delegations = Delegations(
            keys={key.keyid: key for key in states.values()},
            roles={
                role: DelegatedRole(role, [key.keyid], 1, terminating=True, paths=[f"nodes/{state}/*"])
                for state, key in sorted(states.items())
                for role in [state_role(state)]
            },
        )
        self._write(targets, "targets", _signing("targets", TARGETS_KEYS))
        self.snapshot()

    def states(self) -> dict[str, Key]:
        """The States in the list, with their delegation keys."""
        delegations = self._delegator().delegations
        assert delegations
        roles = delegations.roles or {}
        return {name.removeprefix("state-"): delegations.keys[role.keyids[0]] for name, role in roles.items()}

    def publish(
        self, state: str, signer: CryptoSigner, entries: Iterable[NodeEntry], crl: bytes, *, snapshot: bool = True
    ) -> None:
        """Replace what a State says of its nodes, where its key and the publisher are in one hand.

        Raises:
            UnknownState: there is no delegation for it with this key.
            BadTrustList: an entry cannot be used as it stands.
        """
        key = self.states().get(state)
        if key is None or key.keyid != signer.public_key.keyid:
            raise UnknownState(f"the trust list has no delegation for {state} with this key")
        version = self.next_version(state)
        self.accept(sign_state(state, signer, entries, crl, version=version, at=self.now()), snapshot=snapshot)

    def accept(self, submission: Submission, *, snapshot: bool = True) -> None:
        """Take what a State has signed into the list.

        Args:
            snapshot: False if more follows: nodes see nothing of it before `snapshot()`.

        Raises:
            UnknownState: there is no delegation for it.
            BadTrustList: not signed with its key, not a newer version, or not what nodes can read.
        """
        state = submission.state
        if state not in self.states():
            raise UnknownState(f"the trust list has no delegation for {state[:2]}")
        role = check(submission, self._delegator(), at=self.now())
        if role.signed.version < self.next_version(state):
            raise BadTrustList(f"the list has version {self.next_version(state) - 1} of {state} already")
        for path, data in submission.files.items():
            self._store(path, data)
        name = f"{role.signed.version}.{state_role(state)}.json"
        write_whole(self.repository / "metadata" / name, submission.metadata)
        if snapshot:
            self.snapshot()

    def next_version(self, state: str) -> int:
        """The version the next submission of a State must have."""
        return self._next_version(state_role(state))

    def snapshot(self) -> None:
        """Bind the newest version of every role together, and stamp it with the time."""
        snapshot = self._newest("snapshot", Snapshot) or Metadata(Snapshot(expires=self._end("snapshot"), meta={}))
        for role in ("targets", *self.roles()):  # a State that left stays named: readers refuse a shorter snapshot
            path = self._newest_path(role)
            if path is not None:
                data = path.read_bytes()
                snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(_version(path), data, ["sha256"])
        self._write(snapshot, "snapshot", ["online"])
        self._stamp()

    def renew(self) -> None:
        """A new time stamp (and snapshot, when it runs out soon): the publisher's node does this every few hours."""
        newest = self._newest("snapshot", Snapshot)
        if newest is None or newest.signed.expires < self.now() + VALID["snapshot"] / 2:
            self.snapshot()
        else:
            self._stamp()

    def roles(self) -> tuple[str, ...]:
        """The delegated roles of all States."""
        return tuple(map(state_role, self.states()))

    def entries(self, state: str) -> tuple[NodeEntry, ...]:
        """What a State says of its nodes now."""
        targets = self._newest(state_role(state), Targets)
        if targets is None:
            return ()
        paths = [path for path in targets.signed.targets if path.endswith(".json") and path != index_path(state)]
        found = (NodeEntry.model_validate_json(self._load(targets.signed.targets[path])) for path in paths)
        return tuple(sorted(found, key=lambda entry: entry.node))

    def _stamp(self) -> None:
        snapshot = self._newest_path("snapshot")
        assert snapshot
        path = self.repository / "metadata" / "timestamp.json"
        version = Metadata[Timestamp].from_bytes(path.read_bytes()).signed.version + 1 if path.exists() else 1
        bound = MetaFile.from_data(_version(snapshot), snapshot.read_bytes(), ["sha256"])
        stamp = Metadata(Timestamp(version=version, expires=self._end("timestamp"), snapshot_meta=bound))
        stamp.sign(self._signer("online"))
        write_whole(path, stamp.to_bytes())

    def _root(self, *, training: bool) -> Root:
        fields = {TRAINING: True} if training else {}
        root = Root(expires=self._end("root"), consistent_snapshot=True, unrecognized_fields=fields)
        for role, (count, threshold) in {"root": ROOT_KEYS, "targets": TARGETS_KEYS}.items():
            for name in _named(role, (count, threshold)):
                root.add_key(self._signer(name).public_key, role)
            root.roles[role].threshold = threshold
        for role in ("snapshot", "timestamp"):
            root.add_key(self._signer("online").public_key, role)
        return root

    def _write_root(self, root: Root, before: Sequence[CryptoSigner]) -> None:
        metadata = Metadata(root)
        for signer in (*before, *(self._signer(name) for name in _signing("root", ROOT_KEYS))):
            metadata.sign(signer, append=True)
        write_whole(self.repository / "metadata" / f"{root.version}.root.json", metadata.to_bytes())

    def _write(self, metadata: Metadata[S], role: str, names: Iterable[str]) -> None:
        metadata.signed.expires = self._end(role)
        metadata.signed.version = self._next_version(role)
        metadata.signatures.clear()
        for name in names:
            metadata.sign(self._signer(name), append=True)
        write_whole(self.repository / "metadata" / f"{metadata.signed.version}.{role}.json", metadata.to_bytes())

    def _end(self, role: str) -> datetime:
        return self.now().replace(microsecond=0) + VALID[role]

    def _delegator(self) -> Targets:
        targets = self._newest("targets", Targets)
        if targets is None:
            raise BadTrustList(f"{self.repository} holds no trust list: begin with a ceremony")
        return targets.signed

    def _next_version(self, role: str) -> int:
        path = self._newest_path(role)
        return 1 if path is None else _version(path) + 1

    def _newest_path(self, role: str) -> Path | None:
        return max((self.repository / "metadata").glob(f"*.{role}.json"), key=_version, default=None)

    def _newest(self, role: str, kind: type[S]) -> Metadata[S] | None:
        path = self._newest_path(role)
        if path is None:
            return None
        metadata: Metadata[S] = Metadata.from_bytes(path.read_bytes())
        assert isinstance(metadata.signed, kind)
        return metadata

    def _store(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        place = self.repository / "targets" / folder
        place.mkdir(parents=True, exist_ok=True)
        write_whole(place / f"{hashlib.sha256(data).hexdigest()}.{name}", data)

    def _load(self, target: TargetFile) -> bytes:
        folder, _, name = target.path.rpartition("/")
        return (self.repository / "targets" / folder / f"{target.hashes['sha256']}.{name}").read_bytes()

    def _key_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.key"

    def _signer(self, name: str) -> CryptoSigner:
        return CryptoSigner(cast("Ed25519PrivateKey", load_private(self._key_path(name), "sign", self.passphrase)))


def make_state_key(path: Path, passphrase: bytes | None = None) -> CryptoSigner:
    """A State's delegation key, in its own folder; the public half beside it (`.pub`) is for the publisher."""
    key = generate("sign")
    save_private(path, key, passphrase)
    write_whole(path.with_suffix(".pub"), public_pem(key.public_key()))
    return load_state_key(path, passphrase)


def read_state_key(data: bytes) -> Key:
    """The public half of a State's delegation key from its `.pub` file. Raises BadKeyFile."""
    try:
        key = load_pem_public_key(data)
    except ValueError as error:
        raise BadKeyFile("this is not the public half of a State's key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadKeyFile("a State's key for the trust list is Ed25519")
    return SSlibKey.from_crypto(key)


def load_state_key(path: Path, passphrase: bytes | None = None) -> CryptoSigner:
    """A State's delegation key from its file. Raises BadKeyFile."""
    return CryptoSigner(cast("Ed25519PrivateKey", load_private(path, "sign", passphrase)))


def _named(role: str, keys: tuple[int, int]) -> list[str]:
    return [f"{role}-{number}" for number in range(1, keys[0] + 1)]


def _signing(role: str, keys: tuple[int, int]) -> list[str]:
    return _named(role, keys)[: keys[1]]


def _version(path: Path) -> int:
    return int(path.name.split(".")[0])
