"""Exact search and exact distances: NumPy over the float32 vectors, in bounded pieces.

Every distance that an answer has comes from `distances`, which computes one row at a time in one order of
additions. So the same vector gets the same distance whether it was reached by a scan, by a filter, from a
mapped file or through a graph: distances do not depend on what is in memory.

float32 holds numbers from 1e-45 to 3e38, their squares from 1e-90 to 1e77. So `distances` computes in float64;
the ranking does so where norms are far from 1 (`_is_wide`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chroma_nb.index.cores import CORES
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE
from chroma_nb.types import Neighbors, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: Bytes of vectors looked at in one piece; about what a core's second-level cache holds.
_GATHER_BYTES = 512 << 10
_SCAN_BYTES = 16 << 20
#: Products of no more bytes are computed on one core: more are no faster, and BLAS waits for the slowest of them.
_ONE_CORE_BYTES = 8 << 20
#: OpenBLAS shares out a matrix of 9,216 floats or more (GEMM_MULTITHREAD_THRESHOLD in its interface/gemv.c).
_UNSHARED_FLOATS = 9_215
#: With fewer rows than this at a time, one row at a time is as quick.
_FEWEST_ROWS = 16
#: Pieces that are read from a file; small enough to be compared while they are in the cache.
_READ_BYTES = 1 << 20
#: The product of a query and a row, which is float64 for very long or very short vectors.
_PRODUCT_BYTES = 8
#: Beside the products of a group of queries, a row takes this many bytes of work: its rank, what `partition`
#: copies of it, and its norm where that is not known.
_ROW_BYTES = 16
_EPSILON = float(np.finfo(np.float32).eps)
_LARGEST = np.finfo(np.float32).max
#: Vectors are taken to float64 in pieces of this many bytes.
_WIDE_BYTES = 4 << 20
#: What chosen rows take at most while their distances are computed: more at once is no faster. A row is there as
#: float32, twice where rows between others are read, and for a piece in float64.
_CANDIDATE_BYTES = 32 << 20
_WIDE_TIMES = 3
#: Squares of norms within these are far from float32's ends, also times a dimension of some thousand.
_LEAST_NORM, _MOST_NORM = 1e-15, 1e15


class Rows(Protocol):
    """Vectors that are read piece by piece instead of being there as one array."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, dimension)."""

    def read_range(self, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Read rows start .. stop - 1 into the beginning of `out`, and return that part of it."""

    def take(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return chosen rows."""


def norms_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Euclidean norm of each row, shape (n,), float32; at most float32's largest number."""
    with np.errstate(over="ignore", under="ignore"):
        squares: NDArray[np.float32] = np.einsum("ij,ij->i", vectors, vectors)
        norms = np.sqrt(squares)
    outside = np.flatnonzero(~((norms > _LEAST_NORM) & (norms < _MOST_NORM)))
    if len(outside):
        wide = vectors[outside].astype(np.float64)
        norms[outside] = np.minimum(np.sqrt(np.einsum("ij,ij->i", wide, wide)), _LARGEST)
    return norms


def are_ordinary(norms: NDArray[np.float32]) -> bool:
    """Say whether vectors of these norms can be compared in float32: a graph does nothing else."""
    if not len(norms):
        return True
    if float(norms.max()) > _MOST_NORM:
        return False
    positive = norms[norms > 0] if norms.min() < _LEAST_NORM else norms
    return not len(positive) or float(positive.min()) >= _LEAST_NORM


def distances(
    space: Space, query: NDArray[np.float32], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the distance of each vector to the query, by Chroma's definitions.

    ``l2`` is the squared Euclidean distance, ``ip`` 1 - q.x, ``cosine`` 1 - q.x / (|q| |x|), which is
    1 where either is the zero vector. A distance beyond float32's range is its largest number, so that it
    stays one.

    Args:
        space: The distance.
        query: Shape (dimension,), float32.
        vectors: Shape (n, dimension), float32.

    Returns:
        Shape (n,), float32.
    """
    return pair_distances(space, np.broadcast_to(query.astype(np.float64), vectors.shape), vectors)


def pair_distances(
    space: Space, queries: NDArray[Any], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the distance of each vector to the query in the same row, bit for bit as `distances` does.

    Args:
        space: The distance.
        queries: Shape (n, dimension), float32 or float64.
        vectors: Shape (n, dimension), float32.

    Returns:
        Shape (n,), float32.
    """
    out = np.empty(len(vectors), dtype=np.float32)
    step = max(1, _WIDE_BYTES // (8 * max(1, vectors.shape[1])))
    for start in range(0, len(vectors), step):
        piece = slice(start, start + step)
        wide_queries = queries[piece].astype(np.float64, copy=False)
        exact = _distances(space, wide_queries, vectors[piece].astype(np.float64))
        out[piece] = np.clip(exact, -_LARGEST, _LARGEST)
    return out


def _distances(
    space: Space, queries: NDArray[np.float64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    if space == "l2":
        vectors -= queries
        squared: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors)
        return squared
    products: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, queries)
    if space == "ip":
        return 1 - products
    scale = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) * np.sqrt(
        np.einsum("ij,ij->i", queries, queries)
    )
    out = np.ones(len(vectors), dtype=np.float64)
    np.divide(products, scale, out=products, where=scale > 0)
    np.subtract(out, products, out=out, where=scale > 0)
    # An angle of 0 may come out as a distance of -1e-16.
    return np.maximum(out, 0.0, out=out)


def search(
    space: Space,
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32] | Rows,
    k: int,
    *,
    labels: NDArray[np.int64] | None = None,
    norms: NDArray[np.float32] | None = None,
    order: NDArray[np.int64] | None = None,
) -> Neighbors:
    """Find the k nearest vectors of each query, exactly.

    Args:
        space: The distance.
        queries: Shape (n_queries, dimension), float32.
        vectors: Shape (n_labels, dimension), float32; an array, a mapped file, or rows to be read.
        k: Neighbours wanted, at least 1.
        labels: Rows to look at, int64; None looks at all of them.
        norms: Shape (n_labels,), the vectors' norms where they are known.
        order: Shape (n_labels,); equal distances come in this order, else by label.

    Returns:
        Labels and distances, (n_queries, min(k, rows)), nearest first.
    """
    n_rows = vectors.shape[0] if labels is None else len(labels)
    k = min(k, n_rows)
    if k == 0:
        shape = (len(queries), 0)
        return Neighbors(np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32))
    out_labels = np.empty((len(queries), k), dtype=np.int64)
    out_distances = np.empty((len(queries), k), dtype=np.float32)
    take: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    take = vectors.__getitem__ if isinstance(vectors, np.ndarray) else vectors.take
    start = 0
    while start < len(queries):
        # As many queries together as there is room for the products of.
        with WORKSPACE.take(
            (_PRODUCT_BYTES * (len(queries) - start) + _ROW_BYTES) * n_rows
        ) as room:
            group = queries[start : start + room.rows(_PRODUCT_BYTES * n_rows)]
            ranked = _approximate(space, group, vectors, labels, norms)
            for row, (query, (ranks, margin)) in enumerate(zip(group, ranked, strict=True), start):
                candidates = _nearest_candidates(ranks, k, margin)
                found = candidates if labels is None else labels[candidates]
                exact = distances_of(space, query, take, found)
                tie = found if order is None else order[found]
                best = np.lexsort((tie, exact))[:k]
                out_labels[row], out_distances[row] = found[best], exact[best]
        start += len(group)
    return Neighbors(out_labels, out_distances)


def distances_of(
    space: Space,
    query: NDArray[np.float32],
    take: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    labels: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the distances of chosen rows, piece by piece: of equal vectors all may be candidates.

    Args:
        space: The distance.
        query: Shape (dimension,), float32.
        take: Returns a copy of the rows of these labels.
        labels: Shape (n,): which.

    Returns:
        Shape (n,), float32.
    """
    row_bytes = _WIDE_TIMES * 4 * max(1, len(query))
    if len(labels) * row_bytes <= SMALL_BYTES:
        return distances(space, query, take(labels))
    out = np.empty(len(labels), dtype=np.float32)
    with WORKSPACE.take(min(len(labels) * row_bytes, _CANDIDATE_BYTES)) as room:
        step = room.rows(row_bytes)
        for start in range(0, len(labels), step):
            piece = labels[start : start + step]
            out[start : start + step] = distances(space, query, take(piece))
    return out


def _nearest_candidates(ranks: NDArray[Any], k: int, margin: float) -> NDArray[np.int64]:
    """Return every row whose rank may be among the k smallest once rounding is undone."""
    if len(ranks) <= k:
        return np.arange(len(ranks))
    threshold = np.partition(ranks, k - 1)[k - 1] + margin
    return np.flatnonzero(ranks <= threshold)


def _approximate(
    space: Space,
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32] | Rows,
    labels: NDArray[np.int64] | None,
    norms: NDArray[np.float32] | None,
) -> Iterator[tuple[NDArray[Any], float]]:
    """Rank the rows by BLAS: for each query (ranks, a bound on the error of a difference of two).

    Ranks order as distances do. The bound is that of a float32 inner product, 2 n eps |q||x| (Higham,
    Accuracy and Stability of Numerical Algorithms, 3.1), with sqrt(n) in place of n as rounding errors
    are of either sign, and twice for a difference of two ranks.
    """
    dimension = vectors.shape[1]
    n_rows = vectors.shape[0] if labels is None else len(labels)
    query_norms = norms_of(queries)
    row_norms = np.empty(n_rows, dtype=np.float32)
    known = norms if labels is None or norms is None else norms[labels]
    if known is not None:
        row_norms = known[:n_rows]
    if not are_ordinary(query_norms) or (known is not None and not are_ordinary(row_norms)):
        return _approximate_wide(space, queries, vectors, labels)
    products = np.empty((len(queries), n_rows), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, stop, block in _blocks(vectors, labels, 4 * len(queries)):
            _multiply(block, queries, out=products[:, start:stop])
            if known is None:
                row_norms[start:stop] = norms_of(block)
    if known is None and not are_ordinary(row_norms):
        return _approximate_wide(space, queries, vectors, labels)
    growth = 8.0 * _EPSILON * (np.sqrt(dimension) + 4)
    # One query's ranks at a time.
    return (
        _ranks(space, product, row_norms, float(query_norm), growth)
        for product, query_norm in zip(products, query_norms, strict=True)
    )


def _multiply(
    block: NDArray[np.float32], queries: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Compute the inner products of rows and queries into `out`, shape (n_queries, rows)."""
    on_one_core = len(queries) == 1 and CORES.are_building
    if on_one_core or block.nbytes * len(queries) <= _ONE_CORE_BYTES:
        for query, products in zip(queries, out, strict=True):
            _multiply_on_one_core(block, query, products)
    elif len(queries) == 1:
        np.dot(block, queries[0], out=out[0])
    else:
        out[:] = (block @ queries.T).T


def _multiply_on_one_core(
    block: NDArray[np.float32], query: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Compute the inner products of rows and one query into `out`, shape (rows,).

    BLAS gets so few rows at a time that it does not share them out.
    """
    n_rows, dimension = block.shape
    at_once = _UNSHARED_FLOATS // dimension
    if at_once < _FEWEST_ROWS:
        at_once = 1
    whole = n_rows - n_rows % at_once
    pieces = block[:whole].reshape(-1, at_once, dimension)
    np.matmul(pieces, query[:, None], out=out[:whole].reshape(-1, at_once, 1))
    if whole < n_rows:
        np.matmul(block[whole:], query, out=out[whole:])


def _approximate_wide(
    space: Space,
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32] | Rows,
    labels: NDArray[np.int64] | None,
) -> Iterator[tuple[NDArray[Any], float]]:
    """Do the same in float64, for vectors that are very long or very short."""
    n_rows, dimension = vectors.shape
    n_rows = n_rows if labels is None else len(labels)
    wide_queries = queries.astype(np.float64)
    products = np.empty((len(queries), n_rows), dtype=np.float64)
    row_norms = np.empty(n_rows, dtype=np.float64)
    step = max(1, _WIDE_BYTES // (8 * dimension))
    for start, _, block in _blocks(vectors, labels, 8 * len(queries)):
        for at in range(0, len(block), step):
            wide = block[at : at + step].astype(np.float64)
            rows = slice(start + at, start + at + len(wide))
            products[:, rows] = (wide @ wide_queries.T).T
            row_norms[rows] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    growth = 8.0 * float(np.finfo(np.float64).eps) * (np.sqrt(dimension) + 4)
    query_norms = np.sqrt(np.einsum("ij,ij->i", wide_queries, wide_queries))
    return (
        _ranks(space, product, row_norms, float(query_norm), growth)
        for product, query_norm in zip(products, query_norms, strict=True)
    )


def _ranks(
    space: Space,
    products: NDArray[Any],
    row_norms: NDArray[Any],
    query_norm: float,
    growth: float,
) -> tuple[NDArray[Any], float]:
    """Return ranks of one query's products with the rows, and the margin that undoes their rounding."""
    if space == "cosine":
        ranks = np.zeros_like(products)
        np.divide(products, row_norms, out=ranks, where=row_norms > 0)
        np.negative(ranks, out=ranks)
        # The answer's distances are float32: what is equal there may come in either order here.
        return ranks, (growth + 2 * _EPSILON) * query_norm
    largest = float(row_norms.max(initial=0.0))
    if space == "ip":
        reach = query_norm * largest
        return -products, growth * reach + 2 * _EPSILON * (1 + reach)
    squares = row_norms * row_norms
    ranks = squares - 2 * products
    largest_square = largest * largest
    margin = growth * (largest_square + 2 * query_norm * largest)
    return ranks, margin + 2 * _EPSILON * (query_norm + largest) ** 2


def _blocks(
    vectors: NDArray[np.float32] | Rows, labels: NDArray[np.int64] | None, work_bytes: int
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield (start, stop, rows) of all rows, or of chosen ones copied piece by piece.

    Args:
        vectors: The rows.
        labels: Those to look at; None is all.
        work_bytes: Bytes that the caller computes from each row, such as its products with the queries. A piece has
            fewer rows the more these are.
    """
    n_rows, dimension = vectors.shape
    row_bytes = 4 * dimension
    if labels is None:
        if isinstance(vectors, np.ndarray):
            step = max(1, _SCAN_BYTES // (row_bytes + work_bytes))
            for start in range(0, n_rows, step):
                block = vectors[start : start + step]
                yield start, start + len(block), block
            return
        step = max(1, _READ_BYTES // row_bytes)
        buffer = np.empty((min(step, n_rows), dimension), dtype=np.float32)
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield start, stop, vectors.read_range(start, stop, buffer)
        return
    if isinstance(vectors, np.ndarray):
        # Pieces that stay in the cache between being copied and being multiplied.
        step = max(1, _GATHER_BYTES // row_bytes)
        buffer = np.empty((min(step, len(labels)), dimension), dtype=np.float32)
        for start in range(0, len(labels), step):
            piece = labels[start : start + step]
            block = buffer[: len(piece)]
            np.take(vectors, piece, axis=0, out=block, mode="clip")
            yield start, start + len(piece), block
        return
    step = max(1, 4 * _READ_BYTES // row_bytes)
    for start in range(0, len(labels), step):
        piece = labels[start : start + step]
        yield start, start + len(piece), vectors.take(piece)
