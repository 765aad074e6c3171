"""`new_page_ground`: a widget that nobody sees, and that knows which colour the page has behind it."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

from chroma_nb.widgets.front_end_files import read


def new_page_ground() -> Any:
    """Return the widget. Its trait ``ground`` is ``"#rrggbb"``, and empty until a page has drawn it.

    Raises:
        ImportError: anywidget is missing.
    """
    return _page_ground()()


@lru_cache(maxsize=1)
def _page_ground() -> type[Any]:
    anywidget: Any = importlib.import_module("anywidget")
    traitlets: Any = importlib.import_module("traitlets")

    class PageGround(anywidget.AnyWidget):  # type: ignore[misc]
        _esm = read("themes.js") + read("page_ground.js")
        ground = traitlets.Unicode("").tag(sync=True)

    return PageGround
