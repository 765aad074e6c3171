"""`draw_map`: the static figure of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.plotting.layers import SHADES
from chroma_nb.plotting.picture import (
    COLORS,
    FAINT,
    GREY,
    INK,
    SCALE,
    calm,
    label,
    new_figure,
    on_any,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chroma_nb.plotting.embedding_map import EmbeddingMap

_DARK = "#111111"
#: More records are drawn as a picture of cells, whose size does not grow with them.
_MOST_DOTS = 2_000
#: Its cells, across and down. Fewer than `_MANY` records have larger ones, the side at most 1 / `_LEAST` as long.
_CELLS = (300, 220)
_MANY = 8_000
_LEAST = 0.6
#: How opaque a cell with a single record is.
_FAINTEST = 0.5
_NAME_SIZE = 8.5
#: Room around a name that no other name may be in, pixels.
_AROUND = 3


def draw_map(picture: EmbeddingMap) -> Any:
    """Return the figure of a map."""
    figure = new_figure(8.4, 5.4, "collection.plot()")
    axes = figure.subplots()
    if len(picture.points.ids) > _MOST_DOTS:
        _draw_cells(figure, axes, picture)
    else:
        _draw_dots(figure, axes, picture)
    _draw_answer(axes, picture)
    axes.set_title(
        label(picture.name, 60), loc="left", color=INK, fontsize=12, pad=22, weight="bold"
    )
    axes.text(
        0, 1.02, label(picture.subtitle, 160), transform=axes.transAxes, color=FAINT, fontsize=9
    )
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        legend = axes.legend(
            title=label(picture.color) if picture.color and not picture.is_scale else None,
            **place,
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            title_fontsize=9,
            alignment="left",
            handletextpad=0.3,
        )
        legend.get_title().set_color(INK)
        for handle in legend.legend_handles:
            handle.set_sizes([90 if handle.get_label() == _star(picture) else 36])
            handle.set_alpha(1)
    calm(axes)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    _draw_names(figure, axes, picture)
    return figure


def _numbers(picture: EmbeddingMap) -> NDArray[np.float64]:
    values = picture.points.values
    return np.array([np.nan if one is None else float(one) for one in values])


def _draw_dots(figure: Any, axes: Any, picture: EmbeddingMap) -> None:
    x, y = picture.points.coordinates.T
    size = float(np.clip(9_000 / max(1, len(x)), 5, 42))
    # Opaque: what shines through would be paler on a white page, and darker on a dark one.
    dots = {"s": size, "linewidths": 0}
    if picture.is_scale:
        values = _numbers(picture)
        known = np.isfinite(values)
        axes.scatter(x[~known], y[~known], c=on_any(GREY), **dots)
        drawn = axes.scatter(x[known], y[known], c=values[known], cmap=_scale(), **dots)
        _draw_scale(figure, axes, drawn, picture)
    elif picture.color is None:
        axes.scatter(x, y, c=on_any(COLORS[0]), **dots)
    else:
        for name, which, color in picture.groups():
            axes.scatter(x[which], y[which], c=on_any(color), label=label(name, 24), **dots)


def _scale() -> Any:
    """Return the colours of numbers."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("chroma_nb", SCALE)


def _draw_scale(figure: Any, axes: Any, drawn: Any, picture: EmbeddingMap) -> None:
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=FAINT, labelsize=8, length=0)
    bar.set_label(label(picture.color), color=FAINT, fontsize=9)


def _draw_cells(figure: Any, axes: Any, picture: EmbeddingMap) -> None:
    """Draw the records as cells: the colour is the mean of theirs, and the more they are, the more opaque it is."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, to_rgb

    n = len(picture.points.ids)
    colors = np.empty((n, 3))
    if picture.is_scale:
        values = _numbers(picture)
        known = np.isfinite(values)
        norm = Normalize(float(values[known].min()), float(values[known].max()))
        colors[:] = to_rgb(on_any(GREY))
        colors[known] = _scale()(norm(values[known]))[:, :3]
        _draw_scale(figure, axes, ScalarMappable(norm, _scale()), picture)
    elif picture.color is None:
        colors[:] = to_rgb(on_any(COLORS[0]))
    else:
        for name, which, color in picture.groups():
            colors[which] = to_rgb(on_any(color))
            axes.scatter([], [], c=on_any(color), s=30, linewidths=0, label=label(name, 24))
    across, down = (round(min(1, max(_LEAST, (n / _MANY) ** 0.5)) * one) for one in _CELLS)
    at = picture.points.coordinates.astype(np.float64)
    low = at.min(axis=0)
    size = np.maximum(at.max(axis=0) - low, 1e-9)
    cells = np.minimum(
        ((at - low) / size * (across, down)).astype(np.int64), (across - 1, down - 1)
    )
    flat = cells[:, 1] * across + cells[:, 0]
    counts = np.bincount(flat, minlength=across * down)
    some = counts > 0
    image = np.zeros((across * down, 4))
    for channel in range(3):
        total = np.bincount(flat, weights=colors[:, channel], minlength=across * down)
        image[some, channel] = total[some] / counts[some]
    # Few distinct values: what is alike packs well.
    high = np.log1p(np.percentile(counts[some], 99))
    shade = _FAINTEST + (1 - _FAINTEST) * np.minimum(1, np.log1p(counts[some]) / max(high, 1e-9))
    image[some, 3] = np.round(shade * SHADES) / SHADES
    (left, bottom), (right, top) = low, low + size
    axes.imshow(
        image.reshape(down, across, 4),
        extent=(left, right, bottom, top),
        origin="lower",
        interpolation="nearest",
        aspect="auto",
    )
    axes.update_datalim([(left, bottom), (right, top)])


def _star(picture: EmbeddingMap) -> str:
    return label(picture.question, 24)


def _draw_answer(axes: Any, picture: EmbeddingMap) -> None:
    x, y = picture.points.coordinates.T
    near = np.flatnonzero(picture.points.ranks)
    if len(near):
        axes.scatter(
            x[near],
            y[near],
            s=70,
            facecolors="none",
            edgecolors=_DARK,
            linewidths=1.2,
            label=f"nearest {len(near)}",
            zorder=5,
        )
        for row in near:
            axes.annotate(
                str(picture.points.ranks[row]),
                (x[row], y[row]),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
                color=_DARK,
                zorder=6,
                path_effects=_halo(2),
            )
    if picture.asked is not None:
        axes.scatter(
            [picture.asked[0]],
            [picture.asked[1]],
            marker="*",
            s=190,
            c=_DARK,
            edgecolors="white",
            linewidths=0.8,
            label=_star(picture),
            zorder=9,
        )


def _halo(width: float) -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="white", alpha=0.85)]


def _draw_names(figure: Any, axes: Any, picture: EmbeddingMap) -> None:
    """Name the clusters, the largest first; a name that would lie on another, or on the answer, is left out."""
    named = [one for one in picture.clusters if one.name and "?" not in label(one.name)]
    if len(named) < 2:
        # Of a single cluster nothing is told apart.
        return
    # Sizes in pixels are known when everything else has its place.
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    marks = picture.points.coordinates[picture.points.ranks > 0]
    if picture.asked is not None:
        marks = np.vstack([marks, picture.asked])
    taken: list[NDArray[np.float64]] = []
    for x, y in axes.transData.transform(marks) if len(marks) else ():
        taken.append(np.array([x - 9, y - 9, x + 9, y + 9]))
    for one in named:
        text = axes.text(
            *one.center,
            label(one.name, 30),
            fontsize=_NAME_SIZE,
            color=INK,
            weight="bold",
            ha="center",
            va="center",
            zorder=7,
            path_effects=_halo(2.6),
        )
        extent = text.get_window_extent(renderer)
        for shift in (0.0, 1.3, -1.3, 2.6, -2.6):
            box = np.array([*extent.min, *extent.max]) + [0, shift * extent.height] * 2
            fits = inside.x0 <= box[0] and box[2] <= inside.x1
            fits = fits and inside.y0 <= box[1] and box[3] <= inside.y1
            if fits and not any(_overlap(box, other) for other in taken):
                moved = (box[:2] + box[2:]) / 2
                text.set_position(axes.transData.inverted().transform(moved))
                taken.append(box)
                break
        else:
            text.remove()


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    apart = np.any(one[:2] > other[2:] + _AROUND) or np.any(other[:2] > one[2:] + _AROUND)
    return not apart
