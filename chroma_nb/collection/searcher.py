"""`SearchingHandle`: Chroma's `search`, with texts embedded, and the one-line search by meaning and words."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from chroma_nb.boundary import public_class
from chroma_nb.collection.nothing_found import why_nothing
from chroma_nb.collection.reader import ReadingHandle
from chroma_nb.collection.reranking import Reranking
from chroma_nb.collection.results import Explanation
from chroma_nb.collection.search_result import SearchPart, SearchResult
from chroma_nb.errors import InvalidArgumentError, NotSupportedError, with_way_out
from chroma_nb.filters.expression import contained_texts, field_conditions
from chroma_nb.scalars import is_integer
from chroma_nb.schema_json import sparse_index
from chroma_nb.search.expression import Search
from chroma_nb.search.limits import check_meaning
from chroma_nb.search.ranks import Knn, Rank, Rrf, knn_leaves, with_leaves
from chroma_nb.search.sparse import revive
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY, SCORE_KEY
from chroma_nb.suggest import did_you_mean
from chroma_nb.types import ReadLevel
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chroma_nb.api.base import Found
    from chroma_nb.collection.reranking import Reranker
    from chroma_nb.search.conditions import Condition
    from chroma_nb.search.sparse import SparseVector
    from chroma_nb.types import Where, WhereDocument

#: What a text is searched by.
By: TypeAlias = Literal["both", "meaning", "words"]

#: What comes back of each record that a text finds.
_SELECTED = (DOCUMENT_KEY, METADATA_KEY, SCORE_KEY)
#: What a part of a search is called, by the key of its `Knn`; others are called as their key.
_PART_NAMES = {EMBEDDING_KEY: "meaning", DOCUMENT_KEY: "words"}
_N_RESULTS = 10
#: A part of a search by meaning and words looks at so many neighbours, and at four times as many as are wanted.
_CANDIDATES = 100
_CANDIDATES_PER_RESULT = 4


@public_class
class SearchingHandle(ReadingHandle):
    """A collection whose records can be searched."""

    def search(
        self,
        searches: Search | str | Sequence[Search | str],
        read_level: ReadLevel | str = ReadLevel.INDEX_AND_WAL,
        *,
        by: By | None = None,
        n_results: int | None = None,
        where: Where | Condition | None = None,
        rerank: Reranker | None = None,
        rerank_from: int = 50,
    ) -> SearchResult:
        """Search by meaning and by words: with a text, or with Chroma's expressions.

        A text finds the records whose embeddings are near to it, and those whose documents have its words, and puts
        the two lists together by reciprocal rank fusion. Words are weighted by BM25 and by how rare they are; the
        collection needs no schema for it.

            collection.search("a bear in the woods")
            collection.search(Search(rank=Rrf([Knn("a bear", return_rank=True), Knn(...)]), limit=10))

        Args:
            searches: A text, a `Search`, or a list of these. A text in a `Knn` is embedded: for the embeddings by the
                collection's function, for a sparse key by its function of the schema, and for ``key=K.DOCUMENT`` as
                words.
            read_level: One of Chroma's. A local store is always up to date, so all mean the same.
            by: What a text is searched by: ``"both"`` (the default), ``"meaning"`` or ``"words"``.
            n_results: Records wanted for each text; 10 where nothing is said. A `Search` has its own limit.
            where: Only records that match, for texts. A `Search` has its own filter.
            rerank: Orders the best records anew: a function of (text, documents) that returns a number for each
                document, higher is better, such as a cross-encoder's `predict` of pairs.
            rerank_from: How many of the best records it is asked about, from which the page is cut then.

        Returns:
            Chroma's dict, which `rows()` turns into records; its display says at which place each part found each.
            Scores are lower for better records.

        Raises:
            InvalidArgumentError: A search cannot be carried out.
            ValueError: A text cannot be embedded.
            TypeError: Something else than a `Search` or a text.
        """
        level = ReadLevel(read_level).value
        # A reranker is to see more than the page.
        candidates = int(rerank_from) if rerank is not None and is_integer(rerank_from) else 0
        given = self._given(searches, by, n_results, where, candidates)
        check_meaning(given)
        asked = [_text_of(one) for one in given]
        reranking = None if rerank is None else Reranking(rerank, rerank_from, given, asked)
        wanted = given if reranking is None else reranking.wanted()
        found = self._client.api.search(
            self.id, self._embedded(wanted), read_level=level, **self._in_database
        )
        for one in found:
            revive(one.metadatas)
        result = _result(given, found if reranking is None else reranking.ordered(found))
        if reranking is not None:
            result.rerank_scores = reranking.scores
        result.asked = asked
        parsed = [None if one.condition is None else one.condition.expression for one in given]
        result.contains = [text for one in parsed for text in contained_texts(one)]
        result.conditions = [leaf for one in parsed for leaf in field_conditions(one)]
        result.fields = self.fields
        result.display_rows = self._client.get_settings().display_rows
        return result

    def explain(
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Where | Condition | None = None,
        where_document: WhereDocument | Condition | None = None,
        *,
        search: Search | str | None = None,
        by: By | None = None,
    ) -> Explanation:
        """Return how a query or a search is answered, and why: strategy, engine, selectivity, memory, time.

        Takes what `query` takes; without a query it explains one for the first record's embedding. With `search` it says
        for each part of a search, each `Knn`, by what it is answered: a graph, an exact scan, the index of the words or of
        the sparse vectors.

        Args:
            query_embeddings: As in `query`.
            query_texts: As in `query`.
            ids: As in `query`.
            n_results: As in `query`, and for a text as in `search`.
            where: As in `query`, and for a text as in `search`.
            where_document: As in `query`.
            search: A text, or a `Search`, as in `search`.
            by: What a text is searched by, as in `search`.

        Raises:
            InvalidArgumentError: It cannot be carried out, or a query and a search are both given.
            NotSupportedError: The server does not say.
        """
        if search is None:
            if by is not None:
                raise InvalidArgumentError("by= is for a text: explain(search='a text', by=...).")
            return super().explain(
                query_embeddings, query_texts, ids, n_results, where, where_document
            )
        queries = {
            "query_embeddings": query_embeddings,
            "query_texts": query_texts,
            "ids": ids,
            "where_document": where_document,
        }
        for name, value in queries.items():
            if value is not None:
                raise InvalidArgumentError(
                    f"{name}= is for a query, and search= for a search: explain one of the two."
                )
        wanted = None if n_results == _N_RESULTS else n_results
        given = self._given([search], by, wanted, where, 0)
        check_meaning(given)
        names = _part_names(given[0])
        embedded = self._embedded(given)
        started = time.perf_counter()
        (found,) = self._client.api.search(self.id, embedded, plans=True, **self._in_database)
        elapsed = time.perf_counter() - started
        if found.plans is None and names:
            raise NotSupportedError(
                "This server carries out searches, and does not say how. A later chroma_nb there does."
            )
        why = why_nothing(given[0], found, names)
        if given[0].score is None:
            strategy, reason = "storage order", "there is no rank"
        elif not names:
            strategy, reason = "empty", "the rank has no Knn, and so scores no record"
        else:
            strategy = f"search by {', '.join(names)}"
            reason = "each part is answered by itself, and their numbers are put together"
        return Explanation(
            collection=self.name,
            strategy=strategy,
            reason=reason if len(names) != 1 else "the scores follow from this part alone",
            **({} if why is None else {"nothing_found_because": why}),
            parts=dict(zip(names, found.plans or (), strict=True)),
            n_scored=found.n_scored,
            n_found=len(found.ids),
            elapsed_ms=round(elapsed * 1e3, 3),
        )

    def _given(
        self,
        searches: Any,
        by: By | None,
        n_results: int | None,
        where: Where | Condition | None,
        candidates: int,
    ) -> list[Search]:
        """Return what is searched for, with a search in the place of each text."""
        several = [] if searches is None else searches
        if isinstance(several, str | Search):
            several = [several]
        if not isinstance(several, list | tuple):
            raise TypeError(
                f"Expected searches to be a text, a Search or a list of these, got {brief(searches)} "
                f"({type(searches).__name__}). An embedding is asked for by Search().rank(Knn(embedding))."
            )
        for at, one in enumerate(several):
            if not isinstance(one, str | Search):
                raise TypeError(
                    f"Expected searches[{at}] to be a text or a Search, got {brief(one)} ({type(one).__name__}). "
                    "An embedding is asked for by Search().rank(Knn(embedding))."
                )
        if by is not None and by not in ("both", "meaning", "words"):
            hint = did_you_mean(by, ("both", "meaning", "words"))
            raise InvalidArgumentError(
                f"Expected by to be 'both', 'meaning' or 'words', got {brief(by, quoted=True)}.{hint}"
            )
        if n_results is not None and not (is_integer(n_results) and n_results >= 1):
            raise InvalidArgumentError(
                f"Expected n_results to be a positive integer, got {brief(n_results, quoted=True)}."
            )
        for name, value in (("by", by), ("n_results", n_results), ("where", where)):
            if value is not None and any(isinstance(one, Search) for one in several):
                raise InvalidArgumentError(
                    f"{name}= is for texts. A Search says it itself: Search(where=..., rank=..., limit=...)."
                )
        wanted = int(n_results or _N_RESULTS)
        return [
            _search_for(one, by or "both", wanted, where, candidates)
            if isinstance(one, str)
            else one
            for one in several
        ]

    def _embedded(self, searches: Sequence[Search]) -> list[Search]:
        """Return the searches with a vector in the place of each text; each text is embedded once."""
        texts: dict[str, dict[str, Any]] = {}
        for leaf in _leaves(searches):
            if isinstance(leaf.query, str):
                texts.setdefault(leaf.key, {})[leaf.query] = None
        for key, queries in texts.items():
            vectors = self._vectors(key, list(queries))
            queries.update(zip(queries, vectors, strict=True))

        def embedded(leaf: Knn) -> Knn:
            if not isinstance(leaf.query, str):
                return leaf
            query = texts[leaf.key][leaf.query]
            return Knn(query, leaf.key, leaf.limit, leaf.default, leaf.return_rank)

        return [
            one if one.score is None else one.rank(with_leaves(one.score, embedded))
            for one in searches
        ]

    def _vectors(self, key: str, texts: list[str]) -> Iterable[Any]:
        """Return the vectors of texts that a key is searched for."""
        if key == EMBEDDING_KEY:
            instead = (
                "an embedding as the query, or search by words alone: search(text, by='words')"
            )
            return self._embed_queries(texts, instead)
        if key == DOCUMENT_KEY:
            from chroma_nb.embedding.document_words import word_queries

            return word_queries(texts)
        return self._sparse_vectors(key, texts)

    def _sparse_vectors(self, key: str, texts: list[str]) -> list[SparseVector]:
        types = (self._info.schema or {}).get("keys", {}).get(key)
        if types is None:
            raise with_way_out(
                ValueError(
                    f"Cannot embed the text of a Knn with key {key!r}: key not found in schema"
                ),
                "Give a SparseVector as the query, or search the words of the documents: Knn(text, key=K.DOCUMENT).",
            )
        function = None if sparse_index(types) is None else self._sparse_function(key)
        if function is None:
            raise with_way_out(
                ValueError(
                    f"Cannot embed the text of a Knn with key {key!r}: no embedding function configured for it in "
                    "the schema"
                ),
                "Give a SparseVector as the query.",
            )
        return self._sparse_vectors_of(key, texts, queries=True)


def _search_for(text: str, by: By, n_results: int, where: Any, candidates: int) -> Search:
    """Return the search that a text stands for; `candidates`: each part finds so many at least."""
    rank: Rank
    if by == "both":
        limit = max(_CANDIDATES, _CANDIDATES_PER_RESULT * n_results, candidates)
        # What one list lacks comes after the last of it.
        options: Any = {"limit": limit, "default": limit, "return_rank": True}
        rank = Rrf([Knn(text, **options), Knn(text, key=DOCUMENT_KEY, **options)])
    else:
        key = EMBEDDING_KEY if by == "meaning" else DOCUMENT_KEY
        rank = Knn(text, key=key, limit=max(n_results, candidates))
    return Search(where, rank).limit(n_results).select(*_SELECTED)


def _leaves(searches: Iterable[Search]) -> Iterable[Knn]:
    for one in searches:
        if one.score is not None:
            yield from knn_leaves(one.score)


def _text_of(search: Search) -> str | None:
    """Return the texts that a search asks for as one, None where it asks for none."""
    texts = [leaf.query for leaf in _leaves([search]) if isinstance(leaf.query, str)]
    return " | ".join(dict.fromkeys(texts)) if texts else None


def _result(searches: Sequence[Search], found: Sequence[Found]) -> SearchResult:
    """Return answers as Chroma's dict."""
    result = SearchResult(
        ids=[one.ids for one in found],
        documents=[one.documents for one in found],
        embeddings=[None if one.embeddings is None else one.embeddings.tolist() for one in found],
        metadatas=[one.metadatas for one in found],
        scores=[one.scores for one in found],
        select=[one.selected.names for one in searches],
    )
    names = [_part_names(one) for one in searches]
    triples = list(zip(searches, found, names, strict=True))
    result.parts = [_parts(*one) for one in triples]
    result.reasons = [why_nothing(*one) for one in triples]
    return result


def _part_names(search: Search) -> list[str]:
    """Return what each `Knn` of a search is called, each otherwise."""
    names: list[str] = []
    for leaf in _leaves([search]):
        name = _PART_NAMES.get(leaf.key, leaf.key)
        # A metadata key may be called "words 2".
        tries = itertools.chain([name], (f"{name} {n}" for n in itertools.count(2)))
        names.append(next(one for one in tries if one not in names))
    return names


def _parts(search: Search, found: Found, names: Sequence[str]) -> list[SearchPart] | None:
    if search.score is None:
        return None
    parts: list[SearchPart] = []
    if found.positions is None:
        return parts
    counts: Sequence[int | None] = found.n_found or [None] * len(names)
    leaves = zip(knn_leaves(search.score), names, found.positions.tolist(), counts, strict=True)
    for leaf, name, positions, n_found in leaves:
        query = leaf.query if isinstance(leaf.query, str) else None
        places = [None if at < 0 else at for at in positions]
        parts.append(SearchPart(name, query, places, n_found))
    return parts
