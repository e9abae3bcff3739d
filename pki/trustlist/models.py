"""What a State says of its nodes: the targets `nodes/<State>/index.json`, `<node>.json` and `crl.pem`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pki.errors import BadTrustList, Untrusted
from pki.verification import verify_chain

MAX_ENTRY_BYTES: Final = 256 * 1024
COLLECTIONS: Final = ("authorities", "registers", "repositories")  # the directory logs of a node
MAX_EPOCH: Final = 999
MAX_NODES: Final = 100  # of one State
MAX_LOGS: Final = 8  # of one node: more than there are collections today

Node = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,8})?$")]
StateCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https://[^\s?#]{1,300}[^/\s?#]$")]
Pem = Annotated[str, StringConstraints(max_length=8192)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)  # a later version may say more; what we know stays as strict


class LogEntry(_Model):
    """One directory log: its Ed25519 key (raw, Base64), the one node that may serve it, and the epoch it is in there.

    An epoch begins when a log is handed over to another host, or compacted; the numbers only grow.
    """

    public_key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$")]
    host: Node
    epoch: Annotated[int, Field(ge=1, le=MAX_EPOCH)] = 1


class NodeEntry(_Model):
    """One node, or a hosted State, which has logs and nothing else."""

    format: Literal[1] = 1
    node: Node
    state: StateCode
    name: dict[str, Annotated[str, StringConstraints(max_length=200)]]  # language -> name
    federation: Url | None = None  # base address of its door for other nodes; none if a relay stands before it
    relay: Node | None = None  # the node of the same State through which alone it is reached
    state_ca: Pem
    signing: tuple[Pem, ...] = ()  # newest first; messages may be signed with any of them
    retired: tuple[
        Pem, ...
    ] = ()  # no longer for messages; kept four years, as late joiners verify old events with them
    encryption: tuple[Pem, ...] = ()  # newest first
    suites: tuple[str, ...] = ()  # AS4 suites it reads, preferred first
    protocols: tuple[str, ...] = ("imi/1",)
    features: tuple[str, ...] = ()
    logs: dict[Annotated[str, StringConstraints(pattern=r"^[a-z-]{1,40}$")], LogEntry] = Field(
        default_factory=dict, max_length=MAX_LOGS
    )

    @property
    def is_hosted(self) -> bool:
        """Whether this State has no node of its own."""
        return self.federation is None and self.relay is None


class StateIndex(_Model):
    """The nodes of one State: python-tuf cannot list the targets of a delegation."""

    format: Literal[1] = 1
    state: StateCode
    nodes: Annotated[tuple[Node, ...], Field(max_length=MAX_NODES)]


def read_entry(data: bytes, state: str, node: str) -> NodeEntry:
    """A node's entry from a verified target.

    Raises:
        BadTrustList: too large, malformed, or it speaks of another node or State than its path.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise BadTrustList(f"the entry of {node} is too large")
    try:
        entry = NodeEntry.model_validate_json(data)
        for text in (entry.state_ca, *entry.signing, *entry.retired, *entry.encryption):
            x509.load_pem_x509_certificate(text.encode())
    except (ValidationError, ValueError) as error:
        raise BadTrustList(f"the entry of {node} is malformed") from error
    if (entry.state, entry.node) != (state, node) or node[:2] != state:
        raise BadTrustList(f"the entry of {node} speaks of {entry.node}")
    return entry


def read_index(data: bytes, state: str) -> StateIndex:
    """A State's index from a verified target. Raises BadTrustList."""
    try:
        index = StateIndex.model_validate_json(data)
    except ValidationError as error:
        raise BadTrustList(f"the index of {state} is malformed") from error
    if index.state != state or any(node[:2] != state for node in index.nodes):
        raise BadTrustList(f"the index of {state} speaks of another State")
    return index


def read_crl(data: bytes, state: str) -> x509.CertificateRevocationList:
    """A State's revocation list from a verified target. Raises BadTrustList."""
    try:
        return x509.load_pem_x509_crl(data)
    except ValueError as error:
        raise BadTrustList(f"the revocation list of {state} is malformed") from error


def trusted(
    node: str,
    pems: Sequence[str],
    purpose: str,
    anchor: x509.Certificate,
    crl: x509.CertificateRevocationList | None,
    *,
    at: datetime,
) -> tuple[tuple[x509.Certificate, ...], tuple[str, ...]]:
    """The certificates of an entry that its State's authority vouches for now, and why the others are left out."""
    good: list[x509.Certificate] = []
    faults: list[str] = []
    for text in pems:
        certificate = x509.load_pem_x509_certificate(text.encode())
        try:
            identity = verify_chain([certificate], [anchor], [] if crl is None else [crl], at=at, purpose=purpose)
        except Untrusted as error:
            faults.append(f"{purpose} certificate {certificate.serial_number:x} of {node}: {error}")
            continue
        if identity.node == node:
            good.append(certificate)
        else:
            faults.append(f"{purpose} certificate {certificate.serial_number:x} of {node} names {identity.node}")
    return tuple(good), tuple(faults)


def check_entry(entry: NodeEntry, crl: x509.CertificateRevocationList, *, at: datetime) -> None:
    """That an entry can be used as it stands.

    Raises:
        BadTrustList: a certificate is not its State's or not the node's, revoked or of another purpose, or the
            revocation list is not this authority's.
    """
    anchor = x509.load_pem_x509_certificate(entry.state_ca.encode())
    if not crl.is_signature_valid(anchor.public_key()):  # type: ignore[arg-type]  # authorities have signing keys
        raise BadTrustList(f"the revocation list of {entry.state} is not signed by the authority {entry.node} names")
    _, signing = trusted(entry.node, entry.signing, "sign", anchor, crl, at=at)
    _, encryption = trusted(entry.node, entry.encryption, "encrypt", anchor, crl, at=at)
    if faults := (*signing, *encryption):
        raise BadTrustList("; ".join(faults))


def check_relays(entries: Sequence[NodeEntry]) -> None:
    """That all of a State's entries name relays that can be used.

    Args:
        entries: everything the State says: a relay is one of its own nodes.

    Raises:
        BadTrustList: a relay is not listed here or cannot be reached itself, or an entry names both an address and a relay.
    """
    doors = {entry.node for entry in entries if entry.federation and not entry.relay}
    for entry in entries:
        if entry.relay is None:
            continue
        if entry.federation:
            raise BadTrustList(f"{entry.node} has a relay, so its entry must not say an address")
        if entry.relay not in doors:
            raise BadTrustList(
                f"the relay of {entry.node} is {entry.relay}, which is no node of {entry.state} with an address of its own"
            )


def entry_path(state: str, node: str) -> str:
    """Target path of a node's entry."""
    return f"nodes/{state}/{node}.json"


def index_path(state: str) -> str:
    """Target path of a State's index."""
    return f"nodes/{state}/index.json"


def crl_path(state: str) -> str:
    """Target path of a State's revocation list."""
    return f"nodes/{state}/crl.pem"
