"""What a node carries to a certain other: to a log's host what its State signed, to the publisher what speaks against a log.

Both are tried again until they are taken; and here is how they are taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

import structlog

from node.clock import Clock
from node.directory.directory import Directory
from node.directory.hosting import NotOurLog, Signed
from node.directory.originals import Evidence
from node.directory.pulling import InThread, Wire
from node.directory.replication import Checkpoint, LogForked, LogId, LogRolledBack, log_of
from node.directory.serving import EVIDENCE_PATH, LOG_PATH, check_report, read_report, read_signed, write_signed
from node.errors import ImiError, Unavailable
from node.federation.peers import LogKey, Peer, UnknownPeer
from node.ids import NodeId, state_of

log = structlog.get_logger()


class EvidenceFull(Unavailable):
    """So much is kept against this log already that more of it would say nothing new."""

    code = "unavailable.evidence-full"


class Listing(Protocol):
    """What is needed of the trust list: `Peers`."""

    @property
    def us(self) -> NodeId: ...
    def get(self, node: NodeId) -> Peer: ...
    def reachable(self) -> Sequence[Peer]: ...


class Keys:
    """What the trust list says of logs."""

    def __init__(self, peers: Listing) -> None:
        self._peers = peers

    def get(self, shown: LogId) -> LogKey:
        """What the trust list says of it. Raises UnknownPeer."""
        try:
            return self._peers.get(shown.node).logs[shown.collection]
        except KeyError:
            raise UnknownPeer(f"{shown.node} has no log of {shown.collection}", node=shown.node) from None

    def find(self, shown: LogId) -> LogKey | None:
        """The key of a log, or None if its State is not, or not yet, in our trust list."""
        try:
            return self.get(shown)
        except UnknownPeer:
            return None


class Errands:
    """Carries and takes what goes to one node alone."""

    def __init__(
        self,
        directory: Directory,
        peers: Listing,
        wire: Wire,
        *,
        clock: Clock,
        in_thread: InThread,
        publisher: NodeId | None,
    ) -> None:
        self._directory, self._peers, self._wire = directory, peers, wire
        self._clock, self._in_thread, self._publisher = clock, in_thread, publisher
        self._keys = Keys(peers)

    async def hand_in(self) -> list[NodeId]:
        """Give the hosts of our own logs what we signed and they lack; the hosts that have taken it."""
        taken = []
        for signed, host in await self._in_thread(self._to_hand_in):
            try:
                await self._wire.post(
                    host, f"{LOG_PATH}{signed.log}/entries",
                    await self._in_thread(write_signed, signed), "application/gzip",
                )  # fmt: skip
            except ImiError as error:
                log.warning("log not handed in", log=str(signed.log), host=host, code=error.code, reason=str(error))
            else:
                taken.append(host)
        return taken

    def _to_hand_in(self) -> list[tuple[Signed, NodeId]]:
        found = []
        for mine in sorted(filter(None, map(LogId.parse, self._directory.own.logs()))):
            held = self._directory.own.held(str(mine))
            key = self._keys.find(mine)
            if (
                key is None
                or key.host == self._peers.us
                or state_of(mine.node) != state_of(self._peers.us)
                or held is None
            ):
                continue
            there = self._directory.replica.held(str(mine))
            first = there.size if there else 0
            if mine.epoch == key.epoch and held.size > first:
                entries = self._directory.own.entries(str(mine), first, held.size)
                found.append((Signed(log=mine, first=first, entries=entries, note=held.note), key.host))
        return found

    async def tell(self) -> None:
        """Tell the publisher of the trust list what logs contradict themselves; until it has taken it."""
        for found in await self._in_thread(self._directory.own.evidence, untold=True):
            if found.kind not in {LogRolledBack.code, LogForked.code}:
                continue
            try:
                if self._publisher not in {None, self._peers.us}:
                    await self._tell_one(self._publisher, found)
            except ImiError as error:
                log.warning("evidence not taken", log=found.log, code=error.code, reason=str(error))
            else:
                await self._in_thread(self._directory.own.told, found.id, at=self._clock.now())

    async def _tell_one(self, publisher: NodeId | None, found: Evidence) -> None:
        assert publisher is not None, "asked before"
        proof = found.proof.to_json() if found.proof else None
        report = {"kind": found.kind, "held": found.held, "seen": found.seen, "proof": proof}
        await self._wire.post(publisher, EVIDENCE_PATH, json.dumps(report).encode(), "application/json")

    async def take_entries(self, data: bytes, *, source: NodeId) -> Checkpoint:
        """Publish what a State's own node signed, for a log that lies here. Raises as `Host.accept`."""
        signed = await self._in_thread(read_signed, data)
        if state_of(signed.log.node) != state_of(source):
            raise NotOurLog(f"{source} cannot hand in entries of {signed.log}", log=str(signed.log))
        return await self._in_thread(self._directory.accept, signed, self._keys.get(signed.log))

    async def take_evidence(self, data: bytes, *, source: NodeId) -> None:
        """Keep what a peer reports of a log, if its notes show it. Raises BadEvidence, EvidenceFull."""
        report = await self._in_thread(read_report, data)
        found = await self._in_thread(check_report, report, self._keys_for(report.held, report.seen))
        kept = await self._in_thread(
            self._directory.own.keep_evidence, at=self._clock.now(), log=str(found), kind=report.kind, source=source,
            held=report.held, seen=report.seen, more={"proof": report.proof} if report.proof else {},
        )  # fmt: skip
        if kept == "full":
            raise EvidenceFull("there is more than enough against this log already", log=str(found))
        if kept == "new":
            log.error(
                "a peer reports that a directory log contradicts itself",
                log=str(found),
                code=report.kind,
                source=source,
            )

    def _keys_for(self, *notes: str) -> dict[str, LogKey]:
        keys = {shown.name: self._keys.find(shown) for shown in filter(None, map(log_of, notes))}
        return {name: key for name, key in keys.items() if key}
