"""What every test may use. Fixtures of one area stand in that area's own conftest.py."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def component_missing(reason: str) -> None:
    """A component a test needs is not on this machine: fails in CI, skips with its reason elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)
