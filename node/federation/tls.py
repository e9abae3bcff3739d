"""Mutual TLS 1.3 between nodes.

OpenSSL checks a certificate against the States' authorities during the handshake; `Peers.identify` then says whose it
is, and refuses what the trust list does not name or a revocation list withdraws. Both happen inside the handshake, so a
refused stranger never reaches our code, and is seen in the log. The receiver asks `identify` again at each request.

Anchors are only ever added to a running listener's context: one that has left the trust list opens no door, because
`identify` decides.
"""

from __future__ import annotations

import ssl

import structlog
from cryptography.hazmat.primitives import serialization
from prometheus_client import Counter

from node.errors import PeerError
from node.federation.peers import Peer, Peers, UntrustedPeer
from pki.node_keys import NodeKeys

REFUSED = Counter("imi_tls_refused", "TLS handshakes refused, by side.", ["side"])

log = structlog.get_logger()


class _CheckedObject(ssl.SSLObject):
    """A TLS connection whose handshake ends only after the peer is identified."""

    def do_handshake(self) -> None:
        context = self.context
        assert isinstance(context, CheckedContext)
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError):
            raise
        except ssl.SSLError as error:
            context.refused(
                error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error.reason)
            )
            raise
        try:
            context.check(self.getpeercert(binary_form=True) or b"")
        except PeerError as error:
            context.refused(str(error))
            raise ssl.SSLCertVerificationError(str(error)) from error


class CheckedContext(ssl.SSLContext):
    """TLS 1.3 only, certificates on both sides, no session tickets."""

    sslobject_class = _CheckedObject
    peers: Peers
    expected: str = ""  # the node a client means to reach

    def check(self, certificate: bytes) -> Peer:
        """Whose certificate it is. Raises UntrustedPeer."""
        peer = self.peers.identify(certificate)
        if self.expected and peer.node != self.expected:
            raise UntrustedPeer(f"{peer.node} answers where {self.expected} should", node=peer.node)
        return peer

    def refused(self, reason: str) -> None:
        """Tell the operators of a handshake that failed."""
        side = "client" if self.expected else "server"
        REFUSED.labels(side).inc()
        log.warning("tls handshake refused", side=side, expected=self.expected or None, reason=reason)


def server_context(keys: NodeKeys, peers: Peers) -> CheckedContext:
    """The context of our door for other nodes; call `add_anchors` when the trust list changes."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, keys, peers)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    add_anchors(context, peers)
    return context


def client_context(keys: NodeKeys, peers: Peers, peer: Peer) -> CheckedContext:
    """The context for connections to one peer: only its own State's authority is an anchor.

    Outside the federation the very certificate is known, so that its names need not be those of its address.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, keys, peers)
    context.expected = peer.node
    context.check_hostname = not peer.is_outside
    _vouch(context, peer)
    return context


def add_anchors(context: CheckedContext, peers: Peers) -> None:
    """Let the authorities of all listed States vouch in handshakes to come."""
    for peer in (*{peer.state: peer for peer in peers.all()}.values(), *peers.outside()):
        _vouch(context, peer)


def renew_certificate(context: CheckedContext, keys: NodeKeys) -> None:
    """Use the TLS certificate that lies in the folder now, in handshakes to come; open connections go on."""
    context.load_cert_chain(
        keys.tls_certificate, keys.tls_key, password=keys.passphrase or ""
    )  # None would ask at the terminal


def _vouch(context: CheckedContext, peer: Peer) -> None:
    for anchor in peer.anchors:
        context.load_verify_locations(cadata=anchor.public_bytes(serialization.Encoding.DER))


def _context(protocol: int, keys: NodeKeys, peers: Peers) -> CheckedContext:
    context = CheckedContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an access point's own certificate may be the anchor
    context.peers = peers
    renew_certificate(context, keys)
    return context
