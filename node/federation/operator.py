"""What operators ask of messages and lanes: types, sizes and times, never contents."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.errors import Refused
from node.federation import as4, outbox
from node.federation.peers import Peers, UnknownPeer
from node.ids import NodeId
from node.local_store.bodies import Bodies
from node.local_store.messages import InboxRow, OutboxRow

_out: Final = OutboxRow.__table__
_in: Final = InboxRow.__table__


class UnknownMessage(Refused):
    """No message with this id was sent or received here."""

    code = "refused.unknown-message"


class NotRefused(Refused):
    """Only a message that was refused for good is sent again by hand: all others are tried by themselves."""

    code = "refused.message-not-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLine:
    """One message in a list."""

    direction: Literal["out", "in"]
    message_id: str
    peer: NodeId
    conversation: str
    action: str
    at: datetime
    state: str
    attempts: int
    size: int  # bytes on the wire; 0 before it is built
    receipt_verified: bool  # out: the peer's receipt was compared with what we signed and is kept; in: ours was stored
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLine:
    """One lane: what waits for a node, since when, and why."""

    node: NodeId
    waiting: int
    parked: int
    oldest: datetime | None
    last_error: str


# Not the bytes: a list must not read what the messages carry.
_SENT: Final = (
    _out.c.message_id, _out.c.recipient, _out.c.conversation, _out.c.action, _out.c.posted_at, _out.c.state,
    _out.c.attempts, _out.c.last_error, func.coalesce(func.length(_out.c.body), 0).label("size"), _out.c.body_file,
    _out.c.receipt.is_not(None).label("has_receipt"),
)  # fmt: skip
_GOT: Final = (
    _in.c.message_id, _in.c.sender, _in.c.conversation, _in.c.action, _in.c.received_at, _in.c.repeats,
    func.length(_in.c.body).label("size"), _in.c.body_file,
)  # fmt: skip


def list_messages(
    session: Session, bodies: Bodies, *, conversation: str = "", peer: str = "", limit: int = 100
) -> list[MessageLine]:
    """Messages sent and received, newest first."""
    sent = select(*_SENT).order_by(_out.c.id.desc()).limit(limit)
    got = select(*_GOT).order_by(_in.c.id.desc()).limit(limit)
    if conversation:
        sent, got = sent.where(_out.c.conversation == conversation), got.where(_in.c.conversation == conversation)
    if peer:
        sent, got = sent.where(_out.c.recipient == peer), got.where(_in.c.sender == peer)
    lines = [_sent_line(row, bodies) for row in session.execute(sent)]
    lines += [_got_line(row, bodies) for row in session.execute(got)]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:limit]


def export_message(session: Session, message_id: str, peers: Peers, bodies: Bodies) -> dict[str, bytes]:
    """The files that let anybody verify one message and its receipt. Raises UnknownMessage."""
    row = session.execute(select(_out).where(_out.c.message_id == message_id)).first()
    if row is not None and (row.body is not None or row.body_file):
        return _export(row, peers, bodies, us_first=True, peer=NodeId(row.recipient), direction="out")
    row = session.execute(select(_in).where(_in.c.message_id == message_id)).first()
    if row is not None:
        return _export(row, peers, bodies, us_first=False, peer=NodeId(row.sender), direction="in")
    raise UnknownMessage("no message with this id was built or received here", message_id=message_id[:200])


def retry_message(session: Session, message_id: str) -> NodeId:
    """Have a refused message sent again, and then what is parked behind it; the node it is for. Raises NotRefused."""
    recipient = outbox.retry(session, message_id)
    if recipient is None:
        raise NotRefused("no message with this id is refused", message_id=message_id[:200])
    return recipient


def lanes(session: Session) -> list[LaneLine]:
    """Every lane with something waiting or parked."""
    rows = session.execute(
        select(_out.c.recipient, _out.c.state, func.count(), func.min(_out.c.posted_at), func.max(_out.c.last_error))
        .where(_out.c.state.in_(("waiting", "parked", "refused")))
        .group_by(_out.c.recipient, _out.c.state)
    ).all()
    found = []
    for node in sorted({row[0] for row in rows}):
        waiting = [row for row in rows if row[0] == node and row[1] == "waiting"]
        parked = [row for row in rows if row[0] == node and row[1] != "waiting"]
        found.append(
            LaneLine(
                node=NodeId(node),
                waiting=sum(row[2] for row in waiting),
                parked=sum(row[2] for row in parked),
                oldest=min((row[3] for row in (*waiting, *parked)), default=None),
                last_error=next((row[4] for row in (*parked, *waiting) if row[4]), ""),
            )
        )
    return found


def _sent_line(row: Any, bodies: Bodies) -> MessageLine:
    return MessageLine(
        direction="out",
        message_id=row.message_id,
        peer=NodeId(row.recipient),
        conversation=row.conversation,
        action=row.action,
        at=row.posted_at,
        state=row.state,
        attempts=row.attempts,
        size=_size(row, bodies),
        receipt_verified=row.has_receipt,
        last_error=row.last_error,
    )


def _size(row: Any, bodies: Bodies) -> int:
    try:
        return bodies.size(row.body_file) if row.body_file else int(row.size)
    except FileNotFoundError:  # a list is no place to stumble over it: showing the message does
        return 0


def _got_line(row: Any, bodies: Bodies) -> MessageLine:
    return MessageLine(
        direction="in",
        message_id=row.message_id,
        peer=NodeId(row.sender),
        conversation=row.conversation,
        action=row.action,
        at=row.received_at,
        state="received",
        attempts=1 + row.repeats,
        size=_size(row, bodies),
        receipt_verified=True,
        last_error="",
    )


def _export(
    row: Any, peers: Peers, bodies: Bodies, *, us_first: bool, peer: NodeId, direction: str
) -> dict[str, bytes]:
    sender = x509.load_der_x509_certificate(row.signing_certificate)
    answered = row.receipt_certificate
    recipient = x509.load_der_x509_certificate(answered) if answered else _signs(peers, peer, like=sender)
    ours, theirs = _vouching(peers, peers.us), _vouching(peers, peer)
    authorities = (*ours, *theirs) if us_first else (*theirs, *ours)
    facts: Mapping[str, str] = {"direction": direction, "message id": row.message_id, "conversation": row.conversation}
    return as4.export(
        as4.Exchange(
            content_type=row.content_type,
            body=read_body(bodies, row)[:],
            receipt=row.receipt,
            sender=sender,
            recipient=recipient,
            authorities=authorities,
            facts=facts,
        )
    )


def read_body(bodies: Bodies, row: Any) -> bytes | mmap.mmap:
    """The stored bytes of a row of outbox or inbox; of a large message mapped, not in memory."""
    if not row.body_file:
        return bytes(row.body)
    with bodies.open(row.body_file) as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _signs(peers: Peers, peer: NodeId, *, like: x509.Certificate) -> x509.Certificate:
    """What a peer signs receipts with: its newest of the suite a message was signed under."""
    suite = as4.suite_of(like)
    found = next((each for each in peers.get(peer).signing if suite.can_sign(each)), None)
    if found is None:
        raise UnknownPeer(f"{peer} has no signing certificate for {suite.name} any more", node=peer)
    return found


def _vouching(peers: Peers, node: NodeId) -> tuple[x509.Certificate, ...]:
    """What its signatures lead to: its State's authority; outside the federation the very certificates agreed on."""
    try:
        peer = peers.get(node)
    except UnknownPeer:  # gone since: the certificates of message and receipt are in the export all the same
        return ()
    return peer.signing if peer.is_outside else (peer.state_ca,)


def as_json(lines: list[MessageLine]) -> str:
    """Lines for scripts."""
    return json.dumps(
        [{name: getattr(line, name) for name in line.__dataclass_fields__} for line in lines], default=str, indent=1
    )
