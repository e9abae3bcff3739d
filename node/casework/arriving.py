"""What other nodes' messages do here, in the transaction that stores and receipts them.

Nothing is raised for what a peer got wrong: a message that says nothing storable is remembered as refused; an event
that may not be folded yet is held with its reason; a part waits for its event, a fold for what is missing before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog
from prometheus_client import Counter
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from node.casework import door, payload
from node.casework.loading import Case, case_key, load, new_row, open_part, seal_part, set_opening
from node.casework.payload import Payload, SentPart
from node.casework.sending import ACTION
from node.casework.settling import settle
from node.casework.tools import Tools
from node.domain.events import RECEIVED, SignedEvent, commitment
from node.domain.forms import documents
from node.errors import PeerError
from node.federation import as4
from node.federation.receiver import Inbound
from node.ids import CaseId, EventId, NodeId
from node.local_store import audit, cases, files
from node.local_store.audit import AuditEntry
from node.local_store.cases import CaseRow, RefusedRow, StoredEvent
from node.local_store.files import StoredFile
from node.local_store.vault import seal

MAX_PART_BYTES: Final = 4 * 1024 * 1024

EVENTS = Counter("imi_events_arrived", "Steps that came from other nodes, by what became of them.", ["outcome"])
log = structlog.get_logger()


class WrongAction(PeerError):
    """A message asks for something this node does not do."""

    code = "peer.unknown-action"


def deliver(tools: Tools, session: Session, inbound: Inbound) -> None:
    """Take in one message. Never raises for its content."""
    try:
        if inbound.action != ACTION or not inbound.parts:
            raise WrongAction("a message with an unknown action, or without content")
        first = inbound.parts[0].content
        if as4.size_of(first) > payload.MAX_PAYLOAD_BYTES:
            raise payload.BadPayload("the content is too large")
        message = payload.read(as4.whole(first))
        _take_in(tools, session, inbound, message)
    except PeerError as error:
        log.warning("message refused", peer=inbound.sender, message_id=inbound.message_id, code=error.code)
        _refuse(session, inbound, error.code)


def _refuse(session: Session, inbound: Inbound, code: str) -> None:
    row = {"message_id": inbound.message_id, "sender": inbound.sender, "code": code, "at": inbound.received_at}
    session.execute(insert(RefusedRow).values(**row).on_conflict_do_nothing())


def _take_in(tools: Tools, session: Session, inbound: Inbound, message: Payload) -> None:
    row = cases.find(session, message.case)  # held here: the door asks for it again
    new = [signed for signed in message.events if not cases.is_held(session, signed.event.id)]
    judged = [(signed, door.judge(tools, session, signed)) for signed in new]
    for signed, verdict in judged:
        if verdict.refused:
            log.warning("event refused", peer=inbound.sender, event_id=signed.event.id, reason=verdict.refused)
            EVENTS.labels("refused").inc()
    taken = [(signed, verdict.held) for signed, verdict in judged if not verdict.refused]
    if not taken and row is None:
        # Nothing of an unknown case may stay: parts without a case would be nobody's.
        _refuse(session, inbound, "peer.nothing-acceptable")
        return
    is_new = row is None
    row = row or new_row(tools, session, message.case, at=inbound.received_at)
    if row.key is None:
        return  # erased at the end of its time: a late repeat brings nothing back
    arrived = [_arrived(signed, held, inbound) for signed, held in taken]
    for stored in arrived:
        if not stored.door:
            open_row(tools, row, stored.signed)
    session.flush()
    for stored in arrived:
        _store(session, row, stored)
    commitments = {signed.event.id: signed.event.parts for signed, _ in taken}
    _store_parts(tools, session, row, message.parts, commitments=commitments, inbound=inbound)
    _after(tools, session, row, inbound.received_at, arrived if is_new else None)


def _arrived(signed: SignedEvent, held: str, inbound: Inbound) -> StoredEvent:
    return StoredEvent(
        signed=signed,
        door=held,
        sender=inbound.sender,
        login="",
        only_to=frozenset[NodeId](),
        arrived_at=inbound.received_at,
    )


def _store(session: Session, row: CaseRow, stored: StoredEvent) -> None:
    event = stored.signed.event
    cases.add_event(session, stored)
    EVENTS.labels("held" if stored.door else "taken").inc()
    if stored.door:
        log.info("event held", peer=stored.sender, case_id=row.case_id, event_id=event.id, reason=stored.door)
        row.held += 1
    if event.step != RECEIVED:
        entry = AuditEntry(
            at=stored.arrived_at,
            act="step-arrived",
            authority=event.author,
            case=CaseId(row.case_id),
            subject=f"{event.step} {event.id}",
        )
        audit.record(session, entry)


def open_row(tools: Tools, row: CaseRow, signed: SignedEvent) -> None:
    """Let a first event that passed the door name its case's definition and number."""
    opening = signed.event.opening
    procedure = tools.catalogue.by_digest(opening.digest) if opening else None
    if procedure and not row.digest:
        set_opening(row, signed.event, procedure)


def _store_parts(
    tools: Tools,
    session: Session,
    row: CaseRow,
    parts: Iterable[SentPart],
    *,
    commitments: Mapping[EventId, Mapping[str, str]],
    inbound: Inbound,
) -> None:
    """Seal and keep parts. One that came with its event is compared at once, the others once theirs is here."""
    key = case_key(tools, row)
    named: set[str] = set()
    for sent in parts:
        if _is_bounded(sent):
            promised = commitments.get(sent.event, {}).get(sent.audience)
            checked = promised == commitment(sent.part.salt, sent.part.content) if promised else False
            sealed = seal_part(key, sent.event, sent.audience, sent.part, checked=checked)
            cases.add_part(session, CaseId(row.case_id), sealed, at=inbound.received_at)
            named.update(str(document["sha256"]) for document in documents(sent.part.content))
    if named and len(inbound.parts) > 1:
        _store_files(tools, session, row, named, inbound)


def _is_bounded(sent: SentPart) -> bool:
    return len(str(sent.part.content)) <= MAX_PART_BYTES


def _store_files(tools: Tools, session: Session, row: CaseRow, named: set[str], inbound: Inbound) -> None:
    """Keep the files that the parts of this message, or of one before it, name; others are nobody's."""
    here = files.digests_in_case(session, CaseId(row.case_id))
    for part in inbound.parts[1:]:
        summed = hashlib.sha256()
        for chunk in as4.chunks_of(part.content):
            summed.update(chunk)
        if summed.hexdigest() in named - here:
            kept = tools.files.write_chunks(as4.chunks_of(part.content))
            keep_file(tools, session, row, kept, at=inbound.received_at)


def keep_file(tools: Tools, session: Session, row: CaseRow, file: StoredFile, *, at: datetime) -> None:
    """A stored file becomes one of a case: its key is sealed with the case's."""
    sealed = seal(case_key(tools, row), file.key, f"file:{file.sha256}")
    files.add(session, file, key=sealed, owner="", case=CaseId(row.case_id), at=at)


def _after(
    tools: Tools, session: Session, row: CaseRow, at: datetime, whole: Sequence[StoredEvent] | None = None
) -> None:
    """Check the parts whose events are here now, ask again about held events, and settle what can be folded.

    Args:
        whole: all events of the case, where the caller has them: those of a new one need no reading back.
    """
    if row.held:
        recheck(tools, session, row)
        whole = None
    case = load(tools, session, row, whole)
    if case is None:
        row.updated_at = at
        return
    check_parts(case)
    settle(case)


def recheck(tools: Tools, session: Session, row: CaseRow) -> bool:
    """Ask the door again about what it held; True if anything changed."""
    if not row.held:
        return False
    changed = False
    for stored in sorted(cases.events_of(session, CaseId(row.case_id)), key=lambda s: not s.signed.event.opening):
        if not stored.door:
            continue
        verdict = door.judge(tools, session, stored.signed)
        if verdict.refused:
            cases.drop_event(session, stored.signed.event.id)
        elif verdict.held != stored.door:
            cases.set_door(session, stored.signed.event.id, verdict.held)
            if not verdict.held:
                open_row(tools, row, stored.signed)
        changed = changed or verdict.held != stored.door
    row.held = cases.count_held(session, CaseId(row.case_id))
    return changed


def check_parts(case: Case) -> None:
    """Compare each unchecked part with its event's commitment; one that differs is forgotten."""
    events = {stored.signed.event.id: stored.signed.event for stored in case.stored}
    for (event_id, audience), sealed in list(case.sealed_parts().items()):
        event = events.get(event_id)
        if sealed.checked or sealed.sealed is None or event is None:
            continue
        part = open_part(case.key, sealed)
        if commitment(part.salt, part.content) == event.parts.get(audience):
            case.accept_part(event_id, audience)
        else:
            log.warning("part does not match its event", case_id=case.id, event_id=event_id, audience=audience)
            case.reject_part(event_id, audience)


def retry_held(tools: Tools, session: Session) -> int:
    """Fold what was held, where the directory, the trust list or the catalogue now knows more; how many cases changed."""
    changed = 0
    for case_id in cases.cases_with_held_events(session):
        row = cases.find(session, case_id)
        if row and row.key is not None and recheck(tools, session, row):
            changed += 1
            if case := load(tools, session, row):
                check_parts(case)
                settle(case)
    return changed
