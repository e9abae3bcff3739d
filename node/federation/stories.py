"""The whole story of one message for operators: what was agreed, each attempt, receipt, certificates; never contents."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from node.federation import as4, attempts, rejections
from node.federation.attempts import Attempt
from node.federation.operator import UnknownMessage
from node.federation.outside import fingerprint, grouped
from node.federation.peers import Peers, UnknownPeer
from node.federation.rejections import Rejection
from node.ids import NodeId
from node.local_store.messages import InboxRow, OutboxRow

_out: Final = OutboxRow.__table__
_in: Final = InboxRow.__table__

Story = dict[str, Any]  # label -> text, number, instant, or a mapping of such
ReadBody = Callable[[Any], bytes | mmap.mmap]


def tell(session: Session, message_id: str, *, peers: Peers | None, read_body: ReadBody) -> list[Story]:
    """Every message of this id: one sent, those received (two peers may draw one id), and those refused.

    Args:
        peers: who tells what is agreed now; None if no trust list was read yet.
        read_body: the stored bytes of a row of outbox or inbox.

    Raises:
        UnknownMessage: none.
    """
    sent = session.execute(select(_out).where(_out.c.message_id == message_id)).all()
    got = session.execute(select(_in).where(_in.c.message_id == message_id).order_by(_in.c.id)).all()
    refused = rejections.of_message(session, message_id)
    if not (sent or got or refused):
        raise UnknownMessage("no message with this id was sent, received or refused here", message_id=message_id[:200])
    return [
        *(_sent(session, row, peers, read_body) for row in sent),
        *(_got(row, peers, read_body) for row in got),
        *map(_refused, refused),
    ]


def _sent(session: Session, row: Any, peers: Peers | None, read_body: ReadBody) -> Story:
    is_built = row.body is not None or bool(row.body_file)
    return {
        "direction": "out",
        "message id": row.message_id,
        "peer": row.recipient,
        "conversation": row.conversation,
        "posted": row.posted_at,
        "state": row.state,
        "agreed": _agreed(row, NodeId(row.recipient), peers),
        "attempts": {
            f"{number}. {one.at:%Y-%m-%d %H:%M:%S}": in_words(one)
            for number, one in enumerate(attempts.of_message(session, row.id), start=1)
        },
        "attempts in all": row.attempts,
        "last error": row.last_error,
        "next attempt": _waits(row),
        "receipt": _receipt("received", row.received_at, row.receipt_certificate if row.receipt else None),
        "signed with": _certificate(row.signing_certificate),
        **(_wire(row, read_body(row)) if is_built else {"wire": "not built yet"}),
    }


def _got(row: Any, peers: Peers | None, read_body: ReadBody) -> Story:
    return {
        "direction": "in",
        "message id": row.message_id,
        "peer": row.sender,
        "conversation": row.conversation,
        "received": row.received_at,
        "state": "received",
        "agreed": _agreed(row, NodeId(row.sender), peers),
        "repeats": row.repeats,
        "receipt": _receipt("given", row.received_at, row.receipt_certificate),
        "signed with": _certificate(row.signing_certificate),
        **_wire(row, read_body(row)),
    }


def _refused(one: Rejection) -> Story:
    return {
        "direction": "in, refused",
        "message id": one.message_id,
        "peer": one.peer,
        "received": one.at,
        "peer was told": one.ebms,
        "reason": f"{one.reason} ({one.code})",
        "field": one.field,
        "expected": one.expected,
        "got": one.received,
    }


def in_words(attempt: Attempt) -> str:
    """An attempt as a line: what came of it, the peer's words, whether it signed them, how long it took."""
    signed = {None: "", True: ", signed", False: ", NOT signed: not believed"}[attempt.authenticated]
    status = f", HTTP {attempt.status}" if attempt.status else ""
    return f"{attempt.outcome}: {attempt.said} ({attempt.milliseconds} ms{signed}{status})"


def _waits(row: Any) -> datetime | str:
    """When it is sent again, or why not."""
    if row.state != "waiting":
        return ""
    found: datetime | None = row.next_attempt_at
    return found or ("due" if row.due_at else "after the one before it of its conversation")


def _agreed(row: Any, peer: NodeId, peers: Peers | None) -> Mapping[str, str]:
    """The suite by the certificate that signed; the forms of references as they are agreed now."""
    found: dict[str, str] = {}
    if row.signing_certificate:
        found["suite"] = as4.suite_of(x509.load_der_x509_certificate(row.signing_certificate)).name
    try:
        terms = None if peers is None else peers.get(peer).terms
    except UnknownPeer:
        return {**found, "peer": "no longer one"}
    if terms is not None:
        found["signature names its certificate by"] = terms.signature_reference.value
        found["encryption names its certificate by"] = terms.encryption_reference.value
    return found


def _receipt(word: str, at: datetime | None, certificate: bytes | None) -> Mapping[str, str]:
    if certificate is None:
        return {}
    return {word: f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "", **_certificate(certificate)}


def _certificate(der: bytes | None) -> Mapping[str, str]:
    if not der:
        return {}
    one = x509.load_der_x509_certificate(der)
    return {
        "subject": one.subject.rfc4514_string(),
        "SHA-256": grouped(fingerprint(one)),
        "valid until": f"{one.not_valid_after_utc:%Y-%m-%d}",
    }


def _wire(row: Any, body: bytes | mmap.mmap) -> Story:
    """What the header says, and of each part its type, its size as it travels and the digest that is signed."""
    package = as4.unpack(row.content_type, body, as4.ANY)
    header = as4.parse_soap(package, as4.ANY)
    digests = {reference.uri: reference.digest.hex() for reference in as4.load_references(row.signed)}
    parts = {}
    for part in header.parts:
        size, digest = len(package.attachments[part.content_id].content), digests.pop(f"cid:{part.content_id}", "")
        kind = f"{part.mime_type}{', compressed' if part.compression else ''}"
        parts[part.content_id] = f"{kind}, {size} bytes encrypted, SHA-256 {digest}"
    return {
        "from": _party(header.sender),
        "to": _party(header.recipient),
        "service": header.service + (f" ({header.service_type})" if header.service_type else ""),
        "action": header.action,
        "agreement": header.agreement_ref,
        "refers to": header.ref_to_message_id,
        "bytes on the wire": len(body),
        "parts": parts,
        "header digests": digests,
    }


def _party(party: as4.Party) -> str:
    kind = f" ({party.type})" if party.type else ""
    return f"{party.id}{kind}, {party.role}"
