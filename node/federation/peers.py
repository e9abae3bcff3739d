"""Who is a peer, with which keys, now: one snapshot of the trust list, replaced whole.

Everything that speaks to the outside asks here, at every request: a peer that leaves the list is out at once, on open
connections too. A certificate's verification is remembered until the list changes or the certificate ends.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from node.errors import PeerError, Unavailable
from node.federation import as4
from node.ids import NodeId, State
from pki.errors import Untrusted
from pki.profiles import node_of
from pki.verification import verify_chain

AS4_PATH: Final = "/imi/v1/as4"
RELAY_PATH: Final = "/imi/v1/relay/"  # and the node that a message is passed on to
STALE_FOR: Final = timedelta(days=14)
_KEEP_VERDICT: Final = timedelta(minutes=10)

Freshness = Literal["fresh", "stale", "stopped"]


class UnknownPeer(PeerError):
    """The trust list has no such node."""

    code = "peer.unknown"


class UntrustedPeer(PeerError):
    """A TLS certificate is not one of a listed node: foreign authority, revoked, expired, or no node's name in it."""

    code = "peer.untrusted"


class Unroutable(Unavailable):
    """No address leads to a node: its State is hosted, or the relay before it is not listed or has no address for it."""

    code = "unavailable.no-route"


class TrustListTooOld(Unavailable):
    """The trust list could not be renewed for so long that this act has to wait."""

    code = "unavailable.trust-list-too-old"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """The key a directory log is signed with, the one node that may serve it, and the epoch it is in there at least."""

    public_key: Ed25519PublicKey
    host: NodeId
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node as the trust list describes it; a hosted State has neither url nor relay nor certificates.

    Or an access point outside the federation, as an operator wrote it down: then there are `terms`, `url` is the whole
    address of its AS4 door, and the connection is known by its very certificate.
    """

    node: NodeId
    state: State
    name: Mapping[str, str]
    url: str | None
    state_ca: x509.Certificate
    crl: x509.CertificateRevocationList | None
    signing: tuple[x509.Certificate, ...]  # newest first; vouched for by the State when the list was read
    encryption: tuple[x509.Certificate, ...]
    suites: tuple[str, ...]
    features: tuple[str, ...]
    logs: Mapping[str, LogKey]  # collection -> key
    relay: NodeId | None = None  # the node of its State through which alone it is reached
    retired: tuple[x509.Certificate, ...] = ()  # no longer for messages: old events are verified with them
    terms: as4.Agreement | None = None  # only outside the federation
    tls: tuple[x509.Certificate, ...] = ()  # only outside the federation: what it shows on connections

    @property
    def is_outside(self) -> bool:
        """Whether it is no node of the federation: it gets AS4 and nothing else."""
        return self.terms is not None

    @property
    def is_hosted(self) -> bool:
        """Whether it is a State without a node: it has logs, and nothing can be delivered to it."""
        return self.url is None and self.relay is None

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """What vouches for its TLS certificate in a handshake."""
        return self.tls or (self.state_ca,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How messages reach a node: at its own door, or at that of the relay that stands before it, or before us."""

    node: NodeId
    door: Peer  # whom the connection is made with
    url: str  # base address of the door; outside the federation the whole address

    @property
    def is_direct(self) -> bool:
        """Whether the node itself answers there."""
        return self.door.node == self.node

    @property
    def as4_url(self) -> str:
        """Where its messages are posted."""
        if self.door.is_outside:
            return self.url
        return f"{self.url}{AS4_PATH}" if self.is_direct else f"{self.url}{RELAY_PATH}{self.node}/as4"

    def __str__(self) -> str:
        """The address, for operators."""
        return self.as4_url if self.is_direct else f"through {self.door.node} ({self.as4_url})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustList:
    """One verified reading. `versions` are those of the signed roles; `valid_until` the earliest of their ends."""

    versions: Mapping[str, int]
    read_at: datetime
    valid_until: datetime
    nodes: Mapping[NodeId, Peer] = field(default_factory=dict)
    training: bool = False  # a federation for exercises: its clock may be set

    def freshness(self, at: datetime) -> Freshness:
        """Fresh; stale for two weeks: known peers go on, nothing new is accepted; then stopped: nothing is sent."""
        if at <= self.valid_until:
            return "fresh"
        return "stale" if at <= self.valid_until + STALE_FOR else "stopped"


class Peers:
    """The current trust list, and the access points outside the federation that we deal with, for all threads.

    `addresses` are those of nodes that we reach otherwise than the list says: as their relay, or our relay from within.
    """

    def __init__(
        self,
        us: NodeId,
        trust: TrustList,
        *,
        outside: Sequence[Peer] = (),
        addresses: Mapping[NodeId, str] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.us = us
        self._addresses = dict(addresses or {})
        self._now = now
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._trust = trust
        self._by_fingerprint, self._by_party = _fingerprints(trust), _parties(trust)
        self._verdicts: dict[bytes, tuple[datetime, Peer]] = {}
        self._outside, self._shown = _by_name(outside), _by_tls(outside)
        self.derived: dict[object, object] = {}  # what others worked out from the lists in force; ends with them

    @property
    def trust(self) -> TrustList:
        """The list in force."""
        return self._trust

    @property
    def freshness(self) -> Freshness:
        """How old the list in force is."""
        return self._trust.freshness(self._now())

    def replace(self, trust: TrustList) -> None:
        """Put a new list in force; listeners are told if it says anything new."""
        changed = trust.versions != self._trust.versions
        with self._lock:
            self._trust = trust
            self._by_fingerprint, self._by_party = _fingerprints(trust), _parties(trust)
            self._verdicts, self.derived = {}, {}
        for listener in self._listeners if changed else ():
            listener()

    def replace_outside(self, outside: Sequence[Peer]) -> None:
        """Put these access points outside the federation in the place of those there were."""
        with self._lock:
            self._outside, self._shown = _by_name(outside), _by_tls(outside)
            self.derived = {}
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, on the thread that replaces the list, whenever it changes."""
        self._listeners.append(listener)

    def get(self, node: NodeId) -> Peer:
        """The entry of a node, or of an access point outside. Raises UnknownPeer."""
        peer = self._trust.nodes.get(node) or self._outside.get(node)
        if peer is None:
            raise UnknownPeer(f"the trust list has no node {node}", node=node)
        return peer

    def all(self) -> tuple[Peer, ...]:
        """Every entry of the trust list, ours and hosted States' too."""
        return tuple(self._trust.nodes.values())

    def outside(self) -> tuple[Peer, ...]:
        """The access points outside the federation."""
        return tuple(self._outside.values())

    def others(self) -> tuple[Peer, ...]:
        """The other nodes: who messages are exchanged with, whether through a relay or not."""
        return tuple(peer for peer in self.all() if peer.node != self.us and not peer.is_hosted)

    def reachable(self) -> tuple[Peer, ...]:
        """The other nodes whose own door we can knock at."""
        return tuple(peer for peer in self.others() if self._has_door(peer))

    def route(self, node: NodeId) -> Route:
        """How messages reach a node or an access point outside.

        Raises:
            UnknownPeer: it is not listed.
            Unroutable: no address leads there.
        """
        peer = self.get(node)
        if peer.is_hosted:
            raise Unroutable(f"{node} has no door: its State is hosted", node=node)
        if peer.is_outside or self._has_door(peer):
            return Route(node=node, door=peer, url=self._addresses.get(node) or peer.url or "")
        relay = self._our_relay or peer.relay
        if relay == self.us:
            raise Unroutable(f"{node} stands behind this node, and the settings do not say where: [relay]", node=node)
        door = self._trust.nodes.get(relay) if relay else None
        if door is None or not self._has_door(door):
            raise Unroutable(f"the relay of {node} is {relay}, which is no node with an address", node=node)
        return Route(node=node, door=door, url=self._addresses.get(door.node) or door.url or "")

    def of_party(self, party: str) -> Peer | None:
        """The node that is called so in messages, if there is one."""
        return self._by_party.get(party)

    def carriers(self, sender: Peer) -> frozenset[NodeId]:
        """Who may bring us a node's messages: itself, its listed relay, and the relay we stand behind ourselves."""
        return frozenset(node for node in (sender.node, sender.relay, self._our_relay) if node)

    @property
    def _our_relay(self) -> NodeId | None:
        own = self._trust.nodes.get(self.us)
        return None if own is None else own.relay

    def _has_door(self, peer: Peer) -> bool:
        """Whether we make connections with it: not past a relay, unless its address was written down here."""
        if peer.node in self._addresses:
            return True
        return bool(peer.url) and not peer.relay and self._our_relay in (None, peer.node)

    def identify(self, certificate: bytes) -> Peer:
        """Whose TLS certificate this is.

        Args:
            certificate: DER, from the connection.

        Raises:
            UntrustedPeer: no listed node's, or its State's authority does not vouch for it now.
        """
        now = self._now()
        key = hashlib.sha256(certificate).digest()
        pinned = self._shown.get(key)
        if pinned is not None:
            return _check_validity(*pinned, now)
        verdict = self._verdicts.get(key)
        if verdict and verdict[0] > now:
            return verdict[1]
        peer, until = self._verify(certificate, now)
        with self._lock:
            if self._trust.nodes.get(peer.node) is peer:  # else the list was replaced meanwhile
                self._verdicts[key] = (until, peer)
        return peer

    def certificate_by_fingerprint(self, sha256: str) -> tuple[NodeId, x509.Certificate]:
        """The signing certificate, retired ones too, with this SHA-256 (hex), and its node. Raises UnknownPeer."""
        try:
            return self._by_fingerprint[sha256]
        except KeyError:
            raise UnknownPeer(
                "the trust list has no signing certificate with this digest", digest=sha256[:64]
            ) from None

    def check_may_send(self) -> None:
        """Raises TrustListTooOld once the list is so old that a peer's keys may have been withdrawn long ago."""
        if self.freshness == "stopped":
            raise TrustListTooOld(
                "the trust list is more than two weeks out of date: nothing is sent until it is renewed"
            )

    def _verify(self, der: bytes, now: datetime) -> tuple[Peer, datetime]:
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            raise UntrustedPeer("not a certificate") from None
        name = node_of(certificate)
        peer = self._trust.nodes.get(NodeId(name))
        if peer is None or peer.is_hosted:
            raise UntrustedPeer(f"the trust list has no node {name[:12] or '(none named)'}", node=name[:12])
        try:
            crls = [] if peer.crl is None else [peer.crl]  # a list without entries is falsy
            verify_chain([certificate], [peer.state_ca], crls, at=now, purpose="tls")
        except Untrusted as error:
            raise UntrustedPeer(f"certificate of {name}: {error}", node=name) from error
        return peer, min(certificate.not_valid_after_utc, now + _KEEP_VERDICT)


def _parties(trust: TrustList) -> dict[str, Peer]:
    return {as4.party_of(peer.node): peer for peer in trust.nodes.values() if not peer.is_hosted}


def _by_name(outside: Sequence[Peer]) -> dict[NodeId, Peer]:
    return {peer.node: peer for peer in outside}


def _by_tls(outside: Sequence[Peer]) -> dict[bytes, tuple[Peer, x509.Certificate]]:
    return {
        hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest(): (peer, certificate)
        for peer in outside
        for certificate in peer.tls
    }


def _check_validity(peer: Peer, certificate: x509.Certificate, at: datetime) -> Peer:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise UntrustedPeer(f"the TLS certificate of {peer.node} is not valid now", node=peer.node)
    return peer


def _fingerprints(trust: TrustList) -> dict[str, tuple[NodeId, x509.Certificate]]:
    return {
        hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest(): (peer.node, certificate)
        for peer in trust.nodes.values()
        for certificate in (*peer.signing, *peer.retired)
    }
