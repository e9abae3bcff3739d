"""Did it arrive: what the outbox knows of a case's messages, told by node and by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from node.casework.loading import Case
from node.casework.views import Delivery
from node.federation import outbox
from node.ids import AuthorityId, EventId, NodeId
from node.local_store import cases

_WORST_FIRST: Final = ("refused", "parked", "waiting", "received")


class Deliveries:
    """The deliveries of one case."""

    def __init__(self, case: Case) -> None:
        self._by_message = {str(d.message_id): d for d in outbox.statuses(case.session, case.id)}
        self._items = cases.messages_of(case.session, case.id) if self._by_message else {}
        self._authorities: dict[NodeId, list[AuthorityId]] = {}
        for party in sorted(case.parties()) if self._by_message else ():
            home = case.tools.home(party)
            if home and home != case.tools.node:
                self._authorities.setdefault(home, []).append(party)

    def of_event(self, event: EventId) -> tuple[Delivery, ...]:
        """One row for each node this node sent the event to."""
        found = [
            (node, self._by_message[message])
            for (node, item), message in sorted(self._items.items())
            if item == event and message in self._by_message
        ]
        return tuple(self._view(node, delivery) for node, delivery in found)

    def overall(self) -> tuple[Delivery, ...]:
        """One row a node: its worst state, the oldest message in it."""
        by_node: dict[NodeId, list[outbox.Delivery]] = {}
        for delivery in self._by_message.values():
            by_node.setdefault(delivery.recipient, []).append(delivery)
        return tuple(self._view(node, _worst(several)) for node, several in sorted(by_node.items()))

    def _view(self, node: NodeId, delivery: outbox.Delivery) -> Delivery:
        return Delivery(
            node=node,
            authorities=tuple(self._authorities.get(node, ())),
            state=delivery.state,
            attempts=delivery.attempts,
            posted_at=delivery.posted_at,
            received_at=delivery.received_at,
            next_attempt_at=delivery.next_attempt_at,
            last_error=delivery.last_error if delivery.state != "received" else "",
        )


def _worst(several: Iterable[outbox.Delivery]) -> outbox.Delivery:
    """The worst state; of the received ones the newest, of others the oldest."""
    ranked = sorted(several, key=lambda d: (_WORST_FIRST.index(d.state), d.posted_at))
    return ranked[-1] if ranked[0].state == "received" else ranked[0]
