"""`SearchWidget`: a question, filters made from the metadata that is there, and answers as one types."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from chroma_nb import display
from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.errors import NotSupportedError
from chroma_nb.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult, QueryResult
    from chroma_nb.types import FieldSummary

#: Nothing is asked until nobody has typed for so long.
_DEBOUNCE_SECONDS = 0.3
#: Width of what stands before a control.
_LABEL = "84px"
#: Chosen in a menu where every value will do. (None would be no choice at all.)
_ANY = object()
#: Metadata keys that get a control, and values that a menu offers.
_FILTERS = 6
_VALUES = 50


class SearchWidget(Panel):
    """A live search over one collection.

    Type a question and choose filters; the answer follows, with the time that it took, the way it was
    found, and the call that gives the same. A collection of your own embeddings takes the id of a
    record instead of a question, and finds what is near to it.

    Args:
        collection: The collection.
        n_results: Records wanted at first.

    Attributes:
        result: The last answer, a `QueryResult` or `GetResult`.
        code: The call that gives it.
    """

    def __init__(self, collection: Collection, *, n_results: int = 10) -> None:
        self._collection = collection
        self._embeds = collection.configuration_json.get("embedding_function") is not None
        self._n_results = max(1, min(50, n_results))
        self._timer: threading.Timer | None = None
        self._turn = 0
        self._filters: list[_Filter] = []
        self.result: QueryResult | GetResult | None = None
        self.code = ""
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
        asks = "a question, in your own words" if self._embeds else "the id of a record"
        label = {"description": "question" if self._embeds else "near to", "placeholder": asks}
        style = {"description_width": _LABEL}
        self.question = w.Text(
            **label, continuous_update=True, layout=w.Layout(width="440px"), style=style
        )
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
        self._filters = [_Filter(w, field) for field in self._fields() if _Filter.offers(field)]
        del self._filters[_FILTERS:]
        self._about = w.HTML()
        self._answer = w.HTML()
        self._code = w.HTML()
        later = self._safely(lambda change: self._later())
        for control in (self.question, self.contains):
            control.observe(later, "value")
        now = self._safely(lambda change: self.search())
        self.n_results.observe(now, "value")
        for one in self._filters:
            one.control.observe(now, "value")
        lines = [w.HBox([self.question, self.contains]), w.HBox([self.n_results])]
        lines += [
            w.HBox([part for one in self._filters[at : at + 2] for part in one.parts])
            for at in range(0, len(self._filters), 2)
        ]
        return w.VBox([*lines, self._about, self._answer, self._code, self._status])

    @property
    def filters(self) -> dict[str, Any]:
        """The control of each metadata key that can be filtered by."""
        return {one.key: one.control for one in self._filters}

    # -- asking -------------------------------------------------------------------------------

    def _later(self) -> None:
        """Search when nobody has typed for a moment."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(_DEBOUNCE_SECONDS, self._safely(self.search))
        self._timer.daemon = True
        self._timer.start()

    @property
    def where(self) -> dict[str, Any] | None:
        """The metadata filter that the controls stand for."""
        parts = [part for one in self._filters if (part := one.where()) is not None]
        if len(parts) > 1:
            return {"$and": parts}
        return parts[0] if parts else None

    def search(self) -> None:
        """Ask now, and show the answer."""
        if self._closed or self._root is None:
            return
        asked = self.question.value.strip()
        arguments: dict[str, Any] = {}
        if (where := self.where) is not None:
            arguments["where"] = where
        if words := self.contains.value:
            arguments["where_document"] = {"$contains": words}
        how = self._query(asked, arguments) if asked else self._first(arguments)
        self._set(self._about, "value", fill("label", label=how, kind="k"))
        self._set(self._answer, "value", display.html(self.result) or "")
        self._set(self._code, "value", fill("code", code=self.code))
        self._update_snapshots()

    def _first(self, arguments: dict[str, Any]) -> str:
        """Get the first records that match; say so."""
        arguments = {"limit": self.n_results.value, **arguments}
        started = time.perf_counter()
        self.result = self._collection.get(**arguments)
        self.code = _call("get", arguments)
        return f"{_milliseconds(started)}, the first records in the order in which they came"

    def _query(self, asked: str, arguments: dict[str, Any]) -> str:
        """Ask for what is near; say how it was found."""
        arguments = {"n_results": self.n_results.value, **arguments}
        started = time.perf_counter()
        if self._embeds:
            # Embedded once: explaining the query asks a second time.
            vectors = self._collection.embed_queries(asked)
            code = _call("query", {"query_texts": [asked], **arguments})
        else:
            known = self._collection.get(ids=[asked], include=["embeddings"])
            get = _call("get", {"ids": [asked], "include": ["embeddings"]})
            if not known["ids"]:
                self.result, self.code = known, get
                return "there is no record of this id"
            vectors = known["embeddings"]
            inside = _inside(arguments)
            code = f'collection.query(query_embeddings={get}["embeddings"], {inside})'
        embedding = _milliseconds(started)
        started = time.perf_counter()
        result = self._collection.query(query_embeddings=vectors, **arguments)
        elapsed = _milliseconds(started)
        result.asked = [asked] if self._embeds else None
        self.result, self.code = result, code
        try:
            plan = self._collection.explain(query_embeddings=vectors, **arguments)
        except NotSupportedError:
            return f"{elapsed} after {embedding} for the embedding, answered by the server"
        how = f"{plan['strategy']} ({plan['reason']}), from {plan['answered_from']}"
        return f"{elapsed} after {embedding} for the embedding: {how}"

    def _fields(self) -> list[FieldSummary]:
        try:
            return self._collection.fields.describe(_VALUES)
        except NotSupportedError:
            # Chroma's server does not say what its records have: no filters to choose from.
            return []

    def close(self) -> None:
        """End the live panel; the snapshot of the last answer stays."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()


def _call(method: str, arguments: dict[str, Any]) -> str:
    """Return a call as code."""
    return f"collection.{method}({_inside(arguments)})"


def _inside(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _milliseconds(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1e3:.1f} ms"


class _Filter:
    """One metadata key's control: a menu of its values, or a range of its numbers."""

    def __init__(self, w: Any, field: FieldSummary) -> None:
        self.key = field.key
        self._where: Callable[[Any], dict[str, Any] | None]
        # A key is somebody's text: shown escaped beside the control, never as its description.
        label = w.HTML(
            fill("label", label=shorten(field.key, 24), kind="r"), layout=w.Layout(width="91px")
        )
        # What a screen reader reads, and nobody's text but ours.
        words = {"layout": w.Layout(width="350px"), "style": {"description_width": "34px"}}
        low, high = field.minimum, field.maximum
        if self._is_range(field) and low is not None and high is not None:
            whole = set(field.kinds) == {"int"}
            make = w.IntRangeSlider if whole else w.FloatRangeSlider
            step = {} if whole else {"step": (high - low) / 100}
            self.control = make(
                min=low,
                max=high,
                value=(low, high),
                continuous_update=False,
                **step,
                description="from",
                **words,
            )
            self._where = self._range
        else:
            options: list[tuple[str, Any]] = [("any", _ANY)]
            options += [(f"{shorten(str(value), 40)} ({n:,})", value) for value, n in field.values]
            # Equal labels would be one choice.
            self.control = w.Dropdown(
                options=list(dict(options).items()), description="is", **words
            )
            self._where = self._one
        self.parts = [label, self.control]

    @staticmethod
    def _is_range(field: FieldSummary) -> bool:
        return (
            set(field.kinds) <= {"int", "float"}
            and field.minimum is not None
            and field.maximum is not None
            and field.minimum < field.maximum
        )

    @classmethod
    def offers(cls, field: FieldSummary) -> bool:
        """Say whether a key can be filtered by with a simple control."""
        few = 1 < field.n_distinct <= _VALUES and set(field.kinds) <= {"str", "bool"}
        return few or cls._is_range(field)

    def where(self) -> dict[str, Any] | None:
        """Return the condition that the control stands for; None where it lets everything through."""
        return self._where(self.control.value)

    def _one(self, value: Any) -> dict[str, Any] | None:
        return None if value is _ANY else {self.key: value}

    def _range(self, value: Any) -> dict[str, Any] | None:
        low, high = value
        parts = []
        if low > self.control.min:
            parts.append({self.key: {"$gte": low}})
        if high < self.control.max:
            parts.append({self.key: {"$lte": high}})
        if len(parts) == 2:
            return {"$and": parts}
        return parts[0] if parts else None
