"""Finding authorities on the pages: filters, what has only most of the words, coordinators, who is competent."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
async def estonia(browser: Any) -> Any:
    return await browser("EE", "EE:school")


async def test_it_is_said_when_no_authority_has_all_words(estonia):
    page = await estonia.get("/authorities?q=school+unheard")
    assert "No authority has all your words" in page.text
    assert "School" in page.text
    page = await estonia.get("/authorities?q=school")
    assert "No authority has all your words" not in page.text


async def test_regions_are_those_of_the_state_chosen(estonia):
    page = await estonia.get("/authorities")
    assert 'name="nuts"' not in page.text
    page = await estonia.get("/authorities?state=EE&nuts=EE00")
    assert 'value="EE001"' in page.text
    assert 'value="FR1"' not in page.text
    assert "Ee School" in page.text  # a body for the whole State
    page = await estonia.get("/authorities?state=EE&nuts=nonsense&language=xx&role=king")
    assert page.status == 200


async def test_a_role_narrows(estonia):
    page = await estonia.get("/authorities?role=alert-inbox")
    assert "School" not in page.text.partition("<main")[2]
    page = await estonia.get("/authorities?role=ca&area=professional-qualifications")
    assert "Ee School" in page.text


async def test_who_is_competent_is_answered_with_the_reason(estonia):
    page = await estonia.get("/authorities/competent")
    assert "Choose a country and an area of law" in page.text
    page = await estonia.get("/authorities/competent?area=professional-qualifications&state=FR")
    assert "Competent for: Professional qualifications, in the whole country. Country: France." in page.text
    assert "Fr School" in page.text
    page = await estonia.get("/authorities/competent?area=professional-qualifications&state=FR&place=Nowhere")
    assert "The place was not recognised: Nowhere." in page.text
    page = await estonia.get("/authorities/competent?area=professional-qualifications&state=SK&profession=doctor")
    assert "Neither an authority nor a coordinator is listed for this: Doctor" in page.text
