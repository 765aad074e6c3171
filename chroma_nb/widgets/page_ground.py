"""`new_page_ground`: a widget that is not to be seen, and knows which colour the page has behind it."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib import resources
from typing import Any


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
        _esm = (resources.files(__package__) / "page_ground.js").read_text(encoding="utf-8")
        ground = traitlets.Unicode("").tag(sync=True)

    return PageGround
