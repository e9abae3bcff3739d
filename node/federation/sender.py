"""All lanes of a node, one a destination, and what is looked after for all of them once a minute."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.orm import Session

from node.errors import ImiError
from node.federation import outbox
from node.federation.lanes import Lane, NoPong, SenderParts, ping
from node.federation.protocol import USUAL
from node.ids import NodeId

__all__ = ["Lane", "NoPong", "Sender", "SenderParts", "ping"]

CARE_SECONDS: Final = 60.0

log = structlog.get_logger()


class Sender:
    """All lanes of a node."""

    def __init__(self, parts: SenderParts) -> None:
        self._parts = parts
        self._lanes: dict[NodeId, Lane] = {}
        self._group: asyncio.TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        parts.database.session_info[outbox.WAKE] = self._posted
        parts.peers.on_change(self._trust_changed)

    @property
    def is_running(self) -> bool:
        """Whether the lanes are driven."""
        return self._group is not None

    async def run(self) -> None:
        """Drive the lanes until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await self._try_to_look_after()
                    await asyncio.sleep(CARE_SECONDS)
        finally:
            self._group = None

    async def look_after(self) -> None:
        """Tell of what had no receipt for a day; see that everything that waits has a lane."""
        await self._parts.database.transact(_look_after, self._parts)
        for node in await self._parts.database.read(outbox.recipients):
            if self._group is not None:
                self._lane(node)

    async def _try_to_look_after(self) -> None:
        try:
            await self.look_after()
        except ImiError as error:
            log.warning("outbox not looked after", code=error.code, reason=str(error))
        except Exception:  # a bug there must not stop the lanes; it is tried again in a minute
            log.exception("outbox not looked after")

    def wake(self, node: NodeId) -> None:
        """A node spoke to us: lanes that wait for it to answer, as node or as relay, need not wait any longer."""
        for lane in self._lanes.values():
            if node in (lane.node, lane.silent):
                lane.wake()

    def states(self) -> dict[NodeId, tuple[int, str]]:
        """Failures in a row and the last reason, of every lane that has begun."""
        return {node: (lane.failures, lane.reason) for node, lane in self._lanes.items()}

    def _posted(self, node: NodeId) -> None:
        if self._group is not None:
            self._lane(node).posted()

    def _trust_changed(self) -> None:
        """Called on whichever thread read the list: a peer may have another address now, or be back."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for lane in self._lanes.values():
            lane.wake()

    def _lane(self, node: NodeId) -> Lane:
        lane = self._lanes.get(node)
        if lane is None:
            assert self._group
            lane = self._lanes[node] = Lane(node, self._parts)
            self._group.create_task(lane.run(), name=f"lane to {node}")
        return lane


def _look_after(session: Session, parts: SenderParts) -> None:
    """EBMS:0301, to our own side: the agreed time (a day, between nodes) has passed without a receipt."""
    now = parts.clock.now()
    agreed = {peer.node: peer.terms.retry for peer in parts.peers.outside() if peer.terms}
    otherwise = {node: now - retry.report_after for node, retry in agreed.items()}
    for waiting in outbox.late(session, before=now - USUAL.report_after, otherwise=otherwise):
        parts.undeliverable(session, waiting)
        outbox.store_told(session, waiting.id, at=now)
        log.error("no receipt in time", peer=waiting.recipient, message_id=waiting.message_id, ebms="EBMS:0301")
    longest = max(retry.longest for retry in (USUAL, *agreed.values()))
    outbox.mend_clock(session, latest=now + longest * 1.1)
