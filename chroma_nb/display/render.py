"""`render`: a view, filled into its template."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.views import view
from chroma_nb.harmless import clean


def render(shown: object) -> str:
    """Return an object as HTML, with its own styles.

    Raises:
        TypeError: There is no view of such an object.
    """
    template, values = view(shown)
    return fill(template, **values)


def fill(template: str, **values: Any) -> str:
    """Fill one of the templates. Whatever is not markup already is escaped."""
    page: str = _environment().get_template(f"{template}.html").render(**values)
    return page


def style() -> str:
    """Return the style sheet that every output carries."""
    return _read("style.css")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    names = [
        entry.name
        for entry in (resources.files(__package__) / "templates").iterdir()
        if entry.name.endswith(".html")
    ]
    environment = Environment(
        autoescape=True,
        loader=DictLoader({name: _read(name) for name in names}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["bytes"] = format_bytes
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.globals["style"] = Markup(style())
    environment.globals["past"] = ""
    return environment


def _finalize(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8").strip()
