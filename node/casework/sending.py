"""Who is owed what of a case, and posting it (procedures.md section 6).

After every change the debt is computed anew from what is held: an author's node owes its events and their parts to
every party, also to those it learns of later; the node of whoever named a party owes it all that party may have. What
was posted is remembered item by item, so only the difference goes out, in one message for each node. An authority on
this node needs no message: it reads the same rows.

A named party is not sent an event again by the one who named it where the event's own author demonstrably knew of the
party (its naming lies in what the event counts on): that author owes it.

An authority that moves takes everything it has with it: its old node owes that to the new one, what it keeps to itself
too. The new node owes what its authorities wrote, wherever it was signed, and to the nodes they left the bare events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from node.casework import hosting, payload
from node.casework.loading import Case
from node.casework.payload import SentPart
from node.domain.events import Event, Part
from node.domain.fold import parties, readable
from node.domain.forms import documents
from node.federation import outbox
from node.federation.outbox import OutFile
from node.ids import AuthorityId, CaseNumber, EventId, NodeId, state_of
from node.local_store import cases, files
from node.local_store.cases import StoredEvent
from node.local_store.vault import seal

ACTION: Final = "events"
MAX_EVENTS_A_MESSAGE: Final = 200
MAX_BYTES_A_MESSAGE: Final = 40 * 1024 * 1024  # files and parts together
MAX_FILES_A_MESSAGE: Final = 80


@dataclass(slots=True)
class Debt:
    """What one node is owed: events, parts, and the files they name."""

    events: dict[EventId, StoredEvent] = field(default_factory=dict)
    parts: dict[tuple[EventId, str], Part] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)  # items that their author owes

    def items(self) -> set[str]:
        """What we owe, as items."""
        return {*self.events, *(f"{event}/{audience}" for event, audience in self.parts)}


def send_owed(case: Case) -> None:
    """Post what each other node is owed and was not given yet."""
    sent = cases.sent_items(case.session, case.id)
    debts = _Debts(case, sent)
    for node, debt in debts.by_node().items():
        cases.mark_sent(case.session, case.id, node, sorted(debt.passed - debt.items()), "")
        for events, parts in _in_messages(case, debt):
            _post(case, node, events, parts, sent)
    for node, lost in debts.lost().items():
        cases.unmark_sent(case.session, case.id, node, lost)


class _Debts:
    """Works out the debts of one case."""

    def __init__(self, case: Case, sent: set[tuple[NodeId, str]]) -> None:
        self.case, self.sent = case, sent
        self.view = case.view()
        judged = self.view.waiting | self.view.refused.keys()
        passed_door = (stored for stored in case.stored if not stored.door)
        self.stored = [s for s in passed_door if s.signed.event.id not in judged]
        self.named_by = case.parties()
        self.knew: dict[EventId, frozenset[AuthorityId]] = {}
        self.may_have: dict[NodeId, set[str]] = {}  # node -> parts, as items

    def by_node(self) -> Mapping[NodeId, Debt]:
        debts: dict[NodeId, Debt] = {}
        for party in self.named_by:
            node = self.case.tools.home(party)
            if node is not None and node != self.case.tools.node:
                self._add(debts.setdefault(node, Debt()), node, party)
            left = hosting.left(self.case, party) if node == self.case.tools.node else set[NodeId]()
            for old in left | self._misdirected(party):
                self._add_all(debts.setdefault(old, Debt()), old, party, self._no_part)
        for party, going in hosting.leaving(self.case).items():
            self._add_all(debts.setdefault(going.to, Debt()), going.to, party, self._may_read(party))
        for stored in self.stored:
            for node in stored.only_to:
                if (node, stored.signed.event.id) not in self.sent:
                    debts.setdefault(node, Debt()).events[stored.signed.event.id] = stored
        return debts

    def _add(self, debt: Debt, node: NodeId, party: AuthorityId) -> None:
        may_have = readable(self.case.procedure, self.view, party, carried=True)
        self.may_have.setdefault(node, set()).update(f"{event}/{audience}" for event, audience in may_have)
        for stored in self.stored:
            event = stored.signed.event
            if not self._is_for(event, party) or self.case.tools.home(event.author) == node:
                continue
            items = [event.id, *(f"{event.id}/{a}" for a in event.parts if (event.id, a) in may_have)]
            open_items = [item for item in items if (node, item) not in self.sent and item not in debt.passed]
            if open_items and self._we_owe(event, party):
                self._collect(debt, stored, open_items)
            elif open_items and self._named_here(party):
                debt.passed.update(open_items)

    def _misdirected(self, party: AuthorityId) -> set[NodeId]:
        """The homes that a party had left before it was one, and to which we wrote before we knew.

        They get the bare events of what follows, so that their copy ends with the others.
        """
        former = set(self.case.tools.homes(party)[:-1]) - {self.case.tools.home(party), self.case.tools.node}
        return {node for node, _ in self.sent if node in former} - hosting.left(self.case, party)

    _no_part: Final = frozenset[tuple[EventId, str]]()

    def _may_read(self, party: AuthorityId) -> frozenset[tuple[EventId, str]]:
        return readable(self.case.procedure, self.case.view(party), party, carried=True)

    def _add_all(self, debt: Debt, node: NodeId, party: AuthorityId, may_have: frozenset[tuple[EventId, str]]) -> None:
        """What a node gets for an authority that moves, or has moved away from it."""
        self.may_have.setdefault(node, set()).update(f"{event}/{audience}" for event, audience in may_have)
        for stored in self.stored:
            event = stored.signed.event
            own = event.scope == "authority" and event.author == party and bool(may_have)
            if own or self._is_for(event, party):
                items = [event.id, *(f"{event.id}/{a}" for a in event.parts if (event.id, a) in may_have)]
                self._collect(debt, stored, [item for item in items if (node, item) not in self.sent])

    def lost(self) -> Mapping[NodeId, set[str]]:
        """Parts of steps that count which a node was given and deleted since, as nobody there may have them now."""
        counting = {event.id for event in self.view.counting()}
        lost: dict[NodeId, set[str]] = {}
        for node, item in self.sent:
            event, _, audience = item.partition("/")
            if audience and event in counting and item not in self.may_have.get(node, ()):
                part = self.case.part(EventId(event), audience)
                named = (f"file:{document['sha256']}" for document in documents(part.content)) if part else ()
                lost.setdefault(node, set()).update({item, *named})
        return lost

    def _is_for(self, event: Event, party: AuthorityId) -> bool:
        if event.scope == "state":
            return event.state == state_of(party)
        return event.scope == "case"

    def _we_owe(self, event: Event, party: AuthorityId) -> bool:
        if self.case.tools.is_ours(event.author):
            return True
        return self._named_here(party) and party not in self._known_at(event)

    def _named_here(self, party: AuthorityId) -> bool:
        return any(self.case.tools.is_ours(author) for author in self.named_by[party])

    def _known_at(self, event: Event) -> frozenset[AuthorityId]:
        """The parties in what an event counts on."""
        if event.id not in self.knew:
            before = [e for e in self.case.events() if event.seen.get(e.lane, 0) >= e.seq and e.id != event.id]
            found = parties(
                self.case.procedure,
                before,
                self.case.tools.catalogue.calendars,
                inside=self.case.our_state,
                signers=self.case.signers(),
            )
            self.knew[event.id] = frozenset(found)
        return self.knew[event.id]

    def _collect(self, debt: Debt, stored: StoredEvent, items: Iterable[str]) -> None:
        event = stored.signed.event
        for item in items:
            _, _, audience = item.partition("/")
            if not audience:
                debt.events[event.id] = stored
            elif part := self.case.part(event.id, audience):
                debt.parts[event.id, audience] = part


def _in_messages(case: Case, debt: Debt) -> Iterator[tuple[list[StoredEvent], list[SentPart]]]:
    """A debt cut into messages: events in the order they came here, each with its parts, within the limits."""
    order = [stored.signed.event.id for stored in case.stored]
    events: list[StoredEvent] = []
    parts: list[SentPart] = []
    size = count = 0
    for event_id in order:
        with_it = [
            SentPart(event=event, audience=audience, part=part)
            for (event, audience), part in debt.parts.items()
            if event == event_id
        ]
        weight = sum(_weight(sent) for sent in with_it)
        named = sum(1 for sent in with_it for _ in documents(sent.part.content))
        full = len(events) >= MAX_EVENTS_A_MESSAGE or count + named > MAX_FILES_A_MESSAGE
        if (full or size + weight > MAX_BYTES_A_MESSAGE) and (events or parts):
            yield events, parts
            events, parts, size, count = [], [], 0, 0
        events += [debt.events[event_id]] if event_id in debt.events else []
        parts, size, count = parts + with_it, size + weight, count + named
    if events or parts:
        yield events, parts


def _weight(sent: SentPart) -> int:
    return 20_000 + sum(_size(document) for document in documents(sent.part.content))


def _size(document: Mapping[str, object]) -> int:
    size = document.get("size")
    return size if isinstance(size, int) else 0


def _post(
    case: Case, node: NodeId, events: list[StoredEvent], parts: list[SentPart], sent: set[tuple[NodeId, str]]
) -> None:
    tools, session = case.tools, case.session
    message_id = tools.new_message_id()
    attached = _files(case, node, parts, sent)
    content = payload.write(case.id, [stored.signed for stored in events], parts)
    cases.keep_outgoing(session, case.id, message_id, seal(case.key, content, f"outgoing:{message_id}"))
    outbox.post(
        session,
        message_id=message_id,
        recipient=node,
        order=case.id,
        conversation=CaseNumber(case.row.number or case.id),
        action=ACTION,
        content=f"outgoing:{message_id}",
        files=[OutFile(name=name, mime=mime, reference=f"file:{case.id}:{name}") for name, mime in attached.items()],
        properties={},
        at=tools.clock.now(),
    )
    items: list[str] = [stored.signed.event.id for stored in events]
    items += [f"{part.event}/{part.audience}" for part in parts] + [f"file:{name}" for name in attached]
    cases.mark_sent(session, case.id, node, items, message_id)
    sent.update((node, item) for item in items)


def _files(case: Case, node: NodeId, parts: Iterable[SentPart], sent: set[tuple[NodeId, str]]) -> dict[str, str]:
    """SHA-256 -> media type of the files these parts name that are here and were not sent there yet."""
    named = [document for part in parts for document in documents(part.part.content)]
    here = files.digests_in_case(case.session, case.id) if named else frozenset[str]()
    return {
        str(document["sha256"]): str(document.get("type", "application/octet-stream"))
        for document in named
        if document["sha256"] in here and (node, f"file:{document['sha256']}") not in sent
    }
