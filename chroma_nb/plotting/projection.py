"""`project`: embeddings on a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.extras import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Method = Literal["pca", "umap"]


@dataclass(frozen=True)
class Projection:
    """Where embeddings lie on a plane.

    Attributes:
        method: ``"pca"`` or ``"umap"``.
        coordinates: Shape (n, 2), float32.
        transform: Puts further embeddings, shape (m, dimension), on the same plane: (m, 2), float32.
        explained: PCA: the share of the variance that the plane shows; else None.
    """

    method: Method
    coordinates: NDArray[np.float32]
    transform: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    explained: float | None = None


def project(embeddings: NDArray[np.float32], method: str = "pca", seed: int = 0) -> Projection:
    """Put embeddings on a plane.

    Args:
        embeddings: Shape (n, dimension), n at least 1.
        method: ``"pca"``: the two directions of the largest variance; ``"umap"``: neighbours stay
            neighbours, distances do not; needs umap-learn.
        seed: For UMAP.

    Raises:
        InvalidArgumentError: There is no such method.
        ImportError: umap-learn is missing.
    """
    if method == "pca":
        return _pca(np.asarray(embeddings, dtype=np.float32))
    if method == "umap":
        return _umap(np.asarray(embeddings, dtype=np.float32), seed)
    raise InvalidArgumentError(f"Expected method to be 'pca' or 'umap', got {method!r}.")


def _pca(embeddings: NDArray[np.float32]) -> Projection:
    centre = embeddings.mean(axis=0, dtype=np.float64)
    # The covariance is dimension x dimension however many embeddings there are.
    moved = embeddings - centre.astype(np.float32)
    covariance = (moved.T @ moved).astype(np.float64) / len(embeddings)
    values, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :2]
    if axes.shape[1] < 2:
        axes = np.hstack([axes, np.zeros((len(axes), 2 - axes.shape[1]))])
    # An eigenvector's sign is free: the largest component is made positive, so a picture comes again.
    largest = np.abs(axes).argmax(axis=0)
    signs = np.where(axes[largest, [0, 1]] < 0, -1.0, 1.0)
    axes = (axes * signs).astype(np.float32)

    def transform(points: NDArray[np.float32]) -> NDArray[np.float32]:
        moved: NDArray[np.float32] = (points - centre.astype(np.float32)).astype(np.float32) @ axes
        return moved

    total = float(values.sum())
    explained = float(values[::-1][:2].sum()) / total if total > 0 else 1.0
    return Projection("pca", transform(embeddings), transform, explained)


def _umap(embeddings: NDArray[np.float32], seed: int) -> Projection:
    umap = require_extra("umap", extra="umap", needed_by='plot(method="umap")')
    reducer = umap.UMAP(n_components=2, random_state=seed, n_jobs=1)
    coordinates = np.asarray(reducer.fit_transform(embeddings), dtype=np.float32)

    def transform(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(reducer.transform(points), dtype=np.float32)

    return Projection("umap", coordinates, transform)
