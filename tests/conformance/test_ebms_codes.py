"""The error codes are those of the standards."""

from __future__ import annotations

from node.federation import as4

from .conftest import EBMS


def test_every_code_has_the_name_severity_and_category_of_the_standard():
    ours = {code: (row.name, row.severity, row.category) for code, row in as4.EBMS_CODES.items()}
    assert ours == EBMS
