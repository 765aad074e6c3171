"""`project`: embeddings on a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from chroma_nb.lazy import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: Up to here the covariance is decomposed as a whole.
_SMALL_DIMENSION = 1_024
#: Axes that are looked for together, which makes the first two come sooner; and when they are good enough.
_GUESSES = 8
_MOST_STEPS = 100
_TOLERANCE = 1e-4
#: Embeddings are moved and multiplied in pieces of this size.
_PIECE_BYTES = 1 << 20
#: How many copies of a piece there are.
_COPIES = 3
#: Matrices of dimension x dimension: the covariance, its axes, and what LAPACK works in.
_SQUARES = 6
#: UMAP's neighbours of an embedding.
_UMAP_BYTES = 2_000

Method = Literal["tsne", "pca", "umap"]
METHODS = ("tsne", "pca", "umap")


@dataclass(frozen=True)
class Projection:
    """Where embeddings lie on a plane.

    Attributes:
        method: How they came there.
        coordinates: Shape (n, 2), float32.
        transform: PCA: puts further embeddings, shape (m, dimension), on the same plane, (m, 2), float32; else None.
        explained: PCA: the share of the variance that the plane shows; else None.
    """

    method: Method
    coordinates: NDArray[np.float32]
    transform: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    explained: float | None = None


def project(embeddings: NDArray[np.float32]) -> Projection:
    """Put embeddings on the plane of the two directions of the largest variance (PCA).

    Args:
        embeddings: Shape (n, dimension), n at least 1.
    """
    return _pca(np.asarray(embeddings, dtype=np.float32))


def _pca(embeddings: NDArray[np.float32]) -> Projection:
    centre = embeddings.mean(axis=0, dtype=np.float64)
    if embeddings.shape[1] <= _SMALL_DIMENSION:
        # The covariance is dimension x dimension however many embeddings there are.
        covariance = _covariance(embeddings, centre.astype(np.float32))
        values, vectors = np.linalg.eigh(covariance)
        axes, two, total = vectors[:, ::-1][:, :2], values[::-1][:2].sum(), values.sum()
    else:
        axes, two, total = _leading_axes(embeddings, centre)
    if axes.shape[1] < 2:
        axes = np.hstack([axes, np.zeros((len(axes), 2 - axes.shape[1]))])
    # An eigenvector's sign is free: the largest component is made positive, so a picture comes again.
    largest = np.abs(axes).argmax(axis=0)
    signs = np.where(axes[largest, [0, 1]] < 0, -1.0, 1.0)
    axes = (axes * signs).astype(np.float32)

    def transform(points: NDArray[np.float32]) -> NDArray[np.float32]:
        found = np.empty((len(points), 2), dtype=np.float32)
        for part in _pieces(*points.shape):
            found[part] = (points[part] - centre.astype(np.float32)).astype(np.float32) @ axes
        return found

    explained = float(two / total) if total > 0 else 1.0
    return Projection("pca", transform(embeddings), transform, explained)


def _pieces(n: int, dimension: int) -> Iterator[slice]:
    """Yield the rows of an array in pieces of which a copy is small."""
    step = max(1, _PIECE_BYTES // (4 * max(1, dimension)))
    for start in range(0, n, step):
        yield slice(start, start + step)


def _covariance(
    embeddings: NDArray[np.float32], centre: NDArray[np.float32]
) -> NDArray[np.float64]:
    total = np.zeros((embeddings.shape[1], embeddings.shape[1]))
    for part in _pieces(*embeddings.shape):
        moved = embeddings[part] - centre
        total += moved.T @ moved
    total /= len(embeddings)
    return total


def projection_bytes(n: int, dimension: int, method: str) -> int:
    """Return what `project` takes beside so many embeddings and their texts, bytes."""
    if method == "umap":
        # What it checks and what it searches are copies; and so many neighbours of each, with weights, several times.
        return 2 * 4 * n * dimension + _UMAP_BYTES * n
    own = _SQUARES * 8 * dimension * dimension if dimension <= _SMALL_DIMENSION else 0
    # Beside these, each embedding along some axes, and each axis in several forms.
    return own + _COPIES * min(_PIECE_BYTES, 4 * n * dimension) + 8 * 4 * _GUESSES * (n + dimension)


def _leading_axes(
    embeddings: NDArray[np.float32], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """Return the two axes of the largest variance, the variance along them, and all of it.

    By orthogonal iteration (Golub and Van Loan, Matrix Computations, 8.2.4), which needs no matrix of dimension
    x dimension: of 3,072 dimensions its decomposition takes 300 MB.
    """
    n, dimension = embeddings.shape
    small_centre = centre.astype(np.float32)
    squares = np.einsum("ij,ij->i", embeddings, embeddings).sum(dtype=np.float64)
    total = max(0.0, float(squares) / n - float(centre @ centre))
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, _GUESSES)))[0]
    before = np.zeros(2)
    for _ in range(_MOST_STEPS):
        narrow = axes.astype(np.float32)
        along = embeddings @ narrow - small_centre @ narrow
        spread = (embeddings.T @ along - np.outer(small_centre, along.sum(axis=0))) / n
        axes, weights = np.linalg.qr(spread.astype(np.float64))
        two = np.sort(np.abs(np.diag(weights)))[::-1][:2]
        if np.allclose(two, before, rtol=_TOLERANCE):
            break
        before = two
    along = (embeddings @ axes.astype(np.float32) - small_centre @ axes.astype(np.float32)).astype(
        np.float64
    )
    values, turns = np.linalg.eigh(along.T @ along / n)
    return (axes @ turns)[:, ::-1][:, :2], float(values[::-1][:2].sum()), total


def umap(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Return UMAP's layout, shape (n, 2): neighbours stay neighbours, distances do not.

    Raises:
        ImportError: umap-learn is missing.
    """
    library = require_extra("umap", extra="umap", needed_by='plot(method="umap")')
    reducer = library.UMAP(n_components=2, random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(embeddings), dtype=np.float32)
