from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets

from node.errors import Unavailable
from node.federation.peers import Peers
from node.federation.trust import NotPublished, TrustReader, from_folder
from node.ids import NodeId
from pki.founding import Founding, NodePlan

NODES = ("EE", "FR", "DE", "DE-BY", "EU")


@dataclass(slots=True)
class Wire:
    """What lies between publisher and reader: it can be cut, and change what passes."""

    source: Path
    change: dict[str, bytes | None] = field(default_factory=dict)
    cut: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        if self.cut:
            raise Unavailable("the publisher does not answer")
        if path not in self.change:
            return from_folder(self.source)(path)
        if (changed := self.change[path]) is None:
            raise NotPublished(path)
        return changed


@dataclass(slots=True)
class Federation:
    """A federation's folders, and one node that reads its trust list."""

    founding: Founding
    trust: Path  # the reader's folder
    wire: Wire
    offset: timedelta = timedelta()
    reader: TrustReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = TrustReader(self.trust, self.wire, now=self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @property
    def repository(self) -> Path:
        return self.founding.publisher.repository

    def peers(self, us: str = "FR") -> Peers:
        return Peers(NodeId(us), self.reader.refresh(), now=self.now)

    def metadata(self, name: str) -> bytes:
        return (self.repository / "metadata" / name).read_bytes()

    def newest(self, role: str) -> str:
        """The file of a role's newest version."""
        path = self.founding.publisher._newest_path(role)
        assert path
        return f"metadata/{path.name}"

    def files(self, state: str) -> dict[str, bytes]:
        """What a State says, by target path."""
        return dict(self.founding.office(state).sign().files)

    def forge(
        self, state: str, targets: Mapping[str, bytes], *, signed_by: str = "", expires: datetime | None = None
    ) -> None:
        """Put a State's role into the list unchecked, as a careless publisher would, and take a snapshot."""
        publisher = self.founding.publisher
        version = publisher.next_version(state)
        files = {path: TargetFile.from_data(path, data, ["sha256"]) for path, data in targets.items()}
        end = expires or datetime.now(UTC) + timedelta(days=9)
        role = Metadata(Targets(version=version, targets=files, expires=end.replace(microsecond=0)))
        role.sign(self.founding.office(signed_by or state).trust_key)
        (self.repository / "metadata" / f"{version}.state-{state}.json").write_bytes(role.to_bytes())
        for path, data in targets.items():
            folder, _, name = path.rpartition("/")
            place = self.repository / "targets" / folder / f"{hashlib.sha256(data).hexdigest()}.{name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        publisher.snapshot()


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation made once; tests work on copies."""
    folder = tmp_path_factory.mktemp("founded")
    plans = [NodePlan(node=node, federation=f"https://127.0.0.1:{9000 + i}") for i, node in enumerate(NODES)]
    Founding(folder).found(plans, hosted=["MT"])
    return folder


@pytest.fixture
def federation(founded: Path, tmp_path: Path) -> Federation:
    shutil.copytree(founded, tmp_path / "federation")
    founding = Founding(tmp_path / "federation")
    TrustReader.start_from(tmp_path / "trust", founding.publisher.root_bytes())
    return Federation(founding, tmp_path / "trust", Wire(founding.publisher.repository))
