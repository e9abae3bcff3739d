"""A node behind a relay: sealed bytes pass, the receipt is the node's own, and the relay can change or forge nothing.

France, Germany and Saxony (DE-SN), which is reached through Germany alone; all over real TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import web
from cryptography import x509
from sqlalchemy import text
from structlog.testing import capture_logs

from node.federation import as4, rejections
from node.federation.agreements import terms
from node.federation.lanes import Lane
from node.federation.peers import RELAY_PATH, Peers
from node.federation.receiver import LIMITS
from node.federation.relay import PASSED, Relay
from node.federation.selftest import check_peer
from node.federation.tls import server_context
from node.federation.transport import Passage, PeerAnswered, Transport, Unreachable
from node.ids import NodeId, new_message_id
from pki.node_keys import load_node_keys
from pki.profiles import node_of

from .harness import MIB, SmallNode, prepare, reader, until
from .test_large import post as post_large

EE, FR, FR_IDF, DE, DE_SN = (NodeId(node) for node in ("EE", "FR", "FR-IDF", "DE", "DE-SN"))
AS4 = "application/soap+xml; charset=UTF-8"


@pytest.fixture
def folder(tmp_path):
    prepare(tmp_path, [FR, DE, DE_SN], relays={DE_SN: "DE"})
    return tmp_path


@contextlib.asynccontextmanager
async def running(folder, *nodes, sending=True):
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(SmallNode(folder, node).running(sending=sending)) for node in nodes]


async def has(node, *bodies):
    return await node.arrived() == list(bodies)


async def state(node, number=1):
    return await node.database.read(
        lambda s: s.execute(text("SELECT * FROM outbox ORDER BY id LIMIT 1 OFFSET :n"), {"n": number - 1}).one()
    )


async def received(node, count=1):
    return await node.states() == ["received"] * count


def who_signed(der: bytes) -> str:
    return node_of(x509.load_der_x509_certificate(der))


async def test_a_message_and_its_answer_pass_and_each_receipt_is_the_nodes_own(folder):
    async with running(folder, FR, DE, DE_SN) as (france, germany, saxony):
        await france.post(DE_SN, "question")
        await until(lambda: received(france))
        await saxony.post(FR, "answer")
        await until(lambda: received(saxony))
        assert await has(saxony, "question")
        assert await has(france, "answer")
        assert await has(germany)
        sent, there = (
            await state(france),
            await saxony.database.read(lambda s: s.execute(text("SELECT * FROM inbox")).one()),
        )
        assert who_signed(sent.receipt_certificate) == DE_SN
        assert sent.receipt == there.receipt
        assert sent.body == there.body
        assert there.sender == FR
        back = await france.database.read(lambda s: s.execute(text("SELECT * FROM inbox")).one())
        assert (back.sender, who_signed(back.signing_certificate)) == (DE_SN, DE_SN)
        assert who_signed((await state(saxony)).receipt_certificate) == FR


async def test_the_relay_keeps_nothing_and_its_log_has_sizes_and_ids(folder):
    canary = "canary-5b1f9c"
    with capture_logs() as logs:
        async with running(folder, FR, DE, DE_SN) as (france, _, saxony):
            await france.post(DE_SN, canary)
            await france.database.transact(post_large, france, 3, DE_SN)  # above what a row holds
            await until(lambda: len_of(saxony, 2))
            await until(lambda: received(france))
            sealed = (await state(france)).body
    passed = [line for line in logs if line["event"] == "message passed on"]
    assert {(line["source"], line["target"]) for line in passed} == {(FR, DE_SN)}
    assert set(passed[0]) == {
        "event", "log_level", "source", "target", "status", "size_bytes", "answer_bytes", "milliseconds"
    }  # fmt: skip
    assert len(sealed) in {line["size_bytes"] for line in passed}
    files = [path for path in (folder / "DE").rglob("*") if path.is_file()]
    assert (folder / "DE" / "node.db") in files
    for path in files:
        data = path.read_bytes()
        assert canary.encode() not in data, path
        assert sealed[len(sealed) // 2 :][:64] not in data, path
        assert b"EncryptedData" not in data, path
    assert not list((folder / "DE" / "messages").iterdir())


async def test_a_large_message_passes_whole(folder):
    async with running(folder, FR, DE, DE_SN) as (france, _, saxony):
        await france.database.transact(post_large, france, 5, DE_SN)
        await until(lambda: len_of(saxony, 1))
        sent = await state(france)
        there = await saxony.database.read(lambda s: s.execute(text("SELECT * FROM inbox")).one())
        with france.bodies.open(sent.body_file) as ours, saxony.bodies.open(there.body_file) as theirs:
            assert ours.read() == theirs.read()


async def len_of(node, count):
    return len(await node.arrived()) == count


async def test_between_two_nodes_that_stand_behind_relays(tmp_path):
    prepare(tmp_path, [FR, FR_IDF, DE, DE_SN], relays={DE_SN: "DE", FR_IDF: "FR"})
    async with running(tmp_path, FR, FR_IDF, DE, DE_SN) as (_, paris, _, saxony):
        await paris.post(DE_SN, "question")
        await saxony.post(FR_IDF, "other-way")
        await until(lambda: received(paris))
        await until(lambda: received(saxony))
        assert await has(saxony, "question")
        assert await has(paris, "other-way")


async def test_every_check_of_a_live_peer_passes_through_the_relay(folder):
    async with running(folder, FR, DE, DE_SN, sending=False) as (france, _, saxony):
        for ours, node in ((france, DE_SN), (saxony, FR)):
            results = [
                result async for result in check_peer(
                    node, peers=ours.peers, keys=ours.parts.keys, transport=ours.parts.transport
                )
            ]  # fmt: skip
            assert {result.verdict for result in results} == {"well"}, results
            assert len(results) == 8
            assert results[0].says.startswith("through DE: TLSv1.3")


# --- who may bring what


async def built(folder, sender, recipient):
    """A message, signed and sealed by its sender, and the terms both have."""
    peers, keys = Peers(sender, reader(folder, sender).kept()), load_node_keys(folder / sender / "keys")
    found = terms(peers, keys, recipient)
    message = as4.UserMessage(
        message_id=new_message_id(sender), conversation_id="c", sender=as4.party_of(sender),
        recipient=as4.party_of(recipient), service=as4.SERVICE, action="events", timestamp=datetime.now(UTC),
        properties={"originalSender": sender, "finalRecipient": recipient}, parts=(as4.Part(content=b"x", mime_type="text/plain"),),
    )  # fmt: skip
    return as4.build(message, agreement=found.agreement, signer=found.signer, encrypt_for=found.encrypt_for), found


def with_another_byte(kind, body):
    """The same message with one byte of its ciphertext changed."""
    (part,) = as4.unpack(kind, body, LIMITS).attachments.values()
    place = body.index(bytes(part.content)) + len(part.content) // 2
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


async def test_another_node_may_not_bring_the_messages_of_a_node_behind_a_relay(tmp_path):
    prepare(tmp_path, [EE, FR, DE, DE_SN], relays={DE_SN: "DE"})
    async with running(tmp_path, EE, FR, DE, sending=False) as (estonia, france, germany):
        message, found = await built(tmp_path, DE_SN, FR)
        for carrier in (estonia, germany):
            kind, answer = await carrier.parts.transport.post_message(FR, message.body, message.content_type)
            signal = as4.read_signal(kind, answer, found.agreement, at=datetime.now(UTC))
            assert isinstance(signal, as4.Receipt) == (carrier is germany)
        (refused,) = await france.database.read(rejections.newest)
        assert (refused.peer, refused.code) == (EE, "peer.misaddressed")
        assert (refused.expected, refused.received) == ("imi-node-ee", "imi-node-de-sn")
        assert await has(france, "x")


async def test_a_relay_may_not_bring_the_messages_of_a_node_that_it_does_not_stand_before(tmp_path):
    prepare(tmp_path, [EE, FR, DE, DE_SN], relays={DE_SN: "DE"})
    async with running(tmp_path, EE, FR, DE, sending=False) as (_, france, germany):
        message, _ = await built(tmp_path, EE, FR)
        await germany.parts.transport.post_message(FR, message.body, message.content_type)
        (refused,) = await france.database.read(rejections.newest)
        assert (refused.peer, refused.code) == (DE, "peer.misaddressed")
        assert await has(france)


async def test_what_is_wrong_with_a_message_counts_against_its_sender_not_its_relay(folder):
    async with running(folder, FR, DE, DE_SN, sending=False) as (france, _, saxony):
        message, found = await built(folder, DE_SN, FR)
        changed = with_another_byte(message.content_type, message.body)
        kind, answer = await saxony.parts.transport.post_message(FR, changed, message.content_type)
        signal = as4.read_signal(kind, answer, found.agreement, at=datetime.now(UTC))
        assert isinstance(signal, as4.ErrorSignal)
        assert signal.authenticated, "signed for the sender, under what is agreed with it"
        (refused,) = await france.database.read(rejections.newest)
        assert refused.peer == DE_SN


async def test_a_relay_passes_nothing_on_to_others(tmp_path):
    """Else anybody could use its address and its certificate."""
    prepare(tmp_path, [EE, FR, DE, DE_SN], relays={DE_SN: "DE"})
    async with running(tmp_path, EE, FR, DE, DE_SN, sending=False) as (_, france, _, _):
        for target in ("EE", "DE", "FR", "XX", "de-sn", "DE-HH"):
            with pytest.raises(PeerAnswered) as caught:
                await france.parts.transport.post(DE, f"{RELAY_PATH}{target}/as4", b"<x/>", AS4)
            assert caught.value.status == 403


async def test_only_messages_are_passed_on(folder):
    async with running(folder, FR, DE, DE_SN, sending=False) as (france, _, _):
        with pytest.raises(PeerAnswered) as caught:
            await france.parts.transport.post(DE, f"{RELAY_PATH}DE-SN/as4", b"{}", "application/json")
        assert caught.value.status == 415


async def test_a_stranger_does_not_reach_the_relay(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    prepare(elsewhere, [FR, DE], relays={})
    async with running(folder, DE, DE_SN, sending=False):
        ours = Peers(FR, reader(folder, FR).kept())
        transport = Transport(load_node_keys(elsewhere / "FR" / "keys"), ours)
        with pytest.raises(Unreachable):
            await transport.post_message(DE_SN, b"<x/>", AS4)
        await transport.close()


# --- a relay that cheats


class Cheat:
    """Germany's door with Germany's keys in other hands. `passes` is what it does with a message for Saxony."""

    def __init__(self, folder, passes):
        self.folder, self.passes = folder, passes

    async def __aenter__(self):
        keys = load_node_keys(self.folder / "DE" / "keys")
        addresses = {DE_SN: f"https://127.0.0.1:{(self.folder / 'DE-SN' / 'port').read_text()}"}
        self.peers = Peers(DE, reader(self.folder, DE).kept(), addresses=addresses)
        self.transport = Transport(keys, self.peers)
        self.keys = keys
        app = web.Application(client_max_size=10 * MIB)
        app.router.add_post(f"{RELAY_PATH}DE-SN/as4", self._relay)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        port = int((self.folder / "DE" / "port").read_text())
        await web.TCPSite(self.runner, "127.0.0.1", port, ssl_context=server_context(keys, self.peers)).start()
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()
        await self.transport.close()

    async def _relay(self, request):
        answer = await self.passes(self, request.headers["Content-Type"], await request.read())
        return web.Response(body=answer, headers={"Content-Type": AS4})

    async def to_saxony(self, kind, body):
        _, answer = await self.transport.post_message(DE_SN, body, kind)
        return answer

    def receipt(self, kind, body):
        """A receipt for a message, as good as Germany can make it."""
        header = as4.parse_soap(as4.unpack(kind, body, LIMITS), LIMITS)
        france = terms(self.peers, self.keys, FR).agreement
        verified = as4.verify(
            as4.unpack(kind, body, LIMITS), header, replace(france, our_party=as4.party_of(DE_SN)), at=datetime.now(UTC)
        )  # the signature can be verified by anybody
        found = as4.build_receipt(
            verified.references, ref_to_message_id=header.message_id, message_id=new_message_id(DE_SN),
            at=datetime.now(UTC), form=france.signature_form, signer=self.keys.signer,
        )  # fmt: skip
        return found.body

    def error(self, kind, body):
        """A signed error about a message that would park it for ever, if Saxony had signed it."""
        header = as4.parse_soap(as4.unpack(kind, body, LIMITS), LIMITS)
        form = terms(self.peers, self.keys, FR).agreement.signature_form
        return as4.build_error(
            as4.NotAgreed, ref_to_message_id=header.message_id, message_id=new_message_id(DE_SN),
            at=datetime.now(UTC), form=form, signer=self.keys.signer,
        ).body  # fmt: skip


async def changes_a_byte(cheat, kind, body):
    return await cheat.to_saxony(kind, with_another_byte(kind, body))


async def answers_itself(cheat, kind, body):
    return cheat.receipt(kind, body)


async def refuses_in_saxonys_name(cheat, kind, body):
    return cheat.error(kind, body)


async def posts_twice_and_gives_the_first_receipt(cheat, kind, body):
    first, second = await cheat.to_saxony(kind, body), await cheat.to_saxony(kind, body)
    assert first == second, "a repeat is answered with the stored receipt"
    return first


@pytest.mark.parametrize(
    ("passes", "why"),
    [
        (answers_itself, "a receipt that cannot be believed"),
        (refuses_in_saxonys_name, "unsigned error, not believed"),
    ],
)
async def test_what_the_relay_signs_itself_is_not_believed(folder, passes, why):
    async with running(folder, FR, DE_SN, sending=False) as (france, saxony), Cheat(folder, passes):
        await france.post(DE_SN, "question")
        await Lane(DE_SN, france.parts).flush_once()
        row = await state(france)
        assert row.state == "waiting"
        assert why in row.last_error
        assert row.receipt is None
        assert await has(saxony)


async def test_bytes_changed_on_the_way_are_refused_by_the_node_itself(folder):
    async with running(folder, FR, DE_SN, sending=False) as (france, saxony), Cheat(folder, changes_a_byte):
        await france.post(DE_SN, "question")
        await Lane(DE_SN, france.parts).flush_once()
        row = await state(france)
        assert row.receipt is None
        assert row.state != "received"
        (refused,) = await saxony.database.read(rejections.newest)
        assert (refused.peer, refused.code) == (FR, "peer.failed-decryption")
        assert await has(saxony)


async def test_a_message_played_again_is_delivered_once(folder):
    async with (
        running(folder, FR, DE_SN, sending=False) as (france, saxony),
        Cheat(folder, posts_twice_and_gives_the_first_receipt),
    ):
        await france.post(DE_SN, "question")
        await Lane(DE_SN, france.parts).flush_once()
        assert (await state(france)).state == "received"
        assert await has(saxony, "question")


# --- when somebody is away


async def test_a_node_that_is_away_is_waited_for_and_the_sender_is_told_when_it_is_back(folder):
    """Without a word of where it lives; and without waiting for the end of a long back-off."""
    async with running(folder, FR, DE) as (france, germany):
        await france.post(DE_SN, "question")
        lane = await failing_lane(france, DE_SN)
        assert "the relay DE of DE-SN answers 503 to a POST: DE-SN does not answer" in lane.reason
        assert (folder / "DE-SN" / "port").read_text() not in lane.reason
        lane.failures = 12  # it would wait a quarter of an hour now
        await asyncio.sleep(1.2)  # a back-off that began before is over
        async with running(folder, DE_SN) as (saxony,):
            with contextlib.suppress(PeerAnswered):
                await saxony.parts.transport.get(DE, "/imi/v1/trust/metadata/none.json", limit=1000)
            await until(lambda: has(saxony, "question"), seconds=60)
        assert germany.sender.states() == {}


async def failing_lane(node, to):
    await until(lambda: node.sender.states().get(to, (0, ""))[0] >= 1)
    return node.sender._lanes[to]


async def test_a_node_behind_a_relay_is_told_when_a_node_outside_is_back(folder):
    async with running(folder, DE, DE_SN) as (_, saxony):
        await saxony.post(FR, "answer")
        lane = await failing_lane(saxony, FR)
        lane.failures = 12
        await asyncio.sleep(1.2)
        async with running(folder, FR) as (france,):
            with contextlib.suppress(PeerAnswered):
                await france.parts.transport.get(DE, "/imi/v1/trust/metadata/none.json", limit=1000)
            await until(lambda: has(france, "answer"), seconds=60)


async def test_a_relay_that_was_away_is_a_sign_for_the_nodes_behind_it(folder):
    async with running(folder, FR, DE_SN) as (france, saxony):
        await france.post(DE_SN, "question")
        lane = await failing_lane(france, DE_SN)
        assert "the relay DE of DE-SN does not answer" in lane.reason
        lane.failures = 12
        await asyncio.sleep(1.2)
        async with running(folder, DE) as (germany,):
            with contextlib.suppress(PeerAnswered):
                await germany.parts.transport.get(FR, "/imi/v1/trust/metadata/none.json", limit=1000)
            await until(lambda: has(saxony, "question"), seconds=60)


async def test_a_relay_that_speaks_says_nothing_of_a_node_that_does_not_answer_it(folder):
    async with running(folder, FR, DE) as (france, germany):
        await france.post(DE_SN, "question")
        lane = await failing_lane(france, DE_SN)
        assert lane.silent == DE_SN
        with contextlib.suppress(PeerAnswered):
            await germany.parts.transport.get(FR, "/imi/v1/trust/metadata/none.json", limit=1000)
        assert not lane._sign_of_life.is_set()


async def test_only_the_relay_says_that_a_node_is_back(tmp_path):
    prepare(tmp_path, [EE, FR, DE, DE_SN], relays={DE_SN: "DE"})
    async with running(tmp_path, EE, FR, sending=False) as (estonia, _):
        for node, status in (("DE-SN", 403), ("XX", 404)):
            with pytest.raises(PeerAnswered) as caught:
                await estonia.parts.transport.post(FR, f"{RELAY_PATH}{node}/answers-again", b"", "text/plain")
            assert caught.value.status == status


async def test_nothing_but_messages_goes_through_a_relay(folder):
    """Its logs and its copy of the trust list are read from the relay, which has them."""
    async with running(folder, FR, DE, DE_SN, sending=False) as (france, _, saxony):
        for ours, node in ((france, DE_SN), (saxony, FR)):
            with pytest.raises(Exception, match="passes on messages only"):
                await ours.parts.transport.get(node, "/imi/v1/trust/metadata/timestamp.json", limit=1000)
        got = await saxony.parts.transport.get(DE, "/imi/v1/trust/metadata/timestamp.json", limit=100_000)
        assert json.loads(got)["signed"]["_type"] == "timestamp"


# --- limits


async def test_passages_take_their_turn_and_the_last_is_turned_away(folder):
    """A body that never ends takes its sender's only place; it takes nobody else's."""
    async with running(folder, DE, DE_SN, sending=False) as (germany, saxony):
        relay = Relay(germany.peers, germany.parts.transport, at_once=2, at_once_of_one=1, turn_seconds=0.2)
        begun = asyncio.Event()

        async def never():
            begun.set()
            yield b"x"
            await asyncio.Event().wait()

        async def once():
            yield b"<x/>"

        async def post(source, chunks):
            body = Passage(chunks=chunks, size_bytes=None, limit=LIMITS.entity)
            return await relay.pass_on(germany.peers.get(source), DE_SN, AS4, body)

        slow = asyncio.create_task(post(FR, never()))
        await begun.wait()
        answer = await post(FR, once())
        assert (answer.status, answer.body) == (503, b"DE passes on as many messages as it can already")
        message, _ = await built(folder, FR, DE_SN)
        other = Passage(chunks=aiter_of(message.body), size_bytes=len(message.body), limit=LIMITS.entity)
        before = PASSED.labels(DE, DE_SN, "passed")._value.get()
        assert (await relay.pass_on(germany.peers.get(DE), DE_SN, message.content_type, other)).status == 200
        assert PASSED.labels(DE, DE_SN, "passed")._value.get() == before + 1
        slow.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await slow
        await relay.close()
        assert saxony.peers.freshness == "fresh"


async def aiter_of(*chunks):
    for chunk in chunks:
        yield chunk


async def test_a_body_that_is_too_long_is_refused_before_it_is_read_or_when_it_shows(folder):
    async with running(folder, FR, DE, DE_SN, sending=False) as (france, germany, saxony):
        kept = france.parts.transport._connections(france.peers.route(DE_SN))
        headers = {"Content-Type": "multipart/related", "Content-Length": str(LIMITS.entity + 1)}

        async def never():
            yield b"x"
            await asyncio.Event().wait()

        async with asyncio.timeout(20):
            async with kept.session.post(f"{kept.url}{RELAY_PATH}DE-SN/as4", data=never(), headers=headers) as answer:
                assert answer.status == 413
        body = Passage(chunks=aiter_of(b"x" * 1000, b"x"), size_bytes=None, limit=1000)
        assert (await germany.relay.pass_on(germany.peers.get(FR), DE_SN, AS4, body)).status == 413
        assert await saxony.database.read(rejections.newest) == [], "a part is never taken for the whole"


async def test_a_message_that_breaks_off_does_not_reach_the_node(folder):
    async with running(folder, FR, DE, DE_SN, sending=False) as (france, _, saxony):
        message, _ = await built(folder, FR, DE_SN)

        async def breaks_off():
            yield message.body[: len(message.body) // 2]
            raise ConnectionError("gone")

        body = Passage(chunks=breaks_off(), size_bytes=len(message.body), limit=LIMITS.entity)
        with pytest.raises(Unreachable):
            await france.parts.transport.pass_on(DE_SN, body, message.content_type)
        answer = await france.parts.transport.pass_on(
            DE_SN, Passage(chunks=aiter_of(message.body), size_bytes=len(message.body), limit=LIMITS.entity),
            message.content_type,
        )  # fmt: skip
        assert answer.status == 200
        assert await has(saxony, "x")
