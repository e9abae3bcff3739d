"""Who is reached how, and who may bring whose messages, as each of the nodes sees it."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.federation.peers import Peers, Unroutable
from node.federation.trust import TrustReader, from_folder
from node.ids import NodeId
from pki.founding import Founding, NodePlan

FR, FR_IDF, DE, DE_SN, DE_ST, MT = (NodeId(node) for node in ("FR", "FR-IDF", "DE", "DE-SN", "DE-ST", "MT"))
INSIDE = {DE_SN: "https://10.0.0.5:8443", DE_ST: "https://10.0.0.6:8443"}
DOORS = {FR: "https://fr.example:8443", DE: "https://de.example:8443"}


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    """France and Germany, each with nodes behind its own; Malta has none."""
    founding = Founding(tmp_path_factory.mktemp("relays"))
    plans = [NodePlan(node=node, federation=url) for node, url in DOORS.items()]
    plans += [NodePlan(node=node, relay=node[:2]) for node in (FR_IDF, DE_SN, DE_ST)]
    founding.found(plans, hosted=["MT"], host="FR")
    return founding


@pytest.fixture
def seen_by(founded, tmp_path):
    """The peers of a node, with what it has written down of addresses."""

    def peers(us, addresses=None):
        TrustReader.start_from(tmp_path, founded.publisher.root_bytes())
        trust = TrustReader(tmp_path, from_folder(founded.publisher.repository)).refresh()
        return Peers(us, trust, addresses=addresses)

    return peers


@pytest.mark.parametrize(
    ("us", "addresses", "to", "door", "url"),
    [
        (FR, {}, DE, DE, "https://de.example:8443/imi/v1/as4"),
        (FR, {}, DE_SN, DE, "https://de.example:8443/imi/v1/relay/DE-SN/as4"),
        (DE, INSIDE, DE_SN, DE_SN, "https://10.0.0.5:8443/imi/v1/as4"),
        (DE, INSIDE, FR_IDF, FR, "https://fr.example:8443/imi/v1/relay/FR-IDF/as4"),
        (DE_SN, {}, DE, DE, "https://de.example:8443/imi/v1/as4"),
        (DE_SN, {DE: "https://10.0.0.1:1"}, DE, DE, "https://10.0.0.1:1/imi/v1/as4"),
        (DE_SN, {DE: "https://10.0.0.1:1"}, FR, DE, "https://10.0.0.1:1/imi/v1/relay/FR/as4"),
        (DE_SN, {}, FR_IDF, DE, "https://de.example:8443/imi/v1/relay/FR-IDF/as4"),
        (DE_SN, {}, DE_ST, DE, "https://de.example:8443/imi/v1/relay/DE-ST/as4"),
        (DE_SN, {FR: "https://fr.example:8443"}, FR, FR, "https://fr.example:8443/imi/v1/as4"),
    ],
)
def test_the_way_of_a_message(seen_by, us, addresses, to, door, url):
    route = seen_by(us, addresses).route(to)
    assert (route.door.node, route.as4_url) == (door, url)
    assert route.is_direct == (door == to)


def test_no_way_leads_to_a_hosted_state_nor_to_a_node_whose_relay_has_no_address_for_it(seen_by):
    with pytest.raises(Unroutable, match="hosted"):
        seen_by(FR).route(MT)
    with pytest.raises(Unroutable, match=r"settings do not say where: \[relay\]"):
        seen_by(DE).route(DE_SN)


@pytest.mark.parametrize(
    ("us", "addresses", "knocks_at"),
    [(FR, {}, {DE}), (DE, INSIDE, {FR, DE_SN, DE_ST}), (DE, {}, {FR}), (DE_SN, {}, {DE})],
)
def test_at_which_doors_a_node_knocks(seen_by, us, addresses, knocks_at):
    """For the trust list, directory logs and greetings: behind a relay only the relay, and nobody past it."""
    peers = seen_by(us, addresses)
    assert {peer.node for peer in peers.reachable()} == knocks_at
    assert {peer.node for peer in peers.others()} == {FR, FR_IDF, DE, DE_SN, DE_ST} - {us}


def test_who_may_bring_whose_messages(seen_by):
    france, saxony = seen_by(FR), seen_by(DE_SN)
    assert france.carriers(france.get(DE)) == {DE}
    assert france.carriers(france.get(DE_SN)) == {DE_SN, DE}
    assert saxony.carriers(saxony.get(FR)) == {FR, DE}, "what comes in is brought by our own relay"
    assert saxony.carriers(saxony.get(FR_IDF)) == {FR_IDF, FR, DE}


def test_a_node_behind_a_relay_is_known_by_its_own_certificate(seen_by, founded):
    pem = (founded.keys(DE_SN) / "tls.crt").read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert seen_by(DE).identify(der).node == DE_SN


def test_a_party_is_the_node_of_this_name(seen_by):
    peers = seen_by(FR)
    assert peers.of_party("imi-node-de-sn").node == DE_SN
    assert peers.of_party("imi-node-mt") is None
    assert peers.of_party("somebody") is None
