"""The entries of sparse vectors as columns: of documents by their words, of metadata values as they are; and a query's."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chroma_nb.embedding.bm25_weights import Bm25
from chroma_nb.embedding.document_words import DOCUMENT_WORDS
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.sparse import MOST_INDEX, MOST_VALUE, SparseVector, of_known_members
from chroma_nb.special_keys import DOCUMENT_KEY, is_tagged
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: What is read takes up to this many times the bytes of its text, as objects and as columns: a Chinese character of three
#: bytes may be two entries, itself and the pair with the next.
TEXT_TIMES = 32


class Entries(NamedTuple):
    """Entries of vectors, one a row: whose (uint32), which index (uint32), and its value (float32). Shape (n,)."""

    labels: NDArray[np.uint32]
    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    @staticmethod
    def joined(parts: Sequence[Entries]) -> Entries:
        """Return the entries of several, in this order."""
        if len(parts) == 1:
            return parts[0]
        labels, indices, values = zip(*parts, strict=True) if parts else ((), (), ())
        return Entries(
            np.concatenate([np.empty(0, np.uint32), *labels]),
            np.concatenate([np.empty(0, np.uint32), *indices]),
            np.concatenate([np.empty(0, np.float32), *values]),
        )

    def where(self, kept: NDArray[np.bool_]) -> Entries:
        """Return some of them: bool, shape (n,)."""
        return Entries(self.labels[kept], self.indices[kept], self.values[kept])


class Terms(NamedTuple):
    """What a query asks for: indices, ascending (uint32), and how much each counts (float64). Shape (n,)."""

    indices: NDArray[np.uint32]
    weights: NDArray[np.float64]

    @staticmethod
    def of(query: SparseVector) -> Terms:
        """Return the terms of a query.

        Raises:
            InvalidArgumentError: A value is not finite or too large for 32 bits, or an index has more than 32 bits.
        """
        try:
            weights = np.array(query.values, dtype=np.float64)
        except OverflowError:
            weights = np.array([np.inf])
        # False for NaN.
        if not (np.abs(weights) <= MOST_VALUE).all():
            wrong = next(one for one in query.values if not -MOST_VALUE <= one <= MOST_VALUE)
            raise InvalidArgumentError(
                f"Expected the values of a sparse query to be finite numbers of 32 bits, got {brief(wrong)}."
            )
        if query.indices and query.indices[-1] > MOST_INDEX:
            raise InvalidArgumentError(
                f"Expected the indices of a sparse query to be at most {MOST_INDEX:,}, got "
                f"{brief(query.indices[-1])}."
            )
        return Terms(np.array(query.indices, dtype=np.uint32), weights)


def entries_of(key: str, labels: NDArray[np.int64], found: Sequence[Any]) -> Entries:
    """Return the entries of some records' vectors.

    Args:
        key: A metadata key, or `DOCUMENT_KEY`: the vectors are those of the documents' words.
        labels: Whose, int64, shape (n,).
        found: Their values under the key, or their documents; what is none counts as missing.
    """
    if key == DOCUMENT_KEY:
        return _of_documents(labels, found)
    return _of_vectors(labels, found)


def _of_documents(labels: NDArray[np.int64], documents: Sequence[str | None]) -> Entries:
    counted = DOCUMENT_WORDS.count([document or "" for document in documents])
    values = Bm25().weights(counted).astype(np.float32)
    return Entries(labels[counted.rows].astype(np.uint32), counted.indices, values)


def _of_vectors(labels: NDArray[np.int64], found: Sequence[Any]) -> Entries:
    rows = [row for row, value in enumerate(found) if is_tagged(value)]
    entries = _columns(labels[rows], [found[row] for row in rows])
    if entries is None:
        # Somebody else has written one that is none.
        sound = [row for row in rows if _is_vector(found[row])]
        entries = _columns(labels[sound], [found[row] for row in sound])
    return entries or Entries.joined(())


def _columns(labels: NDArray[np.int64], vectors: Sequence[dict[str, Any]]) -> Entries | None:
    """Return the entries of vectors in the wire's form, None where one is wrong."""
    try:
        lengths = np.fromiter((len(one["indices"]) for one in vectors), np.int64, len(vectors))
        if [len(one["values"]) for one in vectors] != lengths.tolist():
            return None
        n = int(lengths.sum())
        indices = np.fromiter(chain.from_iterable(one["indices"] for one in vectors), np.int64, n)
        values = np.fromiter(chain.from_iterable(one["values"] for one in vectors), np.float64, n)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    ranks = np.repeat(np.arange(len(vectors)), lengths)
    descends = (indices[1:] <= indices[:-1]) & (ranks[1:] == ranks[:-1])
    if n and (descends.any() or indices.min() < 0 or indices.max() > MOST_INDEX):
        return None
    with np.errstate(over="ignore"):
        return Entries(
            np.repeat(labels, lengths).astype(np.uint32),
            indices.astype(np.uint32),
            values.astype(np.float32),
        )


def _is_vector(value: dict[str, Any]) -> bool:
    try:
        vector = of_known_members(value)
    except ValueError:
        return False
    return not vector.indices or vector.indices[-1] <= MOST_INDEX
