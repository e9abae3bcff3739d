"""Registering, deciding and keeping an authority by its pages, without script."""

from __future__ import annotations

import re
from typing import Any

import pytest
from casework_federation import REQUEST, request_content, request_control

PQ = "professional-qualifications"
FORM = {
    "name.et": "Tartu Kutsekool",
    "informal.en": "Tartu vocational school",
    "level": "local",
    "city": "Tartu",
    "email": "info@example.ee",
    "language.1": "et",
    "language.2": "en",
    "access": f"{PQ} ca",
    "login": "tiiu",
    "user_name": "Tiiu Näidis",
    "password": "a long password",
}
DATA = ("data-administrator", "local-administrator")


async def coordinator(open_browser: Any) -> Any:
    browser = await open_browser("EE", "EE:coordinator", roles=DATA)
    await browser.sign_in()
    return browser


async def invited(browser: Any) -> str:
    """The path of a fresh invitation's link, as shown once."""
    page = await browser.get("/coordination/invite")
    done = await browser.send(page, "/coordination/invite", {"name": "Tartu Kutsekool", "scopes": PQ, "language": "et"})
    shown = await browser.get(done.headers["Location"])
    link = re.search(r"http://[^<\s]+(/register/[^<\s]+)", shown.text)
    assert link
    assert "/register/" not in (await browser.get(done.headers["Location"])).text
    return link[1]


async def registered(browser: Any) -> str:
    """A validated authority; the path of its page for the coordinator."""
    link = await invited(browser)
    await browser.send(await browser.get(link), link, FORM)
    page = await browser.get("/coordination/registrations/1")
    await browser.send(page, "/coordination/registrations/1/validate", {"access": f"{PQ} ca"})
    page = await browser.get("/coordination/registrations/1")
    found = re.search(r"/coordination/authorities/(EE:[0-9a-f]+)", page.text)
    assert found
    return found[0]


@pytest.fixture
async def other(aiohttp_client: Any) -> Any:
    """Another browser at the same node."""

    async def start(browser: Any) -> Any:
        from dataclasses import replace

        return replace(browser, client=await aiohttp_client(browser.client.server))

    return start


async def test_from_invitation_to_signing_in(open_browser: Any, other: Any) -> None:
    browser = await coordinator(open_browser)
    link = await invited(browser)
    guest = await other(browser)
    page = await guest.get(link)
    assert "You were invited by Ee Coordinator" in page.says
    assert page.tree.xpath('//input[@name="name.et"]/@value') == ["Tartu Kutsekool"]
    done = await guest.send(page, link, FORM)
    assert (done.status, done.headers["Location"]) == (303, f"{link}?done=registered")
    assert (await guest.get(link)).h1 == "To validate"

    assert "Tartu Kutsekool" in (await browser.get("/coordination")).says
    page = await browser.get("/coordination/registrations/1")
    assert "Tiiu Näidis" in page.says
    done = await browser.send(page, "/coordination/registrations/1/validate", {"access": f"{PQ} ca"})
    assert done.status == 303
    assert (await guest.get(link)).h1 == "Registered"
    await guest.sign_in("tiiu", "a long password")
    page = await guest.get("/our-authority")
    assert "Tartu vocational school" in page.says
    assert "Local data administrator" in page.says


async def test_what_was_typed_stays_and_errors_stand_beside_fields(open_browser: Any) -> None:
    browser = await coordinator(open_browser)
    link = await invited(browser)
    page = await browser.send(await browser.get(link), link, {**FORM, "city": "", "email": "nobody", "level": ""})
    assert page.status == 422
    assert page.tree.findtext(".//title").startswith("Error:")
    assert page.tree.xpath('//input[@name="name.et"]/@value') == ["Tartu Kutsekool"]
    assert page.tree.xpath('//*[@aria-invalid="true"]/@name') == ["level", "city", "email"]
    assert page.tree.xpath(f'//input[@value="{PQ} ca"]/@checked')
    short = await browser.send(page, link, {**FORM, "password": "short"})
    assert short.tree.xpath('//*[@aria-invalid="true"]/@name') == ["password"]
    assert "a long password" not in page.text


async def test_faults_name_fields_and_areas_in_words(open_browser: Any) -> None:
    browser = await coordinator(open_browser)
    link = await invited(browser)
    refused = await browser.send(await browser.get(link), link, {**FORM, "professions": "wizard"})
    assert refused.status == 422
    assert "registry." not in refused.says
    assert "Professions: choose" in refused.says
    await browser.send(await browser.get(link), link, FORM)
    page = await browser.get("/coordination/registrations/1")
    await browser.send(page, "/coordination/registrations/1/validate", {"access": f"{PQ} ca"})
    page = await browser.get("/coordination/registrations/1")
    path = re.search(r"/coordination/authorities/EE:[0-9a-f]+", page.text)[0]  # type: ignore[index]
    page = await browser.get(f"{path}/procedures")
    refused = await browser.send(
        page, f"{path}/coordinators", {"coordinator.0": "EE:coordinator", "function.0": "alert"}
    )
    assert refused.status == 422
    assert "for: Professional qualifications" in refused.says


async def test_a_reason_that_was_typed_stays_when_access_cannot_be_withdrawn(open_browser: Any) -> None:
    browser = await coordinator(open_browser)
    path = await registered(browser)
    authority = path.rpartition("/")[2]
    await browser.world["EE"].open(authority, REQUEST, "send", request_control(), request_content())
    page = await browser.get(path)
    typed = {"scope": PQ, "withdraw_reason": "A long reason, thought over."}
    refused = await browser.send(page, f"{path}/withdraw-access", typed)
    assert refused.status == 422
    assert refused.tree.xpath('string(//textarea[@name="withdraw_reason"])').strip() == "A long reason, thought over."


async def test_the_authority_itself_reads_why_it_was_suspended(open_browser: Any, other: Any) -> None:
    browser = await coordinator(open_browser)
    path = await registered(browser)
    await browser.send(await browser.get(path), f"{path}/suspend", {"reason": "Nobody answers."})
    office = await other(browser)
    await office.sign_in("tiiu", "a long password")
    assert "Suspended – Nobody answers." in (await office.get("/our-authority")).says


async def test_is_it_one_of_these(open_browser: Any) -> None:
    browser = await coordinator(open_browser)
    await registered(browser)
    link = await invited(browser)
    again = {**FORM, "login": "second", "name.et": "Kutsekool Tartu"}
    page = await browser.send(await browser.get(link), link, again)
    assert "Is it one of these?" in page.says
    assert page.tree.xpath('//input[@name="city"]/@value') == ["Tartu"]
    done = await browser.send(page, link, {**again, "distinct": "yes"})
    assert done.status == 303


async def test_a_rejection_is_read_at_the_link(open_browser: Any) -> None:
    browser = await coordinator(open_browser)
    link = await invited(browser)
    await browser.send(await browser.get(link), link, FORM)
    page = await browser.get("/coordination/registrations/1")
    refused = await browser.send(page, "/coordination/registrations/1/reject", {"reason": ""})
    assert (refused.status, refused.tree.xpath('//*[@aria-invalid="true"]/@name')) == (422, ["reason"])
    await browser.send(page, "/coordination/registrations/1/reject", {"reason": "There is one already."})
    assert "There is one already." in (await browser.get(link)).says


async def test_wrong_links_show_nothing_and_are_throttled(open_browser: Any) -> None:
    browser = await open_browser()
    for path in ("/register/nonsense", "/set-password/nonsense"):
        assert (await browser.get(path)).status == 404
    for _ in range(20):
        await browser.get("/register/guess")
    page = await browser.get("/register/guess")
    assert (page.status, int(page.headers["Retry-After"]) > 0) == (429, True)


async def test_coordination_is_for_data_administrators(open_browser: Any) -> None:
    browser = await open_browser("EE", "EE:school", roles=("handler",))
    page = await browser.sign_in()
    page = await browser.get("/our-authority")
    assert "Coordination" not in page.says
    for path in (
        "/coordination",
        "/coordination/invite",
        "/coordination/register",
        "/coordination/authorities/EE:school",
    ):
        assert (await browser.get(path)).status == 403
    refused = await browser.send(page, "/our-authority/review", {})
    assert refused.status == 403


async def test_users_are_registered_with_a_link_shown_once(open_browser: Any, other: Any) -> None:
    browser = await open_browser("EE", "EE:school", roles=("local-administrator",))
    await browser.sign_in()
    page = await browser.get("/our-authority/users")
    done = await browser.send(
        page, "/our-authority/users", {"login": "jaan", "name": "Jaan Näidis", "language": "et", "roles": "handler"}
    )
    shown = await browser.get(done.headers["Location"])
    link = re.search(r"http://[^<\s]+(/set-password/[^<\s]+)", shown.text)[1]  # type: ignore[index]
    assert link not in (await browser.get(done.headers["Location"])).text
    guest = await other(browser)
    page = await guest.get(link)
    refused = await guest.send(page, link, {"password": "short"})
    assert refused.status == 422
    done = await guest.send(page, link, {"password": "a long password"})
    assert (done.status, done.headers["Location"]) == (303, "/sign-in?done=password-set")
    assert (await guest.get(link)).status == 404
    assert (await guest.sign_in("jaan", "a long password")).headers["Location"] == "/authorities"

    user = re.search(r"/our-authority/users/(\d+)\?", shown.text or "") or re.search(r"/users/(\d+)/close", shown.text)
    assert user
    path = f"/our-authority/users/{user[1]}"
    page = await browser.get(path)
    await browser.send(page, path, {"name": "Jaan N.", "roles": "supervisor"})
    assert "Jaan N." in (await browser.get("/our-authority/users")).says
    await browser.send(page, f"{path}/close", {})
    assert "Jaan N." not in (await browser.get("/our-authority/users")).says


async def test_the_last_administrator_is_refused_beside_the_field(open_browser: Any) -> None:
    browser = await open_browser("EE", "EE:school", roles=("local-administrator",))
    await browser.sign_in()
    page = await browser.get("/our-authority/users/1")
    refused = await browser.send(page, "/our-authority/users/1", {"name": "Kadri", "roles": "handler"})
    assert refused.status == 422
    assert "keeps at least one local data administrator" in refused.says


async def test_own_data_settings_coordinators_and_access(open_browser: Any, other: Any) -> None:
    browser = await coordinator(open_browser)
    path = await registered(browser)
    office = await other(browser)
    await office.sign_in("tiiu", "a long password")
    page = await office.get("/our-authority/edit")
    assert page.tree.xpath('//input[@name="city"]/@value') == ["Tartu"]
    done = await office.send(page, "/our-authority/edit", {**FORM, "city": "Elva", "territory": "ee001, lääne-eesti"})
    assert done.headers["Location"] == "/our-authority?done=profile-saved"
    assert "Elva" in (await office.get("/our-authority")).says
    ticked = (await office.get("/our-authority/edit")).tree.xpath('//input[@name="territory" and @checked]/@value')
    assert ticked == ["EE001", "EE004"]

    page = await office.get("/our-authority/procedures")
    await office.send(page, "/our-authority/procedures", {"scope": PQ, f"{PQ}.approve-requests": "yes"})
    links = {"coordinator.0": "EE:coordinator", "function.0": "validating", "area.0": ""}
    refused = await office.send(page, "/our-authority/coordinators", links)
    assert refused.status == 422
    assert "Link the authority to a coordinator of requests first" in refused.says

    page = await office.get("/our-authority/access")
    await office.send(page, "/our-authority/access", {"access": "services alert-authority"})
    assert "With the coordinator" in (await office.get("/our-authority/access")).says
    page = await browser.get("/coordination")
    refused = await browser.send(page, "/coordination/access/1/refuse", {"reason.1": ""})
    assert refused.status == 422
    await browser.send(page, "/coordination/access/1/grant", {"roles.1": "alert-authority"})
    assert "Granted" in (await office.get("/our-authority/access")).says

    page = await browser.get(path)
    await browser.send(page, f"{path}/withdraw-access", {"scope": "services", "withdraw_reason": "Not competent."})
    assert "Not competent." in (await browser.get(path)).says


async def test_suspension_review_and_leaving(open_browser: Any, other: Any) -> None:
    browser = await coordinator(open_browser)
    path = await registered(browser)
    office = await other(browser)
    await office.sign_in("tiiu", "a long password")
    browser.world.clock.advance(days=366)
    await browser.sign_in()
    await office.sign_in("tiiu", "a long password")
    page = await office.get("/work")
    assert "Yearly review is due" in page.says
    await office.send(page, "/our-authority/review", {})
    assert "Yearly review is due" not in (await office.get("/work")).says

    page = await browser.get(path)
    refused = await browser.send(page, f"{path}/suspend", {"reason": ""})
    assert refused.status == 422
    await browser.send(page, f"{path}/suspend", {"reason": "Nobody answers."})
    page = await browser.get(path)
    assert "Nobody answers." in page.says
    assert "Suspended" in (await office.get("/work")).says
    await browser.send(page, f"{path}/lift", {})

    page = await office.get("/our-authority/leave")
    done = await office.send(page, "/our-authority/leave", {"reason": "Merged."})
    assert done.headers["Location"] == "/sign-in?done=left"
    assert (await office.get("/work")).status == 303
    assert "Left" in (await browser.get(path)).says


async def test_a_coordinator_registers_a_body_that_it_acts_for(open_browser: Any) -> None:
    browser = await coordinator(open_browser)
    page = await browser.get("/coordination/register")
    form = {**FORM, "login": "", "user_name": "", "password": ""}
    done = await browser.send(page, "/coordination/register", form)
    assert done.headers["Location"] == "/coordination?done=validated"
    page = await browser.get("/coordination")
    path = re.search(r"/coordination/authorities/EE:[0-9a-f]{16}", page.text)[0]  # type: ignore[index]
    assert "Represented by" in (await browser.get(path)).says


async def test_a_coordinator_gives_a_local_administrator_a_new_password(open_browser: Any, other: Any) -> None:
    browser = await coordinator(open_browser)
    path = await registered(browser)
    page = await browser.get(path)
    user = re.search(rf"{path}/users/(\d+)/reset", page.text)
    assert user
    done = await browser.send(page, user[0], {})
    shown = await browser.get(done.headers["Location"])
    link = re.search(r"(/set-password/[^<\s]+)", shown.text)[1]  # type: ignore[index]
    guest = await other(browser)
    await guest.send(await guest.get(link), link, {"password": "another long one"})
    assert (await guest.sign_in("tiiu", "another long one")).status == 303
