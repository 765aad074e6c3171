"""Filters over what is in memory: an expression becomes one NumPy mask over all labels."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Protocol

import numpy as np

from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    CompareDate,
    DocumentContains,
    DocumentMatches,
    Expression,
    IdAmong,
    ListContains,
    Or,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Column(Protocol):
    """The values of one metadata key over all labels."""

    def match(self, leaf: Compare | CompareDate | Among | ListContains) -> NDArray[np.bool_]:
        """Return which labels match, shape (n_labels,); `negated` is not looked at."""
        ...


class FilterReader(Protocol):
    """What a filter is evaluated on. All masks have shape (n_labels,), bool."""

    def column(self, key: str) -> Column:
        """Return the column of a metadata key."""
        ...

    def ids_among(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return which labels have one of these ids."""
        ...

    def document_contains(self, text: str) -> NDArray[np.bool_]:
        """Return which labels' documents contain the text, which is not empty."""
        ...

    def document_matches(self, pattern: str) -> NDArray[np.bool_]:
        """Return which labels' documents match the regular expression."""
        ...


def compile_mask(expression: Expression, reader: FilterReader) -> NDArray[np.bool_]:
    """Return which labels match, shape (n_labels,), bool, a new array.

    Labels that are not alive get some value or other: that is the caller's business.
    """
    if isinstance(expression, And):
        return reduce(np.logical_and, (compile_mask(c, reader) for c in expression.children))
    if isinstance(expression, Or):
        return reduce(np.logical_or, (compile_mask(c, reader) for c in expression.children))
    if isinstance(expression, DocumentContains):
        if expression.text:
            mask = reader.document_contains(expression.text)
        else:
            # A search for bytes has nothing to look for; any document matches an empty pattern.
            mask = reader.document_matches("")
    elif isinstance(expression, DocumentMatches):
        mask = reader.document_matches(expression.pattern)
    elif isinstance(expression, IdAmong):
        mask = reader.ids_among(expression.ids)
    else:
        mask = reader.column(expression.key).match(expression)
    return ~mask if expression.negated else mask
