"""What `imi-node check` looks at, each finding with what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509

from node.app import load_keys, read_outside
from node.catalogue import Catalogue
from node.clock import SystemClock
from node.errors import ImiError
from node.federation.peers import Peers
from node.federation.sender import SenderParts, ping
from node.federation.transport import Transport
from node.federation.trust import TrustReader, from_folder
from node.ids import NodeId
from node.local_store.bodies import Bodies
from node.local_store.database import Database
from node.settings import Settings, load, shipped
from pki.node_keys import NodeKeys

T = TypeVar("T")
EXPIRES_SOON: Final = timedelta(days=30)
EARLIEST: Final = datetime(2026, 11, 1, tzinfo=UTC)  # this software is not older: an earlier clock is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    what: str
    well: bool
    says: str
    advice: str = ""


async def run_checks(config: Path) -> list[Finding]:
    """All findings in the order of dependence; what needs a faulty part is left out."""
    findings: list[Finding] = []
    settings = _try(findings, "settings", lambda: load(config), lambda s: f"node {s.node}, data in {s.data}")
    if settings is None:
        return findings
    findings.append(_clock())
    keys = _try(findings, "keys", lambda: load_keys(settings), _about_keys)
    _try(
        findings, "catalogue", lambda: Catalogue.load(settings.catalogue or shipped()), lambda c: f"edition {c.edition}"
    )
    database = _try(findings, "database", lambda: _open(settings), lambda _: "opens, format is current")
    peers = _trust(findings, settings)
    if keys and database and peers:
        findings += await _peers(keys, database, peers, Bodies(settings.data / "messages"))
    if database:
        database.close()
    return findings


def _try(findings: list[Finding], what: str, act: Callable[[], T], says: Callable[[T], str]) -> T | None:
    try:
        found = act()
        findings.append(Finding(what=what, well=True, says=says(found)))
    except ImiError as error:
        findings.append(Finding(what=what, well=False, says=str(error)))
        return None
    return found


def _open(settings: Settings) -> Database:
    return Database.open(settings.data / "node.db", exclusive=False)


def _clock() -> Finding:
    now = datetime.now(UTC)
    return Finding(
        what="clock", well=now > EARLIEST, says=f"{now:%Y-%m-%d %H:%M} UTC",
        advice="set the machine's clock and keep it by NTP: certificates, deadlines and receipts depend on it",
    )  # fmt: skip


def _about_keys(keys: NodeKeys) -> str:
    certificates = [x509.load_pem_x509_certificate(keys.tls_certificate.read_bytes()), keys.signer.certificate]
    ends = min(c.not_valid_after_utc for c in certificates if c is not None)
    soon = " – renew them now" if ends < datetime.now(UTC) + EXPIRES_SOON else ""
    return f"all four readable, certificates valid until {ends:%Y-%m-%d}{soon}"


def _trust(findings: list[Finding], settings: Settings) -> Peers | None:
    reader = TrustReader(settings.data / "trust", from_folder(settings.publish_from or settings.data / "trust"))
    kept = reader.kept()
    if kept is None:
        findings.append(
            Finding(
                what="trust list", well=False, says="none read yet", advice="imi-node peers bootstrap --from FOLDER"
            )
        )
        return None
    peers = Peers(settings.node, kept, outside=read_outside(settings, kept), addresses=settings.relay)
    listed = settings.node in kept.nodes
    freshness = peers.freshness
    findings.append(
        Finding(
            what="trust list",
            well=listed and freshness == "fresh",
            says=f"{len(kept.nodes)} nodes, {freshness}, valid until {kept.valid_until:%Y-%m-%d %H:%M} UTC"
            + ("" if listed else f"; it does not name {settings.node}"),
            advice="have your State publish this node's entry"
            if not listed
            else "start the node: it renews the list itself",
        )
    )
    return peers


async def _peers(keys: NodeKeys, database: Database, peers: Peers, bodies: Bodies) -> list[Finding]:
    transport = Transport(keys, peers)
    parts = SenderParts(
        database=database, clock=SystemClock(), peers=peers, keys=keys, transport=transport, bodies=bodies,
        open_file=lambda _session, _reference: b"", undeliverable=lambda _session, _waiting: None,
    )  # fmt: skip
    try:
        everybody = (*peers.others(), *peers.outside())
        return list(await asyncio.gather(*(_peer(parts, peer.node) for peer in everybody)))
    finally:
        await transport.close()


async def _peer(parts: SenderParts, node: NodeId) -> Finding:
    try:
        where = str(parts.peers.route(node))
    except ImiError as error:
        advice = "the trust list or the setting [relay] must say where it is reached"
        return Finding(what=f"peer {node}", well=False, says=str(error), advice=advice)
    try:
        async with asyncio.timeout(20):
            await ping(parts, node)
    except (ImiError, TimeoutError) as error:
        says = str(error) or "no answer within 20 s"
        advice = f"is {where} reachable from here (name, port, firewall)? If it is, ask that node's operators"
        return Finding(what=f"peer {node}", well=False, says=says, advice=advice)
    return Finding(what=f"peer {node}", well=True, says=f"answers the test message with a signed receipt ({where})")
