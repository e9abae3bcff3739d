"""Joins a procedure file with its workflow, forms and questions into a Procedure; `checks` then judges the whole.

Whatever cannot be resolved is left out and named as a fault, so that one run names all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, cast

from node.domain.calendars import Period, parse_period
from node.domain.conditions import Condition, parse_condition
from node.domain.events import canonical
from node.domain.files import (
    DeadlineFile,
    DefinitionFault,
    Document,
    FieldFile,
    FormFile,
    ProcedureFile,
    StepFile,
    WorkflowFile,
)
from node.domain.procedures import (
    ANSWERS,
    COMMENTS,
    CaseState,
    Commission,
    Control,
    Deadline,
    Field,
    Form,
    Measures,
    Procedure,
    Retention,
    Role,
    Search,
    Step,
)

OPEN: Final = "open"
SAME: Final = "same"
CONTENT: Final = "content"  # a step's audience unless it names another
_EDITION = re.compile(r"\.v[0-9]+$")  # an earlier version kept beside the current file: request.v1
_CHOICE = re.compile(r"[a-z][a-z0-9-]{0,59}(\|[a-z][a-z0-9-]{0,59})*")
_TYPES: Final = ("authority", "authorities", "keys", "date", "case")


def public_name(path: str) -> str:
    """A file's name in texts and events: without the mark of an earlier version."""
    return _EDITION.sub("", path)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files a procedure is made of, in the shape of their models."""

    name: str  # "<area>/<name>"
    procedure: tuple[Document, ProcedureFile]
    workflow: tuple[Document, WorkflowFile]
    forms: Mapping[str, tuple[Document, FormFile]]
    questions: tuple[Document, FormFile] | None


@dataclass
class _Joining:
    """One procedure being put together, with the faults met."""

    sources: Sources
    faults: list[DefinitionFault] = field(default_factory=list)

    def here(self, reason: str, *place: str) -> None:
        self.faults.append(self.sources.procedure[0].fault(reason, *place))

    def there(self, reason: str, *place: str) -> None:
        """A fault of the workflow."""
        self.faults.append(self.sources.workflow[0].fault(reason, *place))


def resolve(sources: Sources, *, whole: bool = False) -> tuple[Procedure, list[DefinitionFault]]:
    """The procedure of these files and what could not be resolved.

    Args:
        whole: ignores `without`, so that the workflow as such can be checked.
    """
    joining = _Joining(sources)
    file = sources.procedure[1]
    workflow = sources.workflow[1]
    slots = {slot: [public_name(name) for name in names] for slot, names in file.forms.items()}
    forms = _forms(joining)
    steps = {n: _step(joining, n, s, slots, forms) for n, s in workflow.step.items() if whole or n not in file.without}
    procedure = Procedure(
        id=sources.name,
        version=file.version,
        digest=_digest(sources),
        kind=file.kind,
        area=file.area,
        basis=tuple(file.basis),
        workflow=public_name(file.workflow),
        start=workflow.start,
        roles=_roles(workflow),
        audiences={name: frozenset(roles) for name, roles in workflow.audiences.items()},
        variables=dict(workflow.variables),
        states={n: CaseState(name=n, turn=s.turn, final=s.final) for n, s in workflow.states.items()},
        steps=steps,
        forms=forms,
        questions=_questions(joining),
        questions_set=public_name(file.questions),
        deadlines=_deadlines(joining, whole=whole),
        retention=_retention(joining),
        commission=Commission(receives=file.commission.receives, personal_data=file.commission.personal_data),
        search=_search(file),
        recipients=dict(file.recipients),
        participants=dict(file.participants),
        measures=_measures(joining, whole=whole),
        scoreboard=file.scoreboard,
        texts=file.texts,
    )
    _check_without(joining)
    return (_pruned(procedure) if file.without and not whole else procedure), joining.faults


def _digest(sources: Sources) -> str:
    """SHA-256 over what the files say, whatever they are called now."""
    document = dict(sources.procedure[0].data)
    document.pop("texts", None)
    for key in ("workflow", "questions"):
        if isinstance(document.get(key), str):
            document[key] = public_name(document[key])
    whole = {
        "procedure": {
            **document,
            "forms": {s: [public_name(n) for n in v] for s, v in sources.procedure[1].forms.items()},
        },
        "workflow": sources.workflow[0].data,
        "forms": {public_name(name): form[0].data for name, form in sources.forms.items()},
        "questions": sources.questions[0].data if sources.questions else None,
    }
    return hashlib.sha256(canonical(whole)).hexdigest()


def _roles(workflow: WorkflowFile) -> Mapping[str, Role]:
    return {
        name: Role(name=name, many=role.many, external=role.external, carries=frozenset(role.carries))
        for name, role in workflow.roles.items()
    }


def _forms(joining: _Joining) -> Mapping[str, Form]:
    forms: dict[str, Form] = {}
    for name, (document, file) in joining.sources.forms.items():
        forms[public_name(name)] = _form(joining, public_name(name), file, document)
    for name, file in joining.sources.workflow[1].forms.items():
        if name in forms or name in (ANSWERS, COMMENTS):
            joining.there("a shared or built-in form has this name", "forms", name)
        forms[name] = _form(joining, name, file, joining.sources.workflow[0], "forms", name)
    return forms


def _form(joining: _Joining, name: str, file: FormFile, document: Document, *place: str) -> Form:
    fields = tuple(_field(joining, field, document, *place, "fields") for field in file.fields)
    for key in {f.key for f in fields if sum(g.key == f.key for g in fields) > 1}:
        joining.faults.append(document.fault("field named twice", *place, "fields", key))
    return Form(name=name, fields=fields)


def _field(joining: _Joining, file: FieldFile, document: Document, *place: str) -> Field:
    when = _condition(file.when, lambda reason: joining.faults.append(document.fault(reason, *place, file.key)))
    return Field(
        key=file.key,
        answers=tuple(file.answer),
        data=file.data,
        list=file.list_name,
        required=file.required,
        when=when,
    )


def _questions(joining: _Joining) -> Mapping[str, Field]:
    if not joining.sources.questions:
        return {}
    document, file = joining.sources.questions
    return {f.key: f for f in _form(joining, ANSWERS, file, document).fields}


def _condition(text: str, fault: Callable[[str], None]) -> Condition | None:
    try:
        return parse_condition(text) if text else None
    except ValueError as error:
        fault(str(error))
        return None


def _step(
    joining: _Joining, name: str, file: StepFile, slots: Mapping[str, list[str]], forms: Mapping[str, Form]
) -> Step:
    workflow = joining.sources.workflow[1]

    def conditions(key: str, texts: list[str]) -> tuple[Condition, ...]:
        found = (_condition(text, lambda reason: joining.there(reason, "step", name, key)) for text in texts)
        return tuple(condition for condition in found if condition)

    used = _used_forms(joining, name, file, slots, forms)
    return Step(
        name=name,
        sources=_states_of(file, workflow),
        target="" if file.to == SAME else file.to,
        stays=file.to == SAME,
        by=tuple(file.by),
        user=file.user or workflow.user,
        forms=used,
        layout=_layout(joining, file.audience or CONTENT, used, forms),
        control=_controls(joining, name, file),
        needs=conditions("needs", file.needs),
        offer=conditions("offer", file.offer),
        assign=dict(file.assign),
        admit={role: tuple(words) for role, words in file.admit.items()},
        set=dict(file.set_),
        remove=dict(file.remove),
        flag=file.flag,
        race=file.race,
        scope=file.scope,
        withhold=file.withhold,
        release=file.release,
        spawn=file.spawn,
        closes=file.closes,
    )


def _states_of(file: StepFile, workflow: WorkflowFile) -> frozenset[str]:
    if file.source == [OPEN]:
        return frozenset(name for name, state in workflow.states.items() if not state.final)
    return frozenset(file.source)


def _used_forms(
    joining: _Joining, name: str, file: StepFile, slots: Mapping[str, list[str]], forms: Mapping[str, Form]
) -> tuple[str, ...]:
    used: list[str] = []
    for word in file.forms:
        if word.startswith("$"):
            if word[1:] not in slots:
                joining.here(f"slot {word} of step.{name} is not filled", "forms")
            used += slots.get(word[1:], [])
        else:
            used.append(word)
    for form in used:
        if form not in forms and form not in (ANSWERS, COMMENTS):
            joining.there(f"unknown form {form}", "step", name, "forms")
    if len(set(used)) < len(used):
        joining.there("the same form twice", "step", name, "forms")
    return tuple(dict.fromkeys(form for form in used if form in forms or form in (ANSWERS, COMMENTS)))


def _layout(
    joining: _Joining, audience: str, used: tuple[str, ...], forms: Mapping[str, Form]
) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Audience -> form -> fields; `[see]` moves a field out of the step's audience."""
    moved = {word: to for to, words in joining.sources.procedure[1].see.items() for word in words}
    layout: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in used:
        if name in (ANSWERS, COMMENTS):
            layout.setdefault(audience, {})[name] = ()
            continue
        for f in forms[name].fields:
            part = layout.setdefault(moved.get(f"{name}.{f.key}", audience), {})
            part[name] = (*part.get(name, ()), f.key)
    return layout


def _controls(joining: _Joining, step: str, file: StepFile) -> Mapping[str, Control]:
    controls = {}
    for name, text in file.control.items():
        bare = text.removesuffix("?")
        if bare in _TYPES:
            kind = cast("Literal['authority', 'authorities', 'keys', 'date', 'case']", bare)
            controls[name] = Control(name=name, type=kind, optional=text.endswith("?"))
        elif "|" in bare and _CHOICE.fullmatch(bare):
            choices = tuple(bare.split("|"))
            controls[name] = Control(name=name, type="choice", optional=text.endswith("?"), choices=choices)
        else:
            joining.there(
                f"control {name} = {text!r} could carry text: {', '.join(_TYPES)} or choices", "step", step, "control"
            )
    return controls


def _period(text: str, fault: Callable[[str], None]) -> Period | None:
    try:
        return parse_period(text)
    except ValueError as error:
        fault(str(error))
        return None


def _deadlines(joining: _Joining, *, whole: bool) -> Mapping[str, Deadline]:
    workflow, file = joining.sources.workflow[1], joining.sources.procedure[1]
    deadlines = {}
    for name in file.deadlines:
        if name not in workflow.deadlines:
            joining.here("the workflow has no such deadline", "deadlines", name)
    gone = frozenset() if whole else frozenset(file.without)
    for name, anchor in workflow.deadlines.items():
        by, lengths = _lengths(joining, name, anchor)
        if name not in gone and (lengths or anchor.date):
            deadlines[name] = _deadline(joining, name, anchor, by=by, lengths=lengths, gone=gone)
    return deadlines


def _lengths(joining: _Joining, name: str, anchor: DeadlineFile) -> tuple[str, Mapping[str, Period]]:
    given = joining.sources.procedure[1].deadlines.get(name, anchor.length)

    def fault(reason: str) -> None:
        (joining.there if given is anchor.length else joining.here)(reason, "deadlines", name)

    if isinstance(given, str):
        period = _period(given, fault) if given else None
        return "", {"": period} if period else {}
    by = given.get("by", "")
    if not by:
        fault("lengths by choice need `by`, a variable")
    periods = {choice: _period(text, fault) for choice, text in given.items() if choice != "by"}
    return by, {choice: period for choice, period in periods.items() if period}


def _deadline(
    joining: _Joining,
    name: str,
    file: DeadlineFile,
    *,
    by: str,
    lengths: Mapping[str, Period],
    gone: frozenset[str],
) -> Deadline:
    def fault(reason: str) -> None:
        joining.there(reason, "deadlines", name)

    return Deadline(
        name=name,
        start=tuple(anchor for anchor in file.start if anchor not in gone),
        stop=frozenset(file.stop) - gone,
        lengths=lengths,
        by=by,
        calendar=file.calendar,
        restart=file.restart,
        date=file.date,
        extended_by=file.extended_by,
        extension=_period(file.extension, fault) if file.extension else None,
        times=file.times,
    )


def _measures(joining: _Joining, *, whole: bool) -> Measures | None:
    file = joining.sources.workflow[1].measures
    if not file:
        return None
    gone = frozenset() if whole else frozenset(joining.sources.procedure[1].without)
    return Measures(
        of=file.of,
        sent=frozenset(file.sent) - gone,
        answered=frozenset(file.answered) - gone,
        refused=frozenset(file.refused) - gone,
        forwarded=frozenset(file.forwarded) - gone,
        split=frozenset(file.split) - gone,
        referred=frozenset(file.referred) - gone,
        accept_by="" if file.accept_by in gone else file.accept_by,
        answer_by="" if file.answer_by in gone else file.answer_by,
        ratings={str(about): field for about, field in file.ratings.items()},
        negative=frozenset(file.negative),
    )


def _retention(joining: _Joining) -> Retention:
    file = joining.sources.procedure[1].retention

    def fault(reason: str) -> None:
        joining.here(reason, "retention")

    delete = _period(file.delete, fault) or Period(1, "d")
    return Retention(block=_period(file.block, fault) if file.block else None, delete=delete, start=tuple(file.start))


def _search(file: ProcedureFile) -> Search | None:
    found = file.search
    if not found:
        return None
    return Search(keys=tuple(found.keys), persons=tuple(found.persons), purpose=found.purpose, copy=found.copy_)


def _check_without(joining: _Joining) -> None:
    workflow = joining.sources.workflow[1]
    known = {*workflow.step, *workflow.deadlines}
    for name in joining.sources.procedure[1].without:
        if name not in known:
            joining.here(f"the workflow has no step or deadline {name} to leave out", "without")


def _pruned(procedure: Procedure) -> Procedure:
    """Without the states, steps and roles that only led to what was left out."""
    reached = _reachable(procedure)
    steps = {n: replace(s, sources=s.sources & reached) for n, s in procedure.steps.items() if s.sources & reached}
    held = holdable(procedure, steps.values())
    steps = {n: replace(s, by=tuple(r for r in s.by if r in held)) for n, s in steps.items() if set(s.by) & held}
    return replace(
        procedure,
        steps=steps,
        states={n: s for n, s in procedure.states.items() if n in reached},
        roles={n: r for n, r in procedure.roles.items() if n in held},
        audiences={n: roles & held for n, roles in procedure.audiences.items()},
    )


def _reachable(procedure: Procedure) -> set[str]:
    reached, left = {procedure.start}, [procedure.start]
    while left:
        state = left.pop()
        ahead = {s.target for s in procedure.steps.values() if s.target and state in s.sources}
        left += ahead - reached
        reached |= ahead
    return reached


def holdable(procedure: Procedure, steps: Iterable[Step]) -> set[str]:
    """The roles somebody can come to hold."""
    held: set[str] = set()
    for step in steps:
        held |= step.assign.keys() | step.admit.keys()
        if procedure.opens(step):
            held |= set(step.by)
    return held
