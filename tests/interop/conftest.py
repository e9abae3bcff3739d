"""phase4, built once for the session, and our own side, with keys made for the run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.federation import as4
from tests.conftest import component_missing

from .keys import Identity
from .ours import OurSide
from .phase4 import Phase4, Receiver

PROJECT = Path(__file__).parent / "phase4"
BUILD_SECONDS = 600  # the first time, Maven fetches what it needs


@pytest.fixture(scope="session")
def classpath() -> Path:
    """The folder of phase4 and what it needs, compiled."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            component_missing(f"{program} is not installed: no phase4")
    target = Path(__file__).parents[2] / "build" / "interop"
    command = ["mvn", "-q", "-B", "-f", str(PROJECT), f"-DbuildDirectory={target}", "package"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if "Could not transfer" in built.stdout:
        component_missing("Maven cannot fetch phase4")
    assert built.returncode == 0, built.stdout
    return target


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
