"""Following logs: is a shown checkpoint news, old, or a contradiction; and making what was fetched count.

A log that contradicts itself is frozen here: nothing more of that epoch is applied until an operator releases it or the
trust list names a new epoch. What is known of its authorities stays in use.

A new epoch takes the place of the old one in a single transaction, once its whole opening snapshot is proven. The
snapshot is compared with what the old epoch ended with; what returns, changes or is missing is kept as evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NoReturn

import structlog

from node.directory.copies import NOBODY, Difference, Standing, read_entries, stamp
from node.directory.originals import Originals
from node.directory.replication import (
    MAX_EPOCH,
    BadCheckpoint,
    BadPage,
    Checkpoint,
    Closing,
    Divergence,
    LogForked,
    LogId,
    LogRolledBack,
    Opening,
    batches,
    check_root,
    judge,
    log_of,
    read_checkpoint,
    read_opening,
)
from node.directory.search import Replica
from node.directory.status import LogStatus
from node.directory.store import AT_ONCE
from node.errors import Unavailable
from node.federation.peers import LogKey
from node.ids import NodeId

SNAPSHOT_DIFFERS: Final = "snapshot-differs"
NOT_ASKED: Final = (0, 0)  # what we knew when a head was shown of its own accord
JUST_ASKED: Final = (MAX_EPOCH + 1, 0)  # all that we hold we knew
_NAMED: Final = 20  # identifiers in a piece of evidence

log = structlog.get_logger()


class EpochNotKnown(Unavailable):
    """A log is shown in an epoch that neither the trust list nor the end of the epoch before it has announced to us."""

    code = "unavailable.epoch-not-known"


class HostBehind(Unavailable):
    """A log's host showed less than it signed before; it may have been an answer under way: the host is asked again."""

    code = "unavailable.log-host-behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """Who showed a checkpoint, and when.

    `knew`: what we held of the log, (epoch, size), when we asked for it. Less than that is a rollback; between that and
    what we hold by now it is only an answer that was overtaken on its way.
    """

    source: str
    at: datetime
    knew: tuple[int, int]


class Follower:
    """The replica's side of all logs."""

    def __init__(
        self, own: Originals, replica: Replica, changed: Callable[[], None], keys: Callable[[], Mapping[str, LogKey]]
    ) -> None:  # fmt: skip
        self._own, self._replica, self._changed, self._keys = own, replica, changed, keys

    def valid(self, standing: Standing, key: LogKey) -> tuple[int, NodeId]:
        """The epoch that should count, and who serves it: the trust list's or the one a proven `close` announces."""
        announced, host = standing.epoch, standing.host
        if standing.next_host:
            announced, host = standing.epoch + 1, standing.next_host
        return (key.epoch, key.host) if key.epoch >= announced else (announced, host)

    def worth_following(self, heads: Mapping[str, str], keys: Callable[[LogId], LogKey | None]) -> list[LogId]:
        """Of the heads somebody shows those that matter: each log's newest, and where we are not that far, what leads there.

        Left out is what we hold to the letter: most heads are no news, and cost no signature check.

        Args:
            heads: notes, by log.
            keys: what the trust list says of a log; None: nothing.
        """
        shown = sorted(filter(None, map(LogId.parse, heads)))
        newest = {each.name: each.epoch for each in shown}
        found = []
        for each in shown:
            key, epoch = keys(each), self._replica.standing(each.name).epoch
            leads = each.epoch == epoch or (not epoch and key is not None and each.epoch >= key.epoch)
            if key is None or not (leads or each.epoch == newest[each.name]):
                continue
            held = self._replica.held(str(each)) if each.epoch == epoch else None
            if held is None or held.note != heads[str(each)]:
                found.append(each)
        return found

    def see(self, shown: LogId, note: str, key: LogKey, by: Showing) -> Checkpoint | None:
        """Judge a checkpoint somebody shows us; it is returned if it promises entries we lack.

        Raises:
            BadCheckpoint: not signed by the log's key.
            EpochNotKnown: nobody has announced its epoch.
            HostBehind: its host shows less than we hold, yet not less than we knew when it was asked.
            LogRolledBack, LogForked: after keeping both as evidence and freezing the log.
        """
        seen = read_checkpoint(note, log=str(shown), public_key=key.public_key)
        standing = self._replica.standing(shown.name)
        epoch, host = self.valid(standing, key)
        if shown.epoch > epoch:
            raise EpochNotKnown(f"{shown} is shown, and nobody has announced its epoch", log=str(shown))
        self._replica.saw(shown, seen.size)
        held = self._replica.held(str(standing.log))
        if shown.epoch < standing.epoch:
            if by.source == host:  # which shows no newer one: see `worth_following`
                assert held is not None, "an epoch counts from its first checkpoint on"
                self._behind(f"{shown.name} is in epoch {standing.epoch}; its host shows {shown}", held, seen, by)
            return None
        if standing.epoch < shown.epoch:
            held = None
        if held and 0 < seen.size < held.size:
            self._check_beginning(held, seen, by)
        if held and seen.size < held.size:
            if by.source == host and shown.epoch == epoch:
                self._behind(f"{shown} had {held.size} entries; its host shows {seen.size}", held, seen, by)
            return None
        try:
            is_news = judge(held, seen)
        except LogForked as error:
            self._accuse(error, held, seen, by)
            raise
        return seen if is_news and not self._own.frozen(str(shown)) else None

    def _check_beginning(self, held: Checkpoint, seen: Checkpoint, by: Showing) -> None:
        """That a smaller checkpoint is how ours began, from whomever it comes. Raises LogForked."""
        ours = self._replica.root_at(held.log, seen.size)
        if ours != seen.root:
            path = self._replica.prove_consistency(held.log, seen.size, held.size)
            self.fork_seen(held, seen, Divergence(ours, path), by)

    def _behind(self, words: str, held: Checkpoint, seen: Checkpoint, by: Showing) -> NoReturn:
        found = log_of(seen.note)
        if found is None or (found.epoch, seen.size) >= by.knew:
            raise HostBehind(words, log=seen.log)
        error = LogRolledBack(words, log=seen.log)
        self._accuse(error, held, seen, by)
        raise error

    def fork_seen(self, held: Checkpoint, seen: Checkpoint, proof: Divergence, by: Showing) -> NoReturn:
        """Two checkpoints of which the larger does not begin with the smaller. Raises LogForked, after keeping both."""
        error = LogForked(
            f"{seen.log} was signed with {seen.size} entries and with {held.size}, and neither continues the other",
            log=seen.log,
        )
        self._accuse(error, held, seen, by, proof=proof.to_json())
        raise error

    def _accuse(
        self, error: LogRolledBack | LogForked, held: Checkpoint | None, seen: Checkpoint, by: Showing, **more: Any
    ) -> None:
        note = held.note if held else ""
        self._own.keep_evidence(
            at=by.at, log=seen.log, kind=error.code, source=by.source, held=note, seen=seen.note, more=more
        )
        self._own.freeze(held.log if held else seen.log, kind=error.code, at=by.at)
        log.error("directory log contradicts itself", log=seen.log, code=error.code, source=by.source)

    # -- making entries count --------------------------------------------------------------------------------------

    def settle(self, checkpoint: Checkpoint, by: Showing) -> None:
        """Count the staged entries if they lead to the signed root; else forget them.

        Entries that say what this log may not say are flagged, and have no effect; the log goes on.

        Raises:
            BadPage: they do not, or an epoch does not begin with its whole opening.
        """
        shown = log_of(checkpoint.note)
        assert shown is not None, "a checkpoint was read before it is settled"
        name = str(shown)
        try:
            with self._replica.writing():  # the root too is looked at in it: a command may be at work beside the node
                check_root(self._replica.staged(name), checkpoint)
                standing = self._replica.standing(shown.name)
                self._check_open(shown, standing)
                begins = shown.epoch != standing.epoch
                before = 0 if begins else self._replica.frontier(name).size
                opening = self._opening(shown, checkpoint) if begins and shown.epoch > 1 else None
                evidence = self._switch(standing.log, shown, opening) if begins and standing.epoch else None
                first = 1 + opening.entries if opening and evidence else before
                closing = self._grow(shown, first, checkpoint.size, closed=not begins and bool(standing.next_host))
                self._replica.prove(checkpoint)
                self._stand(standing, shown, checkpoint, closing, by)
        except BaseException:
            self._replica.unstage(name)
            raise
        if evidence:
            self._report(evidence, checkpoint, by)
        self._changed()
        log.info("directory log followed", log=name, entries=checkpoint.size - before)

    def _check_open(self, shown: LogId, standing: Standing) -> None:
        if shown.epoch < standing.epoch:
            raise BadPage(f"{shown} is over: epoch {standing.epoch} counts", log=str(shown))
        self._own.check_not_frozen(str(shown))

    def _opening(self, shown: LogId, checkpoint: Checkpoint) -> Opening | None:
        """How an epoch begins; None: not as it should, so it repeats nothing of its predecessor. Raises BadPage."""
        first = self._replica.entries(str(shown), 0, 1)
        opening = read_opening(first[0].body) if first else None
        if opening and checkpoint.size < 1 + opening.entries:
            raise BadPage(f"{shown} shows {checkpoint.size} entries, fewer than its opening has", log=str(shown))
        return opening

    def _grow(self, shown: LogId, first: int, last: int, *, closed: bool) -> Closing | None:
        """Apply the entries [first, last) of a log; what ends it, if something does."""
        closing: Closing | None = None
        for start, end in batches(first, last, AT_ONCE):
            entries = self._replica.entries(str(shown), start, end)
            reading = read_entries(entries, shown, start, closed=closed or closing is not None)
            self._replica.apply(reading.changes, shown.node)
            self._flag(shown, reading.invalid)
            closing = closing or reading.closing
        return closing

    def _flag(self, shown: LogId, invalid: list[tuple[int, str]]) -> None:
        if invalid:
            self._replica.flag(shown, invalid)
            seq, reason = invalid[0]
            log.error("directory entries without effect", log=str(shown), count=len(invalid), first=seq, reason=reason)

    def _switch(self, old: LogId, shown: LogId, opening: Opening | None) -> tuple[Checkpoint, dict[str, Any]]:
        """Put an epoch's snapshot in the place of the old epoch; what differs, for the evidence.

        Where an epoch between them was never read here, any difference may have come about in it.
        """
        opening = opening or Opening("", 0)
        held = self._replica.held(str(old))
        assert held is not None, "an epoch counts from its first checkpoint on"
        self._replica.note_changes(old, held.size, self._replica)
        differs = Difference([], [], [])
        for start, end in batches(1, 1 + opening.entries, AT_ONCE):
            reading = read_entries(self._replica.entries(str(shown), start, end), shown, start)
            self._replica.apply(self._replica.compare(reading.changes, reading.bodies, differs), shown.node)
            self._flag(shown, reading.invalid)
        self._replica.apply(self._replica.missing(differs), shown.node)
        for epoch in range(1, shown.epoch):  # of the last one the final checkpoint stays, for peers that lag behind
            self._replica.drop(str(old.at(epoch)))
        log.info("directory log goes on in a new epoch", log=str(shown), repeated=opening.entries)
        return held, _evidence(held, self._ended(old, opening), differs) if shown.epoch == old.epoch + 1 else {}

    def _ended(self, old: LogId, opening: Opening) -> int:
        """Where an epoch ended, as its opened successor shows with a checkpoint of it; 0 if that is not signed.

        The note in an opening is only text to whoever signs the opening: unsigned, it could say any size.
        """
        key = self._keys().get(old.name)
        try:
            return read_checkpoint(opening.previous, log=str(old), public_key=key.public_key).size if key else 0
        except BadCheckpoint:
            return 0

    def _report(self, found: tuple[Checkpoint, dict[str, Any]], seen: Checkpoint, by: Showing) -> None:
        held, more = found
        if more:
            self._own.keep_evidence(
                at=by.at,
                log=seen.log,
                kind=SNAPSHOT_DIFFERS,
                source=by.source,
                held=held.note,
                seen=seen.note,
                more=more,
            )
            log.error("a new epoch does not repeat the old one", log=seen.log, source=by.source, **more["counts"])

    def _stand(
        self, was: Standing, shown: LogId, checkpoint: Checkpoint, closing: Closing | None, by: Showing
    ) -> None:  # fmt: skip
        goes_on = shown.epoch == was.epoch
        largest = max((was.largest_epoch, was.largest), (shown.epoch, checkpoint.size))
        announced = closing.host if closing else (was.next_host if goes_on else NOBODY)
        followed = was.next_host if shown.epoch == was.epoch + 1 else NOBODY  # else the trust list names the host
        self._replica.put_standing(
            replace(
                was,
                epoch=shown.epoch,
                host=was.host if goes_on else followed,
                next_host=announced,
                adopted=stamp(by.at),
                source=by.source,
                largest_epoch=largest[0],
                largest=largest[1],
            )
        )

    # -- what is held ----------------------------------------------------------------------------------------------

    def heads(self) -> dict[str, str]:
        """The newest checkpoint of every log held here, and the last one of the epoch before."""
        found = {}
        for standing in self._replica.standings():
            epochs = range(max(standing.epoch - 1, 1), standing.epoch + 1)
            notes = {str(log): self._replica.held(str(log)) for log in map(standing.log.at, epochs)}
            found.update({name: held.note for name, held in notes.items() if held})
        return found

    def release(self, name: LogId, *, because: str, at: datetime) -> bool:
        """An operator lets a frozen log go on; False if it was not frozen."""
        released = self._own.release(str(name), because=because, at=at)
        if released:
            log.warning("directory log released by the operator", log=str(name), because=because)
        return released

    def status(self, keys: Mapping[str, LogKey]) -> list[LogStatus]:
        """Every log that anybody has shown.

        Args:
            keys: the trust list's, by name (`EE/authorities`).
        """
        invalid, evidence = self._replica.invalid_counts(), Counter(_name_of(each.log) for each in self._own.evidence())
        found = []
        for one in self._replica.standings():
            held = self._replica.held(str(one.log))
            size = held.size if held and one.epoch else 0
            epoch, host = self.valid(one, keys[one.name]) if one.name in keys else (one.epoch, one.host)
            found.append(
                LogStatus(
                    node=one.log.node, collection=one.log.collection, host=host, epoch=epoch, held_epoch=one.epoch,
                    size=size, head_at=datetime.fromisoformat(one.adopted) if one.adopted else None, source=one.source,
                    behind=one.largest - (size if one.largest_epoch == one.epoch else 0),
                    frozen=self._own.frozen(str(one.log)), invalid=invalid.get(str(one.log), 0),
                    evidence=evidence[one.name],
                )
            )  # fmt: skip
        return found


def _name_of(text: str) -> str:
    found = LogId.parse(text)
    return found.name if found else text


def _evidence(held: Checkpoint, ended: int, differs: Difference) -> dict[str, Any]:
    """What to keep: nothing if all is the same, or if we had not read the old epoch to where the new one left it."""
    if not differs or held.size < ended:
        return {}
    kinds = ("returned", "changed", "missing")
    return {
        "counts": {kind: len(getattr(differs, kind)) for kind in kinds},
        **{kind: getattr(differs, kind)[:_NAMED] for kind in kinds},
    }
