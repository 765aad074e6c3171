"""`tsne`: a layout that keeps neighbourhoods, from neighbours that are known already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.lazy import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: Neighbours of a record. With equal weights 15 do what a perplexity of 30, that is 90 neighbours, does: Böhm,
#: Berens and Kobak, Attraction-Repulsion Spectrum in Neighbor Embeddings, JMLR 23 (2022).
N_NEIGHBORS = 15
#: Fewer have no neighbourhoods to keep.
LEAST_RECORDS = 5
#: Iterations with strong attraction, which brings clusters together, and those after them, which spread them out. More
#: of either adds next to nothing (benchmarks/maps.py).
_EARLY, _LATE = 100, 200
#: Attraction in both, as a multiple of t-SNE's. A little more than 1 leaves room between clusters.
_EARLY_ATTRACTION, _ATTRACTION = 12.0, 1.2
_REPORTED = 10
_FEW_RECORDS = 5_000
#: In units that t-SNE counts distances in: an initial layout has to be small (Kobak and Berens, Nature
#: Communications 10, 2019).
_FIRST_SPREAD = 1e-4
#: What it takes for each record, and for the grid on which forces are computed, bytes: an upper
#: bound of what a process grew by (25 MB with 20,000 records).
_RECORD_BYTES, _GRID_BYTES = 2_500, 24 << 20

#: Calls of `on_step`.
N_REPORTS = (_EARLY + _LATE) // _REPORTED


def tsne_bytes(n: int) -> int:
    """Return what a layout of so many records takes beside their embeddings, bytes."""
    return _GRID_BYTES + _RECORD_BYTES * n


def tsne(
    neighbors: NDArray[np.int64],
    start: NDArray[np.float32],
    on_step: Callable[[int], object],
    *,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Return a t-SNE layout of records whose neighbours are known.

    Args:
        neighbors: The nearest other records of each, shape (n, k), int64.
        start: Where they lie at first, shape (n, 2): by PCA, so that a map is made alike again.
        on_step: Called with 1 now and then, `N_REPORTS` times.
        seed: For records that start in one place.

    Returns:
        Shape (n, 2), float32.

    Raises:
        ImportError: openTSNE is missing.
    """
    library: Any = require_extra("openTSNE", extra="plot", needed_by='plot(method="tsne")')
    from openTSNE.affinity import Uniform
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    known = PrecomputedNeighbors(neighbors, np.zeros(neighbors.shape))
    affinities = Uniform(knn_index=known, k_neighbors=neighbors.shape[1], symmetrize="max")
    first = start.astype(np.float64)
    spread = float(first[:, 0].std())
    first = first / spread if np.isfinite(spread) and spread > 0 else np.zeros_like(first)
    first += np.random.default_rng(seed).standard_normal(first.shape) * 0.01

    def report(iteration: int, error: float, embedding: Any) -> None:
        on_step(1)

    made = library.TSNEEmbedding(
        first * _FIRST_SPREAD,
        affinities,
        negative_gradient_method="fft",
        # A thread per core pays for many records alone.
        n_jobs=-1 if len(start) > _FEW_RECORDS else 1,
        random_state=seed,
    )
    reported = {"callbacks": report, "callbacks_every_iters": _REPORTED}
    made = made.optimize(_EARLY, exaggeration=_EARLY_ATTRACTION, momentum=0.5, **reported)
    made = made.optimize(_LATE, exaggeration=_ATTRACTION, momentum=0.8, **reported)
    return np.asarray(made, dtype=np.float32)
