"""Two small nodes of different federations as each other's access points outside: keys, files, agreements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node import cli
from node.federation import outside
from node.ids import NodeId
from node.local_store.database import Database
from pki.node_keys import Family
from tests.delivery.harness import SmallNode, prepare

SUITES: dict[Family, str] = {"ecc": "as4-2.0-ecc", "rsa": "as4-1.15-rsa"}
SERVICE = "urn:example:permits"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its federation's folder, its code, and what the other calls it."""

    folder: Path
    node: NodeId
    called: str

    @property
    def home(self) -> Path:
        return self.folder / self.node

    @property
    def config(self) -> str:
        return str(self.home / "node.toml")

    def small(self) -> SmallNode:
        return SmallNode(self.folder, self.node)

    def command(self, *arguments: str) -> int:
        """Run `imi-node`; its exit code."""
        return cli.run([*arguments, "--config", self.config])


def two_sides(folder: Path, *, family: Family = "ecc") -> tuple[Side, Side]:
    """Estonia in one federation, an access point called "partner" in another; they do not know each other yet."""
    sides = (
        Side(folder / "federation", NodeId("EE"), "estonia"),
        Side(folder / "elsewhere", NodeId("NO"), "partner"),
    )
    for side in sides:
        side.folder.mkdir()
        prepare(side.folder, [side.node], families=(family,))
        Database.open(side.home / "node.db", create=True).close()
        (side.home / "node.toml").write_text(f'node = "{side.node}"\ndata = "{side.home}"\n')
    return sides


def files_of(them: Side, *, family: Family = "ecc", more: str = "") -> dict[str, str]:
    """What `them` hands out, and the agreement the other side writes with it: options of `peers add`."""
    agreement = them.folder / "for-the-other.toml"
    port = (them.home / "port").read_text()
    agreement.write_text(
        f'url = "https://127.0.0.1:{port}/imi/v1/as4"\n'
        f'their_party = "imi-node-{them.node.lower()}"\n'
        f'suite = "{SUITES[family]}"\n{more}\n'
        f'[[service]]\nname = "{SERVICE}"\nactions = ["Submit"]\n'
    )
    keys = them.home / "keys"
    return {
        "--agreement": str(agreement),
        "--tls": str(keys / "tls.crt"),
        "--sign": str(keys / f"sign-{family}.crt"),
        "--encrypt": str(keys / f"encrypt-{family}.crt"),
    }


def introduce(us: Side, them: Side, *, family: Family = "ecc", more: str = "") -> None:
    """Write down what `us` agreed with `them`, as `peers add` does."""
    files = files_of(them, family=family, more=more)
    certificates = {purpose: Path(files[f"--{purpose}"]).read_bytes() for purpose in outside.CERTIFICATES}
    outside.write(us.home / "peers", them.called, Path(files["--agreement"]).read_bytes(), certificates)
