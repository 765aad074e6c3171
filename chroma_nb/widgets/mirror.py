"""`mirror_of`: a panel of ipywidgets' controls as one anywidget, for front ends that run anywidget alone (marimo).

A panel is written once, with ipywidgets' standard controls. The mirror sends what they show, and `mirror.js` makes native
elements of it; what somebody does to these comes back as a message, and is done to the control.
"""

from __future__ import annotations

import datetime
import threading
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from chroma_nb.display.facts import HAS_THREADS
from chroma_nb.display.render import style
from chroma_nb.widgets.front_end_files import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Changes that come this close together are sent as one, seconds.
_PAUSE_SECONDS = 0.03

_SAID = ("description", "disabled", "tooltip")
_CHOICE = (*_SAID, "index")
_RANGE = (*_SAID, "value", "min", "max", "step")
#: A control's model -> what it becomes, and its traits that are shown.
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "HTMLModel": ("html", ("value",)),
    "LabelModel": ("label", ("value",)),
    "ButtonModel": ("button", _SAID),
    "ToggleButtonModel": ("toggle", (*_SAID, "value")),
    "CheckboxModel": ("check", (*_SAID, "value")),
    "TextModel": ("text", (*_SAID, "value", "placeholder", "continuous_update")),
    "TextareaModel": ("lines", (*_SAID, "value", "placeholder", "continuous_update")),
    "ComboboxModel": (
        "suggested",
        (*_SAID, "value", "placeholder", "continuous_update", "options"),
    ),
    "DatePickerModel": ("day", (*_SAID, "value", "min", "max")),
    "DropdownModel": ("choice", _CHOICE),
    "SelectModel": ("choice", _CHOICE),
    "RadioButtonsModel": ("choice", _CHOICE),
    "ToggleButtonsModel": ("choice", _CHOICE),
    "SelectionSliderModel": ("steps", _CHOICE),
    "IntSliderModel": ("slider", _RANGE),
    "FloatSliderModel": ("slider", _RANGE),
    "IntRangeSliderModel": ("span", _RANGE),
    "FloatRangeSliderModel": ("span", _RANGE),
    "IntTextModel": ("number", (*_SAID, "value", "step")),
    "FloatTextModel": ("number", (*_SAID, "value", "step")),
    "BoundedIntTextModel": ("number", _RANGE),
    "BoundedFloatTextModel": ("number", _RANGE),
    "BoxModel": ("column", ()),
    "VBoxModel": ("column", ()),
    "HBoxModel": ("row", ()),
    "GridBoxModel": ("column", ()),
    "TabModel": ("column", ()),
    "AccordionModel": ("column", ()),
}


def mirror_of(root: Any, on_error: Callable[[Exception], None]) -> Any:
    """Return an anywidget that shows a tree of controls and acts on it.

    Args:
        root: The root of the tree.
        on_error: Gets what goes wrong where a control is told what somebody did.

    Raises:
        ImportError: anywidget is missing: ``pip install anywidget``.
    """
    return _mirror_class()(root, on_error)


@lru_cache(maxsize=1)
def _mirror_class() -> Any:
    """Return the class, which cannot be made without anywidget."""
    import anywidget
    import traitlets

    class PanelMirror(anywidget.AnyWidget):  # type: ignore[misc]
        _esm = read("themes.js") + read("mirror.js")
        _css = style() + read("mirror.css")
        #: ``{"root": id, "nodes": {id: node}}``, see `Mirrored.tree`.
        tree = traitlets.Dict().tag(sync=True)

        def __init__(self, root: Any, on_error: Callable[[Exception], None]) -> None:
            self._mirrored = Mirrored(root, self._show, on_error)
            super().__init__(tree=self._mirrored.tree())
            self._mirrored.watch()
            self.on_msg(lambda _, message, __: self._mirrored.act(message))

        def _show(self, tree: dict[str, Any]) -> None:
            if self.tree != tree:
                self.tree = tree

        def end(self, html: str) -> None:
            """Show this, which takes no clicks, from now on."""
            self._mirrored.end()
            self._show({"root": "0", "nodes": {"0": {"kind": "html", "value": html}}})

    return PanelMirror


class Mirrored:
    """A tree of controls as plain values, and what is done to it.

    Args:
        root: Its root.
        show: Gets the tree whenever it has changed.
        on_error: Gets what a control raises.
    """

    def __init__(
        self,
        root: Any,
        show: Callable[[dict[str, Any]], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._root: Any = root
        self._show = show
        self._on_error = on_error
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._numbers = count(1)
        #: Control -> its id, for as long as it exists.
        self._ids: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        #: The controls that are in the tree and watched, by their ids.
        self._watched: dict[str, Any] = {}

    def tree(self) -> dict[str, Any]:
        """Return ``{"root": id, "nodes": {id: node}}``: a node has its kind and what the control shows."""
        nodes = {self._id(one): self._node(one) for one in _walk(self._root)}
        return {"root": self._id(self._root), "nodes": nodes}

    def watch(self) -> None:
        """Notice changes of what is in the tree now, and no more of what has left it."""
        with self._lock:
            there = {self._id(one): one for one in _walk(self._root)}
            for key in [key for key in self._watched if key not in there]:
                self._observe(self._watched.pop(key), on=False)
            for key, one in there.items():
                if key not in self._watched:
                    self._watched[key] = one
                    self._observe(one, on=True)

    def act(self, message: Any) -> None:
        """Do to a control what somebody did to its element.

        Args:
            message: ``{"id": id, "click": true}`` or ``{"id": id, "value": value}``. What is about a control that has
                left the tree, or cannot be used now, is left alone.
        """
        if not isinstance(message, dict):
            return
        control = self._watched.get(str(message.get("id")))
        if control is None or getattr(control, "disabled", False):
            return
        kind, _ = _KINDS.get(control._model_name, ("", ()))
        try:
            if kind == "button" and message.get("click") is True:
                control.click()
            elif "value" in message:
                _set(control, kind, message["value"])
        except Exception as error:
            self._on_error(error)
        # Also where nothing has changed: the element may show what the control has refused.
        self._flush()

    def end(self) -> None:
        """Notice nothing any more."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            for one in self._watched.values():
                self._observe(one, on=False)
            self._watched.clear()
            self._root = None

    def _observe(self, control: Any, *, on: bool) -> None:
        parts = [control, getattr(control, "layout", None)]
        for part in parts:
            if part is not None:
                part.observe(self._changed) if on else part.unobserve(self._changed)

    def _changed(self, _: Any) -> None:
        with self._lock:
            if self._root is None or self._timer is not None:
                return
            if HAS_THREADS:
                self._timer = threading.Timer(_PAUSE_SECONDS, self._flush)
                self._timer.daemon = True
                self._timer.start()
        if not HAS_THREADS:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            self._timer = None
            if self._root is None:
                return
            self.watch()
            self._show(self.tree())

    def _id(self, control: Any) -> str:
        if control not in self._ids:
            self._ids[control] = str(next(self._numbers))
        return self._ids[control]

    def _node(self, control: Any) -> dict[str, Any]:
        kind, traits = _KINDS.get(control._model_name, ("other", ()))
        node: dict[str, Any] = {"kind": kind}
        for name in traits:
            node[name] = _plain(getattr(control, name, None))
        if "index" in traits:
            node["options"] = [str(label) for label in control._options_labels]
        if kind in ("row", "column"):
            node["children"] = [self._id(one) for one in control.children]
        if kind == "other":
            node["value"] = f"{type(control).__name__} is shown in Jupyter alone."
        layout = control.layout
        node["width"] = getattr(layout, "width", None)
        node["hidden"] = getattr(layout, "display", None) == "none"
        node["label_width"] = getattr(getattr(control, "style", None), "description_width", None)
        return node


def _walk(control: Any) -> Iterator[Any]:
    """Yield a control and what is in it."""
    yield control
    if control._model_name in _KINDS:
        for child in getattr(control, "children", ()):
            yield from _walk(child)


def _plain(value: Any) -> Any:
    """Return a trait's value as JSON can hold it."""
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime.date) else value


def _set(control: Any, kind: str, value: Any) -> None:
    """Set what an element can set: its trait checks it.

    Raises:
        traitlets.TraitError, ValueError, TypeError: The control has no such value.
    """
    if kind in ("choice", "steps"):
        control.index = int(value)
    elif kind in ("toggle", "check"):
        control.value = bool(value)
    elif kind in ("text", "lines"):
        control.value = str(value)
    elif kind == "suggested":
        # ipywidgets leaves this to the browser.
        if control.ensure_option and value not in ("", *control.options):
            raise ValueError("This is not in the list.")
        control.value = str(value)
    elif kind == "day":
        control.value = datetime.date.fromisoformat(value) if value else None
    elif kind in ("slider", "number"):
        control.value = type(control.value)(value)
    elif kind == "span":
        low, high = value
        make = type(control.value[0])
        control.value = (make(low), make(high))
