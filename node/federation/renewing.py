"""Keeping the trust list current, also when whoever we read it from gives us old ones.

A list that stops at an old version looks like one in which nothing happens. So peers tell each other the versions they
have; who learns of newer ones reads its own source again, and where that stays behind, the mirror of the peer. The list
is signed, so nobody can make us take one that its publisher did not make.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog

from node.errors import ImiError
from node.federation.peers import Peers
from node.federation.trust import Fetch, TrustReader
from node.ids import NodeId

log = structlog.get_logger()


class Renewing:
    """Reads the trust list, one reading at a time."""

    def __init__(self, reader: TrustReader, peers: Peers, fetch_from: Callable[[NodeId], Fetch]) -> None:
        self._reader, self._peers, self._fetch_from = reader, peers, fetch_from
        self._lock = asyncio.Lock()
        self._unfounded: dict[NodeId, Mapping[str, int]] = {}  # versions that a peer named and could not show

    def versions(self) -> Mapping[str, int]:
        """Those of the list in force."""
        return self._peers.trust.versions

    async def refresh(self, source: NodeId | None = None) -> None:
        """Read the list, from the usual source or from a peer's mirror; what changed counts at once. Raises Unavailable."""
        async with self._lock:
            usual = self._reader.fetch
            self._reader.fetch = usual if source is None else self._fetch_from(source)
            try:
                self._peers.replace(await asyncio.to_thread(self._reader.refresh))
            finally:
                self._reader.fetch = usual

    async def renew(self, source: NodeId, theirs: Mapping[str, int]) -> None:
        """A peer says its list is newer: read ours again, and from its mirror if we are shown old ones."""
        if self._unfounded.get(source) == theirs:
            return
        with contextlib.suppress(ImiError):  # the job that reads it regularly says why
            await self.refresh()
        if not is_newer(theirs, self.versions()):
            return
        log.error("trust list older than a peer's", peer=source, ours=dict(self.versions()), theirs=dict(theirs))
        try:
            await self.refresh(source)
        except ImiError as error:
            log.warning("peer's trust list not read", peer=source, code=error.code, reason=str(error))
        if is_newer(theirs, self.versions()):
            self._unfounded[source] = dict(theirs)


def is_newer(theirs: Mapping[str, int], ours: Mapping[str, int]) -> bool:
    """Whether any role of one list is of a later version than in the other."""
    return any(version > ours.get(role, 0) for role, version in theirs.items())
