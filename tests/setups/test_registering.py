"""A new user registers an authority from an invitation, in a browser, and another State's node finds it: real processes."""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from node.demo.client import until
from node.demo.stage import Stage
from node.ids import NodeId

from .conftest import AREA, asked, body, content, in_state

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(300)]
COORDINATOR, INSPECTORATE = "EE:centre", "RO:school"
AUTHORITIES = (
    body(COORDINATOR, "EE", "Centre for Recognition", roles=("ca", "coordinator")),
    body(INSPECTORATE, "RO", "School Inspectorate"),
)
USERS = {
    "EE": (("centre", COORDINATOR, ("handler", "data-administrator", "local-administrator"), "en"),),
    "RO": (("inspector", INSPECTORATE, ("handler",), "en"),),
}
WITHIN_SECONDS = 120.0


@pytest.fixture(scope="module")
def two_states(set_up: Any) -> Any:
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    return set_up(["EE", "RO", "EU"], AUTHORITIES, USERS)


async def sign_in(page: Page, place: Any, login: str, password: str) -> None:
    await page.goto(f"{place.pages}/sign-in")
    await page.fill("[name=login]", login)
    await page.fill("[name=password]", password)
    await page.click("main button[type=submit]")


async def from_invitation_to_being_found(stage: Stage) -> float:
    """The seconds it took; nobody typed anything twice."""
    estonia, romania = stage.places[NodeId("EE")], stage.places[NodeId("RO")]
    centre, inspector = stage.hand_of("centre").login, stage.hand_of("inspector").login
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        office = await (await chromium.new_context(locale="en-GB")).new_page()
        guest = await (await chromium.new_context(locale="en-GB")).new_page()
        abroad = await (await chromium.new_context(locale="en-GB")).new_page()
        await sign_in(abroad, romania, inspector.login, inspector.password)
        await sign_in(office, estonia, centre.login, centre.password)
        began = time.monotonic()

        await office.click("text=Coordination")
        await office.click("text=Invite an authority")
        await office.fill("[name=name]", "Põlva Kutsekool")
        await office.check(f"[name=scopes][value={AREA}]")
        await office.click("text=Make the link")
        link = await office.inner_text("main code")

        await guest.goto(link)
        await guest.fill("[name='informal.en']", "Põlva vocational school")
        await guest.select_option("[name=level]", "local")
        await guest.fill("[name=city]", "Põlva")
        await guest.fill("[name=email]", "info@example.ee")
        await guest.select_option("[name='language.1']", "et")
        await guest.fill("[name=user_name]", "Tiiu Näidis")
        await guest.fill("[name=login]", "tiiu")
        await guest.fill("[name=password]", "a long password")
        await guest.click("text=Send the registration")
        assert "decides" in await guest.inner_text("main")

        await office.goto(f"{estonia.pages}/coordination")
        await office.click("text=Põlva Kutsekool")
        await office.click("main button:has-text('Validate and register')")
        assert "Registered" in await office.inner_text("main")

        async def is_found() -> bool:
            await abroad.goto(f"{romania.pages}/authorities?q=polva+vocational")
            return "Põlva vocational school" in await abroad.inner_text("main")

        await until("found from Romania", is_found)
        seconds = time.monotonic() - began
        await guest.reload()
        await guest.click("main a:has-text('Sign in')")
        await sign_in(guest, estonia, "tiiu", "a long password")
        assert "Põlva vocational school" in await guest.inner_text("header")
        await chromium.close()
    return seconds


def test_a_new_authority_is_found_from_another_state_within_two_minutes_and_asked(two_states: Any) -> None:
    async def story(stage: Stage) -> None:
        seconds = await from_invitation_to_being_found(stage)
        print(f"invited, registered, validated and found from another State in {seconds:.1f} s")
        assert seconds < WITHIN_SECONDS
        school = stage.hand_of("inspector")
        found = next(one for one in await school.find("Polva") if one["state"] == "EE")
        number = await school.open(
            "professional-qualifications/information-request", "send", asked(found["id"]), content("C")
        )
        await in_state(school, number, "awaiting-acceptance")

    two_states.play(story)
