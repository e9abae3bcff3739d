"""The page on AS4 conformance names the tests that exist, and says of each what its docstring says."""

from __future__ import annotations

from tools.conformance import PAGE, SUITES, assertions, render


def test_the_page_is_that_of_the_tests_with_every_result_passed():
    results = {(one.test, suite): "passed" for one in assertions() for suite in SUITES}
    assert PAGE.read_text(encoding="utf-8") == render(results), "run: make conformance"


def test_every_assertion_has_its_test():
    """The Common Profile's and the Four Corner enhancement's; the numbers between belong to other features."""
    common = [*range(1, 11), *range(12, 18), 19, *range(21, 39), 45]
    assert [one.name for one in assertions()] == [
        *(f"CP_TA{number:02}" for number in common),
        *(f"4CT_TA{number:02}" for number in (1, 2, 3)),
    ]
