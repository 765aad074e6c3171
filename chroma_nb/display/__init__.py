"""How objects look in a notebook: views of plain values, filled into autoescaping templates.

`html` and `bundle` are what `Displayed` objects answer with. They never raise, never load a collection
and never wait for long; their bytes depend on nothing but what is shown.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from chroma_nb.display.extent import ROWS, Extent, showing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

logger = logging.getLogger("chroma_nb")


def html(shown: object, extent: Extent | None = None) -> str | None:
    """Return an object as HTML that reads well with and without its styles; None where it cannot be."""
    try:
        from chroma_nb.display.render import render

        page, fits = _made_to_fit(render, shown, extent)
    except Exception:
        # A cell that shows a traceback instead of its result is worse than one that shows plain text.
        logger.debug("%s cannot be shown as HTML", type(shown).__name__, exc_info=True)
        return None
    return page if fits else None


def text(shown: object, extent: Extent | None = None) -> str:
    """Return an object as the few lines that a terminal shows."""
    try:
        from chroma_nb.display.plain import plain

        return _made_to_fit(plain, shown, extent)[0]
    except Exception:
        logger.debug("%s cannot be shown as text", type(shown).__name__, exc_info=True)
        return object.__repr__(shown)


def _made_to_fit(
    make: Callable[[object], str], shown: object, extent: Extent | None
) -> tuple[str, bool]:
    """Return the largest output that is not too large, or the smallest that there is; and whether it fits."""
    wanted = extent or Extent()
    for some in wanted.ever_less(getattr(shown, "display_rows", ROWS)):
        with showing(some):
            made = make(shown)
        if len(made.encode()) <= some.max_bytes:
            return made, True
    return made, False


def show(shown: object, extent: Extent) -> None:
    """Show an object at once: in IPython and marimo as rich output, elsewhere as text."""
    ipython, marimo = sys.modules.get("IPython"), sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        marimo.output.append(marimo.Html(html(shown, extent) or ""))
    elif ipython is not None and ipython.get_ipython() is not None:
        ipython.display.publish_display_data(bundle(shown, extent=extent))
    else:
        print(text(shown, extent))


def bundle(
    shown: object,
    include: Collection[str] | None = None,
    exclude: Collection[str] | None = None,
    extent: Extent | None = None,
) -> dict[str, Any]:
    """Return what Jupyter asks an object for: MIME type -> content."""
    makers = {"text/plain": text, "text/html": html}
    wanted = [
        kind
        for kind in makers
        if (include is None or kind in include) and (exclude is None or kind not in exclude)
    ]
    made = {kind: makers[kind](shown, extent) for kind in wanted}
    return {kind: content for kind, content in made.items() if content is not None}
