"""How peers stand: the worst comes first, and a State's square shows its worst node."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from node.console.standing import ENDS_SOON, TILES, Seen, in_order, standing, tiles
from node.federation.operator import LaneLine
from node.federation.peers import Peer
from node.federation.transport import Contact
from node.ids import NodeId, State
from node.settings import shipped
from pki.authority import StateAuthority
from pki.keys import generate

NOW = datetime.now(UTC)
NOTHING = Seen(lanes={}, contacts={}, behind={}, frozen=frozenset())


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    state = StateAuthority.create(tmp_path_factory.mktemp("state"), "DE")
    certificate = state.issue("sign", "DE", generate("sign").public_key())

    def make(node: str, url: str | None = "https://127.0.0.1:1") -> Peer:
        return Peer(
            node=NodeId(node), state=State(node[:2]), name={}, url=url, state_ca=state.certificate, crl=None,
            signing=(certificate,), encryption=(), suites=(), features=(), logs={},
        )  # fmt: skip

    return make


def lane(node: str, **more) -> LaneLine:
    known = {"waiting": 0, "parked": 0, "oldest": None, "last_error": ""}
    return LaneLine(node=NodeId(node), **{**known, **more})


def test_a_peer_is_what_its_last_answer_was(peer):
    def seen(contact: Contact) -> str:
        return standing(peer("DE"), replace(NOTHING, contacts={NodeId("DE"): contact}), at=NOW).connection

    assert standing(peer("DE"), NOTHING, at=NOW).connection == "quiet"
    assert seen(Contact(answered_at=NOW)) == "well"
    assert seen(Contact(answered_at=NOW, failing_since=NOW, reason="refused")) == "down"
    assert standing(peer("DE", None), NOTHING, at=NOW).connection == "hosted"


def test_a_lane_that_had_to_try_again_is_slow(peer):
    lanes = {NodeId("DE"): lane("DE", waiting=2, last_error="unavailable.peer")}
    found = standing(peer("DE"), replace(NOTHING, lanes=lanes, contacts={NodeId("DE"): Contact(NOW)}), at=NOW)
    assert (found.connection, found.waiting) == ("slow", 2)


def test_what_needs_somebody_comes_first(peer):
    seen = replace(
        NOTHING,
        contacts={NodeId("FR"): Contact(NOW), NodeId("IT"): Contact(NOW, NOW, "timeout"), NodeId("RO"): Contact(NOW)},
        lanes={NodeId("RO"): lane("RO", parked=1)},
        frozen=frozenset({NodeId("PT")}),
    )
    found = in_order(standing(peer(n), seen, at=NOW) for n in ("FR", "AT", "IT", "RO", "PT"))
    assert [one.node for one in found] == ["IT", "PT", "RO", "AT", "FR"]
    assert [one.needs_attention for one in found] == [True, True, True, False, False]


def test_a_certificate_that_ends_soon_is_marked(peer):
    ends = standing(peer("DE"), NOTHING, at=NOW).certificate_ends
    assert ends is not None
    soon = ends - ENDS_SOON + timedelta(hours=1)
    assert [standing(peer("DE"), NOTHING, at=at).ends_soon for at in (NOW, soon)] == [False, True]


def test_the_picture_has_a_square_for_each_state_and_its_worst_node_decides(peer):
    contacts = {NodeId("DE"): Contact(NOW), NodeId("DE-BY"): Contact(NOW, NOW, "timeout")}
    found = [standing(peer(n), replace(NOTHING, contacts=contacts), at=NOW) for n in ("DE", "DE-BY", "FR")]
    by_state = {tile.state: tile for tile in tiles(NodeId("EE"), found)}
    assert by_state["DE"].connection == "down"
    assert by_state["DE"].nodes == ("DE", "DE-BY")
    assert by_state["EE"].connection == "us"
    assert by_state["FR"].connection == "quiet"
    assert by_state["PT"].connection == "absent"
    assert len({(tile.x, tile.y) for tile in by_state.values()}) == len(TILES)
    assert {path.stem for path in shipped("calendars").glob("*.toml")} <= TILES.keys()
