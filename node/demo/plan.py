"""Which nodes a demo has, where they listen, and what `federation.json` says about them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from node.errors import SetupError
from node.ids import NodeId, parse_node

NODES = tuple(NodeId(code) for code in ("EE", "FR", "RO", "DE", "DE-BY", "EU"))
BASE_PORT = 18100
FORMAT = 1


class PortTaken(SetupError):
    """A port the demo wants is in use."""

    code = "setup.port-taken"


class OldDemo(SetupError):
    """The demo folder was made by another version, or is not a demo's."""

    code = "setup.old-demo"


class UnknownDemoNode(SetupError):
    """--nodes names a node the demo does not have, or leaves out the publisher."""

    code = "setup.unknown-demo-node"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Login(_Model):
    """A plainly fictional user of one authority."""

    login: str
    password: str
    token: str
    authority: str
    roles: list[str]


class NodePlace(_Model):
    """Where one node of the demo lives and listens."""

    node: NodeId
    folder: Path
    federation: str
    pages: str
    api: str
    management: str
    relay: NodeId | None = None  # the node through which alone it is reached
    logins: list[Login] = []


class FederationFile(_Model):
    """`federation.json`: everything scripts and tests need to use a demo."""

    format: int = FORMAT
    nodes: dict[str, NodePlace]

    def write(self, folder: Path) -> None:
        """Write it into the demo's folder, whole or not at all."""
        target = folder / "federation.json"
        draft = target.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        draft.replace(target)

    @classmethod
    def read(cls, folder: Path) -> FederationFile | None:
        """The file of an earlier start, if there was one.

        Raises:
            OldDemo: it is of another format.
        """
        path = folder / "federation.json"
        if not path.exists():
            return None
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise OldDemo(f"{path} is not a federation this version can continue; choose another --dir") from error
        if found.format != FORMAT:
            raise OldDemo(f"{folder} was made by another version (format {found.format}); choose another --dir")
        return found


def chosen(codes: Sequence[str]) -> tuple[NodeId, ...]:
    """The nodes to run, in the demo's order.

    Raises:
        UnknownDemoNode: one is not in the demo, or EU, which publishes the trust list, is left out.
    """
    wanted = {parse_node(code.strip()) for code in codes}
    if unknown := wanted - set(NODES):
        raise UnknownDemoNode(f"the demo has no node {', '.join(sorted(unknown))}; it has {', '.join(NODES)}")
    if NodeId("EU") not in wanted:
        raise UnknownDemoNode("EU must be among --nodes: it publishes the trust list")
    return tuple(node for node in NODES if node in wanted)


def place(folder: Path, node: NodeId, base_port: int) -> NodePlace:
    """Where a node listens: three ports from `base_port` on, ten a node; free ones if it is 0."""
    if base_port:
        first = base_port + 10 * NODES.index(node)
        ports = [first + 1, first + 2, first + 3]
    else:
        ports = _free_ports(3)
    federation, officials, management = ports
    return NodePlace(
        node=node,
        folder=folder / "nodes" / node,
        federation=f"https://127.0.0.1:{federation}",
        pages=f"http://127.0.0.1:{officials}",
        api=f"http://127.0.0.1:{officials}/api/v1",
        management=f"http://127.0.0.1:{management}",
    )


def check_ports(places: Sequence[NodePlace]) -> None:
    """Raises PortTaken for the first port that something else listens on."""
    for spot in places:
        for url in (spot.federation, spot.pages, spot.management):
            port = int(url.rsplit(":", 1)[1])
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise PortTaken(
                        f"port {port}, wanted for node {spot.node}, is in use: stop what listens there "
                        "(another demo?), or choose other ports with --base-port"
                    ) from error


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
