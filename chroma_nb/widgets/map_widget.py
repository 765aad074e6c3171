"""`MapWidget`: a map of embeddings to hover over and to select in."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb import display
from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.widgets import map_selection
from chroma_nb.widgets.linking import SelectingPanel
from chroma_nb.widgets.map_colors import MapColors, colors_on
from chroma_nb.widgets.map_view import legend_groups, map_view, plain, recolor
from chroma_nb.widgets.page_ground import new_page_ground
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult
    from chroma_nb.plotting import EmbeddingMap

#: Of what is selected the first records are shown.
_SHOWN = 5
_EVERY = "a group"


class MapWidget(SelectingPanel):
    """A live map. Draw around records, find them by their text, or choose a group: `selected_ids` are these records.

    Args:
        collection: The collection that is on the map.
        picture: The static map; it is what the saved notebook keeps.

    Raises:
        ImportError: jupyter-scatter is missing.
    """

    def __init__(self, collection: Collection, picture: EmbeddingMap) -> None:
        self._collection = collection
        self.picture = picture
        self._rows: dict[str, int] = {one: row for row, one in enumerate(picture.points.ids)}
        #: jupyter-scatter's widget; None without ipywidgets.
        self.view: Any = None
        #: What the button that confirms is going to do.
        self._pending: Callable[[], str] | None = None
        super().__init__()

    def __repr__(self) -> str:
        return f"MapWidget({shorten(self.picture.name, 30)!r}, {len(self.picture.points.ids):,} records)"

    def _display_(self) -> Any:
        if self.view is None or self._closed:
            return super()._display_()
        # Controls as marimo can show them; the plot and the page's colour are anywidgets themselves.
        above, below = self._new_mirrors(self._above, self._below)
        stacked: Any = importlib.import_module("marimo").vstack
        return stacked([above, self._page_ground, self.view, below])

    def _snapshot(self) -> str:
        return self.picture._repr_html_() or ""

    # -- what it is made of -------------------------------------------------------------------

    def _build(self, w: Any) -> Any:
        if "google.colab" in sys.modules:
            # Widgets beyond the core have to be let in there.
            importlib.import_module("google.colab.output").enable_custom_widget_manager()
        self.view = map_view(self.picture)
        self.view.observe(self._safely(lambda change: self._changed()), "selection")
        groups = (
            [] if self.picture.is_scale or self.picture.color is None else self.picture.groups()
        )
        self._groups = {plain(name, 40): which for name, which, _ in groups}
        self._legend = w.HTML(self._legend_on(MapColors()))
        self._page_ground = new_page_ground()
        self._page_ground.observe(
            self._safely(lambda change: self._recolor(change["new"])), "ground"
        )
        self.find = w.Text(
            description="find",
            placeholder="a word in the texts, or an id",
            continuous_update=False,
            layout=w.Layout(width="320px"),
            style={"description_width": "initial"},
        )
        self.group = w.Dropdown(
            description="select",
            style={"description_width": "initial"},
            options=[_EVERY, *self._groups],
            layout=w.Layout(width="240px", display="" if self._groups else "none"),
        )
        self.clear = w.Button(description="Clear", layout=w.Layout(width="90px"))
        self._chosen = w.HTML(fill("label", label="nothing selected", kind="k"))
        self._table = w.HTML()
        self.find.observe(self._safely(lambda change: self._find(change["new"])), "value")
        self.group.observe(self._safely(lambda change: self._choose(change["new"])), "value")
        self.clear.on_click(self._safely(lambda button: self._select([])))
        self._above = w.VBox([self._legend, w.HBox([self.find, self.group, self.clear])])
        self._below = w.VBox([self._chosen, self._actions(w), self._table, self._status])
        return w.VBox([self._page_ground, self._above, self.view, self._below])

    def _legend_on(self, colors: MapColors) -> str:
        colored = legend_groups(self.picture) if self._groups else []
        return fill(
            "map_legend",
            name=plain(self.picture.name, 60),
            about=self.picture.subtitle,
            key=plain(self.picture.color, 40) if self.picture.color else "",
            groups=[(plain(name, 24), colors.of(color)) for name, _, color in colored],
        )

    def _recolor(self, ground: str) -> None:
        """Follow the page's theme."""
        colors = colors_on(ground)
        if colors is not None:
            recolor(self.view, self.picture, colors)
            self._set(self._legend, "value", self._legend_on(colors))

    def _actions(self, w: Any) -> Any:
        """Return the controls for what is selected; hidden while nothing is."""
        short = {"description_width": "initial"}
        self.key = w.Text(
            description="key",
            placeholder="metadata key",
            layout=w.Layout(width="170px"),
            style=short,
        )
        self.value = w.Text(
            description="value",
            placeholder="its value",
            layout=w.Layout(width="170px"),
            style=short,
        )
        self.name = w.Text(
            description="copy to",
            placeholder="a new collection",
            layout=w.Layout(width="220px"),
            style=short,
        )
        self.set_value = w.Button(description="Set value", layout=w.Layout(width="100px"))
        self.copy = w.Button(description="Copy", layout=w.Layout(width="80px"))
        self.csv = w.Button(description="Write CSV", layout=w.Layout(width="110px"))
        self._question = w.HTML()
        self.confirm = w.Button(description="Yes, do it", layout=w.Layout(width="110px"))
        self.cancel = w.Button(description="Cancel", layout=w.Layout(width="90px"))
        self._asking = w.HBox(
            [self._question, self.confirm, self.cancel], layout=w.Layout(display="none")
        )
        self.set_value.on_click(self._safely(lambda button: self._ask_value()))
        self.copy.on_click(self._safely(lambda button: self._ask_copy()))
        self.csv.on_click(self._safely(lambda button: self._ask_csv()))
        self.confirm.on_click(self._safely(lambda button: self._confirmed()))
        self.cancel.on_click(self._safely(lambda button: self._ask("", None)))
        self._code = w.HTML()
        row = w.Layout(flex_flow="row wrap")
        self._tools = w.VBox(
            [
                w.HBox(
                    [self.key, self.value, self.set_value, self.name, self.copy, self.csv],
                    layout=row,
                ),
                self._asking,
                self._code,
            ],
            layout=w.Layout(display="none"),
        )
        return self._tools

    # -- selecting ----------------------------------------------------------------------------

    @property
    def selected_ids(self) -> list[str]:
        """The ids of the records that are selected on the map, in the map's order. Assign ids to select them."""
        if self.view is None or self.view.selection is None:
            return []
        ids = self.picture.points.ids
        # The question is a point as well, after the records.
        return [
            ids[row] for row in sorted(np.unique(self.view.selection).tolist()) if row < len(ids)
        ]

    @selected_ids.setter
    def selected_ids(self, ids: Iterable[str]) -> None:
        wanted = list(ids)
        unknown = [one for one in wanted if one not in self._rows]
        if unknown:
            raise InvalidArgumentError(
                f"{counted(len(unknown), 'id')} of {len(wanted):,} not on the map, such as {unknown[0]!r}. "
                "A map with a larger limit shows more records."
            )
        self._select([self._rows[one] for one in wanted])

    def _select(self, rows: Iterable[int]) -> None:
        if self.view is None:
            raise InvalidArgumentError("Selecting needs ipywidgets: pip install ipywidgets")
        self.view.selection = np.unique(np.array(list(rows), dtype=np.uint32))

    def selection(self) -> GetResult:
        """Return the selected records."""
        chosen = self.selected_ids
        return self._collection.get(ids=chosen) if chosen else self._collection.get(limit=0)

    def to_pandas(self) -> pd.DataFrame:
        """Return the selected records as a table."""
        return self.selection().to_pandas()

    def _selected_ids(self) -> list[str]:
        return self.selected_ids

    def _show_selected(self, ids: list[str]) -> None:
        rows = [self._rows[one] for one in ids if one in self._rows]
        self._select(rows)
        if len(rows) < len(ids):
            self._say(
                f"Not on this map: {len(ids) - len(rows):,} of the {counted(len(ids), 'record')} selected elsewhere."
            )

    def _find(self, text: str) -> None:
        """Select the records whose text or id has these words."""
        wanted = text.strip().casefold()
        points = self.picture.points
        if wanted:
            both = zip(points.ids, points.documents, strict=True)
            found = [
                row
                for row, (one, document) in enumerate(both)
                if wanted in one.casefold() or (document and wanted in document.casefold())
            ]
            self._select(found)
            if not found:
                self._set(self._chosen, "value", fill("label", label="nothing found", kind="k"))

    def _choose(self, name: str) -> None:
        if name != _EVERY:
            self._select(np.flatnonzero(self._groups[name]).tolist())

    def _changed(self) -> None:
        chosen = self.selected_ids
        if chosen == self._told:
            return
        self._ask("", None)
        text = "nothing selected"
        if chosen:
            text = f"{len(chosen):,} selected: .selected_ids, .selection()"
            if len(chosen) > _SHOWN:
                text += f"; the first {_SHOWN} are below"
        self._set(self._chosen, "value", fill("label", label=text, kind="k"))
        self._set(self._tools.layout, "display", "" if chosen else "none")
        self._set(self._code, "value", fill("code", code=self.filter_code) if chosen else "")
        if chosen:
            first = self._collection.get(ids=chosen[:_SHOWN])
            self._set(self._table, "value", display.html(first) or "")
        else:
            self._set(self._table, "value", "")
        self._tell()

    # -- what becomes of it -------------------------------------------------------------------

    @property
    def filter_code(self) -> str:
        """The call that asks a question of the selected records alone, as code."""
        return map_selection.filter_code(self.selected_ids)

    def set_metadata(self, key: str, value: Any) -> int:
        """Give the selected records a metadata value; return how many they are.

        Raises:
            InvalidArgumentError: Nothing is selected, or no metadata can have this key or value.
        """
        return map_selection.set_metadata(self._collection, self.selected_ids, key, value)

    def copy_to(self, name: str) -> Collection:
        """Copy the selected records into a new collection of the same configuration, and return that.

        Raises:
            InvalidArgumentError: Nothing is selected, or no collection can have this name.
            UniqueConstraintError: The name is taken.
        """
        return map_selection.copy_to(self._collection, self.selected_ids, name)

    def to_csv(self, path: str | os.PathLike[str]) -> int:
        """Write the selected records to a CSV file, which is replaced where it exists; return how many they are.

        Raises:
            InvalidArgumentError: Nothing is selected.
        """
        return map_selection.to_csv(self._collection, self.selected_ids, path)

    def _ask(self, question: str, act: Callable[[], str] | None) -> None:
        """Show a question whose answer yes does something; None takes it away."""
        self._pending = act
        said = fill("label", label=question, kind="t") if question else ""
        self._set(self._question, "value", said)
        self._set(self._asking.layout, "display", "" if act else "none")

    def _confirmed(self) -> None:
        act, self._pending = self._pending, None
        self._ask("", None)
        if act is not None:
            self._set(self._chosen, "value", fill("label", label=act(), kind="k"))

    def _ask_value(self) -> None:
        key, value = self.key.value.strip(), _literal(self.value.value)
        if not key:
            raise InvalidArgumentError(
                "Enter the metadata key that the selected records are to get."
            )
        n = len(self.selected_ids)
        name = plain(self._collection.name, 40)

        def act() -> str:
            self.set_metadata(key, value)
            condition = repr({key: value})
            return f"{counted(n, 'record')} changed: where={shorten(condition, 80)}"

        written = f"{shorten(repr(key), 40)}: {shorten(repr(value), 40)}"
        self._ask(f"Set {written} for {counted(n, 'record')} of {name}?", act)

    def _ask_copy(self) -> None:
        name = self.name.value.strip()
        if not name:
            raise InvalidArgumentError("Enter the name of the collection that is to be made.")
        n = len(self.selected_ids)

        def act() -> str:
            made = self.copy_to(name)
            return f"{counted(made.count(), 'record')} copied to {made.name}"

        self._ask(f"Copy {counted(n, 'record')} into a new collection {shorten(name, 60)}?", act)

    def _ask_csv(self) -> None:
        path = f"{self._collection.name}-selection.csv"
        n = len(self.selected_ids)
        there = ", which is replaced" if os.path.exists(path) else ""

        def act() -> str:
            return f"{counted(self.to_csv(path), 'record')} written to {path}"

        self._ask(f"Write {counted(n, 'record')} to {path}{there}?", act)


def _literal(text: str) -> str | int | float | bool:
    """Return what is written as a number or as True or False as that, all else as text."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, str | int | float) else text
