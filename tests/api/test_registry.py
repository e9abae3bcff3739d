"""Who takes part, by REST: the same acts as the pages."""

from __future__ import annotations

PQ = "professional-qualifications"
PROFILE = {
    "names": {"et": "Tartu Kutsekool"},
    "level": "local",
    "languages": ["et", "en"],
    "city": "Tartu",
    "email": "info@example.ee",
}
FIRST = {"login": "tiiu", "name": "Tiiu Näidis", "password": "a long password", "language": "et"}
DATA = ("data-administrator", "local-administrator")


async def test_a_coordinator_invites_registers_and_decides(door):
    office = await door("EE", "EE:coordinator", roles=DATA)
    status, made = await office("POST", "/invitations", json={"name": "Tartu Kutsekool", "scopes": [PQ]})
    assert (status, len(made["code"]) > 20) == (201, True)
    status, listed = await office("GET", "/registrations")
    assert [(one["id"], one["state"]) for one in listed["registrations"]] == [(made["id"], "invited")]
    status, problem = await office("POST", f"/registrations/{made['id']}/validate", json={"access": {}})
    assert (status, problem["code"]) == (409, "refused.already-decided")
    assert (await office("DELETE", f"/invitations/{made['id']}"))[0] == 204
    assert (await office("GET", f"/registrations/{made['id']}"))[1]["state"] == "withdrawn"
    status, problem = await office("GET", "/registrations/999")
    assert (status, problem["code"]) == (404, "refused.unknown-registration")

    asked = {"profile": PROFILE, "access": {PQ: ["ca"]}, "first_user": FIRST}
    status, made = await office("POST", "/registrations", json=asked)
    assert status == 201
    status, found = await office("GET", f"/authorities/{made['authority']}")
    assert (found["name"], found["roles"]) == ("Tartu Kutsekool", {PQ: ["ca"]})
    status, found = await office(
        "POST", f"/authorities/{made['authority']}/suspend", json={"reason": "Nobody answers."}
    )
    assert (status, found["status"], found["decisions"][0]["reason"]) == (200, "suspended", "Nobody answers.")
    status, found = await office("POST", f"/authorities/{made['authority']}/lift")
    assert found["status"] == "active"
    assert (await office("POST", f"/authorities/{made['authority']}/leave", json={"reason": "Merged."}))[0] == 204
    status, found = await office("GET", f"/coordination/{made['authority']}")
    assert (found["status"], found["represented_by"]) == ("left", "EE:coordinator")


async def test_faults_of_a_profile_are_named_by_field(door):
    office = await door("EE", "EE:coordinator", roles=DATA)
    bad = {**PROFILE, "level": "galactic", "email": ""}
    status, problem = await office("POST", "/registrations", json={"profile": bad})
    assert (status, problem["code"]) == (422, "refused.invalid-profile")
    assert {(one["field"], one["code"]) for one in problem["faults"]} == {("level", "choice"), ("email", "missing")}


async def test_an_authority_keeps_its_data_asks_for_access_and_looks_after_its_users(door):
    coordinator = await door("EE", "EE:coordinator", roles=DATA)
    status, made = await coordinator("POST", "/registrations", json={"profile": PROFILE, "access": {PQ: ["ca"]}})
    authority = made["authority"]
    office = await door("EE", authority, roles=("local-administrator", "handler"))
    path = f"/authorities/{authority}"
    status, found = await office("PUT", f"{path}/profile", json={**PROFILE, "city": "Elva"})
    assert (status, found["profile"]["city"], found["publishing"]) == (200, "Elva", False)
    status, found = await office("PUT", f"{path}/settings", json={"scope": PQ, "settings": {"approve-requests": "yes"}})
    assert found["settings"] == {PQ: {"approve-requests": "yes"}}
    links = [{"coordinator": "EE:coordinator", "function": "validating"}]
    status, problem = await office("PUT", f"{path}/coordinators", json={"coordinators": links})
    assert (status, problem["code"], problem["details"]["areas"]) == (422, "refused.no-request-coordinator", PQ)
    status, found = await office("POST", f"{path}/review")
    assert not found["review_due"]

    status, asked = await office("POST", "/access-requests", json={"scope": "services", "roles": ["alert-authority"]})
    assert status == 201
    status, waiting = await coordinator("GET", "/access-requests")
    assert [one["id"] for one in waiting["requests"]] == [asked["id"]]
    granted = await coordinator("POST", f"/access-requests/{asked['id']}/grant", json={"roles": ["alert-authority"]})
    assert granted[0] == 204
    status, found = await office("GET", "/authority")
    assert found["roles"]["services"] == ["alert-authority"]
    status, problem = await office("POST", f"{path}/withdraw-access", json={"scope": "services", "reason": "No."})
    assert (status, problem["code"]) == (403, "refused.not-administrator")

    user = {"login": "jaan", "name": "Jaan Näidis", "roles": ["handler"]}
    status, added = await office("POST", "/users", json=user)
    assert (status, added["user"]["roles"]) == (201, ["handler"])
    number = added["user"]["id"]
    status, changed = await office("PUT", f"/users/{number}", json={"name": "Jaan N.", "roles": ["supervisor"]})
    assert changed["name"] == "Jaan N."
    assert (await office("POST", f"/users/{number}/reset-password"))[1]["code"] != added["code"]
    assert (await office("DELETE", f"/users/{number}"))[0] == 204
    assert number not in [one["id"] for one in (await office("GET", "/users"))[1]["users"]]
    status, problem = await office("PUT", "/users/x", json={"name": "x", "roles": []})
    assert (status, problem["code"]) == (400, "refused.bad-request")


async def test_others_change_nothing(door):
    office = await door("EE", "EE:school", roles=("handler",))
    for method, path, body in (
        ("POST", "/invitations", {"name": "X"}),
        ("GET", "/registrations", None),
        ("PUT", "/authorities/EE:school/profile", PROFILE),
        ("POST", "/authorities/EE:coordinator/suspend", {"reason": "x"}),
        ("POST", "/users", {"login": "x", "name": "X", "roles": []}),
    ):
        more = {"json": body} if body is not None else {}
        assert (await office(method, path, **more))[0] == 403, path
