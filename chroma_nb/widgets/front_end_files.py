"""`read`: the scripts and styles that go to the browser."""

from __future__ import annotations

from importlib import resources


def read(name: str) -> str:
    """Return a file of this folder as text; `name` may have a folder: ``"table/table.js"``."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
