"""A node built from its parts: what is opened, in which order, and how it is closed again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.orm import Session

from node import api, console, management
from node import web as pages
from node.casework.casework import Casework
from node.casework.registry import Registry
from node.casework.users import Users
from node.catalogue import Catalogue
from node.clock import Clock, SystemClock
from node.directory import Directory
from node.directory.model import By, Change
from node.directory.replication import LogId
from node.directory.sync import Sync
from node.errors import PeerError, SetupError, Unavailable
from node.federation import listener, outbox, outside, receiver
from node.federation.outbox import Waiting
from node.federation.peers import Peer, Peers, TrustList
from node.federation.receiver import Receiver
from node.federation.relay import Relay
from node.federation.renewing import Renewing
from node.federation.sender import Sender, SenderParts
from node.federation.tls import add_anchors, server_context
from node.federation.transport import PeerAnswered, Transport
from node.federation.trust import NothingReadYet, NotPublished, TrustReader, from_folder, serve
from node.ids import NodeId, new_message_id
from node.jobs import Job, Ticker
from node.local_store.bodies import Bodies
from node.local_store.database import Database
from node.local_store.files import FileStore
from node.local_store.vault import Vault
from node.management import Health
from node.pages import FRAME
from node.settings import Listener, Settings, shipped
from node.texts import NAMES, Texts
from pki.errors import PkiError
from pki.node_keys import NodeKeys, load_node_keys
from pki.trustlist import Publisher

MAX_TRUST_FILE: Final = 5_000_000
READING_SECONDS: Final = 120.0  # that a source has to give the trust list, however many files it is
PEERS_FOLDER: Final = "peers"
RENEW_SECONDS: Final = 6 * 3600.0

WAITING = Gauge("imi_lane_waiting", "Messages that wait for a peer.", ["node", "peer"])
UNDELIVERED = Counter(
    "imi_messages_undelivered", "Messages without a receipt in the agreed time (EBMS:0301).", ["peer"]
)
LOG_ENTRIES = Gauge("imi_directory_log_entries", "Proven entries of a directory log here.", ["node", "log"])
LOG_BEHIND = Gauge("imi_directory_log_behind", "Entries its owner signed that are not here yet.", ["node", "log"])
LOG_HEAD = Gauge("imi_directory_log_head_seconds", "When its newest entries came to count, Unix time.", ["node", "log"])
LOG_FROZEN = Gauge("imi_directory_log_frozen", "1: it contradicted itself; nothing more is taken.", ["node", "log"])
LOG_INVALID = Gauge("imi_directory_log_invalid", "Signed entries that may not be believed.", ["node", "log"])
AUTHORITIES = Gauge("imi_directory_authorities", "Authorities in this node's directory.", ["node"])
TRUST_VALID = Gauge("imi_trust_valid_until_seconds", "When the trust list in force ends, Unix time.", ["node"])
log = structlog.get_logger()


class BadKeys(SetupError):
    """The node's keys cannot be used; the message says which file and what to do."""

    code = "setup.keys"


class PortInUse(SetupError):
    """Another program listens where this node should."""

    code = "setup.port-in-use"


@dataclass(slots=True, kw_only=True)
class Node:
    """All parts of a running node. `addresses` says where its doors listen: federation, officials, management."""

    settings: Settings
    clock: Clock
    keys: NodeKeys
    peers: Peers
    database: Database
    catalogue: Catalogue
    directory: Directory
    casework: Casework
    users: Users
    registry: Registry
    texts: Texts
    transport: Transport
    reader: TrustReader
    sender: Sender
    receiver: Receiver
    relay: Relay
    sync: Sync
    renewing: Renewing
    bodies: Bodies
    addresses: dict[str, str] = field(default_factory=dict)
    outside_stamp: tuple[tuple[str, int, int], ...] = ()

    async def refresh_trust(self) -> None:
        """Read the trust list; what changed counts at once. Raises Unavailable."""
        await self.renewing.refresh()

    async def refresh_outside(self) -> None:
        """Read what was agreed with access points outside the federation, if it changed."""
        folder = self.settings.data / PEERS_FOLDER
        own = self.peers.trust.nodes.get(self.settings.node)
        authority = "" if own is None else outside.fingerprint(own.state_ca)  # stands in the paths we send
        stamp = ((authority, 0, 0), *await asyncio.to_thread(outside.stamp, folder))
        if stamp != self.outside_stamp:
            found = await asyncio.to_thread(read_outside, self.settings, self.peers.trust)
            self.peers.replace_outside(found)
            self.outside_stamp = stamp
            log.info("agreements with peers outside read", peers=[peer.node for peer in found])

    async def look_at_held(self) -> None:
        """Steps of other nodes that were held for want of something are looked at again."""
        if count := await self.casework.retry_held():
            log.info("held steps taken", count=count)
        await self.casework.follow_moves()

    async def sweep(self) -> None:
        """What is due: blocking, deletion, expired sessions, files nobody names."""
        await self.casework.sweep()
        await self.users.sweep()
        await self.registry.sweep()
        named = await self.database.read(_body_files)
        await asyncio.to_thread(self.bodies.sweep, named)
        await self.look_at_held()

    async def count(self) -> None:
        """Set the gauges before they are read."""
        node = self.settings.node
        waiting = await self.database.read(outbox.waiting_by_recipient)
        for peer in (*self.peers.others(), *self.peers.outside()):
            WAITING.labels(node, peer.node).set(waiting.get(peer.node, 0))
        AUTHORITIES.labels(node).set(await asyncio.to_thread(self.directory.count))
        TRUST_VALID.labels(node).set(self.peers.trust.valid_until.timestamp())
        for one in await asyncio.to_thread(self.directory.status):
            LOG_ENTRIES.labels(node, one.name).set(one.size)
            LOG_BEHIND.labels(node, one.name).set(one.behind)
            LOG_HEAD.labels(node, one.name).set(one.head_at.timestamp() if one.head_at else 0)
            LOG_FROZEN.labels(node, one.name).set(bool(one.frozen))
            LOG_INVALID.labels(node, one.name).set(one.invalid)


def load_keys(settings: Settings) -> NodeKeys:
    """The node's keys. Raises BadKeys."""
    try:
        return load_node_keys(settings.data / "keys", settings.passphrase)
    except PkiError as error:
        raise BadKeys(str(error)) from error


@contextlib.asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Node]:
    """A node that runs until the context is left: doors open, lanes driven, jobs ticking.

    Raises:
        SetupError: settings, keys, database, catalogue or ports cannot be used; the sentence says what to do.
    """
    async with contextlib.AsyncExitStack() as stack:
        node = await _build(settings, clock or SystemClock(), stack)
        await _open_doors(node, stack)
        stack.push_async_callback(_cancelled, asyncio.create_task(node.sender.run(), name="sender"))
        ticker = Ticker(_jobs(node))
        ticker.start()
        stack.push_async_callback(ticker.stop)
        log.info("node is up", node=settings.node, **node.addresses)
        yield node
        log.info("node stops", node=settings.node)


async def _build(settings: Settings, clock: Clock, stack: contextlib.AsyncExitStack) -> Node:
    keys = load_keys(settings)
    catalogue = Catalogue.load(settings.catalogue or shipped())
    database = Database.open(settings.data / "node.db")
    stack.callback(database.close)
    texts = Texts.load(catalogue.folder)
    directory = Directory(settings.data, vocabulary=_vocabulary(catalogue, texts), clock=clock)
    stack.callback(directory.close)
    directory.host.asked = False  # this may be a backup: peers are asked before anything of our logs is shown or signed
    await asyncio.to_thread(directory.catch_up)
    reader = TrustReader(settings.data / "trust", _unset)
    trust = await _first_trust(reader, settings)
    peers = Peers(settings.node, trust, outside=read_outside(settings, trust), addresses=settings.relay)
    know_hosts(directory, peers)
    transport = Transport(keys, peers)
    stack.push_async_callback(transport.close)
    relay = Relay(peers, transport)
    stack.push_async_callback(relay.close)
    renewing = Renewing(reader, peers, partial(_fetch_from, transport), sources=partial(_sources, settings, peers))
    bodies = Bodies(settings.data / "messages")
    casework = casework_of(
        settings, keys=keys, database=database, catalogue=catalogue, directory=directory, peers=peers, clock=clock
    )
    users = Users(database, clock)

    def publish(change: Change, by: By) -> None:
        directory.publish(settings.node, [change], keys.log_signer, by=by)

    parts = SenderParts(
        database=database,
        clock=clock,
        peers=peers,
        keys=keys,
        transport=transport,
        bodies=bodies,
        open_file=casework.open_file,
        undeliverable=_undeliverable,
    )
    return Node(
        settings=settings,
        clock=clock,
        keys=keys,
        peers=peers,
        database=database,
        catalogue=catalogue,
        directory=directory,
        casework=casework,
        users=users,
        registry=Registry(casework.tools, database=database, directory=directory, users=users, publish=publish),
        texts=texts,
        transport=transport,
        reader=reader,
        sender=Sender(parts),
        receiver=Receiver(
            database=database, clock=clock, peers=peers, keys=keys, bodies=bodies, deliver=casework.deliver
        ),
        relay=relay,
        sync=Sync(
            directory,
            peers,
            transport,
            clock=clock,
            dice=random.Random(),  # noqa: S311  # no secret
            publisher=settings.publisher,
            trust=renewing,
        ),
        renewing=renewing,
        bodies=bodies,
    )


def casework_of(
    settings: Settings,
    *,
    keys: NodeKeys,
    database: Database,
    catalogue: Catalogue,
    directory: Directory,
    peers: Peers,
    clock: Clock,
) -> Casework:
    """What officials do on this node, also beside a node that runs."""
    return Casework(
        node=settings.node,
        database=database,
        catalogue=catalogue,
        directory=directory,
        peers=peers,
        clock=clock,
        signer=keys.signer,
        files=FileStore(settings.data / "files"),
        vault=Vault.open(settings.data / "keys" / "storage.key", passphrase=settings.passphrase),
        new_message_id=partial(new_message_id, settings.node),
    )


async def _first_trust(reader: TrustReader, settings: Settings) -> TrustList:
    """The list to begin with: the publisher's own, or the last one read. Raises NothingReadYet."""
    if settings.publish_from is not None:
        reader.fetch = from_folder(settings.publish_from)
        await asyncio.to_thread(_publisher(settings).renew)
        return await asyncio.to_thread(reader.refresh)
    kept = await asyncio.to_thread(reader.kept)
    if kept is None:
        raise NothingReadYet(
            f"{settings.data / 'trust'} holds no trust list: give the node one with `imi-node peers bootstrap --from FOLDER`"
        )
    return kept


def know_hosts(directory: Directory, peers: Peers) -> None:
    """Let the directory see in the trust list which logs there are, and which of them lie here."""

    def lies_here(found: LogId) -> bool:
        listed = peers.trust.nodes.get(found.node)
        if listed is None or found.collection not in listed.logs:
            return found.node == peers.us  # not admitted yet
        return listed.logs[found.collection].host == peers.us

    directory.keys = lambda: {f"{p.node}/{name}": key for p in peers.all() for name, key in p.logs.items()}
    directory.host.lies_here = lies_here


def read_outside(settings: Settings, trust: TrustList) -> tuple[Peer, ...]:
    """The access points outside the federation, as they are written down."""
    own = trust.nodes.get(settings.node)
    folder = settings.data / PEERS_FOLDER
    return outside.read_all(folder, settings.node, issuers=() if own is None else (own.state_ca,))


def _publisher(settings: Settings) -> Publisher:
    assert settings.publish_from is not None
    return Publisher(settings.publish_from.parent, settings.passphrase)


def _unset(path: str) -> bytes:
    raise NotPublished(f"no source of the trust list yet for {path}")


def _sources(settings: Settings, peers: Peers) -> Sequence[NodeId]:
    """Whom the trust list is read from: the publisher, else a peer that mirrors it; who publishes it reads its own folder."""
    if settings.publish_from is not None:
        return ()
    return (settings.publisher, *(peer.node for peer in peers.reachable() if peer.node != settings.publisher))


def _fetch_from(transport: Transport, source: NodeId, *, seconds: float = READING_SECONDS) -> Callable[[str], bytes]:
    """Reads the trust list's files for a thread, from one source, which has so long for all of one reading."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds

    async def fetch(path: str) -> bytes:
        try:
            async with asyncio.timeout_at(ends):
                return await transport.get(source, listener.TRUST_PATH + path, limit=MAX_TRUST_FILE)
        except TimeoutError as error:
            raise Unavailable(f"{source} has not given the trust list within {seconds:g} seconds") from error
        except PeerAnswered as error:
            if error.status == 404:
                raise NotPublished(str(error)) from error
            raise
        except PeerError as error:
            raise Unavailable(str(error)) from error

    return lambda path: asyncio.run_coroutine_threadsafe(fetch(path), loop).result(timeout=2 * seconds)


def _vocabulary(catalogue: Catalogue, texts: Texts) -> dict[str, list[str]]:
    """Words of professions and activities in every language the catalogue has, for the search."""
    codes = [(name, code) for name in ("profession", "activity") for code in catalogue.lists.get(name, ())]
    return {
        code: [texts.t(lang, key) for lang in NAMES if texts.has(lang, key)]
        for name, code in codes
        if code != "other" and (key := f"list.{name}.{code}")
    }


def _body_files(session: Session) -> frozenset[str]:
    return outbox.body_files(session) | receiver.body_files(session)


def _undeliverable(_session: Session, waiting: Waiting) -> None:
    """The case page shows it by the delivery's state; the sender logs it for the operator."""
    UNDELIVERED.labels(waiting.recipient).inc()


async def _open_doors(node: Node, stack: contextlib.AsyncExitStack) -> None:
    context = server_context(node.keys, node.peers)
    node.peers.on_change(partial(add_anchors, context, node.peers))
    door = listener.application(
        peers=node.peers,
        receiver=node.receiver,
        bodies=node.bodies,
        relay=node.relay,
        serve_trust=_serve_trust(node),
        routes=node.sync.routes(),
        on_contact=partial(_spoke, node),
    )
    await _listen(node, stack, "federation", door, node.settings.federation, ssl_context=context)
    officials = pages.application(node_settings=node.settings, **_door_parts(node))
    officials.add_subapp("/api/v1", api.application(**_door_parts(node)))
    await _listen(node, stack, "officials", officials, node.settings.officials)
    await _listen(node, stack, "management", _management(node, officials), node.settings.management)


def _management(node: Node, officials: web.Application) -> web.Application:
    """Health, metrics and the operators' pages."""
    parts = console.Parts(
        database=node.database, directory=node.directory, peers=node.peers, contacts=node.transport.contacts
    )
    app = console.application(officials[FRAME], parts)
    app.router.add_routes(management.routes(_health(node)))
    return app


def _spoke(node: Node, peer: NodeId) -> None:
    node.sender.wake(peer)
    node.relay.spoke(peer)


def _door_parts(node: Node) -> dict[str, Any]:
    return {
        "casework": node.casework,
        "users": node.users,
        "registry": node.registry,
        "directory": node.directory,
        "catalogue": node.catalogue,
        "texts": node.texts,
        "clock": node.clock,
    }


def _serve_trust(node: Node) -> Callable[[str], bytes | None]:
    source = node.settings.publish_from or node.reader.repository
    return partial(serve, source)


async def _listen(
    node: Node,
    stack: contextlib.AsyncExitStack,
    name: str,
    app: web.Application,
    where: Listener,
    *,
    ssl_context: Any = None,
) -> None:
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75.0, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, where.host, where.port, ssl_context=ssl_context, reuse_address=True).start()
    except OSError as error:
        raise PortInUse(
            f"{where.host}:{where.port} ({name}) cannot be opened: {error.strerror}; stop what listens there, "
            f"or choose another port in the settings"
        ) from error
    host, port = runner.addresses[0][:2]
    scheme = "https" if ssl_context is not None else "http"
    node.addresses[name] = f"{scheme}://{host}:{port}"


def _health(node: Node) -> Health:
    async def database() -> str:
        try:
            await node.database.transact(lambda session: session.execute(text("SELECT 1")).scalar())
        except Exception as error:  # noqa: BLE001  # whatever it is, the node is not ready, and says why
            return f"the database does not answer: {type(error).__name__}"
        return ""

    async def trust() -> str:
        freshness = node.peers.freshness
        return "" if freshness != "stopped" else "the trust list is more than two weeks out of date: nothing is sent"

    async def lanes() -> str:
        return "" if node.sender.is_running else "the lanes have stopped: nothing is sent; restart the node"

    checks = {"database": database, "trust list": trust, "lanes": lanes}
    return Health(checks=checks, before_metrics=node.count)


def _jobs(node: Node) -> list[Job]:
    pace = node.settings.pace
    jobs = [
        Job(name="read trust list", every_seconds=pace.trust_seconds, run=node.refresh_trust),
        Job(name="read agreements with peers outside", every_seconds=pace.trust_seconds, run=node.refresh_outside),
        Job(name="greet peers", every_seconds=pace.gossip_seconds, run=node.sync.round),
        Job(name="notice changes of our logs", every_seconds=2, run=node.sync.notice),
        Job(name="publish changes of our authorities", every_seconds=2, run=node.registry.publish_pending),
        Job(name="look at what was held", every_seconds=pace.gossip_seconds, run=node.look_at_held),
        Job(name="sweep", every_seconds=pace.sweep_seconds, run=node.sweep),
    ]
    if node.settings.publish_from is not None:
        publisher = _publisher(node.settings)

        async def renew() -> None:
            await asyncio.to_thread(publisher.renew)

        jobs.append(Job(name="renew trust list", every_seconds=RENEW_SECONDS, run=renew))
    return jobs


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task. A bug that ended it before is raised now."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
