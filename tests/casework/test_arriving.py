"""What other nodes send: taken, held until it is understood, or refused; never half stored, never raised."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from casework_federation import (
    ALERT,
    PQ,
    REQUEST,
    danger,
    entry,
    request_content,
    request_control,
    text,
    trust_list,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from node.casework import payload
from node.casework.errors import UnknownCase
from node.clock import FakeClock
from node.domain.events import commitment, parse_event, signing_input
from node.federation.as4 import Part
from node.ids import MessageId, NodeId
from node.local_store import audit
from node.local_store.cases import CaseRow, EventRow, PartRow, RefusedRow
from pki.node_keys import fingerprint


async def message(world, to="FR:school", node="FR"):
    """A real request on its way to a node, not delivered: the case number and the message."""
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(to), request_content())
    row = next(row for row in world.waiting(NodeId("EE")) if row.recipient == node)
    return number, world.inbound(NodeId("EE"), row)


def body_of(inbound):
    return json.loads(inbound.parts[0].content)


def with_body(inbound, body, name="changed"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    part = Part(content=data, mime_type="application/json")
    return replace(inbound, parts=(part, *inbound.parts[1:]), message_id=MessageId(f"{name}@test"))


def deliver(node, inbound):
    node.database.run(node.casework.deliver, inbound)


def count(node, table):
    return node.database.run(lambda session: session.scalar(select(func.count()).select_from(table)))


def refused_codes(node):
    return node.database.run(lambda session: list(session.scalars(select(RefusedRow.code))))


def doors(node):
    return node.database.run(lambda session: list(session.scalars(select(EventRow.door).where(EventRow.sender != ""))))


def signed_again(world, body, node, **changes):
    """The message's first event with changes, signed by a node's own key."""
    event = dict(body["events"][0]["event"], **changes)
    signer = world.signing[NodeId(node)].signer
    parsed = parse_event(payload.canonical(event))
    body["events"][0] = {
        "event": event,
        "signature": base64.b64encode(signer.sign(signing_input(parsed.id))).decode(),
        "certificate": fingerprint(signer.certificate),
    }
    body["case"] = parsed.case_id
    for part in body["parts"]:
        part["event"] = parsed.id
    return body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 1_000_000,
        b'{"schema":1,"case":"' + b'\\"' * 500_000,
        b'{"schema":1,"x":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
        b'{"schema":1,"case":"../../etc","events":[],"parts":[]}',
        b'{"schema":1,"case":"' + b"0" * 64 + b'","events":[{}],"parts":[]}',
        b'{"schema":1,"case":"' + b"0" * 64 + b'","events":[],"parts":[{"event":1}]}',
        b'{"schema":1,"case":"' + b"0" * 64 + b'","events":[],"parts":[]}',
        b'{"schema":2,"case":"' + b"0" * 64 + b'","events":[],"parts":[]}',
        b'{"schema":1,"n":NaN}',
        b" " * (payload.MAX_PAYLOAD_BYTES + 1),
    ],
    ids=lambda data: f"{data[:24]!r}-{len(data)}",
)
async def test_bytes_that_are_no_case_message(federation, data):
    world = federation("EE", "FR")
    _, inbound = await message(world)
    deliver(world["FR"], with_body(inbound, data))
    assert len(refused_codes(world["FR"])) == 1
    assert count(world["FR"], CaseRow) == count(world["FR"], EventRow) == count(world["FR"], PartRow) == 0


async def test_other_actions_and_messages_without_parts(federation):
    world = federation("EE", "FR")
    _, inbound = await message(world)
    deliver(world["FR"], replace(inbound, action="query", message_id=MessageId("1@test")))
    deliver(world["FR"], replace(inbound, parts=(), message_id=MessageId("2@test")))
    assert refused_codes(world["FR"]) == ["peer.unknown-action"] * 2


def forged_signature(world, body):
    body["events"][0]["signature"] = base64.b64encode(b"\0" * 64).decode()


def short_signature(world, body):
    body["events"][0]["signature"] = "AAAA"


def changed_event(world, body):
    body["events"][0]["event"]["control"]["urgency"] = "urgent"


def signed_by_another_state(world, body):
    signed_again(world, body, "DE")


def number_of_another_node(world, body):
    opening = dict(body["events"][0]["event"]["opening"], number="FR-2026-000001")
    signed_again(world, body, "EE", opening=opening)


def foreign_internal_step(world, body):
    signed_again(world, body, "EE", scope="authority")


def foreign_state_step(world, body):
    signed_again(world, body, "EE", scope="state")


@pytest.mark.parametrize(
    "spoil",
    [
        forged_signature,
        short_signature,
        changed_event,
        signed_by_another_state,
        number_of_another_node,
        foreign_internal_step,
        foreign_state_step,
    ],
)
async def test_events_that_are_refused_leave_nothing(federation, spoil):
    world = federation("EE", "FR")
    _, inbound = await message(world)
    body = body_of(inbound)
    spoil(world, body)
    deliver(world["FR"], with_body(inbound, body))
    assert refused_codes(world["FR"]) in (["peer.nothing-acceptable"], ["peer.bad-payload"])
    assert count(world["FR"], CaseRow) == count(world["FR"], EventRow) == count(world["FR"], PartRow) == 0


@pytest.mark.parametrize(
    "changes",
    [{"surprise": 1}, {"seq": 0}, {"at": "yesterday"}, {"author": "EE"}, {"parts": {"content": "x"}}, {"step": "../x"}],
)
async def test_malformed_events(federation, changes):
    world = federation("EE", "FR")
    _, inbound = await message(world)
    body = body_of(inbound)
    body["events"][0]["event"].update(changes)
    deliver(world["FR"], with_body(inbound, body))
    assert refused_codes(world["FR"]) == ["peer.bad-event"]
    assert count(world["FR"], EventRow) == 0


async def test_an_event_of_another_case_spoils_its_message(federation):
    world = federation("EE", "FR")
    _, inbound = await message(world)
    body = body_of(inbound)
    body["case"] = "0" * 64
    deliver(world["FR"], with_body(inbound, body))
    assert refused_codes(world["FR"]) == ["peer.bad-payload"]


async def test_a_number_cannot_be_taken_twice(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    deliver(world["FR"], inbound)
    body = body_of(inbound)
    signed_again(world, body, "EE", at="2026-11-24T09:00:01.000Z")
    deliver(world["FR"], with_body(inbound, body))
    assert count(world["FR"], CaseRow) == 1
    assert (await world["FR"].case("FR:school", number)).state == "awaiting-acceptance"


async def test_a_step_without_right_is_kept_and_counts_nowhere(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    deliver(world["FR"], inbound)
    before = await world["FR"].case("FR:school", number)
    accept = {
        "step": "accept", "role": "responding", "author": "EE:school", "case": before.case, "opening": None,
        "after": before.timeline[0].event, "seq": 2, "control": {"date": "2027-01-01"}, "parts": {},
        "at": "2026-11-24T09:00:05.000Z", "seen": {"EE:school": 1},
    }  # fmt: skip
    body = body_of(inbound)
    event = {**body["events"][0]["event"], **accept}
    del event["opening"]
    body["events"][0]["event"], body["parts"] = event, []
    signed_again(world, body, "EE")
    deliver(world["FR"], with_body(inbound, body))
    after = await world["FR"].case("FR:school", number)
    assert (after.state, after.version) == (before.state, before.version)
    assert [entry.state for entry in after.timeline] == ["void", "counts"]


async def test_a_part_that_does_not_match_its_event_is_forgotten_and_the_right_one_still_taken(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    body = body_of(inbound)
    spoiled = copy.deepcopy(body)
    spoiled["parts"][0]["content"]["person"]["surname"] = text("Somebody Else")
    deliver(world["FR"], with_body(inbound, spoiled))
    case = await world["FR"].case("FR:school", number)
    assert case.forms == ()
    assert case.timeline[0].forms[0].state == "not-arrived"
    deliver(world["FR"], inbound)
    assert (await world["FR"].case("FR:school", number)).forms


async def test_a_part_that_fits_its_event_but_not_its_form_is_shown_as_faulty(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    body = body_of(inbound)
    content = body["parts"][0]["content"]
    content["person"]["birth-date"] = "31 February"
    salt = bytes.fromhex(body["parts"][0]["salt"])
    signed_again(world, body, "EE", parts={"content": commitment(salt, content)})
    deliver(world["FR"], with_body(inbound, body))
    case = await world["FR"].case("FR:school", number)
    faults = {field.key: field.fault for form in case.forms for field in form.fields if field.fault}
    assert faults == {"birth-date": "malformed"}


async def test_a_file_nobody_names_is_not_kept(federation):
    world = federation("EE", "FR")
    _, inbound = await message(world)
    stray = Part(content=b"stray" * 1000, mime_type="text/plain")
    deliver(world["FR"], replace(inbound, parts=(*inbound.parts, stray)))
    assert world["FR"].casework.tools.files.names() == frozenset()


async def test_an_event_of_an_unknown_procedure_is_held_and_folded_after_the_fetch(federation, catalogue):
    world = federation("EE")
    older = replace(catalogue, procedures={})
    france = world.start("FR", catalogue=older)
    number, inbound = await message(world)
    deliver(france, inbound)
    assert doors(france) == ["unknown-procedure"]
    with pytest.raises(UnknownCase):
        await france.case("FR:school", number)
    assert (await france.casework.cases(france.official("FR:school"))).items == ()
    assert await france.casework.retry_held() == 0
    france.casework.use(catalogue)
    assert await france.casework.retry_held() == 1
    case = await france.case("FR:school", number)
    assert (case.state, bool(case.forms)) == ("awaiting-acceptance", True)
    world.exchange()
    assert (await world["EE"].case("EE:school", number)).timeline[0].received_by == ("FR:school",)


async def test_an_event_of_a_newer_edition_is_held(federation, catalogue):
    world = federation("FR")
    world.start("EE", catalogue=replace(catalogue, edition=7))
    number, inbound = await message(world)
    deliver(world["FR"], inbound)
    assert doors(world["FR"]) == ["unknown-edition"]
    world["FR"].casework.use(replace(catalogue, edition=7))
    assert await world["FR"].casework.retry_held() == 1
    assert (await world["FR"].case("FR:school", number)).forms


async def test_an_author_the_directory_does_not_know_yet_is_held(federation):
    world = federation("EE", "FR")
    world["EE"].directory.publish(NodeId("EE"), [entry("EE:newcomer", "EE", PQ)], world.signing[NodeId("EU")].signer)
    number = await world["EE"].open("EE:newcomer", REQUEST, "send", request_control(), request_content())
    inbound = world.inbound(NodeId("EE"), world.waiting(NodeId("EE"))[0])
    deliver(world["FR"], inbound)
    assert doors(world["FR"]) == ["unknown-authority"]
    world["FR"].directory.publish(NodeId("EE"), [entry("EE:newcomer", "EE", PQ)], world.signing[NodeId("EU")].signer)
    assert await world["FR"].casework.retry_held() == 1
    assert (await world["FR"].case("FR:school", number)).our_turn


async def test_an_author_without_access_to_the_procedure_is_held(federation):
    world = federation("EE", "FR")
    world["EE"].directory.publish(NodeId("EE"), [entry("EE:stranger", "EE", PQ)], world.signing[NodeId("EU")].signer)
    await world["EE"].open("EE:stranger", REQUEST, "send", request_control(), request_content())
    deliver(world["FR"], world.inbound(NodeId("EE"), world.waiting(NodeId("EE"))[0]))
    assert doors(world["FR"]) == ["no-access"]


async def test_a_node_may_not_sign_for_an_authority_of_another_node_of_its_state(federation):
    world = federation("DE", "DE-BY", "FR")
    number = await world["DE-BY"].open("DE:munich", REQUEST, "send", request_control(), request_content())
    inbound = world.inbound(NodeId("DE-BY"), world.waiting(NodeId("DE-BY"))[0])
    body = body_of(inbound)
    opening = dict(body["events"][0]["event"]["opening"], number="DE-2026-000077")
    signed_again(world, body, "DE", opening=opening)
    deliver(world["FR"], with_body(inbound, body))
    assert doors(world["FR"]) == ["other-node"]
    deliver(world["FR"], inbound)
    assert (await world["FR"].case("FR:school", number)).our_turn


async def test_a_certificate_the_trust_list_does_not_know_yet_is_held(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    france = world["FR"]
    all_peers = [signing.peer for signing in world.signing.values()]
    france.peers.replace(trust_list([peer for peer in all_peers if peer.node != "EE"], version=2))
    deliver(france, inbound)
    assert doors(france) == ["unknown-certificate"]
    france.peers.replace(trust_list(all_peers, version=3))
    assert await france.casework.retry_held() == 1
    assert (await france.case("FR:school", number)).our_turn


async def test_what_turns_out_forged_once_the_certificate_is_known_is_dropped(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    france = world["FR"]
    body = body_of(inbound)
    parsed = parse_event(payload.canonical(body["events"][0]["event"]))
    forger = Ed25519PrivateKey.generate()
    body["events"][0]["signature"] = base64.b64encode(forger.sign(signing_input(parsed.id))).decode()
    all_peers = [signing.peer for signing in world.signing.values()]
    france.peers.replace(trust_list([peer for peer in all_peers if peer.node != "EE"], version=2))
    deliver(france, with_body(inbound, body))
    assert doors(france) == ["unknown-certificate"]
    france.peers.replace(trust_list(all_peers, version=3))
    await france.casework.retry_held()
    assert count(france, EventRow) == count(france, PartRow) == 0
    deliver(france, inbound)
    assert (await france.case("FR:school", number)).forms


async def test_an_event_from_the_future_waits_for_its_time(federation):
    world = federation("FR")
    ahead = FakeClock(world.clock.now() + timedelta(hours=2))
    world.start("EE", clock=ahead)
    number, inbound = await message(world)
    deliver(world["FR"], inbound)
    assert doors(world["FR"]) == ["ahead-of-clock"]
    world.clock.advance(hours=3)
    assert await world["FR"].casework.retry_held() == 1
    assert (await world["FR"].case("FR:school", number)).our_turn


async def test_a_step_that_comes_before_what_it_counts_on_waits(federation):
    world = federation("EE", "FR", "DE", "DE-BY", "EU")
    number = await world["EE"].open(
        "EE:coordinator",
        ALERT,
        "broadcast-directly",
        {"to": ["DE:alerts", "FR:alerts"], "establishment": "FR:alerts"},
        danger(),
    )
    world.down = {"DE"}
    world.exchange()
    await world["FR"].step("FR:alerts", number, "add-information", {}, {"info": {"text": text("First.")}})
    world.exchange()
    world.down = {"EE"}
    world.exchange()
    # Germany holds France's step, and nothing it rests on.
    with pytest.raises(UnknownCase):
        await world["DE"].case("DE:alerts", number)
    world.down = set()
    world.exchange()
    case = await world["DE"].case("DE:alerts", number)
    assert [entry.step for entry in case.timeline] == ["add-information", "broadcast-directly"]
    assert all(form.state == "readable" for e in case.timeline for form in e.forms if form.audience == "content")
    assert not case.waiting_for_data


async def test_a_repeated_message_changes_nothing(federation):
    world = federation("EE", "FR")
    number, inbound = await message(world)
    deliver(world["FR"], inbound)
    before = count(world["FR"], EventRow), await world["FR"].case("FR:school", number)
    deliver(world["FR"], inbound)
    deliver(world["FR"], replace(inbound, message_id=MessageId("again@test")))
    after = count(world["FR"], EventRow), await world["FR"].case("FR:school", number)
    assert before == after


async def test_every_act_and_every_reading_of_personal_data_is_audited(federation):
    world = federation("EE", "FR")
    file = await world["EE"].attach("EE:school", b"data")
    content = request_content(attachment=file.document())
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), content)
    world.exchange()
    case = await world["FR"].case("FR:school", number)
    await world["FR"].casework.fetch_file(world["FR"].official("FR:school"), number, file.sha256)
    await world["FR"].step("FR:school", number, "accept", {"date": "2026-12-15"})

    def trail(node):
        return [(e.act, e.subject.split(" ")[0], e.login) for e in node.database.run(audit.entries_of, case.case)]

    user = "user.fr:school"
    send = case.timeline[0].event
    assert trail(world["FR"]) == [
        ("step-arrived", "send", ""),
        ("read", f"{send}/content", user),
        ("read-file", file.sha256, user),
        ("step", "accept", user),
    ]
    assert trail(world["EE"])[0] == ("step", "send", "user.ee:school")


async def test_a_restored_node_takes_back_its_own_steps_from_a_peer(federation, tmp_path):
    world = federation("EE", "FR")
    number = await world["EE"].open("EE:school", REQUEST, "send", request_control(), request_content())
    row = world.waiting(NodeId("EE"))[0]
    inbound = world.inbound(NodeId("EE"), row)
    world.exchange()
    # The same node from an empty backup: what it once signed comes back to it signed.
    world["EE"].database.close()
    (world["EE"].folder / "node.db").unlink()
    for suffix in ("-wal", "-shm"):
        (world["EE"].folder / f"node.db{suffix}").unlink(missing_ok=True)
    world["EE"].directory.close()
    restored = world.start("EE")
    deliver(restored, replace(inbound, sender=NodeId("FR")))
    assert (await restored.case("EE:school", number)).state == "awaiting-acceptance"
