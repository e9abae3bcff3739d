"""What the frame is given, and what it leaves on a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from aiohttp import web

from node.casework.users import SignedIn, Users
from node.directory import Directory
from node.errors import Refused
from node.ids import NodeId
from node.texts import Texts

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every page needs.

    `zone`: in which instants are shown. `https`: users reach the node by https, so cookies are Secure and bound to the host.
    """

    node: NodeId
    https: bool
    texts: Texts
    users: Users
    directory: Directory
    zone: tzinfo


FRAME: Final = web.AppKey("FRAME", Frame)
SIGNED_IN: Final = web.RequestKey("SIGNED_IN", SignedIn)  # only there if somebody is signed in
LANG: Final = web.RequestKey("LANG", str)
CSRF: Final = web.RequestKey("CSRF", str)
REQUEST_ID: Final = web.RequestKey("REQUEST_ID", str)
NEW_COOKIE: Final = web.RequestKey("NEW_COOKIE", bool)


class MissingCsrf(Refused):
    """A form came without the token of the session that it was shown to, or from another site."""

    code = "refused.form-token"


def public(handler: Handler) -> Handler:
    """Marks a page that is shown to people who are not signed in; every other page sends them to the sign-in."""
    handler.is_public = True  # type: ignore[attr-defined]
    return handler


def is_public(request: web.Request) -> bool:
    return getattr(request.match_info.handler, "is_public", False)
