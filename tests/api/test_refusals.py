"""What the API turns down: each with a stable code, a clear sentence, nothing stored."""

from __future__ import annotations

import io
import json

import pytest
from casework_federation import REQUEST, request_content, request_control, text

BIG = 3 * 1024 * 1024


def asked(**more):
    return {"procedure": REQUEST, "step": "send", "control": request_control(), "content": request_content(), **more}


async def refused(door, method, path, **more):
    status, problem = await door(method, path, **more)
    assert door.headers["Content-Type"].startswith("application/problem+json")
    assert problem["status"] == status
    assert problem["type"] == f"urn:imi:problem:{problem['code']}"
    assert problem["detail"]
    return status, problem["code"]


@pytest.mark.parametrize("header", ["", "Basic eDp5", "Bearer ", "Bearer imi_0", "Bearer " + "x" * 10_000 * 0 + "é"])
async def test_without_a_valid_token_there_is_nothing(door, header):
    estonia = await door("EE", "EE:school")
    estonia.token = ""
    async with estonia.client.get("/api/v1/cases", headers={"Authorization": header} if header else {}) as answer:
        assert answer.status == 401
        assert (await answer.json(content_type=None))["code"] == "refused.bad-token"
        assert "WWW-Authenticate" in answer.headers


async def test_a_token_ends(door):
    estonia = await door("EE", "EE:school")
    door.world.clock.advance(days=366)
    assert await refused(estonia, "GET", "/cases") == (401, "refused.bad-token")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "refused.bad-request"),
        (b"{", "refused.bad-request"),
        (b"[]", "refused.bad-request"),
        (b'{"procedure": 1}', "refused.bad-request"),
        (b'{"procedure": "x/y", "surprise": 1}', "refused.bad-request"),
        (b'{"procedure": "x/y", "content": "text"}', "refused.bad-request"),
        (b"\xff\xfe", "refused.bad-request"),
        (b"[" * 100_000, "refused.bad-request"),
        (b'{"procedure":"x/y","content":{"a":{"b":' + b"[" * 5000 + b"]" * 5000 + b"}}}", "refused.bad-request"),
        (b'{"procedure": "no/such"}', "refused.unknown-procedure"),
    ],
)
async def test_bodies_that_are_no_request(door, body, code):
    estonia = await door("EE", "EE:school")
    found = await refused(estonia, "POST", "/cases", data=body, headers={"Content-Type": "application/json"})
    assert found[1] == code
    assert (await estonia("GET", "/cases"))[1]["cases"] == []


async def test_a_body_that_is_not_json_by_its_type(door):
    estonia = await door("EE", "EE:school")
    headers = {"Content-Type": "text/plain"}
    assert await refused(estonia, "POST", "/cases", data=b"{}", headers=headers) == (400, "refused.bad-request")


async def test_huge_bodies(door):
    estonia = await door("EE", "EE:school")
    headers = {"Content-Type": "application/json"}
    body = json.dumps(asked(content={"person": {"surname": text("x" * BIG)}})).encode()
    assert await refused(estonia, "POST", "/cases", data=io.BytesIO(body), headers=headers) == (
        413,
        "refused.too-much-content",
    )
    big = json.dumps(asked(content={"person": {f"f{n}": text("x" * 19_000) for n in range(60)}})).encode()
    assert await refused(estonia, "POST", "/cases", data=io.BytesIO(big), headers=headers) == (
        413,
        "refused.too-much-content",
    )


async def test_huge_files(door):
    estonia = await door("EE", "EE:school")

    async def endless():
        for _ in range(400):
            yield b"x" * 65536

    found = await refused(estonia, "POST", "/files?name=a.bin", data=endless())
    assert found == (413, "refused.file-too-large")
    files = door.world["EE"].casework.tools.files
    assert files.names() == frozenset()
    assert list((door.world["EE"].folder / "files").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b.pdf", "a\\b.pdf", "..", "", "a\x00b", "x" * 300, "a\nb", "\u202efdp.exe"]
)
async def test_file_names_with_paths_or_controls(door, name):
    estonia = await door("EE", "EE:school")
    found = await refused(estonia, "POST", "/files", params={"name": name}, data=b"data")
    assert found == (422, "refused.bad-file-name")


async def test_file_types_and_languages(door):
    estonia = await door("EE", "EE:school")
    headers = {"Content-Type": "html; <script>"}
    assert (await refused(estonia, "POST", "/files?name=a", data=b"x", headers=headers))[1] == "refused.bad-file-type"
    assert (await refused(estonia, "POST", "/files?name=a&lang=xx", data=b"x"))[1] == "refused.unknown-language"


@pytest.mark.parametrize("lang", ["xx", "EN", "e", "english", "../"])
async def test_wrong_language_codes(door, lang):
    estonia = await door("EE", "EE:school")
    found = await refused(estonia, "POST", "/cases", json=asked(lang=lang))
    assert found == (422, "refused.unknown-language")
    content = request_content()
    content["person"]["surname"] = {"text": "Name", "lang": lang}
    assert (await refused(estonia, "POST", "/cases", json=asked(content=content)))[1] == "refused.unknown-language"


@pytest.mark.parametrize("path", ["/cases/XX", "/cases/EE-2026-1", "/cases/EE-2026-000001%2F.."])
async def test_case_numbers_that_are_none(door, path):
    estonia = await door("EE", "EE:school")
    status, code = await refused(estonia, "GET", path)
    assert (status, code) in [(400, "refused.bad-identifier"), (404, "refused.unknown-path")]


async def test_unknown_paths_and_methods(door):
    estonia = await door("EE", "EE:school")
    assert await refused(estonia, "GET", "/nothing") == (404, "refused.unknown-path")
    assert await refused(estonia, "DELETE", "/cases") == (405, "refused.method")
    assert await refused(estonia, "GET", "/cases?surprise=1") == (400, "refused.bad-request")
    assert await refused(estonia, "GET", "/cases?limit=many") == (400, "refused.bad-request")
    assert await refused(estonia, "GET", "/authorities/EE:nobody") == (404, "refused.unknown-authority")
    assert await refused(estonia, "GET", "/authorities/nobody") == (400, "refused.bad-identifier")
    assert await refused(estonia, "GET", "/authorities?state=Estonia") == (400, "refused.bad-identifier")


async def test_steps_that_are_not_allowed(door):
    estonia, france = await door("EE", "EE:school"), await door("FR", "FR:school")
    number = (await estonia("POST", "/cases", json=asked()))[1]["number"]
    door.world.exchange()
    path = f"/cases/{number}/steps"
    assert await refused(estonia, "POST", f"{path}/accept", json={}) == (409, "refused.step-not-allowed")
    assert await refused(france, "POST", f"{path}/answer", json={}) == (409, "refused.step-not-allowed")
    assert await refused(france, "POST", f"{path}/no-such-step", json={}) == (409, "refused.step-not-allowed")
    assert await refused(france, "POST", f"{path}/received", json={}) == (409, "refused.step-not-allowed")
    assert await refused(france, "POST", f"{path}/accept", json={}) == (422, "refused.invalid-control")
    stale = {"control": {"date": "2026-12-15"}, "expected": "an older one"}
    assert await refused(france, "POST", f"{path}/accept", json=stale) == (412, "refused.stale-form")
    assert await refused(france, "POST", "/cases/FR-2026-000009/steps/accept", json={}) == (404, "refused.unknown-case")


async def test_another_authoritys_case_looks_like_none(door):
    estonia, stranger = await door("EE", "EE:school"), await door("EE", "EE:coordinator")
    number = (await estonia("POST", "/cases", json=asked()))[1]["number"]
    assert await refused(stranger, "GET", f"/cases/{number}") == (404, "refused.unknown-case")
    assert await refused(stranger, "GET", f"/cases/{number}/events") == (404, "refused.unknown-case")
    assert await refused(stranger, "GET", "/cases/EE-2026-999999") == (404, "refused.unknown-case")


async def test_a_user_without_a_reading_role_sees_the_directory_only(door):
    basic = await door("EE", "EE:school", roles=("local-administrator",))
    assert await refused(basic, "GET", "/cases") == (403, "refused.no-access")
    assert await refused(basic, "GET", "/work") == (403, "refused.no-access")
    assert await refused(basic, "POST", "/files?name=a", data=b"x") == (403, "refused.no-access")
    assert (await basic("GET", "/authorities?q=school"))[0] == 200


async def test_a_supervisor_reads_and_changes_nothing(door):
    estonia = await door("EE", "EE:school")
    number = (await estonia("POST", "/cases", json=asked()))[1]["number"]
    supervisor = await door("EE", "EE:coordinator", roles=("supervisor",))
    assert (await supervisor("GET", "/cases"))[0] == 200
    assert await refused(supervisor, "POST", "/cases", json=asked()) == (409, "refused.step-not-allowed")
    assert number


async def test_content_that_does_not_fit_is_named_field_by_field_without_values(door):
    estonia = await door("EE", "EE:school")
    content = request_content()
    content["person"]["birth-date"] = "CANARY-VALUE"
    del content["person"]["surname"]
    content["person"]["surprise"] = "x"
    status, problem = await estonia("POST", "/cases", json=asked(content=content))
    assert (status, problem["code"]) == (422, "refused.invalid-content")
    assert {(f["field"], f["code"]) for f in problem["faults"]} == {
        ("birth-date", "malformed"),
        ("surname", "missing"),
        ("surprise", "unknown-field"),
    }
    assert "CANARY" not in json.dumps(problem)


async def test_recipients(door):
    estonia = await door("EE", "EE:school")
    for to, code in (
        ("FR:nobody", "refused.recipient-without-access"),
        ("EE:coordinator", "refused.invalid-control"),
        ("FR:alerts", "refused.recipient-without-access"),
        ("not an authority", "refused.recipient-without-access"),
    ):
        found = await refused(estonia, "POST", "/cases", json=asked(control=request_control(to=to)))
        assert found == (422, code)


async def test_documents_that_were_not_uploaded(door):
    estonia = await door("EE", "EE:school")
    document = {"sha256": "a" * 64, "size": 1, "name": "x.pdf", "type": "application/pdf", "lang": "et"}
    found = await refused(estonia, "POST", "/cases", json=asked(content=request_content(attachment=document)))
    assert found == (404, "refused.unknown-file")
    for sha256 in ("a" * 64, "..%2F..%2Fnode.db", "A" * 64):
        number = (await estonia("POST", "/cases", json=asked()))[1]["number"]
        assert (await refused(estonia, "GET", f"/cases/{number}/files/{sha256}"))[0] == 404


async def test_a_user_of_an_authority_that_moved_to_another_node_acts_no_more(door):
    astray = await door("EE", "FR:school")
    assert await refused(astray, "POST", "/cases", json=asked()) == (403, "refused.no-access")
