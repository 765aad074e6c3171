"""`Displayed`: objects that Jupyter shows as tables and sentences, without knowing any markup.

What they look like is the affair of the rest of this package, which is imported when something is first
shown. It knows the objects by what they give and imports none of their modules, so all of them may import
this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb import display

if TYPE_CHECKING:
    from collections.abc import Collection


class Displayed:
    """Gives an object the methods that Jupyter, Colab, VS Code and marimo ask for.

    It comes first among the bases: where a class is a dict as well, IPython takes what it meets first.
    """

    __slots__ = ()

    #: Which of `chroma_nb.display.views.VIEWS` shows such an object.
    _view: ClassVar[str]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython would print a subclass of dict or list as one.
        printer.text(repr(self) if cycle else display.text(self))

    def _repr_html_(self) -> str | None:
        return display.html(self)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        return display.bundle(self, include, exclude)
