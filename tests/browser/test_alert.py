"""An alert from Estonia to France, through the pages: sent, acknowledged, closure proposed."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ALERT = "services/alert"
FRANCE = "FR:e48ce0c12f"


async def next_page(office: Any) -> None:
    await office.look()
    await office.page.locator("main .acts button[value=next]").click()


async def take(office: Any) -> None:
    await office.look()
    await office.page.locator("main form[action$='/review'] button[type=submit]").click()
    assert "/act/" not in office.page.url, await office.page.inner_text("main")
    assert "/new/" not in office.page.url, await office.page.inner_text("main")


async def send(estonia: Any) -> str:
    page = estonia.page
    await estonia.open("/cases/new?kind=alert")
    await page.locator(f"form:has(input[name=procedure][value='{ALERT}']) button").click()
    await estonia.look()
    await page.click("a[href$='/new/broadcast-directly']")
    await page.check(f"[name='c.to'][value='{FRANCE}']")
    await page.check(f"[name='c.establishment'][value='{FRANCE}']")
    await next_page(estonia)
    for name in ("provider", "facts"):
        await page.fill(f"[name='f.service-danger.{name}.text']", "Näidis OÜ: the scaffold fell")
    chosen = {"activity": "scaffolding", "damage": "safety", "severity": "very-serious", "likelihood": "high"}
    for name, code in chosen.items():
        await page.select_option(f"[name='f.service-danger.{name}.list']", code)
    await next_page(estonia)
    while "/review" not in page.url:
        await next_page(estonia)
    await take(estonia)
    return str(page.url.partition("/cases/")[2].partition("?")[0])


async def test_an_alert_is_sent_acknowledged_and_proposed_for_closure(world: Any) -> None:
    estonia, france = await world.office("EE", "alerts"), await world.office("FR", "alerts")
    number = await send(estonia)
    await estonia.look()
    world.federation.exchange()
    await france.open("/alerts")
    assert number in await france.page.inner_text("main")
    await france.look()
    await france.open(f"/cases/{number}")
    await france.look()
    for step in ("acknowledge", "propose-closure"):
        await france.open(f"/cases/{number}/act/{step}")
        if "/review" not in france.page.url:
            await france.page.locator("[name='f.ground.ground.list']").select_option(index=1)
            await next_page(france)
        await take(france)
    world.federation.exchange()
    await estonia.open(f"/cases/{number}")
    await estonia.look()
    assert "Acknowledged" in await estonia.page.inner_text("main")
    assert await estonia.page.locator("a[href$='/act/withdraw']").count() == 1
