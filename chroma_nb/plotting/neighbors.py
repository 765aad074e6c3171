"""The neighbours of each record on a map, which its layout is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.index.exact import norms_of
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chroma_nb.collection.collection import Collection
    from chroma_nb.types import Space

#: What is compared at a time takes at most this; each comparison is there as a score, negated, and as a row.
_BLOCK_BYTES = 32 << 20
_COMPARISON_BYTES = 16
#: The embeddings of the questions that are sent together.
_ASKED_BYTES = 1 << 20


def nearest_rows(
    vectors: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    k: int,
    space: Space,
    *,
    own: NDArray[np.int64] | None = None,
    on_rows: Callable[[int], object] | None = None,
) -> NDArray[np.int64]:
    """Return the k nearest rows of each vector, nearest first; equal ones by their row.

    Args:
        vectors: Shape (m, dimension).
        embeddings: Shape (n, dimension).
        k: From 1 to n, or to n - 1 with `own`.
        space: The distance.
        own: Shape (m,): the row of `embeddings` that is the vector itself, and none of its neighbours.
        on_rows: Called with the number of vectors that are done.

    Returns:
        Shape (m, k), int64.
    """
    found = np.empty((len(vectors), k), dtype=np.int64)
    norms = norms_of(embeddings)
    with WORKSPACE.take(
        min(_BLOCK_BYTES, _COMPARISON_BYTES * vectors.shape[0] * len(norms))
    ) as grant:
        step = grant.rows(_COMPARISON_BYTES * len(embeddings))
        for start in range(0, len(vectors), step):
            part = slice(start, start + step)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                # Larger is farther; what all scores of a vector have in common is left out.
                scores = -(vectors[part] @ embeddings.T)
                if space == "cosine":
                    scores /= np.where(norms > 0, norms, np.float32(1))
                elif space == "l2":
                    scores += norms * norms / 2
            if own is not None:
                scores[np.arange(len(scores)), own[part]] = np.inf
            chosen = np.argpartition(scores, k - 1, axis=1)[:, :k]
            chosen.sort(axis=1)
            order = np.argsort(np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
            found[part] = np.take_along_axis(chosen, order, axis=1)
            if on_rows is not None:
                on_rows(len(scores))
    return found


def neighbor_graph(
    collection: Collection,
    ids: list[str],
    embeddings: NDArray[np.float32],
    k: int,
    *,
    is_whole: bool,
    on_rows: Callable[[int], object],
) -> NDArray[np.int64]:
    """Return the k nearest of each record among those on the map.

    Where all of a collection is on it, its own index is asked, in questions of many embeddings. Of a sample each is
    compared with each: the collection's neighbours of a record would mostly not be on the map.

    Args:
        collection: The collection.
        ids: The records on the map.
        embeddings: Theirs, shape (n, dimension).
        k: Less than n.
        is_whole: Whether they are all of the collection.
        on_rows: Called with the number of records that are done.

    Returns:
        Rows, shape (n, k), int64.
    """
    space = collection.get_model().space
    every = np.arange(len(ids))
    if not is_whole:
        return nearest_rows(embeddings, embeddings, k, space, own=every, on_rows=on_rows)
    rows = {one: row for row, one in enumerate(ids)}
    found = np.empty((len(ids), k), dtype=np.int64)
    incomplete: list[int] = []
    step = max(1, _ASKED_BYTES // (4 * embeddings.shape[1]))
    for start in range(0, len(ids), step):
        some = embeddings[start : start + step]
        answer = collection.query(query_embeddings=some, n_results=k + 1, include=[])["ids"]
        for row, near in enumerate(answer, start):
            # What was added since is not on the map.
            known = [at for one in near if (at := rows.get(one)) is not None and at != row][:k]
            if len(known) == k:
                found[row] = known
            else:
                incomplete.append(row)
        on_rows(len(some))
    if incomplete:
        few = np.array(incomplete)
        found[few] = nearest_rows(embeddings[few], embeddings, k, space, own=few)
    return found


def place_by_neighbors(
    vectors: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    coordinates: NDArray[np.float32],
    space: Space,
    k: int = 10,
) -> NDArray[np.float32]:
    """Return places for further vectors on a finished map: each amid its nearest records there.

    Amid is the geometric median, which the majority of the neighbours decides: a mean of two clusters would lie
    between them, near to nothing. By Weiszfeld's iteration (Vardi and Zhang, PNAS 97(4), 2000).

    Args:
        vectors: Shape (m, dimension).
        embeddings: Of the records on the map, shape (n, dimension).
        coordinates: Theirs, shape (n, 2).
        space: The distance.
        k: Neighbours that decide.

    Returns:
        Shape (m, 2), float32.
    """
    if not len(vectors):
        return np.empty((0, 2), dtype=np.float32)
    near = nearest_rows(vectors, embeddings, min(k, len(embeddings)), space)
    return np.stack([_geometric_median(coordinates[rows].astype(np.float64)) for rows in near])


def _geometric_median(points: NDArray[np.float64]) -> NDArray[np.float32]:
    at = np.median(points, axis=0)
    least = 1e-9 + 1e-6 * float(np.abs(points).max())
    for _ in range(50):
        weights = 1 / np.maximum(np.linalg.norm(points - at, axis=1), least)
        at = (points * weights[:, None]).sum(axis=0) / weights.sum()
    return at.astype(np.float32)
