"""What a search finds, in plain Python: slow, and the referee of all faster ways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.search.ranks import (
    Abs,
    Div,
    Exp,
    Knn,
    Log,
    Max,
    Min,
    Mul,
    Rank,
    Rrf,
    Sub,
    Sum,
    Val,
)
from chroma_nb.search.sparse import SparseVector
from chroma_nb.special_keys import SCORE_KEY
from chroma_nb.testing.plain import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chroma_nb.search.expression import Search
    from chroma_nb.search.grouping import GroupBy

#: The place of each type among the others, for groups; a list comes after all of them, by its items.
_TYPES: list[type] = [bool, int, float, str, dict]


@dataclass
class Record:
    """A record as the referee has it.

    Args:
        id: Its id.
        embedding: Its embedding.
        document: Its document, or None.
        metadata: Its metadata, or None; a sparse vector is a tagged dict, as it is stored.
    """

    id: str
    embedding: Sequence[float]
    document: str | None = None
    metadata: dict[str, Any] | None = None


#: Records by their place in the collection, and the default of all others; None: they fall out.
Scored = tuple[dict[int, float], float | None]


def search(records: Sequence[Record], asked: Search, space: str = "l2") -> list[tuple[str, float]]:
    """Return the ids that a search finds, best first, with their scores.

    Args:
        records: In storage order.
        asked: The search.
        space: The collection's distance.
    """
    condition = asked.condition
    places = [
        at
        for at, one in enumerate(records)
        if condition is None or matches(condition.expression, one.id, one.metadata, one.document)
    ]
    offset, limit = asked.page.offset, asked.page.limit
    page = slice(offset, None if limit is None else offset + limit)
    if asked.score is None:
        return [(records[at].id, float(row)) for row, at in enumerate(places[page])]

    def neighbours(knn: Knn) -> list[tuple[float, int]]:
        near = [(distance(space, knn, records[at]), at) for at in places]
        return sorted((d, at) for d, at in near if d is not None)[: knn.limit]

    scores, _ = scored(asked.score, neighbours)
    ranked = sorted(scores, key=lambda at: (_in_order(scores[at]), at))
    kept = _kept(asked.grouping, ranked, scores, records)
    return [(records[at].id, scores[at]) for at in ranked if at in kept][page]


def distance(space: str, knn: Knn, record: Record) -> float | None:
    """Return the distance of a record to a query, None where it has none."""
    query = knn.query
    if isinstance(query, SparseVector):
        vector = (record.metadata or {}).get(knn.key)
        if not isinstance(vector, dict):
            return None
        mine = dict(zip(vector["indices"], vector["values"], strict=True))
        shared = [at for at in query.indices if at in mine]
        theirs = dict(zip(query.indices, query.values, strict=True))
        return 1 - sum(theirs[at] * mine[at] for at in shared) if shared else None
    assert isinstance(query, tuple)
    dot = sum(x * y for x, y in zip(query, record.embedding, strict=True))
    if space == "ip":
        return 1 - dot
    if space == "l2":
        return sum((x - y) ** 2 for x, y in zip(query, record.embedding, strict=True))
    norms = math.hypot(*query) * math.hypot(*record.embedding)
    return 1 - dot / norms if norms else 1.0


def scored(rank: Rank, neighbours: Callable[[Knn], Sequence[tuple[float, int]]]) -> Scored:
    """Return the value of each record that has one, by record, and the default of the others or None.

    Args:
        rank: The rank.
        neighbours: Returns what a `Knn` finds: distances and records, nearest first.
    """
    if isinstance(rank, Val):
        return {}, float(rank.value)
    if isinstance(rank, Knn):
        found = neighbours(rank)
        # As floats: of integers, 0 * -1 would lose its sign.
        default = None if rank.default is None else float(rank.default)
        if rank.return_rank:
            return {at: float(place) for place, (_, at) in enumerate(found)}, default
        return {at: value for value, at in found}, default
    if isinstance(rank, Rrf):
        return scored(rank.expanded(), neighbours)
    if isinstance(rank, Abs | Exp | Log):
        values, default = scored(rank.rank, neighbours)
        function = _FUNCTIONS[type(rank)]
        mapped = None if default is None else function(default)
        return {at: function(value) for at, value in values.items()}, mapped
    if isinstance(rank, Sub | Div):
        pair = scored(rank.left, neighbours), scored(rank.right, neighbours)
        return _both(_OPERATIONS[type(rank)], *pair)
    assert isinstance(rank, Sum | Mul | Max | Min)
    operation = _OPERATIONS[type(rank)]
    parts = [scored(part, neighbours) for part in rank.ranks]
    return reduce(lambda left, right: _both(operation, left, right), parts)


def _both(operation: Callable[[float, float], float], left: Scored, right: Scored) -> Scored:
    (values, default), (others, other_default) = left, right
    if default is not None and other_default is not None:
        chosen = {*values, *others}
        both_default: float | None = operation(default, other_default)
    else:
        both_default = None
        if default is None and other_default is None:
            chosen = {*values} & {*others}
        else:
            chosen = {*values} if default is None else {*others}
    return {
        at: operation(_value(values, at, default), _value(others, at, other_default))
        for at in chosen
    }, both_default


def _value(values: Mapping[int, float], at: int, default: float | None) -> float:
    value = values.get(at, default)
    assert value is not None
    return value


def _exp(value: float) -> float:
    # NumPy's, as Python's may differ in the last digit.
    with np.errstate(all="ignore"):
        return float(np.exp(value))


def _log(value: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.log(value))


def _over(left: float, right: float) -> float:
    if right != 0 or math.isnan(left) or left == 0:
        return math.nan if right == 0 else left / right
    return math.copysign(math.inf, left) * math.copysign(1, right)


class UndecidedError(Exception):
    """Which of 0.0 and -0.0 is the larger is not said, and may matter where something is divided by it."""


def _larger(left: float, right: float) -> float:
    return _chosen(max, left, right)


def _smaller(left: float, right: float) -> float:
    return _chosen(min, left, right)


def _chosen(function: Callable[..., float], left: float, right: float) -> float:
    if left == right == 0 and math.copysign(1, left) != math.copysign(1, right):
        raise UndecidedError
    return right if math.isnan(left) else left if math.isnan(right) else function(left, right)


_FUNCTIONS: dict[type[Rank], Callable[[float], float]] = {Abs: abs, Exp: _exp, Log: _log}
_OPERATIONS: dict[type[Rank], Callable[[float, float], float]] = {
    Sum: lambda left, right: left + right,
    Sub: lambda left, right: left - right,
    Mul: lambda left, right: left * right,
    Div: _over,
    Max: _larger,
    Min: _smaller,
}


def _in_order(value: float) -> tuple[bool, float, bool]:
    """Return what floats are ordered by: -0.0 before 0.0, NaN last."""
    if math.isnan(value):
        return (True, 0.0, False)
    return (False, value, math.copysign(1, value) > 0)


def _kept(
    grouping: GroupBy,
    ranked: Sequence[int],
    scores: Mapping[int, float],
    records: Sequence[Record],
) -> set[int]:
    aggregate = grouping.aggregate
    if not grouping.keys or aggregate is None:
        return set(ranked)

    def value(at: int, key: str) -> Any:
        if key == SCORE_KEY:
            return _comparable(scores[at])
        return _comparable((records[at].metadata or {}).get(key))

    groups: dict[Any, list[int]] = {}
    for at in ranked:
        groups.setdefault(tuple(value(at, key) for key in grouping.keys), []).append(at)
    kept: set[int] = set()
    for members in groups.values():
        ordered = sorted(
            members,
            key=lambda at: [value(at, key) for key in aggregate.keys],
            reverse=aggregate.operator == "$max_k",
        )
        kept |= set(ordered[: aggregate.k])
    return kept


def _comparable(value: Any) -> Any:
    """Return what a value is compared by: none, then by types, then by itself."""
    if value is None:
        return (-1,)
    if isinstance(value, list):
        return (len(_TYPES) + _TYPES.index(type(value[0])), *map(_comparable, value))
    if isinstance(value, dict):
        return (_TYPES.index(dict), tuple(value["indices"]), tuple(value["values"]))
    return (_TYPES.index(type(value)), _in_order(value) if isinstance(value, float) else value)
