"""`MapColors`: the colours of a live map on a light and on a dark page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chroma_nb.plotting.picture import GREY, INK

_WHITE = "#ffffff"
#: What is too dark for a dark page, and what is there in its place: of the same hue.
_ON_DARK = {
    INK: "#e6e8eb",
    GREY: "#6b7280",
    "#0072b2": "#4aa8e0",
    "#009e73": "#1fb88c",
    "#d55e00": "#f0813a",
    "#7a5195": "#b58fd6",
    "#8c6d31": "#c4a05a",
}
#: Of viridis, which begins in a purple that is nearly black, what is seen on a dark page.
_SEEN_ON_DARK = 0.25
_SHADES = 256


@dataclass(frozen=True)
class MapColors:
    """Colours that are seen on a ground.

    Attributes:
        ground: The page's colour, ``"#rrggbb"``.
    """

    ground: str = _WHITE

    @property
    def is_dark(self) -> bool:
        """Whether white is told from the ground better than black (WCAG 2, relative luminance)."""
        parts = [int(self.ground[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179

    @property
    def ink(self) -> str:
        """The colour of names and of the question."""
        return self.of(INK)

    @property
    def selected(self) -> str:
        """The colour of what is selected."""
        return _WHITE if self.is_dark else "#111111"

    def of(self, color: str) -> str:
        """Return the colour that a point of this colour has here."""
        return _ON_DARK.get(color, color) if self.is_dark else color

    @property
    def tooltip(self) -> str:
        """The ground of what is shown of the record under the mouse."""
        return "#333333" if self.is_dark else _WHITE

    def scale(self) -> list[str]:
        """Return the colours of numbers, the least first."""
        import matplotlib as mpl
        from matplotlib.colors import to_hex

        start = _SEEN_ON_DARK if self.is_dark else 0.0
        step = (1 - start) / (_SHADES - 1)
        return [to_hex(mpl.colormaps["viridis"](start + step * at)) for at in range(_SHADES)]


def colors_on(ground: str) -> MapColors | None:
    """Return the colours for what a page has said of itself; None where that is no colour."""
    return MapColors(ground) if re.fullmatch("#[0-9a-f]{6}", ground) else None
