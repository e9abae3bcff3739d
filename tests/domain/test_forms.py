"""What may stand in a form, and what is said about what may not."""

from __future__ import annotations

import pytest

from node.domain.forms import Fault, by_type, documents, validate, validate_part, validate_step
from node.domain.procedures import Field

LISTS = {"colour": ("red", "green")}
TEXT = {"text": "Jah.", "lang": "et"}
FILE = {"sha256": "ab" * 32, "size": 10, "name": "diplom.pdf", "type": "application/pdf", "lang": "ro"}


def field(*answers: str, **more: object) -> Field:
    return Field(key="f", answers=answers, data="none", list="colour" if "list" in answers else "", **more)


@pytest.mark.parametrize(
    ("answers", "value", "code"),
    [
        (["text"], TEXT, ""),
        (["text"], "Jah.", "malformed"),
        (["text"], {"text": "Jah."}, "malformed"),
        (["text"], {"text": "Jah.", "lang": "estonian"}, "malformed"),
        (["text"], {"text": "  ", "lang": "et"}, "missing"),
        (["text"], {"text": "x" * 20_001, "lang": "et"}, "too-long"),
        (["yes-no-unknown"], "yes", ""),
        (["yes-no-unknown"], "perhaps", "malformed"),
        (["yes-no-unknown"], True, "malformed"),
        (["list"], "red", ""),
        (["list"], "blue", "not-in-list"),
        (["list"], ["red"], "not-in-list"),
        (["date"], "2026-02-28", ""),
        (["date"], "2026-02-30", "malformed"),
        (["date"], "20260228", "malformed"),
        (["number"], "-12.5", ""),
        (["number"], "1e9", "malformed"),
        (["number"], 5, "malformed"),
        (["money"], "300.00 EUR", ""),
        (["money"], "300 euro", "malformed"),
        (["check"], "corrected", ""),
        (["check"], "no", "malformed"),
        (["register-link"], "https://register.example/1", ""),
        (["register-link"], "javascript:alert(1)", "malformed"),
        (["document"], FILE, ""),
        (["document"], {**FILE, "name": "../../etc/passwd"}, "malformed"),
        (["document"], {**FILE, "name": ".."}, "malformed"),
        (["document"], {**FILE, "name": "a\x00b"}, "malformed"),
        (["document"], {**FILE, "size": 21 * 1024 * 1024}, "too-long"),
        (["document"], {**FILE, "size": True}, "malformed"),
        (["document"], {**FILE, "sha256": "short"}, "malformed"),
        (["document"], {**FILE, "more": 1}, "malformed"),
        (["list", "text"], {"list": "red"}, ""),
        (["list", "text"], {"list": "red", "text": TEXT}, ""),
        (["list", "text"], {"text": TEXT}, "missing"),
        (["list", "text"], {"list": "red", "date": "2026-01-01"}, "malformed"),
        (["list", "text"], "red", "malformed"),
    ],
)
def test_a_value_fits_or_is_named(answers, value, code):
    assert [f.code for f in validate([field(*answers)], {"f": value}, LISTS)] == ([code] if code else [])


def test_required_unknown_and_conditional_fields():
    fields = [
        Field(key="urgent", answers=("yes-no-unknown",), data="none", required=True),
        Field(key="why", answers=("text",), data="none", required=True, when=condition("urgent = yes")),
    ]
    assert validate(fields, {}, {}, form="u") == [Fault("u", "urgent", "missing")]
    assert validate(fields, {"urgent": "yes"}, {}, form="u") == [Fault("u", "why", "missing")]
    assert validate(fields, {"urgent": "no", "why": TEXT}, {}, form="u") == [Fault("u", "why", "not-asked")]
    assert validate(fields, {"urgent": "no", "hello": "x"}, {}, form="u") == [Fault("u", "hello", "unknown-field")]
    assert validate(fields, {"urgent": "yes", "why": TEXT}, {}) == []


def condition(text: str):
    from node.domain.conditions import parse_condition

    return parse_condition(text)


@pytest.fixture
def asked(shipped):
    procedure = shipped.procedures["professional-qualifications/information-request", 1]

    def faults(answers: dict, *keys: str) -> dict[str, str]:
        found = validate_step(
            procedure, procedure.steps["answer"], {"questions": keys}, {"answers": answers}, shipped.lists
        )
        return {fault.field: fault.code for fault in found}

    return faults


def test_every_question_asked_has_an_answer_or_a_reason(asked):
    assert asked({"Q1": {"yes-no-unknown": "yes"}}, "Q1", "Q3") == {"Q3": "missing"}
    assert asked({"Q1": {"yes-no-unknown": "yes"}, "Q3": {"cannot-say": TEXT}}, "Q1", "Q3") == {}
    assert asked({"Q3": {"cannot-say": TEXT, "yes-no-unknown": "no"}}, "Q3") == {"Q3": "malformed"}
    assert asked({"Q3": {"yes-no-unknown": "yes", "comment": TEXT}}, "Q3") == {}
    assert asked({"Q3": {"yes-no-unknown": "yes", "comment": "Jah"}}, "Q3") == {"Q3": "malformed"}


def test_a_conditional_question_is_answered_only_where_its_condition_holds(asked):
    no, yes, fault = {"yes-no-unknown": "no"}, {"yes-no-unknown": "yes"}, {"list": "date", "text": TEXT}
    assert asked({"Q3": no, "Q3a": fault}, "Q3", "Q3a") == {}
    assert asked({"Q3": no}, "Q3", "Q3a") == {"Q3a": "missing"}
    assert asked({"Q3": yes, "Q3a": fault}, "Q3", "Q3a") == {"Q3a": "not-asked"}
    assert asked({"Q3": yes}, "Q3", "Q3a") == {}
    assert asked({}, "Q3a") == {}, "its parent was answered before"


def test_what_was_not_asked_is_not_answered(asked):
    assert asked({"Q3": {"yes-no-unknown": "yes"}, "Q5": {"number": "3"}}, "Q3") == {"Q5": "unknown-field"}


def test_comments_belong_to_questions_asked(shipped):
    procedure = shipped.procedures["professional-qualifications/information-request", 1]
    person = {"surname": TEXT, "given-names": TEXT, "birth-date": "1990-01-01"}
    content = {
        "person": person,
        "profession": {"profession": "secondary-school-teacher"},
        "reasoned-request": {"justification": TEXT, "attachment": FILE},
        "comments": {"Q3": TEXT, "Q9": TEXT},
    }
    step = procedure.steps["send"]
    found = validate_step(procedure, step, {"questions": ("Q3",)}, content, shipped.lists)
    assert found == [Fault("comments", "Q9", "unknown-field")]
    assert (
        validate_step(procedure, step, {"questions": ("Q3",)}, {**content, "odd": {}}, shipped.lists)[0].form == "odd"
    )
    assert list(documents(content)) == [FILE]


def test_a_received_part_is_judged_by_its_audience(shipped):
    procedure = shipped.procedures["services/alert", 1]
    step = procedure.steps["broadcast"]
    summary = {"service-danger": {"activity": "scaffolding", "damage": "safety"}}
    assert validate_part(procedure, step, "summary", summary, shipped.lists) == []
    leaked = {"service-danger": {"provider": TEXT}}
    assert validate_part(procedure, step, "summary", leaked, shipped.lists) == [
        Fault("service-danger", "provider", "unknown-field")
    ]
    assert validate_part(procedure, step, "content", leaked, shipped.lists) == []
    assert validate_part(procedure, step, "content", {"service-danger": 5}, shipped.lists)[0].code == "malformed"
    assert validate_part(procedure, step, "content", {"person": {}}, shipped.lists)[0].code == "unknown-form"


def test_received_answers_are_judged_by_the_questions_of_their_event(shipped):
    procedure = shipped.procedures["professional-qualifications/information-request", 1]
    step = procedure.steps["answer"]
    answers = {"answers": {"Q3": {"yes-no-unknown": "yes"}, "Q9": {"yes-no-unknown": "no"}}}
    found = validate_part(procedure, step, "content", answers, shipped.lists, asked=("Q3",))
    assert found == [Fault("answers", "Q9", "unknown-field")]


def test_values_by_type():
    assert by_type(field("text"), TEXT) == {"text": TEXT}
    assert by_type(field("list", "text"), {"list": "red"}) == {"list": "red"}
    assert by_type(field("date"), {"date": "2026-01-01"}, answer=True) == {"date": "2026-01-01"}
