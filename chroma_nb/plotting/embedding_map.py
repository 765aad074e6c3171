"""`embedding_map`: a collection's embeddings on a plane, with a question and what is near to it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.copying import Place, pieces_by_id
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.memory.preflight import with_ways
from chroma_nb.memory.sizes import objects_bytes
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE
from chroma_nb.plotting.picture import COLORS, FAINT, GREY, INK, Picture, calm, label, new_figure
from chroma_nb.plotting.projection import Projection, project, projection_bytes
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
_DARK = "#111111"


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
    ) -> None:
        self.name = name
        self.points = points
        self.projection = projection
        self.color = color
        self.asked = asked
        self.question = question
        self.n_records = n_records
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
        shown = f"{len(self.points.ids):,} of {self.n_records:,} records"
        if self.projection.explained is None:
            return f"{shown}, {self.projection.method.upper()}"
        return f"{shown}, PCA, {self.projection.explained:.0%} of the variance"

    def groups(self) -> list[tuple[str, NDArray[np.bool_], str]]:
        """Return (label, which points, colour) of each group: the most frequent values, others, none."""
        values = [None if one is None else str(one) for one in self.points.values]
        counts: dict[str, int] = {}
        for value in values:
            if value is not None:
                counts[value] = counts.get(value, 0) + 1
        common = sorted(counts, key=lambda one: (-counts[one], one))[: len(COLORS)]
        found = [
            (value, np.array([one == value for one in values]), color)
            for value, color in zip(common, COLORS, strict=False)
        ]
        rest = np.array([one is not None and one not in common for one in values])
        missing = np.array([one is None for one in values])
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
            self._figure = self._draw()
        return self._figure

    def _draw(self) -> Any:
        figure = new_figure(8.4, 5.4, "collection.plot()")
        axes = figure.subplots()
        x, y = self.points.coordinates.T
        size = float(np.clip(9_000 / max(1, len(x)), 5, 42))
        dots = {"s": size, "linewidths": 0, "alpha": 0.8}
        if self.is_scale:
            values = np.array([np.nan if one is None else float(one) for one in self.points.values])
            known = np.isfinite(values)
            axes.scatter(x[~known], y[~known], c=GREY, **dots)
            drawn = axes.scatter(x[known], y[known], c=values[known], cmap="viridis", **dots)
            bar = figure.colorbar(drawn, ax=axes, shrink=0.7, pad=0.02)
            bar.outline.set_visible(False)
            bar.ax.tick_params(colors=FAINT, labelsize=8, length=0)
            bar.set_label(label(self.color), color=FAINT, fontsize=9)
        elif self.color is None:
            axes.scatter(x, y, c=COLORS[0], **dots)
        else:
            for name, which, color in self.groups():
                axes.scatter(x[which], y[which], c=color, label=label(name, 24), **dots)
        self._draw_answer(axes, x, y)
        axes.set_title(
            label(self.name, 60), loc="left", color=INK, fontsize=12, pad=22, weight="bold"
        )
        axes.text(
            0,
            1.02,
            self.subtitle,
            transform=axes.transAxes,
            color=FAINT,
            fontsize=9,
        )
        handles, _ = axes.get_legend_handles_labels()
        if handles:
            place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
            legend = axes.legend(
                title=label(self.color) if self.color and not self.is_scale else None,
                **place,
                frameon=False,
                fontsize=9,
                labelcolor=INK,
                title_fontsize=9,
                alignment="left",
                handletextpad=0.3,
            )
            for handle in legend.legend_handles:
                handle.set_sizes([90 if handle.get_label() == self._star else 36])
        calm(axes)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.margins(0.04)
        return figure

    @property
    def _star(self) -> str:
        return label(self.question, 24)

    def _draw_answer(self, axes: Any, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        near = np.flatnonzero(self.points.ranks)
        if len(near):
            axes.scatter(
                x[near],
                y[near],
                s=70,
                facecolors="none",
                edgecolors=_DARK,
                linewidths=1.2,
                label=f"nearest {len(near)}",
            )
            for row in near:
                axes.annotate(
                    str(self.points.ranks[row]),
                    (x[row], y[row]),
                    xytext=(5, 4),
                    textcoords="offset points",
                    fontsize=8,
                    color=_DARK,
                )
        if self.asked is not None:
            axes.scatter(
                [self.asked[0]],
                [self.asked[1]],
                marker="*",
                s=190,
                c=_DARK,
                edgecolors="white",
                linewidths=0.8,
                label=self._star,
                zorder=5,
            )


def embedding_map(
    collection: Collection,
    *,
    color: str | None = None,
    query: Any = None,
    n_results: int = 10,
    where: Any = None,
    limit: int = 5_000,
    method: str = "pca",
) -> EmbeddingMap:
    """Return a map of a collection's embeddings.

    Args:
        collection: The collection.
        color: The metadata key whose values give the colours.
        query: A text, or an embedding: marked, with its `n_results` nearest records.
        n_results: Records near to the question.
        where: Only records with this metadata.
        limit: At most so many records, spread evenly over the collection.
        method: ``"pca"`` or ``"umap"``.

    Raises:
        InvalidArgumentError: There is nothing to show, or `limit` or `method` cannot be used.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidArgumentError(f"Expected limit to be at least 1, got {limit!r}.")
    n_records = collection.count()
    ids = _spread(collection, n_records, where, limit)
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

        take(4 * dimension * len(ids) + projection_bytes(len(ids), dimension, method))
        ids, documents, values, embeddings = _read(collection, ids, dimension, color, take)
        projection = project(embeddings, method)
    points = MapPoints(
        ids=ids,
        documents=documents,
        values=values,
        ranks=np.array([ranks.get(one, 0) for one in ids], dtype=np.int64),
        coordinates=projection.coordinates,
    )
    if color is not None and all(one is None for one in points.values):
        known = ", ".join(list(collection.fields)[:8]) or "none"
        raise InvalidArgumentError(f"No record has the metadata key {color!r}. Keys: {known}.")
    return EmbeddingMap(
        collection.name,
        points,
        projection,
        color=color,
        asked=None if vector is None else projection.transform(vector)[0],
        question=query if isinstance(query, str) else "query",
        n_records=n_records,
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
