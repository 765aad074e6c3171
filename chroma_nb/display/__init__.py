"""How objects look in a notebook: views of plain values, filled into autoescaping templates.

`html` and `bundle` are what `Displayed` objects answer with. They never raise, never load a collection
and never wait for long; their bytes depend on nothing but what is shown.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

logger = logging.getLogger("chroma_nb")

#: An output is never larger.
MAX_BYTES = 64 << 10
#: Characters of a text that are shown at once, and of its folded rest; the next where that is too much.
_LIMITS = ((120, 2_000), (120, 200), (40, 0), (12, 0))


def html(shown: object) -> str | None:
    """Return an object as HTML that reads well with and without its styles; None where it cannot be."""
    try:
        from chroma_nb.display.cells import limits
        from chroma_nb.display.render import render

        for first, rest in _LIMITS:
            with limits(first, rest):
                page = render(shown)
            if len(page.encode()) <= MAX_BYTES:
                return page
    except Exception:
        # A cell that shows a traceback instead of its result is worse than one that shows plain text.
        logger.debug("%s cannot be shown as HTML", type(shown).__name__, exc_info=True)
    return None


def text(shown: object) -> str:
    """Return an object as the few lines that a terminal shows."""
    try:
        from chroma_nb.display.plain import plain

        return plain(shown)
    except Exception:
        logger.debug("%s cannot be shown as text", type(shown).__name__, exc_info=True)
        return object.__repr__(shown)


def bundle(
    shown: object,
    include: Collection[str] | None = None,
    exclude: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return what Jupyter asks an object for: MIME type -> content."""
    makers = {"text/plain": text, "text/html": html}
    wanted = [
        kind
        for kind in makers
        if (include is None or kind in include) and (exclude is None or kind not in exclude)
    ]
    made = {kind: makers[kind](shown) for kind in wanted}
    return {kind: content for kind, content in made.items() if content is not None}
