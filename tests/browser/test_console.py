"""The operators' pages: what is down stands first, in the table and in the picture; nothing that axe knows is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from node import console
from node.federation.transport import Contact
from node.ids import NodeId
from node.pages import FRAME
from tests.browser.conftest import Office

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.mark.parametrize("language", ["en", "de", "fr", "et", "ro", "el", "bg"])
async def test_the_operator_sees_who_is_down(world: Any, language: str) -> None:
    estonia, now = world.federation["EE"], datetime.now(UTC)
    contacts = {NodeId("FR"): Contact(now), NodeId("RO"): Contact(None, now, "ConnectionRefusedError")}
    parts = console.Parts(
        database=estonia.database, directory=estonia.directory, peers=estonia.peers, contacts=contacts
    )
    server = TestServer(console.application(world.applications["EE"][FRAME], parts))
    await server.start_server()
    try:
        context = await world.contexts(locale=language)
        office = Office(await context.new_page(), str(server.make_url("")).rstrip("/"), "", world.axe)
        assert await office.open("/") == 200
        await office.look()
        assert await office.page.locator("html").get_attribute("lang") == language
        first = await office.page.locator("tbody tr").first.inner_text()
        assert first.startswith("RO")
        assert "ConnectionRefusedError" in first
        assert await office.page.locator("svg .down").count() == 1
        assert await office.page.locator("svg .us").count() == 1
        assert await office.open("/directory") == 200
        await office.look()
        assert "RO/authorities" in await office.page.locator("main").inner_text()
    finally:
        await server.close()
