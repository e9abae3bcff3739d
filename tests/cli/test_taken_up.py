"""A running node takes up what operators write down: a peer added is admitted, one removed is not any longer."""

from __future__ import annotations

import asyncio

from node.app import running
from node.local_store.vault import Vault
from node.settings import Federation, Management, Officials, Pace, load
from tests.delivery.harness import until
from tests.delivery.partners import Side, introduce, two_sides


async def test_a_peer_added_beside_a_running_node_is_admitted_and_one_removed_is_not(tmp_path):
    estonia, partner = two_sides(tmp_path)
    introduce(estonia, partner)
    Vault.open(partner.home / "keys/storage.key", create=True)
    async with estonia.small().running(), running(_settings(partner)):
        assert await _ends_with(1, estonia)
        introduce(partner, estonia)
        await until(lambda: _ends_with(0, estonia))
        assert await asyncio.to_thread(partner.command, "peers", "remove", "estonia", "--yes") == 0
        await until(lambda: _ends_with(1, estonia))


def _settings(side: Side):
    """As in its settings file, on its own port and in a hurry."""
    port = int((side.home / "port").read_text())
    settings = load(side.home / "node.toml")
    return settings.model_copy(
        update={
            "federation": Federation(port=port), "officials": Officials(port=0), "management": Management(port=0),
            "pace": Pace(trust_seconds=0.2),
        }
    )  # fmt: skip


async def _ends_with(code: int, side: Side) -> bool:
    return await asyncio.to_thread(side.command, "peers", "test", "partner") == code
