"""Messages waiting for other nodes: posted in the business transaction, sent by the lanes, never forgotten.

Of the messages of one order key to one node, the first unfinished one rules: while it waits or is in flight, those
behind it have no `due_at`; if it is refused, they are parked; once it is received, the next one becomes due.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Executable,
    Table,
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from node.ids import MessageId, NodeId
from node.local_store.database import after_commit
from node.local_store.messages import OutboxRow
from node.local_store.tables import UtcDateTime

BATCH: Final = 32
MAX_BYTES: Final = 32 * 1024 * 1024  # of built messages in one batch; a larger one travels alone

State = Literal["waiting", "received", "refused", "parked"]
_table = cast("Table", OutboxRow.__table__)
_unfinished = text("state != 'received'")  # in these words, as the indexes have it: SQLite proves no others
_is_due = text("due_at IS NOT NULL")
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
    content_mime: str
    service: str
    ref_to_message_id: MessageId | None
    files: tuple[OutFile, ...]
    properties: Mapping[str, str]
    content_type: str
    body: bytes | None
    body_file: str  # or where the bytes lie, if they are many
    signed: str

    @property
    def is_built(self) -> bool:
        """Whether it has the bytes that are posted at every attempt."""
        return self.body is not None or bool(self.body_file)


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
    service: str = "",
    content_mime: str = "application/json",
    ref_to_message_id: MessageId | None = None,
) -> None:
    """Store a message with the business change it tells of; its lane wakes once both are durable.

    Args:
        order: messages of one order key reach a recipient in the order they were posted.
        service: as the agreement with the recipient names it; empty: its first.
        ref_to_message_id: the message it answers, where two-way exchanges are agreed.
        content: the first part; or a reference that the sender's `open_file` resolves when it is built.
    """
    first = _first_unfinished(session, recipient, order)
    values = {
        "message_id": message_id,
        "recipient": recipient,
        "order_key": order,
        "conversation": conversation,
        "action": action,
        "posted_at": at,
        "state": "parked" if first in {"refused", "parked"} else "waiting",
        "due_at": at if first is None else None,
        "content": content if isinstance(content, bytes) else None,
        "content_reference": content if isinstance(content, str) else "",
        "content_mime": content_mime,
        "ref_to_message_id": ref_to_message_id,
        "service": service,
        "files": json.dumps([[f.name, f.mime, f.reference] for f in files]),
        "properties": json.dumps(dict(properties or {})),
    }
    _run(session, _INSERT, {**_NEW, **values})
    _wake(session, recipient)


def claim(
    session: Session, recipient: NodeId, *, at: datetime, busy: frozenset[str] = frozenset(), limit: int = BATCH
) -> list[Waiting]:
    """The next messages for a node: due, the first of their order keys, the longest due first, MAX_BYTES together.

    Args:
        busy: order keys with a message in flight.
    """
    due = select(_table.c.id, _SIZE).where(
        _table.c.recipient == recipient, _is_due, _table.c.due_at <= at, _table.c.order_key.not_in(sorted(busy))
    )
    chosen = _within(_run(session, due.order_by(_table.c.due_at, _table.c.id).limit(limit)))
    rows = _run(session, select(*_CLAIMED).where(_table.c.id.in_(chosen)).order_by(_table.c.due_at, _table.c.id))
    return [_waiting(row) for row in rows]


def next_due(session: Session, recipient: NodeId, *, busy: frozenset[str] = frozenset()) -> datetime | None:
    """When the next message for a node may be sent; None if none waits but those in flight."""
    query = select(_table.c.due_at).where(
        _table.c.recipient == recipient, _is_due, _table.c.order_key.not_in(sorted(busy))
    )
    found: datetime | None = session.execute(query.order_by(_table.c.due_at).limit(1)).scalar()
    return found


def recipients(session: Session) -> list[NodeId]:
    """The nodes for which something may be sent now or later."""
    return [NodeId(node) for node in session.execute(select(_table.c.recipient).where(_is_due).distinct()).scalars()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """What is posted for a message, at every attempt: in `body`, or in the file `body_file` if it is much."""

    id: int
    content_type: str
    body: bytes | None
    body_file: str
    signed: str  # references of its signature
    certificate: bytes  # DER


def with_bytes(waiting: Waiting, built: Bytes) -> Waiting:
    """The message with the bytes just built for it."""
    return replace(
        waiting,
        content_type=built.content_type,
        body=built.body,
        body_file=built.body_file,
        signed=built.signed,
        content=None,
    )


def store_built(session: Session, built: Sequence[Bytes]) -> frozenset[int]:
    """Keep the bytes that will be posted; clear the content.

    Returns the ids of those kept: a message that has its bytes keeps them, it never gets others.
    """
    ids = [one.id for one in built]
    unbuilt = _table.c.body.is_(None) & (_table.c.body_file == "")
    open_ids = _run(session, select(_table.c.id).where(_table.c.id.in_(ids), unbuilt))
    kept = frozenset(open_ids.scalars())
    values = [
        {name: getattr(one, name) for name in ("id", "content_type", "body", "body_file", "signed", "certificate")}
        for one in built
        if one.id in kept
    ]
    if values:
        _run(session, _BUILT, values)
    return kept


def store_received(
    session: Session, number: int, *, at: datetime, receipt: bytes | None, certificate: bytes | None
) -> None:
    """The peer has it: as `store_all_received`, of one message."""
    store_all_received(session, [(number, receipt, certificate)], at=at)


def store_all_received(
    session: Session, received: Sequence[tuple[int, bytes | None, bytes | None]], *, at: datetime
) -> None:
    """The peer has them: (id, receipt, certificate); a receipt is kept as evidence (None: a duplicate error says so).

    The next message of each order key becomes due.
    """
    values = [
        {
            "id": number,
            "receipt": receipt,
            "certificate": certificate,
            "at": at,
            "error": "" if receipt else _NO_RECEIPT,
        }
        for number, receipt, certificate in received
    ]
    _run(session, _RECEIVED, values)
    _run(session, _NEXT_IS_DUE, [{"id": number, "at": at} for number, *_ in received])


def store_failure(session: Session, number: int, *, reason: str, again_at: datetime, unanswered: bool) -> None:
    """Not known to be delivered: try again at an instant."""
    changes: dict[str, Any] = {
        "attempts": _table.c.attempts + 1,
        "next_attempt_at": again_at,
        "due_at": again_at,
        "last_error": reason[:500],
    }
    if unanswered:
        changes["unanswered"] = True
    _set(session, _not_received(number), **changes)


def store_refused(session: Session, waiting: Waiting, *, reason: str) -> None:
    """The peer refused it for good: what follows in its order key is parked with it."""
    _set(
        session, _not_received(waiting.id),
        state="refused", attempts=_table.c.attempts + 1, last_error=reason[:500], next_attempt_at=None, due_at=None,
    )  # fmt: skip
    _set(session, _behind(waiting.recipient, waiting.order_key, "waiting"), state="parked")


def retry(session: Session, message_id: str) -> NodeId | None:
    """Send a refused message again, with the same bytes, and then what is parked behind it. An operator asks for this.

    Returns its recipient; None if no message with this id is refused.
    """
    row = session.execute(
        select(_table.c.id, _table.c.recipient, _table.c.order_key, _table.c.posted_at).where(
            _table.c.message_id == message_id, _table.c.state == "refused"
        )
    ).first()
    if row is None:
        return None
    _set(session, _behind(row.recipient, row.order_key, "parked"), state="waiting")
    _set(session, _table.c.id == row.id, state="waiting", due_at=row.posted_at, next_attempt_at=None)
    _wake(session, NodeId(row.recipient))
    return NodeId(row.recipient)


def body_files(session: Session) -> frozenset[str]:
    """The files that messages sent lie in."""
    return frozenset(session.execute(select(_table.c.body_file).where(_table.c.body_file != "")).scalars())


def late(
    session: Session, *, before: datetime, otherwise: Mapping[NodeId, datetime] | None = None, limit: int = 1000
) -> list[Waiting]:
    """Messages posted before an instant that have no receipt, and of which nobody was told yet; their bytes left out.

    Args:
        otherwise: the instants of recipients with whom something else was agreed.
    """
    slim = [column for column in _CLAIMED if column not in _BYTES]
    own = dict(otherwise or {})
    instant: Any = before
    if own:
        whens = {node: bindparam(None, at, type_=UtcDateTime()) for node, at in own.items()}
        instant = case(whens, value=_table.c.recipient, else_=bindparam(None, before, type_=UtcDateTime()))
    latest = max([before, *own.values()])  # so that the index on posted_at still serves
    query = select(*slim).where(_unfinished, _table.c.told_at.is_(None), _table.c.posted_at < latest)
    query = query.where(_table.c.posted_at < instant)
    rows = session.execute(query.order_by(_table.c.posted_at).limit(limit))
    return [_waiting(row) for row in rows]


def mend_clock(session: Session, *, latest: datetime) -> None:
    """Let nothing wait beyond an instant: a clock that was set back must not hold messages for as long."""
    for node in recipients(session):
        _set(session, (_table.c.recipient == node) & _is_due & (_table.c.due_at > latest), due_at=latest)


def store_told(session: Session, number: int, *, at: datetime) -> None:
    """Sender and operator were told that there is no receipt after a day."""
    _set(session, _table.c.id == number, told_at=at)


def doubt_answers(session: Session, recipient: NodeId) -> None:
    """At a start: what is built may have been posted by a process that died before it could store the answer."""
    is_built = _table.c.body.is_not(None) | (_table.c.body_file != "")
    _set(session, and_(_table.c.recipient == recipient, _is_due, is_built), unanswered=True)


def send_now(session: Session, recipient: NodeId) -> int:
    """Drop the back-off of a node's messages; how many had one. An operator asks for this."""
    delayed = (_table.c.recipient == recipient) & _is_due & _table.c.next_attempt_at.is_not(None)
    return _set(session, delayed, next_attempt_at=None, due_at=_table.c.posted_at)


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
    query = select(_table.c.recipient, func.count()).where(_unfinished, _table.c.state == "waiting")
    query = query.group_by(_table.c.recipient)
    return {NodeId(node): count for node, count in session.execute(query)}


def unfinished(session: Session, recipient: NodeId) -> int:
    """How many messages to a node have no receipt yet, refused and parked ones too."""
    query = select(func.count()).where(_table.c.recipient == recipient, _unfinished)
    return int(session.execute(query).scalar() or 0)


# What a lane needs to know of a message; its receipt and the like stay where they are.
_BYTES: Final = (_table.c.content, _table.c.body)
_CLAIMED: Final = (
    _table.c.id, _table.c.message_id, _table.c.recipient, _table.c.order_key, _table.c.conversation, _table.c.action,
    _table.c.posted_at, _table.c.attempts, _table.c.next_attempt_at, _table.c.unanswered, _table.c.told_at,
    _table.c.content_reference, _table.c.content_mime, _table.c.service, _table.c.ref_to_message_id, _table.c.files,
    _table.c.properties, _table.c.content_type, _table.c.body_file,
    _table.c.signed, *_BYTES,
)  # fmt: skip
_NEW: Final = {"attempts": 0, "unanswered": False, "last_error": "", "content_type": "", "signed": ""}

_NO_RECEIPT: Final = "delivered; the receipt was lost"

_SIZE: Final = case(
    (_table.c.body_file != "", MAX_BYTES), else_=func.length(_table.c.body)
)  # what is in a file goes alone

# Statements of every message, made once: building one anew takes longer than running it.
_AT: Final = bindparam("at", type_=UtcDateTime())
_INSERT: Final = insert(_table)
_FIRST: Final = text(
    "SELECT state FROM outbox WHERE recipient = :recipient AND order_key = :order AND state != 'received'"
    " ORDER BY id LIMIT 1"
)
_BUILT: Final = text(
    "UPDATE outbox SET content_type = :content_type, body = :body, body_file = :body_file, signed = :signed,"
    " signing_certificate = :certificate, content = NULL WHERE id = :id"
)
_RECEIVED: Final = text(
    "UPDATE outbox SET state = 'received', received_at = :at, receipt = :receipt, receipt_certificate = :certificate,"
    " attempts = attempts + 1, next_attempt_at = NULL, due_at = NULL, last_error = :error"
    " WHERE id = :id AND state != 'received'"  # the first receipt is the evidence
).bindparams(_AT)
_NEXT_IS_DUE: Final = text(
    "UPDATE outbox SET due_at = :at WHERE state = 'waiting' AND id = ("
    " SELECT min(id) FROM outbox WHERE state != 'received'"
    " AND recipient = (SELECT recipient FROM outbox WHERE id = :id)"
    " AND order_key = (SELECT order_key FROM outbox WHERE id = :id))"
).bindparams(_AT)


def _run(session: Session, statement: Executable, values: Any = None) -> CursorResult[Any]:
    """A Core statement in the session's transaction, without the ORM's part."""
    return session.connection().execute(statement, values)


def _first_unfinished(session: Session, recipient: NodeId, order: str) -> str | None:
    """The state of the message that goes first in an order key; None if all were received."""
    found: str | None = _run(session, _FIRST, {"recipient": recipient, "order": order}).scalar()
    return found


def _behind(recipient: str, order: str, state: State) -> ColumnElement[bool]:
    return and_(_table.c.recipient == recipient, _table.c.order_key == order, _unfinished, _table.c.state == state)


def _not_received(number: int) -> ColumnElement[bool]:
    return and_(_table.c.id == number, _table.c.state != "received")  # a receipt is never taken back


def _within(sizes: Iterable[Any]) -> list[int]:
    """The ids that fit into MAX_BYTES together; the first one always does."""
    chosen: list[int] = []
    total = 0
    for number, size in sizes:
        total += size or 0
        if chosen and total > MAX_BYTES:
            break
        chosen.append(number)
    return chosen


def _wake(session: Session, recipient: NodeId) -> None:
    wake: Callable[[NodeId], None] | None = session.info.get(WAKE)
    if wake is not None:
        after_commit(session, partial(wake, recipient))


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
        content=getattr(row, "content", None),
        content_reference=row.content_reference,
        content_mime=row.content_mime,
        service=row.service,
        ref_to_message_id=row.ref_to_message_id,
        files=tuple(OutFile(name=n, mime=m, reference=r) for n, m, r in json.loads(row.files)),
        properties=json.loads(row.properties),
        content_type=row.content_type,
        body=getattr(row, "body", None),
        body_file=row.body_file,
        signed=row.signed,
    )
