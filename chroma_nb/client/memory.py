"""`ClientMemory`: `client.memory`, what a store holds in memory and how much it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.boundary import public_class
from chroma_nb.collection.collection import Collection, name_of
from chroma_nb.collection.configuration import configuration_for
from chroma_nb.display.base import Displayed
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.lazy import lazily
from chroma_nb.memory.report import Preview
from chroma_nb.words import brief

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.memory.report import Estimate, MemoryReport
    from chroma_nb.plotting import MemoryPlot
    from chroma_nb.widgets import MemoryWidget


@public_class
class ClientMemory(Displayed):
    """What a store holds in memory, and how much it may.

    Collections are loaded when they are used and unloaded when the budget says so. None of what is
    offered here ever changes an answer.

    Args:
        client: The client whose tenant and database the collections are in. The budget is the store's,
            shared by all its clients.
    """

    _view = "memory"

    def __init__(self, client: ClientAPI) -> None:
        self._client = client

    @property
    def client(self) -> ClientAPI:
        """The client whose store this is about."""
        return self._client

    def __repr__(self) -> str:
        if not self._client.api.is_near:
            # One line is no reason for a request.
            return f"ClientMemory({self._client!r})"
        return repr(self.report())

    def __str__(self) -> str:
        return str(self.report())

    @property
    def _place(self) -> Any:
        return {"tenant": self._client.tenant, "database": self._client.database}

    def _id(self, name: str | Collection) -> UUID:
        if isinstance(name, Collection):
            return name.id
        return self._client.api.get_collection(name_of(name), **self._place).id

    @property
    def budget(self) -> int:
        """Bytes that the loaded collections may hold together.

        Set it to bytes, ``"2 GB"``, ``"25%"`` of what the machine allows, or ``"auto"``; what does not fit
        any more is unloaded at once, least recently used first.
        """
        return self._client.api.get_memory_budget()

    @budget.setter
    def budget(self, value: int | float | str) -> None:
        self._client.api.set_memory_budget(value)

    def report(self) -> MemoryReport:
        """Return what is held by which collection, the totals, and the last events."""
        return self._client.api.memory_report(**self._place)

    def load(self, name: str | Collection) -> int:
        """Load a collection now, ahead of its first query, and return its bytes.

        Raises:
            NotFoundError: There is none of that name.
            MemoryBudgetError: It does not fit.
        """
        return self._client.api.load(self._id(name), **self._place)

    def unload(self, name: str | Collection) -> int:
        """Free a collection's memory and return the bytes; see `Collection.unload`."""
        return self._client.api.unload(self._id(name), **self._place)

    def unload_all(self) -> int:
        """Free the memory of all collections that are not pinned, and return the bytes."""
        return self._client.api.unload_all(**self._place)

    def pin(self, name: str | Collection) -> None:
        """Load a collection and keep it, whatever else needs room, until `unpin` or the end.

        Raises:
            NotFoundError: There is none of that name.
            MemoryBudgetError: It does not fit; it is not pinned.
        """
        self._client.api.pin(self._id(name), True, **self._place)

    def unpin(self, name: str | Collection) -> None:
        """Let a pinned collection go like any other."""
        self._client.api.pin(self._id(name), False, **self._place)

    def set_ttl(self, name: str | Collection, seconds: float | None) -> None:
        """Unload a collection after so many seconds without use; kept with the collection.

        Args:
            name: The collection's.
            seconds: More than 0, or None for the store's own interval (`Settings.idle_unload_seconds`).

        Raises:
            NotFoundError: There is none of that name.
            InvalidArgumentError: `seconds` is not a positive number.
        """
        self._client.api.set_ttl(self._id(name), seconds, **self._place)

    def preview(self, budget: int | float | str) -> Preview:
        """Return what setting this budget would unload, in order; nothing is done."""
        try:
            going = self._client.api.preview_memory_budget(budget, **self._place)
        except MemoryBudgetError as error:
            return Preview((), budget, str(error))
        return Preview(going, budget)

    def widget(self, *, refresh_seconds: float = 1.0) -> MemoryWidget:
        """Return a live panel: sizes, Unload buttons, pins, TTLs and a budget slider with a preview.

        Args:
            refresh_seconds: How often it looks for changes, at least 0.5.
        """
        panel: MemoryWidget = lazily("chroma_nb.widgets", "MemoryWidget")(
            self._client, refresh_seconds=refresh_seconds
        )
        return panel

    def plot(self) -> MemoryPlot:
        """Return a picture of what was held over time, and of the last events.

        Raises:
            ImportError: matplotlib is missing: ``pip install "chroma-nb[plot]"``.
        """
        from chroma_nb.plotting import MemoryPlot

        return MemoryPlot(self.report())

    def estimate(
        self,
        n: int | float,
        dim: int = 384,
        configuration: dict[str, Any] | None = None,
        *,
        text_bytes: int | None = None,
    ) -> Estimate:
        """Reckon what a collection would take in memory, and in which form it would be held.

        Args:
            n: Records, at least 1.
            dim: Floats of each embedding, at least 1.
            configuration: As for `create_collection`; it has the parameters of the graph.
            text_bytes: UTF-8 bytes of a record's id, document, uri and metadata. None: as many as the records
                of this database have on average; where there are none, 200, which is a sentence with two keys.

        Raises:
            InvalidArgumentError: `n` or `dim` is not a positive whole number.
        """
        # Many people write a million as 1e6, a float.
        count = int(n) if isinstance(n, float) and n.is_integer() else n
        for name, value in (("n", count), ("dim", dim)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(
                    f"Expected {name} to be a whole number, at least 1, got {brief(value, quoted=True)}."
                )
        if text_bytes is not None and (
            isinstance(text_bytes, bool) or not isinstance(text_bytes, int) or text_bytes < 0
        ):
            raise InvalidArgumentError(
                f"Expected text_bytes to be at least 0, got {brief(text_bytes, quoted=True)}."
            )
        settings = self._client.get_settings()
        complete = configuration_for(None, configuration, None, settings)
        if text_bytes is None:
            # Collections that an older version wrote have no size on record.
            known = [each for each in self.report().collections if each.text_bytes]
            n_records = sum(each.n_records for each in known)
            text_bytes = sum(each.text_bytes for each in known) // n_records if n_records else None
        return self._client.api.estimate_memory(int(count), dim, complete, text_bytes)
