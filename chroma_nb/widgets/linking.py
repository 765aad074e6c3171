"""`link`: what is selected in one panel is shown in others."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.widgets.panel import Panel
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable

_WHICH = (
    "collection.plot(interactive=True), collection.table(), result.widget(), collection.widget()"
)


class SelectingPanel(Panel):
    """A panel in which records are selected, and which says so to others."""

    #: Whether it can show what is selected in others.
    _shows_others: ClassVar[bool] = True

    def __init__(self) -> None:
        self._callbacks: list[Callable[[list[str]], object]] = []
        self._links: list[Link] = []
        #: The ids that were told last.
        self._told: list[str] = []
        super().__init__()

    def on_selection(self, callback: Callable[[list[str]], object]) -> None:
        """Call a function with the ids whenever others are selected."""
        self._callbacks.append(callback)

    @abstractmethod
    def _selected_ids(self) -> list[str]:
        """Return the ids of what is selected now."""

    @abstractmethod
    def _show_selected(self, ids: list[str]) -> None:
        """Show what is selected in another panel; no ids: nothing is. Ids that are not known here are left out."""

    def _tell(self) -> None:
        """Tell the linked panels, and those who asked for it, where others are selected than before."""
        ids = self._selected_ids()
        if ids == self._told:
            return
        self._told = ids
        if self._links:
            _TURN.tell(self, ids)
        for callback in self._callbacks:
            callback(list(ids))

    def close(self) -> None:
        """End the live panel and its links; its snapshot stays. Closing twice is allowed."""
        for one in list(self._links):
            one.unlink(self)
        super().close()


class Link:
    """Panels that are linked; see `link`.

    Attributes:
        panels: Which.
    """

    def __init__(self, panels: tuple[SelectingPanel, ...]) -> None:
        self.panels = panels
        for one in panels:
            # One lock for all: a thread that tells others of one panel never waits for one that tells it.
            one._lock = _TURN.lock
            one._links.append(self)

    def __repr__(self) -> str:
        return f"Link({', '.join(map(repr, self.panels))})"

    def unlink(self, *panels: SelectingPanel) -> None:
        """Take panels out of the link, all of them where none are given. What they show stays."""
        with _TURN.lock:
            for one in panels or self.panels:
                if self in one._links:
                    one._links.remove(self)
            self.panels = tuple(one for one in self.panels if self in one._links)


class _Turn:
    """One selection at a time goes from its panel to all that are linked to it, straight or through others."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._is_telling = False

    def tell(self, origin: SelectingPanel, ids: list[str]) -> None:
        """Show a selection in every panel that can be reached, once."""
        with self.lock:
            if self._is_telling:
                # A panel says what it has just been told.
                return
            self._is_telling = True
            try:
                reached = [origin]
                for panel in reached:
                    others = [other for one in panel._links for other in one.panels]
                    reached += dict.fromkeys(one for one in others if one not in reached)
                for panel in reached[1:]:
                    if panel._shows_others:
                        panel._safely(panel._show_selected)(ids)
            finally:
                self._is_telling = False


_TURN = _Turn()


def link(*panels: SelectingPanel) -> Link:
    """Link live panels: what is selected in one is shown in the others, and so on.

    A map marks the records that are chosen in a table, found by a search, or selected on another map. A table shows
    those alone, until nothing is selected or its filters are cleared. A search panel shows no selection: its answer
    is one, as long as something is asked.

    Args:
        panels: Two or more: maps (`Collection.plot` with ``interactive=True``), tables (`Collection.table`,
            `GetResult.widget`), search panels (`Collection.widget`). They may be of different collections: records
            are the same where their ids are.

    Returns:
        The link; its ``unlink()`` ends it, as closing the panels does.

    Raises:
        InvalidArgumentError: These cannot be linked.
    """
    for one in panels:
        if not isinstance(one, SelectingPanel):
            raise InvalidArgumentError(
                f"Expected live panels to link, got {brief(one, 60)}. Those that can be linked: {_WHICH}."
            )
        if one.closed:
            raise InvalidArgumentError(f"{one!r} is closed. Make a new panel, and link that.")
        if one._root is None:
            raise InvalidArgumentError(f"{one!r} is not live. It needs: pip install {one._install}")
    chosen = tuple(dict.fromkeys(panels))
    if len(chosen) < 2:
        raise InvalidArgumentError(
            f"Expected two panels or more, got {len(chosen)}: link(live, table)."
        )
    if not any(one._shows_others for one in chosen):
        raise InvalidArgumentError(
            "Search panels show no selection. Link them with a map or a table: link(live, search)."
        )
    made = Link(chosen)
    first = next((one for one in chosen if one._selected_ids()), None)
    if first is not None:
        _TURN.tell(first, first._selected_ids())
    return made
