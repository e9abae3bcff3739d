"""Three who should not be heard: a foreign authority's certificate, a node that speaks for another, one that was removed."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp

from node.demo.client import until
from node.demo.stage import Stage
from node.federation import as4
from node.federation.agreements import terms
from node.federation.listener import TRUST_PATH
from node.federation.peers import AS4_PATH, Peers
from node.federation.tls import client_context
from node.federation.transport import Transport, Unreachable
from node.federation.trust import TrustReader, from_folder
from node.ids import NodeId, new_message_id
from pki.authority import StateAuthority
from pki.founding import Founding
from pki.node_keys import NodeKeys, load_node_keys, write_node_keys
from pki.trustlist import NodeEntry

TITLE = "An intruder"
SUMMARY = (
    "A self-made certificate, a node that claims to be another State, a peer removed while connected: all refused."
)
ESTONIA, FRANCE = NodeId("EE"), NodeId("FR")


@dataclass(frozen=True, slots=True)
class _Insider:
    """What France's node has: its keys and the trust list."""

    keys: NodeKeys
    peers: Peers


async def play(stage: Stage) -> None:
    """Each is refused, and seen in Estonia's log."""
    insider = await asyncio.to_thread(_france, stage)
    await _foreign_authority(stage, insider)
    await _in_another_name(stage, insider)
    await _removed_while_connected(stage, insider)


def _france(stage: Stage) -> _Insider:
    folder = stage.places[FRANCE].folder
    trust = TrustReader(folder / "trust", from_folder(folder / "trust" / "repository")).kept()
    assert trust
    return _Insider(load_node_keys(folder / "keys"), Peers(FRANCE, trust))


async def _foreign_authority(stage: Stage, insider: _Insider) -> None:
    scratch = stage.folder / f"scratch-{secrets.token_hex(4)}"
    keys = await asyncio.to_thread(_self_made, scratch)
    stage.transcript.tell("?", "connects to Estonia with a certificate for France of an authority it made itself")
    before = len(stage.log_lines("EE", "tls handshake refused"))
    transport = Transport(keys, insider.peers)
    answer = ""
    try:
        await transport.get(ESTONIA, TRUST_PATH + "metadata/timestamp.json", limit=100_000)
    except Unreachable as error:
        answer = str(error)
    finally:
        await transport.close()
        await asyncio.to_thread(shutil.rmtree, scratch)
    stage.transcript.check("the connection is refused", bool(answer))
    await until("the refusal in Estonia's log", partial(_more_lines, stage, "tls handshake refused", before))
    line = stage.log_lines("EE", "tls handshake refused")[-1]
    stage.transcript.check(
        f"Estonia's log says so: {line['reason']}", "issuer certificate" in line["reason"], found=line
    )


def _self_made(folder: Path) -> NodeKeys:
    authority = StateAuthority.create(folder / "ca", "FR")
    write_node_keys(folder / "keys", "FR", authority, ["127.0.0.1"])
    return load_node_keys(folder / "keys")


async def _in_another_name(stage: Stage, insider: _Insider) -> None:
    found = terms(insider.peers, insider.keys, ESTONIA)
    agreed = replace(found.agreement, our_party=as4.party_of("RO"))
    message = as4.UserMessage(
        message_id=new_message_id(NodeId("RO")), conversation_id="RO-2026-999999", sender=agreed.our_party,
        recipient=agreed.their_party, service=as4.SERVICE, action="events", timestamp=datetime.now(UTC),
        properties={"originalSender": "RO", "finalRecipient": ESTONIA},
        parts=(as4.Part(content=b"{}", mime_type="application/json"),),
    )  # fmt: skip
    certificate = found.encrypt_for
    built = as4.build(message, agreement=agreed, signer=insider.keys.signer, encrypt_for=certificate)
    stage.transcript.tell("FR", "with its own valid certificate, sends Estonia a message that says it is Romania's")
    before = len(stage.log_lines("EE", "message refused"))
    transport = Transport(insider.keys, insider.peers)
    try:
        _, answer = await transport.post(ESTONIA, AS4_PATH, built.body, built.content_type)
    finally:
        await transport.close()
    stage.transcript.check("the answer is a signed error, EBMS:0003", b"EBMS:0003" in answer)
    await until("the refusal in Estonia's log", partial(_more_lines, stage, "message refused", before))
    line = stage.log_lines("EE", "message refused")[-1]
    stage.transcript.check(f"Estonia's log says so: {line['reason']}", line["code"] == "peer.misaddressed", found=line)


async def _removed_while_connected(stage: Stage, insider: _Insider) -> None:
    founding = Founding(stage.folder)
    connector = aiohttp.TCPConnector(
        ssl=client_context(insider.keys, insider.peers, insider.peers.get(ESTONIA)), limit=1, keepalive_timeout=60
    )
    opened: list[int] = []
    async with aiohttp.ClientSession(connector=connector, trace_configs=[_counting(opened)]) as http:
        status = partial(_status, http, stage.places[ESTONIA].federation)
        stage.transcript.check("France, connected to Estonia, is served", await status() == 200)
        entry = await asyncio.to_thread(_take_off, founding)
        stage.transcript.tell("EU", "publishes a trust list without France; the connection stays open")
        try:
            refused = await until("the refusal", partial(_refused, status))
            stage.transcript.check(
                "the next request on the same connection is refused", refused and len(opened) == 1, found=opened
            )
        finally:
            await asyncio.to_thread(_put_back, founding, entry)
    line = next(line for line in reversed(stage.log_lines("EE", "request refused")))
    stage.transcript.check(f"Estonia's log says so: {line['reason']}", line["code"] == "peer.untrusted", found=line)
    await until("France back in Estonia's list", partial(_admitted_again, stage, insider))
    stage.transcript.tell("EU", "puts France back on the list")


def _take_off(founding: Founding) -> NodeEntry:
    """The State says nothing of its node any more; what it said is handed back."""
    office = founding.office("FR")
    entry = next(entry for entry in office.entries() if entry.node == FRANCE)
    office.withdraw(FRANCE)
    founding.publish("FR")
    return entry


def _put_back(founding: Founding, entry: NodeEntry) -> None:
    founding.office("FR").put(entry)
    founding.publish("FR")


async def _status(http: aiohttp.ClientSession, door: str) -> int:
    async with http.get(f"{door}{TRUST_PATH}metadata/timestamp.json") as answer:
        await answer.read()
        return answer.status


async def _refused(status: Callable[[], Awaitable[int]]) -> bool | None:
    return True if await status() == 403 else None


async def _admitted_again(stage: Stage, insider: _Insider) -> bool | None:
    transport = Transport(insider.keys, insider.peers)
    try:
        for node in stage.places:
            if node != FRANCE:
                await transport.get(node, TRUST_PATH + "metadata/timestamp.json", limit=100_000)
    except (Unreachable, aiohttp.ClientError):
        return None
    finally:
        await transport.close()
    return True


async def _more_lines(stage: Stage, event: str, before: int) -> bool | None:
    return True if len(stage.log_lines("EE", event)) > before else None


def _counting(opened: list[int]) -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def created(*_: object) -> None:
        opened.append(1)

    trace.on_connection_create_end.append(created)
    return trace
