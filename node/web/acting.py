"""For which of their authorities a user acts on a page: said in its address, unless it is the user's own.

A case is looked at for another one by `?for=EE:…`; a step is taken for it by `accept@EE:…` in the place of `accept`.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from node.casework.views import Official
from node.ids import AuthorityId, parse_authority
from node.pages import signed_in


def official_of(request: web.Request) -> Official:
    """The user, for the authority that the address names. Raises BadIdentifier."""
    official, named = signed_in(request).official, request.query.get("for", "")
    return official.acting_for(parse_authority(named)) if named else official


def step_of(request: web.Request, text: str) -> tuple[str, Official]:
    """A step as an address names it, and the user for the authority it is taken for. Raises BadIdentifier."""
    step, _, named = text.partition("@")
    official = signed_in(request).official
    return step, official.acting_for(parse_authority(named)) if named else official


def step_at(official: Official, step: str, authority: AuthorityId) -> str:
    """Inverse of `step_of`."""
    return step if authority == official.own else f"{step}@{authority}"


def case_at(official: Official, number: str, authority: AuthorityId) -> str:
    """The address of a case, looked at for one authority."""
    return f"/cases/{number}" if authority == official.own else f"/cases/{number}?for={quote(authority)}"
