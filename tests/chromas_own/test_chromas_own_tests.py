"""Chroma's own tests of schemas and searches, as its release has them, pass with chroma_nb in the place of chromadb."""

from __future__ import annotations

import pytest

from tests.chromas_own.reviewed import FILES, REASONS
from tests.chromas_own.run import (
    ALIKE,
    IN_PROCESS,
    LEGS,
    find_checkout,
    outcomes,
    table,
)
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE

CHECKOUT = find_checkout()


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.differential
@pytest.mark.skipif(
    CHECKOUT is None,
    reason="Chroma's tests are not here: install the extra 'differential', or set CHROMA_CHECKOUT",
)
@pytest.mark.parametrize(
    "leg",
    [
        pytest.param(
            leg,
            marks=pytest.mark.skipif(leg in ALIKE and not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE),
        )
        for leg in LEGS
    ],
)
def test_chromas_own_tests_pass_but_for_those_with_a_reason(leg: str) -> None:
    assert CHECKOUT is not None
    found = outcomes(CHECKOUT, leg, examples=2)
    wrong = {test: one for test, one in found.items() if one in ("failed", "listed and passes")}
    assert wrong == {}, table({leg: found})
    names = {test.partition("[")[0] for test in found}
    assert {test for reason in REASONS for test in reason.tests} <= names
    assert {test.partition("::")[0] for test, one in found.items() if one == "passed"} >= set(
        FILES if ALIKE.get(leg, leg) == IN_PROCESS else ["api/test_schema.py", "test_api.py"]
    )


def test_each_reason_is_of_tests_that_are_run() -> None:
    named = [test for reason in REASONS for test in reason.tests]
    assert len(named) == len(set(named))
    assert {test.partition("::")[0] for test in named} <= set(FILES)
