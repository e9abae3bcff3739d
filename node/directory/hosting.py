"""The logs that lie here: appending to them, taking what their owner signed elsewhere, and beginning new epochs.

Everything that is published goes through one function, `_take`, whoever signed it and wherever: a log only grows, every
entry can be read, and the root is the one its key signed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from node.directory.copies import read_entries
from node.directory.model import OPERATOR, By, Change, Deleted, read_change, write_change
from node.directory.originals import Originals
from node.directory.replication import (
    COLLECTION,
    Checkpoint,
    Closing,
    Entry,
    LogForked,
    LogId,
    Opening,
    batches,
    check_root,
    frontier_after,
    judge,
    new_entry,
    read_checkpoint,
    read_closing,
    read_opening,
    sign_checkpoint,
    write_closing,
    write_opening,
)
from node.directory.search import Replica
from node.directory.store import AT_ONCE
from node.errors import Refused, Unavailable
from node.federation.peers import LogKey
from node.ids import NodeId

log = structlog.get_logger()


class NotOurLog(Refused):
    """An authority of another node, or a log that another node hosts, cannot be changed here."""

    code = "refused.not-our-log"


class LogClosed(Refused):
    """This epoch of the log has ended: the log goes on in the next, at the host its last entry names."""

    code = "refused.log-closed"


class LogGap(Refused):
    """What its owner signed begins behind the end of what lies here; `held` says where that is."""

    code = "refused.log-gap"


class NotPublishable(Refused):
    """An entry could not be read by others, or stands where it may not; nothing of what was sent is published."""

    code = "refused.not-publishable"


class EpochNotPublished(Refused):
    """The trust list does not name the log's present epoch yet; publish that before the next one begins."""

    code = "refused.epoch-not-published"


class PeersNotAsked(Unavailable):
    """The node has not yet asked its peers how far its logs were: it may come from a backup, and signs nothing."""

    code = "unavailable.peers-not-asked"


class EntriesMissing(Unavailable):
    """Peers hold more of our own log than lies here, as its signature proves: it is taken back before we sign again."""

    code = "unavailable.entries-missing"


class LogSigner(Protocol):
    """The key of one log."""

    @property
    def public_key(self) -> Ed25519PublicKey: ...

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Entries of a log from number `first` on, and the checkpoint their owner signed over it all."""

    log: LogId
    first: int
    entries: Sequence[Entry]
    note: str


class Host:
    """The node's own file of logs, and its replica, which follows it."""

    def __init__(self, own: Originals, replica: Replica, follow: Callable[[LogId], None]) -> None:
        self._own, self._replica, self._follow = own, replica, follow
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self.asked = True  # whether peers were asked how far our logs were; a node that starts sets it to False
        self.lies_here: Callable[[LogId], bool] = lambda _log: True  # whether we host it, as the trust list says

    def on_publish(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, on the thread that publishes, after each change of a log that lies here."""
        self._listeners.append(listener)

    def publish(
        self, node: NodeId, changes: Sequence[Change], signer: LogSigner, *, by: By = OPERATOR,
        collection: str = COLLECTION,
    ) -> Checkpoint:  # fmt: skip
        """Append changes to a log, sign it, and make them visible here, or hand them to the log's host.

        Raises:
            NotOurLog: a change is about an authority of another node.
            BadEntry: a value is longer than an entry allows, or not of its form.
            LogClosed: the log goes on at another host.
            PeersNotAsked: the node may come from a backup.
            LogFrozen: the log contradicted itself, as seen here; nothing is signed.
            BadCheckpoint, LogForked: more or other entries were signed before than lie here, and they cannot be taken
                back from the replica; nothing is signed.
        """
        for change in changes:
            if not isinstance(change, Deleted) and change.node != node:
                raise NotOurLog(f"{change.id} is hosted by {change.node}", authority=change.id)
        bodies = [write_change(change, by) for change in changes]
        for body in bodies:  # what is once in a log stays: nothing enters that others would refuse
            read_change(body, node=node, collection=collection)
        with self._lock, self._own.writing():
            current = self._current(LogId(node, collection), signer.public_key)
            self._own.check_not_frozen(str(current))  # nobody would see it, and who tries again would sign it again
            checkpoint = self._append(current, bodies, signer)
        self._published(current)
        return checkpoint

    def sign(
        self, base: LogId, bodies: Sequence[bytes], signer: LogSigner, *, new_epoch: bool = False,
        first: int | None = None,
    ) -> Signed:  # fmt: skip
        """Add entries to a log of ours that another node hosts, and sign it; what its host needs.

        Args:
            bodies: of the entries.
            new_epoch: begin the next epoch after them, with what counts.
            first: the first entry the host lacks; None: those that are new.

        Raises:
            NotPublishable: a body cannot be read by others; nothing is signed.
            LogClosed: as `publish`.
        """
        with self._lock, self._own.writing():
            current = self._current(base, signer.public_key)
            before = self._own.staged(str(current)).size
            if bodies:
                self._append(current, bodies, signer)
            if new_epoch:
                self._append(current, [write_closing(Closing(current.epoch + 1, base.node))], signer)
                self._open(current, signer, self._own)
                current, before = current.at(current.epoch + 1), 0
        for epoch in {max(current.epoch - 1, 1), current.epoch}:
            self._follow(current.at(epoch))
        held = self._own.held(str(current))
        start = before if first is None else first
        size = held.size if held else 0
        return Signed(
            log=current, first=start, entries=self._own.entries(str(current), start, size),
            note=held.note if held else "",
        )  # fmt: skip

    def accept(self, signed: Signed, key: LogKey) -> Checkpoint:
        """Publish what a log's owner signed elsewhere; the same once more changes nothing.

        Raises:
            BadCheckpoint, BadPage: not signed by the log's key, or over other entries.
            LogGap: entries between ours and these are missing.
            LogForked: they do not continue what lies here.
            NotPublishable, LogClosed: see there.
            NotOurLog: the trust list names another host, or another epoch.
        """
        if not self.lies_here(signed.log) or signed.log.epoch > key.epoch:
            raise NotOurLog(f"{signed.log} does not lie here, as the trust list has it", log=str(signed.log))
        checkpoint = read_checkpoint(signed.note, log=str(signed.log), public_key=key.public_key)
        with self._lock, self._own.writing():
            current = self._current(signed.log.at(1), key.public_key)
            if signed.log.epoch < current.epoch:
                raise LogClosed(f"{signed.log} has ended: {current} goes on", log=str(current))
            self._take(signed.log, signed.first, signed.entries, checkpoint)
            self._own.drop_before(signed.log)
        self._published(signed.log)
        return checkpoint

    def _published(self, current: LogId) -> None:
        if self.lies_here(current):
            self._follow(current)
        for listener in self._listeners:
            listener()

    def _append(self, current: LogId, bodies: Sequence[bytes], signer: LogSigner) -> Checkpoint:
        before = self._own.staged(str(current))
        entries = [new_entry(body) for body in bodies]
        after = frontier_after(before, entries)
        made = sign_checkpoint(str(current), after, public_key=signer.public_key, sign=signer.sign)
        checkpoint = read_checkpoint(made.note, log=str(current), public_key=signer.public_key)
        self._take(current, before.size, entries, checkpoint)
        return checkpoint

    def _take(self, current: LogId, first: int, entries: Sequence[Entry], checkpoint: Checkpoint) -> None:
        """The one door to a log that lies here; in a transaction that ends if anything is wrong."""
        name, held = str(current), self._own.held(str(current))
        size = held.size if held else 0
        if first > size:
            raise LogGap(f"{name} has {size} entries here; what was signed begins at {first}", log=name, held=size)
        known, new = entries[: size - first], entries[size - first :]
        stored = self._own.entries(name, first, first + len(known))
        if [entry.leaf for entry in known] != [entry.leaf for entry in stored]:
            raise LogForked(f"{name} lies here with other entries than were signed now", log=name)
        if new:
            self._check_ended(current, size)
            _check_entries(current, size, new)
            self._own.stage(name, new)
        check_root(self._own.staged(name), checkpoint)
        if held is None or judge(held, checkpoint):
            self._own.prove(checkpoint)

    def _check_ended(self, current: LogId, size: int) -> None:
        last = self._own.entries(str(current), size - 1, size) if size else []
        closing = read_closing(last[0].body, current) if last else None
        if closing:
            raise LogClosed(f"{current} has ended; it goes on at {closing.host}", log=str(current), host=closing.host)

    def _current(self, base: LogId, key: Ed25519PublicKey) -> LogId:
        """The epoch in which a log goes on, after taking back what was lost. Raises PeersNotAsked, EntriesMissing."""
        if not self.asked:
            raise PeersNotAsked(
                "this node has not yet asked its peers how far its logs were; it does so while it runs, or say --alone"
            )
        standing = self._replica.standing(base.name)
        current = base.at(max(self._own.epoch(base.name), standing.epoch, 1))
        self._recover(current, key)
        held = self._own.held(str(current))
        if (standing.largest_epoch, standing.largest) > (current.epoch, held.size if held else 0):
            raise EntriesMissing(
                f"peers hold {standing.largest} entries of {current}, more than lie here: they are taken back from them "
                f"with the next greetings; nothing is signed before", log=str(current),
            )  # fmt: skip
        return current

    def _recover(self, current: LogId, key: Ed25519PublicKey) -> None:
        """Take back what we signed and our own file has lost (a restored backup): no size is ever signed twice."""
        name = str(current)
        known, ours = self._replica.held(name), self._own.held(name)
        if known is None or not self._replica.has_entries(name) or (ours is not None and ours.size > known.size):
            return
        if ours is not None and ours.size == known.size:
            judge(known, ours)
            return
        signed = read_checkpoint(known.note, log=name, public_key=key)
        self._own.unstage(name)
        for first, last in batches(ours.size if ours else 0, signed.size, AT_ONCE):
            self._own.stage(name, self._replica.entries(name, first, last))
        if self._own.staged(name).root != signed.root:
            raise LogForked(f"{name} was signed with other entries than lie here", log=name)
        self._own.prove(signed)
        log.warning("entries of our own log taken back from the replica", log=name, entries=signed.size)

    # -- epochs ----------------------------------------------------------------------------------------------------

    def compact(self, base: LogId, signer: LogSigner, *, host: NodeId, trusted_epoch: int) -> Checkpoint:
        """End the present epoch and begin the next here, with a snapshot of what counts and nothing else.

        Args:
            host: this node.
            trusted_epoch: what the trust list says.

        Raises:
            EpochNotPublished: otherwise a node that was away for two epochs could not follow.
            As `publish`.
        """
        with self._lock, self._own.writing():
            current = self._current(base, signer.public_key)
            if trusted_epoch < current.epoch:
                raise EpochNotPublished(
                    f"{current} goes on in an epoch that the trust list does not name: have the State publish epoch "
                    f"{current.epoch} first", log=str(current), epoch=current.epoch,
                )  # fmt: skip
            self._append(current, [write_closing(Closing(current.epoch + 1, host))], signer)
            checkpoint = self._open(current, signer, self._own)
            self._own.drop_before(current.at(current.epoch + 1))
        self._published(current)
        self._published(current.at(current.epoch + 1))
        return checkpoint

    def close(self, base: LogId, signer: LogSigner, *, host: NodeId) -> Checkpoint:
        """End the present epoch: the log goes on at another host. Raises as `publish`."""
        with self._lock, self._own.writing():
            current = self._current(base, signer.public_key)
            checkpoint = self._append(current, [write_closing(Closing(current.epoch + 1, host))], signer)
        self._published(current)
        return checkpoint

    def take_over(self, base: LogId, signer: LogSigner, *, epoch: int) -> Checkpoint:
        """Begin an epoch here from what the replica has of the one before: this node is the log's new host.

        Raises:
            NotOurLog: the trust list has no new epoch for it, or names another host.
        """
        held = self._replica.standing(base.name)
        if not self.lies_here(base.at(epoch)) or epoch <= max(held.epoch, self._own.epoch(base.name)):
            raise NotOurLog(f"the trust list hands no new epoch of {base.name} over to this node", log=base.name)
        if not self.asked:
            raise PeersNotAsked("this node has not yet asked its peers how far this log was")
        with self._lock, self._own.writing():
            checkpoint = self._open(base.at(max(held.epoch, 1)), signer, self._replica, epoch=epoch)
        self._published(base.at(epoch))
        return checkpoint

    def _open(
        self, old: LogId, signer: LogSigner, store: Originals | Replica, *, epoch: int | None = None
    ) -> Checkpoint:
        held = store.held(str(old))
        snapshot = list(self._replica.live(old, store))
        opening = Opening(held.note if held else "", len(snapshot))
        return self._append(old.at(epoch or old.epoch + 1), [write_opening(opening), *snapshot], signer)


def _check_entries(current: LogId, first: int, entries: Iterable[Entry]) -> None:
    """That others can read them, each where it may stand. Raises NotPublishable."""
    new = list(entries)
    if any(entry.body is None for entry in new):
        raise NotPublishable("an entry comes without its body", log=str(current))
    opening = read_opening(new[0].body) if first == 0 else None
    if current.epoch > 1 and first == 0 and (opening is None or len(new) < 1 + opening.entries):
        raise NotPublishable("a new epoch begins with its whole opening", log=str(current))
    reading = read_entries(new, current, first)
    if reading.invalid:
        seq, reason = reading.invalid[0]
        raise NotPublishable(f"entry {seq} of {current}: {reason}", log=str(current), seq=seq)
