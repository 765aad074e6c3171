"""`SearchResult`: what `Collection.search` returns, Chroma's dict, able to show itself and to say why a record is there."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from chroma_nb.boundary import public_class
from chroma_nb.collection.results import ShownResult
from chroma_nb.display.extent import PART_CHARACTERS, head_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

#: One record of an answer: ``id``, and what was selected of it and is not None.
SearchResultRow: TypeAlias = dict[str, Any]

#: Keys of a result -> of a row.
_ROW = {
    "documents": "document",
    "embeddings": "embedding",
    "metadatas": "metadata",
    "scores": "score",
}


class SearchPart(NamedTuple):
    """What one `Knn` of a search has to do with its answer.

    Attributes:
        name: ``meaning`` (the embeddings), ``words`` (the documents) or the sparse vectors' metadata key; with a
            number where the search has several of these.
        query: The text that was asked, or None where a vector was.
        positions: For each record its place in what this `Knn` found, from 0; None where that did not find it.
        n_found: How many records this `Knn` found; None where a server does not say.
    """

    name: str
    query: str | None
    positions: list[int | None]
    n_found: int | None = None


@public_class
class SearchResult(ShownResult):
    """For each search its records by score, lowest first.

    Keys: ``ids``, ``documents``, ``embeddings`` (lists of numbers), ``metadatas``, ``scores``, ``select``. Each holds
    an entry for each search: a list, or None for a column that was not selected.

    Attributes:
        asked: For each search the text that was asked, or None.
        parts: For each search its `Knn`s from left to right (`SearchPart`), none of them where a server does not say
            what they found; None for a search without a rank.
        reasons: For each search that has no record why that is, as far as it follows from its rank and its page; else None.
        rerank_scores: For each search what the reranker says of each record, higher is better, or None of one that
            it was not asked about; None where there was no reranker.
    """

    _view = "search"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        n_searches = len(self.get("ids") or ())
        self.asked: list[str | None] = [None] * n_searches
        self.parts: list[list[SearchPart] | None] = [None] * n_searches
        self.reasons: list[str | None] = [None] * n_searches
        self.rerank_scores: list[list[float | None] | None] | None = None

    def rows(self) -> list[list[SearchResultRow]]:
        """Return the records of each search as dicts.

        Each has its ``id``, and ``document``, ``embedding``, ``metadata`` and ``score`` where they were selected and
        are not None.
        """
        found = []
        for search, ids in enumerate(self.get("ids") or ()):
            rows: list[SearchResultRow] = [{"id": one} for one in ids]
            for column, name in _ROW.items():
                values = self._of(column, search)
                for row, value in zip(rows, values or (), strict=False):
                    if value is not None:
                        row[name] = value
            found.append(rows)
        return found

    def to_pandas(self, search: int | None = None, *, max_columns: int | None = 20) -> pd.DataFrame:
        """Return one row per found record: search, rank, id, score, its rank in each part, document, metadata.

        Args:
            search: Only this search's records; None returns those of all.
            max_columns: As for `GetResult.to_pandas`.
        """
        from chroma_nb.collection.tables import found_to_pandas

        return found_to_pandas(self, search, max_columns)

    def _of(self, column: str, search: int) -> list[Any] | None:
        """Return a column of one search, None where there is none."""
        values = self.get(column)
        return values[search] if values and search < len(values) else None

    def _own_columns(self) -> dict[str, str]:
        searches = range(len(self.get("ids") or ()))
        names = [name for key, name in _ROW.items() if any(self._of(key, one) for one in searches)]
        names = ["id", *(one for one in names if one != "metadata")]
        names += ["#"] if self.rerank_scores is None else ["rerank", "#"]
        known = {name: name for name in names}
        by_part = [
            (part.name, f"rank by {part.name}") for parts in self.parts for part in parts or ()
        ]
        for name, column in (*by_part, *((column, column) for _, column in by_part)):
            known.setdefault(name, column)
        return known

    def _aliases(self) -> dict[str, str]:
        names = dict.fromkeys(part.name for parts in self.parts for part in parts or ())
        heads = Counter(head_name(name, PART_CHARACTERS) for name in names)
        cut = {head_name(name, PART_CHARACTERS): f"rank by {name}" for name in names}
        one = {head: column for head, column in cut.items() if heads[head] == 1}
        return {"rank": "#", "rerank score": "rerank", **one}

    def _metadatas(self) -> Iterable[dict[str, Any] | None]:
        return itertools.chain.from_iterable(one or () for one in self.get("metadatas") or ())

    def _most_records(self) -> int:
        return max(map(len, self.get("ids") or ()), default=0)
