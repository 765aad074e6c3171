"""`Collection`: validates, embeds and names; asks an `API` and knows nothing below it."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb import validation
from chroma_nb.boundary import public_class
from chroma_nb.display.base import Displayed
from chroma_nb.embedding.calls import embed_documents, embed_queries
from chroma_nb.embedding.conflicts import check_conflict_on_create, check_conflict_on_modify
from chroma_nb.embedding.protocol import checked_embedding_function, function_name
from chroma_nb.embedding.registry import (
    embedding_function_from_config,
    embedding_function_to_config,
)
from chroma_nb.errors import InvalidArgumentError, NotSupportedError, with_way_out
from chroma_nb.fields import Fields
from chroma_nb.filters.expression import contained_texts, field_conditions
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.lazy import lazily
from chroma_nb.memory.preflight import SMALL_NEED, require
from chroma_nb.progress import progress_bar
from chroma_nb.results import Explanation, GetResult, QueryResult
from chroma_nb.search.conditions import Condition, as_document_filter, as_filter
from chroma_nb.types import (
    CollectionInfo,
    IndexingStatus,
    OnConflict,
    ReadLevel,
    RecordBatch,
    Space,
    Where,
    WhereDocument,
)
from chroma_nb.unpicklable import Unpicklable

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from uuid import UUID

    import pandas as pd
    from numpy.typing import NDArray

    from chroma_nb.client import ClientAPI
    from chroma_nb.plotting import EmbeddingMap
    from chroma_nb.settings import Settings
    from chroma_nb.transfer import TransferReport
    from chroma_nb.widgets import MapWidget, SearchWidget


class _DefaultEmbeddingFunction:
    """Stands in a signature for the default, which is chosen when something is embedded."""

    def __repr__(self) -> str:
        return "DefaultEmbeddingFunction()"

    @staticmethod
    def name() -> str:
        return "default"

    def __call__(self, input: Any) -> Any:
        from chroma_nb.embedding import resolve_default

        return resolve_default()(input)


DEFAULT_EMBEDDING_FUNCTION: Any = _DefaultEmbeddingFunction()

#: What a collection records that embeds with MiniLM, as Chroma's own default does; while it is empty,
#: the choice is still open.
_DEFAULT_CONFIG: dict[str, Any] = {"type": "known", "name": "default", "config": {}}


#: Of an embedding, where the collection has none yet: MiniLM's.
_TYPICAL_DIMENSION = 384

# Lists, as Chroma's signatures have them; `check_include` copies them.
_GET_INCLUDE = ["metadatas", "documents"]
_QUERY_INCLUDE = ["metadatas", "documents", "distances"]


@public_class
class Collection(Displayed, Unpicklable):
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
        self._client = client
        self._info = info
        self._embedding_function = checked_embedding_function(embedding_function)
        self._data_loader = data_loader
        #: What the last `from_pandas`, `from_arrow` or `client.import_` through this handle did.
        self.last_transfer: TransferReport | None = None
        #: What the configuration says, built when it is first used.
        self._built_function: Any = None
        where: Any = {"tenant": info.tenant, "database": info.database}
        self._where_to = where
        #: The metadata keys that the records have, for conditions. An attribute, as IPython completes the
        #: keys of those and runs no property for it; and it does not refer back to this handle.
        self.fields = Fields(
            lambda n: client.api.describe_fields(info.id, n, **where),
            lambda: client.api.metadata_keys(info.id, **where),
            is_near=client.api.in_process,
        )

    # -- attributes ---------------------------------------------------------------------------

    @property
    def id(self) -> UUID:
        """The collection's id; its name may change, this does not."""
        return self._info.id

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._info.name

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What was said about the collection as a whole."""
        return self._info.metadata

    @property
    def tenant(self) -> str:
        """The tenant that the collection belongs to."""
        return self._info.tenant

    @property
    def database(self) -> str:
        """The database that the collection belongs to."""
        return self._info.database

    @property
    def configuration(self) -> dict[str, Any]:
        """``{"hnsw", "spann", "embedding_function"}``, the embedding function as an object.

        A function that is not known here, or that cannot be built, is shown as it is recorded, a dict.
        """
        recorded = self._info.configuration
        function: Any
        try:
            function = embedding_function_from_config(
                recorded.get("embedding_function"), settings=self._client.get_settings()
            )
        except InvalidArgumentError:
            function = copy.deepcopy(recorded.get("embedding_function"))
        return {**recorded, "embedding_function": function}

    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as plain values, as on Chroma's wire."""
        return copy.deepcopy(self._info.configuration)

    @property
    def schema(self) -> None:
        """Chroma's schemas are for its distributed store."""
        return

    def get_model(self) -> CollectionInfo:
        """Return what the catalogue said of the collection."""
        return self._info

    def __repr__(self) -> str:
        return f"Collection(name={self.name})"

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
            (mine.id, mine.name, mine.configuration, mine.metadata, mine.tenant, mine.database)
            == (
                *(theirs.id, theirs.name, theirs.configuration, theirs.metadata),
                *(theirs.tenant, theirs.database),
            )
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
        self._client.api.add(self.id, batch, on_conflict=on_conflict, **self._where_to)

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
        self._client.api.upsert(self.id, batch, **self._where_to)

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
                vectors = self._embed([texts[row] for row in rows])
                batch.embeddings = np.zeros((len(batch), vectors.shape[1]), dtype=np.float32)
                batch.embeddings[rows] = vectors
                batch.embedded = np.zeros(len(batch), dtype=bool)
                batch.embedded[rows] = True
        self._client.api.update(self.id, batch, **self._where_to)

    def _without_known(self, given: validation.Given) -> validation.Given:
        """Leave out what would be skipped, before it is embedded: running a cell again costs nothing."""
        batch = given.batch
        if batch.embeddings is not None or not self._client.api.count(self.id, **self._where_to):
            return given
        known = set(self._client.api.get(self.id, ids=batch.ids, include=[], **self._where_to).ids)
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
            batch.embeddings = self._embed(to_embed or [])
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
        filters = _filters(where, where_document)
        checked = validation.check_delete(ids, **filters, limit=limit)
        deleted = self._client.api.delete(
            self.id, ids=checked, **filters, limit=limit, **self._where_to
        )
        return {"deleted": deleted}

    # -- reading ------------------------------------------------------------------------------

    def count(self, read_level: ReadLevel | str = ReadLevel.INDEX_AND_WAL) -> int:
        """Return how many records there are."""
        ReadLevel(read_level)
        return self._client.api.count(self.id, **self._where_to)

    def get(
        self,
        ids: Any = None,
        where: Where | Condition | None = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: WhereDocument | Condition | None = None,
        include: Sequence[str] = _GET_INCLUDE,
    ) -> GetResult:
        """Return the records that match all conditions, in the order of their first insertion.

        Args:
            ids: One id or a list; unknown ids are left out.
            where: ``{"pos": "noun"}``, ``{"n": {"$gt": 3}}``, ``{"$and": [...]}``; or conditions:
                ``(K("pos") == "noun") & (K("year") > 1990)``. Dates are compared as datetimes or ISO text.
            limit: At most so many.
            offset: Leave out so many first.
            where_document: ``{"$contains": "bear"}``, ``{"$regex": "^a .* bear"}``.
            include: Of ``documents``, ``metadatas``, ``embeddings``, ``uris``, ``data``.
        """
        wanted = validation.check_include(include, "get")
        checked = None if ids is None else validation.check_ids(ids)
        limit, offset = validation.check_limit_offset(limit, offset)
        filters = _filters(where, where_document)
        with_data = self._needs_loader(wanted)
        records = self._client.api.get(
            self.id,
            ids=checked,
            **filters,
            limit=limit,
            offset=offset or 0,
            include=[*wanted, "uris"] if with_data else wanted,
            **self._where_to,
        )
        result = GetResult(
            ids=records.ids,
            embeddings=None if records.embeddings is None else _as_float64(records.embeddings),
            documents=records.documents,
            uris=records.uris,
            included=wanted,
            data=self._load_data(records.uris) if with_data else None,
            metadatas=records.metadatas,
        )
        self._note_filters(result, filters)
        return result

    def peek(self, limit: int = 10) -> GetResult:
        """Return the first records with their embeddings."""
        return self.get(limit=limit, include=["metadatas", "documents", "embeddings"])

    def query(
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        query_images: Any = None,
        query_uris: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
        include: Sequence[str] = _QUERY_INCLUDE,
    ) -> QueryResult:
        """Return the nearest records of each query, nearest first.

        Args:
            query_embeddings: Shape (n, dimension), or one embedding; used where several are given.
            query_texts: Texts to embed with the collection's function.
            query_images: Arrays to embed.
            query_uris: Uris of what the data loader loads and the function embeds.
            ids: Only records with these ids. One that is not there is an error, as in Chroma, unless there is
                a filter as well.
            n_results: Records wanted for each query; fewer where fewer match.
            where: Metadata filter, as in `get`.
            where_document: Document filter, as in `get`.
            include: Of ``documents``, ``metadatas``, ``distances``, ``embeddings``, ``uris``, ``data``.

        Returns:
            Chroma's dict; each value holds one list per query. Distances are squared Euclidean for
            ``l2`` and 1 minus the similarity for ``cosine`` and ``ip``.

        Raises:
            IDNotFoundError: An id of `ids` is not there.
        """
        wanted = validation.check_include(include, "query")
        n_results = validation.check_n_results(n_results)
        checked = None if ids is None else validation.check_query_ids(ids)
        filters = _filters(where, where_document)
        asked = None
        if query_embeddings is None and query_texts is not None:
            asked = query_texts = validation.check_query_texts(query_texts)
        embeddings = self._query_embeddings(query_embeddings, query_texts, query_images, query_uris)
        with_data = self._needs_loader(wanted)
        matches = self._client.api.query(
            self.id,
            embeddings,
            n_results,
            ids=checked,
            **filters,
            include=[*wanted, "uris"] if with_data else wanted,
            **self._where_to,
        )
        vectors = matches.embeddings
        result = QueryResult(
            ids=matches.ids,
            embeddings=None if vectors is None else [_as_float64(each) for each in vectors],
            documents=matches.documents,
            uris=matches.uris,
            included=wanted,
            data=[self._load_data(uris) for uris in matches.uris or []] if with_data else None,
            metadatas=matches.metadatas,
            distances=matches.distances,
        )
        result.asked = asked
        self._note_filters(result, filters)
        return result

    def _note_filters(self, result: GetResult | QueryResult, filters: dict[str, Any]) -> None:
        """Tell a result what was asked for, for its display."""
        where = parse_where(filters["where"])
        parsed = (where, parse_where_document(filters["where_document"]))
        result.contains = [text for part in parsed for text in contained_texts(part)]
        result.conditions = field_conditions(where)
        result.fields = self.fields

    def _query_embeddings(
        self, embeddings: Any, texts: Any, images: Any, uris: Any
    ) -> NDArray[np.float32]:
        if embeddings is not None:
            return validation.check_embeddings(embeddings)
        to_embed = validation.check_queries(texts, images, uris)
        if texts is None and images is None:
            to_embed = self._load_data(to_embed)
        return self._embed(to_embed, query=True)

    def _needs_loader(self, include: Sequence[str]) -> bool:
        if "data" not in include:
            return False
        if self._data_loader is None:
            raise self._no_loader()
        return True

    def _no_loader(self) -> ValueError:
        return with_way_out(
            ValueError("You must set a data loader on the collection if loading from URIs"),
            f"Open it with one: client.get_collection({self.name!r}, data_loader=...), a function of a list "
            "of uris.",
        )

    def _load_data(self, uris: Sequence[str | None] | None) -> list[Any]:
        if self._data_loader is None:
            raise self._no_loader()
        return list(self._data_loader(uris))

    # -- embedding ----------------------------------------------------------------------------

    def _embed(self, inputs: Sequence[Any], *, query: bool = False) -> NDArray[np.float32]:
        function = self._function("query_embeddings" if query else "embeddings")
        settings = self._client.get_settings()
        at_most = settings.max_batch_size or None
        if query:
            return embed_queries(function, inputs, at_most=at_most)
        # The function's own result, and the array of it.
        row_bytes = 2 * 4 * (self._info.dimension or _TYPICAL_DIMENSION)
        require(
            row_bytes * len(inputs),
            f"Embedding {len(inputs):,} documents for collection [{self.name}]",
            f"add them in parts of {max(1, (SMALL_NEED - 1) // row_bytes):,}",
            "make room on the machine: restart notebooks that are not used",
        )
        return embed_documents(
            function,
            inputs,
            progress=settings.progress,
            desc=f"Embedding {self.name}",
            at_most=at_most,
        )

    def _function(self, instead: str = "embeddings") -> Any:
        """Return what embeds: the handle's own, else what the collection records, else the default.

        Args:
            instead: The argument that needs no function, for the sentence of an error.

        Raises:
            ValueError: No function is given or recorded, and the collection has records of another one.
        """
        held = self._embedding_function
        if held is not None and function_name(held) != "default":
            return held
        if self._built_function is None:
            self._built_function = self._recorded_function()
        if self._built_function is not None:
            return self._built_function
        if held is not None and held is not DEFAULT_EMBEDDING_FUNCTION:
            # MiniLM, and asked for by name.
            return held
        if held is not None and not self.count():
            return self._choose_default(record=False)
        why = f"Collection [{self.name}] was opened with embedding_function=None."
        if held is not None:
            why = (
                f"Collection [{self.name}] has records and does not say what embedded them: their embeddings "
                "were given, or their function has no name. The default would be another model."
            )
        raise with_way_out(
            ValueError("You must provide an embedding function to compute embeddings"),
            f"{why} Give {instead}=, or open it with a function: client.get_collection({self.name!r}, "
            "embedding_function=...). See https://docs.trychroma.com/guides/embeddings",
        )

    def _recorded_function(self) -> Any:
        settings = self._client.get_settings()
        recorded = self._info.configuration.get("embedding_function")
        if recorded == _DEFAULT_CONFIG:
            self._refresh()
            recorded = self._info.configuration.get("embedding_function")
            if recorded == _DEFAULT_CONFIG and self._info.dimension is None:
                # Nothing is embedded yet, so there is still a choice.
                return self._choose_default(record=True)
        return embedding_function_from_config(recorded, settings=settings)

    def _choose_default(self, *, record: bool) -> Any:
        """Choose between MiniLM and the static model, and record the choice in the collection."""
        from chroma_nb.embedding import resolve_default

        function = resolve_default(self._client.get_settings())
        config = embedding_function_to_config(function)
        if record and config != _DEFAULT_CONFIG:
            configuration = {"embedding_function": config}
            self._info = self._client.api.modify(
                self.id, configuration=configuration, **self._where_to
            )
        return function

    def _refresh(self) -> None:
        self._info = self._client.api.get_collection_by_id(self.id, **self._where_to)

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
            self.id, name=name, metadata=metadata, configuration=changed, **self._where_to
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
                **self._where_to,
            )
        return Collection(self._client, info)

    def fork_count(self) -> int:
        """Return how many forks share storage with this collection: none, a fork is a copy."""
        return 0

    def search(self, searches: Any, read_level: ReadLevel | str = ReadLevel.INDEX_AND_WAL) -> Any:
        """Chroma's hybrid search, which its local store lacks too."""
        raise NotSupportedError(
            "Search is not implemented for a local store (nor by Chroma's). Use query() with where= "
            "and where_document=."
        )

    def get_indexing_status(self) -> IndexingStatus:
        """Return how much of the collection its graph covers; the rest is searched exactly."""
        return self._client.api.indexing_status(self.id, **self._where_to)

    # -- beyond Chroma ------------------------------------------------------------------------

    def widget(self, *, n_results: int = 10) -> SearchWidget:
        """Return a live search: a question, filters from the metadata, answers as you type.

        Args:
            n_results: Records wanted at first, 1 to 50.
        """
        panel: SearchWidget = lazily("chroma_nb.widgets", "SearchWidget")(self, n_results=n_results)
        return panel

    def plot(
        self,
        *,
        color: str | None = None,
        query: Any = None,
        n_results: int = 10,
        where: Where | Condition | None = None,
        limit: int = 5_000,
        method: str = "pca",
        interactive: bool = False,
    ) -> EmbeddingMap | MapWidget:
        """Return a map of the embeddings: a picture, or one to hover over and to select in.

        Args:
            color: The metadata key whose values give the colours.
            query: A text, or an embedding: marked on the map, with its nearest records.
            n_results: Records near to the question.
            where: Only records with this metadata.
            limit: At most so many records, spread evenly over the collection.
            method: ``"pca"``, or ``"umap"`` where umap-learn is installed.
            interactive: A live map (plotly): ``.selected_ids`` are the records that were selected on it.

        Raises:
            InvalidArgumentError: There is nothing to show, or an argument cannot be used.
            ImportError: matplotlib or plotly is missing: ``pip install "chroma-nb[plot]"``.
        """
        from chroma_nb.plotting import embedding_map

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
        return self._client.api.unload(self.id, **self._where_to)

    def build_index(self) -> None:
        """Build the graph now, up to the last record, and return when that is done.

        It is built in the background anyway; until then the answers are exact and take longer.
        """
        self._client.api.build_index(self.id, **self._where_to)

    def explain(
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
    ) -> Explanation:
        """Return how a query is answered, and why: strategy, engine, selectivity, memory, time.

        Takes what `query` takes; without a query it explains one for the first record's embedding.
        """
        n_results = validation.check_n_results(n_results)
        checked = None if ids is None else validation.check_query_ids(ids)
        filters = _filters(where, where_document)
        if query_embeddings is None and query_texts is None:
            first = self._client.api.get(self.id, limit=1, include=["embeddings"], **self._where_to)
            embeddings = first.embeddings
            if embeddings is None or not embeddings.size:
                embeddings = np.zeros((1, self._info.dimension or 1), dtype=np.float32)
        else:
            embeddings = self._query_embeddings(query_embeddings, query_texts, None, None)
        return Explanation(
            self._client.api.explain(
                self.id,
                embeddings,
                n_results,
                ids=checked,
                **filters,
                **self._where_to,
            )
        )

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
        from chroma_nb.tables import import_pandas

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
    ) -> Any:
        """Return the records, embeddings included, as a `pyarrow.Table`; see `chroma_nb.transfer`."""
        from chroma_nb.transfer import collection_to_arrow

        return collection_to_arrow(self, **_filters(where, where_document))

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


def _filters(where: Any, where_document: Any) -> dict[str, Any]:
    """Return both filters as Chroma's dicts of plain values."""
    return {"where": as_filter(where), "where_document": as_document_filter(where_document)}


def name_of(collection: Any) -> str:
    """Return the name of a collection that is given by its name, or as itself.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if isinstance(collection, Collection):
        return collection.name
    if not isinstance(collection, str):
        raise InvalidArgumentError(
            f"Expected the name of a collection, got {str(collection)[:100]} "
            f"({type(collection).__name__})."
        )
    return collection


def configuration_for(
    function: Any,
    configuration: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
    settings: Settings,
) -> dict[str, Any]:
    """Return the configuration of a new collection, as on the wire.

    Args:
        function: The `embedding_function` argument.
        configuration: The `configuration` argument.
        metadata: The collection's metadata, where Chroma's older ``hnsw:*`` keys may stand.
        settings: The client's.

    Raises:
        InvalidArgumentError: Two functions are given, or a value cannot be used.
    """
    configured = (configuration or {}).get("embedding_function")
    checked_embedding_function(configured)
    check_conflict_on_create(function, configured)
    chosen = configured if configured is not None else function
    recorded: dict[str, Any] | None
    if chosen is DEFAULT_EMBEDDING_FUNCTION:
        recorded = dict(_DEFAULT_CONFIG)
        if settings.embedding == "static":
            from chroma_nb.embedding import resolve_default

            recorded = embedding_function_to_config(resolve_default(settings))
    elif chosen is None:
        recorded = None if configuration is None else {"type": "legacy"}
    else:
        recorded = embedding_function_to_config(chosen)
    default_space: Space = "l2"
    spaces: Sequence[str] = ("l2", "cosine", "ip")
    if chosen is not None and chosen is not DEFAULT_EMBEDDING_FUNCTION:
        default_space = _ask(chosen, "default_space", default_space)
        spaces = _ask(chosen, "supported_spaces", spaces)
    result = validation.created_configuration(configuration, metadata, default_space)
    space = result["hnsw"]["space"]
    if space not in spaces:
        warnings.warn(
            f"space {space} is not supported by {function_name(chosen)}; it is made for "
            f"{', '.join(spaces)}.",
            UserWarning,
            stacklevel=4,
        )
    result["embedding_function"] = validation.check_recorded_function(recorded)
    return result


def _ask(function: Any, method: str, default: Any) -> Any:
    """Call an optional method of an embedding function."""
    found = getattr(function, method, None)
    return default if found is None else found()


def _as_float64(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 with the float32 values, as Chroma does; no vectors are an array of shape (0,)."""
    if not len(vectors):
        return np.array([], dtype=np.float64)
    return vectors.astype(np.float64)


__all__ = ["DEFAULT_EMBEDDING_FUNCTION", "Collection", "configuration_for", "name_of"]
