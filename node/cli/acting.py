"""One act about who takes part, beside a node that may run. Imported late: most commands start without all this."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from node.api.registry_models import Profile as Shape
from node.casework.profiles import Profile
from node.casework.registry import Registry
from node.casework.users import Users
from node.catalogue import Catalogue
from node.cli.common import stores
from node.clock import Clock, SystemClock
from node.directory import Directory
from node.errors import SetupError
from node.ids import NodeId
from node.settings import shipped

T = TypeVar("T")


class BadProfileFile(SetupError):
    """The file given to `imi-node authorities register` is no profile; the sentence names fields and faults."""

    code = "setup.profile-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    node: NodeId
    catalogue: Catalogue
    clock: Clock


def acting(config: Path, act: Callable[[Registry], Awaitable[T]]) -> T:
    """Do one act beside a node that may run; what it changes in the directory is taken over by that node."""
    with stores(config) as (settings, database):
        directory = Directory(settings.data)
        clock, catalogue = SystemClock(), Catalogue.load(settings.catalogue or shipped())
        try:
            basis = _Basis(node=settings.node, catalogue=catalogue, clock=clock)
            users = Users(database, clock)
            registry = Registry(basis, database=database, directory=directory, users=users, publish=None)

            async def once() -> T:
                return await act(registry)

            return asyncio.run(once())
        finally:
            directory.close()


def read_profile(file: Path) -> Profile:
    """The profile in a JSON file. Raises BadProfileFile."""
    try:
        shape = Shape.model_validate_json(file.read_bytes())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10])
        raise BadProfileFile(f"{file} is no profile: {faults}") from error
    said = shape.model_dump().items()
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said}
    return Profile(**fields)
