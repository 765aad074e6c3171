"""`SearchWidget`: a question or a record, filters made for the metadata that is there, answers as one types."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb import display
from chroma_nb.display.extent import Extent
from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.errors import (
    InvalidArgumentError,
    InvalidDimensionException,
    MemoryBudgetError,
    NotSupportedError,
)
from chroma_nb.special_keys import DOCUMENT_KEY
from chroma_nb.types import FieldSummary
from chroma_nb.widgets.asking import all_of, arguments_code, call_code
from chroma_nb.widgets.filter_controls import (
    VALUES,
    FilterControl,
    Seen,
    distinct,
    filter_control,
    look_at,
)
from chroma_nb.widgets.linking import SelectingPanel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult, QueryResult
    from chroma_nb.collection.search_result import SearchResult

#: Nothing is asked until nobody has typed for so long: from the time between two keys of somebody who types, to where an
#: answer seems late. Between them it is as long as the last answer took.
SHORTEST_WAIT, LONGEST_WAIT = 0.12, 0.4
#: Width of what stands before a control.
_LABEL = "84px"
#: Metadata keys that get a control at first.
_FILTERS = 6
#: Records whose values say which control a key gets.
_LOOKED_AT = 200
#: What helps where a question cannot be embedded.
_BY_RECORD = "Search by “words” instead, or by “near to” and the id of a record."
#: What a question is searched by; and a record's id instead of a question.
_BY = [("meaning", "meaning"), ("words", "words"), ("both", "both")]
_RECORD = "record"
_ASKS = {
    "meaning": "a question, in your own words",
    "words": "words, the rarer the better",
    "both": "a question, or words",
    _RECORD: "the id of a record",
}
#: Chosen where no key is.
_NO_KEY = object()


class SearchWidget(SelectingPanel):
    """A live search over one collection.

    Type a question and choose filters; the answer follows, with the time that it took, the way it was
    found, and the call that gives the same. It is searched by its meaning, by its words, or by both. Or enter the id of
    a record, and find what is near to it. A collection without an embedding function offers words and records alone.

    Args:
        collection: The collection.
        n_results: Records wanted at first.

    Attributes:
        result: The last answer, a `QueryResult`, `SearchResult` or `GetResult`.
        code: The call that gives it.
        selected: The ids of that answer; none where nothing was asked. `on_selection` tells of others.
    """

    _shows_others: ClassVar[bool] = False

    def __init__(self, collection: Collection, *, n_results: int = 10) -> None:
        self._collection = collection
        self._embeds = collection.configuration_json.get("embedding_function") is not None
        self._n_results = max(1, min(50, n_results))
        self._timer: threading.Timer | None = None
        self._wait = SHORTEST_WAIT
        self._filters: list[FilterControl] = []
        #: Keys without a control so far.
        self._further: list[FieldSummary] = []
        self._seen: dict[str, Seen] = {}
        self.result: QueryResult | SearchResult | GetResult | None = None
        self.code = ""
        self.selected: list[str] = []
        super().__init__()
        if self._root is not None:
            self.search()

    def __repr__(self) -> str:
        return f"SearchWidget({shorten(self._collection.name, 50)!r})"

    def _snapshot(self) -> str:
        shown = self._collection if self.result is None else self.result
        code = fill("code", code=self.code) if self.code else ""
        return (display.html(shown) or "") + code

    def _build(self, w: Any) -> Any:
        style = {"description_width": _LABEL}
        self.by = w.Dropdown(
            options=[*(_BY if self._embeds else _BY[1:2]), ("near to", _RECORD)],
            value="meaning" if self._embeds else _RECORD,
            description="search by",
            layout=w.Layout(width="184px"),
            style=style,
        )
        self.question = w.Text(
            description="for",
            continuous_update=True,
            layout=w.Layout(width="636px"),
            style={"description_width": "22px"},
        )
        self._word_question()
        self.contains = w.Text(
            description="contains",
            placeholder="words in the text",
            continuous_update=True,
            layout=w.Layout(width="344px"),
            style=style,
        )
        self.n_results = w.IntSlider(
            value=self._n_results,
            min=1,
            max=50,
            description="records",
            continuous_update=False,
            layout=w.Layout(width="440px"),
            style=style,
        )
        self.add_filter = w.Dropdown(
            options=[("any key", _NO_KEY)],
            description="filter by",
            layout=w.Layout(width="344px"),
            style=style,
        )
        self._filter_box = w.VBox()
        self._offer_filters(w)
        self._about = w.HTML()
        self._answer = w.HTML()
        self._code = w.HTML()
        later = self._safely(lambda change: self._later())
        for control in (self.question, self.contains):
            control.observe(later, "value")
        self.n_results.observe(self._safely(lambda change: self.search()), "value")
        self.by.observe(self._safely(lambda change: self._word_question()), "value")
        self.by.observe(self._safely(lambda change: self.search()), "value")
        self.add_filter.observe(
            self._safely(lambda change: self._add_filter(w, change.new)), "value"
        )
        return w.VBox(
            [
                w.HBox([self.by, self.question]),
                w.HBox([self.contains, self.n_results]),
                self._filter_box,
                self.add_filter,
                self._about,
                self._answer,
                self._code,
                self._status,
            ]
        )

    def _word_question(self) -> None:
        self._set(self.question, "placeholder", _ASKS[self.by.value])

    # -- filters ------------------------------------------------------------------------------

    @property
    def filters(self) -> dict[str, Sequence[Any]]:
        """The controls of each metadata key that is filtered by: one, or two that are the bounds."""
        return {one.key: one.controls for one in self._filters}

    def _offer_filters(self, w: Any) -> None:
        """Give the commonest keys their controls, and offer the others."""
        self._seen = look_at(self._some_metadata())
        for field in self._fields():
            if len(self._filters) < _FILTERS:
                self._append_filter(w, field)
            else:
                self._further.append(field)
        self._show_filters(w)

    def _some_metadata(self) -> list[dict[str, Any] | None]:
        """Return the metadata of some records, of fewer where it is large."""
        n = _LOOKED_AT
        while n:
            try:
                found: list[dict[str, Any] | None] = self._collection.get(
                    limit=n, include=["metadatas"]
                )["metadatas"]
            except MemoryBudgetError:
                n //= 4
            else:
                return found
        return []

    def _append_filter(self, w: Any, field: FieldSummary) -> bool:
        made = filter_control(w, field, self._seen.get(field.key, Seen()))
        if made is None:
            return False
        made.observe(self._safely(lambda change: self.search()))
        self._filters.append(made)
        return True

    def _add_filter(self, w: Any, key: Any) -> None:
        """Give a key that was chosen its control."""
        if key is _NO_KEY:
            return
        (field,) = (one for one in self._further if one.key == key)
        self._further.remove(field)
        is_there = self._append_filter(w, field)
        self._show_filters(w)
        if not is_there:
            self._say(f"There is no simple filter for {shorten(key, 60)!r}: {_kinds(field)}.")

    def _show_filters(self, w: Any) -> None:
        keys = [(shorten(field.key, 40), field.key) for field in self._further]
        self.add_filter.options = distinct([("another key …", _NO_KEY), *keys])
        self.add_filter.layout.display = "" if self._further else "none"
        self._filter_box.children = [
            w.HBox([part for one in self._filters[at : at + 2] for part in one.parts])
            for at in range(0, len(self._filters), 2)
        ]

    def _fields(self) -> list[FieldSummary]:
        """Return the keys that there are; where the server does not say, those of some records."""
        try:
            return self._collection.fields.describe(VALUES)
        except NotSupportedError:
            return [
                FieldSummary(key, seen.names(), seen.n_records, None, None, 0, [])
                for key, seen in self._seen.items()
            ]

    # -- asking -------------------------------------------------------------------------------

    def _later(self) -> None:
        """Search when nobody has typed for a moment."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._wait, self._safely(self.search))
        self._timer.daemon = True
        self._timer.start()

    @property
    def where(self) -> dict[str, Any] | None:
        """The metadata filter that the controls stand for."""
        parts = [condition for one in self._filters for condition in one.conditions()]
        return all_of(parts) if parts else None

    def search(self) -> None:
        """Ask now, and show the answer."""
        if self._closed or self._root is None:
            return
        started = time.perf_counter()
        asked = self.question.value.strip()
        arguments: dict[str, Any] = {}
        if (where := self.where) is not None:
            arguments["where"] = where
        if words := self.contains.value:
            arguments["where_document"] = {"$contains": words}
        if not asked:
            how = self._first(arguments)
        elif self.by.value in ("words", "both"):
            how = self._search(asked, self.by.value)
        else:
            how = self._query(asked, arguments)
        self._set(self._about, "value", fill("label", label=how, kind="k"))
        rows = Extent(rows=self.n_results.value)
        self._set(self._answer, "value", display.html(self.result, rows) or "")
        self._set(self._code, "value", fill("code", code=self.code))
        self._update_snapshots()
        self.selected = self._found() if asked or "where" in arguments or words else []
        self._wait = min(LONGEST_WAIT, max(SHORTEST_WAIT, time.perf_counter() - started))
        self._tell()

    def _found(self) -> list[str]:
        ids: list[Any] = [] if self.result is None else self.result["ids"]
        # Those of a query are in a list for each question.
        return list(ids[0] if ids and isinstance(ids[0], list) else ids)

    def _selected_ids(self) -> list[str]:
        return self.selected

    def _show_selected(self, ids: list[str]) -> None:
        """Show nothing: its answer is a selection of its own."""

    def _first(self, arguments: dict[str, Any]) -> str:
        """Get the first records that match; say so."""
        arguments = {"limit": self.n_results.value, **arguments}
        started = time.perf_counter()
        self.result = self._collection.get(**arguments)
        self.code = call_code("get", arguments)
        return f"{_milliseconds(started)}, the first records in the order in which they came"

    def _search(self, asked: str, by: str) -> str:
        """Search by words, or by both; say how long it took."""
        arguments: dict[str, Any] = {"by": by, "n_results": self.n_results.value}
        conditions = [] if self.where is None else [self.where]
        if words := self.contains.value:
            conditions.append({DOCUMENT_KEY: {"$contains": words}})
        if conditions:
            arguments["where"] = all_of(conditions)
        started = time.perf_counter()
        with _where_dimensions_differ("Search by words instead."):
            self.result = self._collection.search(asked, **arguments)
        self.code = f"collection.search({asked!r}, {arguments_code(arguments)})"
        what = "its words" if by == "words" else "its meaning and its words, embedding it included"
        return f"{_milliseconds(started)} by {what}"

    def _query(self, asked: str, arguments: dict[str, Any]) -> str:
        """Ask for what is near; say how it was found."""
        arguments = {"n_results": self.n_results.value, **arguments}
        started = time.perf_counter()
        by_question = self.by.value != _RECORD
        if by_question:
            # Embedded once: explaining the query asks a second time.
            try:
                vectors = self._collection.embed_queries(asked)
            except Exception as error:
                raise ValueError(f"{error} {_BY_RECORD}") from error
            code = call_code("query", {"query_texts": [asked], **arguments})
        else:
            known = self._collection.get(ids=[asked], include=["embeddings"])
            get = call_code("get", {"ids": [asked], "include": ["embeddings"]})
            if not known["ids"]:
                self.result, self.code = known, get
                return "there is no record of this id"
            vectors = known["embeddings"]
            inside = arguments_code(arguments)
            code = f'collection.query(query_embeddings={get}["embeddings"], {inside})'
        embedding = _milliseconds(started)
        started = time.perf_counter()
        with _where_dimensions_differ(_BY_RECORD):
            result = self._collection.query(query_embeddings=vectors, **arguments)
        elapsed = _milliseconds(started)
        result.asked = [asked] if by_question else None
        self.result, self.code = result, code
        try:
            plan = self._collection.explain(query_embeddings=vectors, **arguments)
        except NotSupportedError:
            return f"{elapsed} after {embedding} for the embedding, answered by the server"
        how = f"{plan['strategy']} ({plan['reason']}), from {plan['answered_from']}"
        return f"{elapsed} after {embedding} for the embedding: {how}"

    def close(self) -> None:
        """End the live panel; the snapshot of the last answer stays."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()


def _kinds(field: FieldSummary) -> str:
    """Return what a key's values are, for a sentence."""
    if field.n_distinct == 1:
        return "all its values are the same"
    return f"its values are {' and '.join(field.kinds)}"


@contextlib.contextmanager
def _where_dimensions_differ(way_out: str) -> Iterator[None]:
    """Add a way out to the error of a question whose embedding has another dimension than the records."""
    try:
        yield
    except (InvalidArgumentError, InvalidDimensionException) as error:
        if "dimension" not in str(error):
            raise
        raise ValueError(f"{error} {way_out}") from error


def _milliseconds(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1e3:.1f} ms"
