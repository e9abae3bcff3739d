"""Messages that operators send to access points outside the federation, and open from them: no procedure does."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from node.errors import Refused
from node.federation import as4, outbox
from node.federation.operator import UnknownMessage
from node.federation.peers import Peer
from node.ids import MessageId
from node.local_store.files import FileTooLarge
from node.local_store.messages import InboxRow

MAX_BYTES: Final = 1024 * 1024
_in: Final = InboxRow.__table__


class NotByHand(Refused):
    """Nodes of the federation get their messages from procedures, and theirs are opened by procedures."""

    code = "refused.not-by-hand"


class ServiceNotAgreed(Refused):
    """A service or an action is none of those agreed with the peer."""

    code = "refused.service-not-agreed"


class SeveralPeers(Refused):
    """Several peers sent a message of this id: say which one is meant."""

    code = "refused.several-peers"


def post(
    session: Session,
    peer: Peer,
    *,
    message_id: MessageId,
    content: bytes,
    mime_type: str,
    service: str,
    action: str,
    conversation: str,
    properties: Mapping[str, str],
    at: datetime,
    answers: str = "",
) -> None:
    """Put a file in the outbox, for a peer outside.

    Args:
        service: empty: the first that is agreed.
        answers: the id of a message of this peer: the answer goes into its conversation and refers to it.
        conversation: its messages reach the peer in order.

    Raises:
        NotByHand: the peer is a node. ServiceNotAgreed. FileTooLarge. UnknownMessage: there is none to answer.
    """
    check_outside(peer)
    if len(content) > MAX_BYTES:
        raise FileTooLarge(f"a file that operators send may have {MAX_BYTES} bytes", limit=MAX_BYTES)
    if answers:
        conversation = _answered(session, peer, answers)
    outbox.post(
        session,
        message_id=message_id,
        ref_to_message_id=MessageId(answers) or None,
        recipient=peer.node,
        order=f"by hand: {conversation}",
        conversation=conversation,
        service=_service(peer, service, action).name,
        action=action,
        content=content,
        content_mime=mime_type,
        properties=properties,
        at=at,
    )


def _answered(session: Session, peer: Peer, answers: str) -> str:
    """The conversation of the message that is answered."""
    assert peer.terms is not None
    if not peer.terms.two_way:
        raise ServiceNotAgreed(
            f"only one-way exchanges are agreed with {peer.node}: two_way = true would allow an answer"
        )
    return str(received(session, answers, peer=peer.node).conversation)


def check_outside(peer: Peer) -> None:
    """Raises NotByHand unless the peer is outside the federation."""
    if not peer.is_outside:
        raise NotByHand(f"{peer.node} is a node of the federation: its messages come from procedures")


def _service(peer: Peer, name: str, action: str) -> as4.Service:
    assert peer.terms is not None
    services = peer.terms.services
    found = next((each for each in services if each.name == (name or services[0].name)), None)
    if found is None:
        agreed = ", ".join(each.name for each in services)
        raise ServiceNotAgreed(f"service {name} is not agreed with {peer.node}; agreed: {agreed}")
    if action not in found.actions:
        agreed = ", ".join(sorted(found.actions))
        raise ServiceNotAgreed(f"action {action} of {found.name} is not agreed with {peer.node}; agreed: {agreed}")
    return found


def received(session: Session, message_id: str, *, peer: str = "") -> Any:
    """The inbox row of a message.

    Args:
        peer: only from this one.

    Raises:
        UnknownMessage: none. SeveralPeers: more than one.
    """
    query = select(_in).where(_in.c.message_id == message_id)
    rows = session.execute(query.where(_in.c.sender == peer) if peer else query).all()
    if not rows:
        raise UnknownMessage("no message with this id was received here", message_id=message_id[:200])
    if len(rows) > 1:
        raise SeveralPeers(f"{' and '.join(row.sender for row in rows)} sent a message of this id: say which, --peer")
    return rows[0]


def open_message(row: Any, body: bytes | mmap.mmap, keys: Sequence[as4.Decrypter], spool: as4.Spool) -> as4.UserMessage:
    """A message received earlier, decrypted again. Its signature was verified when it came; its digests are compared.

    Args:
        spool: where large parts go.

    Raises:
        As4Error: none of our keys decrypts it any longer, or the bytes are not those that came.
    """
    package = as4.unpack(row.content_type, body, as4.ANY)
    header = as4.parse_soap(package, as4.ANY)
    certificate = x509.load_der_x509_certificate(row.signing_certificate)
    agreement = as4.Agreement(
        our_party=header.recipient.id,
        their_party=header.sender.id,
        suite=as4.suite_of(certificate),
        services=(),
        their_signing=(certificate,),
        limits=as4.ANY,
    )
    verified = as4.Verified(
        header=header,
        package=package,
        agreement=agreement,
        certificate=certificate,
        references=as4.load_references(row.signed),
    )
    return as4.decompress(as4.decrypt(verified, keys, spool), None, spool)
