"""What handlers are given, by typed key."""

from __future__ import annotations

from aiohttp import web

from node.api.rendering import Words
from node.casework.casework import Casework
from node.casework.registry import Registry
from node.casework.users import Users
from node.casework.views import Official
from node.catalogue import Catalogue
from node.directory import Directory

CASEWORK = web.AppKey("CASEWORK", Casework)
REGISTRY = web.AppKey("REGISTRY", Registry)
USERS = web.AppKey("USERS", Users)
DIRECTORY = web.AppKey("DIRECTORY", Directory)
CATALOGUE = web.AppKey("CATALOGUE", Catalogue)
WORDS = web.AppKey("WORDS", Words)
OFFICIAL = web.RequestKey("OFFICIAL", Official)
