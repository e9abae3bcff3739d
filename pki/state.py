"""A State's side: its authority, its key for the trust list, and what it says of its nodes. Never on a node.

folder/ca.key ca.crt crl.pem issued/    the authority
folder/trust.key trust.pub              signs the State's part of the trust list
folder/entries/<node>.json              what it says
folder/submission.json                  what it last signed, as the publisher gets it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import CryptoSigner

from pki.authority import StateAuthority
from pki.errors import BadTrustList, PkiError
from pki.files import write_whole
from pki.node_keys import Certificates, Request, answer, entry_for, hosted_entry, moved_log
from pki.trustlist.models import NodeEntry, read_entry
from pki.trustlist.publisher import load_state_key, make_state_key
from pki.trustlist.submission import Submission, read_role, sign_state


class NoSuchNode(PkiError):
    """The State says nothing of this node."""

    code = "pki.no-such-node"


@dataclass(frozen=True, slots=True)
class StateOffice:
    """One State's folder, opened."""

    authority: StateAuthority
    trust_key: CryptoSigner

    @classmethod
    def create(cls, folder: Path, state: str, passphrase: bytes | None = None) -> StateOffice:
        """A State's keys, made anew. Raises FileExistsError if there are some."""
        authority = StateAuthority.create(folder, state, passphrase)
        (folder / "entries").mkdir(exist_ok=True)
        return cls(authority, make_state_key(folder / "trust.key", passphrase))

    @classmethod
    def open(cls, folder: Path, passphrase: bytes | None = None) -> StateOffice:
        """A State's folder. Raises BadKeyFile."""
        return cls(StateAuthority.open(folder, passphrase), load_state_key(folder / "trust.key", passphrase))

    @property
    def state(self) -> str:
        """Whose office this is."""
        return self.authority.state

    def entries(self) -> tuple[NodeEntry, ...]:
        """What the State says of its nodes."""
        found = sorted((self.authority.folder / "entries").glob("*.json"))
        return tuple(read_entry(path.read_bytes(), self.state, path.stem) for path in found)

    def admit(self, request: Request) -> Certificates:
        """Certify a node, and let the trust list say of it what it asked for.

        A node may ask again, for further keys: what was said of it and is not asked for anew stays.

        Raises:
            BadRequest: a proof of possession does not hold.
            NotOurs: the node is another State's.
            BadTrustList: what was said of it cannot be read.
        """
        place = self._place(request.node)
        said = read_entry(place.read_bytes(), self.state, request.node) if place.exists() else None
        certificates = answer(self.authority, request)
        self.put(entry_for(self.authority, request, certificates, said))
        return certificates

    def host(self, logs: Mapping[str, Ed25519PublicKey], host: str) -> None:
        """Have the logs of this State served by another State's node, as long as it has none of its own."""
        self.put(hosted_entry(self.authority, logs, host))

    def move_logs(
        self,
        node: str,
        *,
        host: str | None = None,
        epoch: int | None = None,
        key: Ed25519PublicKey | None = None,
        collections: Sequence[str] | None = None,
    ) -> NodeEntry:
        """Have directory logs go on in another epoch, at another host or with another key; what is None stays.

        Args:
            epoch: None: the next one of each log.
            collections: None: all that the entry names.

        Raises:
            NoSuchNode: the State says nothing of this node.
            BadTrustList: its entry names no such log, or an epoch would go back.
        """
        place = self._place(node)
        if not place.exists():
            raise NoSuchNode(f"{self.state} says nothing of a node {node}")
        said = read_entry(place.read_bytes(), self.state, node)
        moved = {}
        for name in collections or tuple(said.logs):
            if name not in said.logs or (epoch is not None and epoch < said.logs[name].epoch):
                raise BadTrustList(f"{node} has no log {name}, or has it in a later epoch")
            moved[name] = moved_log(said.logs[name], host=host, epoch=epoch, key=key)
        entry = said.model_copy(update={"logs": {**said.logs, **moved}})
        self.put(entry)
        return entry

    def put(self, entry: NodeEntry) -> None:
        """Say this of a node from the next `sign` on."""
        write_whole(self._place(entry.node), entry.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")

    def withdraw(self, node: str) -> None:
        """Say nothing of a node for now; its certificates stay good. Raises NoSuchNode."""
        if not self._place(node).exists():
            raise NoSuchNode(f"{self.state} says nothing of a node {node}")
        self._place(node).unlink()

    def remove(self, node: str) -> None:
        """Say nothing of a node any more, and revoke all its certificates. Raises NoSuchNode."""
        self.withdraw(node)
        self.revoke(node)

    def revoke(self, node: str) -> None:
        """Put all certificates of a node on the revocation list."""
        self.authority.revoke(*(certificate.serial_number for certificate in self.authority.issued(node)))

    def sign(self, at: datetime | None = None) -> Submission:
        """Everything the State says now, signed for the publisher; kept as `submission.json`.

        Raises:
            BadTrustList: a relay cannot be used.
        """
        path = self.authority.folder / "submission.json"
        last = read_role(Submission.from_bytes(path.read_bytes()).metadata).signed.version if path.exists() else 0
        submission = sign_state(
            self.state,
            self.trust_key,
            self.entries(),
            self.authority.crl_bytes(),
            version=last + 1,
            at=at or datetime.now(UTC),
        )
        write_whole(path, submission.to_bytes())
        return submission

    def _place(self, node: str) -> Path:
        return self.authority.folder / "entries" / f"{node}.json"
