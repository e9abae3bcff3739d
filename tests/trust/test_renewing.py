"""Who is given old trust lists learns it from a peer, and reads the peer's mirror; what a peer only claims moves nothing."""

from __future__ import annotations

import shutil

from structlog.testing import capture_logs

from node.federation.renewing import Renewing, is_newer
from node.federation.trust import from_folder
from node.ids import NodeId

FR = NodeId("FR")
ALARM = "trust list older than a peer's"


def renewing(federation, tmp_path):
    """A node whose usual source stays as it is now, while the peers go on."""
    shutil.copytree(federation.repository, tmp_path / "old")
    peers = federation.peers("EE")
    federation.wire.source = tmp_path / "old"
    asked = []

    def mirror(source):
        asked.append(source)
        return from_folder(federation.repository)

    return Renewing(federation.reader, peers, mirror), peers, asked


async def test_who_is_given_old_lists_reads_the_mirror_of_a_peer(federation, tmp_path):
    renew, peers, asked = renewing(federation, tmp_path)
    federation.founding.remove("DE-BY")
    theirs = {"timestamp": renew.versions()["timestamp"] + 1}
    with capture_logs() as logs:
        await renew.renew(FR, theirs)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [ALARM]
    assert asked == [FR]
    assert NodeId("DE-BY") not in peers.trust.nodes
    assert not is_newer(theirs, renew.versions())


async def test_who_only_reads_a_little_later_alarms_nobody(federation, tmp_path):
    renew, _, asked = renewing(federation, tmp_path)
    federation.founding.remove("DE-BY")
    federation.wire.source = federation.repository
    with capture_logs() as logs:
        await renew.renew(FR, {"timestamp": renew.versions()["timestamp"] + 1})
    assert ALARM not in {line["event"] for line in logs}
    assert asked == []


async def test_a_peer_that_claims_what_it_cannot_show_is_asked_once(federation, tmp_path):
    renew, peers, asked = renewing(federation, tmp_path)
    before = peers.trust.versions
    for _ in range(3):
        await renew.renew(FR, {"timestamp": 10**9})
    assert asked == [FR]
    assert peers.trust.versions == before
