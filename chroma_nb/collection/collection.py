"""`Collection`: validates, embeds and names; asks an `API` and knows nothing below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb import validation
from chroma_nb.boundary import public_class
from chroma_nb.collection.configuration import DEFAULT_EMBEDDING_FUNCTION
from chroma_nb.collection.reader import plain_filters
from chroma_nb.collection.results import GetResult
from chroma_nb.collection.searcher import SearchingHandle
from chroma_nb.embedding.conflicts import check_conflict_on_modify
from chroma_nb.embedding.registry import embedding_function_to_config
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.lazy import lazily
from chroma_nb.progress import progress_bar
from chroma_nb.transfer.pieces import known_ids
from chroma_nb.words import brief

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.plotting import EmbeddingMap
    from chroma_nb.search.conditions import Condition
    from chroma_nb.transfer import TransferReport
    from chroma_nb.types import (
        CollectionInfo,
        IndexingStatus,
        OnConflict,
        RecordBatch,
        Where,
        WhereDocument,
    )
    from chroma_nb.widgets import MapWidget, SearchWidget, TableWidget


@public_class
class Collection(SearchingHandle):
    """A named set of records: id, embedding, document, metadata, uri.

    Collections come from a client. The handle holds no records; its attributes are those of the moment
    when it was made or last modified through it.

    Attributes:
        last_transfer: What the last `from_pandas` or `from_arrow` of this handle did, None if it failed; see
            `TransferReport`.
        fields: The metadata keys that the records have: ``fields["year"] > 1990`` is a condition for
            `where`, and Tab completes the keys; see `Fields`.
    """

    _view = "collection"

    def __init__(
        self,
        client: ClientAPI,
        info: CollectionInfo,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> None:
        super().__init__(client, info, embedding_function, data_loader)
        #: What the last `from_pandas`, `from_arrow` or `client.import_` through this handle did.
        self.last_transfer: TransferReport | None = None

    def __len__(self) -> int:
        """Return how many records there are, as `count` does."""
        return self.count()

    def __bool__(self) -> bool:
        """Return True: an empty collection is one, too. Frameworks ask whether they were given one."""
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collection):
            return NotImplemented
        mine, theirs = self._info, other._info
        return (
            (mine.id, mine.name, mine.tenant, mine.database)
            == (theirs.id, theirs.name, theirs.tenant, theirs.database)
            and (mine.configuration, mine.metadata) == (theirs.configuration, theirs.metadata)
            and self._embedding_function == other._embedding_function
            and self._data_loader == other._data_loader
        )

    __hash__ = None  # type: ignore[assignment]

    # -- writing ------------------------------------------------------------------------------

    def add(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
        *,
        on_conflict: OnConflict = "skip",
    ) -> None:
        """Add records: durable and searchable when the call returns, all of them or none.

        Args:
            ids: One id or a list; unique in the call.
            embeddings: Shape (n, dimension): lists or arrays. None: documents or images are embedded.
            metadatas: A dict of str, int, float, bool or lists of one of these for each record, or None.
            documents: A text for each record, or None.
            images: Arrays for an embedding function that takes images.
            uris: Where each record's data is, for a data loader.
            on_conflict: What happens to ids that exist: ``"skip"`` keeps the old record (as Chroma
                does), ``"error"`` raises, ``"replace"`` puts the new record in its place.

        Raises:
            DuplicateIDError: An id stands twice in the call.
            IDAlreadyExistsError: An id exists and `on_conflict` is ``"error"``.
            InvalidArgumentError: Wrong dimension, NaN, empty id.
            ValueError: Lengths that differ, values of the wrong kind.
        """
        validation.check_on_conflict(on_conflict)
        given = validation.check_insert(ids, embeddings, metadatas, documents, images, uris)
        if on_conflict == "skip":
            given = self._without_known(given)
        if not len(given.batch):
            return
        batch = self._insert_batch(given)
        self._add_sparse_vectors(batch)
        self._client.api.add(self.id, batch, on_conflict=on_conflict, **self._in_database)

    def upsert(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Update the records that exist and add the others; see `add` and `update`."""
        batch = self._insert_batch(
            validation.check_insert(
                ids, embeddings, metadatas, documents, images, uris, upsert=True
            )
        )
        self._add_sparse_vectors(batch, changes=True)
        self._client.api.upsert(self.id, batch, **self._in_database)

    def update(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Change records; unknown ids are ignored and what is not given stays.

        Metadata is merged key by key, and a value of None deletes its key. Documents given without
        embeddings are embedded again.
        """
        given = validation.check_update(ids, embeddings, metadatas, documents, images, uris)
        batch = given.batch
        texts = given.to_embed
        if batch.embeddings is None and texts is not None:
            rows = [row for row, text in enumerate(texts) if text is not None]
            if rows:
                vectors = self.embed_documents([texts[row] for row in rows])
                batch.embeddings = np.zeros((len(batch), vectors.shape[1]), dtype=np.float32)
                batch.embeddings[rows] = vectors
                batch.embedded = np.zeros(len(batch), dtype=bool)
                batch.embedded[rows] = True
        self._add_sparse_vectors(batch, changes=True)
        self._client.api.update(self.id, batch, **self._in_database)

    def _without_known(self, given: validation.Given) -> validation.Given:
        """Leave out what would be skipped, before it is embedded: running a cell again costs nothing."""
        batch = given.batch
        if batch.embeddings is not None:
            return given
        known = known_ids(self, batch.ids)
        if not known:
            return given
        rows = [row for row, one in enumerate(batch.ids) if one not in known]
        to_embed = None if given.to_embed is None else [given.to_embed[row] for row in rows]
        return validation.Given(batch.at(rows), to_embed)

    def _insert_batch(self, given: validation.Given) -> RecordBatch:
        batch = given.batch
        if batch.embeddings is None:
            to_embed = given.to_embed
            if to_embed is None and batch.uris is not None:
                to_embed = self._load_data(batch.uris)
            batch.embeddings = self.embed_documents(to_embed or [])
        return batch

    def delete(
        self,
        ids: Any = None,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
        limit: int | None = None,
    ) -> dict[str, int]:
        """Delete the records that match all conditions; at least one is needed.

        Returns:
            ``{"deleted": n}``: how many records there were.
        """
        filters = plain_filters(where, where_document)
        checked = validation.check_delete(ids, **filters, limit=limit)
        deleted = self._client.api.delete(
            self.id, ids=checked, **filters, limit=limit, **self._in_database
        )
        return {"deleted": deleted}

    # -- the collection itself ----------------------------------------------------------------

    def modify(
        self,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> None:
        """Change the collection's name, metadata (replaced whole) or configuration.

        Raises:
            ValueError: The distance or the kind of embedding function would change.
            UniqueConstraintError: The name is taken.
        """
        if name is not None:
            validation.check_collection_name(name)
        metadata = validation.check_collection_metadata(metadata, modify=True)
        changed = None
        if configuration is not None:
            self._refresh()
            recorded = self._info.configuration
            validation.updated_configuration(recorded, configuration)
            changed = dict(configuration)
            function = configuration.get("embedding_function")
            if function is not None:
                check_conflict_on_modify(recorded.get("embedding_function"), function)
                changed["embedding_function"] = validation.check_recorded_function(
                    embedding_function_to_config(function)
                )
        self._info = self._client.api.modify(
            self.id, name=name, metadata=metadata, configuration=changed, **self._in_database
        )
        if changed is not None:
            self._built_function = None

    def fork(self, new_name: str) -> Collection:
        """Copy the collection under another name, piece by piece, and return the copy.

        A call that fails or is stopped leaves the records that it copied; the same call again copies the rest.

        Raises:
            UniqueConstraintError: There is a collection of that name, which is no unfinished copy of this one.
        """
        validation.check_collection_name(new_name)
        enabled = self._client.get_settings().progress
        with progress_bar(0, f"Copying {self.name}", did="copied", enabled=enabled) as bar:
            info = self._client.api.fork(
                self.id,
                new_name,
                on_progress=bar.update,
                on_total=bar.set_total,
                **self._in_database,
            )
        return Collection(self._client, info)

    def fork_count(self) -> int:
        """Return how many forks share storage with this collection: none, a fork is a copy."""
        return 0

    def get_indexing_status(self) -> IndexingStatus:
        """Return how much of the collection its index covers; the rest is searched exactly."""
        return self._client.api.indexing_status(self.id, **self._in_database)

    # -- beyond Chroma ------------------------------------------------------------------------

    def widget(self, *, n_results: int = 10) -> SearchWidget:
        """Return a live search: a question, filters from the metadata, answers as you type.

        Args:
            n_results: Records wanted at first, 1 to 50.
        """
        panel: SearchWidget = lazily("chroma_nb.widgets", "SearchWidget")(self, n_results=n_results)
        return panel

    def table(
        self,
        *,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
        columns: Sequence[str] | None = None,
        page_size: int = 25,
        editable: bool = False,
        thumbnails: bool | str | os.PathLike[str] = False,
    ) -> TableWidget:
        """Return a live table: sort, filter, page, choose, copy; a page at a time is read and sent to the browser.

        ``.selected`` are the ids of the records that were chosen in it, ``.selection()`` the records.

        Args:
            where: Only records with this metadata, as in `get`.
            where_document: Only records with these documents.
            columns: The columns shown at first: ``id``, ``document``, ``uri``, metadata keys. None shows the id, the
                document and the eight most frequent keys. Others can be chosen in the table.
            page_size: Rows of a page: 10, 25, 50 or 100.
            editable: Whether a double-click changes a metadata value. It asks before it writes, and has an undo.
            thumbnails: Whether the browser fetches what a ``uri`` with ``http``, ``https`` or ``data:image`` names, and
                shows images, audio players and links. A folder does the same, and shows images and audio below that
                folder, of up to 1 MB each. False shows text, and fetches nothing.

        Raises:
            InvalidArgumentError: There is no such column, page size or folder.
        """
        panel: TableWidget = lazily("chroma_nb.widgets", "collection_table")(
            self,
            GetResult,
            where=where,
            where_document=where_document,
            columns=columns,
            page_size=page_size,
            editable=editable,
            thumbnails=thumbnails,
        )
        return panel

    def plot(
        self,
        *,
        color: str | None = None,
        query: Any = None,
        n_results: int = 10,
        where: Where | Condition | None = None,
        limit: int = 20_000,
        method: str | None = None,
        interactive: bool = False,
    ) -> EmbeddingMap | MapWidget:
        """Return a map of the embeddings: a picture, or one to hover over and to select in.

        Args:
            color: The metadata key whose values give the colours.
            query: A text, or an embedding: marked on the map, with its nearest records.
            n_results: Records near to the question.
            where: Only records with this metadata.
            limit: At most so many records, spread evenly over the collection.
            method: ``"tsne"`` (openTSNE) and ``"umap"`` (umap-learn) keep near records together, ``"pca"`` shows the two
                directions of the largest variance. None: t-SNE, or PCA where openTSNE or the memory for it is
                missing, which the caption says. A layout is kept while this process lives, and made anew when the
                records have changed.
            interactive: A live map (jupyter-scatter): ``.selected_ids`` are the records that were selected on it.

        Raises:
            InvalidArgumentError: There is nothing to show, or an argument cannot be used.
            ImportError: matplotlib, jupyter-scatter or what `method` names is missing: ``pip install "chroma-nb[plot]"``.
        """
        from chroma_nb.plotting.embedding_map import embedding_map

        made = embedding_map(
            self,
            color=color,
            query=query,
            n_results=n_results,
            where=where,
            limit=limit,
            method=method,
        )
        return lazily("chroma_nb.widgets", "MapWidget")(self, made) if interactive else made

    def unload(self) -> int:
        """Free the collection's memory (CIP-28112023).

        A hint: no answer changes and nothing is lost, the next access loads what it needs.

        Returns:
            Bytes released; 0 where nothing was loaded.
        """
        return self._client.api.unload(self.id, **self._in_database)

    def build_index(self) -> None:
        """Build the index now, up to the last record, and return when that is done.

        It is built in the background anyway; until then the answers are exact and take longer.
        """
        self._client.api.build_index(self.id, **self._in_database)

    def to_pandas(
        self,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
        *,
        include: Sequence[str] = ("documents", "metadatas", "uris"),
    ) -> pd.DataFrame:
        """Return the records as a table: id, document, then one column per metadata key.

        Args:
            where: As in `get`.
            where_document: As in `get`.
            include: As in `get`. The column of uris is there where some record has one.

        Raises:
            MemoryBudgetError: The answer, or a table of it, does not fit.
        """
        from chroma_nb.collection.tables import import_pandas

        # Before the answer, which may take what pandas itself needs.
        import_pandas()
        records = self.get(where=where, where_document=where_document, include=list(include))
        if records["uris"] is not None and all(uri is None for uri in records["uris"]):
            records["uris"] = None
        return records.to_pandas(max_columns=None)

    def to_arrow(
        self,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
        *,
        batches: bool = False,
    ) -> Any:
        """Return the records of this moment, embeddings included, as a `pyarrow.Table`.

        Its columns are id, document, uri, metadata (JSON) and embedding (fixed-size list of float32).

        Args:
            where: Only records whose metadata matches.
            where_document: Only records whose document matches.
            batches: Return a `pyarrow.RecordBatchReader` instead, which reads the records when they are asked for:
                a few megabytes at a time, whatever the collection's size. DuckDB, Polars and pandas take it as it
                is. What is written meanwhile is not in it. Drop or close it if it is not read to its end.

        Raises:
            MemoryBudgetError: There is no room for the table.
        """
        from chroma_nb.transfer import collection_to_arrow

        return collection_to_arrow(self, **plain_filters(where, where_document), batches=batches)

    def from_pandas(
        self,
        frame: Any,
        *,
        id: str | None = None,
        document: str | None = None,
        embedding: str | None = None,
        metadata: Sequence[str] | None = None,
        on_conflict: OnConflict = "skip",
    ) -> Collection:
        """Add the rows of a table; the same table again adds nothing twice.

        Args:
            frame: A pandas or Polars DataFrame, or a table of Arrow; one row per record. Missing values and
                empty lists are left out of the metadata; dates become text.
            id: The column of ids; None takes ``id``, else the index where it has a name or does not
                count from 0, else a hash of each row's content; see `chroma_nb.transfer.add_frame`.
            document: The column of documents; None takes ``document`` or ``text``.
            embedding: The column of embeddings; None takes ``embedding`` where there is one.
            metadata: The metadata columns; None takes all others.
            on_conflict: As in `add`.

        Returns:
            The collection. Its `last_transfer` says what was added, skipped and left out.

        Raises:
            InvalidArgumentError: A cell cannot be stored, or a column is not there; nothing was written.
            DuplicateIDError: Two rows have the same id; nothing was written.
        """
        from chroma_nb.transfer import add_frame

        self.last_transfer = None
        self.last_transfer = add_frame(
            self,
            frame,
            id=id,
            document=document,
            embedding=embedding,
            metadata=metadata,
            on_conflict=on_conflict,
        )
        return self

    def from_arrow(self, table: Any, **columns: Any) -> Collection:
        """Add the rows of a `pyarrow.Table`; keywords, and what is returned, as in `from_pandas`.

        A table of `to_arrow` comes back as it was.
        """
        from chroma_nb.transfer import add_arrow

        self.last_transfer = None
        self.last_transfer = add_arrow(self, table, **columns)
        return self

    def export(self, path: str | os.PathLike[str], *, skip_damaged: bool = False) -> int:
        """Write the whole collection to a Parquet file; `client.import_` reads it.

        Args:
            path: The file; one that exists is replaced.
            skip_damaged: Leave out the records whose embeddings are damaged, instead of raising
                `StoreCorruptError`; `last_transfer` says how many there were.

        Returns:
            Records written.
        """
        from chroma_nb.transfer import export_collection

        return export_collection(self, path, skip_damaged=skip_damaged)


def name_of(collection: Any) -> str:
    """Return the name of a collection that is given by its name, or as itself.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if isinstance(collection, Collection):
        return collection.name
    if not isinstance(collection, str):
        raise InvalidArgumentError(
            f"Expected the name of a collection, got {brief(collection, 100)} "
            f"({type(collection).__name__})."
        )
    return collection
