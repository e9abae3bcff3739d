"""A case in memory, for one transaction: its events folded, its parts opened as they are needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from node.casework.errors import CaseErased
from node.casework.tools import Tools
from node.domain.events import Event, Part, SignedEvent, canonical
from node.domain.fold import Folding, View
from node.domain.handover import HAND_OVER
from node.domain.procedures import Procedure
from node.federation.peers import UnknownPeer
from node.ids import AuthorityId, CaseId, EventId, NodeId, State, state_of
from node.local_store import cases
from node.local_store.cases import CaseRow, SealedPart, StoredEvent
from node.local_store.vault import new_key, seal, unseal

PartKey = tuple[EventId, str]  # event and audience

_NEVER_FOLDED: Final = ""
_Scopes = tuple[bool, AuthorityId | None]  # whether the State's events are in it, and whose own


@dataclass(slots=True, eq=False)
class Case:
    """A case whose definition is known. Views are computed once and again after `add`."""

    tools: Tools
    session: Session
    row: CaseRow
    procedure: Procedure
    stored: list[StoredEvent]
    _parts: dict[PartKey, SealedPart] | None = None
    _foldings: dict[_Scopes, Folding] = field(default_factory=dict)
    _views: dict[_Scopes, View] = field(default_factory=dict)
    _everyone: Mapping[AuthorityId, frozenset[AuthorityId]] | None = None
    _events: list[Event] | None = None
    _signers: dict[EventId, NodeId] | None = None
    _scopes: frozenset[str] = frozenset()
    _opened: dict[PartKey, Part] = field(default_factory=dict)
    _key: bytes | None = None

    @property
    def id(self) -> CaseId:
        return CaseId(self.row.case_id)

    @property
    def key(self) -> bytes:
        """The key its content is sealed with. Raises CaseErased."""
        if self._key is None:
            self._key = case_key(self.tools, self.row)
        return self._key

    @property
    def our_state(self) -> State:
        return state_of(self.tools.node)

    def events(self) -> list[Event]:
        """The events that passed the door."""
        if self._events is None:
            self._events = [stored.signed.event for stored in self.stored if not stored.door]
            self._scopes = frozenset(event.scope for event in self._events)
        return self._events

    def view(self, own: AuthorityId | None = None) -> View:
        """What this State sees, and with `own` what this authority keeps to itself."""
        return self._view(self._scopes_of(inside=True, own=own))

    def shared(self) -> View:
        """What every party's node sees."""
        return self._view(self._scopes_of(inside=False, own=None))

    def _scopes_of(self, *, inside: bool, own: AuthorityId | None) -> _Scopes:
        """What a fold must tell apart: most cases hold events of scope `case` alone, and one fold serves all."""
        self.events()
        return inside and "state" in self._scopes, own if "authority" in self._scopes else None

    def _view(self, scopes: _Scopes) -> View:
        if scopes not in self._views:
            self._views[scopes] = self._fold(scopes).view()
        return self._views[scopes]

    def _fold(self, scopes: _Scopes) -> Folding:
        if scopes not in self._foldings:
            inside, own = scopes
            state = self.our_state if inside else None
            self._foldings[scopes] = Folding(
                self.procedure,
                self.events(),
                self.tools.catalogue.calendars,
                inside=state,
                own=own,
                signers=self.signers(),
            )
        return self._foldings[scopes]

    def parties(self) -> Mapping[AuthorityId, frozenset[AuthorityId]]:
        """Everyone who is or was a party, as far as this State sees, and who named them."""
        if self._everyone is None:
            self._everyone = self._fold(self._scopes_of(inside=True, own=None)).parties()
        return self._everyone

    def shared_parties(self) -> Mapping[AuthorityId, frozenset[AuthorityId]]:
        """Everyone who is or was a party as far as every party's node sees."""
        return self._fold(self._scopes_of(inside=False, own=None)).parties()

    def signers(self) -> Mapping[EventId, NodeId]:
        """Which node signed which event. Looked up only where an authority moved: else nobody asks."""
        if self._signers is None:
            here = any(stored.signed.event.step in HAND_OVER for stored in self.stored)
            named = ((s.signed.event.id, self._signer(s.signed)) for s in self.stored) if here else ()
            self._signers = {event: node for event, node in named if node}
        return self._signers

    def _signer(self, signed: SignedEvent) -> NodeId | None:
        if signed.certificate == self.tools.certificate:
            return self.tools.node
        try:
            return self.tools.peers.certificate_by_fingerprint(signed.certificate)[0]
        except UnknownPeer:
            return None  # forgotten years after it was retired: what a hand-over names counts without it

    def add(self, stored: StoredEvent, *, user: int | None = None) -> None:
        cases.add_event(self.session, stored, user=user)
        self.stored.append(stored)
        self._foldings.clear()
        self._views.clear()
        self._everyone = self._events = self._signers = None

    def sealed_parts(self) -> dict[PartKey, SealedPart]:
        if self._parts is None:
            self._parts = cases.parts_of(self.session, self.id)
        return self._parts

    def part(self, event: EventId, audience: str) -> Part | None:
        """A part whose content is here and matches its commitment."""
        sealed = self.sealed_parts().get((event, audience))
        if sealed is None or sealed.sealed is None or not sealed.checked:
            return None
        if (event, audience) not in self._opened:
            self._opened[event, audience] = open_part(self.key, sealed)
        return self._opened[event, audience]

    def keep_part(self, event: EventId, audience: str, part: Part, *, at: datetime) -> None:
        """Seal and store a part of our own step."""
        sealed = seal_part(self.key, event, audience, part, checked=True)
        cases.add_part(self.session, self.id, sealed, at=at)
        self.sealed_parts()[event, audience] = sealed

    def accept_part(self, event: EventId, audience: str) -> None:
        """Note that a part matches its event's commitment."""
        cases.mark_checked(self.session, event, audience)
        self._change(event, audience, checked=True)

    def reject_part(self, event: EventId, audience: str) -> None:
        """Forget a part that does not, so that the right one may still come."""
        cases.drop_part(self.session, event, audience)
        self.sealed_parts().pop((event, audience), None)

    def _change(self, event: EventId, audience: str, **changes: Any) -> None:
        parts = self.sealed_parts()
        parts[event, audience] = replace(parts[event, audience], **changes)

    def use_part(self, event: EventId, audience: str) -> None:
        """Note that an authority of ours is entitled to a part."""
        cases.mark_used(self.session, event, audience)
        self._change(event, audience, used=True)

    def forget_part(self, event: EventId, audience: str) -> None:
        cases.erase_part(self.session, event, audience)
        self._change(event, audience, sealed=None)


def case_key(tools: Tools, row: CaseRow) -> bytes:
    """Raises CaseErased."""
    if row.key is None:
        raise CaseErased("the content of this case was deleted")
    return tools.vault.unwrap(row.key, f"case:{row.case_id}")


def load(tools: Tools, session: Session, row: CaseRow, whole: Sequence[StoredEvent] | None = None) -> Case | None:
    """The case, if its definition is known here; None while its first event is held or missing.

    Args:
        whole: its events, in the order of arrival, if they need not be read.
    """
    procedure = tools.catalogue.by_digest(row.digest) if row.digest != _NEVER_FOLDED else None
    if procedure is None:
        return None
    stored = cases.events_of(session, CaseId(row.case_id)) if whole is None else whole
    return Case(tools, session, row, procedure, list(stored))


def new_row(tools: Tools, session: Session, case: CaseId, *, at: datetime) -> CaseRow:
    """A case nothing is known of yet but its id; its key is drawn here. The caller flushes once it said what it knows."""
    row = CaseRow(case_id=case, created_at=at, updated_at=at, key=tools.vault.wrap(new_key(), f"case:{case}"))
    session.add(row)
    return row


def set_opening(row: CaseRow, event: Event, procedure: Procedure) -> None:
    """What a first event that passed the door says of its case."""
    assert event.opening
    row.number, row.opened_at = event.opening.number, event.at
    row.procedure, row.version, row.digest = procedure.id, procedure.version, procedure.digest
    row.kind, row.area, row.state = procedure.kind, procedure.area, procedure.start


def seal_part(key: bytes, event: EventId, audience: str, part: Part, *, checked: bool) -> SealedPart:
    content = seal(key, canonical(part.content), f"part:{event}/{audience}")
    return SealedPart(event=event, audience=audience, salt=part.salt, sealed=content, checked=checked)


def open_part(key: bytes, sealed: SealedPart) -> Part:
    """Inverse of seal_part; the part's content must be here."""
    assert sealed.sealed is not None
    content = json.loads(unseal(key, sealed.sealed, f"part:{sealed.event}/{sealed.audience}"))
    return Part(salt=sealed.salt, content=content)
