"""Messages this node refused, kept for its operators: which peer, what it was told, which field differed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from node.federation import as4
from node.ids import NodeId
from node.local_store.messages import RejectionRow

KEPT: Final = 1000  # of each peer: one that sends rubbish fills neither the disk nor the others' place

_table: Final = RejectionRow.__table__


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One refused message. `message_id` is what the message said of itself."""

    peer: NodeId
    message_id: str
    at: datetime
    code: str
    ebms: str
    reason: str
    field: str
    expected: str
    received: str


def add(session: Session, peer: NodeId, error: as4.As4Error, *, at: datetime) -> None:
    """Keep one; the peer's oldest beyond KEPT go."""
    values = {
        "peer": peer,
        "message_id": (error.message_id or "")[:255],
        "at": at,
        "code": error.code,
        "ebms": error.ebms.code,
        "reason": str(error)[:500],
        "field": error.field[:200],
        "expected": error.expected,
        "received": error.received,
    }
    session.connection().execute(insert(RejectionRow), values)
    theirs = select(_table.c.id).where(_table.c.peer == peer).order_by(_table.c.id.desc())
    oldest = theirs.limit(1).offset(KEPT).scalar_subquery()
    session.connection().execute(delete(RejectionRow).where(_table.c.peer == peer, _table.c.id <= oldest))


def of_message(session: Session, message_id: str) -> Sequence[Rejection]:
    """The rejections of messages that called themselves so, oldest first."""
    return _found(session, select(_table).where(_table.c.message_id == message_id).order_by(_table.c.id))


def newest(session: Session, *, peer: str = "", limit: int = 100) -> Sequence[Rejection]:
    """The newest rejections, of all peers or of one."""
    query = select(_table).order_by(_table.c.id.desc()).limit(limit)
    return _found(session, query.where(_table.c.peer == peer) if peer else query)


def _found(session: Session, query: object) -> Sequence[Rejection]:
    rows = session.execute(query)  # type: ignore[call-overload]
    names = Rejection.__dataclass_fields__
    return [Rejection(**{name: getattr(row, name) for name in names}) for row in rows]
