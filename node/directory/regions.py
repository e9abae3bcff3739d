"""The regions of Europe by their NUTS codes, as shipped in config/directory/nuts.csv.gz.

Source: OP-TED/eForms-SDK 3242fbf7c703, Eurostat; CC BY 4.0.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from node.ids import State
from node.settings import shipped


@cache
def region_names() -> Mapping[str, str]:
    """NUTS code of level 1 to 3 -> the region's name in its own language. The country codes are the Union's (EL)."""
    with gzip.open(shipped("directory", "nuts.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        return MappingProxyType({row["code"]: row["label"] for row in csv.DictReader(file) if row["level"] != "0"})


def regions_of(state: State) -> list[tuple[str, str]]:
    """A State's regions, each before its parts: code and name."""
    return sorted((nuts, name) for nuts, name in region_names().items() if nuts.startswith(state))
