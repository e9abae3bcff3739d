"""Every fault of a definition is named with file, line and reason, all at once."""

from __future__ import annotations

import re

import pytest

from node.domain.parsing import parse_definitions

CALENDAR = 'zone = "Europe/Tallinn"\n\n[holidays]\n2026 = [2026-02-24]\n'
GOOD = {
    "workflows/ask.toml": """\
start = "draft"
user = "handler"
[roles]
requesting = {}
responding = {}
helper = { many = true }
[audiences]
content = ["requesting", "responding"]
side = ["requesting"]
all = ["requesting", "responding", "helper"]
[variables]
open = "keys"
until = "date"
urgency = "word"
[states]
draft = { turn = "requesting" }
sent = { turn = "responding" }
answered = { turn = "requesting" }
withdrawn = { final = true }
closed = { final = true }
[forms]
note = { fields = [{ key = "text", answer = "text", data = "P", required = true }] }
[step.send]
from = ["draft"]
to = "sent"
by = "requesting"
forms = ["$subject", "comments"]
control = { to = "authority", questions = "keys", until = "date", urgency = "normal|urgent" }
needs = ["size.questions >= 1", "state.to != state.author"]
assign = { requesting = "author", responding = "to" }
set = { open = "questions", until = "until", urgency = "urgency" }
[step.withdraw]
from = ["sent"]
to = "withdrawn"
by = "requesting"
race = "wins"
closes = true
[step.answer]
from = ["sent"]
to = "answered"
by = "responding"
forms = "answers"
control = { questions = "keys" }
needs = ["questions = open", "at <= due.answer"]
[step.call]
from = "open"
by = ["requesting", "responding"]
control = { to = "authorities" }
admit = { helper = "to" }
flag = "called"
[step.close]
from = ["answered"]
to = "closed"
by = "requesting"
forms = "note"
closes = true
[deadlines]
answer = { start = ["send"], stop = ["answer"], calendar = "responding", extended_by = "call", extension = "5 d", times = 1 }
until = { date = "until", calendar = "EE" }
""",
    "procedures/drones/ask.toml": """\
version = 1
kind = "request"
area = "drones"
basis = ["32019R0947 Art 14"]
workflow = "ask"
questions = "drones/operators"
texts = "draft"
[forms]
subject = "operator"
[recipients]
to = "ca"
[participants]
requesting = "ca"
[deadlines]
answer = { by = "urgency", normal = "10 wd", urgent = "2 wd" }
[retention]
block = "6 m"
delete = "3 y"
from = ["closure", "until"]
[commission]
receives = "statistics"
""",
    "forms/operator.toml": """\
fields = [
  { key = "name", answer = "text", data = "P", required = true },
  { key = "land", answer = "list", list = "country", data = "none" },
  { key = "since", answer = "date", data = "none", when = "land = EE" },
]
""",
    "questions/drones/operators.toml": """\
fields = [
  { key = "R1", answer = "yes-no-unknown", data = "P" },
  { key = "R1a", answer = "date", data = "P", when = "R1 = yes" },
]
""",
    "lists/country.toml": 'codes = ["EE", "FR"]\n',
    "lists/user-role.toml": 'codes = ["handler"]\n',
    "lists/directory-role.toml": 'codes = ["ca"]\n',
    "calendars/EE.toml": CALENDAR,
    "calendars/EU.toml": CALENDAR.replace("Tallinn", "Brussels"),
}
WORKFLOW, PROCEDURE, FORM, QUESTIONS = list(GOOD)[:4]


def faults_of(**changes: tuple[str, str]) -> list[str]:
    files = dict(GOOD)
    for path, (old, new) in changes.items():
        assert old in files[path], old
        files[path] = files[path].replace(old, new, 1)
    return [str(fault) for fault in parse_definitions(files).faults]


def test_the_good_definition_has_no_fault():
    assert faults_of() == []


FAULTS = [
    # file, what stands there, what is written instead, where and why it is found
    (WORKFLOW, 'user = "handler"', 'colour = "red"', r"ask.toml:2: colour: unknown key"),
    (WORKFLOW, 'start = "draft"', "", r"start: key missing"),
    (WORKFLOW, 'start = "draft"', 'start = "begin"', r"ask.toml:1: start: unknown state begin"),
    (WORKFLOW, 'by = "responding"', 'by = "nobody"', r"step.answer.by: unknown role nobody"),
    (WORKFLOW, 'turn = "responding"', 'turn = "nobody"', r"states.sent: unknown role nobody"),
    (WORKFLOW, 'side = ["requesting"]', 'side = ["nobody"]', r"audiences.side: unknown role nobody"),
    (WORKFLOW, "helper = { many = true }", 'helper = { many = true, carries = ["x"] }', r"roles.helper: unknown audience x"),
    (WORKFLOW, 'to = "sent"', 'to = "sending"', r"step.send.to: unknown state sending"),
    (WORKFLOW, 'forms = "note"', 'forms = "memo"', r"step.close.forms: unknown form memo"),
    (WORKFLOW, 'forms = ["$subject", "comments"]', 'forms = ["$subjects"]', r"ask.toml:8: forms: slot \$subjects"),
    (WORKFLOW, 'forms = ["$subject", "comments"]', 'forms = ["note", "note"]', r"same form twice"),
    (WORKFLOW, 'set = { open = "questions"', 'set = { shut = "questions"', r"step.send.set: unknown variable shut"),
    (WORKFLOW, 'set = { open = "questions"', 'set = { open = "answers"', r"step.send.set: unknown value answers"),
    (WORKFLOW, 'user = "handler"', 'user = "magician"', r"unknown user role magician"),
    (WORKFLOW, "withdrawn = { final = true }", 'withdrawn = { final = true }\nlost = { turn = "requesting" }', r"states.lost: state is never reached"),
    (WORKFLOW, 'from = ["answered"]\nto = "closed"', 'from = ["sent"]\nto = "closed"', r"states.answered: state has no way to an end"),
    (WORKFLOW, 'forms = "note"\ncloses = true', 'forms = "note"', r"step.close.to: leads to a final state but does not close"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\ncloses = true', r"step.answer.to: closes but is no end"),
    (WORKFLOW, 'answered = { turn = "requesting" }', 'answered = { turn = "responding" }', r"states.answered: it is the turn of responding"),
    (WORKFLOW, 'answered = { turn = "requesting" }', "answered = {}", r"states.answered: it is nobody's turn"),
    (WORKFLOW, 'race = "wins"\n', "", r"step.withdraw.*: requesting interrupts the turn in sent without a declared race"),
    (WORKFLOW, 'by = "requesting"\nrace = "wins"', 'by = ["requesting", "helper"]\nrace = "wins"', r"step.withdraw.race: a role of many cannot race"),
    (WORKFLOW, 'race = "wins"', 'race = "perhaps"', r"step.withdraw.race: Input should be"),
    (WORKFLOW, 'flag = "called"', 'flag = "called"\nset = { open = "open" }', r"step.call.set: a lane step cannot set"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\nscope = "state"', r"step.answer.scope: a move is of scope case"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\nflag = "done"', r"step.answer.flag: only a lane step"),
    (WORKFLOW, "admit = { helper", "admit = { responding", r"step.call.admit: responding is a role of one"),
    (WORKFLOW, 'responding = "to" }', 'helper = "to" }', r"step.send.assign: helper is a role of many"),
    (WORKFLOW, "[audiences]", "ghost = {}\n[audiences]", r"roles.ghost: nobody can come to hold this role"),
    (WORKFLOW, '"at <= due.answer"', '"at before due.answer"', r"step.answer.needs: 'at before due.answer' is not"),
    (WORKFLOW, '"at <= due.answer"', '"at <= due.reply"', r"step.answer.needs: unknown word due.reply"),
    (WORKFLOW, '"at <= due.answer"', '"here.lost = 0"', r"step.answer.needs: unknown word here.lost"),
    (WORKFLOW, '"at <= due.answer"', '"missing.lost = 0"', r"step.answer.needs: unknown word missing.lost"),
    (WORKFLOW, '"at <= due.answer"', '"urgency = later"', r"step.answer.needs: unknown word later"),
    (WORKFLOW, 'control = { questions = "keys" }', 'control = { questions = "keys", why = "text" }', r"step.answer.control: control why = 'text' could carry text"),
    (WORKFLOW, 'open = "keys"', 'author = "keys"', r"variables.author: author is a word of its own"),
    (WORKFLOW, "[step.close]", "[step.received]", r"step.received: is built in"),
    (WORKFLOW, "[step.close]", "[step.moved]", r"step.moved: is built in"),
    (WORKFLOW, 'answer = "text", data = "P"', 'answer = "text"', r"forms.note.fields.text.data: key missing"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\naudience = "side"', r"step.answer.forms: responding may not read what it writes for side"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\naudience = "moon"', r"step.answer.audience: unknown audience moon"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\nrelease = "send"', r"step.answer.release: send withholds nothing"),
    (WORKFLOW, 'forms = "answers"', 'forms = "answers"\nspawn = "send"', r"step.answer.spawn: send does not open a case that names"),
    (WORKFLOW, 'start = ["send"], ', "", r"deadlines.answer: deadline without a start"),
    (WORKFLOW, 'start = ["send"]', 'start = ["posted"]', r"deadlines.answer: unknown start posted"),
    (WORKFLOW, 'start = ["send"]', 'start = ["due.answer"]', r"deadlines.answer: deadline waits for itself"),
    (WORKFLOW, 'stop = ["answer"]', 'stop = ["reply"]', r"deadlines.answer: unknown step reply"),
    (WORKFLOW, 'calendar = "responding"', 'calendar = "helper"', r"deadlines.answer: no calendar: helper"),
    (WORKFLOW, 'calendar = "EE"', 'calendar = "XX"', r"deadlines.until: no calendar: XX"),
    (WORKFLOW, 'date = "until"', 'date = "open"', r"deadlines.until: unknown date variable open"),
    (WORKFLOW, ", times = 1", "", r"deadlines.answer: extended_by, extension and times go together"),
    (WORKFLOW, "[roles]", "[roles", r"ask.toml:3: file: not TOML"),
    (PROCEDURE, 'workflow = "ask"', 'workflow = "asking"', r"drones/ask.toml:5: workflow: no usable file workflows/asking.toml"),
    (PROCEDURE, 'subject = "operator"', 'subject = "person"', r"drones/ask.toml:9: forms.subject: no usable file forms/person.toml"),
    (PROCEDURE, 'questions = "drones/operators"\n', "", r"questions: step.send takes question keys, and there is no question set"),
    (PROCEDURE, 'texts = "draft"', 'texts = "draft"\nwithout = ["fly"]', r"without: the workflow has no step or deadline fly"),
    (PROCEDURE, 'area = "drones"', 'area = "planes"', r"drones/ask.toml:3: area: area planes"),
    (PROCEDURE, '[retention]\nblock = "6 m"\ndelete = "3 y"\nfrom = ["closure", "until"]\n', "", r"retention: key missing"),
    (PROCEDURE, 'delete = "3 y"', 'delete = "3 years"', r"retention: '3 years' is not a period"),
    (PROCEDURE, '"closure", "until"', '"closure", "open"', r"retention.from: unknown date variable open"),
    (PROCEDURE, 'receives = "statistics"', 'receives = "content"', r"commission.receives: the Commission has no role"),
    (PROCEDURE, 'receives = "statistics"', 'receives = "everything"', r"commission.receives: unknown audience everything"),
    (PROCEDURE, 'urgent = "2 wd"', 'soon = "2 wd"', r"deadlines.answer: lengths are needed for normal, urgent"),
    (PROCEDURE, 'by = "urgency"', 'by = "mood"', r"deadlines.answer: unknown variable mood"),
    (PROCEDURE, "[deadlines]", '[deadlines]\nreply = "2 d"', r"deadlines.reply: the workflow has no such deadline"),
    (PROCEDURE, 'to = "ca"', 'whom = "ca"', r"recipients.whom: no step has whom"),
    (PROCEDURE, 'to = "ca"', 'to = "king"', r"recipients.to: unknown directory role king"),
    (PROCEDURE, "[recipients]", '[see]\nside = ["operator.age"]\n[recipients]', r"see.side: unknown field operator.age"),
    (PROCEDURE, 'texts = "draft"', 'texts = "draft"\nscoreboard = true', r"scoreboard: the workflow has no measures"),
    (WORKFLOW, "[deadlines]", '[measures]\nof = "helper"\nsent = []\nanswered = []\n[deadlines]', r"measures.of: helper is no role of one"),
    (WORKFLOW, "[deadlines]", '[measures]\nof = "responding"\nsent = ["post"]\nanswered = []\n[deadlines]', r"measures: unknown step post"),
    (WORKFLOW, "[deadlines]", '[measures]\nof = "responding"\nsent = []\nanswered = []\nanswer-by = "soon"\n[deadlines]', r"measures: unknown deadline soon"),
    (WORKFLOW, "[deadlines]", '[measures]\nof = "responding"\nsent = []\nanswered = []\nratings = { effort = "note.text" }\n[deadlines]', r"measures.ratings.effort: note.text is no list field without personal data"),
    (WORKFLOW, "[deadlines]", '[measures]\nof = "responding"\nsent = []\nanswered = []\nratings = { effort = "operator.land" }\nnegative = ["DE"]\n[deadlines]', r"measures.negative: no code of list country"),
    (PROCEDURE, "[recipients]", '[search]\nkeys = ["age"]\n[recipients]', r"search.keys: unknown field age"),
    (PROCEDURE, "version = 1", "version = 0", r"drones/ask.toml:1: version: Input should be greater"),
    (FORM, 'answer = "text"', 'answer = "poem"', r"operator.toml:2: fields.name: unknown answer type poem"),
    (FORM, 'list = "country"', 'list = "planet"', r"operator.toml:3: fields.land: unknown list planet"),
    (FORM, 'answer = "list", list = "country"', 'answer = "list"', r"fields.land: an answer of type list and the key list go together"),
    (FORM, 'when = "land = EE"', 'when = "later = EE"', r"operator.toml:4: fields.since: `when` on later, which is not an earlier field"),
    (FORM, 'when = "land = EE"', 'when = "land > EE"', r"fields.since: `when` compares by"),
    (FORM, 'key = "land"', 'key = "name"', r"fields.name: field named twice"),
    (FORM, 'data = "P", ', "", r"operator.toml:2: fields.name.data: key missing"),
    (FORM, 'data = "P"', 'data = "secret"', r"fields.name.data: Input should be"),
    (QUESTIONS, 'when = "R1 = yes"', 'when = "R2 = yes"', r"operators.toml:3: fields.R1a: `when` on R2"),
    ("lists/country.toml", '"EE", "FR"', '"EE", "EE"', r"country.toml:1: codes: code EE stands twice"),
    (WORKFLOW, 'until = "until", urgency', 'until = "to", urgency', r"step.send.set: to is no date for until"),
    (WORKFLOW, 'set = { open = "questions"', 'set = { open = "urgency"', r"step.send.set: urgency is no keys for open"),
    (WORKFLOW, 'responding = "to" }', 'responding = "questions" }', r"step.send.assign: questions is no authority for responding"),
    (PROCEDURE, 'delete = "3 y"', 'delete = "9999 y"', r"retention: '9999 y' is not a period"),
    ("calendars/EE.toml", "Tallinn", "Atlantis", r"EE.toml:1: zone: unknown zone Europe/Atlantis"),
    ("calendars/EE.toml", "2026-02-24", "2027-02-24", r"EE.toml:4: holidays.2026: a day of another year"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "old", "new", "found"), FAULTS, ids=[f[3][:60] for f in FAULTS])
def test_a_fault_is_named(path, old, new, found):
    faults = faults_of(**{path: (old, new)})
    assert any(re.search(found, fault) for fault in faults), faults


def test_the_commission_may_not_read_personal_fields():
    changes = {
        WORKFLOW: ('admit = { helper = "to" }', 'admit = { helper = ["to", "EU:commission"] }'),
        PROCEDURE: ("[recipients]", '[see]\nall = ["operator.name"]\n[recipients]'),
    }
    assert any("the Commission would read operator.name" in fault for fault in faults_of(**changes))
    changes[PROCEDURE] = ("[recipients]", '[see]\nall = ["operator.land"]\n[recipients]')
    assert faults_of(**changes) == []


def test_retention_needs_the_calendar_of_the_union():
    files = {path: text for path, text in GOOD.items() if path != "calendars/EU.toml"}
    assert "retention: no calendar: EU" in str(parse_definitions(files).faults[0])


def test_a_role_known_inside_one_state_takes_no_step_for_all():
    changes = {WORKFLOW: ('flag = "called"', 'scope = "state"\n[step.help]\nfrom = "open"\nby = "helper"')}
    assert any("helper is known inside one State only" in fault for fault in faults_of(**changes))


def test_all_faults_are_named_at_once():
    files = dict(GOOD)
    files[WORKFLOW] = files[WORKFLOW].replace('by = "responding"', 'by = "nobody"').replace('race = "wins"\n', "")
    files[FORM] = files[FORM].replace('answer = "text"', 'answer = "poem"')
    files["lists/odd.toml"] = "codes = 3\n"
    files["workflows/notes.txt"] = "hello"
    named = "\n".join(str(fault) for fault in parse_definitions(files).faults)
    for part in ("unknown role nobody", "without a declared race", "poem", "odd.toml:1: codes", "notes.txt:1: file"):
        assert part in named


def test_what_is_left_out_takes_its_states_and_roles_with_it():
    files = dict(GOOD)
    files[PROCEDURE] = (
        files[PROCEDURE]
        .replace('texts = "draft"', 'texts = "draft"\nwithout = ["call"]')
        .replace('to = "ca"', '"send.to" = "ca"')
    )
    files[WORKFLOW] = files[WORKFLOW].replace(', extended_by = "call", extension = "5 d", times = 1', "")
    found = parse_definitions(files)
    assert not found.faults
    procedure = found.procedures["drones/ask", 1]
    assert "call" not in procedure.steps
    assert "helper" not in procedure.roles
    assert procedure.audiences["all"] == {"requesting", "responding"}


def test_an_earlier_version_stays_beside_the_current_one():
    files = dict(GOOD)
    files["procedures/drones/ask.v1.toml"] = files[PROCEDURE]
    files[PROCEDURE] = files[PROCEDURE].replace("version = 1", "version = 2")
    found = parse_definitions(files)
    assert not found.faults
    assert set(found.procedures) == {("drones/ask", 1), ("drones/ask", 2)}
    same = parse_definitions(GOOD).procedures["drones/ask", 1]
    assert found.procedures["drones/ask", 1].digest == same.digest


def test_the_digest_follows_what_is_said_and_not_how_files_are_called():
    before = parse_definitions(GOOD).procedures["drones/ask", 1].digest
    moved = dict(GOOD)
    moved["workflows/ask.v1.toml"] = moved.pop(WORKFLOW)
    moved["forms/operator.v1.toml"] = moved.pop(FORM)
    moved[PROCEDURE] = (
        moved[PROCEDURE]
        .replace('workflow = "ask"', 'workflow = "ask.v1"')
        .replace('subject = "operator"', 'subject = "operator.v1"')
    )
    assert parse_definitions(moved).procedures["drones/ask", 1].digest == before
    changed = {**GOOD, FORM: GOOD[FORM].replace("required = true", "required = false")}
    assert parse_definitions(changed).procedures["drones/ask", 1].digest != before
