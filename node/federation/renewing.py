"""Keeping the trust list current, also when whoever we read it from gives us old ones.

A list that stops at an old version looks like one in which nothing happens. So peers tell each other the versions they
have; who learns of newer ones reads its own source again, and where that stays behind, the mirror of the peer. The list
is signed, so nobody can make us take one that its publisher did not make.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from node.errors import ImiError, Unavailable
from node.federation.peers import Peers
from node.federation.trust import Fetch, TrustReader
from node.ids import NodeId

UNFOUNDED_SECONDS: Final = 600.0

log = structlog.get_logger()


class Renewing:
    """Reads the trust list, one reading at a time, each from one source: no two mirrors are equally far.

    `sources` are those to read from, in order, until one gives a list; none: what the reader has itself.
    """

    def __init__(
        self,
        reader: TrustReader,
        peers: Peers,
        fetch_from: Callable[[NodeId], Fetch],
        *,
        sources: Callable[[], Sequence[NodeId]] = lambda: (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._peers, self._fetch_from, self._sources, self._now = reader, peers, fetch_from, sources, now
        self._lock, self._turn = asyncio.Lock(), asyncio.Lock()
        self._unfounded: dict[NodeId, float] = {}  # when a peer last named versions that it could not show

    def versions(self) -> Mapping[str, int]:
        """Those of the list in force."""
        return self._peers.trust.versions

    async def refresh(self, source: NodeId | None = None) -> None:
        """Read the list, from the usual sources or from a peer's mirror; what changed counts at once. Raises Unavailable."""
        async with self._lock:
            asked: Sequence[NodeId | None] = [source] if source is not None else self._sources()
            failure: Unavailable | None = None
            for each in asked or [None]:
                try:
                    found = await asyncio.to_thread(
                        self._reader.refresh, None if each is None else self._fetch_from(each)
                    )
                except Unavailable as error:
                    log.info("trust list not read", source=each, code=error.code, reason=str(error))
                    failure = failure or error
                else:
                    self._peers.replace(found)
                    return
            assert failure is not None, "somebody was asked"
            raise failure

    async def renew(self, source: NodeId, theirs: Mapping[str, int]) -> None:
        """A peer says its list is newer: read ours again, and from its mirror if we are shown old ones.

        Who named versions that it could not show is not believed for a while: else it could keep us, and whom we read
        from, busy with ever greater numbers.
        """
        if self._now() < self._unfounded.get(source, -UNFOUNDED_SECONDS) + UNFOUNDED_SECONDS:
            return
        async with self._turn:
            if is_newer(theirs, self.versions()):  # still: another peer may have said so before
                await self._renew(source, theirs)

    async def _renew(self, source: NodeId, theirs: Mapping[str, int]) -> None:
        with contextlib.suppress(ImiError):  # the job that reads it regularly says why
            await self.refresh()
        if not is_newer(theirs, self.versions()):
            return
        newer = {role: version for role, version in theirs.items() if version > self.versions().get(role, 0)}
        role, version = next(iter(newer.items()))
        log.error(
            "trust list older than a peer's",
            peer=source, role=role[:40], ours=self.versions().get(role, 0), theirs=version, roles=len(newer),
        )  # fmt: skip
        try:
            await self.refresh(source)
        except ImiError as error:
            log.warning("peer's trust list not read", peer=source, code=error.code, reason=str(error))
        if is_newer(theirs, self.versions()):
            self._unfounded[source] = self._now()


def is_newer(theirs: Mapping[str, int], ours: Mapping[str, int]) -> bool:
    """Whether any role of one list is of a later version than in the other."""
    return any(version > ours.get(role, 0) for role, version in theirs.items())
