"""`Segment`: one collection's two readers, and a query carried out on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chroma_nb.db.base import DB, Changes, RecordRows
from chroma_nb.errors import StoreCorruptError
from chroma_nb.index.exact import are_ordinary, norms_of
from chroma_nb.progress import progress_bar
from chroma_nb.segment import planner
from chroma_nb.segment.database_search import DatabaseSearch
from chroma_nb.segment.loaded import LoadedMetadata
from chroma_nb.segment.planner import Facts, Plan, Strategy
from chroma_nb.segment.snapshot import open_snapshot, pass_over, save_snapshot
from chroma_nb.segment.stored import StoredMetadata
from chroma_nb.segment.vectors import ExactReader, LoadedVectors
from chroma_nb.types import CollectionInfo, Neighbors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.base import Extent, TextSizes
    from chroma_nb.db.ranking import VectorRanking
    from chroma_nb.filters.expression import Expression
    from chroma_nb.segment.base import MetadataReader
    from chroma_nb.segment.derived_files import DerivedFiles


#: Vectors are looked through in pieces of this size while a collection is loaded.
_BLOCK_BYTES = 1 << 20


class Segment:
    """What answers for one collection: loaded into memory, or reading from the DB.

    Whoever uses it holds the collection's lock; it has none of its own.
    """

    #: `search` does not need a mask, and making one would cost more than the search.
    finds_matches: ClassVar[bool] = False

    def __init__(
        self, info: CollectionInfo, metadata: MetadataReader, vectors: ExactReader | None
    ) -> None:
        self.info = info
        self.metadata = metadata
        #: None until the collection has a dimension.
        self.vectors = vectors

    @property
    def ef_search(self) -> int:
        """Candidates that a graph search examines at least."""
        return int(self.info.configuration["hnsw"].get("ef_search") or 100)

    @property
    def form(self) -> str:
        """What answers: ``exact``, or the engine of the graph."""
        return "exact"

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory that unloading gives back."""
        return 0

    @property
    def sparse_bytes(self) -> int:
        """Bytes of that which searches by words and sparse vectors have made."""
        return 0

    def plan(
        self, k: int, n_queries: int, n_allowed: int | None, n_indexed: int | None = None
    ) -> Plan:
        """Choose how to answer."""
        code_bytes = 0
        if n_indexed is None:
            loaded = self.vectors if isinstance(self.vectors, LoadedVectors) else None
            graph = None if loaded is None else loaded.graph
            n_indexed = 0 if graph is None else len(graph)
            code_bytes = 0 if graph is None else graph.code_bytes
        return planner.plan(
            Facts(
                n_live=self.metadata.n_live,
                dimension=self.info.dimension or 0,
                n_allowed=n_allowed,
                n_results=k,
                n_indexed=n_indexed,
                ef_search=self.ef_search,
                n_queries=n_queries,
                code_bytes=code_bytes,
            )
        )

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        expression: Expression | None = None,
        ids: Sequence[str] | None = None,
        *,
        counts: bool = False,
    ) -> tuple[Neighbors, Plan]:
        """Find the k nearest records of each query among those that match.

        Args:
            queries: Shape (n_queries, dimension), float32, C-contiguous.
            k: Neighbours wanted, at least 1.
            expression: The filter.
            ids: Only records with these ids; unknown ones are ignored.
            counts: The plan has to say how many match, also where that is not known otherwise.

        Returns:
            Neighbours, exactly min(k, matches) in each row, and the plan that found them.
        """
        mask = self.metadata.mask(expression, ids)
        return self.nearest(queries, k, mask, filtered=expression is not None or ids is not None)

    def nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        mask: NDArray[np.bool_] | None,
        *,
        filtered: bool,
    ) -> tuple[Neighbors, Plan]:
        """Find the k nearest records of each query among those of a mask.

        Args:
            queries: Shape (n_queries, dimension), float32, C-contiguous.
            k: Neighbours wanted, at least 1.
            mask: Shape (n_labels,), bool, as `MetadataReader.mask` returns it.
            filtered: Whether it leaves out records, and not only labels that have none.

        Returns:
            As `search`.
        """
        n_allowed = int(np.count_nonzero(mask)) if filtered and mask is not None else None
        plan = self.plan(k, len(queries), n_allowed)
        if plan.strategy is Strategy.EMPTY or self.vectors is None:
            shape = (len(queries), 0)
            nothing = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32)
            return Neighbors(*nothing), plan
        order = self.metadata.sequences()
        return self.vectors.search(queries, k, plan=plan, mask=mask, order=order), plan


#: What a loaded collection's Python objects and empty buffers take, whatever is in it (measured: 6.6 kB). It is
#: counted because of stores with ten thousand small collections, where it is more than all their records.
OBJECT_BYTES = 7_000


class LoadedSegment(Segment):
    """A segment in memory: counted, kept up to date by commits, droppable at any time.

    Args:
        db: Where the truth is.
        info: The collection.
        extent: Its extent, to which this segment is brought by `load`.
        may_hold: Says whether so many more bytes may be held; asked by readers for what only makes later
            answers faster.
    """

    metadata: LoadedMetadata
    vectors: LoadedVectors | None

    def __init__(
        self, db: DB, info: CollectionInfo, extent: Extent, may_hold: Callable[[int], bool]
    ) -> None:
        def match(expression: Expression) -> NDArray[np.int64]:
            return db.select(info.id, expression)

        super().__init__(info, LoadedMetadata(match, may_hold), None)
        self._may_hold = may_hold
        self.generation = extent.generation
        #: The version of the collection that this segment has. Where the DB is shared, it may be behind the DB's.
        self.version = extent.version
        #: The snapshot on disk is not of this state.
        self.changed = True
        #: What `parts_of` has found last, and the sum of it.
        self._last_parts: tuple[int, dict[str, int]] | None = None
        self._open_vectors(db)

    def _open_vectors(self, db: DB) -> None:
        if self.info.dimension is not None:
            source = db.vectors(self.info.id)
            self.vectors = LoadedVectors(source, self.info.space, self._may_hold)

    @property
    def form(self) -> str:
        graph = None if self.vectors is None else self.vectors.graph
        return "exact" if graph is None else graph.engine

    def parts(self) -> dict[str, int]:
        """Return the bytes of memory that unloading gives back, by part."""
        parts = self.metadata.parts() | ({} if self.vectors is None else self.vectors.parts())
        if self.metadata.n_labels:
            parts["objects"] = OBJECT_BYTES
        return parts

    def parts_of(self, n_bytes: int) -> dict[str, int]:
        """Return `parts`. They are not looked up again while `n_bytes`, what the ledger says of them, stays the same."""
        if self._last_parts is None or self._last_parts[0] != n_bytes:
            parts = self.parts()
            self._last_parts = (sum(parts.values()), parts)
        return self._last_parts[1].copy()

    @property
    def resident_bytes(self) -> int:
        return sum(self.parts().values())

    @property
    def sparse_bytes(self) -> int:
        return self.metadata.parts().get("sparse", 0)

    @staticmethod
    def bytes_for(n_labels: int, sizes: TextSizes) -> int:
        """Return the bytes that a collection takes at most, once loaded, without a graph."""
        objects = OBJECT_BYTES if n_labels else 0
        return LoadedMetadata.bytes_for(n_labels, sizes) + 4 * n_labels + objects

    def growth(self, changes: Changes) -> int:
        """Return by how much a commit may raise the bytes held, on the way and afterwards."""
        vectors = 4 * len(changes.vectors)
        if self.vectors is not None:
            vectors = self.vectors.growth(len(changes.vectors))
        objects = 0 if self.metadata.n_labels else OBJECT_BYTES
        return self.metadata.growth(changes) + vectors + objects

    @classmethod
    def load(
        cls,
        db: DB,
        info: CollectionInfo,
        derived: DerivedFiles,
        may_hold: Callable[[int], bool],
        progress: bool,
    ) -> LoadedSegment:
        """Bring a collection's records into memory: by its snapshot, or from the DB piece by piece.

        Args:
            db: Where the truth is.
            info: The collection.
            derived: Where its snapshot is.
            may_hold: As for the class.
            progress: Show a progress bar.
        """
        extent = db.extent(info.id)
        segment = cls(db, info, extent, may_hold)
        prefix = derived.prefix(info.id, extent.generation)
        sections = open_snapshot(prefix, extent.version)
        if sections is not None:
            try:
                segment._restore(sections, extent)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                pass_over(prefix, error)
                segment = cls(db, info, extent, may_hold)
            else:
                return segment
        n_labels = extent.next_label
        segment.metadata.load(RecordRows.empty(), n_labels)
        with progress_bar(
            extent.n_records, f"Loading {info.name}", did="loaded", enabled=progress
        ) as bar:
            for rows in db.scan(info.id):
                segment.metadata.load(rows, n_labels)
                bar.update(len(rows))
        if segment.metadata.n_live != extent.n_records:
            # Some have labels that no record can have, or share one. None is left out without a word.
            raise StoreCorruptError(
                f"Collection [{info.name}] counts {extent.n_records:,} records, and {segment.metadata.n_live:,} of them "
                "can be read. client.check() says what is damaged. Restore the store from a backup."
            )
        if segment.vectors is not None:
            source = segment.vectors.source
            segment.vectors.expect(n_labels)
            # Whole blocks, so that the bytes that are read can be checked as they are.
            in_blocks = _BLOCK_BYTES // source.row_bytes // source.block_rows * source.block_rows
            step = max(source.block_rows, in_blocks)
            buffer = np.empty((min(step, n_labels), source.dimension), dtype=np.float32)
            for start in range(0, n_labels, step):
                stop = min(start + step, n_labels)
                segment.vectors.append(source.read_range(start, stop, buffer))
        return segment

    def _restore(self, sections: dict[str, bytearray], extent: Extent) -> None:
        """Become what a snapshot was made of.

        Raises:
            ValueError: It is not one of this collection as it is now; nor need it be whole then.
        """
        if self.vectors is not None:
            self.vectors.restore(sections.pop("norms"))
            if self.vectors.n_labels != extent.next_label:
                raise ValueError("it has another number of norms")
        self.metadata.restore(sections)
        if (self.metadata.n_labels, self.metadata.n_live) != (extent.next_label, extent.n_records):
            raise ValueError("it has other records")
        self.changed = False

    def save(self, derived: DerivedFiles) -> None:
        """Write the snapshot from which `load` is quick, unless it is there or not worth it."""
        if not self.changed or not self.metadata.n_labels or not self.metadata.is_worth_saving:
            return
        sections = self.metadata.sections()
        if self.vectors is not None:
            sections["norms"] = self.vectors.norms
        prefix = derived.prefix(self.info.id, self.generation)
        if save_snapshot(prefix, self.version, sections):
            self.changed = False

    def apply(self, db: DB, changes: Changes, version: int) -> None:
        """Take notice of a commit, after which the collection has this version."""
        self.changed = True
        if self.vectors is None and len(changes.vectors):
            self.info = db.get_collection(self.info.id)
            self._open_vectors(db)
        dead = self.metadata.apply(changes)
        if self.vectors is not None:
            self.vectors.append(changes.vectors)
            self.vectors.discard(dead)
        self.version = version


class RankedSegment(Segment):
    """A segment that holds nothing, of a DB that compares vectors itself.

    Args:
        ranking: The DB's.
        info: The collection.
        metadata: Reads its records.
        vectors: Reads its vectors.
    """

    finds_matches = True

    def __init__(
        self,
        ranking: VectorRanking,
        info: CollectionInfo,
        metadata: MetadataReader,
        vectors: ExactReader | None,
    ) -> None:
        super().__init__(info, metadata, vectors)
        self._ranking = ranking

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        expression: Expression | None = None,
        ids: Sequence[str] | None = None,
        *,
        counts: bool = False,
    ) -> tuple[Neighbors, Plan]:
        n_live, vectors = self.metadata.n_live, self.vectors
        if not n_live or vectors is None:
            return self.nearest(queries, k, None, filtered=False)
        search = DatabaseSearch(self._ranking, self.info, n_live, lambda: vectors.source)
        wanted = min(k, n_live)
        filtered = expression is not None or ids is not None
        n_indexed = self._n_indexed(queries)
        n_allowed: int | None = None
        if filtered and (counts or n_indexed):
            rough = self._ranking.count(self.info.id, expression, ids=ids, roughly=not counts)
            n_allowed = rough if counts else max(1, rough)
        plan = self._plan(k, len(queries), n_allowed, n_indexed)
        found = search.search(queries, wanted, expression, ids, plan.fetch)
        if filtered and n_allowed is None:
            # Where as many come as were wanted, there may be more.
            plan = self._plan(k, len(queries), found.labels.shape[1], 0)
        return found, plan

    def _n_indexed(self, queries: NDArray[np.float32]) -> int:
        """Return how many records a graph covers that can be asked for these queries."""
        if not self._ranking.has_graphs:
            return 0
        norms = norms_of(queries)
        end = self._ranking.n_covered(self.info.id) if norms.all() and are_ordinary(norms) else 0
        return max(0, self.metadata.n_live - (self.metadata.n_labels - end)) if end else 0

    def _plan(self, k: int, n_queries: int, n_allowed: int | None, n_indexed: int) -> Plan:
        name = self._ranking.name
        made = self.plan(k, n_queries, n_allowed, n_indexed)
        if not n_indexed and made.strategy is not Strategy.EMPTY:
            reason = f"the collection is not in memory, and {name} has its vectors"
            made = replace(made, reason=reason)
        return replace(made, where=name)


def stored_segment(db: DB, info: CollectionInfo) -> Segment:
    """Return a segment that answers from the DB and holds no memory of its own."""
    vectors = None
    if info.dimension is not None:
        n_labels = db.extent(info.id).next_label
        vectors = ExactReader(lambda: db.vectors(info.id), info.space, n_labels)
    metadata, ranking = StoredMetadata(db, info.id), db.ranking
    if ranking is None:
        return Segment(info, metadata, vectors)
    return RankedSegment(ranking, info, metadata, vectors)
