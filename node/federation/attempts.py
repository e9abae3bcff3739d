"""Each time a message was posted to its peer, kept for operators: when, what came of it, what the peer said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

from sqlalchemy import Table, bindparam, delete, select, text
from sqlalchemy.orm import Session

from node.errors import ImiError
from node.federation import as4
from node.federation.protocol import Again, NeverAgain, Outcome, Received
from node.local_store.messages import AttemptRow
from node.local_store.tables import UtcDateTime

KEPT: Final = 100  # of each message: a peer that is away for weeks must not fill the disk

_table: Final = cast("Table", AttemptRow.__table__)

Kind = Literal["received", "again", "never again", "no answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back for one post: the outcome it means, and the signal or HTTP status it was read from."""

    outcome: Outcome | ImiError
    signal: as4.Signal | None = None
    status: int | None = None
    milliseconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One post. `said` is the peer's answer in its words, or why there was none."""

    at: datetime
    outcome: Kind
    said: str
    authenticated: bool | None
    status: int | None
    milliseconds: int


def attempt_of(answered: Answered, *, at: datetime) -> Attempt:
    """What is kept of an answer."""
    return Attempt(
        at=at,
        outcome=_kind(answered.outcome),
        said=_said(answered)[:500],
        authenticated=_authenticated(answered.signal),
        status=answered.status,
        milliseconds=answered.milliseconds,
    )


def add(session: Session, attempts: Sequence[tuple[int, int, Answered]], *, at: datetime) -> None:
    """Keep attempts: (outbox id, how many there were before, answer); the oldest of a message beyond KEPT go."""
    rows = [{"message": number, **_row(attempt_of(answered, at=at))} for number, _, answered in attempts]
    if rows:
        session.connection().execute(_INSERT, rows)
    for number, before, _ in attempts:
        if before >= KEPT:
            newest = select(_table.c.id).where(_table.c.message == number).order_by(_table.c.id.desc()).limit(KEPT)
            old = delete(_table).where(_table.c.message == number, _table.c.id.not_in(newest))
            session.connection().execute(old)


def of_message(session: Session, number: int) -> list[Attempt]:
    """The attempts of one outbox row, oldest first."""
    rows = session.execute(select(_table).where(_table.c.message == number).order_by(_table.c.id))
    return [Attempt(**{name: getattr(row, name) for name in _NAMES}) for row in rows]


_NAMES: Final = tuple(Attempt.__dataclass_fields__)

# A statement of every message, made once: building one anew takes longer than running it.
_INSERT: Final = text(
    f"INSERT INTO attempts (message, {', '.join(_NAMES)}) VALUES (:message, :{', :'.join(_NAMES)})"  # noqa: S608  # our own names
).bindparams(bindparam("at", type_=UtcDateTime()))


def _row(attempt: Attempt) -> dict[str, object]:
    return {name: getattr(attempt, name) for name in _NAMES}


def words(signal: as4.Signal) -> str:
    """A signal as a sentence."""
    if isinstance(signal, as4.Receipt):
        return "receipt"
    return f"{signal.code} {signal.short_description}: {signal.description}".strip(" :")


def _kind(outcome: Outcome | ImiError) -> Kind:
    match outcome:
        case Received():
            return "received"
        case NeverAgain():
            return "never again"
        case Again():
            return "again"
        case _:
            return "no answer"


def _said(answered: Answered) -> str:
    """The reason where our judgement of the signal says more than the signal: a receipt for other bytes."""
    match answered.outcome, answered.signal:
        case (Received(), as4.Receipt() as signal) | (_, as4.ErrorSignal() as signal):
            return words(signal)
        case ((Again(reason=reason) | NeverAgain(reason=reason)), _):
            return reason
        case outcome, _:
            return str(outcome)


def _authenticated(signal: as4.Signal | None) -> bool | None:
    if signal is None:
        return None
    return isinstance(signal, as4.Receipt) or signal.authenticated
