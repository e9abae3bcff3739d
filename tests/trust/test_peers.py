"""Who is a peer, now."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.federation.peers import Peers, TrustListTooOld, UnknownPeer, UntrustedPeer
from node.ids import NodeId
from pki.authority import StateAuthority
from pki.keys import generate
from pki.node_keys import fingerprint


def certificate(federation, node, name="tls"):
    return x509.load_pem_x509_certificate((federation.founding.keys(node) / f"{name}.crt").read_bytes())


def der(federation, node, name="tls"):
    return certificate(federation, node, name).public_bytes(Encoding.DER)


def test_a_listed_nodes_certificate_tells_who_it_is(federation):
    peers = federation.peers()
    for node in ("EE", "DE", "DE-BY", "EU"):
        assert peers.identify(der(federation, node)) is peers.get(NodeId(node))


def test_a_second_look_verifies_nothing(federation):
    looks: list[int] = []
    peers = Peers(NodeId("FR"), federation.reader.refresh(), now=lambda: (looks.append(1), federation.now())[1])
    data = der(federation, "EE")
    first = peers.identify(data)
    assert peers.identify(data) is first
    assert len(peers._verdicts) == 1
    assert len(looks) == 2  # the clock is asked each time: a known certificate can have ended


@pytest.mark.parametrize("name", ["sign", "encrypt"])
def test_a_certificate_for_messages_opens_no_connection(federation, name):
    with pytest.raises(UntrustedPeer, match="not issued for this purpose"):
        federation.peers().identify(der(federation, "EE", name))


def test_another_state_cannot_certify_a_node(federation, tmp_path):
    false = StateAuthority.create(tmp_path / "false", "EE")  # its own authority, with Estonia's name on it
    forged = false.issue("tls", "EE", generate("tls").public_key()).public_bytes(Encoding.DER)
    with pytest.raises(UntrustedPeer) as caught:
        federation.peers().identify(forged)
    assert caught.value.code == "peer.untrusted"
    assert caught.value.details == {"node": "EE"}


def test_a_node_that_is_not_listed_is_refused_though_its_state_is(federation):
    authority = federation.founding.office("DE").authority
    forged = authority.issue("tls", "DE-HH", generate("tls").public_key()).public_bytes(Encoding.DER)
    with pytest.raises(UntrustedPeer, match="no node DE-HH"):
        federation.peers().identify(forged)


def test_a_hosted_state_has_no_connections(federation):
    authority = federation.founding.office("MT").authority
    forged = authority.issue("tls", "MT", generate("tls").public_key()).public_bytes(Encoding.DER)
    with pytest.raises(UntrustedPeer):
        federation.peers().identify(forged)


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x01", b"x" * 5000])
def test_bytes_that_are_no_certificate(federation, data):
    with pytest.raises(UntrustedPeer):
        federation.peers().identify(data)


def test_a_peer_that_left_the_list_is_refused_at_once(federation):
    peers, data = federation.peers(), der(federation, "DE-BY")
    peers.identify(data)
    federation.founding.office("DE").authority.revoke()
    federation.founding.office("DE")._place("DE-BY").unlink()  # off the list, without any revocation
    federation.founding.publish("DE")
    peers.replace(federation.reader.refresh())
    with pytest.raises(UntrustedPeer):
        peers.identify(data)
    with pytest.raises(UnknownPeer):
        peers.get(NodeId("DE-BY"))
    assert peers.identify(der(federation, "DE")).node == "DE"


def test_a_revoked_certificate_is_refused_at_once(federation):
    peers, data = federation.peers(), der(federation, "EE")
    peers.identify(data)
    federation.founding.office("EE").authority.revoke(certificate(federation, "EE").serial_number)
    federation.founding.publish("EE")
    peers.replace(federation.reader.refresh())
    with pytest.raises(UntrustedPeer, match="revoked"):
        peers.identify(data)


def test_a_certificate_ends_though_it_was_known(federation):
    peers, data = federation.peers(), der(federation, "EE")
    peers.identify(data)
    federation.offset = timedelta(days=398)
    with pytest.raises(UntrustedPeer, match="expired"):
        peers.identify(data)


def test_a_replaced_list_wins_over_a_verification_under_way(federation):
    """Whatever a slow verification found, what counts is the list in force when it ends."""
    peers, data = federation.peers(), der(federation, "DE-BY")
    full = peers.trust
    without = replace(full, nodes={node: peer for node, peer in full.nodes.items() if node != "DE-BY"})
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                peers.identify(data)
            except UntrustedPeer:
                continue

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            peers.replace(full)
            peers.replace(without)
            with pytest.raises(UntrustedPeer):
                peers.identify(data)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_listeners_hear_of_changes_only(federation):
    peers = federation.peers()
    heard: list[int] = []
    peers.on_change(lambda: heard.append(peers.trust.versions["timestamp"]))
    peers.replace(federation.reader.refresh())
    assert heard == []
    federation.founding.remove("DE-BY")
    peers.replace(federation.reader.refresh())
    assert heard == [peers.trust.versions["timestamp"]]


def test_who_can_be_reached(federation):
    assert {peer.node for peer in federation.peers("FR").reachable()} == {"EE", "DE", "DE-BY", "EU"}
    assert {peer.node for peer in federation.peers("FR").all()} == {"EE", "DE", "DE-BY", "EU", "FR", "MT"}


def test_signing_certificates_are_found_by_their_digest_retired_ones_too(federation):
    peers = federation.peers()
    old = certificate(federation, "EE", "sign")
    assert peers.certificate_by_fingerprint(fingerprint(old)) == ("EE", old)
    office = federation.founding.office("EE")
    (entry,) = office.entries()
    office.put(entry.model_copy(update={"signing": (), "retired": entry.signing}))
    federation.founding.publish("EE")
    peers.replace(federation.reader.refresh())
    assert peers.get(NodeId("EE")).signing == ()
    assert peers.certificate_by_fingerprint(fingerprint(old)) == ("EE", old)
    with pytest.raises(UnknownPeer):
        peers.certificate_by_fingerprint("00" * 32)


def test_nothing_is_sent_once_the_list_is_two_weeks_past_its_end_but_known_peers_are_heard(federation):
    peers: Peers = federation.peers()
    for days, freshness in ((0, "fresh"), (3, "stale"), (15, "stale")):
        federation.offset = timedelta(days=days)
        assert peers.freshness == freshness
        peers.check_may_send()
    federation.offset = timedelta(days=17)
    assert peers.freshness == "stopped"
    with pytest.raises(TrustListTooOld) as caught:
        peers.check_may_send()
    assert caught.value.code == "unavailable.trust-list-too-old"
    assert peers.identify(der(federation, "EE")).node == "EE"
