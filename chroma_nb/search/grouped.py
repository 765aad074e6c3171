"""`kept_of_groups`: which records of each group a search keeps, by Chroma's order of values.

A value is compared within its type, and types have an order of their own: bool, int, float, text, sparse vector, then
lists of bool, int, float, text. A key that a record lacks comes before all of them. So 1, 1.0 and true are three
groups, and records that lack a key are one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.search.grouping import MaxK
from chroma_nb.special_keys import SCORE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from chroma_nb.search.grouping import GroupBy

_MISSING: tuple[int, Any] = (0, 0)
_SCALARS: dict[type, int] = {bool: 1, int: 2, float: 3, str: 4}
_SPARSE = 5
#: Lists come after everything else, in the order of their items.
_LISTS = 5


def kept_of_groups(
    grouping: GroupBy, metadatas: Iterable[dict[str, Any] | None], scores: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the places of the records that their groups keep, rising: intp, shape (number kept,).

    Args:
        grouping: Keys and an aggregate.
        metadatas: Of the records, best first.
        scores: Theirs, float64, shape (n,).
    """
    aggregate = grouping.aggregate
    assert aggregate is not None
    groups: dict[tuple[Any, ...], list[tuple[tuple[Any, ...], int]]] = {}
    for at, metadata in enumerate(metadatas):
        values = metadata or {}
        group = tuple(ordered(values.get(key)) for key in grouping.keys)
        by = tuple(
            ordered(float(scores[at])) if key == SCORE_KEY else ordered(values.get(key))
            for key in aggregate.keys
        )
        groups.setdefault(group, []).append((by, at))
    kept: list[int] = []
    for members in groups.values():
        # Equal ones stay in the order of the ranking, also where the largest come first.
        members.sort(key=lambda member: member[0], reverse=isinstance(aggregate, MaxK))
        kept.extend(at for _, at in members[: aggregate.k])
    return np.sort(np.asarray(kept, dtype=np.intp))


def ordered(value: Any) -> tuple[int, Any]:
    """Return what stands for a metadata value where values are compared: its type's place, and itself."""
    if value is None:
        return _MISSING
    if isinstance(value, dict):
        # A sparse vector, as it is stored.
        return (_SPARSE, (tuple(value["indices"]), tuple(map(_total, value["values"]))))
    if isinstance(value, list):
        kind = _SCALARS[type(value[0])] if value else 1
        return (_LISTS + kind, tuple(_total(one) for one in value))
    return (_SCALARS[type(value)], _total(value))


def _total(value: Any) -> Any:
    """Return a value that has an order with all others of its type: -0.0 is below 0.0, and NaN above all."""
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return (1, 0.0, 0)
    return (0, value, 0 if math.copysign(1.0, value) < 0 else 1)
