"""Filters over what is in memory: an expression becomes a NumPy mask over all labels, shape (n_labels,), bool."""

from __future__ import annotations

from functools import reduce
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

import numpy as np

from chroma_nb.filters.expression import (
    And,
    DocumentContains,
    DocumentMatches,
    Expression,
    IdAmong,
    Or,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.filters.expression import FieldLeaf


class FilterReader(Protocol):
    """What a filter is evaluated on. All methods return masks of shape (n_labels,), bool."""

    def match(self, leaf: FieldLeaf) -> NDArray[np.bool_]:
        """Return which labels match a condition on a metadata key; `negated` is ignored."""
        ...

    def ids_among(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return which labels have one of these ids."""
        ...

    def document_contains(self, text: str) -> NDArray[np.bool_]:
        """Return which labels' documents contain the text, which must not be empty."""
        ...

    def document_matches(self, pattern: str) -> NDArray[np.bool_]:
        """Return which labels' documents match the regular expression."""
        ...


#: How long a filter of many conditions runs until it pauses for other threads, and how long it pauses, in seconds.
_TURN_SECONDS = 0.002
_PAUSE_SECONDS = 0.00005


class _Turn:
    """Lets other threads run between two conditions.

    NumPy releases Python's lock while it computes, and takes it again before a waiting thread has woken up. So a
    thousand such calls in a row would keep others waiting until the last one.
    """

    def __init__(self) -> None:
        self._since = monotonic()

    def end(self) -> None:
        """Pause if the turn has lasted long enough."""
        if monotonic() - self._since > _TURN_SECONDS:
            sleep(_PAUSE_SECONDS)
            self._since = monotonic()


def compile_mask(expression: Expression, reader: FilterReader) -> NDArray[np.bool_]:
    """Return which labels match, shape (n_labels,), bool, a new array.

    The values for labels of deleted records are arbitrary; the caller masks them.
    """
    return _mask(expression, reader, _Turn())


def _mask(expression: Expression, reader: FilterReader, turn: _Turn) -> NDArray[np.bool_]:
    if isinstance(expression, And):
        return reduce(np.logical_and, (_mask(child, reader, turn) for child in expression.children))
    if isinstance(expression, Or):
        return reduce(np.logical_or, (_mask(child, reader, turn) for child in expression.children))
    turn.end()
    if isinstance(expression, DocumentContains):
        if expression.text:
            mask = reader.document_contains(expression.text)
        else:
            # Every document contains the empty text, and matches an empty pattern.
            mask = reader.document_matches("")
    elif isinstance(expression, DocumentMatches):
        mask = reader.document_matches(expression.pattern)
    elif isinstance(expression, IdAmong):
        mask = reader.ids_among(expression.ids)
    else:
        mask = reader.match(expression)
    return ~mask if expression.negated else mask
