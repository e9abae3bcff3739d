"""A request from France to Romania, through the pages alone: each page on the way is looked at with axe."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ROMANIA = "RO:9b96e157d7"
SCAN = b"%PDF-1.7 a scanned diploma " + bytes(range(256)) * 200


async def go_on(office: Any) -> None:
    """Look at this page, then press the button that goes on, and be on the next one."""
    await office.look()
    before = office.page.url
    await office.page.locator("main .acts button[value=next]").click()
    assert office.page.url != before, await office.page.inner_text("main")


async def begin(office: Any, procedure: str, to: str) -> None:
    """Open a draft in a procedure, with the authority to ask."""
    await office.open(f"/cases/new?to={to}")
    await office.look()
    await office.page.locator(f"form:has(input[name=procedure][value='{procedure}']) button").click()


async def take(office: Any) -> str:
    """Take the step whose review is shown; the case's number."""
    await office.look()
    await office.page.locator("main form[action$='/review'] button[type=submit]").first.click()
    assert "/cases/" in office.page.url, await office.page.inner_text("main")
    await office.look()
    return str(office.page.url.partition("/cases/")[2].partition("?")[0])


async def ask(france: Any) -> str:
    """The four pages of a new request."""
    page = france.page
    await france.open("/authorities?state=RO&q=profesor")
    await france.look()
    assert await page.locator(f"main a[href='/authorities/{ROMANIA}']").count() == 1
    await begin(france, "professional-qualifications/information-request", ROMANIA)
    assert await page.is_checked(f"[name='c.to'][value='{ROMANIA}']")
    await go_on(france)
    await page.fill("[name='f.person.surname.text']", "Exemple")
    await page.fill("[name='f.person.given-names.text']", "Personne Une")
    await page.fill("[name='f.person.birth-date.date']", "3 2 1990")
    await page.select_option("[name='f.profession.profession.list']", "secondary-school-teacher")
    await page.select_option("[name=lang]", "fr")
    for key in ("Q2", "Q3"):
        await page.check(f"[name='c.questions'][value={key}]")
    await page.fill("[name='f.reasoned-request.justification.text']", "La copie du diplôme est peu lisible.")
    await go_on(france)
    await page.fill("[name='c.wanted']", "8 12 2026")
    scan = {"name": "diploma-scan.pdf", "mimeType": "application/pdf", "buffer": SCAN}
    await page.set_input_files("input[type=file]", files=[scan])
    await go_on(france)
    return await take(france)


async def answer(romania: Any, number: str) -> None:
    """Accept with another date, then answer question by question."""
    page = romania.page
    await romania.open(f"/cases/{number}")
    await romania.look()
    await romania.open(f"/cases/{number}/act/accept")
    await page.fill("[name='c.date']", "15 12 2026")
    await go_on(romania)
    await take(romania)
    await romania.open(f"/cases/{number}/act/answer")
    await page.check("[name='f.answers.Q2.yes-no-unknown'][value=yes]")
    await page.check("[name='f.answers.Q3.yes-no-unknown'][value=yes]")
    await page.select_option("[name=lang]", "ro")
    await page.click("details:has([name='f.answers.Q3.comment']) > summary")
    await page.fill("[name='f.answers.Q3.comment']", "Diploma este înregistrată.")
    await go_on(romania)
    await take(romania)


async def test_a_request_is_asked_answered_and_closed_through_the_pages(world: Any) -> None:
    france, romania = await world.office("FR", "school"), await world.office("RO", "school")
    await france.look()
    number = await ask(france)
    world.federation.exchange()
    await romania.open("/work")
    assert number in await romania.page.inner_text("main")
    await romania.look()
    await answer(romania, number)
    world.federation.exchange()
    await france.open(f"/cases/{number}")
    assert await france.page.locator("[lang=ro]", has_text="Diploma este înregistrată.").count() == 1
    async with france.page.expect_download() as started:
        await france.page.get_by_role("link", name="diploma-scan.pdf").first.click()
    assert (await (await started.value).path()).read_bytes() == SCAN
    await france.open(f"/cases/{number}/act/close")
    await go_on(france)
    await take(france)
    world.federation.exchange()
    await romania.open(f"/cases/{number}")
    await romania.look()
    closed = await romania.page.inner_text("main")
    assert "Closed" in closed
