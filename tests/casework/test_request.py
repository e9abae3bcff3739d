"""One to one: a request from its draft to its closure, on two nodes."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from casework_federation import REQUEST, request_content, request_control, text

from node.casework.errors import RecipientWithoutNode, StepNotAllowed, UnknownCase
from node.casework.views import DraftContent


async def read_all(chunks):
    return b"".join([chunk async for chunk in chunks])


async def test_a_request_is_asked_answered_and_closed(federation):
    world = federation("EE", "FR")
    estonia, france = world["EE"], world["FR"]
    number = await estonia.open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    case = await france.case("FR:school", number)
    assert (case.state, case.our_turn, case.our_roles) == ("awaiting-acceptance", True, ("responding",))
    assert [q.key for q in case.questions] == ["Q2", "Q3"]
    assert {form.name for form in case.forms} == {"person", "profession", "reasoned-request"}
    await france.step("FR:school", number, "accept", {"date": "2026-12-15"})
    answers = {"Q3": {"yes-no-unknown": "yes", "comment": text("Dans nos registres.", "fr")}}
    await france.step("FR:school", number, "answer-part", {"questions": ["Q3"]}, {"answers": answers})
    await france.step(
        "FR:school", number, "answer", {"questions": ["Q2"]}, {"answers": {"Q2": {"cannot-say": text("?", "fr")}}}
    )
    world.exchange()
    ours, theirs = await estonia.case("EE:school", number), await france.case("FR:school", number)
    assert ours.state == theirs.state == "answered"
    assert ours.variables == theirs.variables
    assert [(d.name, d.on) for d in ours.deadlines] == [(d.name, d.on) for d in theirs.deadlines]
    found = {q.key: q.answers[0].value for q in ours.questions}
    assert found["Q3"]["yes-no-unknown"] == "yes"
    assert found["Q2"] == {"cannot-say": text("?", "fr")}
    await estonia.step("EE:school", number, "close", {}, {"survey": {"timeliness": "good"}})
    world.exchange()
    closed = await france.case("FR:school", number)
    assert closed.final
    assert closed.block_on is not None
    assert not closed.deadlines


async def test_a_step_is_sent_once_stored_and_received_by_whom_it_is_for(federation):
    world = federation("EE", "FR")
    estonia = world["EE"]
    number = await estonia.open("EE:school", REQUEST, "send", request_control(), request_content())
    before = (await estonia.case("EE:school", number)).timeline[0]
    assert [(d.node, d.state) for d in before.deliveries] == [("FR", "waiting")]
    assert before.received_by == ()
    world.exchange()
    after = (await estonia.case("EE:school", number)).timeline[0]
    assert [(d.node, d.state) for d in after.deliveries] == [("FR", "received")]
    assert after.received_by == ("FR:school",)


async def test_a_draft_keeps_its_number_and_is_gone_once_sent(federation):
    world = federation("EE", "FR")
    estonia = world["EE"]
    handler = estonia.official("EE:school")
    draft = await estonia.casework.create_draft(handler, REQUEST)
    assert draft.number == "EE-2026-000001"
    assert [offer.step.name for offer in draft.offers] == ["send"]
    assert {spec.name for spec in draft.offers[0].forms} == {"person", "profession", "reasoned-request", "comments"}
    kept = DraftContent(control={"to": "FR:school"}, content={"person": {"surname": text("Half", "et")}}, lang="et")
    saved = await estonia.casework.save_draft(handler, draft.number, kept, expected=draft.version)
    assert (await estonia.casework.draft(handler, draft.number)).content == kept.content
    assert [item.number for item in await estonia.casework.drafts(handler)] == [draft.number]
    await estonia.step("EE:school", draft.number, "send", request_control(), request_content(), expected=saved.version)
    assert await estonia.casework.drafts(handler) == ()
    assert (await estonia.case("EE:school", draft.number)).state == "awaiting-acceptance"
    with pytest.raises(UnknownCase):
        await estonia.casework.draft(handler, draft.number)


async def test_an_answer_being_written_is_kept_as_a_draft_within_the_case(federation):
    world = federation("EE", "FR")
    france = world["FR"]
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    await france.step("FR:school", number, "accept", {"date": "2026-12-15"})
    handler = france.official("FR:school")
    half = DraftContent(content={"answers": {"Q3": {"yes-no-unknown": "yes"}}}, lang="fr")
    await france.casework.save_draft(handler, number, half, step="answer")
    case = await france.case("FR:school", number)
    assert [(item.step, item.opens) for item in case.drafts] == [("answer", False)]
    assert [offer.draft for offer in case.offers if offer.step.name == "answer"] == [True]
    with pytest.raises(StepNotAllowed):
        await france.casework.save_draft(handler, number, half, step="close")


async def test_a_file_arrives_bit_for_bit_and_lies_encrypted(federation):
    world = federation("EE", "FR")
    estonia, france = world["EE"], world["FR"]
    data = b"CANARY-FILE" + os.urandom(150_000)
    file = await estonia.attach("EE:school", data)
    content = request_content(attachment=file.document())
    number = await estonia.open("EE:school", REQUEST, "send", request_control(), content)
    world.exchange()
    case = await france.case("FR:school", number)
    assert [(f.sha256, f.name, f.here) for f in case.files] == [(file.sha256, "scan.pdf", True)]
    found, chunks = await france.casework.fetch_file(france.official("FR:school"), number, file.sha256)
    assert (found.type, await read_all(chunks)) == ("application/pdf", data)
    again, ours = await estonia.casework.fetch_file(estonia.official("EE:school"), number, file.sha256)
    assert (again.size, await read_all(ours)) == (len(data), data)
    for node in (estonia, france):
        assert b"CANARY-FILE" not in node.bytes_on_disk()


async def test_nothing_of_a_text_lies_open_on_the_disk(federation):
    world = federation("EE", "FR")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content("CANARY-TEXT"))
    handler = world["EE"].official("EE:school")
    await world["EE"].casework.save_draft(
        handler,
        number,
        DraftContent(content={"message": {"text": text("CANARY-DRAFT")}}),
        step="message",
    )
    world["EE"].database.run(lambda session: session.connection().exec_driver_sql("PRAGMA user_version"))
    for wanted in (b"CANARY-TEXT", b"CANARY-DRAFT"):
        assert wanted not in world["EE"].bytes_on_disk()
    world.exchange()
    assert (await world["FR"].case("FR:school", number)).forms
    assert b"CANARY-TEXT" not in world["FR"].bytes_on_disk()


async def test_forwarding_hands_the_content_over_and_the_old_holder_keeps_the_file_card(federation):
    world = federation("EE", "DE", "DE-BY")
    estonia, germany, bavaria = world["EE"], world["DE"], world["DE-BY"]
    file = await estonia.attach("EE:school", b"scan" * 50_000)
    number = await estonia.open(
        "EE:school",
        REQUEST,
        "send",
        request_control(to="DE:alerts"),
        request_content("CANARY-FORWARD", attachment=file.document()),
    )
    world.exchange()
    await germany.step("DE:alerts", number, "forward", {"to": "DE:munich"})
    world.exchange()
    theirs = await bavaria.case("DE:munich", number)
    assert theirs.our_turn
    assert {form.name for form in theirs.forms} == {"person", "profession", "reasoned-request"}
    _, chunks = await bavaria.casework.fetch_file(bavaria.official("DE:munich"), number, file.sha256)
    assert await read_all(chunks) == b"scan" * 50_000
    card = await germany.case("DE:alerts", number)
    assert card.our_roles == ()
    assert card.forms == ()
    assert card.files == ()
    assert {form.state for entry in card.timeline for form in entry.forms} == {"not-for-you"}
    await germany.casework.sweep()
    assert germany.casework.tools.files.names() == frozenset()
    await bavaria.step("DE:munich", number, "accept", {"date": "2026-12-20"})
    world.exchange()
    assert (await estonia.case("EE:school", number)).state == "accepted"
    assert (await germany.case("DE:alerts", number)).state == "accepted"


async def test_a_case_that_is_forwarded_back_comes_back_with_its_content(federation):
    world = federation("EE", "DE", "DE-BY")
    file = await world["EE"].attach("EE:school", b"scan" * 50_000)
    content = request_content(attachment=file.document())
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(to="DE:alerts"), content)
    world.exchange()
    await world["DE"].step("DE:alerts", number, "forward", {"to": "DE:munich"})
    world.exchange()
    await world["DE"].casework.sweep()
    await world["DE-BY"].step("DE:munich", number, "forward", {"to": "DE:alerts"})
    world.exchange()
    case = await world["DE"].case("DE:alerts", number)
    assert case.our_turn
    assert {form.name for form in case.forms} == {"person", "profession", "reasoned-request"}
    _, chunks = await world["DE"].casework.fetch_file(world["DE"].official("DE:alerts"), number, file.sha256)
    assert await read_all(chunks) == b"scan" * 50_000


async def test_two_authorities_of_one_node_need_no_message(federation):
    world = federation("EE", "FR")
    france = world["FR"]
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    await france.step("FR:school", number, "forward", {"to": "FR:health"})
    case = await france.case("FR:health", number)
    assert (case.our_turn, case.state) == (True, "awaiting-acceptance")
    assert case.forms
    assert (await france.case("FR:school", number)).forms == ()
    assert {d.name for d in case.deadlines} >= {"accept", "agreed"}
    world.exchange()
    assert [p.authority for p in (await world["EE"].case("EE:school", number)).parties if p.turn] == ["FR:health"]


async def test_a_withdrawal_beats_an_acceptance_that_crosses_it(federation):
    world = federation("EE", "FR")
    estonia, france = world["EE"], world["FR"]
    number = await estonia.open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    world.clock.advance(minutes=1)
    await france.step("FR:school", number, "accept", {"date": "2026-12-15"})
    world.clock.advance(minutes=1)
    await estonia.step("EE:school", number, "withdraw")
    world.exchange()
    for node, authority in ((estonia, "EE:school"), (france, "FR:school")):
        case = await node.case(authority, number)
        assert case.state == "withdrawn"
        accept = next(entry for entry in case.timeline if entry.step == "accept")
        assert accept.state == "superseded"
        assert accept.superseded_by == next(e.event for e in case.timeline if e.step == "withdraw")


async def test_a_third_authority_sees_nothing(federation):
    world = federation("EE", "FR", "DE")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    for node, authority in (("EE", "EE:coordinator"), ("FR", "FR:health"), ("DE", "DE:alerts")):
        with pytest.raises(UnknownCase):
            await world[node].case(authority, number)
    assert {carried.recipient for carried in world.carried} == {"EE", "FR"}


async def test_an_authority_whose_state_has_no_node_cannot_be_asked(federation):
    estonia = federation("EE", "FR")["EE"]
    peers = estonia.casework.tools.peers
    nodes = {name: replace(peer, url=None) if name == "FR" else peer for name, peer in peers.trust.nodes.items()}
    peers.replace(replace(peers.trust, nodes=nodes))
    with pytest.raises(RecipientWithoutNode):
        await estonia.open("EE:school", REQUEST, "send", request_control(), request_content())


async def test_a_half_written_answer_outlives_the_closure_and_goes_with_the_blocking(federation):
    world = federation("EE", "FR")
    estonia, france = world["EE"], world["FR"]
    number = await estonia.open("EE:school", REQUEST, "send", request_control(), request_content())
    world.exchange()
    await france.step("FR:school", number, "accept", {"date": "2026-12-15"})
    official = france.official("FR:school")
    begun = DraftContent(content={"answers": {"Q2": {"cannot-say": text("Commencé.", "fr")}}})
    await france.casework.save_draft(official, number, begun, step="answer")
    world.exchange()
    await estonia.step("EE:school", number, "withdraw")
    world.exchange()
    assert (await france.case("FR:school", number)).final
    assert [item.step for item in await france.casework.drafts(official)] == ["answer"]
    world.clock.advance(days=190)
    await france.casework.sweep()
    assert not await france.casework.drafts(official)
