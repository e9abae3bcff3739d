"""The node's directory: reading it anywhere, changing what is its own, and keeping it equal to everybody's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from node.directory.model import OPERATOR, Authority, By, Change, Deleted, Kind, Record, read_change, write_change
from node.directory.replication import (
    COLLECTION,
    PAGE,
    BadPage,
    Checkpoint,
    Entry,
    LogForked,
    LogRolledBack,
    check_root,
    judge,
    new_entry,
    read_checkpoint,
    sign_checkpoint,
)
from node.directory.search import Replica, SearchResult
from node.directory.status import LogStatus
from node.directory.store import LogStore
from node.errors import PeerError, Refused
from node.ids import AuthorityId, NodeId, State

_APPLY_AT_ONCE: Final = 20 * PAGE
log = structlog.get_logger()


class UnknownAuthority(Refused):
    """The directory has no such authority."""

    code = "refused.unknown-authority"


class NotOurLog(Refused):
    """An authority of another node cannot be changed here."""

    code = "refused.not-our-log"


class LogSigner(Protocol):
    """The key of one log."""

    @property
    def public_key(self) -> Ed25519PublicKey: ...

    def sign(self, data: bytes) -> bytes: ...


class Directory:
    """Local and cheap to read from any thread; changes go through logs only."""

    def __init__(
        self,
        folder: Path,
        *,
        vocabulary: Mapping[str, Sequence[str]] | None = None,
        crash_at: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.own = LogStore(folder / "logs.db", durable=True, crash_at=crash_at)
        self.replica = Replica(folder / "directory.db", durable=False, crash_at=crash_at)
        self.replica.vocabulary = vocabulary or {}
        self._cache: dict[AuthorityId, Authority] = {}
        self._generation = 0
        self._cache_lock = threading.Lock()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

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

    def node_of(self, authority: AuthorityId, /) -> NodeId:
        """The node that hosts it. Raises UnknownAuthority."""
        return self.get(authority).node

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
        limit: int = 20,
    ) -> SearchResult:
        """Authorities by words in any script, best first; `role` is `area/role` (professional-qualifications/ca)."""
        given = {"area": area, "profession": profession, "activity": activity, "role": role, "nuts": nuts}
        codes = [(kind, code) for kind, code in given.items() if code]
        return self.replica.search(text, state=state, codes=codes, limit=limit)

    def changed_by(self, authority: AuthorityId) -> By | None:
        """Who last changed an authority's entry."""
        return self.replica.changed_by(authority)

    def records(self, kind: Kind, state: State | None = None) -> list[Record]:
        """Groups, registers or repository entries, of one State or of all."""
        return self.replica.records(kind, state)

    def record(self, kind: Kind, name: AuthorityId) -> tuple[Record, By] | None:
        """A group, register or repository entry and who last changed it."""
        return self.replica.record(kind, name)

    def with_role(self, area: str, role: str, state: State | None = None) -> tuple[Authority, ...]:
        """Those that hold a directory role in a procedure or its area."""
        return tuple(self.replica.with_code("role", f"{area}/{role}", state))

    def count(self) -> int:
        """How many authorities all States have together."""
        return self.replica.count()

    # -- changing what is ours -------------------------------------------------------------------------------------

    def publish(self, node: NodeId, changes: Sequence[Change], signer: LogSigner, *, by: By = OPERATOR) -> Checkpoint:
        """Append changes to a log that this node hosts, sign it, and make them visible here.

        Args:
            signer: the key of the log of `node`: ours, or a hosted State's.
            by: who makes these changes.

        Raises:
            NotOurLog: a change is about an authority of another node.
            BadEntry: a value is longer than an entry allows, or not of its form.
            BadCheckpoint, LogForked: more or other entries were signed before than lie here, and they cannot be taken
                back from the replica; nothing is signed.
        """
        for change in changes:
            if not isinstance(change, Deleted) and change.node != node:
                raise NotOurLog(f"{change.id} is hosted by {change.node}", authority=change.id)
        name = log_name(node)
        bodies = [write_change(change, by) for change in changes]
        for body in bodies:  # what is once in a log stays: nothing enters that others would refuse
            read_change(body, node=node)
        with self._lock, self.own.writing():
            self._recover(name, signer)
            frontier = self.own.stage(name, [new_entry(body) for body in bodies])
            checkpoint = sign_checkpoint(name, frontier, public_key=signer.public_key, sign=signer.sign)
            self.own.prove(checkpoint)
        self.follow_own(node)
        for listener in self._listeners:
            listener()
        return checkpoint

    def on_publish(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, on the thread that publishes, after each change of a log that lies here."""
        self._listeners.append(listener)

    def _recover(self, name: str, signer: LogSigner) -> None:
        """Take back what we signed and our own file has lost (a restored backup): no size is ever signed twice."""
        known, ours = self.replica.held(name), self.own.held(name)
        if known is None or (ours is not None and ours.size > known.size):
            return
        if ours is not None and ours.size == known.size:
            judge(known, ours)
            return
        signed = read_checkpoint(known.note, log=name, public_key=signer.public_key)
        self.own.unstage(name)
        for first in range(ours.size if ours else 0, signed.size, _APPLY_AT_ONCE):
            self.own.stage(name, self.replica.entries(name, first, min(first + _APPLY_AT_ONCE, signed.size)))
        if self.own.staged(name).root != signed.root:
            raise LogForked(f"{name} was signed with other entries than lie here", log=name)
        self.own.prove(signed)
        log.warning("entries of our own log taken back from the replica", log=name, entries=signed.size)

    def catch_up(self) -> None:
        """Bring the replica up to every log that lies here; once, before a node runs."""
        for name in self.own.logs():
            node = node_of_log(name)
            if node is None:
                continue
            try:
                self.follow_own(node)
            except PeerError as error:
                log.error("our own log cannot be followed", log=name, code=error.code, reason=str(error))  # noqa: TRY400  # no bug of ours

    def follow_own(self, node: NodeId) -> None:
        """Bring the replica up to a log that lies here (after a crash between the two, too)."""
        name = log_name(node)
        target = self.own.held(name)
        held = self.replica.held(name)
        if target is None or (held and held.size >= target.size):
            return
        self.replica.unstage(name)
        start = self.replica.staged(name).size
        for first in range(start, target.size, _APPLY_AT_ONCE):
            self.replica.stage(name, self.own.entries(name, first, min(first + _APPLY_AT_ONCE, target.size)))
        self.settle(node, target)

    # -- following others ------------------------------------------------------------------------------------------

    def see(
        self, node: NodeId, note: str, key: Ed25519PublicKey, *, source: str, is_host: bool, at: datetime
    ) -> Checkpoint | None:
        """Judge a checkpoint somebody shows us; it is returned if it promises entries we lack.

        Args:
            source: who showed it.
            is_host: the log's own host shows it: from anybody else a smaller one is only old.
            at: when, for the evidence.

        Raises:
            BadCheckpoint: not signed by the log's key.
            LogRolledBack, LogForked: after keeping both as evidence.
        """
        name = log_name(node)
        seen = read_checkpoint(note, log=name, public_key=key)
        held = self.replica.held(name)
        if held and seen.size < held.size and not is_host:
            return None
        try:
            return seen if judge(held, seen) else None
        except (LogRolledBack, LogForked) as error:
            self._accuse(error, held, seen, source, at)
            raise

    def settle(self, node: NodeId, checkpoint: Checkpoint) -> None:
        """Count the staged entries if they lead to the signed root; else forget them.

        Raises:
            BadPage: they do not.
            BadEntry: they do, but say what this log may not say; nothing of them counts.
        """
        name = log_name(node)
        try:
            check_root(self.replica.staged(name), checkpoint)
            held = self.replica.frontier(name).size
            with self.replica.writing():
                for first in range(held, checkpoint.size, _APPLY_AT_ONCE):
                    entries = self.replica.entries(name, first, min(first + _APPLY_AT_ONCE, checkpoint.size))
                    self.replica.apply(_changes(entries, node), node)
                self.replica.prove(checkpoint)
        except BaseException:
            self.replica.unstage(name)
            raise
        self._forget()
        log.info("directory log followed", log=name, entries=checkpoint.size - held)

    def heads(self) -> dict[str, str]:
        """The newest checkpoint of every log held here, by log name."""
        notes = {name: self.replica.held(name) for name in self.replica.logs()}
        return {name: held.note for name, held in notes.items() if held}

    def status(self) -> list[LogStatus]:
        """How the copy of every log does, by name."""
        held = ((name, self.replica.held(name)) for name in self.replica.logs())
        return [
            LogStatus(node=NodeId(name.partition("/")[0]), collection=name.partition("/")[2], size=found.size)
            for name, found in held
            if found
        ]

    def own_heads(self) -> dict[str, str]:
        """The newest checkpoint, as others see it, of every log that lies here."""
        notes = {name: self.replica.held(name) for name in self.own.logs()}
        return {name: held.note for name, held in notes.items() if held}

    def fork_seen(self, seen: Checkpoint, *, source: str, at: datetime) -> None:
        """A longer log was found that does not begin with ours. Raises LogForked, after keeping both as evidence."""
        error = LogForked(f"{seen.log} was signed with {seen.size} entries that do not continue ours", log=seen.log)
        self._accuse(error, self.replica.held(seen.log), seen, source, at)
        raise error

    def _accuse(
        self, error: LogRolledBack | LogForked, held: Checkpoint | None, seen: Checkpoint, source: str, at: datetime
    ) -> None:
        self.replica.keep_evidence(
            at=at.isoformat(), kind=error.code, source=source, held=held.note if held else "", seen=seen
        )
        log.error("directory log contradicts itself", log=seen.log, code=error.code, source=source)


def log_name(node: NodeId) -> str:
    """The log of a node's authorities."""
    return f"{node}/{COLLECTION}"


def node_of_log(name: str) -> NodeId | None:
    """The node of an authorities log's name; None for anything else."""
    node, _, collection = name.partition("/")
    return NodeId(node) if collection == COLLECTION else None


def _changes(entries: Sequence[Entry], node: NodeId) -> list[tuple[Change, By]]:
    return [read_change(entry.body, node=node) for entry in entries if entry.body is not None]


__all__ = ["BadPage", "Directory", "LogSigner", "NotOurLog", "UnknownAuthority", "log_name", "node_of_log"]
