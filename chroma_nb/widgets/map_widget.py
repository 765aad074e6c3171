"""`MapWidget`: a map of embeddings to hover over and to select in."""

from __future__ import annotations

import base64
import html
import importlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.lazy import require_extra
from chroma_nb.plotting.picture import COLORS
from chroma_nb.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult
    from chroma_nb.plotting import EmbeddingMap

_HOVER_CHARACTERS = 160


class MapWidget(Panel):
    """A live map. Select with the box or the lasso: `selected_ids` are the records.

    Args:
        collection: The collection that is on the map.
        picture: The static map; it is what the saved notebook keeps.

    Raises:
        ImportError: plotly or anywidget is missing.
    """

    def __init__(self, collection: Collection, picture: EmbeddingMap) -> None:
        self._collection = collection
        self.picture = picture
        #: For each trace the rows of its points.
        self._rows: list[Any] = []
        self._heard: list[str] = []
        self._callbacks: list[Callable[[list[str]], object]] = []
        self._plot: Any = None
        super().__init__()

    def __repr__(self) -> str:
        return f"MapWidget({shorten(self.picture.name, 30)!r}, {len(self.picture.points.ids):,} records)"

    def _display_(self) -> Any:
        # plotly's live figure is an anywidget itself.
        return super()._display_() if self._plot is None or self._closed else self._plot

    def _snapshot(self) -> str:
        png = base64.b64encode(self.picture._repr_png_()).decode("ascii")
        return fill("picture", png=png, name=shorten(self.picture.name, 60))

    def _build(self, w: Any) -> Any:
        go = require_extra(
            "plotly.graph_objects", extra="plot", needed_by="collection.plot(interactive=True)"
        )
        if "google.colab" in sys.modules:
            # Widgets beyond the core have to be let in there.
            importlib.import_module("google.colab.output").enable_custom_widget_manager()
        self._plot = go.FigureWidget(self._traces(go), self._layout(go))
        for trace in self._plot.data:
            # Not on_selection: its message is overwritten by the next hover while the kernel is busy.
            trace.on_change(self._safely(self._changed), "selectedpoints")
        self._chosen = w.HTML(fill("label", label="nothing selected", kind="k"))
        return w.VBox([self._plot, self._chosen, self._status])

    def _traces(self, go: Any) -> list[Any]:
        points = self.picture.points
        size = float(np.clip(3_000 / max(1, len(points.ids)), 4, 9))
        traces = []

        def add(name: str, rows: Any, marker: dict[str, Any], **more: Any) -> None:
            rows = np.asarray(rows)
            self._rows.append(rows)
            x, y = points.coordinates[rows].T
            traces.append(
                go.Scattergl(
                    x=x,
                    y=y,
                    mode="markers",
                    name=_plain(name, 24),
                    text=[self._hover(row) for row in rows.tolist()],
                    hovertemplate="%{text}<extra></extra>",
                    marker=marker,
                    **more,
                )
            )

        if self.picture.is_scale:
            values = [np.nan if one is None else float(one) for one in points.values]
            scale = {"color": values, "colorscale": "Viridis", "showscale": True, "size": size}
            add("", range(len(values)), scale, showlegend=False)
        elif self.picture.color is None:
            add("", range(len(points.ids)), {"color": COLORS[0], "size": size}, showlegend=False)
        else:
            for name, which, color in self.picture.groups():
                add(name, np.flatnonzero(which), {"color": color, "size": size})
        near = np.flatnonzero(points.ranks)
        if len(near):
            ring = {
                "symbol": "circle-open",
                "size": size + 6,
                "color": "#808080",
                "line": {"width": 2},
            }
            add(f"nearest {len(near)}", near, ring)
        if self.picture.asked is not None:
            x, y = self.picture.asked.tolist()
            star = {"symbol": "star", "size": 14, "color": "#d55e00"}
            question = _plain(self.picture.question, 40)
            self._rows.append(np.empty(0, dtype=np.int64))
            traces.append(
                go.Scattergl(
                    x=[x], y=[y], mode="markers", name=question, marker=star, text=[question]
                )
            )
        return traces

    def _layout(self, go: Any) -> Any:
        nothing = {"visible": False, "showgrid": False, "zeroline": False}
        return go.Layout(
            title={"text": f"{_plain(self.picture.name, 60)}, {self.picture.subtitle}", "x": 0.01},
            width=820,
            height=540,
            margin={"l": 10, "r": 10, "t": 44, "b": 10},
            dragmode="lasso",
            xaxis=nothing,
            yaxis=nothing,
            # Grey text on a clear ground reads in both themes.
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(128,128,128,0.06)",
            font={"color": "#808080", "size": 12},
            legend={"itemsizing": "constant"},
            modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#808080", "activecolor": COLORS[0]},
        )

    def _hover(self, row: int) -> str:
        points = self.picture.points
        lines = [f"<b>{_plain(points.ids[row], 60)}</b>"]
        if points.ranks[row]:
            lines[0] += f", nearest {points.ranks[row]}"
        document = points.documents[row]
        if document:
            short = shorten(" ".join(document[:1_000].split()), _HOVER_CHARACTERS)
            lines += [_plain(line, 80) for line in textwrap.wrap(short, 56)]
        if self.picture.color is not None:
            lines.append(f"{_plain(self.picture.color, 30)}: {_plain(points.values[row], 60)}")
        return "<br>".join(lines)

    # -- selecting ----------------------------------------------------------------------------

    @property
    def selected_ids(self) -> list[str]:
        """The ids of the records that are selected on the map, in the map's order."""
        if self._plot is None:
            return []
        rows = [
            self._rows[at][list(trace.selectedpoints)]
            for at, trace in enumerate(self._plot.data)
            if trace.selectedpoints and len(self._rows[at])
        ]
        if not rows:
            return []
        ids = self.picture.points.ids
        return [ids[row] for row in np.unique(np.concatenate(rows)).tolist()]

    def selection(self) -> GetResult:
        """Return the selected records."""
        chosen = self.selected_ids
        return self._collection.get(ids=chosen) if chosen else self._collection.get(limit=0)

    def to_pandas(self) -> pd.DataFrame:
        """Return the selected records as a table."""
        return self.selection().to_pandas()

    def on_select(self, callback: Callable[[list[str]], object]) -> None:
        """Call a function with the ids whenever others are selected."""
        self._callbacks.append(callback)

    def _changed(self, trace: Any, points: Any) -> None:
        """Take notice of a selection: plotly tells each trace in turn, when all of them have changed."""
        chosen = self.selected_ids
        if chosen == self._heard:
            return
        self._heard = chosen
        text = (
            f"{len(chosen):,} selected: .selected_ids, .selection()"
            if chosen
            else "nothing selected"
        )
        self._set(self._chosen, "value", fill("label", label=text, kind="k"))
        for callback in self._callbacks:
            callback(chosen)


def _plain(text: object, limit: int) -> str:
    """Return somebody's text for plotly, which reads some HTML and formulas."""
    short = shorten(" ".join(clean(str(text)[: 4 * limit]).split()), limit)
    return html.escape(short, quote=False).replace("$", "&#36;")
