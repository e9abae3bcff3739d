"""A live peer is tested with the test service: what is right is said, what is not is a fault with advice."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import web
from sqlalchemy import text

from node.federation import as4, listener, outside
from node.federation.agreements import terms
from node.federation.peers import Peers
from node.federation.selftest import Result, check_peer
from node.federation.tls import server_context
from node.ids import NodeId
from pki.authority import StateAuthority
from pki.node_keys import load_node_keys
from tests.delivery.harness import SmallNode, prepare, trust_list
from tests.delivery.partners import Side, introduce, two_sides

CHECKS = [
    "connect",
    "ping",
    "one payload",
    "several payloads",
    "uncompressed payload",
    "duplicate",
    "tampered",
    "unsigned",
]


@pytest.fixture
def sides(tmp_path):
    return two_sides(tmp_path)


async def test_a_node_of_the_federation_passes_every_check_and_nothing_is_delivered(tmp_path):
    prepare(tmp_path, ["EE", "FR"])
    async with (
        SmallNode(tmp_path, NodeId("EE")).running() as estonia,
        SmallNode(tmp_path, NodeId("FR")).running() as france,
    ):
        results = await _results(estonia, "FR")
        assert [result.check for result in results] == CHECKS
        assert {result.verdict for result in results} == {"well"}, results
        says = {result.check: result.says for result in results}
        assert "TLSv1.3" in says["connect"]
        assert "EBMS:0102" in says["tampered"]
        assert "EBMS:0103" in says["unsigned"]
        assert await _kept(france) == 0


async def test_an_access_point_outside_passes_every_check(sides):
    estonia, partner = sides
    introduce(estonia, partner)
    introduce(partner, estonia)
    async with estonia.small().running() as ours, partner.small().running() as theirs:
        results = await _results(ours, "partner")
        assert {result.check: result.verdict for result in results} == dict.fromkeys(CHECKS, "well"), results
        assert await _kept(theirs) == 0


async def test_a_peer_without_our_agreement_does_not_admit_us(sides):
    estonia, partner = sides
    introduce(estonia, partner)
    async with estonia.small().running() as ours, partner.small().running():
        (connect,) = await _results(ours, "partner")
        assert connect.verdict == "FAULT"
        assert "keys/tls.crt" in connect.advice


async def test_a_peer_that_takes_one_payload_only_fails_one_check(sides):
    estonia, partner = sides
    introduce(estonia, partner)
    introduce(partner, estonia, more="limits.parts = 1")
    async with estonia.small().running() as ours, partner.small().running():
        faults = [result for result in await _results(ours, "partner") if result.verdict == "FAULT"]
        assert [fault.check for fault in faults] == ["several payloads"]
        assert "EBMS:0003" in faults[0].says


async def test_a_peer_with_other_party_ids_answers_the_ping_with_the_field_that_differs(sides):
    estonia, partner = sides
    introduce(estonia, partner)
    introduce(partner, estonia, more='our_party = "somebody"')
    async with estonia.small().running() as ours, partner.small().running():
        connect, ping = await _results(ours, "partner")
        assert (connect.verdict, ping.verdict) == ("well", "FAULT")
        assert "To/PartyId" in ping.says
        assert ping.advice


async def test_a_peer_that_is_not_there_says_where_we_looked(sides):
    estonia, partner = sides
    introduce(estonia, partner)
    async with estonia.small().running() as ours:
        (connect,) = await _results(ours, "partner")
        assert f"127.0.0.1:{(partner.home / 'port').read_text()}" in connect.says
        assert "firewall" in connect.advice


@pytest.mark.parametrize("anchor", ["another's", "its authority's"])
async def test_another_certificate_at_the_door_is_told(sides, anchor):
    estonia, partner = sides
    introduce(estonia, partner)
    async with estonia.small().running() as ours, partner.small().running():
        (peer,) = ours.peers.outside()
        state = (estonia if anchor == "another's" else partner).folder / "states"
        other = StateAuthority.open(next(state.iterdir())).certificate
        ours.peers.replace_outside([replace(peer, tls=(other,))])
        (connect,) = await _results(ours, "partner")
        assert "not the one we know" in connect.says


async def test_a_peer_that_believes_everything_is_a_fault_and_other_right_answers_are_named(sides):
    estonia, partner = sides
    introduce(estonia, partner)
    introduce(partner, estonia)
    async with estonia.small().running() as ours, _credulous(partner):
        results = {result.check: result for result in await _results(ours, "partner")}
        assert results["tampered"].verdict == "FAULT"
        assert "do not exchange messages" in results["tampered"].advice
        assert (results["duplicate"].verdict, results["duplicate"].says[:9]) == ("well", "EBMS:4001")
        assert results["unsigned"].verdict == "told differently"  # a plain HTTP 400


@contextlib.asynccontextmanager
async def _credulous(side: Side):
    """An access point that gives receipts for parts it never decrypts, and answers repeats as phase4 does."""
    keys, kept = load_node_keys(side.home / "keys"), trust_list(side.folder, side.node)
    peers = Peers(side.node, kept, outside=outside.read_all(side.home / "peers", side.node))
    found, seen = terms(peers, keys, NodeId("estonia")), set()
    agreed = found.agreement

    async def receive(request: web.Request) -> web.Response:
        at = datetime.now(UTC)
        package = as4.unpack(request.headers["Content-Type"], await request.read(), agreed.limits)
        header = as4.parse_soap(package, agreed.limits)
        try:
            verified = as4.verify(package, header, agreed, at=at)
        except as4.As4Error:
            return web.Response(status=400, text="no")
        signed = {"message_id": "s@partner", "at": at, "form": agreed.signature_form, "signer": found.signer}
        if header.message_id in seen:
            built = as4.build_error(Repeated, ref_to_message_id=header.message_id, **signed)
        else:
            built = as4.build_receipt(verified.references, ref_to_message_id=header.message_id, **signed)
        seen.add(header.message_id)
        return web.Response(body=built.body, headers={"Content-Type": built.content_type})

    app = web.Application()
    app.router.add_post("/imi/v1/as4", receive)
    port = int((side.home / "port").read_text())
    runner = await listener.start(app, server_context(keys, peers), host="127.0.0.1", port=port)
    try:
        yield
    finally:
        await runner.cleanup()


class Repeated(as4.As4Error):
    """What phase4 answers a repeat with."""

    ebms = as4.EBMS_CODES["EBMS:4001"]
    description = "Another message with the same ID was already received."


async def test_the_command_prints_each_check_and_ends_with_1_after_a_fault(sides, capsys):
    estonia, partner = sides
    introduce(estonia, partner)
    async with estonia.small().running(), partner.small().running() as theirs:
        assert await asyncio.to_thread(estonia.command, "peers", "test", "partner") == 1
        assert "FAULT" in capsys.readouterr().out
        introduce(partner, estonia)
        _take_up(theirs, partner)
        assert await asyncio.to_thread(estonia.command, "peers", "test", "partner") == 0
        told = capsys.readouterr().out
        for check in CHECKS:
            assert check in told


def _take_up(node: SmallNode, side: Side) -> None:
    """As a running node does within its trust interval."""
    node.peers.replace_outside(outside.read_all(side.home / "peers", side.node))


async def _results(node: SmallNode, peer: str) -> list[Result]:
    parts = node.parts
    checks = check_peer(NodeId(peer), peers=parts.peers, keys=parts.keys, transport=parts.transport)
    return [result async for result in checks]


async def _kept(node: SmallNode) -> int:
    return await node.database.read(lambda session: session.execute(text("SELECT count(*) FROM inbox")).scalar() or 0)
