"""What is agreed with a peer, and the keys that go with it: the P-Mode of every message between the two.

Between nodes all of it follows from the trust list; with other access points it was written down (see `outside`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509

from node.federation import as4
from node.federation.peers import Peer, Peers, UnknownPeer
from node.ids import NodeId
from pki.node_keys import NodeKeys
from pki.signer import MessageSigner

SERVICE: Final = as4.Service(name=as4.SERVICE, actions=frozenset({"events", "query", "statistics"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """An agreement with the keys of both sides: what is needed to build and to read messages under it."""

    agreement: as4.Agreement
    signer: MessageSigner
    encrypt_for: x509.Certificate


def terms(peers: Peers, keys: NodeKeys, node: NodeId) -> Terms:
    """What is agreed with a peer.

    Raises:
        UnknownPeer: it is not a peer, or both sides have no suite in common.
    """
    remembered = peers.derived
    found = remembered.get((node, id(keys)))
    if not isinstance(found, Terms):
        found = remembered[node, id(keys)] = _terms(peers, keys, peers.get(node))
    return found


def has_keys(keys: NodeKeys, suite: as4.Suite) -> bool:
    """Whether a node can sign and decrypt under a suite."""
    decrypts = (each.certificate is not None and suite.can_decrypt(each.certificate) for each in keys.decrypters)
    return _signer(keys, suite) is not None and any(decrypts)


def _terms(peers: Peers, keys: NodeKeys, peer: Peer) -> Terms:
    if peer.terms is not None:
        return _written(peer, peer.terms, keys)
    return _listed(peers.us, peers.trust.nodes.get(peers.us), peer, keys)


def _listed(us: NodeId, own: Peer | None, peer: Peer, keys: NodeKeys) -> Terms:
    """The first suite that both entries name, in the order of `SUITES`: each side comes to the same one."""
    ours = as4.SUITES if own is None else own.suites
    for name, suite in as4.SUITES.items():
        if name not in ours or name not in peer.suites:
            continue
        signer, certificate = _signer(keys, suite), _encryption(peer, suite)
        signing = tuple(each for each in peer.signing if suite.can_sign(each))
        if signer is not None and certificate is not None and signing:
            agreed = as4.Agreement(
                our_party=as4.party_of(us),
                their_party=as4.party_of(peer.node),
                suite=suite,
                services=(SERVICE,),
                their_signing=signing,
            )
            return Terms(agreement=agreed, signer=signer, encrypt_for=certificate)
    raise UnknownPeer(f"{peer.node} and this node have no message suite with keys in common", node=peer.node)


def _written(peer: Peer, agreed: as4.Agreement, keys: NodeKeys) -> Terms:
    suite = agreed.suite
    signer, certificate = _signer(keys, suite), _encryption(peer, suite)
    if signer is None:
        raise UnknownPeer(f"this node has no keys for {suite.name}, which is agreed with {peer.node}", node=peer.node)
    if certificate is None:
        raise UnknownPeer(f"{peer.node} has no encryption certificate for {suite.name}", node=peer.node)
    return Terms(agreement=agreed, signer=signer, encrypt_for=certificate)


def _signer(keys: NodeKeys, suite: as4.Suite) -> MessageSigner | None:
    return next((each for each in keys.signers if each.certificate and suite.can_sign(each.certificate)), None)


def _encryption(peer: Peer, suite: as4.Suite) -> x509.Certificate | None:
    """The certificate to encrypt for: the newest of the suite."""
    return next((each for each in peer.encryption if suite.can_decrypt(each)), None)
