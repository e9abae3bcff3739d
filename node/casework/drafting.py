"""Drafts: local rows, sealed under keys of their own; nothing in them was checked but its size."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy.orm import Session

from node.casework import representing
from node.casework.errors import StaleForm
from node.casework.tools import Tools
from node.casework.views import DraftContent, DraftItem, Official
from node.domain.events import canonical
from node.ids import AuthorityId, CaseNumber
from node.local_store import audit, drafts
from node.local_store.drafts import DraftRow
from node.local_store.vault import new_key, seal, unseal


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a draft belongs: the case or new case, and the step (empty for a new case)."""

    number: CaseNumber
    step: str
    procedure: str
    version: int


def check_expected(row: DraftRow, expected: str | None) -> None:
    """Raises StaleForm."""
    if expected is not None and expected != version_of(row):
        raise StaleForm("the draft changed since this form was opened")


def version_of(row: DraftRow) -> str:
    return str(row.edition)


def create(tools: Tools, session: Session, official: Official, place: Place, content: DraftContent) -> DraftRow:
    now, key = tools.clock.now(), new_key()
    row = DraftRow(
        authority=official.authority,
        number=place.number,
        step=place.step,
        procedure=place.procedure,
        version=place.version,
        key=b"",
        sealed=b"",
        edition=1,
        user=official.user,
        login=official.login,
        updated_at=now,
    )
    row.key = tools.vault.wrap(key, _context(row))
    row.sealed = seal(key, _write(content), _context(row))
    session.add(row)
    session.flush()
    _audit(tools, session, official, "draft", row)
    return row


def save(tools: Tools, session: Session, official: Official, row: DraftRow, content: DraftContent) -> None:
    row.sealed = seal(tools.vault.unwrap(row.key, _context(row)), _write(content), _context(row))
    row.edition += 1
    row.user, row.login, row.updated_at = official.user, official.login, tools.clock.now()
    session.flush()
    _audit(tools, session, official, "draft-saved", row)


def open_content(tools: Tools, row: DraftRow) -> DraftContent:
    raw = json.loads(unseal(tools.vault.unwrap(row.key, _context(row)), row.sealed, _context(row)))
    return DraftContent(control=raw["control"], content=raw["content"], lang=raw["lang"])


def forget(session: Session, official: Official, number: CaseNumber, step: str) -> None:
    drafts.forget(session, official.authority, number, step)


def delete(tools: Tools, session: Session, official: Official, number: CaseNumber, step: str) -> None:
    """Raises UnknownCase."""
    row, official = representing.for_draft(tools, session, official, number, step)
    _audit(tools, session, official, "draft-deleted", row)
    forget(session, official, number, step)


def item(tools: Tools, row: DraftRow) -> DraftItem:
    authority = AuthorityId(row.authority)
    return DraftItem(
        number=CaseNumber(row.number),
        authority=authority,
        authority_name=tools.name(authority),
        procedure=row.procedure,
        step=row.step,
        opens=not row.step,
        updated_at=row.updated_at,
        updated_by=row.login,
    )


def _write(content: DraftContent) -> bytes:
    control = {name: v if isinstance(v, str) else list(v) for name, v in content.control.items()}
    return canonical({"control": control, "content": content.content, "lang": content.lang})


def _context(row: DraftRow) -> str:
    return f"draft:{row.authority}/{row.number}/{row.step}"


def _audit(tools: Tools, session: Session, official: Official, act: str, row: DraftRow) -> None:
    audit.record(session, representing.audit_entry(tools, official, act, subject=f"{row.number} {row.step}".strip()))
