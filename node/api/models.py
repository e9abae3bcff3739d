"""What goes in and comes out, as pydantic models: they parse requests, shape answers, and make the OpenAPI document.

Requests forbid unknown fields. `text` fields are the catalogue's words in the language of the request
(`Accept-Language`, else the user's); everything else is the same for every reader.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,59}$")]
_Control = Annotated[str, StringConstraints(max_length=64)]
_Language = Annotated[str, StringConstraints(max_length=8)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StepRequest(_In):
    """A step in a case."""

    control: dict[_Name, _Control | Annotated[list[_Control], Field(max_length=1000)]] = Field(
        default={}, description="Control data as the step declares it: authorities, question keys, dates, choices."
    )
    content: dict[str, dict[str, Any]] = Field(
        default={}, description="Form -> field -> value; for texts {text, lang}, for documents what POST /files gave."
    )
    lang: _Language | None = Field(default=None, description="Language the official writes in; default: the user's.")
    expected: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="`version` of the case that was read; refused if it changed since."
    )


class CaseRequest(StepRequest):
    """A new case: with its first step, or without one as a draft."""

    procedure: Annotated[str, StringConstraints(max_length=130)] = Field(description="Id of the procedure.")
    step: _Name | None = Field(default=None, description="The first step; none: only a draft is made.")


class DraftRequest(_In):
    """What a draft holds; nothing is checked until the step is taken."""

    control: dict[_Name, _Control | Annotated[list[_Control], Field(max_length=1000)]] = {}
    content: dict[str, dict[str, Any]] = {}
    lang: _Language | None = None
    expected: Annotated[str, StringConstraints(max_length=64)] | None = None


class Number(_Out):
    number: str = Field(description="Case number, the same at every party.")
    draft: bool = Field(description="Whether nothing was sent yet.")


class Taken(_Out):
    number: str
    state: str
    version: str


class Draft(_Out):
    authority: str
    number: str
    procedure: str
    step: str
    opens: bool
    control: dict[str, str | list[str]]
    content: dict[str, dict[str, Any]]
    lang: str
    version: str
    updated_at: datetime
    updated_by: str


class DraftItem(_Out):
    authority: str
    number: str
    procedure: str
    step: str
    opens: bool
    updated_at: datetime
    updated_by: str


class Drafts(_Out):
    drafts: list[DraftItem]


class Document(_Out):
    """The value of a document field."""

    sha256: str
    size: int
    name: str
    type: str
    lang: str


class Link(_Out):
    coordinator: str
    function: str = Field(description="validating, access, request, alert or notification.")
    area: str = Field(description="Empty: for all areas.")


class Authority(_Out):
    id: str
    node: str
    state: str
    name: str
    name_lang: str
    short_name: str
    names: dict[str, str]
    informal: dict[str, str]
    type: str
    level: str
    territory: list[str]
    areas: list[str]
    professions: list[str]
    activities: list[str]
    parent: str
    competence: dict[str, str]
    languages: list[str]
    roles: dict[str, list[str]]
    settings: dict[str, dict[str, str]] = Field(description="Procedure or area -> how the authority works in it.")
    coordinators: list[Link]
    represented_by: str = Field(description="The coordinator whose users act for it, where it has none.")
    address: dict[str, str]
    website: str
    email: str
    phone: str
    contact: str
    status: str = Field(description="active, suspended or left.")
    registered: date | None
    reviewed: date | None = Field(description="When its own people last said that all this is right.")
    assignment_invented: bool = Field(description="What it is competent for was made up for a demonstration.")


class Authorities(_Out):
    authorities: list[Authority]
    understood: list[str] = Field(description="Professions and activities that the words name.")
    partial: bool = Field(description="No authority has all words; these have most of them.")
    coordinators: list[Authority] = Field(description="Where few or none were found: who knows whom to ask.")
    more: bool


class Register(_Out):
    id: str
    node: str
    state: str
    name: str
    name_lang: str
    names: dict[str, str]
    type: str = Field(description="business, crafts, professional, contractors, associations, tax, trusted-list …")
    territory: list[str] = Field(description="NUTS codes; none: the whole State.")
    areas: list[str]
    professions: list[str]
    activities: list[str]
    contents: dict[str, str] = Field(description="Language -> what can be found in it.")
    operator: str = Field(description="The authority that keeps it, if it is in the directory.")
    operator_name: str
    access: str = Field(description="Who may consult it: public, authorities or on-request.")
    fee: str = Field(description="yes, no or unknown.")
    online: str = Field(description="yes, no or unknown.")
    login: str = Field(description="Whether that takes an account: yes, no or unknown.")
    languages: list[str]
    website: str
    contact: str
    valid_on: date | None = Field(description="When this was last found to be right.")
    identifiers: dict[str, str]
    source: str


class Registers(_Out):
    registers: list[Register]
    more: bool


class Competent(_Out):
    """Who is competent, and why."""

    authorities: list[Authority]
    reason: str = Field(
        description="`region`: their territory holds the place; `parts`: they are for parts of it; `nationwide`; `regional`: "
        "each for its own region; `coordinator`: no authority is listed; `nobody`."
    )
    text: str = Field(description="The reason in words, in the reader's language.")
    region: str = Field(description="NUTS code of the place; empty if none was asked for or it is not known.")
    place_known: bool


class FieldSpec(_Out):
    key: str
    text: str
    answers: list[str]
    list: str
    required: bool
    personal: Literal["none", "P", "PS"]
    when: str


class FormSpec(_Out):
    form: str
    fields: list[FieldSpec]
    audiences: list[str]


class ControlSpec(_Out):
    name: str
    text: str
    type: str
    optional: bool
    choices: list[str]
    role: str = Field(description="Directory role to choose authorities by; empty: any.")


class Offer(_Out):
    """A step that may be taken now."""

    step: str
    text: str
    role: str
    moves: bool
    internal: bool
    control: list[ControlSpec]
    forms: list[FormSpec]
    questions: list[str]


class Procedure(_Out):
    id: str
    version: int
    text: str
    kind: str
    area: str
    basis: list[str]
    authorities: list[str] = Field(description="The authorities it may be opened for; `for` says which.")
    offers: list[Offer] = Field(description="First steps this user may take, for the first of these authorities.")


class ActedFor(_Out):
    authorities: list[str]


class Procedures(_Out):
    procedures: list[Procedure]


class Due(_Out):
    name: str
    on: date
    ends_at: datetime
    role: str


class Party(_Out):
    authority: str
    name: str
    state: str
    node: str | None
    roles: list[str]
    former: bool
    turn: bool
    flags: list[str]
    handled_by: str | None = Field(description="The coordinator whose users act for it, as the directory says now.")
    handled_by_name: str


class FieldValue(_Out):
    key: str
    label: str
    value: Any
    text: str = Field(description="The value in words, for codes; empty for free text, which is in `value`.")
    personal: str
    fault: str


class FormValue(_Out):
    form: str
    audience: str
    state: str
    fields: list[FieldValue]


class Answer(_Out):
    values: dict[str, Any]
    text: str = Field(description="Predefined answers in the reader's language.")
    cannot_say: Any = None


class Question(_Out):
    key: str
    text: str
    open: bool
    remark: Any = Field(description="The asking authority's comment on the question: {text, lang}.")
    answer: Answer | None
    comment: Any = Field(description="The answering authority's comment: {text, lang}.")
    answered_by: str
    answered_at: datetime | None
    fault: str


class Delivery(_Out):
    node: str
    authorities: list[str]
    state: str
    attempts: int
    posted_at: datetime
    received_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str


class Entry(_Out):
    """One step, newest first."""

    event: str
    step: str
    text: str
    role: str
    author: str
    author_name: str
    official: str
    at: datetime
    arrived_at: datetime
    scope: str
    state: str
    superseded_by: str | None
    control: dict[str, str | list[str]]
    received_by: list[str]
    deliveries: list[Delivery]
    forms: list[FormValue]


class File(_Out):
    sha256: str
    size: int
    name: str
    type: str
    lang: str
    form: str
    field: str
    by: str | None
    at: datetime
    here: bool


class Case(_Out):
    authority: str = Field(description="The authority acted for in this answer.")
    authorities: list[str] = Field(description="All parties of this case the user may act for, that one first.")
    number: str
    case: str
    procedure: str
    procedure_version: int
    text: str
    kind: str
    area: str
    state: str
    state_text: str
    final: bool
    turn: str
    our_turn: bool
    our_roles: list[str]
    version: str
    opened_at: datetime
    updated_at: datetime
    variables: dict[str, str | list[str]]
    parties: list[Party]
    due: list[Due]
    questions: list[Question]
    forms: list[FormValue]
    timeline: list[Entry]
    files: list[File]
    deliveries: list[Delivery]
    offers: list[Offer]
    blocked: bool
    block_on: date | None
    delete_on: date | None
    waiting_for_data: bool


class CaseItem(_Out):
    authority: str = Field(description="Whose case it is: the user's own authority, or a body it represents.")
    authority_name: str
    number: str
    procedure: str
    kind: str
    area: str
    state: str
    state_text: str
    final: bool
    our_roles: list[str]
    our_turn: bool
    other: str | None
    other_name: str
    due: Due | None
    urgency: str
    facts: dict[str, str]
    updated_at: datetime
    undelivered: int


class Cases(_Out):
    cases: list[CaseItem]
    more: str = Field(description="Give it as `after` for the next page; empty at the end.")


class Work(_Out):
    overdue: list[CaseItem]
    due_soon: list[CaseItem]
    later: list[CaseItem]
    waiting: list[CaseItem]
    drafts: list[DraftItem]
    counters: dict[str, int]


class Event(_Out):
    """A signed event: `event` is what was signed, in its RFC 8785 form; the signature is over `imi-event/1` LF id."""

    id: str
    author: str
    step: str
    at: datetime
    event: dict[str, Any]
    signature: str = Field(description="Ed25519, Base64.")
    certificate: str = Field(description="SHA-256 of the signing certificate, hexadecimal.")


class Events(_Out):
    events: list[Event]


class ProblemFault(_Out):
    form: str = ""
    field: str
    code: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable and documented; `detail` is English, for developers."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    details: dict[str, str | int] = {}
    faults: list[ProblemFault] = []
