"""Who is given old trust lists learns it from a peer, and reads the peer's mirror; what a peer only claims moves nothing."""

from __future__ import annotations

import asyncio
import shutil
import threading

import pytest
from structlog.testing import capture_logs

from node.errors import Unavailable
from node.federation.renewing import UNFOUNDED_SECONDS, Renewing, is_newer
from node.federation.trust import TIMESTAMP, TrustListUnavailable, from_folder
from node.ids import NodeId

FR = NodeId("FR")
ALARM = "trust list older than a peer's"


def renewing(federation, tmp_path, **more):
    """A node whose usual source stays as it is now, while the peers go on."""
    shutil.copytree(federation.repository, tmp_path / "old")
    peers = federation.peers("EE")
    federation.wire.source = tmp_path / "old"
    asked = []

    def mirror(source):
        asked.append(source)
        return from_folder(federation.repository)

    return Renewing(federation.reader, peers, mirror, **more), peers, asked


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


async def test_a_peer_that_claims_what_it_cannot_show_is_not_believed_for_a_while(federation, tmp_path):
    """Whatever it claims next: ever greater numbers would keep us, and the publisher, reading for nothing."""
    now = [0.0]
    renew, peers, asked = renewing(federation, tmp_path, now=lambda: now[0])
    before = peers.trust.versions
    read = len(federation.wire.asked)
    with capture_logs() as logs:
        for n in range(20):
            await renew.renew(FR, {"timestamp": 10**9 + n, **{"x" * 9999 + str(role): 1 for role in range(9)}})
    assert asked == [FR]
    assert len(federation.wire.asked) - read < 10
    assert sum(len(str(line)) for line in logs) < 2000
    now[0] = UNFOUNDED_SECONDS
    await renew.renew(FR, {"timestamp": 10**9})
    assert asked == [FR, FR]
    assert peers.trust.versions == before


async def test_what_many_peers_say_at_once_is_read_once(federation, tmp_path):
    renew, _, _ = renewing(federation, tmp_path)
    federation.founding.remove("DE-BY")
    federation.wire.source = federation.repository
    theirs = {"timestamp": renew.versions()["timestamp"] + 1}
    read = federation.wire.asked.count(TIMESTAMP)
    await asyncio.gather(*(renew.renew(NodeId(node), theirs) for node in ("FR", "DE", "EE")))
    assert not is_newer(theirs, renew.versions())
    assert federation.wire.asked.count(TIMESTAMP) == read + 1


async def test_every_reading_is_from_one_source_and_the_next_one_is_read_where_it_fails(federation, tmp_path):
    """A file from here and a file from there are no list: mirrors are not all equally far."""
    asked = []

    def fetch_from(source):
        def fetch(path):
            asked.append(source)
            if source == "FR" and asked.count("FR") > 3:
                raise Unavailable("FR does not answer any more")
            return from_folder(federation.repository)(path)

        return fetch

    peers = federation.peers("EE")
    federation.founding.remove("DE-BY")
    renew = Renewing(federation.reader, peers, fetch_from, sources=lambda: [FR, NodeId("DE")])
    await renew.refresh()
    assert "DE-BY" not in peers.trust.nodes
    assert list(dict.fromkeys(asked)) == ["FR", "DE"]
    assert asked == sorted(asked, key=["FR", "DE"].index)


async def test_a_reading_that_was_cancelled_and_goes_on_is_not_overlapped_by_the_next(federation):
    """A thread cannot be cancelled; two readings would write the same files."""
    goes_on, begun = threading.Event(), threading.Event()

    def slow(_source):
        def fetch(path):
            begun.set()
            goes_on.wait(10)
            return from_folder(federation.repository)(path)

        return fetch

    peers = federation.peers("EE")
    renew = Renewing(federation.reader, peers, slow)
    first = asyncio.create_task(renew.refresh(FR))
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(TrustListUnavailable, match="being read"):
        await renew.refresh()
    goes_on.set()
    async with asyncio.timeout(10):
        while True:  # until the thread has come to its end
            try:
                await renew.refresh()
            except TrustListUnavailable:
                await asyncio.sleep(0.02)
            else:
                break
