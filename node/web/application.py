"""The officials' door: the frame, and every page's routes."""

from __future__ import annotations

from aiohttp import web

from node import pages
from node.casework.casework import Casework
from node.casework.registry import Registry
from node.casework.users import Users
from node.catalogue import Catalogue
from node.clock import Clock
from node.directory import Directory
from node.ids import state_of
from node.pages import Frame
from node.settings import Settings
from node.texts import Texts
from node.web import (
    authorities,
    cases,
    coordinating,
    drafting,
    languages,
    ours,
    registering,
    registers,
    signing,
    words,
    work,
)
from node.web.keys import CASEWORK, CATALOGUE, CLOCK, DIRECTORY, REGISTRY, SECRETS, Secrets


def application(
    *,
    node_settings: Settings,
    casework: Casework,
    users: Users,
    registry: Registry,
    directory: Directory,
    catalogue: Catalogue,
    texts: Texts,
    clock: Clock,
) -> web.Application:
    """The pages, with routes under `/`."""
    frame = Frame(
        node=node_settings.node,
        https=node_settings.officials.https,
        texts=texts,
        users=users,
        directory=directory,
        zone=catalogue.calendars[state_of(node_settings.node)].zone,
    )
    app = pages.application(frame)
    app[CASEWORK], app[CATALOGUE], app[CLOCK], app[DIRECTORY] = casework, catalogue, clock, directory
    app[REGISTRY], app[SECRETS] = registry, Secrets()
    for part in (
        signing,
        languages,
        words,
        authorities,
        registers,
        registering,
        ours,
        coordinating,
        work,
        drafting,
        cases,
    ):
        app.router.add_routes(part.routes)
    return app
