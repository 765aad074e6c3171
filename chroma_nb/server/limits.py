"""Limits of what is asked of a server, whichever transport brings it. All of them are of one request so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chroma_nb.errors import BatchSizeExceededError, InvalidArgumentError
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.search.ranks import knn_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chroma_nb.search.expression import Search
    from chroma_nb.settings import Settings

#: Clients are told to send parts that need at most one in this many bytes of the free memory, as others need some.
_PART = 6
#: The size of a part is never less than this: smaller parts would take too many requests.
_LEAST_PART_BYTES = 2**20


def largest_part(max_body: int) -> int:
    """Return how many bytes a client should send at a time, given the memory that is free now.

    Args:
        max_body: The most that the settings allow, bytes.
    """
    room = (WORKSPACE.free() + LENDERS.lendable()) // _PART
    return min(max_body, max(_LEAST_PART_BYTES, room))


def check_n_records(settings: Settings, n_records: int) -> None:
    """Refuse to write more records than one request may hold.

    Raises:
        BatchSizeExceededError: There are more.
    """
    limit = settings.server_max_batch_size
    if n_records > limit:
        raise BatchSizeExceededError(
            f"Batch size {n_records:,} exceeds the server's maximum of {limit:,} records: send them in "
            "parts (Settings.server_max_batch_size)."
        )


def check_n_results(
    settings: Settings, n_results: int, n_queries: int, count: Callable[[], int]
) -> None:
    """Refuse a query whose answer would be too large, before it is run.

    Args:
        settings: The server's.
        n_results: Results of each query.
        n_queries: Queries.
        count: Returns how many records there are.

    Raises:
        InvalidArgumentError: It asks for more results than `server_max_results`.
    """
    limit = settings.server_max_results
    if n_results * n_queries > limit:
        # A query has no more results than there are records.
        n_results = min(n_results, count())
    if n_results * n_queries > limit:
        raise InvalidArgumentError(
            f"{n_results:,} results for each of {n_queries:,} queries are more than the server's maximum of "
            f"{limit:,} in one request: ask in parts (Settings.server_max_results)."
        )


def check_n_found(settings: Settings, searches: Sequence[Search], count: Callable[[], int]) -> None:
    """Refuse searches whose answers would be too large, before they are carried out.

    Args:
        settings: The server's.
        searches: The searches.
        count: Returns how many records there are.

    Raises:
        InvalidArgumentError: They ask for more results than `server_max_results`.
    """
    limit = settings.server_max_results
    asked = [_most_found(one) for one in searches]
    if sum(asked) > limit:
        n_records = count()
        asked = [min(one, n_records) for one in asked]
    if sum(asked) > limit:
        raise InvalidArgumentError(
            f"The {len(asked):,} searches ask for {sum(asked):,.0f} results, more than the server's maximum of "
            f"{limit:,} in one request: give each a limit, Search(limit=10) (Settings.server_max_results)."
        )


def _most_found(search: Search) -> float:
    """Return how many records a search may find: no more than its limit, nor than its `Knn` find together."""
    most = math.inf if search.page.limit is None else search.page.limit
    if search.score is None:
        return most
    try:
        return min(most, sum(leaf.limit for leaf in knn_leaves(search.score)))
    except RecursionError:
        # The store says that it is nested too deeply.
        return most
