"""What a procedure file means, once read, joined with its workflow, forms and questions, and checked.

Values only; `parsing` makes them, `fold` and `steps` obey them. Nothing is looked up in files any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from node.domain.calendars import Period
from node.domain.conditions import Condition
from node.domain.events import RECEIVED, Scope
from node.ids import AuthorityId

DataClass = Literal["none", "P", "PS"]  # none, personal, personal on sanctions or offences (Reg. 1024/2012 Art. 16(2))
Race = Literal["", "wins", "yields"]
Kind = Literal["request", "notification", "alert", "repository", "application"]

ANSWERS: Final = "answers"  # the form whose fields are the questions in the step's control `questions`
COMMENTS: Final = "comments"  # the form with one optional text for each question asked
ANSWER_TYPES: Final = (
    "yes-no-unknown",
    "list",
    "date",
    "text",
    "number",
    "money",
    "document",
    "check",
    "register-link",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A part in a case, held by one authority or by `many`."""

    name: str
    many: bool = False
    external: bool = False  # the home node authors for an applicant who has no node
    carries: frozenset[str] = frozenset()  # audiences its node passes on unread


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseState:
    name: str
    turn: str = ""  # the role whose moves form the chain; empty where nobody moves on
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form, or one question. Several `answers` are given together, keyed by type."""

    key: str
    answers: tuple[str, ...]
    data: DataClass
    list: str = ""  # the list that `list` answers choose from
    required: bool = False
    when: Condition | None = None  # on an earlier field of the same form


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Fields in their order. `name` is what its texts are keyed by: `form.<name>.<field>`."""

    name: str
    fields: tuple[Field, ...]

    def field(self, key: str) -> Field | None:
        return next((f for f in self.fields if f.key == key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One declared control value of a step."""

    name: str
    type: Literal["authority", "authorities", "keys", "date", "case", "choice"]
    optional: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `target` empty: a lane step; `moves` otherwise.

    `layout` says which fields of which form go into the part of which audience; for `answers` and `comments` the
    fields are the questions of the event and the tuple is empty.
    """

    name: str
    sources: frozenset[str]  # states it may be taken in ("open" and "same" resolved)
    target: str = ""
    stays: bool = False  # `to = "same"`
    by: tuple[str, ...] = ()
    user: str = ""
    forms: tuple[str, ...] = ()
    layout: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    control: Mapping[str, Control] = field(default_factory=dict)
    needs: tuple[Condition, ...] = ()
    offer: tuple[Condition, ...] = ()
    assign: Mapping[str, str] = field(default_factory=dict)  # role of one := word
    admit: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # role of many += words
    set: Mapping[str, str] = field(default_factory=dict)  # variable := word
    remove: Mapping[str, str] = field(default_factory=dict)  # variable minus word
    flag: str = ""
    race: Race = ""
    scope: Scope = "case"
    withhold: str = ""
    release: str = ""
    spawn: str = ""
    closes: bool = False

    @property
    def moves(self) -> bool:
        return bool(self.target) or self.stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """An anchor of the workflow with the length the procedure gives it.

    `start` names steps, `received.<role>`, `due.<deadline>` or `*`; `lengths` is keyed by the choices of the variable
    `by`, or by "" where one length fits all; a deadline with a `date` variable has none.
    """

    name: str
    start: tuple[str, ...] = ()
    stop: frozenset[str] = frozenset()
    lengths: Mapping[str, Period] = field(default_factory=dict)
    by: str = ""
    calendar: str = ""  # a role of one, or a State
    restart: bool = False
    date: str = ""
    extended_by: str = ""
    extension: Period | None = None
    times: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Blocking and deletion, counted from closure or from date variables, whichever is earliest."""

    block: Period | None
    delete: Period
    start: tuple[str, ...] = ("closure",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commission:
    """What the Commission gets: statistics, or the audience it reads."""

    receives: str
    personal_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Repositories: what is searched by."""

    keys: tuple[str, ...]
    persons: tuple[str, ...] = ()
    purpose: str = ""  # list
    copy: Literal["everywhere", "owner-only"] = "everywhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Which steps of a workflow mean what for the figures (node.domain.measuring)."""

    of: str  # the role that is asked: its node counts the case
    sent: frozenset[str]
    answered: frozenset[str]
    refused: frozenset[str] = frozenset()
    forwarded: frozenset[str] = frozenset()
    split: frozenset[str] = frozenset()
    referred: frozenset[str] = frozenset()
    accept_by: str = ""  # deadline of the acceptance
    answer_by: str = ""  # deadline of the answer
    ratings: Mapping[str, str] = field(default_factory=dict)  # timeliness, effort -> form.field
    negative: frozenset[str] = frozenset()  # codes of a negative rating


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """A legal act on a workflow, resolved: everything a case of it needs."""

    id: str  # "<area>/<name>"
    version: int
    digest: str  # SHA-256 of the resolved definition; lists and calendars have editions instead
    kind: Kind
    area: str
    basis: tuple[str, ...]
    workflow: str
    start: str
    roles: Mapping[str, Role]
    audiences: Mapping[str, frozenset[str]]
    variables: Mapping[str, str]  # name -> word, keys, date, authority
    states: Mapping[str, CaseState]
    steps: Mapping[str, Step]
    forms: Mapping[str, Form]  # by the name used in `Step.forms`, slots filled
    questions: Mapping[str, Field]
    questions_set: str = ""  # "<area>/<set>", or empty
    deadlines: Mapping[str, Deadline] = field(default_factory=dict)
    retention: Retention
    commission: Commission
    search: Search | None = None
    recipients: Mapping[str, str] = field(default_factory=dict)  # control, or step.control -> directory role
    participants: Mapping[str, str] = field(default_factory=dict)  # case role -> directory role that may open a case
    measures: Measures | None = None
    scoreboard: bool = False  # its figures are part of the Single Market Scoreboard
    texts: Literal["complete", "draft"] = "complete"

    def step(self, name: str) -> Step | None:
        """A declared step, or the built-in `received`."""
        return self.received if name == RECEIVED else self.steps.get(name)

    @property
    def received(self) -> Step:
        """The built-in lane step: any role, any state, no content."""
        return Step(name=RECEIVED, sources=frozenset(self.states), by=tuple(self.roles))

    def received_scope(self, role: str) -> Scope:
        """`case` where a deadline counts from the receipt by this role, so that all must know of it; else `receipt`.

        A `receipt` goes to the author's node only: an alert to thirty States would otherwise send thousands.
        """
        anchor = f"{RECEIVED}.{role}"
        return "case" if any(anchor in d.start for d in self.deadlines.values()) else "receipt"

    def recipient_role(self, step: str, control: str) -> str:
        """The directory role whose holders are offered for a control value of a step; empty: any authority."""
        return self.recipients.get(f"{step}.{control}") or self.recipients.get(control, "")

    def answers(self, keys: tuple[str, ...]) -> Form:
        """The form of the answers to these questions, in the order of the question set."""
        return Form(name=ANSWERS, fields=tuple(f for key, f in self.questions.items() if key in keys))

    @property
    def first_steps(self) -> tuple[Step, ...]:
        """Steps that can open a case by an official's hand (not by a split)."""
        spawned = {step.spawn for step in self.steps.values()}
        return tuple(s for s in self.steps.values() if self.opens(s) and s.name not in spawned)

    def opens(self, step: Step) -> bool:
        """Whether a step may be the first event of a case."""
        return self.start in step.sources and step.moves and not step.closes


def fixed_authority(word: str) -> AuthorityId | None:
    """The authority a definition names outright (`EU:commission`), if the word is one."""
    return AuthorityId(word) if ":" in word else None
