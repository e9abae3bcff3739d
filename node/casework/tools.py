"""What the acts work with, handed in once by whoever builds the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from node.catalogue import Catalogue
from node.clock import Clock
from node.errors import ImiError
from node.federation.peers import Peers
from node.ids import AuthorityId, MessageId, NodeId
from node.local_store.files import FileStore
from node.local_store.vault import Vault
from pki.signer import Signer

CLOCK_SKEW: Final = timedelta(minutes=5)  # an event from further in the future is held
COORDINATOR: Final = "coordinator"  # directory role: may stand in for whoever is not registered


class Authority(Protocol):
    """What the directory says of an authority."""

    @property
    def names(self) -> Mapping[str, str]: ...
    @property
    def name_lang(self) -> str: ...
    @property
    def roles(self) -> Mapping[str, tuple[str, ...]]:
        """Procedure area, or procedure id -> directory roles."""
        ...

    @property
    def settings(self) -> Mapping[str, Mapping[str, str]]:
        """Procedure area, or procedure id -> how the authority works in it."""
        ...

    @property
    def status(self) -> str:
        """active, suspended or left."""
        ...

    @property
    def represented_by(self) -> str:
        """The coordinator whose users act for it; empty: its own do."""
        ...


class Directory(Protocol):
    """The node's copy of the directory: local, cheap, callable from any thread."""

    def get(self, authority: AuthorityId, /) -> Authority:
        """Raises an ImiError if it is not known."""
        ...

    def homes_of(self, authority: AuthorityId, /) -> tuple[NodeId, ...]:
        """The nodes that hosted it, in order; the last one does. Raises an ImiError if it is not known."""
        ...

    def moved(self) -> Mapping[AuthorityId, tuple[NodeId, ...]]:
        """The authorities that ever moved, with the nodes that hosted them, in order."""
        ...

    def represented_by(self, coordinator: AuthorityId, /) -> Sequence[AuthorityId]:
        """The bodies whose entries name this coordinator as the one whose users act for them."""
        ...


@dataclass(slots=True, kw_only=True)
class Tools:
    """Everything an act may use. Only `catalogue` is ever exchanged, whole, for a newer edition."""

    node: NodeId
    catalogue: Catalogue
    directory: Directory
    peers: Peers
    clock: Clock
    signer: Signer
    certificate: str  # SHA-256 of the signing certificate, hexadecimal
    files: FileStore
    vault: Vault
    new_message_id: Callable[[], MessageId]
    national: Mapping[str, str] = field(default_factory=dict)  # the State's own settings, where an authority has none

    def authority(self, authority: AuthorityId) -> Authority | None:
        try:
            return self.directory.get(authority)
        except ImiError:
            return None

    def home(self, authority: AuthorityId) -> NodeId | None:
        """The node of an authority; None where the directory does not know it (yet)."""
        return next(reversed(self.homes(authority)), None)

    def homes(self, authority: AuthorityId) -> tuple[NodeId, ...]:
        """The nodes that hosted an authority, in order, as far as the directory knows."""
        try:
            return self.directory.homes_of(authority)
        except ImiError:
            return ()

    def has_no_door(self, authority: AuthorityId) -> bool:
        """Whether its State is only hosted in the directory: nothing could ever be delivered to it."""
        node = self.home(authority)
        if node is None or node == self.node:
            return False
        try:
            return self.peers.get(node).is_hosted
        except ImiError:
            return False  # not listed now: what is sent waits for it

    def is_ours(self, authority: AuthorityId) -> bool:
        return self.home(authority) == self.node

    def name(self, authority: AuthorityId) -> str:
        """Its official name in its own language; the identifier where the directory has none."""
        found = self.authority(authority)
        return found.names.get(found.name_lang, authority) if found else authority

    def handled_by(self, authority: AuthorityId) -> AuthorityId | None:
        """The coordinator whose users act for an authority that has none, as the directory says now."""
        found = self.authority(authority)
        return AuthorityId(found.represented_by) if found and found.represented_by else None

    def access(self, authority: AuthorityId, procedure: str) -> frozenset[str]:
        """The directory roles an authority has in a procedure; empty: no access."""
        found = self.authority(authority)
        if found is None:
            return frozenset()
        area = procedure.partition("/")[0]
        return frozenset((*found.roles.get(procedure, ()), *found.roles.get(area, ())))

    def settings(self, authority: AuthorityId, procedure: str) -> Mapping[str, str]:
        """How an authority works in a procedure: its own setting for it, else for the area, else the State's."""
        found = self.authority(authority)
        own = found.settings if found else {}
        return {**self.national, **own.get(procedure.partition("/")[0], {}), **own.get(procedure, {})}

    def is_active(self, authority: AuthorityId) -> bool:
        """Whether it may open cases and be drawn into new ones: neither suspended nor gone."""
        found = self.authority(authority)
        return found is None or found.status == "active"
