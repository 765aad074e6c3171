"""`lay_out`: where a map's records lie, by the method that was asked for or by the best that can be had."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.lazy import is_installed
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.plotting.kept_layouts import KEPT, fingerprint
from chroma_nb.plotting.neighbors import neighbor_graph, place_by_neighbors
from chroma_nb.plotting.projection import METHODS, project, umap
from chroma_nb.plotting.tsne import LEAST_RECORDS, N_NEIGHBORS, N_REPORTS, tsne, tsne_bytes
from chroma_nb.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.collection.collection import Collection
    from chroma_nb.plotting.projection import Method

#: Steps of the progress bar that finding neighbours is; the layout's own reports are the rest.
_SEARCH_STEPS = 30
_CHANGED = "laid out anew, as the records have changed"
_NOT_INSTALLED = 'to keep near records together: pip install "chroma-nb[plot]"'


@dataclass(frozen=True)
class Layout:
    """Where records lie, and how others find their place among them.

    Attributes:
        method: How it was made.
        coordinates: Shape (n, 2), float32.
        place: Returns places, shape (m, 2), for further embeddings, shape (m, dimension).
        explained: PCA: the share of the variance that the plane shows; else None.
        note: What its reader has to know; empty where there is nothing.
    """

    method: Method
    coordinates: NDArray[np.float32]
    place: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    explained: float | None = None
    note: str = ""


def check_method(method: object) -> None:
    """Check the name of a method.

    Raises:
        InvalidArgumentError: There is no such method.
    """
    if method is not None and method not in METHODS:
        raise InvalidArgumentError(
            f"Expected method to be 'tsne', 'umap' or 'pca', got {method!r}."
        )


def lay_out(
    collection: Collection,
    ids: list[str],
    embeddings: NDArray[np.float32],
    method: str | None,
    *,
    place: object,
    is_whole: bool,
    what: str,
) -> Layout:
    """Return a layout of records; one that was made before of the same embeddings is not made again.

    Args:
        collection: Where they are from.
        ids: Which, at least one.
        embeddings: Theirs, shape (n, dimension).
        method: As for `Collection.plot`.
        place: What was asked of the collection, to tell whether its records have changed since.
        is_whole: Whether they are all of the collection.
        what: What needs memory, as the start of a sentence.

    Raises:
        ImportError: The library of the method is missing.
        MemoryBudgetError: There is no room for the method that was asked for.
    """
    if method == "pca":
        return _pca(embeddings)
    if method is None and not is_installed("openTSNE"):
        return _pca(embeddings, _NOT_INSTALLED)
    if len(ids) < LEAST_RECORDS:
        return _pca(embeddings, "too few records for neighbourhoods")
    chosen: Method = "umap" if method == "umap" else "tsne"
    key = fingerprint(ids, embeddings, chosen)
    where = (collection.id, chosen, place)
    note = _CHANGED if KEPT.has_changed(where, key) else ""
    coordinates = KEPT.get(key)
    if coordinates is None:
        try:
            if chosen == "umap":
                coordinates = umap(embeddings)
            else:
                coordinates = _tsne(collection, ids, embeddings, is_whole, what)
        except MemoryBudgetError:
            if method is not None:
                raise
            return _pca(embeddings, "no memory free to keep near records together")
        KEPT.put(where, key, coordinates)
    space = collection.get_model().space
    kept = coordinates

    def place_others(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return place_by_neighbors(vectors, embeddings, kept, space)

    return Layout(chosen, coordinates, place_others, note=note)


def _pca(embeddings: NDArray[np.float32], note: str = "") -> Layout:
    made = project(embeddings)
    assert made.transform is not None
    return Layout("pca", made.coordinates, made.transform, made.explained, note)


def _tsne(
    collection: Collection,
    ids: list[str],
    embeddings: NDArray[np.float32],
    is_whole: bool,
    what: str,
) -> NDArray[np.float32]:
    n = len(ids)
    with contextlib.ExitStack() as held:
        way = 'plot(method="pca") needs less'
        held.enter_context(WORKSPACE.take_all(tsne_bytes(n), what, way))
        enabled = collection.client.get_settings().progress
        name = f"Laying out {collection.name}"
        total = _SEARCH_STEPS + N_REPORTS
        bar = held.enter_context(progress_bar(total, name, unit="step", enabled=enabled))
        searched = 0

        def on_rows(n_rows: int) -> None:
            nonlocal searched
            before, searched = searched, searched + n_rows
            bar.update(_SEARCH_STEPS * searched // n - _SEARCH_STEPS * before // n)

        k = min(N_NEIGHBORS, n - 1)
        near = neighbor_graph(collection, ids, embeddings, k, is_whole=is_whole, on_rows=on_rows)
        return tsne(near, project(embeddings).coordinates, bar.update)
