"""The canvas of a live map: jupyter-scatter, which draws with WebGL and asks the kernel for one record at a time."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.lazy import require_extra
from chroma_nb.plotting.picture import COLORS, GREY
from chroma_nb.widgets.map_colors import MapColors

if TYPE_CHECKING:
    from chroma_nb.plotting import EmbeddingMap

_NEEDED_BY = "collection.plot(interactive=True)"
_HEIGHT = 520
_HOVER_CHARACTERS = 160
_STAR = "\N{BLACK STAR}"
#: Points' diameters, pixels: others, the answer's, and the question's.
_NEAR_SIZE, _STAR_SIZE = 9, 14


def plain(text: object, limit: int) -> str:
    """Return somebody's text for a label or a hover: short, one line, without control characters."""
    start = str(text)[: 4 * limit]
    if len(start) <= limit and start.isascii() and start.isprintable():
        # Most are, and of a hundred thousand records each has three.
        return start
    return shorten(" ".join(clean(start).split()), limit)


def map_view(picture: EmbeddingMap) -> Any:
    """Return the widget that shows a map, on white. Its points are the records, and after them the question.

    Raises:
        ImportError: jupyter-scatter is missing.
    """
    jscatter = require_extra("jscatter", extra="plot", needed_by=_NEEDED_BY)
    points = picture.points
    n = len(points.ids)
    colors = MapColors()
    color_by = _coloring(picture)
    frame = _frame(picture, color_by)
    sizes = [float(np.clip(3_000 / max(1, n), 2.5, 7)), _NEAR_SIZE, _STAR_SIZE]
    with warnings.catch_warnings():
        # Of its own making, about categories without records.
        warnings.simplefilter("ignore")
        scatter = jscatter.Scatter(
            data=frame,
            x="x",
            y="y",
            height=_HEIGHT,
            background_color=colors.ground,
            size_by="role",
            size_map=sizes,
            opacity_by="density" if n > 2_000 else None,
        )
        scatter.color(
            by="color",
            map=_point_colors(picture, colors),
            selected=colors.selected,
            hover="#d55e00",
        )
        if n <= 2_000:
            scatter.opacity(default=0.8)
        scatter.tooltip(
            True, properties=["id", "value", "nearest"], preview="text", preview_text_lines=4
        )
        scatter.axes(False)
        scatter.legend(False)
        if frame["name"].notna().any():
            scatter.label(
                by="name",
                color=colors.ink,
                shadow_color=colors.ground,
                size=13,
                importance="weight",
                importance_aggregation="max",
                scale_function="constant",
                max_number=40,
            )
        view = scatter.show(["pan_zoom", "lasso", "reset", "full_screen"])
    view.mouse_mode = "lasso"
    view.reticle = False
    return view


def recolor(view: Any, picture: EmbeddingMap, colors: MapColors) -> None:
    """Give a plot the colours of another page."""
    from matplotlib.colors import to_rgba

    # jupyter-scatter's own `background` would change the axes' and the legend's colour, too, which shows them.
    view.background_color = to_rgba(colors.ground)
    view.tooltip_color = to_rgba(colors.tooltip)
    view.color = [to_rgba(one) for one in _point_colors(picture, colors)]
    view.color_selected = to_rgba(colors.selected)
    names = view.labels
    if names is not None:
        view.label_shadow_color = colors.ground
        # Of what is shown later, and of what is there.
        view.label_placement.color = colors.ink
        import pandas as pd

        view.labels = names.assign(fontColor=pd.Categorical([colors.ink] * len(names)))


def _point_colors(picture: EmbeddingMap, colors: MapColors) -> list[str]:
    """Return the colours of the points: of each group and of the question, or of numbers."""
    if picture.is_scale:
        return colors.scale()
    groups = [colors.of(color) for _, _, color in legend_groups(picture)]
    return [*groups, *([] if picture.asked is None else [colors.ink])]


def _coloring(picture: EmbeddingMap) -> Any:
    """Return what gives each point its colour, the question included: a group's number, or the point's own."""
    n = len(picture.points.ids)
    if picture.is_scale:
        numbers = np.array([np.nan if one is None else float(one) for one in picture.points.values])
        known = numbers[np.isfinite(numbers)]
        # What has no number is drawn as the least; hovering says that it has none.
        filled = np.where(np.isfinite(numbers), numbers, known.min())
        return np.append(filled, known.max())
    groups = legend_groups(picture)
    # The question is a group of its own, the last one.
    group = np.full(n + 1, len(groups), dtype=np.int64)
    for number, (_, which, _) in enumerate(groups):
        group[:n][which] = number
    return group


def legend_groups(picture: EmbeddingMap) -> list[tuple[str, Any, str]]:
    """Return (name, which points, colour) of each group; without a colour all records are one."""
    if picture.color is None:
        return [("", np.ones(len(picture.points.ids), dtype=bool), COLORS[0])]
    return [(name, which, color or GREY) for name, which, color in picture.groups()]


def _frame(picture: EmbeddingMap, color_by: Any) -> Any:
    import pandas as pd

    points = picture.points
    n = len(points.ids)
    at = points.coordinates
    asked = at[:1] if picture.asked is None else picture.asked[None, :]
    # Equal scales: a map has no longer side.
    middle = (at.max(axis=0) + at.min(axis=0)) / 2
    half = float(max(np.ptp(at, axis=0).max() / 2, 1e-9)) * 1.04
    x, y = ((np.concatenate([at, asked]) - middle) / half).T
    names: list[str | None] = [None] * (n + 1)
    weights = np.zeros(n + 1)
    for cluster in picture.clusters:
        if cluster.name:
            for row in cluster.rows.tolist():
                names[row] = cluster.name
            weights[cluster.rows] = len(cluster.rows)
    has_question = picture.asked is not None
    if has_question:
        names[n] = f"{_STAR} {plain(picture.question, 40)}"
        weights[n] = n + 1
    roles = np.append(np.where(points.ranks > 0, 1, 0), 2)
    texts = ["" if one is None else plain(one, _HOVER_CHARACTERS) for one in points.documents]
    values = ["" if one is None else plain(one, 60) for one in points.values]
    columns = {
        "x": x.astype(np.float32),
        "y": y.astype(np.float32),
        "color": pd.Categorical(color_by) if color_by.dtype.kind == "i" else color_by,
        "role": pd.Categorical(roles, categories=[0, 1, 2]),
        "name": names,
        "weight": weights,
        "id": [*(plain(one, 60) for one in points.ids), "the question"],
        "text": [*texts, plain(picture.question, _HOVER_CHARACTERS)],
        "value": [*values, ""],
        "nearest": [str(rank) if rank else "" for rank in (*points.ranks.tolist(), 0)],
    }
    frame = pd.DataFrame(columns)
    return frame if has_question else frame.iloc[:n]
