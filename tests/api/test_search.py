"""Search over REST: what it says besides the authorities, and who is competent."""

from __future__ import annotations

import pytest


@pytest.fixture
async def estonia(door):
    return await door("EE", "EE:school")


async def test_a_search_says_whether_it_is_partial(estonia):
    _, found = await estonia("GET", "/authorities", params={"q": "school unheard", "state": "FR"})
    assert found["partial"]
    assert [one["id"] for one in found["authorities"]] == ["FR:school"]
    _, found = await estonia("GET", "/authorities", params={"q": "school", "state": "FR"})
    assert not found["partial"]


async def test_who_is_competent(estonia):
    asked = {"area": "professional-qualifications", "state": "FR"}
    status, found = await estonia("GET", "/authorities/competent", params=asked)
    assert status == 200
    assert "FR:school" in [one["id"] for one in found["authorities"]]
    assert found["reason"] == "nationwide"
    assert found["text"].startswith("Competent for: ")
    _, found = await estonia(
        "GET", "/authorities/competent", params={**asked, "profession": "doctor", "place": "Nowhere"}
    )
    assert (found["reason"], found["place_known"], found["authorities"]) == ("nobody", False, [])


@pytest.mark.parametrize(
    "asked", [{"area": "services"}, {"state": "EE"}, {"area": "services", "state": "EE", "who": "me"}]
)
async def test_a_need_without_area_or_state_is_refused(estonia, asked):
    status, problem = await estonia("GET", "/authorities/competent", params=asked)
    assert status == 400
    assert problem["code"] == "refused.bad-request"
