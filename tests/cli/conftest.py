"""A founded node's folder without a running node."""

from __future__ import annotations

import pytest

from node.making import make_stores
from pki.founding import Founding, NodePlan


@pytest.fixture
def node_config(tmp_path):
    """The settings file of a node EE that has its keys and empty stores."""
    founding = Founding(tmp_path / "federation")
    plan = NodePlan(node="EE", federation="https://127.0.0.1:1", collections=("authorities", "registers"))
    founding.found([plan], host="EE")
    data = founding.keys("EE").parent
    make_stores(data, founding.publisher.root_bytes())
    config = data / "node.toml"
    config.write_text(f'node = "EE"\ndata = "{data}"\n', encoding="utf-8")
    return config
