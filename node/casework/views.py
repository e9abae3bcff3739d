"""What casework takes and gives: frozen values, for pages and REST alike.

Values of fields are JSON values, the same in drafts, acts, views and on the wire; `node.domain.forms` lists their
shapes by answer type (a text is `{"text", "lang"}`, a document `{"sha256", "size", "name", "type", "lang"}`, dates and
numbers are strings; a field with several types is keyed by type, and so is every answer to a question).

Nothing here is translated: states, steps, fields and codes are keys of the catalogue's texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal, TypeAlias

from node.domain.procedures import Field, Procedure, Step
from node.ids import AuthorityId, CaseId, CaseNumber, EventId, NodeId, State

Value: TypeAlias = object  # a JSON value, see above
Content: TypeAlias = Mapping[str, Mapping[str, Value]]  # form -> field -> value
Control: TypeAlias = Mapping[str, str | Sequence[str]]  # control name -> authority, keys, date or choice

PartState = Literal["readable", "not-for-you", "not-arrived", "erased", "faulty"]
EventState = Literal["counts", "superseded", "waiting", "void"]
DeliveryState = Literal["waiting", "sending", "received", "parked", "refused"]
Urgency = Literal["overdue", "soon", "later", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """Who acts: a signed-in user, or the user behind an API token, and for which authority.

    A user belongs to one authority and acts for it, and for the bodies it represents (`node.casework.representing`).
    `authority` is the user's own until one of them is chosen; from then on it is the chosen one, and `own` the user's.
    Casework chooses by the case or draft where a door did not.

    `roles` are user roles of the catalogue's list `user-role`: handler, allocator, referral-handler, disseminator,
    supervisor, administrator … Without one that reads cases, only the directory is open.
    """

    user: int
    login: str
    authority: AuthorityId
    roles: frozenset[str]
    language: str
    via: AuthorityId | None = None  # once an authority is chosen: the user's own

    @property
    def own(self) -> AuthorityId:
        """The authority this user belongs to."""
        return self.via or self.authority

    def acting_for(self, authority: AuthorityId) -> Official:
        """The same user, for this one authority; whether that may be is judged by each act."""
        return replace(self, authority=authority, via=self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Makes an act repeatable: the same key by the same user gives the first outcome again, nothing happens twice."""

    key: str  # the client's Idempotency-Key
    digest: str  # SHA-256 of what was asked: the same key for something else is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContent:
    """What a draft holds: everything optional, checked only when the step is taken."""

    control: Control = field(default_factory=dict)
    content: Content = field(default_factory=dict)
    lang: str = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An unsent act, kept by this node alone: a new case (`opens`), or the next step in a case.

    A new case's draft already has the number that the case will keep.
    """

    number: CaseNumber
    authority: AuthorityId  # whose act it is
    procedure: str
    step: str  # "" for a new case whose first step is not chosen yet
    opens: bool
    control: Control
    content: Content
    lang: str
    files: tuple[File, ...]  # those its content names
    version: str  # give it back as `expected`
    updated_at: datetime
    updated_by: str  # login
    offers: tuple[Offer, ...]  # the first steps this official may take; empty for a draft within a case


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftItem:
    number: CaseNumber
    authority: AuthorityId
    authority_name: str
    procedure: str
    step: str
    opens: bool
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file named by a document field. `by` and `event` are empty while only a draft names it."""

    sha256: str
    size: int  # bytes
    name: str  # as the uploader called it, without any folder; for display and download only
    type: str  # media type
    lang: str
    form: str
    field: str
    by: AuthorityId | None
    event: EventId | None
    at: datetime
    here: bool  # False: its bytes have not arrived, or were deleted

    def document(self) -> dict[str, Value]:
        """The value of a document field that names this file."""
        return {"sha256": self.sha256, "size": self.size, "name": self.name, "type": self.type, "lang": self.lang}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormSpec:
    """A form to fill.

    `name` keys its content (`answers`, `comments` and slots included), `key` its texts (`form.<key>.<field>`; the
    questions of `answers` and `comments` have `question.<area>.<key>`).
    """

    name: str
    key: str
    fields: tuple[Field, ...]  # for answers and comments: those of the questions that may be chosen
    audiences: tuple[str, ...]  # who will read something of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A step this official may take now."""

    step: Step
    role: str  # the case role it is taken in
    forms: tuple[FormSpec, ...]
    moves: bool  # changes the state; False: a lane step
    internal: bool  # never leaves this State (scope state) or this authority (scope authority)
    questions: tuple[str, ...]  # what a `keys` control of this step may choose from
    recipients: Mapping[str, str]  # control of authorities -> directory role to choose them by; "" for any
    draft: bool  # a draft of this step is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyView:
    authority: AuthorityId
    name: str
    state: State
    node: NodeId | None  # None: the directory does not know it
    roles: tuple[str, ...]  # empty for a former party
    former: bool
    ours: bool  # the reading official's own authority
    turn: bool
    flags: tuple[str, ...]  # lane marks, for instance acknowledged
    handled_by: AuthorityId | None  # the coordinator whose users act for it, as the directory says now
    handled_by_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A running deadline. `on` is the last day, in the calendar of the State it binds; `at` that day's end."""

    name: str
    on: date
    at: datetime
    role: str  # who must act, "" when nobody in particular
    urgency: Urgency
    working_days_left: int  # negative when late


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """One field of a part; `fault` is a code when the value does not fit the definition."""

    key: str
    value: Value
    personal: str  # data class: none, P or PS
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormView:
    name: str  # "" where the part cannot be read
    audience: str
    state: PartState
    fields: tuple[FieldView, ...]  # empty unless readable


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionView:
    """A question of the case, with the answers that count, oldest first."""

    key: str
    open: bool
    spec: Field | None
    comment: Value | None
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    event: EventId
    author: AuthorityId
    at: datetime
    value: Mapping[str, Value]  # by answer type, `comment`; or `cannot-say` alone
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Did it arrive: one row for each node a step is owed to.

    `received_at` is the instant of the peer node's verified signed receipt.
    """

    node: NodeId
    authorities: tuple[AuthorityId, ...]
    state: DeliveryState
    attempts: int
    posted_at: datetime
    received_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the timeline."""

    event: EventId
    step: str
    role: str
    author: AuthorityId
    author_name: str
    received_by: tuple[AuthorityId, ...]  # whose automatic `received` says that they hold it
    official: str  # login, for steps taken at the reader's own authority; else ""
    at: datetime
    arrived_at: datetime
    scope: Literal["case", "state", "authority", "receipt"]
    state: EventState
    superseded_by: EventId | None
    control: Control
    forms: tuple[FormView, ...]
    deliveries: tuple[Delivery, ...]
    to_state: str  # the state after a move; "" for a lane step


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """A case as one official may see it, for one authority."""

    authority: AuthorityId  # the reader acts for it here
    authorities: tuple[AuthorityId, ...]  # all parties of this case that the reader may act for, that one first
    number: CaseNumber
    case: CaseId
    procedure: Procedure
    kind: str  # request, notification, alert …
    area: str
    state: str
    final: bool
    turn: str  # the role that has to act; "" when final
    our_turn: bool
    our_roles: tuple[str, ...]  # empty: a former party, who sees the file card only
    version: str  # give it back as `expected` with an act
    opened_at: datetime
    updated_at: datetime
    variables: Mapping[str, str | tuple[str, ...]]
    parties: tuple[PartyView, ...]
    deadlines: tuple[Due, ...]
    questions: tuple[QuestionView, ...]
    forms: tuple[FormView, ...]  # the latest counting content of each form, answers left out
    timeline: tuple[Entry, ...]  # newest first
    files: tuple[File, ...]
    deliveries: tuple[Delivery, ...]  # one row a node, its worst state
    offers: tuple[Offer, ...]
    drafts: tuple[DraftItem, ...]
    facts: Mapping[str, str]  # for the title: "<form key>.<field>" -> code of its list; nobody's name
    blocked: bool
    block_on: date | None
    delete_on: date | None
    waiting_for_data: bool  # events are held that can't count yet


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One line of a list: no personal data."""

    authority: AuthorityId  # whose case it is: the official's own, or a body it represents
    authority_name: str
    number: CaseNumber
    procedure: str
    kind: str
    area: str
    state: str
    final: bool
    our_roles: tuple[str, ...]
    our_turn: bool
    other: AuthorityId | None  # the other side that matters most: holder of the turn, or opener
    other_name: str
    others: int  # how many parties there are besides us
    due: Due | None
    urgency: Urgency
    facts: Mapping[str, str]
    updated_at: datetime
    undelivered: int  # messages of this case that still wait for a node


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What waits, counted.

    `to_accept`: our turn and we did nothing yet; `to_answer`: our turn in a case another opened;
    `to_check`: our turn in a case we opened; `alerts`: open one-to-many cases we did not open.
    """

    to_accept: int
    to_answer: int
    to_check: int
    overdue: int
    alerts: int
    drafts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkList:
    overdue: tuple[WorkItem, ...]
    due_soon: tuple[WorkItem, ...]
    later: tuple[WorkItem, ...]
    waiting: tuple[WorkItem, ...]  # for others
    drafts: tuple[DraftItem, ...]
    counters: Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseList:
    items: tuple[WorkItem, ...]
    more: str  # cursor of the next page; "" at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """A signed event as stored, for whoever wants to verify it."""

    event: EventId
    data: bytes  # canonical JSON
    signature: bytes
    certificate: str  # SHA-256 of the signing certificate, hexadecimal
