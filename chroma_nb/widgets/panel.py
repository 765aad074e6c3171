"""`Panel`: a live widget that leaves an HTML snapshot in the saved notebook.

A saved widget whose kernel is gone shows an error in JupyterLab and nothing on GitHub. So a panel is
two outputs: the widget, and a snapshot of what it shows. The snapshot's own style hides it while the
widget beside it is alive, and hides the error in its place when it is not; where styles are removed,
both are there and the snapshot is readable.
"""

from __future__ import annotations

import functools
import importlib
import threading
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.display.render import fill
from chroma_nb.lazy import is_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: Places in marimo that show the same panel.
_MIRRORS = 4
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Panel(ABC):
    """What every live panel has: display, snapshot, callbacks whose errors can be seen, an end.

    Without ipywidgets a panel is its snapshot and a line that says how to get the live one.
    """

    #: What a live panel is made of, and what brings that.
    _packages: ClassVar[tuple[str, ...]] = ("ipywidgets",)
    _install: ClassVar[str] = "ipywidgets"
    #: Whether a line below the panel shows its messages; else it shows them itself. No widget is made to be closed at once:
    #: where JupyterLab sees one close, it may end the subshell of the kernel that hears all others.
    _has_status: ClassVar[bool] = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._closed = False
        self._display_ids: list[str] = []
        self._shown_snapshot = ""
        #: The mirrors of each place in marimo, the oldest first.
        self._mirrors: list[list[Any]] = []
        self._root: Any = None
        self._status: Any = None
        if all(map(is_installed, self._packages)):
            import ipywidgets

            if self._has_status:
                self._status = ipywidgets.HTML()
            self._root = self._build(ipywidgets)
            self._root.add_class("cnb-live")

    @abstractmethod
    def _build(self, w: Any) -> Any:
        """Return the root widget, made with the ipywidgets module `w`."""

    @abstractmethod
    def _snapshot(self) -> str:
        """Return what the panel shows as HTML without widgets."""

    # -- showing ------------------------------------------------------------------------------

    def _repr_html_(self) -> str:
        return self._with_hint("" if self._root is not None else f"pip install {self._install}")

    def _with_hint(self, live: str) -> str:
        """Return the snapshot; `live` is what has to be done to get the live panel."""
        hint = f"For the live panel: {live}" if live else ""
        return fill("snapshot", content=self._snapshot(), hint=hint)

    def _view(self) -> dict[str, Any]:
        # Written by hand: ipywidgets 7 has no public bundle, and both take this.
        return {"version_major": 2, "version_minor": 0, "model_id": self._root.model_id}

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        made: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self._root is not None and not self._closed:
            made[_WIDGET_VIEW] = self._view()
        return {
            kind: content
            for kind, content in made.items()
            if (include is None or kind in include) and (exclude is None or kind not in exclude)
        }

    def _display_(self) -> Any:
        """Return what marimo shows, which runs anywidget and not ipywidgets' own controls: the panel as one."""
        if self._root is None or self._closed or not is_installed("anywidget"):
            return _Page(
                self._with_hint("" if self._closed else "pip install ipywidgets anywidget")
            )
        (mirror,) = self._new_mirrors(self._root)
        return mirror

    def _new_mirrors(self, *roots: Any) -> list[Any]:
        """Return mirrors of parts of the panel, for one more place in marimo."""
        # Each time new ones: marimo ends those of a cell that it runs again.
        mirrors = [self._mirror_of(one) for one in roots]
        self._mirrors.append(mirrors)
        while len(self._mirrors) > _MIRRORS:
            _end(self._mirrors.pop(0), self._repr_html_())
        return mirrors

    def _mirror_of(self, root: Any) -> Any:
        """Return a part of the panel as one anywidget; `end(html)` makes it show this alone."""
        from chroma_nb.widgets.mirror import mirror_of

        return mirror_of(root, lambda error: self._say(f"{type(error).__name__}: {error}"))

    def _ipython_display_(self) -> None:
        if self._root is not None and not self._closed:
            _publish({_WIDGET_VIEW: self._view(), "text/plain": repr(self)})
        # The browser draws while it is made, which takes some time where it is a picture.
        snapshot = self._shown_snapshot = self._repr_html_()
        self._display_ids = [*self._display_ids, uuid.uuid4().hex][-4:]
        _publish({"text/html": snapshot, "text/plain": repr(self)}, self._display_ids[-1])

    def _update_snapshots(self) -> None:
        """Bring the saved notebook's picture up to date, if there is one and it changed."""
        if not self._display_ids:
            return
        snapshot = self._repr_html_()
        if snapshot == self._shown_snapshot:
            return
        self._shown_snapshot = snapshot
        for one in self._display_ids:
            _publish({"text/html": snapshot, "text/plain": repr(self)}, one, update=True)

    # -- acting -------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        """Show a line under the panel; an empty one takes it away."""
        self._set(self._status, "value", fill("message", message=message) if message else "")

    @staticmethod
    def _set(widget: Any, trait: str, value: Any) -> None:
        """Set a trait if it is another value: what does not change sends nothing."""
        if widget is not None and getattr(widget, trait) != value:
            setattr(widget, trait, value)

    def _safely(self, act: Callable[..., None]) -> Callable[..., None]:
        """Return a callback whose error is shown in the panel; Jupyter would hide it in a log."""

        @functools.wraps(act)
        def callback(*arguments: Any) -> None:
            if self._closed:
                return
            with self._lock:
                try:
                    self._say("")
                    act(*arguments)
                except Exception as error:
                    self._say(f"{type(error).__name__}: {error}")

        return callback

    # -- the end ------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the panel was closed."""
        return self._closed

    def close(self) -> None:
        """End the live panel: its widgets go, its snapshot stays. Closing twice is allowed."""
        with self._lock:
            if self._closed:
                return
            self._update_snapshots()
            self._closed = True
            snapshot = self._repr_html_() if self._mirrors else ""
            for mirrors in self._mirrors:
                _end(mirrors, snapshot)
            if self._root is not None:
                close_tree(self._root)

    def __enter__(self) -> Panel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _end(mirrors: list[Any], snapshot: str) -> None:
    """End the mirrors of one place: it shows the snapshot from now on."""
    for at, one in enumerate(mirrors):
        one.end("" if at else snapshot)


class _Page:
    """HTML for front ends that take it from an object."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html


def _publish(data: dict[str, Any], display_id: str = "", *, update: bool = False) -> None:
    publish: Any = importlib.import_module("IPython.display").publish_display_data
    publish(data, transient={"display_id": display_id} if display_id else {}, update=update)


def close_tree(widget: Any) -> None:
    """Close a widget with its children, layouts and styles, which ipywidgets would keep for ever."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    for part in ("layout", "style"):
        # Other people's widgets may have something else by this name.
        close = getattr(getattr(widget, part, None), "close", None)
        if close is not None:
            close()
    widget.close()
