"""`Picture`: a static figure that survives in a saved notebook, wherever that is read."""

from __future__ import annotations

import base64
import dataclasses
import functools
import logging
import re
import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from chroma_nb.display.extent import MAX_BYTES
from chroma_nb.lazy import require_extra
from chroma_nb.plotting.layers import has_ground, layers_of, plain_png

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator

logger = logging.getLogger("chroma_nb")

#: Okabe and Ito's colours, which people with any kind of colour vision tell apart
#: (https://jfly.uni-koeln.de/color/), in an order of ours; the yellow is too pale on white.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7a5195", "#8c6d31")
GREY = "#b8bcc2"
INK = "#24292f"
FAINT = "#6b7280"
#: Of axes.
_LINE = "#878c94"
#: What is too pale for a white page or too dark for a dark one, and what is there in its place: of the same hue, with a
#: contrast of 3 to 1 on white, on #111111 and on #1f1f1f, the grounds of JupyterLab and VS Code (WCAG 2).
_ON_ANY = {
    "#0072b2": "#1275b5",
    "#e69f00": "#c58700",
    "#56b4e9": "#3b9bd3",
    "#7a5195": "#8c5cae",
    GREY: "#8a9099",
}
#: The colours of numbers, the least first: from blue to orange, which people with any kind of colour vision tell apart,
#: as light as those above.
SCALE = ("#2b76d6", "#8a63d2", "#bd55a8", "#d4615f", "#cc7f2a")
#: Dots per inch of the screen, and of a file.
_SCREEN_DPI, _FILE_DPI = 80, 160
#: What is tried until an output is small enough: dots per inch of the picture on a page, which are more than a screen's as
#: many screens are finer, and of the one for paper and consoles.
_SMALLER = ((120, 120), (120, 96), (120, 80), (108, 80), (96, 80), (80, 80), (80, 60), (60, 40))
#: Likewise of a picture with a ground: dots per inch, colours.
_SMALLER_ON_GROUND = ((120, 128), (120, 32), (96, 16), (60, 8))

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


def on_any(color: str) -> str:
    """Return the colour that is there in a picture, which does not know its page, in place of one of `COLORS`."""
    return _ON_ANY.get(color, color)


@dataclasses.dataclass(frozen=True)
class _Output:
    """A picture as an output.

    Attributes:
        html: For pages: without a ground, and with writing in their own colour. None where the figure has a ground.
        png: For paper and consoles.
    """

    html: str | None
    png: bytes

    @property
    def n_bytes(self) -> int:
        """What it takes in a notebook."""
        return len((self.html or "").encode()) + len(base64.encodebytes(self.png))


class Picture(ABC):
    """Shows itself without a ground, with writing in the page's own colour; elsewhere as a PNG."""

    _output: _Output | None = None

    @property
    @abstractmethod
    def figure(self) -> Any:
        """The matplotlib figure, to change or to save."""

    @property
    @abstractmethod
    def _about(self) -> str:
        """What is on it, for those who do not see it."""

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the figure to a file; the ending says in which format."""
        self.figure.savefig(path, **{"dpi": _FILE_DPI, **options})

    def _made(self) -> _Output:
        if self._output is None:
            makes = self._on_ground() if has_ground(self.figure) else self._on_any_page()
            for output in makes:
                self._output = output
                if output.n_bytes + len(repr(self)) <= MAX_BYTES:
                    break
            else:
                # Somebody has made the figure huge.
                self._output = dataclasses.replace(output, html=None)
        return self._output

    def _on_any_page(self) -> Iterator[_Output]:
        """Yield the picture, ever smaller."""
        layers = functools.lru_cache(maxsize=2)(functools.partial(layers_of, self.figure))
        for on_page, on_paper in _SMALLER:
            page = layers(on_page)
            yield _Output(self._html(page.png(), page.mask()), layers(on_paper).png())

    def _on_ground(self) -> Iterator[_Output]:
        for dpi, n_colors in _SMALLER_ON_GROUND:
            yield _Output(None, plain_png(self.figure, dpi, n_colors))

    def _html(self, png: bytes, mask: bytes) -> str:
        """Return two PNGs as HTML. Where a page takes its styles away, the first is left."""
        from chroma_nb.display.render import fill

        width, height = self._size()
        shown, written = (base64.b64encode(one).decode("ascii") for one in (png, mask))
        values = {"about": self._about, "width": width, "height": height}
        key = f"{zlib.crc32(png + mask):08x}"
        return fill("picture", png=shown, mask=written, key=key, **values)

    def _size(self) -> tuple[int, int]:
        """Return width and height on the screen, pixels."""
        width, height = self.figure.get_size_inches()
        return round(width * _SCREEN_DPI), round(height * _SCREEN_DPI)

    def _repr_png_(self) -> bytes | None:
        found: bytes | None = self._repr_mimebundle_()[0].get("image/png")
        return found

    def _repr_html_(self) -> str | None:
        found: str | None = self._repr_mimebundle_()[0].get("text/html")
        return found

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        about: dict[str, Any] = {}
        try:
            output = self._made()
        except Exception as error:
            # A cell that shows a traceback instead of its result is worse than one that says what is missing.
            logger.debug("%s cannot be drawn", type(self).__name__, exc_info=True)
            found: dict[str, Any] = {"text/plain": f"{self!r}: cannot be drawn: {error}"}
        else:
            found = {"text/plain": repr(self), "image/png": output.png}
            if output.html is not None:
                found["text/html"] = output.html
            width, height = self._size()
            about = {"image/png": {"width": width, "height": height}}
        wanted = {
            kind: content
            for kind, content in found.items()
            if (include is None or kind in include) and (exclude is None or kind not in exclude)
        }
        return wanted, about


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
    # Whatever style somebody has chosen for matplotlib.
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
    axes.tick_params(colors=FAINT, labelsize=8, length=3, color=_LINE)
