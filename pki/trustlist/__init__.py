"""The trust list: who is a node, with which addresses and keys. Entries, and the publisher's side of it (TUF)."""

from pki.trustlist.models import LogEntry, NodeEntry, StateIndex
from pki.trustlist.publisher import Publisher

__all__ = ["LogEntry", "NodeEntry", "Publisher", "StateIndex"]
