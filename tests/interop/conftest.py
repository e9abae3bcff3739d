"""phase4, built once for the session, and our own side, with keys made for the run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.federation import as4
from tests.conftest import component_missing

from .keys import Identity
from .ours import OurSide
from .phase4 import Missing, Phase4, Receiver, build


@pytest.fixture(scope="session")
def classpath() -> Path:
    """phase4, compiled."""
    try:
        return build()
    except Missing as missing:
        component_missing(str(missing))
        raise


@dataclass(frozen=True)
class Peers:
    """Austria is ours, Slovenia runs phase4."""

    phase4: Phase4
    austria: Identity
    slovenia: Identity
    suite: as4.Suite

    def ours(self, **changes: object) -> OurSide:
        return OurSide(self.suite, self.austria, self.slovenia, **changes)


@pytest.fixture(scope="module", params=as4.SUITES)
def peers(request: pytest.FixtureRequest, classpath: Path, tmp_path_factory: pytest.TempPathFactory) -> Peers:
    folder, suite = tmp_path_factory.mktemp("interop"), as4.SUITES[request.param]
    austria, slovenia = (Identity(node, suite, folder / node) for node in ("AT", "SI"))
    phase4 = Phase4(classpath, suite, us=slovenia, peer=austria, folder=folder / "phase4")
    return Peers(phase4, austria, slovenia, suite)


@pytest.fixture(scope="module")
def receiver(peers: Peers) -> Iterator[Receiver]:
    """phase4, listening."""
    with peers.phase4.receiving() as running:
        yield running


@pytest.fixture
async def ours(peers: Peers) -> AsyncIterator[OurSide]:
    """Our side, listening."""
    async with peers.ours().running() as running:
        yield running
