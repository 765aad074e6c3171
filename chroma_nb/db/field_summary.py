"""A summary of one metadata key, from what a database has counted of its values."""

from __future__ import annotations

from typing import Any

from chroma_nb.types import FieldSummary

#: At most this many metadata keys are described; a record may have ten thousand.
MOST_FIELDS = 200
_ORDER = ("str", "int", "float", "bool", "list", "SparseVector")
#: Kinds whose values are not counted.
WHOLE = ("list", "SparseVector")


class FieldKind:
    """What is known of the values of one type under one key."""

    def __init__(
        self,
        name: str,
        n_records: int,
        lowest: int | None,
        highest: int | None,
        lowest_real: float | None,
        highest_real: float | None,
        n_distinct: int,
    ) -> None:
        #: One of `_ORDER`.
        self.name = name
        self.n_records = n_records
        bounds = (lowest, highest, lowest_real, highest_real)
        self.bounds = [bound for bound in bounds if bound is not None]
        #: An estimate, which may be too high.
        self.n_distinct = min(n_distinct, n_records)


def summary_of(
    key: str, kinds: list[FieldKind], counted: list[tuple[Any, int]] | None, n_values: int
) -> FieldSummary:
    """Return the summary of a key.

    Args:
        key: The key.
        kinds: What is known of its values of each type.
        counted: Each value and how often it is there; None where they were not counted.
        n_values: More values are not named.
    """
    names = {kind.name for kind in kinds}
    numbers = [bound for kind in kinds for bound in kind.bounds]
    ordered = sorted(counted or [], key=lambda pair: (-pair[1], str(pair[0])))
    estimate = sum(kind.n_distinct for kind in kinds if kind.name not in WHOLE)
    return FieldSummary(
        key=key,
        kinds=tuple(name for name in _ORDER if name in names),
        n_records=sum(kind.n_records for kind in kinds),
        minimum=min(numbers, default=None),
        maximum=max(numbers, default=None),
        n_distinct=estimate if counted is None else len(ordered),
        values=ordered if len(ordered) <= n_values else [],
        is_estimate=counted is None,
    )
