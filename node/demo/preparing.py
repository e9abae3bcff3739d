"""Making a federation's folder: keys, trust list, nodes, authorities and fictional users; the demo's have real authorities."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.progress import Progress

from node.casework.users import Users
from node.clock import SystemClock
from node.demo.plan import FederationFile, Login, NodePlace
from node.directory import Authority, Directory
from node.directory.importing import Overlay, read_authorities, read_registers
from node.directory.model import Register
from node.federation import as4
from node.federation.trust import TrustReader, from_folder
from node.ids import AuthorityId, NodeId
from node.local_store.database import Database
from node.making import make_stores, settings_text
from node.settings import shipped
from pki.founding import Founding, NodePlan
from pki.node_keys import load_node_keys

HOST: Final = NodeId("EU")  # serves the logs of States without a node
PACE: Final = """
[pace]
trust_seconds = 2.0
gossip_seconds = 2.0
sweep_seconds = 10.0
"""

_Loaded = Mapping[str, Mapping[NodeId, Sequence[Authority | Register]]]  # collection -> node -> its records
User = tuple[str, str, tuple[str, ...], str]  # login, authority, roles, language

# Who acts in the demo, by node. The people are fictional and called so.
USERS: Final[Mapping[str, Sequence[User]]] = {
    "EE": (
        ("ee-handler", "EE:b81b464c76", ("handler", "local-administrator", "data-administrator"), "et"),
        ("ee-alerts", "EE:a771c054c5", ("handler", "disseminator"), "et"),
    ),
    "FR": (
        ("fr-handler", "FR:8a294d95e1", ("handler",), "fr"),
        ("fr-alerts", "FR:e48ce0c12f", ("handler", "disseminator"), "fr"),
    ),
    "RO": (
        ("ro-handler", "RO:9b96e157d7", ("handler",), "ro"),
        ("ro-alerts", "RO:3888a2fa74", ("handler", "disseminator"), "ro"),
    ),
    "DE": (
        ("de-handler", "DE:ebe19548cc", ("handler",), "de"),
        ("de-alerts", "DE:558c1b780f", ("handler", "disseminator"), "de"),
    ),
    "DE-BY": (
        ("by-handler", "DE:e0977e7282", ("handler",), "de"),
        ("by-alerts", "DE:79d9e9c4bc", ("handler", "disseminator"), "de"),
    ),
    "EU": (("eu-observer", "EU:commission", ("handler",), "en"),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who is in a federation: the authorities by node (of hosted States too), and each node's users as in USERS."""

    authorities: Mapping[NodeId, Sequence[Authority]]
    users: Mapping[str, Sequence[User]]
    registers: Mapping[NodeId, Sequence[Register]] = field(default_factory=dict)


def _shipped_cast(nodes: Sequence[NodeId]) -> Cast:
    """The real authorities and registers of 30 States and the Union, and the demo's users."""
    return Cast(authorities=_read_authorities(nodes), users=USERS, registers=_read_registers())


async def prepare(
    folder: Path, places: Sequence[NodePlace], progress: Progress, cast: Cast | None = None
) -> FederationFile:
    """Make everything a federation of these nodes needs, in an empty folder.

    Args:
        cast: whose authorities and users there are; the demo's unless given.
    """
    steps = progress.add_task("keys and trust list", total=4)
    if cast is None:
        cast = await asyncio.to_thread(_shipped_cast, [place.node for place in places])
    users = cast.users
    hosted = sorted((cast.authorities.keys() | cast.registers.keys()) - {place.node for place in places})
    founding = Founding(folder)
    await asyncio.to_thread(_found, founding, places, hosted)
    progress.update(steps, advance=1, description="nodes")
    with ThreadPoolExecutor(2) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, _make_node, founding, place, places) for place in places))
        progress.update(steps, advance=1, description="authorities and registers")
        loaded: _Loaded = {"authorities": cast.authorities, "registers": cast.registers}
        await asyncio.gather(*(loop.run_in_executor(pool, _load, founding, place, loaded, hosted) for place in places))
    progress.update(steps, advance=1, description="fictional users")
    logins = {place.node: await _make_users(place, users.get(place.node, ())) for place in places}
    progress.update(steps, advance=1, description="prepared")
    filled = {place.node: place.model_copy(update={"logins": logins[place.node]}) for place in places}
    return FederationFile(nodes={str(node): place for node, place in filled.items()})


def _read_authorities(nodes: Sequence[NodeId]) -> dict[NodeId, list[Authority]]:
    """Every shipped authority by the node it belongs to; regional nodes that do not run fall back to their State's."""
    overlay = Overlay(shipped("directory", "overlay.toml"))
    found: dict[NodeId, list[Authority]] = {}
    for file in sorted(shipped("directory", "authorities").glob("*.jsonl")):
        state = NodeId(file.stem)
        for authority in (*overlay.over(read_authorities(file, node=state)), *overlay.new(state)):
            home = authority.node if authority.node in nodes or authority.node == state else state
            found.setdefault(home, []).append(_at(authority, home))
    return found


def _read_registers() -> dict[NodeId, list[Register]]:
    """Every shipped register by its State's node."""
    found: dict[NodeId, list[Register]] = {}
    for file in sorted(shipped("directory", "registers").glob("*.jsonl")):
        for register in read_registers(file):
            found.setdefault(register.node, []).append(register)
    return found


def _at(authority: Authority, home: NodeId) -> Authority:
    return authority if authority.node == home else replace(authority, node=home)


def _found(founding: Founding, places: Sequence[NodePlace], hosted: Sequence[str]) -> None:
    plans = [
        NodePlan(
            node=place.node,
            federation=None if place.relay else place.federation,
            relay=place.relay,
            name={"en": f"Demo node {place.node}"},
            suites=[as4.COMMON.name],
        )
        for place in places
    ]
    founding.found(plans, hosted=hosted, host=HOST)


def _make_node(founding: Founding, place: NodePlace, places: Sequence[NodePlace]) -> None:
    """Stores, settings, and the first reading of the trust list."""
    behind = [f'{other.node} = "{other.federation}"' for other in places if other.relay == place.node]
    ports = [int(url.rsplit(":", 1)[1]) for url in (place.federation, place.pages, place.management)]
    more = f'publish_from = "{founding.publisher.repository.resolve()}"' if place.node == HOST else ""
    text = settings_text(
        place.node, host="127.0.0.1", federation=ports[0], officials=ports[1], management=ports[2], more=more
    )
    relay = "\n".join(["[relay]", *behind, ""]) if behind else ""
    (place.folder / "node.toml").write_text(text + PACE + relay, encoding="utf-8")
    make_stores(place.folder, founding.publisher.root_bytes())
    TrustReader(place.folder / "trust", from_folder(founding.publisher.repository)).refresh()


def _load(
    founding: Founding,
    place: NodePlace,
    loaded: _Loaded,
    hosted: Iterable[NodeId],
) -> None:
    """Publish what belongs to a node, collection by collection, and what belongs to the States it hosts."""
    keys = load_node_keys(founding.keys(place.node))
    signers = {place.node: keys.log_signer}
    signers |= {node: keys.hosted_logs[node] for node in hosted} if place.node == HOST else {}
    directory = Directory(place.folder)
    try:
        for collection, records in loaded.items():
            for node, signer in signers.items():
                if node in records:
                    directory.publish(node, records[node], signer, collection=collection)
    finally:
        directory.close()


async def _make_users(place: NodePlace, wanted: Sequence[User]) -> list[Login]:
    database = Database.open(place.folder / "node.db")
    try:
        users = Users(database, SystemClock())
        return [await _make_user(users, *fields) for fields in wanted]
    finally:
        database.close()


async def _make_user(users: Users, login: str, authority: str, roles: tuple[str, ...], language: str) -> Login:
    password = f"demo-{secrets.token_hex(6)}"
    who, _, duty = login.partition("-")
    name = f"Handler {who.upper()} ({duty or roles[0]})"
    await users.create_user(
        login=login, name=name, password=password, authority=AuthorityId(authority), roles=roles, language=language
    )
    token = await users.create_token(login, label="demo")
    return Login(login=login, password=password, token=token, authority=authority, roles=list(roles))
