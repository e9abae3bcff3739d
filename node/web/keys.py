"""What handlers are given."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from node.casework.casework import Casework
from node.catalogue import Catalogue
from node.clock import Clock
from node.directory import Directory

CASEWORK: Final = web.AppKey("CASEWORK", Casework)
CATALOGUE: Final = web.AppKey("CATALOGUE", Catalogue)
CLOCK: Final = web.AppKey("CLOCK", Clock)
DIRECTORY: Final = web.AppKey("DIRECTORY", Directory)
