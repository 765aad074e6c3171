"""What an `API` answers: `Records` of `get`, `Matches` of `query`, `Found` of `search`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Records:
    """Answer of `get`: records in storage order; what was not asked for is None."""

    ids: list[str]
    #: Shape (n, dimension), float32.
    embeddings: NDArray[np.float32] | None = None
    documents: list[str | None] | None = None
    metadatas: list[dict[str, Any] | None] | None = None
    uris: list[str | None] | None = None


@dataclass
class Matches:
    """Answer of `query`: for each query its records, nearest first; what was not asked for is None."""

    ids: list[list[str]] = field(default_factory=list)
    distances: list[list[float]] | None = None
    #: For each query an array of shape (n, dimension), float32.
    embeddings: list[NDArray[np.float32]] | None = None
    documents: list[list[str | None]] | None = None
    metadatas: list[list[dict[str, Any] | None]] | None = None
    uris: list[list[str | None]] | None = None


@dataclass
class Found:
    """Answer of one search: its records by score, lowest first; what was not selected is None."""

    ids: list[str]
    #: Without a rank these are the places in the page.
    scores: list[float | None] | None = None
    documents: list[str | None] | None = None
    #: Where keys were selected, of these alone; None for a record that has none of them.
    metadatas: list[dict[str, Any] | None] | None = None
    #: Shape (n, dimension), float32.
    embeddings: NDArray[np.float32] | None = None
    #: Place of each record in the list of each `Knn`, from 0, and -1 where that did not find it: int32, shape
    #: (number of `Knn` in `knn_leaves`, n). None: a server that does not say.
    positions: NDArray[np.int32] | None = None
    #: How many records each `Knn` found, and how many of all of them are scored, of which this is a page. None: there is
    #: no rank, or a server does not say.
    n_found: list[int] | None = None
    n_scored: int | None = None
    #: How each `Knn` was answered: strategy, reason, rows read, bytes. None: that was not asked for.
    plans: list[dict[str, Any]] | None = None
