"""`Displayed`: objects that show themselves in a notebook, without knowing any markup.

What they look like is `chroma_nb.display`'s affair. It is looked up by name when something is first
shown, so that the core neither depends on it nor pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.importing import import_module

if TYPE_CHECKING:
    from collections.abc import Collection


class Displayed:
    """Gives an object the methods that Jupyter, Colab, VS Code and marimo ask for.

    It comes first among the bases: where a class is a dict as well, IPython takes what it meets first.
    """

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython would print a subclass of dict or list as one.
        printer.text(repr(self) if cycle else _display().text(self))

    def _repr_html_(self) -> str | None:
        return html_of(self)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        return bundle_of(self, include, exclude)


def html_of(shown: object) -> str | None:
    """Return an object as HTML, None where it cannot be shown."""
    html: str | None = _display().html(shown)
    return html


def bundle_of(
    shown: object,
    include: Collection[str] | None = None,
    exclude: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return an object in the forms that a front end may choose from, by MIME type."""
    bundle: dict[str, Any] = _display().bundle(shown, include, exclude)
    return bundle


def _display() -> Any:
    return import_module("chroma_nb.display")
