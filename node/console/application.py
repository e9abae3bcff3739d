"""The operators' pages: how the federation stands, and how the directory's logs do.

They only show, and need no sign-in: the management door is for the node's own machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from node import pages
from node.console.standing import PeerStanding, Seen, in_order, standing, tiles
from node.directory import Directory
from node.federation import operator
from node.federation.peers import Peers
from node.federation.transport import Contact
from node.ids import NodeId
from node.local_store.database import Database
from node.pages import Frame, public, render

MENU: Final = (("overview", "/"), ("directory", "/directory"))
_CONNECTIONS: Final = ("down", "slow", "quiet", "well", "hosted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pages read."""

    database: Database
    directory: Directory
    peers: Peers
    contacts: Mapping[NodeId, Contact]


PARTS: Final = web.AppKey("PARTS", Parts)

routes = web.RouteTableDef()


def application(frame: Frame, parts: Parts) -> web.Application:
    """The pages, under `/`."""
    app = pages.application(frame)
    app[PARTS] = parts
    app.router.add_routes(routes)
    return app


@routes.get("/")
@public
async def overview(request: web.Request) -> web.Response:
    """Every node of the federation, what needs attention first, and the picture."""
    parts = request.app[PARTS]
    found = in_order(await _standings(parts))
    count = {name: sum(one.connection == name for one in found) for name in _CONNECTIONS}
    return render(
        request, "console/overview.html", menu=MENU, standings=found, count=count,
        tiles=tiles(parts.peers.us, found), trust=parts.peers.trust, freshness=parts.peers.freshness, now=datetime.now(UTC),
    )  # fmt: skip


@routes.get("/directory")
@public
async def directory(request: web.Request) -> web.Response:
    """Every log: host, epoch, size, age, lag, source; what is frozen, and why."""
    parts = request.app[PARTS]
    logs = await asyncio.to_thread(parts.directory.status)
    evidence = await asyncio.to_thread(parts.directory.evidence)
    return render(request, "console/directory.html", menu=MENU, logs=logs, evidence=evidence, now=datetime.now(UTC))


async def _standings(parts: Parts) -> list[PeerStanding]:
    lanes = {line.node: line for line in await parts.database.read(operator.lanes)}
    logs = await asyncio.to_thread(parts.directory.status)
    behind: dict[NodeId, int] = {}
    for log in logs:
        behind[log.node] = behind.get(log.node, 0) + log.behind
    seen = Seen(
        lanes=lanes,
        contacts=dict(parts.contacts),
        behind=behind,
        frozen=frozenset(log.node for log in logs if log.frozen),
    )
    now = datetime.now(UTC)
    others = (peer for peer in parts.peers.all() if peer.node != parts.peers.us)
    return [standing(peer, seen, at=now) for peer in others]
