"""`ReadingHandle`: `get`, `query` and what else reads a collection's records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb import validation
from chroma_nb.boundary import public_class
from chroma_nb.collection.configuration import DEFAULT_EMBEDDING_FUNCTION
from chroma_nb.collection.embedder import EmbeddingHandle
from chroma_nb.collection.fields import Fields
from chroma_nb.collection.results import Explanation, GetResult, QueryResult
from chroma_nb.filters.expression import contained_texts, field_conditions
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.search.conditions import Condition, as_document_filter, as_filter
from chroma_nb.search.sparse import revive
from chroma_nb.types import ReadLevel, Where, WhereDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.types import CollectionInfo

# Lists, as Chroma's signatures have them; `check_include` copies them.
_GET_INCLUDE = ["metadatas", "documents"]
_QUERY_INCLUDE = ["metadatas", "documents", "distances"]


@public_class
class ReadingHandle(EmbeddingHandle):
    """A collection whose records can be read.

    Attributes:
        fields: The metadata keys that the records have: ``fields["year"] > 1990`` is a condition for
            `where`, and Tab completes the keys; see `Fields`.
    """

    def __init__(
        self,
        client: ClientAPI,
        info: CollectionInfo,
        embedding_function: Any = DEFAULT_EMBEDDING_FUNCTION,
        data_loader: Any = None,
    ) -> None:
        super().__init__(client, info, embedding_function, data_loader)
        #: The metadata keys that the records have, for conditions. An attribute, as IPython completes the
        #: keys of those and runs no property for it; and it does not refer back to this handle.
        self.fields = Fields(client, info)

    def count(self, read_level: ReadLevel | str = ReadLevel.INDEX_AND_WAL) -> int:
        """Return how many records there are."""
        ReadLevel(read_level)
        return self._client.api.count(self.id, **self._in_database)

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
        filters = plain_filters(where, where_document)
        with_data = self._needs_loader(wanted)
        records = self._client.api.get(
            self.id,
            ids=checked,
            **filters,
            limit=limit,
            offset=offset or 0,
            include=[*wanted, "uris"] if with_data else wanted,
            **self._in_database,
        )
        revive(records.metadatas)
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
        filters = plain_filters(where, where_document)
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
            **self._in_database,
        )
        for metadatas in matches.metadatas or ():
            revive(metadatas)
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
        result.asked, result.space = asked, self.get_model().space
        self._note_filters(result, filters)
        return result

    def _note_filters(self, result: GetResult | QueryResult, filters: dict[str, Any]) -> None:
        """Tell a result what was asked for, for its display."""
        where = parse_where(filters["where"])
        parsed = (where, parse_where_document(filters["where_document"]))
        result.contains = [text for part in parsed for text in contained_texts(part)]
        result.conditions = field_conditions(where)
        result.fields = self.fields
        result.display_rows = self._client.get_settings().display_rows

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
        filters = plain_filters(where, where_document)
        if query_embeddings is None and query_texts is None:
            first = self._client.api.get(
                self.id, limit=1, include=["embeddings"], **self._in_database
            )
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
                **self._in_database,
            )
        )


def plain_filters(where: Any, where_document: Any) -> dict[str, Any]:
    """Return both filters as Chroma's dicts of plain values."""
    return {"where": as_filter(where), "where_document": as_document_filter(where_document)}


def _as_float64(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 with the float32 values, as Chroma does; no vectors are an array of shape (0,)."""
    if not len(vectors):
        return np.array([], dtype=np.float64)
    return vectors.astype(np.float64)
