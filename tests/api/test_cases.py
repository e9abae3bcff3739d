"""The API as a national case system uses it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from casework_federation import PQ, REQUEST, entry, request_content, request_control, text


def asked(**more):
    return {"procedure": REQUEST, "step": "send", "control": request_control(), "content": request_content(), **more}


async def test_a_request_is_sent_answered_and_read_in_the_readers_language(door):
    estonia, france = await door("EE", "EE:school"), await door("FR", "FR:school")
    status, made = await estonia("POST", "/cases", json=asked())
    assert (status, made) == (201, {"number": "EE-2026-000001", "draft": False})
    number = made["number"]
    door.world.exchange()
    status, case = await france("GET", f"/cases/{number}", headers={"Accept-Language": "fr"})
    assert status == 200
    assert case["state"] == "awaiting-acceptance"
    assert "accept" in {offer["step"] for offer in case["offers"]}
    assert all(question["text"] and not question["text"].startswith("question.") for question in case["questions"])
    status, taken = await france(
        "POST", f"/cases/{number}/steps/accept", json={"control": {"date": "2026-12-15"}, "expected": case["version"]}
    )
    assert (status, taken["state"]) == (200, "accepted")
    answers = {
        "Q2": {"yes-no-unknown": "no"},
        "Q3": {"yes-no-unknown": "yes", "comment": text("Au registre.", "fr")},
    }
    status, taken = await france(
        "POST",
        f"/cases/{number}/steps/answer",
        json={"control": {"questions": ["Q2", "Q3"]}, "content": {"answers": answers}},
    )
    assert (status, taken["state"]) == (200, "answered")
    door.world.exchange()
    status, ours = await estonia("GET", f"/cases/{number}", headers={"Accept-Language": "fr-BE,fr;q=0.9"})
    question = next(q for q in ours["questions"] if q["key"] == "Q3")
    assert question["answer"] == {"values": {"yes-no-unknown": "yes"}, "text": "Oui", "cannot_say": None}
    assert question["comment"] == text("Au registre.", "fr")
    theirs = (await france("GET", f"/cases/{number}"))[1]
    assert ours["due"] == theirs["due"]
    assert {form["form"] for form in theirs["forms"]} >= {"person", "profession"}


async def test_a_file_goes_up_and_comes_down_unchanged(door):
    estonia, france = await door("EE", "EE:school"), await door("FR", "FR:school")
    data = os.urandom(300_000)
    status, document = await estonia(
        "POST", "/files?name=scan.pdf&lang=ro", data=data, headers={"Content-Type": "application/pdf"}
    )
    assert status == 201
    assert document == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "name": "scan.pdf",
        "type": "application/pdf",
        "lang": "ro",
    }
    _, made = await estonia("POST", "/cases", json=asked(content=request_content(attachment=document)))
    door.world.exchange()
    status, found = await france("GET", f"/cases/{made['number']}/files/{document['sha256']}")
    assert (status, found) == (200, data)
    assert france.headers["Content-Disposition"] == "attachment; filename*=UTF-8''scan.pdf"
    assert france.headers["Content-Type"] == "application/octet-stream"


async def test_a_repeated_post_happens_once(door):
    estonia = await door("EE", "EE:school")
    key = {"Idempotency-Key": "once-1"}
    first = await estonia("POST", "/cases", json=asked(), headers=key)
    again = await estonia("POST", "/cases", json=asked(), headers=key)
    assert first == again
    assert len((await estonia("GET", "/cases"))[1]["cases"]) == 1
    status, problem = await estonia("POST", "/cases", json=asked(lang="et"), headers=key)
    assert (status, problem["code"]) == (409, "refused.repeated-key-differs")


async def test_cases_come_in_pages(door):
    estonia = await door("EE", "EE:school")
    numbers = []
    for _ in range(5):
        door.world.clock.advance(seconds=1)
        numbers.append((await estonia("POST", "/cases", json=asked()))[1]["number"])
    seen, after = [], ""
    while True:
        _, page = await estonia("GET", "/cases", params={"limit": 2, "after": after})
        seen += [case["number"] for case in page["cases"]]
        after = page["more"]
        if not after:
            break
    assert seen == numbers[::-1]


async def test_events_are_given_as_they_were_signed(door):
    estonia = await door("EE", "EE:school")
    _, made = await estonia("POST", "/cases", json=asked())
    _, found = await estonia("GET", f"/cases/{made['number']}/events")
    (event,) = found["events"]
    import base64

    import rfc8785
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    assert hashlib.sha256(rfc8785.dumps(event["event"])).hexdigest() == event["id"]
    certificate = door.world.signing["EE"].signer.certificate
    key = certificate.public_key()
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(event["signature"]), b"imi-event/1\n" + event["id"].encode())


async def test_authorities_procedures_work_and_drafts(door):
    estonia = await door("EE", "EE:school")
    _, found = await estonia("GET", "/authorities", params={"q": "school", "state": "FR"})
    assert [a["id"] for a in found["authorities"]] == ["FR:school"]
    assert (await estonia("GET", "/authorities/FR:school"))[1]["roles"] == {"professional-qualifications": ["ca"]}
    _, procedures = await estonia("GET", "/procedures")
    assert [p["id"] for p in procedures["procedures"]] == [REQUEST]
    assert [offer["step"] for offer in procedures["procedures"][0]["offers"]] == ["send"]
    _, made = await estonia("POST", "/cases", json={"procedure": REQUEST})
    assert made["draft"]
    path = f"/cases/{made['number']}"
    _, draft = await estonia("PUT", f"{path}/draft", json={"content": request_content()})
    assert (await estonia("GET", f"{path}/draft"))[1]["content"] == draft["content"]
    assert (await estonia("GET", "/work"))[1]["counters"]["drafts"] == 1
    status, taken = await estonia(
        "POST", f"{path}/steps/send", json={"control": request_control(), "content": request_content()}
    )
    assert (status, taken["number"]) == (200, made["number"])
    assert (await estonia("GET", "/drafts"))[1] == {"drafts": []}
    _, other = await estonia("POST", "/cases", json={"procedure": REQUEST})
    assert (await estonia("DELETE", f"/cases/{other['number']}/draft"))[0] == 204
    assert (await estonia("GET", "/work"))[1]["waiting"][0]["number"] == made["number"]


async def test_a_national_system_acts_for_the_bodies_its_authority_represents(door):
    coordinator, france = await door("EE", "EE:coordinator"), await door("FR", "FR:school")
    bodies = [replace(entry(name, "EE", PQ), represented_by="EE:coordinator") for name in ("EE:town", "EE:village")]
    for node in door.world.nodes.values():
        node.directory.publish("EE", bodies, door.world.signing["EU"].signer)
    status, acted_for = await coordinator("GET", "/acted-for")
    assert (status, acted_for) == (200, {"authorities": ["EE:coordinator", "EE:town", "EE:village"]})
    offered = (await coordinator("GET", "/procedures"))[1]["procedures"]
    assert {p["id"]: p["authorities"] for p in offered}[REQUEST] == ["EE:town", "EE:village"]
    status, problem = await coordinator("POST", "/cases", json=asked())
    assert (status, problem["code"]) == (422, "refused.authority-not-chosen")
    status, problem = await coordinator("POST", "/cases?for=EE:school", json=asked())
    assert (status, problem["code"]) == (403, "refused.no-access")
    key = {"Idempotency-Key": "once"}
    status, made = await coordinator("POST", "/cases?for=EE:village", json=asked(), headers=key)
    assert status == 201
    number = made["number"]
    status, problem = await coordinator("POST", "/cases?for=EE:town", json=asked(), headers=key)
    assert problem["code"] == "refused.repeated-key-differs"
    door.world.exchange()
    theirs = (await france("GET", f"/cases/{number}"))[1]
    village = next(party for party in theirs["parties"] if party["authority"] == "EE:village")
    assert (village["roles"], village["handled_by"], village["handled_by_name"]) == (
        ["requesting"], "EE:coordinator", "Ee Coordinator",
    )  # fmt: skip
    item = (await coordinator("GET", "/work"))[1]["waiting"][0]
    assert (item["number"], item["authority"], item["authority_name"]) == (number, "EE:village", "Ee Village")
    assert (await coordinator("GET", "/cases?for=EE:town"))[1]["cases"] == []
    assert (await coordinator("GET", "/cases?for=EE:village"))[1]["cases"] == [item]
    status, problem = await coordinator("GET", f"/cases/{number}?for=EE:town")
    assert (status, problem["code"]) == (404, "refused.unknown-case")
    status, case = await coordinator("GET", f"/cases/{number}")
    assert (case["authority"], case["authorities"], case["our_roles"]) == ("EE:village", ["EE:village"], ["requesting"])
    message = {"content": {"message": {"text": text("One thing more.")}}}
    status, taken = await coordinator("POST", f"/cases/{number}/steps/message", json=message)
    assert (status, taken["version"]) == (200, (await coordinator("GET", f"/cases/{number}"))[1]["version"])
