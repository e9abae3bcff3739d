"""Signing in, staying in, being shut out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from node.casework import Users
from node.casework.errors import (
    BadToken,
    LoginTaken,
    SessionExpired,
    SignInRefused,
    SignInThrottled,
    UnknownLanguage,
    UnknownUser,
    WeakPassword,
)
from node.clock import FakeClock
from node.ids import AuthorityId
from node.local_store import audit
from node.local_store.database import Database
from node.local_store.users import SessionRow, TokenRow, UserRow

GOOD = "a long password"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def clock():
    return FakeClock(datetime(2026, 11, 24, 9, 0, tzinfo=UTC))


@pytest.fixture
def database(tmp_path):
    opened = Database.open(tmp_path / "node.db", create=True)
    yield opened
    opened.close()


@pytest.fixture
def users(database, clock):
    return Users(database, clock, hasher=QUICK)


async def register(users, login="mari", **more):
    fields = {
        "login": login,
        "name": "Mari Example",
        "password": GOOD,
        "authority": AuthorityId("EE:school"),
        "roles": ["handler"],
        "language": "et",
    }
    return await users.create_user(**{**fields, **more})


async def test_a_user_signs_in_and_out(users):
    official = await register(users, "Mari")
    signed_in = await users.sign_in(" MARI ", GOOD, source="10.0.0.1")
    assert signed_in.official == official
    assert (official.login, official.roles, official.language) == ("mari", frozenset({"handler"}), "et")
    assert (await users.session(signed_in.secret)).csrf == signed_in.csrf
    await users.sign_out(signed_in.secret)
    await users.sign_out(signed_in.secret)
    with pytest.raises(SessionExpired):
        await users.session(signed_in.secret)


async def test_secrets_are_stored_as_hashes_only(users, database):
    await register(users)
    signed_in = await users.sign_in("mari", GOOD, source="10.0.0.1")
    token = await users.create_token("mari", label="case system")

    def stored(session):
        found = [session.scalar(select(SessionRow.secret)), session.scalar(select(TokenRow.token))]
        return [*found, session.scalar(select(UserRow.password))]

    kept = database.run(stored)
    assert not {signed_in.secret, token, GOOD} & set(kept)
    assert kept[2].startswith("$argon2id$")


async def test_wrong_names_and_passwords_look_the_same(users):
    await register(users)
    for login, password in (("mari", "another password"), ("nobody", GOOD), ("", ""), ("mari", "x" * 100_000)):
        with pytest.raises(SignInRefused) as error:
            await users.sign_in(login, password, source="10.0.0.1")
        assert str(error.value) == "name or password is wrong"


async def test_failed_sign_ins_are_slowed_down_and_a_right_one_ends_it(users, clock):
    await register(users)
    for _ in range(5):
        with pytest.raises(SignInRefused):
            await users.sign_in("mari", "wrong password", source="10.0.0.1")
    with pytest.raises(SignInThrottled) as error:
        await users.sign_in("mari", GOOD, source="10.0.0.2")
    assert 0 < error.value.details["seconds"] <= 15
    clock.advance(seconds=16)
    with pytest.raises(SignInRefused):
        await users.sign_in("mari", "wrong password", source="10.0.0.1")
    clock.advance(seconds=16)
    with pytest.raises(SignInThrottled):
        await users.sign_in("mari", GOOD, source="10.0.0.1")
    clock.advance(minutes=15)
    await users.sign_in("mari", GOOD, source="10.0.0.1")
    with pytest.raises(SignInRefused):
        await users.sign_in("mari", "wrong password", source="10.0.0.1")


async def test_tries_side_by_side_are_all_counted(users):
    await register(users)
    tries = [users.sign_in("mari", f"wrong password {n}", source=f"10.0.0.{n}") for n in range(20)]
    failures = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(f, SignInRefused) for f in failures) == 5
    assert sum(isinstance(f, SignInThrottled) for f in failures) == 15


async def test_one_address_trying_many_names_is_slowed_down(users):
    for n in range(50):
        with pytest.raises(SignInRefused):
            await users.sign_in(f"name-{n}", GOOD, source="10.0.0.9")
    with pytest.raises(SignInThrottled):
        await users.sign_in("name-50", GOOD, source="10.0.0.9")


async def test_a_session_ends_by_idleness_and_by_age(users, clock):
    await register(users)
    idle = await users.sign_in("mari", GOOD, source="10.0.0.1")
    clock.advance(minutes=29)
    assert (await users.session(idle.secret)).expires_at > idle.expires_at
    clock.advance(minutes=31)
    with pytest.raises(SessionExpired):
        await users.session(idle.secret)
    busy = await users.sign_in("mari", GOOD, source="10.0.0.1")
    for _ in range(29):
        clock.advance(minutes=20)
        await users.session(busy.secret)
    clock.advance(minutes=21)
    with pytest.raises(SessionExpired):
        await users.session(busy.secret)
    with pytest.raises(SessionExpired):
        await users.session("")


async def test_tokens_end_are_revoked_and_go_with_their_user(users, clock):
    await register(users)
    token = await users.create_token("mari", label="one", days=10)
    other = await users.create_token("mari", label="two")
    assert (await users.official_of_token(token)).login == "mari"
    clock.advance(days=11)
    with pytest.raises(BadToken):
        await users.official_of_token(token)
    assert await users.revoke_tokens("mari", label="two") == 1
    with pytest.raises(BadToken):
        await users.official_of_token(other)
    third = await users.create_token("mari", label="three")
    session = await users.sign_in("mari", GOOD, source="10.0.0.1")
    await users.close_user("mari")
    for act, refused in (
        (users.official_of_token(third), BadToken),
        (users.session(session.secret), SessionExpired),
        (users.sign_in("mari", GOOD, source="10.0.0.1"), SignInRefused),
    ):
        with pytest.raises(refused):
            await act
    with pytest.raises(UnknownUser):
        await users.create_token("nobody", label="x")


async def test_what_registering_refuses(users):
    await register(users)
    with pytest.raises(LoginTaken):
        await register(users, "MARI")
    for password in ("short", "elevenchars", "marimarimari"):
        with pytest.raises(WeakPassword):
            await register(users, "marimarimari", password=password)
    with pytest.raises(UnknownLanguage):
        await register(users, "jaan", language="xx")


async def test_a_language_is_remembered(users):
    official = await register(users)
    signed_in = await users.sign_in("mari", GOOD, source="10.0.0.1")
    await users.set_language(official, "el")
    assert (await users.session(signed_in.secret)).official.language == "el"
    with pytest.raises(UnknownLanguage):
        await users.set_language(official, "gr")


async def test_signing_in_is_audited_and_old_rows_are_swept(users, database, clock):
    await register(users)
    await users.sign_in("mari", GOOD, source="10.0.0.1")
    assert [entry.act for entry in database.run(audit.latest)] == ["sign-in", "user-created"]
    clock.advance(days=2)
    await users.sweep()
    assert database.run(lambda session: session.scalar(select(SessionRow.secret))) is None
