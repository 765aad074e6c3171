"""`SavedGraphs`: which forms of a graph a collection may get, and the graphs on the disk."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from chroma_nb.index import forms_of
from chroma_nb.index.base import graph_parameters
from chroma_nb.segment.index_file import damaged_graphs, has_graph, open_graph, save_graph
from chroma_nb.segment.snapshot import is_damaged as snapshot_is_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.index.base import GraphParameters, VectorIndex
    from chroma_nb.segment.derived_files import DerivedFiles
    from chroma_nb.segment.segment import LoadedSegment


class Elsewhere(Protocol):
    """Other processes that build graphs."""

    def build(
        self,
        source: VectorSource,
        form: type[VectorIndex],
        parameters: GraphParameters,
        alive: NDArray[np.bool_],
        prefix: str,
        on_progress: Callable[[int], object],
        is_wanted: Callable[[], bool],
    ) -> str | None:
        """Build a graph, and return the prefix of its files, beside `prefix`; None: it is to be built here.

        Args:
            source: The vectors.
            form: The form of the graph.
            parameters: Those of the graph.
            alive: bool, shape (labels,): False for a deleted label.
            prefix: Of the collection's derived files.
            on_progress: Called with the number of labels that are done, in all.
            is_wanted: Says whether to go on.
        """


class SavedGraphs:
    """The graphs of one store's collections, as far as they are on the disk.

    Args:
        engine: Returns the graph engine; None for exact search only.
        min_records: A collection with fewer records gets no graph.
        derived: Where the files are.
    """

    def __init__(
        self,
        engine: Callable[[], type[VectorIndex] | None],
        min_records: int,
        derived: DerivedFiles,
    ) -> None:
        self._engine = engine
        self._min_records = min_records
        self._derived = derived
        self._save_lock = threading.Lock()
        #: Where other processes build graphs; None: they are built in this one.
        self.elsewhere: Elsewhere | None = None

    def are_wanted(self, n_records: int, dimension: int) -> bool:
        """Say whether a collection gets a graph or codes. For a small one no engine is imported."""
        return next(self.forms(n_records, dimension), None) is not None

    def forms(self, n_records: int, dimension: int) -> Iterator[type[VectorIndex]]:
        """Yield the forms that a graph or the codes of a collection may take, the largest in memory first.

        Args:
            n_records: Its records.
            dimension: Of its embeddings.
        """
        engine = self._engine() if n_records >= self._min_records else None
        forms = iter(()) if engine is None else forms_of(engine)
        return (form for form in forms if dimension <= form.most_dimensions)

    def open(
        self, segment: LoadedSegment, form: type[VectorIndex], alive: NDArray[np.bool_]
    ) -> tuple[VectorIndex, int] | None:
        """Open a collection's saved graph, without the deleted labels.

        Args:
            segment: The loaded collection.
            form: The form of the graph.
            alive: Shape (labels,), bool: False for a deleted label.

        Returns:
            The graph, and the first label that is not in it; None where no usable graph of this form is saved.
        """
        vectors, prefix = segment.vectors, self._derived.prefix(segment.info.id, segment.generation)
        if vectors is None or not has_graph(prefix, form):
            return None
        parameters = graph_parameters(segment.info)
        found = open_graph(prefix, form, parameters, len(alive), vectors.source.digest)
        if found is not None:
            graph, end = found
            graph.discard(np.flatnonzero(~alive[:end]))
        return found

    def save(self, segment: LoadedSegment) -> None:
        """Write a segment's graph to its file if it has changed since it was last saved."""
        vectors = segment.vectors
        if vectors is None or vectors.graph is None or not vectors.graph_changed:
            return
        with self._save_lock:
            # Another thread may have saved it while this one waited.
            if vectors.graph_changed:
                prefix = self._derived.prefix(segment.info.id, segment.generation)
                end = vectors.graph_end
                if save_graph(prefix, vectors.graph, end, vectors.source.digest(end)):
                    vectors.graph_changed = False

    def adopt(self, built: str, segment: LoadedSegment, form: type[VectorIndex]) -> None:
        """Put a graph that another process has built into the place of the saved one; `open` checks it.

        Args:
            built: Path of its files, without suffix.
            segment: The loaded collection.
            form: The form of the graph.
        """
        prefix = self._derived.prefix(segment.info.id, segment.generation)
        path, new = (f"{one}.{form.engine}.graph" for one in (prefix, built))
        with self._save_lock:
            # As in `save_graph`: between the renames there is no description, so no wrong one.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ".json")
            os.replace(new, path)
            os.replace(new + ".json", path + ".json")

    def damaged_files(self, collection_id: UUID, on_bytes: Callable[[int], object]) -> list[str]:
        """Read a collection's graphs and snapshot on the disk; return the paths of those that are damaged.

        Args:
            collection_id: The collection.
            on_bytes: Called with the size of each piece that was read.
        """
        # Before the lock: it may read the catalogue again, for which graphs of this store may have to be saved.
        prefix = self._derived.prefix(collection_id)
        with self._save_lock:
            found = damaged_graphs(prefix, on_bytes)
        snapshot = snapshot_is_damaged(prefix, on_bytes)
        return [*found, snapshot] if snapshot else found
