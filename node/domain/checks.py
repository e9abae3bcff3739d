"""The start-up check: every fault of a resolved procedure, with the file and line a reader can mend.

Each function names one kind of thing; none stops at the first fault. The texts of a procedure are checked where
texts are known, in `node.catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from node.domain.calendars import Calendars
from node.domain.conditions import COUNTERS, Condition
from node.domain.deadlines import UNION
from node.domain.events import RECEIVED
from node.domain.files import DefinitionFault, Document
from node.domain.handover import HAND_OVER
from node.domain.procedures import ANSWER_TYPES, ANSWERS, COMMENTS, Deadline, Field, Measures, Procedure, Step
from node.domain.resolving import Sources, holdable, public_name
from node.ids import State

USER_ROLES: Final = "user-role"  # the list of roles officials may hold: lists/user-role.toml
DIRECTORY_ROLES: Final = "directory-role"  # the list of roles authorities may hold in the directory
RESERVED: Final = frozenset({"author", "at", "closure"})
_PREFIXES: Final = ("due", "state", "size", *COUNTERS)

Faults = Iterator[DefinitionFault]
Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Checking:
    """What the checks of one procedure share."""

    procedure: Procedure
    sources: Sources
    lists: Lists
    calendars: Calendars

    def here(self, reason: str, *place: str) -> DefinitionFault:
        """A fault of the procedure file."""
        return self.sources.procedure[0].fault(reason, *place)

    def there(self, reason: str, *place: str) -> DefinitionFault:
        """A fault of the workflow file."""
        return self.sources.workflow[0].fault(reason, *place)

    def in_step(self, step: Step, reason: str, *place: str) -> DefinitionFault:
        return self.there(reason, "step", step.name, *place)

    def form_document(self, name: str) -> tuple[Document, tuple[str, ...]]:
        """The file a form stands in, and the place of its fields there."""
        for path, (document, _) in self.sources.forms.items():
            if public_name(path) == name:
                return document, ("fields",)
        return self.sources.workflow[0], ("forms", name, "fields")


def check(checking: Checking) -> list[DefinitionFault]:
    """Every fault of a procedure; empty: a case of it can be finished, and nobody reads what is not for him."""
    found = [fault for kind in _CHECKS for fault in kind(checking)]
    return sorted(set(found))


def _references(c: Checking) -> Faults:
    """Names that nothing defines: roles, audiences, states, variables, steps."""
    p = c.procedure
    if p.start not in p.states:
        yield c.there(f"unknown state {p.start}", "start")
    for name, state in p.states.items():
        if state.turn and state.turn not in p.roles:
            yield c.there(f"unknown role {state.turn}", "states", name)
    for name, roles in p.audiences.items():
        for role in roles - p.roles.keys():
            yield c.there(f"unknown role {role}", "audiences", name)
    for name, holder in p.roles.items():
        for audience in holder.carries - p.audiences.keys():
            yield c.there(f"unknown audience {audience}", "roles", name)
    for step in p.steps.values():
        yield from _step_references(c, step)


def _step_references(c: Checking, step: Step) -> Faults:
    p = c.procedure
    names: list[tuple[str, str, Iterable[str], Iterable[str]]] = [
        ("state", "from", step.sources, p.states),
        ("state", "to", [step.target], p.states),
        ("role", "by", step.by, p.roles),
        ("role", "assign", step.assign, p.roles),
        ("role", "admit", step.admit, p.roles),
        ("variable", "set", step.set, p.variables),
        ("variable", "remove", step.remove, p.variables),
        ("audience", "withhold", [step.withhold], p.audiences),
        ("audience", "audience", step.layout, p.audiences),
        ("step", "release", [step.release], p.steps),
        ("step", "spawn", [step.spawn], p.steps),
        ("user role", "user", [step.user], c.lists.get(USER_ROLES, ())),
    ]
    for kind, key, used, known in names:
        for name in sorted({name for name in used if name} - set(known)):
            yield c.in_step(step, f"unknown {kind} {name}", key)


def _reserved(c: Checking) -> Faults:
    """Names that are words of conditions already."""
    p = c.procedure
    for table, names in (("roles", p.roles), ("variables", p.variables)):
        for name in RESERVED & names.keys():
            yield c.there(f"{name} is a word of its own", table, name)
    for step in p.steps.values():
        for name in RESERVED & step.control.keys():
            yield c.in_step(step, f"{name} is a word of its own", "control")
        if step.name in {RECEIVED, *HAND_OVER}:
            yield c.in_step(step, "is built in")


def _ways(c: Checking) -> Faults:
    """States nobody reaches, states without a way to an end, ends that do not close, turns without a step."""
    p = c.procedure
    ahead = {name: {s.target for s in p.steps.values() if s.target and name in s.sources} for name in p.states}
    for name in sorted(p.states.keys() - _closure({p.start}, ahead)):
        yield c.there("state is never reached", "states", name)
    back = {name: {n for n, targets in ahead.items() if name in targets} for name in p.states}
    for name in sorted(p.states.keys() - _closure({n for n, s in p.states.items() if s.final}, back)):
        yield c.there("state has no way to an end", "states", name)
    for step in p.steps.values():
        final = step.target in p.states and p.states[step.target].final
        if final != step.closes:
            yield c.in_step(
                step, "leads to a final state but does not close" if final else "closes but is no end", "to"
            )
    yield from _turns(c)


def _turns(c: Checking) -> Faults:
    p = c.procedure
    for name, state in p.states.items():
        moves = [s for s in p.steps.values() if s.moves and name in s.sources and state.turn in s.by]
        if state.turn and not moves:
            yield c.there(f"it is the turn of {state.turn}, who has no step to take", "states", name)
        if not state.turn and not state.final:
            yield c.there("it is nobody's turn", "states", name)


def _closure(start: set[str], ahead: Mapping[str, set[str]]) -> set[str]:
    reached, left = set(start), list(start)
    while left:
        new = ahead.get(left.pop(), set()) - reached
        reached |= new
        left += new
    return reached


def _races(c: Checking) -> Faults:
    """A move by another role than the turn's must declare its race; nobody out of many may race."""
    p = c.procedure
    for step in (s for s in p.steps.values() if s.moves):
        interrupts = {
            (state, role)
            for state in step.sources & p.states.keys()
            for role in step.by
            if p.states[state].turn != role
        }
        # In the start state only the turn's role moves: a first event has nobody to race with.
        interrupts = {(state, role) for state, role in interrupts if state != p.start}
        if interrupts and not step.race:
            state, role = min(interrupts)
            yield c.in_step(step, f"{role} interrupts the turn in {state} without a declared race", "race")
        if step.race and any(role in p.roles and p.roles[role].many for role in step.by):
            yield c.in_step(step, "a role of many cannot race", "race")


def _kinds(c: Checking) -> Faults:
    """Lane steps touch only their author's lane; moves are seen by all."""
    for step in c.procedure.steps.values():
        moving = [
            key for key in ("assign", "set", "remove", "race", "withhold", "release", "spawn") if getattr(step, key)
        ]
        if not step.moves and (moving or step.closes):
            yield c.in_step(step, f"a lane step cannot {', '.join(moving) or 'close'}", *moving[:1])
        if step.moves and step.scope != "case":
            yield c.in_step(step, "a move is of scope case", "scope")
        if step.moves and step.flag:
            yield c.in_step(step, "only a lane step raises a flag", "flag")
    yield from _scopes(c)


def _scopes(c: Checking) -> Faults:
    """Nothing of scope case may depend on a role that only one State knows the holders of."""
    steps = c.procedure.steps.values()
    known = holdable(c.procedure, (s for s in steps if s.scope == "case"))
    for step in (s for s in steps if s.scope == "case"):
        for role in sorted(set(step.by) & c.procedure.roles.keys() - known):
            if role in holdable(c.procedure, steps):
                yield c.in_step(step, f"{role} is known inside one State only; the step is for all", "by")


def _roles(c: Checking) -> Faults:
    p = c.procedure
    for step in p.steps.values():
        for key, many in (("assign", True), ("admit", False)):
            for role in getattr(step, key):
                if role in p.roles and p.roles[role].many == many:
                    yield c.in_step(step, f"{role} is a role of {'many' if many else 'one'}", key)
    for role in sorted(p.roles.keys() - holdable(p, p.steps.values())):
        yield c.there("nobody can come to hold this role", "roles", role)


def _words(c: Checking) -> Faults:
    """Words of conditions and of assignments that stand for nothing."""
    for step in c.procedure.steps.values():
        for condition in step.needs:
            for word in condition.words:
                if not _is_known(c, step, word, condition):
                    yield c.in_step(step, f"unknown word {word} in '{condition}'", "needs")
        for condition in step.offer:
            if not condition.left.startswith("setting.") and not _is_known(c, step, condition.left, condition):
                yield c.in_step(step, f"unknown word {condition.left} in '{condition}'", "offer")
        for key, words in _values(step):
            for word in words:
                if not _is_value(c.procedure, step, word):
                    yield c.in_step(step, f"unknown value {word}", key)


def _values(step: Step) -> Iterator[tuple[str, Iterable[str]]]:
    yield "assign", step.assign.values()
    yield "set", step.set.values()
    yield "remove", step.remove.values()
    for words in step.admit.values():
        yield "admit", words


def _is_value(p: Procedure, step: Step, word: str) -> bool:
    return word in step.control or word in p.variables or word == "author" or ":" in word


_TYPES: Final = {"choice": "word", "authorities": "authority"}  # what a control value becomes as a variable or a role


def _types(c: Checking) -> Faults:
    """Values of another type than the variable or role they are given to: a fold must never meet them."""
    for step in c.procedure.steps.values():
        for key in ("assign", "admit", "set", "remove"):
            given: Mapping[str, str | tuple[str, ...]] = getattr(step, key)
            for name, value in given.items():
                for word in (value,) if isinstance(value, str) else value:
                    wanted = c.procedure.variables.get(name, "authority") if key in ("set", "remove") else "authority"
                    found = _type_of(c.procedure, step, word)
                    many = word in step.control and step.control[word].type == "authorities"
                    if found and (found != wanted or (many and key != "admit")):
                        yield c.in_step(step, f"{word} is no {wanted} for {name}", key)


def _type_of(p: Procedure, step: Step, word: str) -> str:
    """word, keys, date, authority or case; empty where nothing defines the word."""
    if word in step.control:
        return _TYPES.get(step.control[word].type, step.control[word].type)
    if word in p.variables:
        return p.variables[word]
    return "authority" if word == "author" or ":" in word else ""


def _is_known(c: Checking, step: Step, word: str, condition: Condition) -> bool:
    p = c.procedure
    head, _, rest = word.partition(".")
    if rest and head in _PREFIXES:
        if head == "due":
            return rest in c.sources.workflow[1].deadlines
        if head in COUNTERS:
            return any(s.flag == rest for s in p.steps.values())
        return _is_plain(p, step, rest)
    return word.isdecimal() or _is_plain(p, step, word) or word in _choices(p, step, condition)


def _is_plain(p: Procedure, step: Step, word: str) -> bool:
    return word in step.control or word in p.variables or word in p.roles or word in ("author", "at") or ":" in word


def _choices(p: Procedure, step: Step, condition: Condition) -> set[str]:
    """The choices the other word of a condition can take."""
    found: set[str] = set()
    for word in condition.words:
        if word in step.control:
            found |= set(step.control[word].choices)
        elif word in p.variables:
            found |= _choices_of(p, word)
    return found


def _choices_of(p: Procedure, variable: str) -> set[str]:
    return {
        choice
        for step in p.steps.values()
        for name, word in step.set.items()
        if name == variable and word in step.control
        for choice in step.control[word].choices
    }


def _forms(c: Checking) -> Faults:
    """Fields: answer types, lists, conditions on earlier fields; forms whose author could not read them."""
    for name, form in c.procedure.forms.items():
        document, place = c.form_document(name)
        yield from _fields(c, form.fields, lambda reason, *p, d=document, at=place: d.fault(reason, *at, *p))
    if c.sources.questions:
        document = c.sources.questions[0]
        questions = tuple(c.procedure.questions.values())
        yield from _fields(c, questions, lambda reason, *p, d=document: d.fault(reason, "fields", *p))
    for step in c.procedure.steps.values():
        yield from _step_forms(c, step)


def _fields(c: Checking, fields: tuple[Field, ...], fault: Callable[..., DefinitionFault]) -> Faults:
    for position, field in enumerate(fields):
        for answer in field.answers:
            if answer not in ANSWER_TYPES:
                yield fault(f"unknown answer type {answer}", field.key)
        if field.list and field.list not in c.lists:
            yield fault(f"unknown list {field.list}", field.key)
        if ("list" in field.answers) != bool(field.list):
            yield fault("an answer of type list and the key list go together", field.key)
        if field.when and field.when.left not in {f.key for f in fields[:position]}:
            yield fault(f"`when` on {field.when.left}, which is not an earlier field", field.key)
        if field.when and field.when.operator not in ("=", "!="):
            yield fault("`when` compares by = or !=", field.key)


def _step_forms(c: Checking, step: Step) -> Faults:
    p = c.procedure
    asks = any(control.type == "keys" for control in step.control.values())
    if {ANSWERS, COMMENTS} & set(step.forms) and "questions" not in step.control:
        yield c.in_step(step, "answers and comments need the control `questions`", "forms")
    if asks and not p.questions:
        yield c.here(f"step.{step.name} takes question keys, and there is no question set", "questions")
    for audience in step.layout:
        readers = p.audiences.get(audience, frozenset())
        if step.withhold:
            readers &= p.audiences.get(step.withhold, frozenset())
        for role in step.by:
            if role in p.roles and role not in readers and not _takes_reading_role(p, step, readers):
                yield c.in_step(step, f"{role} may not read what it writes for {audience}", "forms")
    if step.release and step.release in p.steps and not p.steps[step.release].withhold:
        yield c.in_step(step, f"{step.release} withholds nothing", "release")


def _takes_reading_role(p: Procedure, step: Step, readers: frozenset[str]) -> bool:
    """Whether the first event gives its author another role, which may read."""
    return p.opens(step) and any(word == "author" and r in readers for r, word in step.assign.items())


def _see(c: Checking) -> Faults:
    for audience, words in c.sources.procedure[1].see.items():
        if audience not in c.procedure.audiences:
            yield c.here(f"unknown audience {audience}", "see", audience)
        for word in words:
            form, _, key = word.partition(".")
            found = c.procedure.forms.get(form)
            if not found or not found.field(key):
                yield c.here(f"unknown field {word}", "see", audience)


def _commission(c: Checking) -> Faults:
    """What the Commission would read: no personal field, unless the procedure says an act lets it."""
    p = c.procedure
    receives = p.commission.receives
    if receives != "statistics" and receives not in p.audiences:
        yield c.here(f"unknown audience {receives}", "commission", "receives")
    union = {r for s in p.steps.values() for r, words in s.admit.items() if any(w.startswith("EU:") for w in words)}
    union |= {r for s in p.steps.values() for r, word in s.assign.items() if word.startswith("EU:")}
    if receives != "statistics" and not union & p.audiences.get(receives, frozenset()):
        yield c.here("the Commission has no role in the audience it receives", "commission", "receives")
    if p.commission.personal_data:
        return
    read = {name for name, roles in p.audiences.items() if roles & union}
    for form, key in sorted({pair for step in p.steps.values() for pair in _personal(p, step, read)}):
        yield c.here(f"the Commission would read {form}.{key}, which is personal", "commission")


def _personal(p: Procedure, step: Step, read: set[str]) -> Iterator[tuple[str, str]]:
    for audience in step.layout.keys() & read:
        for form, keys in step.layout[audience].items():
            fields = p.questions.values() if form in (ANSWERS, COMMENTS) else p.forms[form].fields
            yield from ((form, f.key) for f in fields if f.data != "none" and (f.key in keys or not keys))
            if form == COMMENTS:
                yield form, "text"


def _deadlines(c: Checking) -> Faults:
    p = c.procedure
    for name, deadline in p.deadlines.items():
        if not deadline.start and not deadline.date:
            yield c.there("deadline without a start", "deadlines", name)
        if deadline.date and p.variables.get(deadline.date) != "date":
            yield c.there(f"unknown date variable {deadline.date}", "deadlines", name)
        yield from _deadline_names(c, deadline)
        yield from _deadline_lengths(c, deadline)


def _deadline_names(c: Checking, d: Deadline) -> Faults:
    p, all_deadlines = c.procedure, c.sources.workflow[1].deadlines
    one = d.calendar in p.roles and not p.roles[d.calendar].many
    if not one and State(d.calendar) not in c.calendars:
        yield c.there(f"no calendar: {d.calendar or 'name a role of one or a State'}", "deadlines", d.name)
    for anchor in d.start:
        head, _, rest = anchor.partition(".")
        known = p.roles if head == RECEIVED else all_deadlines if head == "due" else p.steps
        if anchor != "*" and (rest or head) not in known:
            yield c.there(f"unknown start {anchor}", "deadlines", d.name)
    for step in sorted(d.stop - c.sources.workflow[1].step.keys()):
        yield c.there(f"unknown step {step}", "deadlines", d.name)
    ahead = {n: {a[4:] for a in f.start if a.startswith("due.")} for n, f in all_deadlines.items()}
    if d.name in _closure(set(ahead.get(d.name, ())), ahead):
        yield c.there("deadline waits for itself", "deadlines", d.name)


def _deadline_lengths(c: Checking, d: Deadline) -> Faults:
    p = c.procedure
    if d.by and d.by not in p.variables:
        yield c.here(f"unknown variable {d.by}", "deadlines", d.name)
    elif d.by and d.lengths.keys() != _choices_of(p, d.by):
        yield c.here(f"lengths are needed for {', '.join(sorted(_choices_of(p, d.by)))}", "deadlines", d.name)
    if bool(d.extended_by) != bool(d.extension) or bool(d.extended_by) != bool(d.times):
        yield c.there("extended_by, extension and times go together", "deadlines", d.name)
    if d.extended_by and d.extended_by not in p.steps:
        yield c.there(f"unknown step {d.extended_by}", "deadlines", d.name)


def _keeping(c: Checking) -> Faults:
    if UNION not in c.calendars:
        yield c.here("no calendar: EU, in which retention is counted", "retention")
    for word in c.procedure.retention.start:
        if word != "closure" and c.procedure.variables.get(word) != "date":
            yield c.here(f"unknown date variable {word}", "retention", "from")


def _spawning(c: Checking) -> Faults:
    for step in c.procedure.steps.values():
        child = c.procedure.steps.get(step.spawn)
        if child and (not c.procedure.opens(child) or all(k.type != "case" for k in child.control.values())):
            yield c.in_step(step, f"{step.spawn} does not open a case that names this one", "spawn")


def _directory(c: Checking) -> Faults:
    known = c.lists.get(DIRECTORY_ROLES, ())
    p = c.procedure
    given_by = [(s.name, n) for s in p.steps.values() for n, k in s.control.items() if k.type.startswith("author")]
    controls = {name for step, control in given_by for name in (control, f"{step}.{control}")}
    for table, names in (("recipients", controls), ("participants", set(p.roles))):
        given: Mapping[str, str] = getattr(p, table)
        for name, role in given.items():
            if name not in names:
                yield c.here(f"no step has {name}", table, name)
            if role not in known:
                yield c.here(f"unknown directory role {role}", table, name)


def _search(c: Checking) -> Faults:
    search = c.procedure.search
    if not search:
        return
    fields = {f.key for form in c.procedure.forms.values() for f in form.fields}
    for key in sorted({*search.keys, *search.persons} - fields):
        yield c.here(f"unknown field {key}", "search", "keys")
    if search.purpose and search.purpose not in c.lists:
        yield c.here(f"unknown list {search.purpose}", "search", "purpose")
    if search.persons and not search.purpose:
        yield c.here("a search for persons asks a purpose", "search", "persons")


def _measures(c: Checking) -> Faults:
    """Figures that name what the workflow does not have, or a field that holds personal data."""
    p, m = c.procedure, c.procedure.measures
    if not m:
        if p.scoreboard:
            yield c.here("the workflow has no measures", "scoreboard")
        return
    if m.of not in p.roles or p.roles[m.of].many:
        yield c.there(f"{m.of} is no role of one", "measures", "of")
    workflow = c.sources.workflow[1]
    for name in sorted(set().union(m.sent, m.answered, m.refused, m.forwarded, m.split, m.referred)):
        if name not in workflow.step:
            yield c.there(f"unknown step {name}", "measures")
    for name in filter(None, (m.accept_by, m.answer_by)):
        if name not in workflow.deadlines:
            yield c.there(f"unknown deadline {name}", "measures")
    yield from _ratings(c, m)


def _ratings(c: Checking, m: Measures) -> Faults:
    for about, word in m.ratings.items():
        form, _, key = word.partition(".")
        held = c.procedure.forms.get(form)
        field = held.field(key) if held else None
        if not field or field.answers != ("list",) or field.data != "none":
            yield c.there(f"{word} is no list field without personal data", "measures", "ratings", about)
        elif not m.negative <= set(c.lists.get(field.list, ())):
            yield c.there(f"no code of list {field.list}", "measures", "negative")


_CHECKS: Final = (
    _references,
    _reserved,
    _ways,
    _races,
    _kinds,
    _roles,
    _words,
    _types,
    _forms,
    _see,
    _commission,
    _deadlines,
    _keeping,
    _spawning,
    _directory,
    _search,
    _measures,
)
