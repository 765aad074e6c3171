"""Clusters on a map, and the words that tell each from the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.display.words import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Cells of the grid along each side.
_CELLS = 96
#: The blur starts with this standard deviation, cells, and grows until there are no more clusters than can be named.
_FIRST_BLUR, _MORE_BLUR = 1.6, 1.25
_MOST_CLUSTERS = 24
#: The least share of the records that makes a cluster, and the least number.
_LEAST_SHARE, _LEAST_RECORDS = 1 / 250, 5
#: A document's beginning says what it is about.
_READ_CHARACTERS = 400
#: Words are counted in so many documents, the same share of each cluster's: more of them change no name, and take time.
_READ_RECORDS = 20_000
#: How many times as frequent a word has to be in a cluster as everywhere, and how much weaker than the first the
#: second word may be.
_LEAST_LIFT, _LEAST_SECOND = 2.5, 0.4


@dataclass(frozen=True)
class Cluster:
    """A dense part of a map.

    Attributes:
        name: Its telling words; empty where it has none.
        rows: The records in it, ascending.
        center: Where it is densest, (x, y).
    """

    name: str
    rows: NDArray[np.int64]
    center: tuple[float, float]


def find_clusters(
    coordinates: NDArray[np.float32], documents: Sequence[str | None]
) -> list[Cluster]:
    """Return the clusters of a layout, the largest first, named where there are documents.

    A cluster is what leads uphill to one peak of the density, which is counted on a grid and blurred (mean shift on a
    grid: Comaniciu and Meer, IEEE PAMI 24(5), 2002).

    Args:
        coordinates: Shape (n, 2).
        documents: Of each record, or None.
    """
    least = max(_LEAST_RECORDS, round(_LEAST_SHARE * len(coordinates)))
    low = coordinates.min(axis=0).astype(np.float64)
    size = np.maximum(coordinates.max(axis=0) - low, 1e-9)
    cells = np.minimum(((coordinates - low) / size * _CELLS).astype(np.int64), _CELLS - 1)
    flat = cells[:, 0] * _CELLS + cells[:, 1]
    counts = np.bincount(flat, minlength=_CELLS * _CELLS).reshape(_CELLS, _CELLS).astype(float)
    blur = _FIRST_BLUR
    while True:
        peaks = _uphill(_blurred(counts, blur))[flat]
        found, members = np.unique(peaks, return_counts=True)
        chosen = found[members >= least]
        if len(chosen) <= _MOST_CLUSTERS:
            break
        blur *= _MORE_BLUR
    rows = [np.flatnonzero(peaks == peak) for peak in chosen.tolist()]
    step = -(-len(coordinates) // _READ_RECORDS)
    names = _names([[documents[row] for row in some[::step].tolist()] for some in rows])
    centers = [
        low + (np.array(divmod(peak, _CELLS)) + 0.5) / _CELLS * size for peak in chosen.tolist()
    ]
    clusters = [
        Cluster(name, some, (float(x), float(y)))
        for name, some, (x, y) in zip(names, rows, centers, strict=True)
    ]
    return sorted(clusters, key=lambda one: (-len(one.rows), one.center))


def _blurred(counts: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """Return counts after a Gaussian blur of a standard deviation in cells."""
    at = np.arange(_CELLS)
    weights = np.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * deviation**2))
    blurred: NDArray[np.float64] = weights @ counts @ weights
    return blurred


def _uphill(density: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each cell the peak that the steepest way up leads to."""
    around = np.pad(density, 1, constant_values=-1.0)
    steps = [(0, 0), *((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)]
    views = [around[1 + dx : 1 + dx + _CELLS, 1 + dy : 1 + dy + _CELLS].ravel() for dx, dy in steps]
    moves = np.array([dx * _CELLS + dy for dx, dy in steps])
    to: NDArray[np.int64] = np.arange(_CELLS * _CELLS) + moves[np.argmax(views, axis=0)]
    while not np.array_equal(to, to[to]):
        to = to[to]
    return to


def _names(clusters: list[list[str | None]]) -> list[str]:
    """Return the words that tell each cluster from the others, at most two.

    By class-based TF-IDF (Grootendorst, BERTopic, arXiv:2203.05794) with BM25's weights: what is as frequent as a
    cluster is large weighs nothing in any language; the commonest English words are left out anyway.
    """
    counted = []
    for documents in clusters:
        words: Counter[str] = Counter()
        for document in documents:
            if document:
                # A word counts once in a document, so that no document names a cluster alone.
                words.update(one for one in words_of(document[:_READ_CHARACTERS]) if one.isalpha())
        counted.append(words)
    sizes = [sum(words.values()) for words in counted]
    total: Counter[str] = Counter()
    for words in counted:
        total.update(words)
    mean = sum(sizes) / max(1, len(sizes))
    every = max(1, sum(sizes))
    names = []
    for words, size in zip(counted, sizes, strict=True):
        weights: dict[str, float] = {}
        for word, count in words.items():
            lift = count / size / (total[word] / every)
            if count >= 2 and (lift >= _LEAST_LIFT or len(counted) == 1):
                rarity = np.log1p((mean - total[word] + 0.5) / (total[word] + 0.5))
                weights[word] = count * float(max(0.0, rarity))
        names.append(_joined(sorted(weights, key=lambda one: (-weights[one], one)), weights))
    return names


def _joined(words: list[str], weights: dict[str, float]) -> str:
    if not words or not weights[words[0]]:
        return ""
    first = words[0]
    for other in words[1:3]:
        alike = other[:4] == first[:4]
        if not alike and weights[other] >= _LEAST_SECOND * weights[first]:
            return f"{first}, {other}"
    return first
