"""`layers_of`: a figure without a ground, as two layers: what has colours, and what is written, in the page's own colour.

A saved notebook is read on light and on dark pages, and a picture cannot know on which. What is written is therefore a
mask, through which a page shows its own text colour. Pages that take styles away show the same picture with writing in a
grey that is as far from white as from the ground of dark pages.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: As far from white as from #111111, the ground of JupyterLab's dark theme: 4.3 to 1 (WCAG 2), the most that one colour can
#: have on both.
GREY_ON_BOTH = "#797979"
#: Parts of red, green and blue that differ by less are a grey, and greys that are darker than this are writing.
_NEUTRAL = 0.15
_DARK = 0.5
#: Writing that is lighter than this is faint, and gets so much of the page's colour: 4.5 to 1 on any ground where the page's
#: own text has 7 to 1.
_FAINT = 0.3
#: How light the two kinds of writing are drawn (`picture.INK`, `picture.FAINT`): the mean of red, green and blue.
_INK_LIGHT, _FAINT_LIGHT = 0.16, 0.46
_FAINT_SHARE = 0.85
#: In grey, strokes that are thinner than a pixel are drawn so much more opaque.
_BOLDER = 1.4
#: Colours, and steps between opaque and transparent: what is alike packs well.
_COLORS, SHADES = 20, 4
#: Bits of a pixel of the mask.
_MASK_BITS = 2


@dataclass(frozen=True)
class Layers:
    """A figure in two layers.

    Attributes:
        colored: Shape (height, width, 4), uint8: red, green, blue and opacity of what has colours.
        written: Shape (height, width), uint8: how much of a pixel is written.
        shown: Likewise: how much of the page's text colour it gets, which for faint writing is less.
    """

    colored: NDArray[np.uint8]
    written: NDArray[np.uint8]
    shown: NDArray[np.uint8]

    def png(self) -> bytes:
        """Return both layers as one picture with a transparent ground, and writing in grey."""
        from matplotlib.colors import to_rgb
        from PIL import Image

        # Entry 0 of the palette is the ground, then come the colours in each step of opacity.
        pixels = np.zeros(self.written.shape, dtype=np.uint8)
        palette = np.zeros((_COLORS, 3), dtype=np.uint8)
        some = (self.written > 0) | (self.colored[..., 3] > 0)
        if some.any():
            colored = self.colored[some].astype(np.float32) / 255
            over = self.written[some].astype(np.float32)[:, None] / 255
            under = colored[:, 3:] * (1 - over)
            opacity = over + under
            grey = np.asarray(to_rgb(GREY_ON_BOTH), dtype=np.float32)
            colors = (grey * over + colored[:, :3] * under) / np.maximum(opacity, np.float32(1e-6))
            line = Image.fromarray(np.round(colors * 255).astype(np.uint8)[None])
            few = line.quantize(_COLORS, kmeans=1, dither=Image.Dither.NONE)
            found = np.array(few.getpalette(), dtype=np.uint8).reshape(-1, 3)[:_COLORS]
            palette[: len(found)] = found
            steps = np.round(opacity[:, 0] * SHADES).astype(np.int64)
            places = 1 + np.asarray(few)[0] + _COLORS * (steps - 1)
            pixels[some] = np.where(steps > 0, places, 0)
        whole = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
        whole.putpalette(np.vstack([palette[:1], np.tile(palette, (SHADES, 1))]).tobytes())
        opacities = [0, *(255 * step // SHADES for step in range(1, SHADES + 1) for _ in palette)]
        return _packed(whole, transparency=bytes(opacities))

    def mask(self) -> bytes:
        """Return the writing alone: a picture that is as opaque as it is to be seen."""
        from PIL import Image

        last = 2**_MASK_BITS - 1
        levels = np.round(self.shown.astype(np.float32) * (last / 255)).astype(np.uint8)
        mask = Image.frombytes("P", levels.shape[::-1], levels.tobytes())
        mask.putpalette([0, 0, 0] * (last + 1))
        opacities = bytes(round(255 * level / last) for level in range(last + 1))
        return _packed(mask, bits=_MASK_BITS, transparency=opacities)


def layers_of(figure: Any, dpi: int) -> Layers:
    """Return a matplotlib figure in two layers; it is left as it was.

    Args:
        figure: Without a ground: see `has_ground`.
        dpi: Dots per inch.
    """
    figure.draw_without_rendering()
    layout = figure.get_layout_engine()
    # Each layer has everything in its place.
    figure.set_layout_engine("none")
    try:
        parts = [one for one in figure.findobj() if not one.get_children() and one.get_visible()]
        lights = {id(one): light for one in parts if (light := _light_of(one)) is not None}
        grounds = list(_grounds(figure))

        def drawn(which: Callable[[float | None], bool]) -> NDArray[np.uint8]:
            hidden = [one for one in parts if not which(lights.get(id(one)))]
            return _drawn_without([*hidden, *grounds], figure, dpi)

        colored = drawn(lambda light: light is None)
        opacity, written = _dark(
            drawn(lambda light: light is not None and light < _FAINT), _INK_LIGHT
        )
        faint_opacity, faint = _dark(
            drawn(lambda light: light is not None and light >= _FAINT), _FAINT_LIGHT
        )
    finally:
        figure.set_layout_engine(layout)
    # White around writing is a gap, where the page is seen.
    colored[..., 3] = np.round(colored[..., 3] * (1 - opacity) * (1 - faint_opacity))
    shown = np.maximum(written, _FAINT_SHARE * faint)
    written = np.minimum(_BOLDER * np.maximum(written, faint), 1)
    return Layers(colored, *(np.round(255 * one).astype(np.uint8) for one in (written, shown)))


def _dark(
    drawn: NDArray[np.uint8], lightest: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how opaque each pixel is, and how much of it is as dark as that, 0 to 1."""
    opacity: NDArray[np.float32] = drawn[..., 3].astype(np.float32) / np.float32(255)
    dark: NDArray[np.float32] = 1 - drawn[..., :3].mean(axis=2, dtype=np.float32) / np.float32(255)
    return opacity, np.minimum(opacity * dark / np.float32(1 - lightest), np.float32(1))


def has_ground(figure: Any) -> bool:
    """Return whether somebody has given a figure a ground, which then is that of its writing."""
    from matplotlib.colors import to_rgba

    colors = [to_rgba(one.get_facecolor()) for one in _grounds(figure) if one.get_visible()]
    return any(color[3] > 0 and color[:3] != (1, 1, 1) for color in colors)


def plain_png(figure: Any, dpi: int, n_colors: int) -> bytes:
    """Return a figure on its own ground."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    with Image.open(buffer) as whole:
        return _packed(whole.convert("RGB").quantize(n_colors, dither=Image.Dither.NONE))


def _grounds(figure: Any) -> Iterator[Any]:
    yield figure.patch
    for axes in figure.axes:
        yield axes.patch


def _light_of(part: Any) -> float | None:
    """Return how light something is that is drawn in black or dark greys alone, as text and its marks are; None of others."""
    from matplotlib.colors import to_rgba_array
    from matplotlib.text import Text

    if getattr(part, "get_array", lambda: None)() is not None:
        # Colours of numbers.
        return None
    names = (
        ("get_color",)
        if isinstance(part, Text)
        else ("get_facecolor", "get_edgecolor", "get_color")
    )
    makers = [getattr(part, name) for name in names if hasattr(part, name)]
    if not makers:
        return None
    colors = np.vstack([to_rgba_array(make()) for make in makers])
    seen = colors[colors[:, 3] > 0, :3]
    if not len(seen) or np.ptp(seen, axis=1).max() >= _NEUTRAL:
        return None
    darkest = float(seen.mean(axis=1).min())
    return darkest if darkest < _DARK else None


def _drawn_without(hidden: list[Any], figure: Any, dpi: int) -> NDArray[np.uint8]:
    """Return the pixels of a figure without some of its parts: shape (height, width, 4)."""
    from matplotlib import rc_context
    from PIL import Image

    buffer = io.BytesIO()
    try:
        for one in hidden:
            # What is not visible has no place, by which others have theirs: the titles of axes stand side by side.
            vars(one)["draw"] = _draw_nothing
        # Somebody may have settings by which each part would be cut to its own size.
        with rc_context({"savefig.bbox": None}):
            figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 0})
    finally:
        for one in hidden:
            vars(one).pop("draw", None)
    with Image.open(buffer) as drawn:
        return np.array(drawn.convert("RGBA"))


def _draw_nothing(renderer: Any, *arguments: Any, **options: Any) -> None:
    """Stand in for an artist's `draw`."""


def _packed(picture: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True, **options)
    return buffer.getvalue()
