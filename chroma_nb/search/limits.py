"""`SearchLimits`: what a search may ask for, checked as a whole before any of it is carried out.

A search comes from a notebook or over a wire, and its constructors take anything, as Chroma's do. A few kilobytes of
it could ask for thousands of neighbour searches, or for sums over sums of millions of numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.scalars import is_integer
from chroma_nb.search.expression import Search
from chroma_nb.search.ranks import Knn, Rank, Rrf, Val, operands
from chroma_nb.search.shown import shown
from chroma_nb.search.sparse import MOST_INDEX, SparseVector
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY, SCORE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.search.grouping import GroupBy
    from chroma_nb.settings import Settings

#: A fusion is so many nodes of arithmetic for each of its ranks: weight / (k + rank), and their sum.
_FUSED_NODES = 4
#: All searches of a call may have so many times the nodes of one.
_CALL_TIMES = 10
#: What is nested more deeply, Python cannot follow.
_DEEPEST = 256
#: Keys of a record's own fields, which are no metadata.
_OWN = (DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY)
_NUMBERS = (int, float, np.integer, np.floating)


@dataclass(frozen=True)
class SearchLimits:
    """What the searches of one call may have together.

    Args:
        searches: Searches.
        queries: `Knn`s.
        nodes: Nodes of the rank of one search, and keys of its grouping; ten times as many in all.
        depth: How deep a rank may be nested.
        values: Values of the sparse vectors that are asked for.
    """

    searches: int
    queries: int
    nodes: int
    depth: int
    values: int

    @classmethod
    def of(cls, settings: Settings) -> SearchLimits:
        """Return the limits that settings set."""
        return cls(
            settings.max_searches,
            settings.max_search_queries,
            settings.max_rank_nodes,
            settings.max_rank_depth,
            settings.max_filter_values,
        )

    def check(self, searches: Sequence[Any]) -> None:
        """Refuse searches that are too many or too large, or that mean nothing.

        Args:
            searches: The searches of one call. Text queries are checked like others.

        Raises:
            TypeError: One is no `Search`.
            InvalidArgumentError: As said; the message names the search, the limit and its setting.
        """
        if len(searches) > self.searches:
            raise InvalidArgumentError(
                f"search() with {len(searches):,} searches in one call; the limit is {self.searches:,} "
                "(Settings.max_searches). Ask in several calls."
            )
        n_queries = n_values = n_nodes = 0
        for at, search in enumerate(searches):
            if not isinstance(search, Search):
                raise TypeError(f"Expected searches[{at}] to be a Search, got {shown(search)}")
            where = f"searches[{at}]"
            _check_page(where, search)
            n_here = _check_groups(where, search.grouping, search.score)
            for depth, node in _nodes(search.score):
                n_here += _FUSED_NODES * len(operands(node)) if isinstance(node, Rrf) else 1
                self._check_node(where, node, depth, n_here)
                if not isinstance(node, Knn):
                    continue
                n_queries += 1
                n_values += _check_knn(where, node)
                if n_queries > self.queries:
                    raise InvalidArgumentError(
                        f"search() with more than {self.queries:,} Knn in one call, which is the limit "
                        "(Settings.max_search_queries). Ask in several calls."
                    )
            n_nodes += n_here
            if n_nodes > _CALL_TIMES * self.nodes:
                raise InvalidArgumentError(
                    f"search() with more than {_CALL_TIMES * self.nodes:,} ranks and keys in one call, which is the limit "
                    f"({_CALL_TIMES} times Settings.max_rank_nodes). Ask in several calls."
                )
        if n_values > self.values:
            raise InvalidArgumentError(
                f"search() with sparse queries of {n_values:,} values together; the limit is {self.values:,} "
                "(Settings.max_filter_values). Ask in several calls."
            )

    def _check_node(self, where: str, node: Rank, depth: int, n_nodes: int) -> None:
        """Refuse a node that is nested too deeply, is one too many, or is a `Val` and no finite number."""
        if depth > self.depth:
            setting = " (Settings.max_rank_depth)" if self.depth < _DEEPEST else ""
            raise InvalidArgumentError(
                f"{where}.rank is nested more than {self.depth:,} deep, which is the limit{setting}. A list of ranks "
                "under one Sum or Mul is flat: Sum([a, b, c])."
            )
        if n_nodes > self.nodes:
            raise InvalidArgumentError(
                f"{where} has more than {self.nodes:,} ranks and keys, which is the limit "
                "(Settings.max_rank_nodes). Ask in several searches."
            )
        if isinstance(node, Val) and not _is_finite(node.value):
            raise InvalidArgumentError(
                f"Expected a number in {where}.rank to be finite and of 64 bits, got {shown(node.value)}"
            )


def _nodes(rank: Rank | None) -> Iterator[tuple[int, Rank]]:
    """Yield the nodes of a rank, each with how deep it is nested."""
    # No recursion: a rank may be nested more deeply than Python's stack.
    left = [] if rank is None else [(1, rank)]
    while left:
        depth, node = left.pop()
        yield depth, node
        left.extend((depth + 1, part) for part in operands(node))


#: Nobody asks for more.
_ANY = 1 << 62


def check_meaning(searches: Sequence[Any]) -> None:
    """Refuse searches that mean nothing, however many they are.

    Raises:
        TypeError: One is no `Search`.
        InvalidArgumentError: As said.
    """
    SearchLimits(_ANY, _ANY, _ANY, _DEEPEST, _ANY).check(searches)


def _check_page(where: str, search: Search) -> None:
    for name, number in (("offset", search.page.offset), ("limit", search.page.limit)):
        if number is None and name == "limit":
            continue
        if number is None or not is_integer(number) or number < 0:
            raise InvalidArgumentError(
                f"Expected {where}.limit to have a whole number from 0 as its {name}, got {shown(number)}"
            )
    for key in search.selected.keys:
        if not isinstance(key.name, str):
            raise InvalidArgumentError(
                f"Expected {where}.select to have keys that are texts, got {shown(key.name)}"
            )


def _check_groups(where: str, grouping: GroupBy, rank: Rank | None) -> int:
    """Check what records are grouped by; return how many keys there are."""
    if not grouping.keys or grouping.aggregate is None:
        return 0
    aggregate = grouping.aggregate
    if rank is None:
        raise InvalidArgumentError(
            f"{where}.group_by needs a rank: which records of a group are kept follows from their scores. "
            "Give rank=Knn(...)."
        )
    if not aggregate.keys or not is_integer(aggregate.k) or aggregate.k < 1:
        raise InvalidArgumentError(
            f"Expected {where}.group_by to keep at least one record of each group by at least one key, got "
            f"keys={list(aggregate.keys)}, k={shown(aggregate.k)}"
        )
    for role, keys, refused in (
        ("group_by", grouping.keys, (*_OWN, SCORE_KEY)),
        ("group_by.aggregate", aggregate.keys, _OWN),
    ):
        for key in keys:
            if not isinstance(key, str) or key in refused:
                also = ", or K.SCORE" if refused is _OWN else ""
                raise InvalidArgumentError(
                    f"Expected the keys of {where}.{role} to be metadata keys{also}, got {shown(key)}"
                )
    return len(grouping.keys) + len(aggregate.keys)


def _check_knn(where: str, knn: Knn) -> int:
    """Check a `Knn`; return how many values its query has where that is sparse."""
    if not is_integer(knn.limit) or knn.limit < 0:
        raise InvalidArgumentError(
            f"Expected limit of a Knn in {where} to be a whole number from 0, got {shown(knn.limit)}"
        )
    default = knn.default
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    if default is not None and not (is_number and _is_finite(default)):
        raise InvalidArgumentError(
            f"Expected default of a Knn in {where} to be a finite number, got {shown(default)}"
        )
    if not isinstance(knn.key, str):
        raise InvalidArgumentError(
            f"Expected key of a Knn in {where} to be a text, got {shown(knn.key)}"
        )
    if not isinstance(knn.query, SparseVector):
        if not isinstance(knn.query, str):
            _check_numbers(where, knn.query)
        return 0
    query = knn.query
    if query.indices and query.indices[-1] > MOST_INDEX:
        raise InvalidArgumentError(
            f"Expected the indices of a sparse query in {where} to be at most {MOST_INDEX:,}, got "
            f"{query.indices[-1]:,}"
        )
    if not all(map(_is_finite, query.values)):
        raise InvalidArgumentError(
            f"Expected the values of a sparse query in {where} to be finite numbers"
        )
    return len(query.values)


def _check_numbers(where: str, query: Sequence[Any]) -> None:
    if not query:
        raise InvalidArgumentError(
            f"Expected the query of a Knn in {where} to have numbers, got []"
        )
    kinds = set(map(type, query))
    if not all(issubclass(kind, _NUMBERS) and kind is not bool for kind in kinds):
        raise InvalidArgumentError(
            f"Expected the query of a Knn in {where} to be numbers, got {shown(list(query))}"
        )
    if not all(map(_is_finite, query)):
        raise InvalidArgumentError(
            f"Expected the query of a Knn in {where} to be finite numbers, got {shown(list(query))}"
        )


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        # A whole number that no float comes near to.
        return False
