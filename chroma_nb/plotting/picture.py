"""`Picture`: a static figure that survives in a saved notebook, wherever that is read."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import require_extra

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

#: Okabe and Ito's colours, which people with any kind of colour vision tell apart
#: (https://jfly.uni-koeln.de/color/), in an order of ours; the yellow is too pale on white.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7a5195", "#8c6d31")
GREY = "#b8bcc2"
INK = "#24292f"
FAINT = "#6b7280"
#: Dots per inch of the screen and of the picture, which is sharp on screens of twice the resolution.
_SCREEN_DPI, _SHARP_DPI = 80, 160
#: A picture is at most so large, so that as base64 it is at most 64 kB of a notebook.
_MOST_BYTES = 46_000
#: What is tried until it is: (dots per inch, colours; 0: all of them).
_SMALLER = ((_SHARP_DPI, 0), (_SHARP_DPI, 128), (_SHARP_DPI, 48), (120, 48), (96, 32), (80, 16))

_UNDRAWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


def label(text: object, limit: int = 40) -> str:
    """Return somebody's text as a label: short, one line, no formula, nothing that cannot be drawn.

    Scripts that the figure's font does not have are shown as ``?``: a picture has one font.
    """
    words = " ".join(_UNDRAWABLE.sub(" ", str(text)[: 4 * limit]).split())
    drawn = "".join(
        one if ord(one) < 0x0530 or 0x2010 <= ord(one) <= 0x2027 else "?" for one in words
    )
    short = drawn if len(drawn) <= limit else drawn[: limit - 1].rstrip() + "…"
    # A pair of dollars would be a formula.
    return short.replace("$", r"\$")


class Picture(ABC):
    """Shows itself as a PNG on white, which reads on light and on dark pages."""

    _png: bytes | None = None

    @property
    @abstractmethod
    def figure(self) -> Any:
        """The matplotlib figure, to change or to save."""

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the figure to a file; the ending says in which format."""
        self.figure.savefig(path, **{"dpi": _SHARP_DPI, **options})

    def _repr_png_(self) -> bytes:
        if self._png is None:
            drawn_dpi = 0
            for dpi, n_colors in _SMALLER:
                if dpi != drawn_dpi:
                    drawn, drawn_dpi = _drawn(self.figure, dpi), dpi
                self._png = _with_colors(drawn, n_colors) if n_colors else drawn
                if len(self._png) <= _MOST_BYTES:
                    break
        assert self._png is not None
        return self._png

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        width, height = self.figure.get_size_inches()
        size = {"width": round(width * _SCREEN_DPI), "height": round(height * _SCREEN_DPI)}
        made = {"text/plain": repr(self), "image/png": self._repr_png_()}
        wanted = {
            kind: content
            for kind, content in made.items()
            if (include is None or kind in include) and (exclude is None or kind not in exclude)
        }
        return wanted, {"image/png": size}


def _drawn(figure: Any, dpi: int) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _with_colors(png: bytes, n_colors: int) -> bytes:
    """Return a picture with so many colours."""
    # matplotlib brings Pillow.
    from PIL import Image

    with Image.open(io.BytesIO(png)) as whole:
        few = whole.convert("RGB").quantize(n_colors, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def new_figure(width: float, height: float, needed_by: str) -> Any:
    """Return a figure of its own, which no global state of matplotlib knows.

    Raises:
        ImportError: matplotlib is missing.
    """
    require_extra("matplotlib", extra="plot", needed_by=needed_by)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def calm(axes: Any) -> None:
    """Take away from axes what is not needed to read them."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#d0d4da")
    axes.tick_params(colors=FAINT, labelsize=8, length=3, color="#d0d4da")
