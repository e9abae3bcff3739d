"""Who signs in: users, their sessions and the tokens of national systems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from node.casework.views import Official
from node.ids import AuthorityId


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

    async def create_user(
        self, *, login: str, name: str, password: str, authority: AuthorityId, roles: Iterable[str], language: str
    ) -> Official:
        """Register a user. Raises LoginTaken, WeakPassword, UnknownLanguage."""
        raise NotImplementedError

    async def sign_in(self, login: str, password: str, *, source: str) -> SignedIn:
        """A new session.

        Args:
            source: network address, for throttling.

        Raises:
            SignInRefused, SignInThrottled (`details["seconds"]`).
        """
        raise NotImplementedError

    async def session(self, secret: str) -> SignedIn:
        """The session behind a cookie, prolonged. Raises SessionExpired."""
        raise NotImplementedError

    async def sign_out(self, secret: str) -> None:
        """End a session; nothing happens if it is over."""
        raise NotImplementedError

    async def set_language(self, official: Official, language: str) -> None:
        """Remember the language a user reads in. Raises UnknownLanguage."""
        raise NotImplementedError

    async def create_token(self, login: str, *, label: str, days: int = 365) -> str:
        """A REST token of a user, shown only this once: `imi_` and 64 hexadecimal digits. Raises UnknownUser."""
        raise NotImplementedError

    async def official_of_token(self, token: str) -> Official:
        """Who calls. Raises BadToken."""
        raise NotImplementedError
