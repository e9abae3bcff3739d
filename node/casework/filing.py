"""Files: onto an authority's shelf, into cases, out to those who may read them, and off the disk."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from node.casework import drafting, representing
from node.casework.acting import case_of, shelved
from node.casework.errors import BadFileName, BadFileType, FileNotHere, UnknownFile, UnknownLanguage
from node.casework.loading import Case, case_key
from node.casework.settling import is_blocked
from node.casework.showing import file_view
from node.casework.tools import Tools
from node.casework.views import File, Official
from node.catalogue.texts import LANGUAGES
from node.domain.fold import readable
from node.domain.forms import documents
from node.federation import as4, outbox
from node.ids import AuthorityId, CaseId, CaseNumber
from node.local_store import audit, cases, drafts, files
from node.local_store.cases import OutgoingRow
from node.local_store.files import AttachmentRow, FileStore, StoredFile
from node.local_store.vault import unseal

MAX_NAME: Final = 200
SHELF_LIFE: Final = timedelta(days=30)  # an uploaded file that no step named
_ORPHAN_SECONDS: Final = 3600.0  # a file on disk that no row knows: its transaction failed
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f/\\]|[\u202a-\u202e\u2066-\u2069]")
_MEDIA: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def check_name(name: str) -> str:
    """A name to show and to offer at download; it never becomes a path. Raises BadFileName."""
    if not name.strip() or len(name) > MAX_NAME or _UNSAFE.search(name) or name in {".", ".."}:
        raise BadFileName("a file name has 1 to 200 characters, no folder and no control characters")
    return name


def check_type(media_type: str) -> str:
    """The media type without parameters, lower case. Raises BadFileType."""
    plain = media_type.partition(";")[0].strip().lower()
    if not _MEDIA.fullmatch(plain):
        raise BadFileType("not a media type")
    return plain


def check_language(lang: str) -> str:
    """Raises UnknownLanguage."""
    if lang not in LANGUAGES:
        raise UnknownLanguage("not the code of an official language", lang=lang[:8])
    return lang


def shelve(tools: Tools, session: Session, official: Official, stored: StoredFile) -> None:
    """Remember a stored file on the shelf of the authority acted for. Raises NoAccess."""
    representing.check(tools, official)
    owner = official.authority
    now = tools.clock.now()
    files.add(session, stored, key=tools.vault.wrap(stored.key, f"shelf:{owner}"), owner=owner, case=None, at=now)
    audit.record(session, representing.audit_entry(tools, official, "file-stored", subject=stored.sha256))


def find_for(
    tools: Tools, session: Session, official: Official, number: CaseNumber, sha256: str
) -> tuple[File, str, bytes]:
    """A file an official may read, its generated name and its key; audited.

    Raises:
        UnknownCase, UnknownFile, FileNotHere.
    """
    if not _SHA256.fullmatch(sha256):
        raise UnknownFile("a file is named by the 64 hexadecimal digits of its SHA-256")
    if found := _on_draft(tools, session, official, number, sha256):
        return found
    case, official = case_of(tools, session, official, number)
    view = _readable_file(case, official, sha256)
    row = files.in_case(session, case.id, sha256)
    if row is None:
        raise FileNotHere("the file has not arrived here")
    audit.record(session, representing.audit_entry(tools, official, "read-file", subject=sha256, case=case.id))
    return view, row.stored, unseal(case.key, row.key, f"file:{sha256}")


def _readable_file(case: Case, official: Official, sha256: str) -> File:
    blocked = is_blocked(case, case.tools.clock.now())
    may_read = () if blocked else readable(case.procedure, case.view(official.authority), official.authority)
    events = {event.id: event for event in case.events()}
    for event_id, audience in sorted(may_read):
        part = case.part(event_id, audience)
        for form, given in part.content.items() if part else ():
            for key, value in given.items():
                for document in documents({form: {key: value}}):
                    if document["sha256"] == sha256:
                        return file_view(document, form=form, field=key, event=events[event_id], here=True)
    raise UnknownFile("there is no such file in this case for this reader")


def _on_draft(
    tools: Tools, session: Session, official: Official, number: CaseNumber, sha256: str
) -> tuple[File, str, bytes] | None:
    kept = drafts.of_number(session, number)
    for acting in representing.among(tools, official, {AuthorityId(row.authority) for row in kept}):
        row = shelved(session, acting, sha256)
        for draft in (draft for draft in kept if row and draft.authority == acting.authority):
            for file in draft_files(tools, session, acting, draft):
                if file.sha256 == sha256 and row:
                    return file, row.stored, tools.vault.unwrap(row.key, f"shelf:{row.owner}")
    return None


def draft_files(tools: Tools, session: Session, official: Official, draft: drafts.DraftRow) -> tuple[File, ...]:
    """The files a draft's content names."""
    content = drafting.open_content(tools, draft).content
    return tuple(
        File(
            sha256=str(document["sha256"]),
            size=size if isinstance(size := document.get("size"), int) else 0,
            name=str(document.get("name", "")),
            type=str(document.get("type", "")),
            lang=str(document.get("lang", "")),
            form=form,
            field=key,
            by=None,
            event=None,
            at=draft.updated_at,
            here=shelved(session, official, str(document["sha256"])) is not None,
        )
        for form, given in content.items()
        for key, value in given.items()
        for document in documents({form: {key: value}})
    )


@dataclass(frozen=True, slots=True)
class _StoredContent:
    """A large file as the wire takes it: read piece by piece from the store."""

    files: FileStore
    stored: str
    key: bytes
    size: int

    def chunks(self) -> Iterator[bytes]:
        return self.files.read(self.stored, self.key)


def open_reference(tools: Tools, session: Session, reference: str) -> as4.Content:
    """What the sender fetches when it builds a message: `outgoing:<message id>` or `file:<case>:<sha256>`.

    Raises:
        FileNotHere: it is gone (its case was erased before the message could be built).
    """
    kind, _, rest = reference.partition(":")
    if kind == "outgoing":
        return _outgoing(tools, session, rest)
    case_id, _, sha256 = rest.partition(":")
    query = select(AttachmentRow).where(AttachmentRow.case_id == case_id, AttachmentRow.sha256 == sha256)
    attachment = session.scalars(query.limit(1)).first()  # one that was dropped since is still owed
    row = cases.find(session, CaseId(case_id))
    if attachment is None or row is None or row.key is None:
        raise FileNotHere("a file to be sent is gone")
    key = unseal(case_key(tools, row), attachment.key, f"file:{sha256}")
    if attachment.size > as4.BIG:
        return _StoredContent(tools.files, attachment.stored, key, attachment.size)
    return tools.files.read_bytes(attachment.stored, key)


def _outgoing(tools: Tools, session: Session, message_id: str) -> bytes:
    found = cases.outgoing(session, message_id)
    if found is None:
        raise FileNotHere("the content of a message to be sent is gone")
    case, sealed, wrapped = found
    return unseal(tools.vault.unwrap(wrapped, f"case:{case}"), sealed, f"outgoing:{message_id}")


def sweep(tools: Tools, session: Session) -> list[str]:
    """Forget what is no longer needed; the generated names to delete once this is durable."""
    gone: list[str] = []
    for row in (*files.dropped(session), *files.old_on_shelf(session, tools.clock.now() - SHELF_LIFE)):
        if row.case_id is None or not _is_owed(session, row.case_id):
            files.forget(session, row.stored)
            gone.append(row.stored)
    _forget_sent_content(session)
    known = files.known_names(session)
    now = time.time()
    gone += [n for n in tools.files.names() if n not in known and tools.files.age(n, now=now) > _ORPHAN_SECONDS]
    return gone


def _is_owed(session: Session, case: str) -> bool:
    row = cases.find(session, CaseId(case))
    return bool(row and row.key) and bool(outbox.undelivered(session, [case]))


def _forget_sent_content(session: Session) -> None:
    """The clear content of messages that arrived is kept nowhere but in the case."""
    waiting = dict[str, set[str]]()
    for message_id, case in _outgoing_rows(session):
        waiting.setdefault(case, set()).add(message_id)
    for case, messages in waiting.items():
        arrived = {str(d.message_id) for d in outbox.statuses(session, case) if d.state == "received"}
        for message_id in messages & arrived:
            session.execute(delete(OutgoingRow).where(OutgoingRow.message_id == message_id))


def _outgoing_rows(session: Session) -> Iterator[tuple[str, str]]:
    rows = session.execute(select(OutgoingRow.message_id, OutgoingRow.case_id).limit(10_000))
    yield from ((row.message_id, row.case_id) for row in rows)
