"""The browser's half of a table: an anywidget whose state is drawn, and which sends back what is clicked."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib import resources
from typing import Any


def new_front_end() -> Any:
    """Return the widget. Its trait ``state`` is what is drawn; ``on_msg`` hears what somebody does."""
    return _front_end()()


@lru_cache(maxsize=1)
def _front_end() -> type[Any]:
    anywidget: Any = importlib.import_module("anywidget")
    traitlets: Any = importlib.import_module("traitlets")

    class RecordTable(anywidget.AnyWidget):  # type: ignore[misc]
        _esm = _read("table.js")
        _css = _read("table.css")
        state = traitlets.Dict().tag(sync=True)

    return RecordTable


def _read(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
