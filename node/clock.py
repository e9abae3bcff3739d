"""Business time, injected. TLS and the trust list's expiry use the system's clock (ADR: time)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """This instant: aware, UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class FakeClock:
    """A clock turned by hand, for tests and training federations."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, **span: float) -> None:
        """Turn forward by a timedelta's keywords: `advance(days=14)`."""
        self._now += timedelta(**span)


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds and Z: the one form in which events, messages and logs write an instant."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """Inverse of rfc3339; raises ValueError for a naive or malformed instant."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs a zone")
    return at.astimezone(UTC)
