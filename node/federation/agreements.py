"""What is agreed with a peer, from the trust list: the P-Mode of every message between two nodes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography import x509

from node.federation import as4
from node.federation.peers import Peer, Peers, UnknownPeer
from node.ids import NodeId

SERVICE: Final = as4.Service(name=as4.SERVICE, actions=frozenset({"events", "query", "statistics"}))


def agreement(peers: Peers, node: NodeId) -> as4.Agreement:
    """The agreement with a listed node.

    Raises:
        UnknownPeer: it is not listed, hosted, or speaks no suite that we do.
    """
    return _agreement(peers.us, peers.get(node))


@lru_cache(maxsize=256)
def _by_entry(us: NodeId, node: NodeId, suite: str, signing: tuple[x509.Certificate, ...]) -> as4.Agreement:
    return as4.Agreement(
        our_party=as4.party_of(us),
        their_party=as4.party_of(node),
        suite=as4.SUITES[suite],
        services=(SERVICE,),
        their_signing=signing,
    )


def _agreement(us: NodeId, peer: Peer) -> as4.Agreement:
    suite = next((name for name in peer.suites if name in as4.SUITES), None)
    if suite is None or not peer.signing:
        raise UnknownPeer(f"{peer.node} offers no message suite that this node speaks", node=peer.node)
    return _by_entry(us, peer.node, suite, peer.signing)


def encryption_certificate(peer: Peer) -> x509.Certificate:
    """The certificate to encrypt for: the newest. Raises UnknownPeer if there is none."""
    if not peer.encryption:
        raise UnknownPeer(f"{peer.node} has no encryption certificate", node=peer.node)
    return peer.encryption[0]
