"""The node's directory: reading it anywhere, changing what is its own, and keeping it equal to everybody's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from node.clock import Clock, SystemClock
from node.directory.competence import Competent, Need, competent
from node.directory.following import JUST_ASKED, Follower, Showing
from node.directory.hosting import Host, LogSigner, NotOurLog, Signed
from node.directory.model import OPERATOR, Authority, By, Change, Kind, Move, Record, Register
from node.directory.originals import Evidence, LogFrozen, Originals
from node.directory.regions import region_names
from node.directory.registers import Registers, UnknownRegister
from node.directory.replication import COLLECTION, BadPage, Checkpoint, Divergence, LogId, batches
from node.directory.search import Replica, SearchResult
from node.directory.status import LogStatus
from node.directory.store import AT_ONCE
from node.errors import PeerError, Refused
from node.federation.peers import LogKey
from node.ids import AuthorityId, NodeId, State

OURS: Final = ""  # the source of heads that were signed here
log = structlog.get_logger()


class UnknownAuthority(Refused):
    """The directory has no such authority."""

    code = "refused.unknown-authority"


class Directory:
    """Local and cheap to read from any thread; changes go through logs only."""

    def __init__(
        self,
        folder: Path,
        *,
        vocabulary: Mapping[str, Sequence[str]] | None = None,
        clock: Clock | None = None,
        crash_at: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.own = Originals(folder / "logs.db", durable=True, crash_at=crash_at)
        self.replica = Replica(folder / "directory.db", durable=False, crash_at=crash_at)
        self.replica.vocabulary = vocabulary or {}
        self.replica.regions = region_names()
        self.own.take_evidence(self.replica.left_behind)
        self._clock = clock or SystemClock()
        self.follower = Follower(self.own, self.replica, self._forget, lambda: self.keys())  # noqa: PLW0108  # it is replaced later
        self.host = Host(self.own, self.replica, self.follow_own)
        self.keys: Callable[[], Mapping[str, LogKey]] = dict  # the trust list's, by log name, for who has one
        self._cache: dict[AuthorityId, Authority] = {}
        self._generation = 0
        self._cache_lock = threading.Lock()

    def close(self) -> None:
        """Close both files."""
        self.own.close()
        self.replica.close()

    def get(self, authority: AuthorityId, /) -> Authority:
        """One authority. Raises UnknownAuthority."""
        if self.replica.changed_elsewhere():
            self._forget()
        known = self._cache.get(authority)
        if known is None:
            read_in = self._generation
            known = self.replica.find(authority)
            if known is None:
                raise UnknownAuthority("the directory has no such authority", authority=authority)
            if self.replica.changed_elsewhere():
                self._forget()
            with self._cache_lock:
                if read_in == self._generation:  # else something was written while we read: the next one reads again
                    self._cache[authority] = known
        return known

    def _forget(self) -> None:
        with self._cache_lock:
            self._generation += 1
            self._cache.clear()

    def homes_of(self, authority: AuthorityId, /) -> tuple[NodeId, ...]:
        """The nodes that hosted it, in order; the last one does. Raises UnknownAuthority."""
        return self.get(authority).homes

    def moved(self) -> Mapping[AuthorityId, tuple[NodeId, ...]]:
        """The authorities that ever moved, with the nodes that hosted them, in order."""
        return {found.id: found.homes for found in self.replica.moved()}

    def coming(self, node: NodeId) -> tuple[Move, ...]:
        """The moves to a node that were announced and that it has not answered: it may accept them."""
        found = ((move, self.replica.find(move.id)) for move in self.replica.moves_to(node))
        return tuple(move for move, known in found if known and known.homes == move.homes[:-1])

    def search(
        self,
        text: str,
        *,
        state: State | None = None,
        area: str | None = None,
        profession: str | None = None,
        activity: str | None = None,
        role: str | None = None,
        nuts: str | None = None,
        language: str | None = None,
        limit: int = 20,
    ) -> SearchResult:
        """Active authorities by words in any script, best first.

        Args:
            role: `area/role` (professional-qualifications/ca).
            nuts: a region: its bodies, those of its parts, and those whose territory holds it, national ones too.
            language: one the authority works in.
        """
        given = {"area": area, "profession": profession, "activity": activity, "role": role, "language": language}
        codes = [(kind, code) for kind, code in given.items() if code]
        return self.replica.search(text, state=state, codes=codes, region=nuts or "", limit=limit)

    def competent(self, need: Need) -> Competent:
        """Who is competent for a need: the nearest authorities, else the coordinators, and why."""
        return competent(self.replica.index, need, read=self.replica.find, regions=region_names())

    def changed_by(self, authority: AuthorityId) -> By | None:
        """Who last changed an authority's entry."""
        return self.replica.changed_by(authority)

    def records(self, kind: Kind, state: State | None = None) -> list[Record]:
        """Groups, registers or repository entries, of one State or of all."""
        return self.replica.records(kind, state)

    def record(self, kind: Kind, name: AuthorityId) -> tuple[Record, By] | None:
        """A group, register or repository entry and who last changed it."""
        return self.replica.record(kind, name)

    def find_registers(
        self,
        text: str,
        *,
        state: State | None = None,
        profession: str = "",
        type_: str = "",
        access: str = "",
        limit: int = 20,
    ) -> Registers:
        """Registers by words in any script, best first; with all types of register there are."""
        given = {"profession": profession, "type": type_, "access": access}
        codes = [(kind, code) for kind, code in given.items() if code]
        found = self.replica.registers(text, state=state, codes=codes, limit=limit + 1)
        types = {one.type for one in self.replica.records(Register.kind) if isinstance(one, Register)}
        return Registers(found=found[:limit], types=tuple(sorted(filter(None, types))), has_more=len(found) > limit)

    def register(self, name: AuthorityId, /) -> Register:
        """One register. Raises UnknownRegister."""
        found = self.record("register", name)
        if found is None or not isinstance(found[0], Register):
            raise UnknownRegister("the directory has no such register", register=name)
        return found[0]

    def each(self, kind: Kind, state: State) -> Iterator[Record]:
        """The records of one kind of a State, whatever node hosts them, one after the other."""
        return self.replica.each(kind, state)

    def with_role(self, area: str, role: str, state: State | None = None) -> tuple[Authority, ...]:
        """The active ones that hold a directory role in a procedure or its area."""
        found = self.replica.with_code("role", f"{area}/{role}", state)
        return tuple(authority for authority in found if authority.status == "active")

    def linked_to(self, coordinator: AuthorityId) -> tuple[Authority, ...]:
        """Those that name an authority among their coordinators, for whatever function."""
        return tuple(self.replica.with_code("coordinator", coordinator))

    def represented_by(self, coordinator: AuthorityId, /) -> tuple[AuthorityId, ...]:
        """The bodies without users of their own for which this coordinator's users act."""
        return self.replica.ids_with_code("represented-by", coordinator)

    def suspended(self, state: State) -> tuple[Authority, ...]:
        """A State's suspended authorities, which no search finds."""
        return tuple(self.replica.with_code("status", "suspended", state))

    def count(self) -> int:
        """How many authorities all States have together."""
        return self.replica.count()

    # -- changing what is ours -------------------------------------------------------------------------------------

    def publish(
        self, node: NodeId, changes: Sequence[Change], signer: LogSigner, *, by: By = OPERATOR,
        collection: str = COLLECTION,
    ) -> Checkpoint:  # fmt: skip
        """Append changes to a log of `node`, sign it, and make them visible here: see `Host.publish`.

        An authority that moved here keeps where it was before, whoever writes its entry anew.
        """
        here = {found.id: found.former for found in self.replica.moved() if found.node == node}
        kept = [
            replace(change, former=here[change.id])
            if isinstance(change, Authority) and change.id in here and not change.former
            else change
            for change in changes
        ]
        return self.host.publish(node, kept, signer, by=by, collection=collection)

    def accept(self, signed: Signed, key: LogKey) -> Checkpoint:
        """Publish what a log's owner signed elsewhere: see `Host.accept`."""
        return self.host.accept(signed, key)

    def on_publish(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, on the thread that publishes, after each change of a log that lies here."""
        self.host.on_publish(listener)

    def catch_up(self) -> None:
        """Bring the replica up to every log that lies here; cheap where nothing is missing."""
        for mine in sorted(filter(None, map(LogId.parse, self.own.logs()))):
            try:
                self.follow_own(mine)
            except (PeerError, LogFrozen) as error:
                log.error("our own log cannot be followed", log=str(mine), code=error.code, reason=str(error))  # noqa: TRY400  # no bug of ours

    def follow_own(self, mine: LogId) -> None:
        """Bring the replica up to a log that lies here (after a crash between the two, too).

        In one transaction: a command beside the node does the same.
        """
        if self._lags(mine) is None:
            return
        with self.replica.writing():
            name, target = str(mine), self._lags(mine)
            if target is None:
                return  # somebody else has just done it
            self.replica.unstage(name)
            for first, last in batches(self.replica.staged(name).size, target.size, AT_ONCE):
                self.replica.stage(name, self.own.entries(name, first, last))
            self.settle(target, source=OURS)
        self._forget()

    def _lags(self, mine: LogId) -> Checkpoint | None:
        """The checkpoint of a log that lies here, if the replica has not come so far."""
        name = str(mine)
        target, held = self.own.held(name), self.replica.held(name)
        over = mine.epoch < self.replica.standing(mine.name).epoch or not self.own.has_entries(name)
        return None if over or (target and held and held.size >= target.size) else target

    # -- following others ------------------------------------------------------------------------------------------

    def see(
        self, shown: LogId, note: str, key: LogKey, *, source: str, at: datetime, knew: tuple[int, int] = JUST_ASKED
    ) -> Checkpoint | None:
        """Judge a checkpoint somebody shows us: see `Follower.see`; what it `knew`: see `Showing`."""
        return self.follower.see(shown, note, key, Showing(source=source, at=at, knew=knew))

    def settle(self, checkpoint: Checkpoint, *, source: str = OURS) -> None:
        """Count the staged entries if they lead to the signed root: see `Follower.settle`."""
        self.follower.settle(checkpoint, Showing(source=source, at=self._clock.now(), knew=JUST_ASKED))

    def heads(self) -> dict[str, str]:
        """The newest checkpoint of every log held here, and the last one of the epoch before, by log."""
        return self.follower.heads()

    def own_heads(self) -> dict[str, str]:
        """The newest checkpoint, as others see it, of every log that lies here."""
        notes = {name: self.replica.held(name) for name in self.own.logs()}
        return {name: held.note for name, held in notes.items() if held}

    def fork_seen(self, held: Checkpoint, seen: Checkpoint, proof: Divergence, *, source: str, at: datetime) -> None:
        """A log does not begin with what we hold of it: see `Follower.fork_seen`."""
        self.follower.fork_seen(held, seen, proof, Showing(source=source, at=at, knew=JUST_ASKED))

    # -- what an operator sees -------------------------------------------------------------------------------------

    def status(self) -> list[LogStatus]:
        """How each log that anybody has shown does, by name."""
        return self.follower.status(self.keys())

    def evidence(self) -> list[Evidence]:
        """What was seen against any log, oldest first."""
        return self.own.evidence()

    def position(self, name: LogId) -> tuple[int, int]:
        """What we hold of a log: (epoch, size)."""
        standing = self.replica.standing(name.name)
        held = self.replica.held(str(standing.log))
        return standing.epoch, held.size if held else 0

    def lags(self, name: LogId) -> bool:
        """Whether somebody has shown a signed head of a log, in any epoch, that is beyond what counts here."""
        standing = self.replica.standing(name.name)
        return (standing.largest_epoch, standing.largest) > self.position(name)

    def invalid(self, node: NodeId, collection: str = COLLECTION) -> list[tuple[int, str]]:
        """The entries of a log that have no effect, and why: (seq, reason)."""
        standing = self.replica.standing(LogId(node, collection).name)
        return self.replica.invalid(standing.log)

    def release(self, frozen: LogId, *, because: str) -> bool:
        """Let a frozen log go on; False if it was not frozen."""
        return self.follower.release(frozen, because=because, at=self._clock.now())


def log_name(node: NodeId, collection: str = COLLECTION) -> str:
    """The name of a node's log, and its first epoch's."""
    return LogId(node, collection).name


__all__ = ["BadPage", "Directory", "LogSigner", "NotOurLog", "UnknownAuthority", "log_name"]
