"""Who signs in: users, their sessions and the tokens of national systems."""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from node.casework.errors import (
    AuthorityMoving,
    BadToken,
    LoginTaken,
    SessionExpired,
    SignInRefused,
    SignInThrottled,
    UnknownLanguage,
    UnknownUser,
    WeakPassword,
)
from node.casework.views import Official
from node.catalogue.texts import LANGUAGES
from node.clock import Clock
from node.ids import AuthorityId
from node.local_store import audit, moves, users
from node.local_store.audit import AuditEntry
from node.local_store.database import Database
from node.local_store.users import SessionRow, ThrottleRow, TokenRow, UserRow

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1000
IDLE: Final = timedelta(minutes=30)  # a session ends after this long without use
LONGEST: Final = timedelta(hours=10)  # and after this in any case
FREE_TRIES: Final = 5  # for one login
FREE_TRIES_OF_SOURCE: Final = 50  # from one address, which a whole office may share
LONGEST_WAIT: Final = timedelta(minutes=15)
_FORGET_TRIES: Final = timedelta(hours=24)
_PROLONG_AFTER: Final = timedelta(minutes=1)  # a session is written again at most this often
_AT_ONCE: Final = 2  # passwords hashed side by side: each takes 64 MiB and a core

_OF_TOKEN: Final = (
    select(UserRow, TokenRow.expires_at)
    .join(TokenRow, TokenRow.user_id == UserRow.id)
    .where(TokenRow.token == bindparam("token"))
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session: `secret` goes into the cookie and is stored only as a hash; `csrf` into forms."""

    official: Official
    name: str
    secret: str
    csrf: str
    expires_at: datetime  # moves with use, up to `ends_at`
    ends_at: datetime


class Users:
    """Users of this node's authorities."""

    def __init__(self, database: Database, clock: Clock, *, hasher: PasswordHasher | None = None) -> None:
        """Args.

        hasher: argon2id with the library's defaults (RFC 9106, low memory) unless given.
        """
        self._database, self._clock = database, clock
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._nobody = self._hasher.hash(secrets.token_hex(16))  # so that unknown names take as long

    async def create_user(
        self, *, login: str, name: str, password: str, authority: AuthorityId, roles: Iterable[str], language: str
    ) -> Official:
        """Register a user. Raises LoginTaken, WeakPassword, UnknownLanguage."""
        login = folded(login)
        check_language(language)
        row = {"login": login, "name": name, "authority": authority, "language": language}
        hashed = await self.hash_password(password, login=login)
        return await self._database.transact(self._create, row, hashed, sorted(set(roles)))

    async def hash_password(self, password: str, *, login: str) -> str:
        """A new password of `login`, as it is stored. Raises WeakPassword."""
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD or folded(password) == folded(login):
            raise WeakPassword(f"a password has at least {SHORTEST_PASSWORD} characters and is not the login")
        return await self._hash(password)

    async def unusable_password(self) -> str:
        """What is stored while a password is to be set: it takes as long to try as any other."""
        return await self._hash(secrets.token_hex(32))

    async def _hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def sign_in(self, login: str, password: str, *, source: str) -> SignedIn:
        """A new session.

        Args:
            source: network address, for throttling.

        Raises:
            SignInRefused, SignInThrottled (`details["seconds"]`), AuthorityMoving (`details["to"]`): the user's
            authority moves, or has moved, to another node; its people sign in there.
        """
        login = folded(login)[:200]
        subjects = (_subject("login", login), _subject("source", source))
        await self._database.transact(self._count_try, subjects)
        row = await self._database.read(users.by_login, login)
        stored = row.password if row and row.closed_at is None else self._nobody
        async with self._turns:
            right = await asyncio.to_thread(self._verify, stored, password[:LONGEST_PASSWORD])
        if not right or row is None or row.closed_at is not None:
            log.info("sign-in refused")
            raise SignInRefused("name or password is wrong")
        return await self._database.transact(self._start_session, row.id, subjects)

    async def session(self, secret: str) -> SignedIn:
        """The session behind a cookie, prolonged. Raises SessionExpired."""
        found, fresh = await self._database.read(self._find_session, secret)
        return found if fresh else await self._database.transact(self._prolong, secret)

    async def sign_out(self, secret: str) -> None:
        """End a session; nothing happens if it is over."""
        await self._database.transact(self._end_session, secret)

    async def set_language(self, official: Official, language: str) -> None:
        """Remember the language a user reads in. Raises UnknownLanguage."""
        check_language(language)
        await self._database.transact(self._set_language, official.user, language)

    async def create_token(self, login: str, *, label: str, days: int = 365) -> str:
        """A REST token of a user, shown only this once: `imi_` and 64 hexadecimal digits. Raises UnknownUser."""
        token = f"imi_{secrets.token_hex(32)}"
        await self._database.transact(self._add_token, folded(login), token, label, days)
        return token

    async def revoke_tokens(self, login: str, *, label: str | None = None) -> int:
        """Revoke a user's tokens, or those with a label; how many there were. Raises UnknownUser."""
        return await self._database.transact(self._drop_tokens, folded(login), label)

    async def close_user(self, login: str) -> None:
        """Close an account: sessions and tokens end at once. Raises UnknownUser."""
        await self._database.transact(self._close, folded(login))

    async def official_of_token(self, token: str) -> Official:
        """Who calls. Raises BadToken."""
        return await self._database.read(self._find_token, token)

    async def sweep(self) -> None:
        """Forget ended sessions and old throttles."""
        await self._database.transact(self._sweep)

    def _create(self, session: Session, fields: dict[str, str], hashed: str, roles: list[str]) -> Official:
        if users.by_login(session, fields["login"]) is not None:
            raise LoginTaken("another user has this login")
        row = UserRow(**fields, password=hashed, roles=",".join(roles), created_at=self._clock.now())
        session.add(row)
        session.flush()
        self._audit(session, "user-created", row)
        return _official(row)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _count_try(self, session: Session, subjects: tuple[str, ...]) -> None:
        """Count a try before the password is looked at, so that tries side by side are all counted."""
        now = self._clock.now()
        rows = [session.get(ThrottleRow, subject) for subject in subjects]
        for row in rows:
            if row and row.locked_until > now:
                wait = math.ceil((row.locked_until - now).total_seconds())
                raise SignInThrottled(f"too many failed sign-ins: wait {wait} seconds", seconds=wait)
        for subject, row, free in zip(subjects, rows, (FREE_TRIES, FREE_TRIES_OF_SOURCE), strict=True):
            tries = row or ThrottleRow(subject=subject, failures=0, locked_until=now, updated_at=now)
            tries.failures += 1
            tries.locked_until = now + _wait_after(tries.failures, free)
            tries.updated_at = now
            session.add(tries)

    def _start_session(self, session: Session, user: int, subjects: tuple[str, ...]) -> SignedIn:
        row = session.get(UserRow, user)
        if row is None or row.closed_at is not None:
            raise SignInRefused("name or password is wrong")
        if going := moves.leaving(session).get(AuthorityId(row.authority)):
            raise AuthorityMoving("this authority moves to another node of its State", to=going.to)
        for subject in subjects:
            if (tries := session.get(ThrottleRow, subject)) is not None:
                session.delete(tries)
        now, secret = self._clock.now(), secrets.token_urlsafe(32)
        signed_in = SessionRow(
            secret=_hash(secret),
            user_id=row.id,
            csrf=secrets.token_urlsafe(32),
            expires_at=now + IDLE,
            ends_at=now + LONGEST,
        )
        session.add(signed_in)
        self._audit(session, "sign-in", row)
        return _signed_in(signed_in, row, secret)

    def _find_session(self, session: Session, secret: str) -> tuple[SignedIn, bool]:
        """The session, and whether it was prolonged so lately that nothing has to be written: the usual case."""
        row, user = self._valid(session, secret)
        left = row.expires_at - self._clock.now()
        fresh = left >= min(IDLE - _PROLONG_AFTER, row.ends_at - self._clock.now())
        return _signed_in(row, user, secret), fresh

    def _prolong(self, session: Session, secret: str) -> SignedIn:
        row, user = self._valid(session, secret)
        row.expires_at = min(self._clock.now() + IDLE, row.ends_at)
        session.flush()
        return _signed_in(row, user, secret)

    def _valid(self, session: Session, secret: str) -> tuple[SessionRow, UserRow]:
        row = session.get(SessionRow, _hash(secret))
        user = session.get(UserRow, row.user_id) if row else None
        if row is None or user is None or user.closed_at is not None or row.expires_at <= self._clock.now():
            raise SessionExpired("the session is over: sign in again")
        return row, user

    def _end_session(self, session: Session, secret: str) -> None:
        row = session.get(SessionRow, _hash(secret))
        user = session.get(UserRow, row.user_id) if row else None
        if row is not None and user is not None:
            session.delete(row)
            self._audit(session, "sign-out", user)

    def _set_language(self, session: Session, user: int, language: str) -> None:
        row = session.get(UserRow, user)
        if row is not None:
            row.language = language

    def _add_token(self, session: Session, login: str, token: str, label: str, days: int) -> None:
        user, now = self._user(session, login), self._clock.now()
        ends = now + timedelta(days=days)
        session.add(TokenRow(token=_hash(token), user_id=user.id, label=label, created_at=now, expires_at=ends))
        self._audit(session, "token-created", user)

    def _drop_tokens(self, session: Session, login: str, label: str | None) -> int:
        user = self._user(session, login)
        self._audit(session, "tokens-revoked", user)
        return users.drop_tokens(session, user.id, label)

    def _close(self, session: Session, login: str) -> None:
        user = self._user(session, login)
        user.closed_at = self._clock.now()
        users.end_sessions_of(session, user.id)
        users.drop_tokens(session, user.id, None)
        self._audit(session, "user-closed", user)

    def _find_token(self, session: Session, token: str) -> Official:
        found = session.execute(_OF_TOKEN, {"token": _hash(token)}).first()
        if found is None or found.UserRow.closed_at is not None or found.expires_at <= self._clock.now():
            raise BadToken("the token is unknown, expired or revoked")
        return _official(found.UserRow)

    def _sweep(self, session: Session) -> None:
        now = self._clock.now()
        users.sweep(session, now, throttles_before=now - _FORGET_TRIES)

    def _user(self, session: Session, login: str) -> UserRow:
        row = users.by_login(session, login)
        if row is None:
            raise UnknownUser("no user has this login")
        return row

    def _audit(self, session: Session, act: str, row: UserRow) -> None:
        entry = AuditEntry(
            at=self._clock.now(), act=act, user=row.id, login=row.login, authority=AuthorityId(row.authority)
        )
        audit.record(session, entry)


def _wait_after(failures: int, free: int) -> timedelta:
    """No wait for the first tries, then one that doubles."""
    if failures < free:
        return timedelta()
    return min(timedelta(seconds=15 << min(failures - free, 10)), LONGEST_WAIT)


def check_language(language: str) -> None:
    """Raises UnknownLanguage."""
    if language not in LANGUAGES:
        raise UnknownLanguage("not the code of an official language", lang=language[:8])


def folded(login: str) -> str:
    """A login as it is stored and compared."""
    return login.strip().casefold()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _subject(kind: str, value: str) -> str:
    return _hash(f"{kind}:{value}")


def _official(row: UserRow) -> Official:
    return Official(
        user=row.id,
        login=row.login,
        authority=AuthorityId(row.authority),
        roles=frozenset(role for role in row.roles.split(",") if role),
        language=row.language,
    )


def _signed_in(row: SessionRow, user: UserRow, secret: str) -> SignedIn:
    return SignedIn(
        official=_official(user),
        name=user.name,
        secret=secret,
        csrf=row.csrf,
        expires_at=row.expires_at,
        ends_at=row.ends_at,
    )
