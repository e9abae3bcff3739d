"""What must be true of an authority's entry before it goes into a log; judged where entries are made, not where they arrive."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from node.directory.model import Authority
from node.errors import Refused
from node.ids import State

COORDINATOR: Final = "coordinator"  # directory role of a request coordinator
YES_NO: Final = ("yes", "no")
SETTINGS: Final = ("approve-requests", "approve-replies", "allocation", "referral")  # yes or no
REPLY_LANGUAGE: Final = "reply-language"
# Official languages of each State that are official languages of the Union: in these an authority has official names.
OFFICIAL_LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "AT": ("de",), "BE": ("nl", "fr", "de"), "BG": ("bg",), "CY": ("el",), "CZ": ("cs",), "DE": ("de",), "DK": ("da",),
    "EE": ("et",), "EL": ("el",), "ES": ("es",), "FI": ("fi", "sv"), "FR": ("fr",), "HR": ("hr",), "HU": ("hu",),
    "IE": ("en", "ga"), "IT": ("it",), "LI": ("de",), "LT": ("lt",), "LU": ("fr", "de"), "LV": ("lv",), "MT": ("mt", "en"),
    "NL": ("nl",), "PL": ("pl",), "PT": ("pt",), "RO": ("ro",), "SE": ("sv",), "SI": ("sl",), "SK": ("sk",),
}  # fmt: skip


class NoRequestCoordinator(Refused):
    """An authority with access to requests is linked to no request coordinator for that area; it has at least one."""

    code = "refused.no-request-coordinator"


def official_languages(state: State) -> tuple[str, ...]:
    """The languages of official names, the first one always there; English where none of them is the Union's."""
    return OFFICIAL_LANGUAGES.get(state, ("en",))


def area_of(scope: str) -> str:
    """The area of law of an area or of a procedure in it."""
    return scope.partition("/")[0]


def without_request_coordinator(authority: Authority, request_scopes: Collection[str]) -> tuple[str, ...]:
    """The areas in which an authority may send and answer requests, but has no coordinator for them (imi.md 2.2).

    Args:
        request_scopes: areas and procedures of requests; access to anything else needs no request coordinator.

    A coordinator of the area stands for itself; an authority that left answers nothing any more.
    """
    if authority.status == "left":
        return ()
    scopes = [scope for scope, roles in authority.roles.items() if roles and scope in request_scopes]
    lacking = {
        area_of(scope)
        for scope in scopes
        if COORDINATOR not in (*authority.roles.get(scope, ()), *authority.roles.get(area_of(scope), ()))
        and not authority.coordinators_for("request", area_of(scope))
    }
    return tuple(sorted(lacking))


def check(authority: Authority, request_scopes: Collection[str]) -> None:
    """Raises NoRequestCoordinator (`details["areas"]`)."""
    if lacking := without_request_coordinator(authority, request_scopes):
        raise NoRequestCoordinator(
            f"link {authority.id} to a request coordinator for {', '.join(lacking)} first", areas=", ".join(lacking)
        )
