"""What one request may hold is refused before it is worked on; tests/server/test_limits.py asks a running server."""

from __future__ import annotations

import pytest

import chroma_nb
from chroma_nb.errors import BatchSizeExceededError, InvalidArgumentError
from chroma_nb.memory.lender import LENDERS
from chroma_nb.search import Knn, Search
from chroma_nb.server.limits import (
    check_n_found,
    check_n_records,
    check_n_results,
    largest_part,
)
from tests.memory.fakes import MIB, tight

SETTINGS = chroma_nb.Settings(server_max_batch_size=1_000, server_max_results=100)


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what other tests have left loaded, which could be unloaded for a request."""
    monkeypatch.setattr(type(LENDERS), "lendable", lambda *_, **__: 0)


def test_a_part_is_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tight(monkeypatch, 600 * MIB)
    part = largest_part(10**12)
    assert MIB < part <= 100 * MIB


def test_a_part_is_no_larger_than_a_body_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    tight(monkeypatch, 600 * MIB)
    assert largest_part(5 * MIB) == 5 * MIB


def test_a_part_is_never_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tight(monkeypatch, 0)
    assert largest_part(10**12) == MIB


def test_as_many_records_as_allowed_are_taken() -> None:
    check_n_records(SETTINGS, 1_000)
    with pytest.raises(BatchSizeExceededError, match="1,001 exceeds the server's maximum of 1,000"):
        check_n_records(SETTINGS, 1_001)


def test_few_results_do_not_count_the_records() -> None:
    def count() -> int:
        raise AssertionError("nobody should ask the store")

    check_n_results(SETTINGS, 50, 2, count)


def test_a_query_has_no_more_results_than_there_are_records() -> None:
    check_n_results(SETTINGS, 1_000_000, 2, lambda: 50)
    with pytest.raises(InvalidArgumentError, match="51 results for each of 2 queries"):
        check_n_results(SETTINGS, 1_000_000, 2, lambda: 51)


def test_searches_that_find_few_do_not_count_the_records() -> None:
    def count() -> int:
        raise AssertionError("nobody should ask the store")

    # 16 records each, and as many as the limit says.
    near = Knn([1.0]) + Knn([2.0])
    check_n_found(
        SETTINGS, [Search(rank=near), Search(rank=near, limit=5), Search(limit=60)], count
    )


def test_searches_that_find_too_much_are_refused() -> None:
    check_n_found(SETTINGS, [Search(), Search(rank=Knn([1.0], limit=10**9))], lambda: 50)
    for searches in ([Search()], [Search(limit=10**9)], [Search(limit=60)] * 2):
        with pytest.raises(InvalidArgumentError, match="server_max_results"):
            check_n_found(SETTINGS, searches, lambda: 101)
