"""How the copy of each log does, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from node.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatus:
    """One log as this node holds it.

    `host` and `epoch` are those that should count, as the trust list or the end of the last epoch names them;
    `held_epoch` is the one that counts here.
    """

    node: NodeId
    collection: str
    size: int  # proven entries
    epoch: int = 1
    head_at: datetime | None = None  # when its newest entries came to count here
    behind: int = 0  # entries that a signed checkpoint promises and that are not here yet
    source: str = ""  # who gave the newest entries; empty: ours
    host: NodeId | Literal[""] = ""
    held_epoch: int = 1
    evidence: int = 0  # contradictions and differences seen in it
    frozen: str = ""  # the error code why nothing more of it is taken; empty: it is followed
    invalid: int = 0  # signed entries that may not be believed, and have no effect

    @property
    def name(self) -> str:
        """The log's name, `EE/authorities`."""
        return f"{self.node}/{self.collection}"
