"""`embedding_map`: a collection's embeddings on a plane, with a question and what is near to it."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.copying import Place, pieces_by_id
from chroma_nb.display.words import shorten
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.memory.preflight import with_ways
from chroma_nb.memory.sizes import objects_bytes
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE
from chroma_nb.plotting.clusters import Cluster, find_clusters
from chroma_nb.plotting.layouts import check_method, lay_out
from chroma_nb.plotting.map_figure import draw_map
from chroma_nb.plotting.picture import COLORS, GREY, Picture
from chroma_nb.plotting.projection import Projection, projection_bytes
from chroma_nb.validation import check_embeddings

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import NDArray

    from chroma_nb.collection.collection import Collection

#: Records are chosen in this many pieces, spread over the collection.
_PIECES = 50
_WAY_OUT = "show fewer of them: plot(limit=1_000)"
_OTHER = "other"
#: What the caption says of a layout that has no share of the variance.
_LAYOUTS = {
    "tsne": "near records stay together (t-SNE)",
    "umap": "near records stay together (UMAP)",
}


@dataclass(frozen=True)
class MapPoints:
    """The records on a map, row by row."""

    ids: list[str]
    documents: list[str | None]
    #: The value of the metadata key that gives the colour; None where it is missing.
    values: list[Any]
    #: Place in the answer to the question, from 1; 0 for all others.
    ranks: NDArray[np.int64]
    #: Shape (n, 2), float32.
    coordinates: NDArray[np.float32]


class EmbeddingMap(Picture):
    """A map of embeddings: a picture, a table, and a figure to go on with.

    Attributes:
        points: What is on it.
        asked: The question's place, shape (2,), or None.
        note: What its reader has to know of the layout; empty where there is nothing.
    """

    def __init__(
        self,
        name: str,
        points: MapPoints,
        projection: Projection,
        *,
        color: str | None,
        asked: NDArray[np.float32] | None,
        question: str,
        n_records: int,
        note: str = "",
    ) -> None:
        self.name = name
        self.points = points
        self.projection = projection
        self.color = color
        self.asked = asked
        self.question = question
        self.n_records = n_records
        self.note = note
        self._figure: Any = None

    def __repr__(self) -> str:
        name = self.name if len(self.name) <= 30 else self.name[:29] + "…"
        return f"EmbeddingMap({name!r}, {len(self.points.ids):,} of {self.n_records:,} records)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per record: id, x, y, rank (0: not an answer), document, value."""
        import pandas as pd

        x, y = self.points.coordinates.T
        columns = {"id": self.points.ids, "x": x, "y": y, "rank": self.points.ranks}
        columns["document"] = self.points.documents
        if self.color is not None:
            columns[self.color if self.color not in columns else "value"] = self.points.values
        return pd.DataFrame(columns)

    @property
    def subtitle(self) -> str:
        """What the map shows of the collection, in a line."""
        parts = [f"{len(self.points.ids):,} of {self.n_records:,} records"]
        if self.projection.explained is None:
            parts.append(_LAYOUTS[self.projection.method])
        else:
            parts.append(f"PCA, {self.projection.explained:.0%} of the variance")
        return "; ".join([", ".join(parts), *([self.note] if self.note else [])])

    @property
    def _about(self) -> str:
        return f"map of the embeddings of {shorten(self.name, 60)}: {self.subtitle}"

    def groups(self) -> list[tuple[str, NDArray[np.bool_], str]]:
        """Return (label, which points, colour) of each group: the most frequent values, others, none."""
        return list(self._grouped)

    @functools.cached_property
    def _grouped(self) -> list[tuple[str, NDArray[np.bool_], str]]:
        values = [None if one is None else str(one) for one in self.points.values]
        counts: dict[str, int] = {}
        for value in values:
            if value is not None:
                counts[value] = counts.get(value, 0) + 1
        common = sorted(counts, key=lambda one: (-counts[one], one))[: len(COLORS)]
        # Each value's place among them; no value is before, the others are after.
        places: dict[str | None, int] = {value: place for place, value in enumerate(common)}
        places[None] = -1
        place_of = np.array([places.get(one, len(common)) for one in values], dtype=np.int64)
        found = [
            (value, place_of == place, color)
            for place, (value, color) in enumerate(zip(common, COLORS, strict=False))
        ]
        rest, missing = place_of == len(common), place_of == -1
        if rest.any():
            found.insert(0, (_OTHER, rest, GREY))
        if missing.any():
            found.insert(0, ("no value" if self.color else "", missing, GREY))
        return found

    @property
    def is_scale(self) -> bool:
        """Whether the colours are those of numbers."""
        numbers = [one for one in self.points.values if one is not None]
        kinds = {isinstance(one, int | float) and not isinstance(one, bool) for one in numbers}
        return bool(numbers) and kinds == {True} and len(set(numbers)) > len(COLORS)

    @property
    def figure(self) -> Any:
        if self._figure is None:
            self._figure = draw_map(self)
        return self._figure

    @functools.cached_property
    def clusters(self) -> list[Cluster]:
        """The dense parts of the map, the largest first, with the words that tell them apart."""
        return find_clusters(self.points.coordinates, self.points.documents)


def embedding_map(
    collection: Collection,
    *,
    color: str | None = None,
    query: Any = None,
    n_results: int = 10,
    where: Any = None,
    limit: int = 20_000,
    method: str | None = None,
) -> EmbeddingMap:
    """Return a map of a collection's embeddings.

    Args:
        collection: The collection.
        color: The metadata key whose values give the colours.
        query: A text, or an embedding: marked, with its `n_results` nearest records.
        n_results: Records near to the question.
        where: Only records with this metadata.
        limit: At most so many records, spread evenly over the collection.
        method: ``"tsne"``, ``"umap"`` or ``"pca"``; None: t-SNE, and PCA where that cannot be, which the caption says.

    Raises:
        InvalidArgumentError: There is nothing to show, or `limit` or `method` cannot be used.
        ImportError: The library of the `method` is missing.
        MemoryBudgetError: There is no room.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidArgumentError(f"Expected limit to be at least 1, got {limit!r}.")
    check_method(method)
    n_records = collection.count()
    ids = _spread(collection, n_records, where, limit)
    n_spread = len(ids)
    ranks: dict[str, int] = {}
    vector: NDArray[np.float32] | None = None
    if query is not None:
        vector = _embedded(collection, query)
        answer = collection.query(
            query_embeddings=vector, n_results=n_results, where=where, include=[]
        )
        ranks = {one: rank for rank, one in enumerate(answer["ids"][0], 1)}
        there = set(ids)
        ids += [one for one in ranks if one not in there]
    if not ids:
        raise InvalidArgumentError(f"Collection [{collection.name}] has no records to plot.")
    dimension = collection.get(ids=ids[:1], include=["embeddings"])["embeddings"].shape[1]
    what = f"A map of {len(ids):,} embeddings of {dimension:,} dimensions"
    with contextlib.ExitStack() as held:

        def take(n_bytes: int) -> None:
            held.enter_context(WORKSPACE.take_all(n_bytes, what, _WAY_OUT))

        take(4 * dimension * len(ids) + projection_bytes(len(ids), dimension, method or "pca"))
        found, documents, values, embeddings = _read(collection, ids, dimension, color, take)
        if color is not None and all(one is None for one in values):
            known = ", ".join(list(collection.fields)[:8]) or "none"
            raise InvalidArgumentError(f"No record has the metadata key {color!r}. Keys: {known}.")
        # The answer's records come last; the layout is that of the others, so that it is the same for each question.
        later = set(ids[n_spread:])
        n_laid = sum(one not in later for one in found) or len(found)
        made = lay_out(
            collection,
            found[:n_laid],
            embeddings[:n_laid],
            method,
            place=(str(where), limit),
            is_whole=where is None and n_laid == n_records,
            what=what,
        )
        coordinates = np.concatenate([made.coordinates, made.place(embeddings[n_laid:])])
        asked = None if vector is None else made.place(vector)[0]
    points = MapPoints(
        ids=found,
        documents=documents,
        values=values,
        ranks=np.array([ranks.get(one, 0) for one in found], dtype=np.int64),
        coordinates=coordinates,
    )
    return EmbeddingMap(
        collection.name,
        points,
        Projection(made.method, coordinates, explained=made.explained),
        color=color,
        asked=asked,
        question=query if isinstance(query, str) else "query",
        n_records=n_records,
        note=made.note,
    )


def _embedded(collection: Collection, query: Any) -> NDArray[np.float32]:
    if isinstance(query, str):
        return collection.embed_queries(query)
    return check_embeddings(query)[:1]


def _spread(collection: Collection, n_records: int, where: Any, limit: int) -> list[str]:
    """Return the ids of at most `limit` records: pieces that lie evenly over the collection.

    Raises:
        MemoryBudgetError: There is no room for them.
    """
    try:
        return _spread_ids(collection, n_records, where, limit)
    except MemoryBudgetError as error:
        with_ways(error, _WAY_OUT)
        raise


def _spread_ids(collection: Collection, n_records: int, where: Any, limit: int) -> list[str]:
    if n_records <= limit or where is not None:
        found: list[str] = collection.get(where=where, limit=limit, include=[])["ids"]
        return found
    piece = max(1, limit // _PIECES)
    n_pieces = -(-limit // piece)
    starts = np.linspace(0, n_records - piece, n_pieces).astype(int)
    ids: list[str] = []
    for start in np.unique(starts).tolist():
        ids += collection.get(limit=piece, offset=start, include=[])["ids"]
    return ids


def _read(
    collection: Collection,
    ids: list[str],
    dimension: int,
    color: str | None,
    take: Callable[[int], None],
) -> tuple[list[str], list[str | None], list[Any], NDArray[np.float32]]:
    """Return (ids, documents, values of a metadata key, embeddings) of these records, those that are there.

    Args:
        collection: Where they are.
        ids: Which.
        dimension: Of the embeddings.
        color: The metadata key.
        take: Takes the memory that the texts keep.
    """
    embeddings = np.empty((len(ids), dimension), dtype=np.float32)
    documents: list[str | None] = []
    values: list[Any] = []
    found: list[str] = []
    place = Place(collection.api, collection.id, collection.tenant, collection.database)
    n_bytes = 0
    for some in pieces_by_id(place, ids):
        n_bytes += objects_bytes(some.documents or ())
        if n_bytes > SMALL_BYTES:
            # What is small is had without a look, many times over.
            take(n_bytes)
            n_bytes = 0
        embeddings[len(found) : len(found) + len(some.ids)] = some.embeddings
        found += some.ids
        documents += some.documents or ()
        values += [
            None if one is None or color is None else one.get(color) for one in some.metadatas or ()
        ]
    return found, documents, values, embeddings[: len(found)]
