"""`Reranking`: the last stage of a search, in which a function of the user's orders the best records anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.scalars import is_integer
from chroma_nb.search.expression import Limit, Search, Select
from chroma_nb.search.ranks import knn_leaves
from chroma_nb.special_keys import DOCUMENT_KEY
from chroma_nb.words import brief

if TYPE_CHECKING:
    from chroma_nb.api.base import Found

#: Returns a number for each document, higher is better.
Reranker: TypeAlias = Callable[[str, list[str]], Sequence[float]]


class Reranking:
    """Orders the best records of searches by what a function says of their documents.

    Args:
        function: Called once for each search, with its text and the documents.
        n_candidates: How many of the best records it is asked about.
        searches: The searches.
        asked: The text of each.

    Raises:
        InvalidArgumentError: The function cannot be called, or a search has no text to give to it.
    """

    def __init__(
        self,
        function: Reranker,
        n_candidates: int,
        searches: Sequence[Search],
        asked: Sequence[str | None],
    ) -> None:
        if not callable(function):
            raise InvalidArgumentError(
                f"Expected rerank to be a function of (text, documents), got {brief(function, quoted=True)}."
            )
        if not is_integer(n_candidates) or n_candidates < 1:
            raise InvalidArgumentError(
                f"Expected rerank_from to be a positive integer, got {brief(n_candidates, quoted=True)}."
            )
        for at, text in enumerate(asked):
            if text is None:
                raise InvalidArgumentError(
                    f"rerank= needs the text that is asked, and searches[{at}] has none: give a text as the query of "
                    "a Knn."
                )
        self._function = function
        self._n = int(n_candidates)
        self._searches = searches
        #: For each search what the function said of each record of the answer.
        self.scores: list[list[float | None] | None] = []

    def wanted(self) -> list[Search]:
        """Return the searches that find what the function is asked about, from the first record on."""
        return [self._widened(one) for one in self._searches]

    def _widened(self, search: Search) -> Search:
        page = search.page
        limit = None if page.limit is None else max(self._n, page.offset + page.limit)
        return Search(
            search.condition,
            search.score,
            search.grouping,
            Limit(0, limit),
            Select((*search.selected.keys, DOCUMENT_KEY)),
        )

    def ordered(self, found: Sequence[Found]) -> list[Found]:
        """Return the answers in the new order, with what was selected, and keep what the function said."""
        return [
            self._ordered(search, one) for search, one in zip(self._searches, found, strict=True)
        ]

    def _ordered(self, search: Search, found: Found) -> Found:
        documents = found.documents or [None] * len(found.ids)
        asked = [at for at, text in enumerate(documents[: self._n]) if text is not None]
        assert search.score is not None
        texts = [leaf.query for leaf in knn_leaves(search.score) if isinstance(leaf.query, str)]
        said = self._said(texts[0], [documents[at] or "" for at in asked])
        # The best first; of equal ones, the one that was before. What it was not asked about comes behind.
        best = sorted(range(len(asked)), key=lambda place: -said[place])
        there = set(asked)
        order = [asked[place] for place in best]
        order += [at for at in range(len(found.ids)) if at not in there]
        scores: list[float | None] = [None] * len(found.ids)
        for place, at in enumerate(asked):
            scores[at] = said[place]
        page = search.page
        order = order[page.offset : None if page.limit is None else page.offset + page.limit]
        self.scores.append([scores[at] for at in order])
        ordered = _at(found, order)
        if DOCUMENT_KEY not in search.selected.names:
            ordered = replace(ordered, documents=None)
        return ordered

    def _said(self, text: str, documents: list[str]) -> list[float]:
        """Return what the function says.

        Raises:
            InvalidArgumentError: It is not a finite number for each document.
        """
        if not documents:
            return []
        # What it raises itself passes through.
        said = self._function(text, documents)
        try:
            numbers = np.asarray(said, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.empty((0, 0))
        if numbers.shape != (len(documents),) or not all(map(math.isfinite, numbers.tolist())):
            raise InvalidArgumentError(
                f"Expected rerank to return {len(documents):,} finite numbers, one for each document, got "
                f"{brief(said, quoted=True)} ({type(said).__name__})."
            )
        found: list[float] = numbers.tolist()
        return found


def _at(found: Found, places: Sequence[int]) -> Found:
    """Return some records of an answer."""

    def column(values: list[Any] | None) -> list[Any] | None:
        return None if values is None else [values[at] for at in places]

    rows = np.asarray(places, dtype=np.intp)
    return replace(
        found,
        ids=[found.ids[at] for at in places],
        scores=column(found.scores),
        documents=column(found.documents),
        metadatas=column(found.metadatas),
        embeddings=None if found.embeddings is None else found.embeddings[rows],
        positions=None if found.positions is None else found.positions[:, rows],
    )
