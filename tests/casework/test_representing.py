"""One coordinator acts for bodies without users of their own: the body is the party, its coordinator's users act."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from casework_federation import ALERT, PQ, REQUEST, danger, entry, request_content, request_control, text

from node.casework.errors import AuthorityNotChosen, NoAccess, StepNotAllowed, UnknownCase
from node.casework.views import DraftContent
from node.ids import AuthorityId, NodeId
from node.local_store import audit, cases

TOWN, VILLAGE = "EE:town", "EE:village"
ANSWERS = {"answers": {"Q2": {"yes-no-unknown": "yes"}, "Q3": {"yes-no-unknown": "no"}}}


def enter(world, *authorities):
    """Put entries into the directory of every node."""
    for node in world.nodes.values():
        for authority in authorities:
            node.directory.publish(authority.node, [authority], world.signing[NodeId("EU")].signer)


def represented(name=TOWN, by="EE:coordinator", node="EE", roles=PQ):
    return replace(entry(name, node, roles), represented_by=AuthorityId(by) if by else "")


async def ask_for_the_town(world):
    estonia = world["EE"]
    coordinator = estonia.official("EE:coordinator").acting_for(AuthorityId(TOWN))
    number = await estonia.casework.open_case(
        coordinator, REQUEST, "send", control=request_control(), content=request_content()
    )
    world.exchange()
    return number


async def test_the_body_asks_and_is_answered_though_only_its_coordinator_has_users(federation):
    world = federation("EE", "FR")
    enter(world, represented())
    number = await ask_for_the_town(world)
    france = await world["FR"].case("FR:school", number)
    asking = next(party for party in france.parties if party.authority == TOWN)
    assert (asking.roles, asking.handled_by, asking.handled_by_name) == (
        ("requesting",),
        "EE:coordinator",
        "Ee Coordinator",
    )
    assert {entry.author for entry in france.timeline} == {TOWN}
    assert "EE:coordinator" not in {party.authority for party in france.parties}
    await world["FR"].step("FR:school", number, "accept", {"date": "2026-12-15"})
    await world["FR"].step("FR:school", number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    world.exchange()
    ours = await world["EE"].case("EE:coordinator", number)
    assert (ours.authority, ours.authorities, ours.our_roles, ours.our_turn) == (TOWN, (TOWN,), ("requesting",), True)
    await world["EE"].step("EE:coordinator", number, "close", {}, {"survey": {"timeliness": "good"}})
    world.exchange()
    assert (await world["FR"].case("FR:school", number)).final


async def test_the_body_is_asked_and_its_coordinator_answers_in_its_name(federation):
    world = federation("EE", "FR")
    enter(world, represented())
    number = await world["FR"].open("FR:school", REQUEST, "send", request_control(TOWN), request_content())
    world.exchange()
    estonia = world["EE"]
    item = (await estonia.casework.work(estonia.official("EE:coordinator"))).later[0]
    assert (item.number, item.authority, item.authority_name, item.our_turn) == (number, TOWN, "Ee Town", True)
    await estonia.step("EE:coordinator", number, "accept", {"date": "2026-12-15"})
    handler = estonia.official("EE:coordinator")
    await estonia.casework.save_draft(handler, number, DraftContent(content=ANSWERS), step="answer")
    kept = (await estonia.casework.drafts(handler))[0]
    assert (kept.authority, kept.step) == (TOWN, "answer")
    await estonia.step("EE:coordinator", number, "answer", {"questions": ["Q2", "Q3"]}, ANSWERS)
    world.exchange()
    case = await world["FR"].case("FR:school", number)
    assert case.state == "answered"
    assert {entry.author for entry in case.timeline} == {"FR:school", TOWN}
    assert await estonia.casework.drafts(handler) == ()


async def test_the_trail_says_which_user_of_which_coordinator_acted_for_whom(federation):
    world = federation("EE", "FR")
    enter(world, represented())
    number = await ask_for_the_town(world)
    await world["EE"].case("EE:coordinator", number)
    estonia = world["EE"]
    row = await estonia.database.read(cases.find_by_number, number)
    trail = await estonia.database.read(audit.entries_of, row.case_id)
    acts = [(line.act, line.authority, line.login, line.subject.partition("via ")[2]) for line in trail if line.login]
    assert acts == [
        ("step", TOWN, "user.ee:coordinator", "EE:coordinator"),
        ("read", TOWN, "user.ee:coordinator", "EE:coordinator"),
    ]
    signed = json.loads((await estonia.casework.events(estonia.official("EE:coordinator"), number))[0].data)
    assert signed["author"] == TOWN
    assert "coordinator" not in json.dumps(signed)


async def test_nobody_acts_for_a_body_that_does_not_say_so(federation):
    world = federation("EE", "FR")
    enter(world, represented(by=""), represented(VILLAGE))
    number = await world["FR"].open("FR:school", REQUEST, "send", request_control(TOWN), request_content())
    world.exchange()
    estonia = world["EE"]
    for official in (
        estonia.official("EE:coordinator"),
        estonia.official("EE:school").acting_for(AuthorityId(TOWN)),
        estonia.official("EE:school"),
    ):
        with pytest.raises(UnknownCase):
            await estonia.casework.case(official, number)
        with pytest.raises(UnknownCase):
            await estonia.casework.take_step(official, number, "accept", control={"date": "2026-12-15"}, content={})
        with pytest.raises(UnknownCase):
            await estonia.casework.save_draft(official, number, DraftContent(), step="accept")
    stranger = estonia.official("EE:school").acting_for(AuthorityId(VILLAGE))
    with pytest.raises(NoAccess):
        await estonia.casework.create_draft(stranger, REQUEST)
    with pytest.raises(NoAccess):
        await estonia.casework.open_case(
            stranger, REQUEST, "send", control=request_control(), content=request_content()
        )
    with pytest.raises(NoAccess):
        await estonia.casework.work(stranger)
    with pytest.raises(NoAccess):
        await estonia.casework.cases(stranger)


async def test_who_represents_a_coordinator_does_not_act_for_those_it_represents(federation):
    world = federation("EE", "FR")
    enter(world, represented(by="EE:middle"), represented("EE:middle", by="EE:coordinator"))
    estonia = world["EE"]
    assert estonia.casework.authorities(estonia.official("EE:coordinator")) == ("EE:coordinator", "EE:middle")
    assert estonia.casework.authorities(estonia.official("EE:middle")) == ("EE:middle", TOWN)


async def test_a_coordinator_on_another_node_cannot_act_since_that_node_signs_nothing_for_the_body(federation):
    world = federation("DE", "DE-BY", "EE")
    enter(world, represented("DE:hamlet", by="DE:alerts", node="DE-BY"))
    germany = world["DE"]
    assert germany.casework.authorities(germany.official("DE:alerts")) == ("DE:alerts",)
    with pytest.raises(NoAccess):
        await germany.casework.create_draft(germany.official("DE:alerts").acting_for(AuthorityId("DE:hamlet")), REQUEST)


async def test_a_body_that_gets_users_of_its_own_goes_on_with_its_case(federation):
    world = federation("EE", "FR")
    enter(world, represented())
    number = await ask_for_the_town(world)
    enter(world, represented(by=""))
    estonia = world["EE"]
    with pytest.raises(UnknownCase):
        await estonia.case("EE:coordinator", number)
    assert (await estonia.casework.work(estonia.official("EE:coordinator"))).waiting == ()
    case = await estonia.case(TOWN, number)
    assert case.authority == TOWN
    assert case.timeline[0].official == "user.ee:coordinator"  # who acted then
    await estonia.step(TOWN, number, "message", {}, {"message": {"text": text("From now on, ask us.")}})
    world.exchange()
    theirs = await world["FR"].case("FR:school", number)
    assert {entry.author for entry in theirs.timeline} == {TOWN}
    assert next(party for party in theirs.parties if party.authority == TOWN).handled_by is None


async def test_which_body_a_new_case_is_for_is_asked_where_several_could_open_it(federation):
    world = federation("EE", "FR")
    enter(world, represented(), represented(VILLAGE))
    estonia = world["EE"]
    official = estonia.official("EE:coordinator")  # itself a coordinator only: it may open nothing of its own
    procedure = next(p for p in estonia.casework.procedures(official) if p.id == REQUEST)
    assert [one.authority for one in estonia.casework.openers(official, procedure)] == [TOWN, VILLAGE]
    with pytest.raises(AuthorityNotChosen):
        await estonia.casework.create_draft(official, REQUEST)
    draft = await estonia.casework.create_draft(official.acting_for(AuthorityId(VILLAGE)), REQUEST)
    assert (draft.authority, [offer.step.name for offer in draft.offers]) == (VILLAGE, ["send"])
    enter(world, represented(VILLAGE, by=""))
    assert (await estonia.casework.create_draft(official, REQUEST)).authority == TOWN
    with pytest.raises(UnknownCase):  # the village has users of its own now: the draft is theirs
        await estonia.casework.draft(official, draft.number)
    assert (await estonia.casework.draft(estonia.official(VILLAGE), draft.number)).authority == VILLAGE


async def test_a_coordinator_that_is_a_party_itself_acts_for_whom_it_says_or_whom_the_step_fits(federation):
    world = federation("EE", "FR")
    inbox = {"services": ("alert-inbox",)}
    enter(world, represented(roles=inbox))
    alert = {"to": ["EE:coordinator", TOWN], "establishment": "FR:alerts"}
    number = await world["FR"].open("FR:alerts", ALERT, "broadcast-directly", alert, danger())
    world.exchange()
    estonia = world["EE"]
    official = estonia.official("EE:coordinator")
    page = await estonia.casework.cases(official, kind="alert")
    assert [item.authority for item in page.items] == [TOWN, "EE:coordinator"]
    first = await estonia.casework.cases(official, kind="alert", limit=1)
    second = await estonia.casework.cases(official, kind="alert", limit=1, after=first.more)
    assert [item.authority for item in (*first.items, *second.items)] == [TOWN, "EE:coordinator"]
    assert second.more == ""
    seen = await estonia.case("EE:coordinator", number)
    assert (seen.authority, seen.authorities) == ("EE:coordinator", ("EE:coordinator", TOWN))
    await estonia.step("EE:coordinator", number, "acknowledge")  # nobody chosen: for itself first ...
    await estonia.step("EE:coordinator", number, "acknowledge")  # ... then for the body that has not yet
    with pytest.raises(StepNotAllowed):
        await estonia.step("EE:coordinator", number, "acknowledge")
    acknowledged = {
        e.author for e in (await estonia.case("EE:coordinator", number)).timeline if e.step == "acknowledge"
    }
    assert acknowledged == {"EE:coordinator", TOWN}


async def test_a_file_shelved_by_the_coordinator_goes_into_the_bodys_case(federation):
    world = federation("EE", "FR")
    enter(world, represented())
    estonia = world["EE"]
    for_the_town = estonia.official("EE:coordinator").acting_for(AuthorityId(TOWN))
    file = await estonia.attach("EE:coordinator", b"scan" * 10_000)
    content = request_content(attachment=file.document())
    draft = await estonia.casework.create_draft(for_the_town, REQUEST)
    saved = await estonia.casework.save_draft(
        estonia.official("EE:coordinator"), draft.number, DraftContent(content=content), expected=draft.version
    )
    assert [f.here for f in saved.files] == [True]
    await estonia.casework.fetch_file(estonia.official("EE:coordinator"), draft.number, file.sha256)
    await estonia.step("EE:coordinator", draft.number, "send", request_control(), content)
    world.exchange()
    case = await world["FR"].case("FR:school", draft.number)
    assert [(f.sha256, f.here) for f in case.files] == [(file.sha256, True)]
    found, _ = await estonia.casework.fetch_file(estonia.official("EE:coordinator"), draft.number, file.sha256)
    assert found.by == TOWN
