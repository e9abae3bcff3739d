"""What handlers are given."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Final

from aiohttp import web

from node.casework.casework import Casework
from node.casework.registry import Registry
from node.catalogue import Catalogue
from node.clock import Clock
from node.directory import Directory

CASEWORK: Final = web.AppKey("CASEWORK", Casework)
CATALOGUE: Final = web.AppKey("CATALOGUE", Catalogue)
CLOCK: Final = web.AppKey("CLOCK", Clock)
DIRECTORY: Final = web.AppKey("DIRECTORY", Directory)
REGISTRY: Final = web.AppKey("REGISTRY", Registry)
_MOST_SECRETS: Final = 1000


class Secrets:
    """Links that are shown once, on the page after the form that made them; kept in memory until then."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], str] = OrderedDict()

    def keep(self, secret: str, user: int) -> str:
        """A handle for the address of the next page of this user."""
        handle = secrets.token_hex(8)
        self._kept[handle, user] = secret
        while len(self._kept) > _MOST_SECRETS:
            self._kept.popitem(last=False)
        return handle

    def take(self, handle: str, user: int) -> str:
        """The secret, the first time; then nothing."""
        return self._kept.pop((handle, user), "")


SECRETS: Final = web.AppKey("SECRETS", Secrets)
