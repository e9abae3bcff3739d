"""Each page of the router, with data and with an error: nothing that axe knows is wrong, nothing scrolls sideways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from node.casework.views import DraftContent
from node.ids import AuthorityId

from .test_registry import WITH_DATA as OF_COORDINATORS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

REQUEST = "professional-qualifications/information-request"
NOT_PAGES = {"/", "/static/{digest}/{name}", "/cases/{number}/files/{sha256}"}
WITH_DATA = {
    "/sign-in": ["/sign-in"],
    "/languages": ["/languages?back=/work"],
    "/{name}": ["/help", "/privacy", "/accessibility", "/keyboard"],
    "/authorities": [
        "/authorities",
        "/authorities?q=profesor",
        "/authorities?q=xyzxyz",
        "/authorities?q=profesor+xyzxyz&state=RO&nuts=RO1",
    ],
    "/authorities/competent": [
        "/authorities/competent",
        "/authorities/competent?area=professional-qualifications&state=RO&profession=doctor&place=xyzxyz",
    ],
    "/authorities/{id}": ["/authorities/RO:9b96e157d7"],
    "/our-authority": ["/our-authority"],
    "/registers": ["/registers", "/registers?q=registre&state=FR", "/registers?q=xyzxyz"],
    "/registers/{id}": ["/registers/FR:annex-xi-1", "/registers/RO:annex-xi-1"],
    "/work": ["/work", "/work?done=step-taken"],
    "/requests": ["/requests", "/requests?show=open"],
    "/alerts": ["/alerts"],
    "/cases/new": ["/cases/new", "/cases/new?to=RO:9b96e157d7"],
    "/cases/{number}": ["/cases/{asked}", "/cases/{answered}"],
    "/cases/{number}/overtaken/{step}": ["/cases/{accepted}/overtaken/refuse", "/cases/{accepted}/act/refuse/fill"],
    "/cases/{number}/new": ["/cases/{draft}/new"],
    "/cases/{number}/{mode}/{step}": ["/cases/{asked}/act/accept"],
    "/cases/{number}/{mode}/{step}/review": ["/cases/{draft}/new/send/review", "/cases/{draft}/new/send/review?try=1"],
    "/cases/{number}/{mode}/{step}/{page}": [
        "/cases/{draft}/new/send/recipients?q.to=profesor",
        "/cases/{draft}/new/send/content?try=1",
        "/cases/{draft}/new/send/details?try=1",
        "/cases/{accepted}/act/answer/fill?try=1",
        "/cases/{asked}/act/refuse/fill",
        "/cases/{asked}/act/forward/fill",
    ],
}
WITH_ERROR = {  # path -> status
    "/nowhere": 404,
    "/authorities/nonsense": 404,
    "/authorities/EE:0000000000": 404,
    "/registers/EE:none": 404,
    "/cases/nonsense": 404,
    "/cases/EE-2026-999999": 404,
    "/cases/EE-2026-999999/new": 404,
    "/cases/{asked}/act/close": 409,
    "/cases/{draft}/new/answer/content": 409,
}


async def prepare(federation: Any) -> Mapping[str, str]:
    """A draft, requests in three states, one accepted while a refusal was being written, at Estonia's school board."""
    from casework_federation import request_content, request_control

    france, estonia = federation["FR"], federation["EE"]
    asker, board = "FR:8a294d95e1", "EE:4920f9f426"
    numbers = {}
    for name in ("asked", "accepted", "answered"):
        control = request_control(board, ["Q2", "Q3", "Q8"])
        numbers[name] = await france.open(asker, REQUEST, "send", control, request_content(lang="fr"))
    federation.exchange()
    official = estonia.official(board)
    words = {"reason": {"reason": {"list": "other", "text": {"text": "Alustatud, saatmata.", "lang": "et"}}}}
    await estonia.casework.save_draft(official, numbers["accepted"], DraftContent(content=words), step="refuse")
    for name in ("accepted", "answered"):
        await estonia.step(board, numbers[name], "accept", {"date": "2026-12-09"})
    said = {key: {"yes-no-unknown": "yes"} for key in ("Q2", "Q3", "Q8")}
    await estonia.step(board, numbers["answered"], "answer", {"questions": list(said)}, {"answers": said})
    draft = await estonia.casework.create_draft(official, REQUEST)
    empty = DraftContent(control={"to": AuthorityId(asker)})
    await estonia.casework.save_draft(official, draft.number, empty, expected=draft.version)
    return {**numbers, "draft": draft.number}


def test_every_page_has_its_samples(world: Any) -> None:
    routes = world.applications["EE"].router.resources()
    known = {resource.canonical for resource in routes if any(route.method == "GET" for route in resource)}
    assert known - NOT_PAGES == {*WITH_DATA, *OF_COORDINATORS}


async def test_every_page_with_data(world: Any) -> None:
    numbers = await prepare(world.federation)
    office = await world.office("EE", "school")
    for path in (path for paths in WITH_DATA.values() for path in paths):
        assert await office.open(path.format(**numbers)) == 200, path
        await office.look()
    assert len(office.looked_at) > 25


async def test_every_form_sent_empty(world: Any) -> None:
    numbers = await prepare(world.federation)
    office = await world.office("EE", "school")
    for path in (
        "/cases/{draft}/new/send/content",
        "/cases/{draft}/new/send/details",
        "/cases/{draft}/new/send/review",
        "/cases/{asked}/act/refuse/fill",
        "/cases/{accepted}/act/answer/fill",
    ):
        await office.open(path.format(**numbers))
        await office.page.locator("main .acts button[type=submit]").first.click()
        assert "Error:" in await office.page.title(), path
        await office.look()


async def test_every_error(world: Any) -> None:
    numbers = await prepare(world.federation)
    office = await world.office("EE", "school")
    for path, status in WITH_ERROR.items():
        assert await office.open(path.format(**numbers)) == status, path
        await office.look()


@pytest.mark.parametrize("language", ["fr", "de", "et", "ro", "el", "bg", "mt"])
async def test_pages_in_another_language(world: Any, language: str) -> None:
    numbers = await prepare(world.federation)
    office = await world.office("EE", "school")
    await office.open("/languages?back=/work")
    await office.page.locator(f"button[name=language][value={language}]").click()
    for path in ("/work", "/cases/{accepted}", "/cases/{accepted}/act/answer/fill", "/cases/{draft}/new/send/content"):
        assert await office.open(path.format(**numbers)) == 200
        await office.look()


async def test_a_refused_sign_in_and_an_expired_session(world: Any) -> None:
    office = await world.office("EE", "nobody")
    await office.look()
    assert await office.page.locator("[aria-invalid=true]").count() >= 1
    signed = await world.office("EE", "school")
    world.federation.clock.advance(days=3)
    await signed.open("/work")
    assert "/sign-in" in signed.page.url
    await signed.look()
