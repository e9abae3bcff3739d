"""Several nodes' casework back to back: real databases, catalogue, directories and keys; messages carried by hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from node.casework.casework import Casework
from node.casework.registry import Registry
from node.casework.users import Users
from node.casework.views import CaseView, File, Official
from node.catalogue import Catalogue
from node.clock import FakeClock
from node.directory.directory import Directory
from node.directory.model import Authority, By, Change
from node.federation import as4, outbox
from node.federation.as4 import Part
from node.federation.peers import Peer, Peers, TrustList
from node.federation.receiver import Inbound
from node.ids import AuthorityId, CaseNumber, NodeId, State, new_message_id
from node.local_store.database import Database
from node.local_store.files import FileStore
from node.local_store.messages import OutboxRow
from node.local_store.vault import Vault
from pki.authority import StateAuthority
from pki.signer import FileSigner

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
REQUEST = "professional-qualifications/information-request"
ALERT = "services/alert"
ALL_ROLES = frozenset({"handler", "allocator", "referral-handler", "disseminator"})

PQ = {"professional-qualifications": ("ca",)}
AUTHORITIES: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "EE:school": ("EE", PQ),
    "EE:coordinator": (
        "EE",
        {"professional-qualifications": ("coordinator",), "services": ("alert-coordinator", "alert-inbox")},
    ),
    "FR:school": ("FR", PQ),
    "FR:health": ("FR", PQ),
    "FR:alerts": ("FR", {"services": ("alert-coordinator", "alert-inbox")}),
    "DE:alerts": ("DE", {"services": ("alert-coordinator", "alert-inbox"), "professional-qualifications": ("ca",)}),
    "DE:office": ("DE", {"services": ("alert-authority",)}),
    "DE:munich": ("DE-BY", {"services": ("alert-authority", "alert-inbox"), "professional-qualifications": ("ca",)}),
    "EU:commission": ("EU", {"services": ("commission",)}),
    "EE:stranger": ("EE", {}),
}


def text(words: str, lang: str = "en") -> dict[str, str]:
    return {"text": words, "lang": lang}


def request_content(canary: str = "Ann", lang: str = "et", **more: Any) -> dict[str, Any]:
    return {
        "person": {
            "surname": text(f"{canary} Example", lang),
            "given-names": text("Person One", lang),
            "birth-date": "1990-02-03",
        },
        "profession": {"profession": "secondary-school-teacher"},
        "reasoned-request": {"justification": text("The copy is hard to read.", lang), **more},
    }


def request_control(to: str = "FR:school", questions: Sequence[str] = ("Q2", "Q3")) -> dict[str, Any]:
    return {"to": to, "questions": list(questions), "wanted": "2026-12-08", "urgency": "normal"}


def danger(canary: str = "Scaffolding Ltd") -> dict[str, Any]:
    return {
        "service-danger": {
            "provider": text(canary, "et"),
            "activity": "scaffolding",
            "facts": text(f"It fell down. {canary}", "et"),
            "damage": "safety",
            "severity": "very-serious",
            "likelihood": "high",
        }
    }


@dataclass
class Signing:
    """A node's signing key and its place in the trust list."""

    signer: FileSigner
    peer: Peer


def make_signing(folder: Path, nodes: Sequence[str]) -> dict[NodeId, Signing]:
    made = {}
    for node in nodes:
        folder_of_state = folder / node[:2]
        exists = folder_of_state.exists()
        state = StateAuthority.open(folder_of_state) if exists else StateAuthority.create(folder_of_state, node[:2])
        key = Ed25519PrivateKey.generate()
        certificate = state.issue("sign", node, key.public_key())
        peer = Peer(
            node=NodeId(node),
            state=State(node[:2]),
            name={"en": node},
            url="https://127.0.0.1:1",
            state_ca=state.certificate,
            crl=None,
            signing=(certificate,),
            encryption=(),
            suites=(),
            features=(),
            logs={},
        )
        made[NodeId(node)] = Signing(FileSigner(key, certificate), peer)
    return made


def trust_list(peers: Sequence[Peer], version: int = 1) -> TrustList:
    return TrustList(
        versions={"timestamp": version},
        read_at=START,
        valid_until=START + timedelta(days=3650),
        nodes={peer.node: peer for peer in peers},
    )


def entry(name: str, node: str, roles: Mapping[str, tuple[str, ...]]) -> Authority:
    return Authority(
        id=AuthorityId(name),
        node=NodeId(node),
        names={"en": name.replace(":", " ").title()},
        name_lang="en",
        roles=roles,
    )


@dataclass
class Node:
    """One node: its casework, and its users at hand by authority."""

    name: NodeId
    folder: Path
    casework: Casework
    database: Database
    directory: Directory
    peers: Peers
    officials: dict[str, Official] = field(default_factory=dict)

    def official(self, authority: str, *, roles: frozenset[str] = ALL_ROLES, lang: str = "en") -> Official:
        user = sum(map(ord, authority)) + len(roles)
        login = f"user.{authority.lower()}"
        return Official(user=user, login=login, authority=AuthorityId(authority), roles=roles, language=lang)

    async def case(self, authority: str, number: CaseNumber) -> CaseView:
        return await self.casework.case(self.official(authority), number)

    async def step(
        self, authority: str, number: CaseNumber, step: str, control: Any = None, content: Any = None, **more: Any
    ) -> CaseNumber:
        return await self.casework.take_step(
            self.official(authority), number, step, control=control or {}, content=content or {}, **more
        )

    async def open(
        self, authority: str, procedure: str, step: str, control: Any, content: Any, **more: Any
    ) -> CaseNumber:
        return await self.casework.open_case(
            self.official(authority), procedure, step, control=control, content=content, **more
        )

    async def attach(self, authority: str, data: bytes, name: str = "scan.pdf") -> File:
        return await self.casework.attach(
            self.official(authority), name=name, media_type="application/pdf", lang="ro", chunks=chunked(data)
        )

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


async def chunked(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@dataclass
class Carried:
    """A message as it was carried: what a node would decrypt from the wire."""

    sender: NodeId
    recipient: NodeId
    inbound: Inbound


class Federation:
    """Nodes by name, one clock, and the post between them."""

    def __init__(self, folder: Path, catalogue: Catalogue, signing: Mapping[NodeId, Signing]) -> None:
        self.folder, self.catalogue, self.signing = folder, catalogue, signing
        self.clock = FakeClock(START)
        self.nodes: dict[NodeId, Node] = {}
        self.down: set[NodeId] = set()
        self.carried: list[Carried] = []

    def __getitem__(self, name: str) -> Node:
        return self.nodes[NodeId(name)]

    def start(self, name: str, **settings: Any) -> Node:
        node = NodeId(name)
        folder = self.folder / node
        folder.mkdir(parents=True, exist_ok=True)
        directory = Directory(folder)
        if not (folder / "known").exists():
            self.publish(directory, AUTHORITIES)
            (folder / "known").touch()
        database = Database.open(folder / "node.db", create=True)
        peers = Peers(node, trust_list([s.peer for s in self.signing.values()]), now=self.clock.now)
        casework = Casework(
            node=node,
            database=database,
            catalogue=settings.pop("catalogue", self.catalogue),
            directory=directory,
            peers=peers,
            clock=settings.pop("clock", self.clock),
            signer=self.signing[node].signer,
            files=FileStore(folder / "files"),
            vault=Vault.open(folder / "storage.key", create=True),
            new_message_id=lambda: new_message_id(node),
            **settings,
        )
        started = Node(node, folder, casework, database, directory, peers)
        self.nodes[node] = started
        return started

    def publish(self, directory: Directory, authorities: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        by_node: dict[str, list[Authority]] = {}
        for name, (node, roles) in authorities.items():
            by_node.setdefault(node, []).append(entry(name, node, roles))
        for node, entries in by_node.items():
            directory.publish(NodeId(node), entries, self.signing[NodeId("EU")].signer)

    def stop(self) -> None:
        for node in self.nodes.values():
            node.database.close()
            node.directory.close()

    def registry(self, name: str, users: Users) -> Registry:
        """Who takes part at a node; what it changes goes into the node's log at once."""
        node = self[name]

        def publish(change: Change, by: By) -> None:
            node.directory.publish(node.name, [change], self.signing[NodeId("EU")].signer, by=by)

        return Registry(
            node.casework.tools, database=node.database, directory=node.directory, users=users, publish=publish
        )

    def waiting(self, sender: NodeId) -> list[Any]:
        def rows(session: Session) -> list[Any]:
            found = session.query(OutboxRow).where(OutboxRow.state == "waiting").order_by(OutboxRow.id).all()
            session.expunge_all()
            return found

        return self.nodes[sender].database.run(rows)

    def exchange(self, *, dice: random.Random | None = None, see: Callable[[Carried], None] | None = None) -> int:
        """Carry messages until none is left that can be; how many were.

        Order is kept for each sender, recipient and case; `dice` shuffles the rest and repeats some.
        """
        count = 0
        while True:
            lanes = self._next()
            if not lanes:
                return count
            sender, row = lanes[0] if dice is None else dice.choice(lanes)
            self.carry(sender, row, see, times=2 if dice and dice.random() < 0.2 else 1)
            count += 1

    def carry(self, sender: NodeId, row: Any, see: Callable[[Carried], None] | None = None, *, times: int = 1) -> None:
        """Deliver one message (perhaps repeatedly) and store its receipt."""
        inbound = self.inbound(sender, row)
        recipient = self.nodes[NodeId(row.recipient)]
        for _ in range(times):
            recipient.database.run(recipient.casework.deliver, inbound)
        carried = Carried(sender, NodeId(row.recipient), inbound)
        self.carried.append(carried)
        if see:
            see(carried)
        self.nodes[sender].database.run(
            outbox.store_received, row.id, at=self.clock.now(), receipt=b"receipt", certificate=b""
        )

    def inbound(self, sender: NodeId, row: Any) -> Inbound:
        node = self.nodes[sender]

        def build(session: Session) -> tuple[Part, ...]:
            message = next(w for w in outbox.claim(session, row.recipient, at=self.clock.now() + timedelta(days=1), busy=frozenset(), limit=100) if w.id == row.id)  # fmt: skip
            content = node.casework.open_file(session, message.content_reference)
            files = [
                Part(content=node.casework.open_file(session, f.reference), mime_type=f.mime, content_id=f.name)
                for f in message.files
            ]
            return (Part(content=content, mime_type="application/json"), *files)

        return Inbound(
            message_id=row.message_id,
            sender=sender,
            conversation=row.conversation,
            service=as4.SERVICE,
            ref_to_message_id=None,
            action=row.action,
            properties={},
            parts=node.database.run(build),
            received_at=self.clock.now(),
        )

    def _next(self) -> list[tuple[NodeId, Any]]:
        """The first message of each sender, recipient and case whose nodes are up."""
        found: dict[tuple[str, str, str], tuple[NodeId, Any]] = {}
        for sender in self.nodes:
            if sender in self.down:
                continue
            for row in self.waiting(sender):
                if NodeId(row.recipient) in self.nodes and NodeId(row.recipient) not in self.down:
                    found.setdefault((sender, row.recipient, row.order_key), (sender, row))
        return list(found.values())
