"""The pages about who takes part, with data and with errors: nothing that axe knows is wrong, nothing scrolls sideways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from node.casework.profiles import Profile
from node.casework.registry import NewUser
from node.ids import AuthorityId

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

MINISTRY = "EE:b81b464c76"
PQ = "professional-qualifications"
SCHOOL = Profile(
    names={"et": "Tartu Kutsekool"},
    informal={"en": "Tartu vocational school"},
    level="local",
    languages=("et", "en"),
    city="Tartu",
    email="info@example.ee",
)
FIRST = NewUser(login="tiiu", name="Tiiu Näidis", password="a long password", language="et")
WITH_DATA = {
    "/register/{code}": ["/register/{open}", "/register/{sent}", "/register/{rejected}", "/register/{done}"],
    "/set-password/{code}": ["/set-password/{password}"],
    "/our-authority/edit": ["/our-authority/edit"],
    "/our-authority/procedures": ["/our-authority/procedures"],
    "/our-authority/access": ["/our-authority/access"],
    "/our-authority/leave": ["/our-authority/leave"],
    "/our-authority/users": ["/our-authority/users"],
    "/our-authority/users/{user}": ["/our-authority/users/{user}"],
    "/coordination": ["/coordination"],
    "/coordination/invite": ["/coordination/invite"],
    "/coordination/register": ["/coordination/register"],
    "/coordination/registrations/{number}": [
        "/coordination/registrations/{open_number}",
        "/coordination/registrations/{sent_number}",
        "/coordination/registrations/{done_number}",
    ],
    "/coordination/authorities/{id}": ["/coordination/authorities/{school}"],
    "/coordination/authorities/{id}/edit": ["/coordination/authorities/{school}/edit"],
    "/coordination/authorities/{id}/procedures": ["/coordination/authorities/{school}/procedures"],
    "/coordination/authorities/{id}/leave": ["/coordination/authorities/{school}/leave"],
}
WITH_ERROR = {"/register/nonsense": 404, "/set-password/nonsense": 404, "/coordination/registrations/999": 404}


async def prepare(world: Any) -> Mapping[str, Any]:
    """Invitations in every state, an authority with a request for access and a suspension, a user to be."""
    registry, node = world.registries["EE"], world.federation["EE"]
    data = node.official(MINISTRY, roles=frozenset({"data-administrator", "local-administrator"}))
    made = {}
    for name in ("open", "sent", "rejected", "done"):
        found, code = await registry.invite(data, name="Tartu Kutsekool", scopes=[PQ], language="et")
        made[name], made[f"{name}_number"] = code, found.id
        if name != "open":
            first = replace(FIRST, login=f"tiiu-{name}")
            await registry.submit(code, SCHOOL, asked={PQ: ["ca"]}, first=first)
    await registry.reject(data, made["rejected_number"], "There is one already.")
    done = await registry.validate(data, made["done_number"], {PQ: ["ca"]})
    school = node.official(done.authority, roles=frozenset({"local-administrator"}))
    await registry.ask_access(school, "services", ["alert-authority", "alert-inbox"])
    await registry.suspend(data, done.authority, "Nobody answers.")
    user, code = await registry.add_user(data, login="jaan", name="Jaan Näidis", roles=["handler"], language="et")
    return {**made, "school": done.authority, "user": user.id, "password": code}


async def test_every_page_with_data(world: Any) -> None:
    made = await prepare(world)
    office = await world.office("EE", "ministry")
    for path in (path for paths in WITH_DATA.values() for path in paths):
        assert await office.open(path.format(**made)) == 200, path
        await office.look()
    await office.open("/our-authority")
    await office.look()
    world.federation.clock.advance(minutes=1)
    for path, status in WITH_ERROR.items():
        assert await office.open(path) == status, path
        await office.look()


async def test_every_form_sent_empty(world: Any) -> None:
    made = await prepare(world)
    office = await world.office("EE", "ministry")
    for path, button in (
        ("/register/{open}", "Send the registration"),
        ("/set-password/{password}", "Save"),
        ("/our-authority/access", "Ask for access"),
        ("/our-authority/leave", "Leave now"),
        ("/our-authority/users", "Add a user"),
        ("/coordination/invite", "Make the link"),
        ("/coordination/registrations/{sent_number}", "Reject the registration"),
        ("/coordination", "Refuse"),
        ("/coordination/register", "Register"),
        ("/coordination/authorities/{school}", "Withdraw access"),
    ):
        await office.open(path.format(**made))
        await office.page.locator(f"main button[type=submit]:has-text('{button}')").last.click()
        assert "Error:" in await office.page.title(), path
        await office.look()


async def test_lookalikes_and_a_link_shown_once(world: Any) -> None:
    made = await prepare(world)
    office = await world.office("EE", "ministry")
    await office.open(f"/register/{made['open']}")
    for name, value in (("city", "Tartu"), ("email", "a@example.ee"), ("user_name", "X"), ("login", "x")):
        await office.page.fill(f"[name={name}]", value)
    await office.page.fill("[name=password]", "a long password")
    await office.page.select_option("[name=level]", "local")
    await office.page.select_option("[name='language.1']", "et")
    await office.page.click("main form button[type=submit]:has-text('Send the registration')")
    assert "Is it one of these?" in await office.page.inner_text("main")
    assert await office.page.locator("[name=distinct]").count() == 1
    await office.look()
    await office.open("/coordination/invite")
    await office.page.fill("[name=name]", "Narva Kutsekool")
    await office.page.click("main button[type=submit]:has-text('Make the link')")
    assert "/register/" in await office.page.inner_text("main code")
    await office.look()


@pytest.mark.parametrize("language", ["de", "el", "bg"])
async def test_pages_in_another_language(world: Any, language: str) -> None:
    made = await prepare(world)
    office = await world.office("EE", "ministry")
    await office.open("/languages?back=/work")
    await office.page.locator(f"button[name=language][value={language}]").click()
    for path in (
        "/coordination",
        "/our-authority/procedures",
        "/register/{open}",
        "/coordination/authorities/{school}",
    ):
        assert await office.open(path.format(**made)) == 200
        await office.look()


def test_the_ministry_coordinates(world: Any) -> None:
    entry = world.federation["EE"].directory.get(AuthorityId(MINISTRY))
    assert any("coordinator" in roles for roles in entry.roles.values())
