from __future__ import annotations

import pytest

from pki.founding import Founding, NodePlan


def plan(node: str) -> NodePlan:
    return NodePlan(node=node, federation=f"https://{node.lower()}.example:8443", suites=("suite",))


@pytest.fixture
def founding(tmp_path) -> Founding:
    """Two States, one with two nodes, and a hosted one."""
    made = Founding(tmp_path / "federation")
    made.found([plan("EE"), plan("DE"), plan("DE-BY"), plan("EU")], hosted=["MT"])
    return made
