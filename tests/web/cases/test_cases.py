"""Cases as officials see and handle them, through real pages of two nodes back to back."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from casework_federation import REQUEST, danger, request_content, request_control


@pytest.fixture
async def estonia(browser: Any) -> Any:
    return await browser("EE", "EE:school")


@pytest.fixture
async def france(browser: Any) -> Any:
    return await browser("FR", "FR:school")


PERSON = {
    "f.person.surname.text": "Näidis",
    "f.person.given-names.text": "Person One",
    "f.person.birth-date.date": "14 3 1991",
    "f.profession.profession.list": "secondary-school-teacher",
    "f.reasoned-request.justification.text": "Koopia on halvasti loetav.",
    "lang": "et",
}


async def new_draft(browser: Any, procedure: str = REQUEST, **more: str) -> str:
    """A draft begun by its button; the address of its first step."""
    page = await browser.post("/cases/new", procedure=procedure, **more)
    assert page.status == 200
    return str(page.path).rpartition("/")[0]


async def test_an_empty_list_says_what_to_do(estonia):
    page = await estonia.get("/work")
    assert "Nothing waits for you." in page.text
    assert "New request" in page.text
    assert "New alert" not in page.text
    assert "No request yet" in (await estonia.get("/requests")).text
    assert "No alert yet" in (await estonia.get("/alerts")).text


async def test_a_request_is_drafted_sent_accepted_answered_and_closed(estonia, france):
    base = await new_draft(estonia)
    page = await estonia.post(f"{base}/recipients", **{"c.to": "FR:school"})
    assert page.path == f"{base}/content"
    page = await estonia.post(
        f"{base}/content", **PERSON, **{"c.questions": ["Q2", "Q3"], "f.comments.Q3.text": "Vaata lk 2."}
    )
    assert page.path == f"{base}/details", page.text
    page = await estonia.post(f"{base}/details", **{"c.wanted": "8.12.2026", "c.urgency": "normal"})
    assert page.path == f"{base}/review"
    assert "Näidis" in page.text
    assert "Tue 8 Dec 2026" in page.text
    page = await estonia.send(page)
    number = page.path.removeprefix("/cases/")
    assert re.fullmatch(r"EE-2026-\d{6}", number), page.text
    assert "Waiting to be accepted" in page.text
    assert "Waiting for 1 node: FR" in page.text
    estonia.world.exchange()
    assert "Received and verified" in (await estonia.get(f"/cases/{number}")).text

    page = await france.get("/work")
    assert number in page.text
    assert "Due later" in page.text
    page = await france.get(f"/cases/{number}")
    assert '<span lang="et" class="lines">Koopia on halvasti loetav.</span>' in page.text
    page = await france.get(f"/cases/{number}/act/accept")
    assert 'value="8 12 2026"' in page.text  # the date that was asked for is proposed
    page = await france.post(f"/cases/{number}/act/accept/fill", **{"c.date": "2026-12-15"})
    page = await france.send(page)
    assert "Accepted – being answered" in page.text

    assert re.search(rf'ecl-button--primary [^"]*" href="/cases/{number}/act/answer"', page.text)
    fill = f"/cases/{number}/act/answer/fill"
    page = await france.post(
        fill,
        **{
            "lang": "fr",
            "f.answers.Q2.yes-no-unknown": "no",
            "f.answers.Q3.yes-no-unknown": "yes",
            "f.answers.Q3.comment": "Au registre.",
        },
    )
    assert page.path == f"/cases/{number}/act/answer/review", page.text
    await france.send(page)
    france.world.exchange()
    page = await estonia.get(f"/cases/{number}")
    assert "Answered – to be checked" in page.text
    assert '<span lang="fr" class="lines">Au registre.</span>' in page.text
    page = await estonia.get(f"/cases/{number}/act/close")
    page = await estonia.send(await estonia.post(page.path))
    assert "Closed" in page.text


async def test_a_page_with_faults_says_so_and_keeps_what_was_typed(estonia):
    base = await new_draft(estonia)
    typed = {**PERSON, "f.person.birth-date.date": "soon", "c.questions": ["Q2"]}
    del typed["f.person.surname.text"]
    page = await estonia.post(f"{base}/content", **typed)
    assert page.status == 422
    assert "<title>Error:" in page.text
    assert 'href="#f-f-person-surname-text"' in page.text
    assert "Surname: this is missing" in page.text
    assert "Date of birth: this cannot be read" in page.text
    assert 'aria-invalid="true"' in page.text
    page = await estonia.get(f"{base}/content")
    assert "Koopia on halvasti loetav." in page.text
    assert 'value="soon"' in page.text
    page = await estonia.send(await estonia.get(f"{base}/review"))
    assert page.status == 422
    assert "Surname: this is missing" in page.text


async def test_authorities_are_found_by_words_and_state(estonia):
    base = await new_draft(estonia)
    page = await estonia.get(f"{base}/recipients")
    assert "Fr School" in page.text
    assert "Ee School" not in page.text.partition("<main")[2]  # another State must be asked


async def test_an_authority_may_be_asked_from_its_page(estonia):
    page = await estonia.get("/authorities/FR:health")
    assert 'href="/cases/new?to=FR%3Ahealth"' in page.text
    page = await estonia.get("/cases/new?to=FR:health")
    assert "Fr Health" in page.text
    base = await new_draft(estonia, to="FR:health")
    page = await estonia.get(f"{base}/recipients")
    assert re.search(r'value="FR:health" checked', page.text)


async def test_files_go_up_with_a_draft_and_come_down_for_saving_only(estonia, france):
    base = await new_draft(estonia)
    await estonia.post(f"{base}/recipients", **{"c.to": "FR:school"})
    await estonia.post(f"{base}/content", **PERSON, **{"c.questions": ["Q2"]})
    data = b"%PDF-1.7 " + bytes(range(256)) * 100
    page = await estonia.post(
        f"{base}/details",
        files={"f.reasoned-request.attachment.document": ("diplom õ.pdf", data)},
        **{"c.wanted": "8 12 2026", "c.urgency": "urgent"},
    )
    assert "diplom õ.pdf" in page.text
    page = await estonia.send(page)
    estonia.world.exchange()
    page = await france.get(page.path)
    href = re.search(r'href="(/cases/[^"]+/files/[0-9a-f]{64})"', page.text)
    assert href
    answer = await france.client.get(href[1])
    assert await answer.read() == data
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content_type == "application/octet-stream"


async def test_answers_nobody_asks_for_are_named_and_left_out(estonia, france):
    number = await send_request(estonia, ("Q2", "Q2a", "Q3"))
    page = await france.get(f"/cases/{number}/act/accept")
    await france.send(await france.post(page.path, **{"c.date": "2026-12-15"}))
    page = await france.post(
        f"/cases/{number}/act/answer/fill",
        **{
            "f.answers.Q2.yes-no-unknown": "no",
            "f.answers.Q2a.date": "1 9 2014",
            "f.answers.Q3.yes-no-unknown": "yes",
        },
    )
    assert "Not sent, because nobody asks for it" in page.text
    page = await france.send(page)
    assert "Answered – to be checked" in page.text


async def test_a_review_of_an_older_case_is_refused_and_explains(estonia, france):
    number = await send_request(estonia)
    page = await france.get(f"/cases/{number}/act/accept")
    review = await france.post(page.path, **{"c.date": "2026-12-15"})
    other = await france.get(f"/cases/{number}/act/message")
    await france.send(await france.post(other.path, **{"f.message.text.text": "Bonjour"}))
    page = await france.send(review)
    assert page.status == 409
    assert "Nothing was sent and your text is kept" in page.text
    page = await france.send(page)
    assert "Accepted – being answered" in page.text


async def test_a_draft_that_was_overtaken_keeps_its_text(estonia, france):
    number = await send_request(estonia)
    page = await france.get(f"/cases/{number}/act/refuse")
    reason = {"f.reason.reason.list": "other", "f.reason.reason.text": "Nous ne savons pas."}
    await france.post(page.path, go="leave", **reason)
    await estonia.world["FR"].step("FR:school", number, "accept", {"date": "2026-12-15"})  # a colleague
    page = await france.get(f"/cases/{number}/act/refuse")
    assert page.status == 200
    assert "Your draft was overtaken" in page.text
    assert "Nous ne savons pas." in page.text
    await france.post(f"/cases/{number}/discard", step="refuse")
    assert (await france.get(f"/cases/{number}/act/refuse")).status == 409


async def test_an_alert_is_sent_to_all_and_acknowledged_with_one_confirmation(browser):
    office = await browser("EE", "EE:coordinator")
    france = await browser("FR", "FR:alerts")
    node = office.world["EE"]
    number = await node.open(
        "EE:coordinator",
        "services/alert",
        "broadcast-directly",
        {"to": ["FR:alerts", "DE:alerts"], "establishment": "FR:alerts"},
        danger(),
    )
    office.world.exchange()
    page = await france.get("/alerts")
    assert number in page.text
    page = await france.get(f"/cases/{number}/act/acknowledge")
    assert page.path.endswith("/act/acknowledge/review")
    assert "Nothing more is needed" in page.text
    page = await france.send(page)
    assert "Acknowledged" in page.text
    assert "New alert" in (await office.get("/work")).text
    page = await office.get(f"/cases/{number}")
    assert "DE" in page.text


async def test_every_authority_told_can_be_ticked_at_once(browser):
    office = await browser("EE", "EE:coordinator")
    page = await office.post("/cases/new", procedure="services/alert")
    page = await office.post(page.path, go="all.to")
    assert len(re.findall(r'name="c.to" value="[^"]+" checked', page.text)) >= 3


async def test_strangers_see_no_case_and_wrong_numbers_are_not_found(estonia, browser):
    number = await send_request(estonia)
    stranger = await browser("EE", "EE:coordinator")
    for path in (f"/cases/{number}", f"/cases/{number}/act/accept", "/cases/EE-2026-999999", "/cases/nonsense"):
        assert (await stranger.get(path)).status == 404, path
    assert (await estonia.get(f"/cases/{number}/files/{'0' * 64}")).status == 404


async def test_a_step_that_is_not_offered_is_refused(estonia):
    number = await send_request(estonia)
    assert (await estonia.get(f"/cases/{number}/act/accept")).status == 409


async def test_forms_without_their_token_are_refused(estonia):
    page = await estonia.post("/cases/new", procedure=REQUEST, csrf="wrong")
    assert page.status == 403
    assert (await estonia.get("/work")).text.count("/new/") == 0


async def test_a_draft_can_be_left_found_again_and_deleted(estonia):
    base = await new_draft(estonia)
    page = await estonia.post(f"{base}/content", **PERSON, go="leave")
    assert page.path.startswith("/work")
    assert "Your draft is saved." in page.text
    number = base.split("/")[2]
    assert f"/cases/{number}/new" in page.text
    page = await estonia.post(f"/cases/{number}/discard", step="")
    assert "The draft is deleted." in page.text
    assert f"/cases/{number}/new" not in page.text


async def test_what_users_type_is_shown_as_text(estonia):
    content = request_content(canary="<script>alert(1)</script>")
    number = await estonia.world["EE"].open("EE:school", REQUEST, "send", request_control(), content)
    page = await estonia.get(f"/cases/{number}")
    assert "<script" not in page.text
    assert html.escape("<script>alert(1)</script>") in page.text


async def send_request(browser: Any, questions: tuple[str, ...] = ("Q2", "Q3")) -> str:
    world = browser.world
    control = request_control(questions=questions)
    number = await world["EE"].open("EE:school", REQUEST, "send", control, request_content())
    world.exchange()
    return str(number)
