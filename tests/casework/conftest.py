from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from node.catalogue import Catalogue
from node.ids import NodeId
from node.settings import shipped

_spec = importlib.util.spec_from_file_location("casework_federation", Path(__file__).with_name("federation.py"))
assert _spec
assert _spec.loader
federation_module = importlib.util.module_from_spec(_spec)
sys.modules["casework_federation"] = federation_module
_spec.loader.exec_module(federation_module)

NODES = ("EE", "FR", "DE", "DE-BY", "EU")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(shipped())


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Mapping[NodeId, Any]:
    return federation_module.make_signing(tmp_path_factory.mktemp("states"), NODES)


@pytest.fixture
def federation(tmp_path: Path, catalogue: Catalogue, signing: Mapping[NodeId, Any]) -> Iterator[Callable[..., Any]]:
    """`federation("EE", "FR")`: these nodes, started; all are stopped at the end."""
    made = federation_module.Federation(tmp_path, catalogue, signing)

    def start(*names: str) -> Any:
        for name in names:
            made.start(name)
        return made

    yield start
    made.stop()
