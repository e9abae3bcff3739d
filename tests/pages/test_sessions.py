from __future__ import annotations

from typing import Any

import pytest

from node.pages import safe_path


async def test_signing_in_leads_to_the_page_that_was_asked_for(open_browser: Any) -> None:
    browser = await open_browser()
    sent_away = await browser.get("/authorities?q=a%20b")
    page = await browser.get(sent_away.headers["Location"])
    back = page.tree.find('.//input[@name="back"]').get("value")
    answer = await browser.sign_in(back=back)
    assert (answer.status, answer.headers["Location"]) == (303, "/authorities?q=a%20b")
    assert (await browser.get("/authorities")).status == 200


async def test_the_session_cookie_names_the_node_and_is_out_of_reach(open_browser: Any) -> None:
    browser = await open_browser()
    answer = await browser.sign_in()
    [cookie] = [c for c in answer.headers.getall("Set-Cookie") if c.startswith("imi-ee-session=")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


async def test_behind_https_cookies_are_secure_and_bound_to_the_host(open_browser: Any) -> None:
    browser = await open_browser(https=True)
    page = await browser.get("/sign-in")
    assert page.headers["Set-Cookie"].startswith("__Host-imi-ee-form=")
    assert "Secure" in page.headers["Set-Cookie"]
    assert "max-age" in page.headers["Strict-Transport-Security"]


async def test_a_wrong_password_shows_the_form_again_and_what_was_typed(open_browser: Any) -> None:
    browser = await open_browser()
    page = await browser.sign_in(password="wrong")
    assert page.status == 422
    assert page.tree.findtext(".//title").startswith("Error:")
    assert page.tree.find('.//input[@name="login"]').get("value") == "user"
    assert "wrong" not in page.tree.find('.//input[@name="password"]').get("value")
    [link] = page.tree.xpath('//*[@id="error-summary"]//a')
    assert page.tree.get_element_by_id(link.get("href").removeprefix("#")).get("aria-invalid") == "true"


async def test_unknown_names_and_wrong_passwords_look_the_same(open_browser: Any) -> None:
    browser = await open_browser()
    unknown = await browser.sign_in(login="nobody", password="wrong")
    wrong = await browser.sign_in(password="wrong")
    said = [page.tree.get_element_by_id("error-summary").text_content() for page in (unknown, wrong)]
    assert said[0] == said[1]


async def test_many_failures_are_made_to_wait(open_browser: Any) -> None:
    browser = await open_browser()
    for _ in range(5):
        await browser.sign_in(password="wrong")
    page = await browser.sign_in()
    assert page.status == 429
    assert int(page.headers["Retry-After"]) > 0
    assert "seconds" in page.says


async def test_an_expired_session_leads_to_the_sign_in_and_back(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    browser.world.clock.advance(minutes=31)
    sent_away = await browser.get("/our-authority")
    assert sent_away.headers["Location"] == "/sign-in?back=/our-authority"
    page = await browser.get(sent_away.headers["Location"])
    assert "Your session is over" in page.says
    answer = await browser.send(
        page, "/sign-in", {"login": "user", "password": "a long password", "back": "/our-authority"}
    )
    assert answer.headers["Location"] == "/our-authority"


async def test_a_form_sent_after_the_session_ended_leads_back_to_its_page(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get("/our-authority")
    browser.world.clock.advance(minutes=31)
    referrer = str(browser.client.make_url("/our-authority"))
    answer = await browser.send(page, "/sign-out", {}, headers={"Referer": referrer})
    assert answer.headers["Location"] == "/sign-in?back=/our-authority"


async def test_signing_out_ends_the_session_at_the_node(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    secret = browser.client.session.cookie_jar.filter_cookies(browser.client.make_url("/"))["imi-ee-session"].value
    page = await browser.get("/our-authority")
    answer = await browser.send(page, "/sign-out", {})
    assert "You are signed out" in (await browser.get(answer.headers["Location"])).says
    again = await browser.get("/our-authority", headers={"Cookie": f"imi-ee-session={secret}"})
    assert again.status == 303


@pytest.mark.parametrize("token", [None, "", "x" * 43])
async def test_a_form_without_the_sessions_token_is_refused(open_browser: Any, token: str | None) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.post("/sign-out", {} if token is None else {"csrf": token})
    assert page.status == 403
    assert "The form was not accepted" in page.says
    assert (await browser.get("/our-authority")).status == 200


async def test_the_sign_in_form_has_a_token_too(open_browser: Any) -> None:
    browser = await open_browser()
    page = await browser.post("/sign-in", {"login": "user", "password": "a long password"})
    assert page.status == 403


async def test_a_form_sent_from_another_site_is_refused(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    page = await browser.get("/our-authority")
    answer = await browser.send(page, "/sign-out", {}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403


async def test_signing_in_again_ends_the_session_before(open_browser: Any) -> None:
    browser = await open_browser()
    await browser.sign_in()
    first = browser.client.session.cookie_jar.filter_cookies(browser.client.make_url("/"))["imi-ee-session"].value
    page = await browser.get("/our-authority")
    await browser.send(page, "/sign-in", {"login": "user", "password": "a long password"})
    assert (await browser.get("/our-authority")).status == 200
    browser.client.session.cookie_jar.clear()
    assert (await browser.get("/our-authority", headers={"Cookie": f"imi-ee-session={first}"})).status == 303


async def test_the_token_changes_with_the_session(open_browser: Any) -> None:
    browser = await open_browser()
    before = await browser.get("/sign-in")
    await browser.sign_in()
    assert (await browser.get("/our-authority")).csrf != before.csrf


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example/", "evil", "/a\nb", "", "/" + "a" * 2000]
)
def test_a_way_back_never_leads_elsewhere(path: str) -> None:
    assert safe_path(path) == "/work"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded; charset=nonsense", b"csrf=x"),
        ("application/x-www-form-urlencoded", b"csrf=\xff\xfe%ff"),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("multipart/form-data; boundary=x", b"--y--"),
    ],
)
async def test_a_malformed_form_is_refused_and_no_fault_of_ours(open_browser: Any, kind: str, body: bytes) -> None:
    browser = await open_browser()
    async with browser.client.post("/sign-in", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status in {400, 403}
