"""A whole federation's keys in one folder: for demos, tests, exercises, and to see what belongs where.

    folder/states/<State>/    ca.key ca.crt crl.pem trust.key entries/ …    the State's, on no node
    folder/publisher/         keys/ repository/                             the trust list's publisher
    folder/nodes/<node>/keys/                                               what a node needs, and nothing else

The same steps as in life, where each folder lies in another building:

    office = StateOffice.create(states / "EE", "EE")                    # each State: its keys
    publisher = Publisher.ceremony(folder / "publisher", {"EE": office.trust_key.public_key, ...})
    create_keys(node / "keys")                                          # each node: its keys, then its request
    request = write_request(node / "keys", "EE", ["ee.example"], federation="https://ee.example:8443")
    certificates = office.admit(request)                                # its State: certificates and entry
    install(node / "keys", certificates)                                # back on the node
    publisher.accept(office.sign())                                     # the State signs, the publisher publishes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pki.node_keys import create_keys, create_log_key, install, write_request
from pki.state import StateOffice
from pki.trustlist.models import COLLECTIONS
from pki.trustlist.publisher import Publisher


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """A node to be: where it listens, and what its entry says."""

    node: str
    federation: str | None = None  # base address of its door
    relay: str | None = None  # the node of its State through which alone it is reached, instead
    hosts: Sequence[str] = ("127.0.0.1", "localhost")
    name: Mapping[str, str] = field(default_factory=dict)
    suites: Sequence[str] = ()
    collections: Sequence[str] = COLLECTIONS


@dataclass(frozen=True, slots=True)
class Founding:
    """The folders of one federation."""

    folder: Path
    passphrase: bytes | None = None

    @property
    def publisher(self) -> Publisher:
        """The trust list's publisher."""
        return Publisher(self.folder / "publisher", self.passphrase)

    def office(self, state: str) -> StateOffice:
        """A State's office."""
        return StateOffice.open(self.folder / "states" / state, self.passphrase)

    def keys(self, node: str) -> Path:
        """The folder of a node's keys."""
        return self.folder / "nodes" / node / "keys"

    def found(self, nodes: Sequence[NodePlan], *, hosted: Sequence[str] = (), host: str = "EU") -> Publisher:
        """Make everything, and publish the first list.

        Args:
            hosted: States without a node, whose logs `host` serves with keys in its own folder.

        Raises:
            FileExistsError: there are keys already; none is ever overwritten.
        """
        states = sorted({plan.node[:2] for plan in nodes} | set(hosted))
        offices = {
            state: StateOffice.create(self.folder / "states" / state, state, self.passphrase) for state in states
        }
        trust_keys = {state: office.trust_key.public_key for state, office in offices.items()}
        publisher = Publisher.ceremony(self.folder / "publisher", trust_keys, self.passphrase)
        for plan in nodes:
            self._admit(plan, offices[plan.node[:2]])
        for state in hosted:
            key = create_log_key(self.keys(host), state, self.passphrase)
            offices[state].host(dict.fromkeys(COLLECTIONS, key), host)
        for office in offices.values():
            publisher.accept(office.sign(), snapshot=False)
        publisher.snapshot()
        return publisher

    def publish(self, state: str) -> None:
        """Publish what a State says now, with its newest revocation list."""
        self.publisher.accept(self.office(state).sign())

    def remove(self, node: str) -> None:
        """Take a node off the trust list and revoke its certificates."""
        self.office(node[:2]).remove(node)
        self.publish(node[:2])

    def _admit(self, plan: NodePlan, office: StateOffice) -> None:
        folder = self.keys(plan.node)
        create_keys(folder, self.passphrase)
        request = write_request(
            folder, plan.node, plan.hosts, self.passphrase,
            name=plan.name, federation=plan.federation, relay=plan.relay, suites=plan.suites, collections=plan.collections,
        )  # fmt: skip
        install(folder, office.admit(request))
