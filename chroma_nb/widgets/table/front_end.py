"""The browser's half of a table: an anywidget whose state is drawn, and which sends back what is clicked."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

from chroma_nb.widgets.front_end_files import read


def new_front_end() -> Any:
    """Return the widget. Its trait ``state`` is what is drawn; ``on_msg`` hears what somebody does."""
    return _front_end()()


@lru_cache(maxsize=1)
def _front_end() -> type[Any]:
    anywidget: Any = importlib.import_module("anywidget")
    traitlets: Any = importlib.import_module("traitlets")

    class RecordTable(anywidget.AnyWidget):  # type: ignore[misc]
        _esm = read("themes.js") + read("table/table.js")
        _css = read("table/table.css")
        state = traitlets.Dict().tag(sync=True)

        def end(self, html: str) -> None:
            """Show what is shown, and take no more clicks. Its browser needs no `html` for that."""
            self.state = {**self.state, "ended": True}

    return RecordTable
