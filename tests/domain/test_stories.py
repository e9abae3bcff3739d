"""Each row of what may race, and the ways of one case, as short stories on the shipped and the tried procedures."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

FR, RO, RO2, RO_C = "FR:schools", "RO:ministry", "RO:university", "RO:coordinator"
EE, EE_C, FR_IN, DE_C, DE_IN, BY_IN, DE_X = (
    "EE:labour",
    "EE:ttja",
    "FR:dgccrf",
    "DE:coordinator",
    "DE:inbox",
    "DE:bayern",
    "DE:gewerbe",
)
COM = "EU:commission"
ASK = {"to": RO, "questions": ["Q1", "Q3"], "wanted": "2026-12-10", "urgency": "normal"}


@pytest.fixture
def request_case(play):
    """A request sent from France to Romania and received there."""
    case = play("professional-qualifications/information-request")
    case.take("send", FR, "requesting", ASK)
    case.take("received", RO, "responding")
    return case


@pytest.fixture
def alert_case(play):
    """An Estonian alert to France and Germany (two inboxes) with the provider established in Germany."""
    case = play("services/alert")
    case.take("broadcast-directly", EE_C, "sender", {"to": [FR_IN, DE_IN, BY_IN], "establishment": DE_C})
    return case


@pytest.fixture
def proposed(alert_case):
    """The same alert with its closure proposed."""
    alert_case.take("propose-closure", DE_C, "closer")
    return alert_case


# --- the way of a request -----------------------------------------------------------------------------------------


def test_a_request_is_asked_accepted_answered_in_parts_and_closed(request_case):
    case = request_case
    case.take("accept", RO, "responding", {"date": "2026-12-15"})
    assert case.due("agreed").day == date(2026, 12, 15)
    case.take("answer-part", RO, "responding", {"questions": ["Q1"]})
    assert case.view().variables["open"] == ("Q3",)
    assert case.refused("answer-part", RO, "responding", {"questions": ["Q1"]}) == "condition"
    case.take("answer", RO, "responding", {"questions": ["Q3"]})
    assert case.due("agreed").stopped
    closing = case.take("close", FR, "requesting")
    view = case.view()
    assert view.state == "closed"
    assert view.closed_at == closing.at
    assert case.keeping().block.date() == date(2027, 5, 24)
    assert case.keeping().delete.date() == date(2029, 11, 24)


def test_the_other_side_is_offered_only_its_own_steps(request_case):
    assert request_case.offers(RO, "handler") >= {"accept", "forward", "split", "refuse", "message"}
    assert "accept" not in request_case.offers(FR, "handler")
    assert request_case.offers(FR, "handler") >= {"withdraw", "edit", "message"}
    assert request_case.offers("EE:stranger", "handler") == set()


def test_national_settings_decide_whether_a_request_is_sent_or_submitted(play):
    case = play("professional-qualifications/information-request")
    assert case.offers(FR, "handler") == {"send"}
    assert case.offers(FR, "handler", **{"approve-requests": "yes"}) == {"submit"}


def test_more_is_asked_only_about_what_was_asked(request_case):
    case = request_case
    case.take("accept", RO, "responding", {"date": "2026-12-15"})
    case.take("answer", RO, "responding", {"questions": ["Q1", "Q3"]})
    assert case.refused("ask-more", FR, "requesting", {"questions": ["Q5"], "wanted": "2026-12-20"}) == "condition"
    case.take("ask-more", FR, "requesting", {"questions": ["Q3"], "wanted": "2026-12-20"})
    case.take("agree-more", RO, "responding")
    assert case.due("agreed").day == date(2026, 12, 20)
    assert case.due("agreed").is_running


def test_a_closed_request_can_be_reopened_for_six_months(request_case):
    case = request_case
    case.take("refuse", RO, "responding")
    case.take("close", FR, "requesting")
    assert "reopen" in case.offers(FR, "handler")
    case.wait(days=200)
    assert "reopen" not in case.offers(FR, "handler")
    assert case.refused("reopen", FR, "requesting") == "condition"


def test_after_two_idle_months_a_coordinator_can_be_called_in(request_case):
    case = request_case
    assert case.refused("involve-coordinator", FR, "requesting", {"coordinators": ["FR:coordinator"]}) == "condition"
    case.wait(days=70)
    case.take("involve-coordinator", FR, "requesting", {"coordinators": ["FR:coordinator"]})
    assert "FR:coordinator" in case.view().members["helper"]


# --- who sees what ------------------------------------------------------------------------------------------------


def test_a_forwarded_request_is_closed_to_its_old_holder(request_case):
    case = request_case
    assert case.reads(RO) == {"send/content"}
    case.take("forward", RO, "responding", {"to": RO2})
    assert case.reads(RO) == set()
    assert case.reads(RO2) == {"send/content"}
    assert RO in case.parties(), "the old holder keeps the file card"
    assert case.parties()[RO2] == {RO}


def test_what_is_submitted_for_approval_stays_on_its_side_until_approved(play):
    case = play("professional-qualifications/information-request")
    control = {**ASK, "coordinator": "FR:coordinator"}
    case.take("submit", FR, "requesting", control)
    case.take("return", "FR:coordinator", "requesting-coordinator")
    case.take("submit", FR, "requesting", control)
    assert RO not in case.parties()
    case.take("approve", "FR:coordinator", "requesting-coordinator")
    assert case.reads(RO) == {"submit/content"}
    view = case.view()
    assert view.released == {view.moves[2].id}, "only the last submission is released; the returned draft stays"


def test_a_split_question_leaves_the_parent_and_opens_a_child(request_case, play):
    case = request_case
    assert case.refused("split", RO, "responding", {"to": RO2, "questions": ["Q1", "Q3"]}) == "condition"
    case.take("split", RO, "responding", {"to": RO2, "questions": ["Q3"]})
    assert case.view().variables["open"] == ("Q1",)
    child = play("professional-qualifications/information-request")
    control = {"parent": case.view().case, "for": FR, "to": RO2, "questions": ["Q3"]}
    child.take("split-off", RO, "splitter", {**control, "wanted": "2026-12-10", "urgency": "normal"})
    assert child.view().roles == {"splitter": RO, "requesting": FR, "responding": RO2}
    assert "split-off" not in child.offers(FR, "handler")


def test_the_commission_sees_what_happened_and_not_to_whom(alert_case):
    case = alert_case
    assert case.reads(COM) == {"broadcast-directly/summary"}
    assert case.reads(FR_IN) == {"broadcast-directly/summary", "broadcast-directly/content"}
    step = case.procedure.steps["broadcast-directly"]
    assert step.layout["summary"] == {"service-danger": ("activity", "damage", "severity", "likelihood")}
    assert "provider" in step.layout["content"]["service-danger"]


def test_passing_on_inside_a_state_is_nobody_elses_business(alert_case):
    case = alert_case
    outside = case.view().shared()
    case.take("disseminate", DE_IN, "inbox", {"to": [DE_X]})
    assert case.view().shared() == outside
    assert DE_X not in case.parties()
    assert case.parties(inside="DE")[DE_X] == {DE_IN}
    assert case.reads(DE_X, inside="DE") == {"broadcast-directly/summary", "broadcast-directly/content"}
    assert case.reads(DE_X, inside="FR") == set()
    assert case.refused("disseminate", DE_IN, "inbox", {"to": [FR_IN]}) == "condition"


def test_an_incoming_coordinator_carries_what_it_may_not_read(play):
    case = play("professional-qualifications/practice-alert", of_tried=True)
    case.take("broadcast", "EE:health", "sender", {"to": ["DE:inbox"], "until": "2027-11-24", "decided": "2026-11-23"})
    assert case.reads("DE:inbox") == {"broadcast/summary"}
    assert case.reads("DE:inbox", carried=True) == {"broadcast/summary", "broadcast/content"}
    case.take("disseminate", "DE:inbox", "inbox", {"to": ["DE:hospital"]})
    assert case.reads("DE:hospital", inside="DE") == {"broadcast/summary", "broadcast/content"}
    assert case.keeping().delete.date() == date(2027, 11, 27), "three days after it ends"


def test_a_note_never_leaves_its_authority(request_case):
    case = request_case
    note = case.take("note", RO, "responding")
    assert note.lane == f"{RO}#authority"
    assert note not in case.view().lanes
    assert note in case.view(own=RO).lanes
    assert note not in case.view(own=FR).lanes


# --- what may race ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "control"),
    [
        ("accept", {"date": "2026-12-15"}),
        ("forward", {"to": RO2}),
        ("refuse", {}),
        ("split", {"to": RO2, "questions": ["Q1"]}),
    ],
)
def test_a_withdrawal_beats_what_the_responder_does_meanwhile(request_case, step, control):
    case = request_case
    before = list(case.everything)
    crossed = case.make(step, RO, "responding", control, after=before)
    withdrawal = case.make("withdraw", FR, "requesting", after=before, at=case.at + timedelta(hours=5))
    view = case.view([*before, crossed, withdrawal])
    assert view.state == "withdrawn"
    assert view.superseded == {crossed.id: withdrawal.id}
    assert view.closed_at == withdrawal.at
    assert view == case.view([withdrawal, crossed, *before])


def test_what_followed_the_losing_answer_is_superseded_with_it(request_case):
    case = request_case
    case.take("accept", RO, "responding", {"date": "2026-12-15"})
    before = list(case.everything)
    answer = case.make("answer", RO, "responding", {"questions": ["Q1", "Q3"]}, after=before)
    message = case.make("message", RO, "responding", after=[*before, answer])
    withdrawal = case.make("withdraw", FR, "requesting", after=before, at=case.at + timedelta(days=1))
    view = case.view([*before, answer, message, withdrawal])
    assert view.superseded == {answer.id: withdrawal.id, message.id: withdrawal.id}


def test_a_withdrawal_beats_a_coordinators_approval(play):
    case = play("professional-qualifications/information-request")
    case.take("submit", FR, "requesting", {**ASK, "coordinator": "FR:coordinator"})
    before = list(case.everything)
    approval = case.make("approve", "FR:coordinator", "requesting-coordinator", after=before)
    withdrawal = case.make("withdraw", FR, "requesting", after=before, at=case.at + timedelta(hours=1))
    view = case.view([*before, approval, withdrawal])
    assert view.superseded == {approval.id: withdrawal.id}
    assert RO in case.parties([*before, approval, withdrawal]), "it must hear of the withdrawal"
    assert not view.released


@pytest.mark.parametrize(
    ("step", "control"), [("accept", {"date": "2026-12-15"}), ("forward", {"to": RO2}), ("refuse", {})]
)
def test_an_edit_is_too_late_once_the_responder_moved(request_case, step, control):
    case = request_case
    before = list(case.everything)
    edit = case.make("edit", FR, "requesting", {"questions": ["Q1"], "wanted": "2026-12-20"}, after=before)
    moved = case.make(step, RO, "responding", control, after=before, at=case.at + timedelta(hours=5))
    view = case.view([*before, edit, moved])
    assert view.superseded == {edit.id: moved.id}
    assert view.variables["asked"] == ("Q1", "Q3")


def test_an_edit_before_the_responder_moves_counts(request_case):
    request_case.take("edit", FR, "requesting", {"questions": ["Q5"], "wanted": "2026-12-20"})
    assert request_case.view().variables["open"] == ("Q5",)
    assert request_case.view().state == "awaiting-acceptance"


def test_a_withdrawn_alert_beats_its_proposed_closure(alert_case):
    case = alert_case
    before = list(case.everything)
    proposal = case.make("propose-closure", DE_C, "closer", after=before)
    withdrawal = case.make("withdraw", EE_C, "sender", after=before, at=case.at + timedelta(hours=2))
    view = case.view([*before, proposal, withdrawal])
    assert view.state == "withdrawn"
    assert view.superseded == {proposal.id: withdrawal.id}


def test_an_objection_the_closer_had_seen_makes_closure_invalid(proposed):
    case = proposed
    case.take("object", FR_IN, "inbox")
    case.wait(days=20)
    assert case.refused("close", DE_C, "closer") == "condition"
    assert case.refused("close-agreed", DE_C, "closer") == "condition"
    case.take("keep-open", DE_C, "closer")
    assert case.view().state == "broadcast"


def test_an_objection_that_arrives_after_closure_is_kept_and_changes_nothing(proposed):
    case = proposed
    before = list(case.everything)
    objection = case.make("object", FR_IN, "inbox", after=before)
    closure = case.make("close", DE_C, "closer", after=before, at=case.at + timedelta(days=20))
    view = case.view([*before, objection, closure])
    assert view.state == "closed"
    assert objection in view.lanes


def test_silence_issues_the_card_and_a_late_refusal_arrives_too_late(play):
    case = play("professional-qualifications/professional-card", of_tried=True)
    case.take("submit", "EE:guild", "applicant", {"regime": "automatic"})
    case.take("acknowledge", "EE:guild", "home")
    case.take("transmit", "EE:guild", "home", {"host": "DE:guild"})
    assert case.due("decide").state == "DE"
    before = list(case.everything)
    assert case.refused("deem-issued", "EE:guild", "home") == "condition"
    refusal_in_time = case.make("refuse", "DE:guild", "host", after=before, at=case.due("decide").ends)
    assert (
        case.refused("refuse", "DE:guild", "host", at=case.due("decide").ends + timedelta(milliseconds=1))
        == "condition"
    )
    issue = case.make("deem-issued", "EE:guild", "home", after=before, at=case.due("grace").ends + timedelta(hours=1))
    view = case.view([*before, refusal_in_time, issue])
    assert view.state == "issued"
    assert view.superseded == {refusal_in_time.id: issue.id}
    case.everything += [refusal_in_time, issue]
    case.at = issue.at + timedelta(hours=1)
    assert "revoke" in case.offers("DE:guild")


def test_one_seq_for_two_events_of_a_restored_backup_counts_the_earlier_and_alarms(request_case):
    case = request_case
    before = list(case.everything)
    first = case.make("accept", RO, "responding", {"date": "2026-12-15"}, after=before)
    second = case.make("refuse", RO, "responding", after=before, at=case.at + timedelta(hours=1))
    view = case.view([*before, second, first])
    assert view.state == "accepted"
    assert view.superseded == {second.id: first.id}
    assert view.forked == {(RO, first.seq)}


def test_a_forked_move_comes_after_an_honest_one(request_case):
    case = request_case
    before = list(case.everything)
    first = case.make("withdraw", FR, "requesting", after=before)
    second = case.make("edit", FR, "requesting", {"questions": ["Q1"], "wanted": "2026-12-20"}, after=before)
    honest = case.make("accept", RO, "responding", {"date": "2026-12-15"}, after=before)
    assert case.view([*before, first, second, honest]).state == "accepted"


def test_forward_and_answer_of_one_holder_do_not_race(request_case):
    case = request_case
    case.take("accept", RO, "responding", {"date": "2026-12-15"})
    case.take("forward", RO, "responding", {"to": RO2})
    assert case.refused("answer", RO, "responding", {"questions": ["Q1", "Q3"]}) in ("state", "role-not-held")


# --- the alert's end ----------------------------------------------------------------------------------------------


def test_an_alert_closes_once_every_state_told_has_agreed(proposed):
    case = proposed
    assert case.view().missing(case.procedure, "agreed") == {"FR"}, "Germany proposed it and need not answer itself"
    assert case.refused("close-agreed", DE_C, "closer") == "condition"
    assert "close-agreed" not in case.offers(DE_C, "disseminator")
    case.take("agree", FR_IN, "inbox")
    assert case.offers(DE_C, "disseminator") >= {"close-agreed", "keep-open"}
    case.take("close-agreed", DE_C, "closer")
    assert case.view().state == "closed"


def test_one_authority_agrees_for_its_state(play):
    case = play("services/alert")
    case.take("broadcast-directly", EE_C, "sender", {"to": [FR_IN, DE_IN, BY_IN], "establishment": EE_C})
    case.take("propose-closure", EE_C, "closer")
    case.take("agree", BY_IN, "inbox")
    assert case.view().missing(case.procedure, "agreed") == {"FR"}


def test_agreement_is_asked_anew_after_a_new_proposal(proposed):
    case = proposed
    case.take("agree", FR_IN, "inbox")
    case.take("keep-open", DE_C, "closer")
    case.take("propose-closure", DE_C, "closer")
    assert case.view().missing(case.procedure, "agreed") == {"FR"}
    assert "agree" in case.offers(FR_IN, "disseminator")


def test_an_objection_outweighs_agreement(proposed):
    case = proposed
    case.take("agree", FR_IN, "inbox")
    case.take("object", BY_IN, "inbox")
    assert case.refused("close-agreed", DE_C, "closer") == "condition"


def test_without_objection_an_alert_closes_after_fourteen_days(proposed):
    case = proposed
    due = case.due("objection")
    assert due.day == date(2026, 12, 8)
    assert due.ends == datetime(2026, 12, 8, 23, 59, 59, 999000, ZoneInfo("Europe/Berlin")).astimezone(UTC)
    case.at = due.ends
    assert case.refused("close", DE_C, "closer") == "condition"
    assert case.refused("object", FR_IN, "inbox") == ""
    case.at = due.ends + timedelta(milliseconds=1)
    assert case.refused("object", FR_IN, "inbox") == "condition"
    case.take("close", DE_C, "closer")
    assert case.view().state == "closed"


def test_states_acknowledge_one_by_one(alert_case):
    case = alert_case
    for inbox in (FR_IN, DE_IN):
        case.take("acknowledge", inbox, "inbox")
    raised = case.view().flagged(case.procedure, "acknowledged")
    assert [event.author for event in raised] == [FR_IN, DE_IN]
    assert "acknowledge" not in case.offers(FR_IN, "handler")
    assert "acknowledge" in case.offers(BY_IN, "handler")


# --- deadlines in the case ----------------------------------------------------------------------------------------


def test_no_node_shows_a_due_date_until_the_responders_node_has_the_request(play):
    case = play("posting-of-workers/information-request", of_tried=True)
    case.take(
        "send", FR, "requesting", {"to": "DE:zoll", "questions": ["P1"], "wanted": "2026-12-10", "urgency": "urgent"}
    )
    assert case.due("answer") is None
    case.wait(days=1)
    case.take("received", "DE:zoll", "responding")
    assert case.due("answer").day == date(2026, 11, 27), "two working days after Wednesday 25 November"
    case.take("forward", "DE:zoll", "responding", {"to": "DE:zoll-nord"})
    case.wait(days=2)
    case.take("received", "DE:zoll-nord", "responding")
    assert case.due("answer").day == date(2026, 11, 27), "forwarding restarts nothing"


def test_acceptance_is_counted_anew_for_the_next_holder(request_case):
    case = request_case
    assert case.due("accept").day == date(2026, 12, 2), "7 days end on 1 December, Romania's national day"
    case.wait(days=3)
    case.take("forward", RO, "responding", {"to": RO2})
    assert case.due("accept").day == date(2026, 12, 4)


def test_an_extension_lengthens_what_runs_and_only_so_often(play):
    case = play("solvit/case", of_tried=True)
    case.take("submit", "EE:solvit", "applicant")
    case.take("send-to-lead", "EE:solvit", "home", {"lead": "FR:solvit"})
    case.take("accept", "FR:solvit", "lead")
    first = case.due("solve").day
    case.take("extend", "FR:solvit", "lead")
    assert case.due("solve").day - first >= timedelta(days=68)
    again = case.due("solve").day
    case.take("extend", "FR:solvit", "lead")
    assert case.due("solve").day == again
