from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from jinja2 import ChoiceLoader, DictLoader

from node.pages import render
from node.pages.frame import ENVIRONMENT

ALL = """
{% extends "base.html" %}
{% import "macros.html" as ui with context %}
{% block title %}All{% endblock %}
{% block before %}{{ ui.breadcrumb([("Work", "/work"), ("DE-2026-018342", "")]) }}{% endblock %}
{% block content %}
{% call ui.heading("Nurse: right to practise", above=ui.tag("yours", "Accepted"), below="Request for information") %}
{{ ui.button_link("New alert", "/alerts/new") }}{{ ui.button_link("New request", "/requests/new", "primary") }}{% endcall %}
{{ ui.fact_bar([("Asked by", "Landesamt", "Germany"), ("Holder", "Kadri"), ("Due", day("2026-11-27"), "4 working days left")]) }}
{{ ui.step_line([("Sent", "done", "12 Nov"), ("Accepted", "done"), ("Answering", "now"), ("Closed", "next")], "Steps") }}
{{ ui.counters([(1, "overdue", "/work", "late"), (0, "to accept", "/work", "near"), (4, "to answer", "/work", "")]) }}
{{ ui.list_table("Cases", ["Case", "Due"], [("Overdue", "late", [["A", "B"]]), ("Later", "later", [["C", "D"], ["E", "F"]]), ("", "", [])]) }}
{{ ui.list_table("None", ["Case"], [("Overdue", "late", [])], empty="Nothing waits.") }}
<div class="columns"><div>
{% call ui.card("Questions", beside=ui.link("All", "/all")) %}
<form method="post" enctype="multipart/form-data">{{ ui.token() }}
{{ ui.text_field("name", "Name", "<b>", hint="As in the passport") }}
{{ ui.text_field("more.town", "Town", required=false) }}
{{ ui.date_field("born", "Born") }}
{{ ui.textarea("why", "Why", "\\n  first line", lang_of="et") }}
{{ ui.select("kind", "Kind", [("a", "Alpha"), ("b", "Beta")], "b", blank="Choose") }}
{{ ui.radios("answer", "Is it lawful?", [("yes", "Yes"), ("no", "No", "Say why below")], "yes", beside=true) }}
{{ ui.checkboxes("question", "Which?", [("Q2", "Two"), ("Q3", "Three")], ("Q3",), hint="As many as you need") }}
{{ ui.checkbox("sure", "I am sure") }}
{{ ui.file_field("file", "File", multiple=true) }}
{{ ui.button("Save", name="act", value="save") }}{{ ui.button("Leave", "secondary", small=true) }}
</form>
{% endcall %}
{{ ui.notification("info", "Note", "Text") }}{{ ui.notification("warning", "Note") }}
{% call ui.notification("success", "Done") %}<p>More</p>{% endcall %}
{{ ui.summary_list([("Person", "Marta"), ("Kind", "Nurse", ui.link("Change", "/change"))]) }}
{{ ui.foreign("Bitte\\nSeite 2", "de") }}
{{ ui.act("Delete", "/delete", hidden={"version": "3"}) }}
</div><div>
{% call ui.card("Files") %}{{ ui.files([("diplom.pdf", "/f", "412 KB"), ("b.pdf", "", "scanned")]) }}{% endcall %}
{% call ui.card("Timeline") %}{{ ui.timeline([("Answers saved", "Today", false), ("Assigned", "16 Nov", true)]) }}{% endcall %}
{% call ui.card("Notes", kind="internal") %}<p>Only we see this.</p>{% endcall %}
{% for kind in ("draft", "yours", "theirs", "near", "late", "good", "waiting", "blocked", "personal", "sanction") %}
{{ ui.tag(kind, kind) }}
{% endfor %}
{{ ui.pagination("20 of 108", "/more") }}
</div></div>
{% endblock %}
{% block sticky %}{% call ui.sticky_bar("Draft saved") %}{{ ui.button("Review", form="answers") }}{% endcall %}{% endblock %}
"""


async def _all(request: web.Request) -> web.Response:
    return render(request, "all.html", errors=[("why", "Write <why>"), ("answer", "Choose"), ("", "In general")])


async def _broken(request: web.Request) -> web.Response:
    raise ZeroDivisionError("secret detail")


async def _unnamed(request: web.Request) -> web.Response:
    return web.json_response({"api": True})


@pytest.fixture
async def browser(open_browser: Any) -> Any:
    def add(app: web.Application) -> None:
        environment = app[ENVIRONMENT]
        environment.loader = ChoiceLoader([DictLoader({"all.html": ALL}), environment.loader])  # type: ignore[list-item]
        app.router.add_get("/all", _all)
        app.router.add_get("/broken", _broken)
        api = web.Application()
        api.router.add_post("/cases", _unnamed)
        app.add_subapp("/api/v1", api)

    opened = await open_browser(prepare=add)
    await opened.sign_in()
    return opened


async def test_a_field_with_an_error_says_so_to_everybody(browser: Any) -> None:
    page = await browser.get("/all")
    why = page.tree.get_element_by_id("f-why")
    assert why.get("aria-invalid") == "true"
    assert "Write <why>" in page.tree.get_element_by_id(why.get("aria-describedby")).text_content()
    assert why.text == "\n\n  first line"  # a browser drops the first line break, so what was typed is whole
    assert [a.get("href") for a in page.tree.xpath("//*[@id='error-summary']//a")] == ["#f-why", "#f-answer"]
    assert page.tree.get_element_by_id("f-name").get("value") == "<b>"


async def test_all_controls_have_names_that_assistive_technology_reads(browser: Any) -> None:
    page = await browser.get("/all")
    ids = page.tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    for control in page.tree.xpath("//main//input[not(@type='hidden')] | //main//select | //main//textarea"):
        assert page.tree.xpath("//label[@for=$id]", id=control.get("id")), control.get("name")
    for described in page.tree.xpath("//@aria-describedby"):
        assert set(described.split()) <= set(ids)
    assert all(button.text_content().strip() for button in page.tree.xpath("//button"))
    assert all(group.find("legend") is not None for group in page.tree.xpath("//fieldset"))


async def test_what_is_chosen_is_shown_as_chosen(browser: Any) -> None:
    page = await browser.get("/all")
    assert page.tree.xpath("//option[@selected]/@value") == ["b"]
    assert page.tree.xpath("//input[@checked]/@value") == ["yes", "Q3"]


async def test_a_day_is_shown_with_its_weekday(browser: Any) -> None:
    assert "Fri 27 Nov 2026" in (await browser.get("/all")).says


async def test_a_bug_is_a_page_without_its_details(browser: Any) -> None:
    page = await browser.get("/broken")
    assert page.status == 500
    assert "secret" not in page.text
    assert page.h1 == "Something went wrong"
    assert page.headers["X-Request-Id"] in page.says


async def test_the_api_has_its_own_guards(browser: Any) -> None:
    page = await browser.post("/api/v1/cases", None)
    assert page.status == 200
    assert "Set-Cookie" not in page.headers
