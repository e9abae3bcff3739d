"""Messages waiting for other nodes: posted in the business transaction, sent by the lanes, never forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.orm import Session

from node.ids import MessageId, NodeId
from node.local_store.database import after_commit
from node.local_store.messages import OutboxRow

BATCH: Final = 32
_LOOK_AHEAD: Final = 256

State = Literal["waiting", "received", "refused", "parked"]
_table = OutboxRow.__table__
WAKE: Final = "wake"  # what `Database.session_info` holds under this name is called with the recipient after a commit


@dataclass(frozen=True, slots=True, kw_only=True)
class OutFile:
    """A file to travel with a message: fetched by `reference` when the message is built."""

    name: str  # SHA-256 of the content, hexadecimal: part of its Content-ID
    mime: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far one message is."""

    message_id: MessageId
    recipient: NodeId
    state: State
    attempts: int
    posted_at: datetime
    received_at: datetime | None
    last_error: str
    next_attempt_at: datetime | None
    is_late: bool  # a day without a receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message as the lane claims it; `body` is None until it is built."""

    id: int
    message_id: MessageId
    recipient: NodeId
    order_key: str
    conversation: str
    action: str
    posted_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    unanswered: bool
    told_at: datetime | None
    content: bytes | None
    content_reference: str
    files: tuple[OutFile, ...]
    properties: Mapping[str, str]
    content_type: str
    body: bytes | None
    signed: str


def post(
    session: Session,
    *,
    message_id: MessageId,
    recipient: NodeId,
    order: str,
    conversation: str,
    action: str,
    content: bytes | str,
    files: Sequence[OutFile] = (),
    properties: Mapping[str, str] | None = None,
    at: datetime,
) -> None:
    """Store a message with the business change it tells of; its lane wakes once both are durable.

    Args:
        order: messages of one order key reach a recipient in the order they were posted.
        content: the first part, JSON; or a reference that the sender's `open_file` resolves when it is built.
    """
    values = {
        "message_id": message_id,
        "recipient": recipient,
        "order_key": order,
        "conversation": conversation,
        "action": action,
        "posted_at": at,
        "state": "parked" if _is_parked(session, recipient, order) else "waiting",
        "content": content if isinstance(content, bytes) else None,
        "content_reference": content if isinstance(content, str) else "",
        "files": json.dumps([[f.name, f.mime, f.reference] for f in files]),
        "properties": json.dumps(dict(properties or {})),
    }
    session.execute(insert(OutboxRow).values(**values))
    wake: Callable[[NodeId], None] | None = session.info.get(WAKE)
    if wake is not None:
        after_commit(session, partial(wake, recipient))


def claim(
    session: Session, recipient: NodeId, *, at: datetime, busy: frozenset[str], limit: int = BATCH
) -> list[Waiting]:
    """The next messages for a node: the first of each order key, in their order, those in back-off left out.

    Args:
        busy: order keys with a message in flight.
    """
    query = select(_table).where(_table.c.recipient == recipient, _table.c.state == "waiting")
    if busy:
        query = query.where(_table.c.order_key.not_in(sorted(busy)))
    seen: set[str] = set()
    found: list[Waiting] = []
    for row in session.execute(query.order_by(_table.c.id).limit(_LOOK_AHEAD)):
        if row.order_key in seen:
            continue
        seen.add(row.order_key)
        if row.next_attempt_at is None or row.next_attempt_at <= at:
            found.append(_waiting(row))
            if len(found) == limit:
                break
    return found


def next_due(session: Session, recipient: NodeId) -> datetime | None:
    """When the back-off of the first delayed message of a node ends; None if none is delayed."""
    query = select(func.min(_table.c.next_attempt_at)).where(
        _table.c.recipient == recipient, _table.c.state == "waiting", _table.c.next_attempt_at.is_not(None)
    )
    return session.execute(query).scalar()


def with_body(waiting: Waiting, *, content_type: str, body: bytes, signed: str) -> Waiting:
    """The message with the bytes just built for it."""
    return replace(waiting, content_type=content_type, body=body, signed=signed, content=None)


def store_built(session: Session, built: Sequence[tuple[int, str, bytes, str, bytes]]) -> None:
    """Keep the bytes that will be posted: (id, content type, body, signed references, certificate); clear the content."""
    for number, content_type, body, signed, certificate in built:
        _set(
            session, _table.c.id == number,
            content_type=content_type, body=body, signed=signed, signing_certificate=certificate, content=None,
        )  # fmt: skip


def store_received(
    session: Session, number: int, *, at: datetime, receipt: bytes | None, certificate: bytes | None
) -> None:
    """The peer has it; the receipt is kept as evidence (None: it was lost, a duplicate error says so)."""
    _set(
        session, _table.c.id == number,
        state="received", received_at=at, receipt=receipt, receipt_certificate=certificate,
        attempts=_table.c.attempts + 1, next_attempt_at=None,
        last_error="" if receipt else "delivered; the receipt was lost",
    )  # fmt: skip


def store_failure(session: Session, number: int, *, reason: str, again_at: datetime, unanswered: bool) -> None:
    """Not known to be delivered: try again at an instant."""
    changes: dict[str, Any] = {
        "attempts": _table.c.attempts + 1,
        "next_attempt_at": again_at,
        "last_error": reason[:500],
    }
    if unanswered:
        changes["unanswered"] = True
    _set(session, _table.c.id == number, **changes)


def store_refused(session: Session, waiting: Waiting, *, reason: str) -> None:
    """The peer refused it for good: what follows in its order key is parked with it."""
    _set(
        session, _table.c.id == waiting.id,
        state="refused", attempts=_table.c.attempts + 1, last_error=reason[:500], next_attempt_at=None,
    )  # fmt: skip
    later = (
        (_table.c.recipient == waiting.recipient)
        & (_table.c.order_key == waiting.order_key)
        & (_table.c.state == "waiting")
    )
    _set(session, later, state="parked")


def store_told(session: Session, number: int, *, at: datetime) -> None:
    """Sender and operator were told that there is no receipt after a day."""
    _set(session, _table.c.id == number, told_at=at)


def doubt_answers(session: Session, recipient: NodeId) -> None:
    """At a start: what is built may have been posted by a process that died before it could store the answer."""
    built = (_table.c.recipient == recipient) & (_table.c.state == "waiting") & _table.c.body.is_not(None)
    _set(session, built, unanswered=True)


def send_now(session: Session, recipient: NodeId) -> int:
    """Drop the back-off of a node's messages; how many had one. An operator asks for this."""
    delayed = (_table.c.recipient == recipient) & (_table.c.state == "waiting") & _table.c.next_attempt_at.is_not(None)
    return _set(session, delayed, next_attempt_at=None)


def statuses(session: Session, order: str) -> list[Delivery]:
    """How far the messages of an order key are, oldest first."""
    rows = session.execute(select(*_STATUS).where(_table.c.order_key == order).order_by(_table.c.id))
    return [
        Delivery(
            message_id=MessageId(row.message_id),
            recipient=NodeId(row.recipient),
            state=row.state,
            attempts=row.attempts,
            posted_at=row.posted_at,
            received_at=row.received_at,
            last_error=row.last_error,
            next_attempt_at=row.next_attempt_at,
            is_late=row.told_at is not None and row.state == "waiting",
        )
        for row in rows
    ]


# Not the bytes: a page that shows how far messages are must not read what they carry.
_STATUS: Final = (
    _table.c.message_id, _table.c.recipient, _table.c.state, _table.c.attempts, _table.c.posted_at,
    _table.c.received_at, _table.c.last_error, _table.c.next_attempt_at, _table.c.told_at,
)  # fmt: skip


def undelivered(session: Session, orders: Sequence[str]) -> dict[str, int]:
    """How many messages of each order key have no receipt yet; keys without one are left out."""
    query = select(_table.c.order_key, func.count()).where(_table.c.order_key.in_(orders), _table.c.state != "received")
    rows = session.execute(query.group_by(_table.c.order_key))
    return {str(order): int(count) for order, count in rows}


def waiting_by_recipient(session: Session) -> dict[NodeId, int]:
    """How many messages wait for each node."""
    query = select(_table.c.recipient, func.count()).where(_table.c.state == "waiting").group_by(_table.c.recipient)
    return {NodeId(node): count for node, count in session.execute(query)}


def _is_parked(session: Session, recipient: NodeId, order: str) -> bool:
    query = select(_table.c.id).where(
        _table.c.order_key == order, _table.c.recipient == recipient, _table.c.state.in_(("refused", "parked"))
    )
    return session.execute(query.limit(1)).first() is not None


def _set(session: Session, where: ColumnElement[bool], **changes: Any) -> int:
    result = session.execute(
        update(OutboxRow).where(where).values(**changes).execution_options(synchronize_session=False)
    )
    return int(getattr(result, "rowcount", 0))


def _waiting(row: Any) -> Waiting:
    return Waiting(
        id=row.id,
        message_id=MessageId(row.message_id),
        recipient=NodeId(row.recipient),
        order_key=row.order_key,
        conversation=row.conversation,
        action=row.action,
        posted_at=row.posted_at,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        unanswered=row.unanswered,
        told_at=row.told_at,
        content=row.content,
        content_reference=row.content_reference,
        files=tuple(OutFile(name=n, mime=m, reference=r) for n, m, r in json.loads(row.files)),
        properties=json.loads(row.properties),
        content_type=row.content_type,
        body=row.body,
        signed=row.signed,
    )
