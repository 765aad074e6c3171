"""`ClientWorkers`: `client.workers`, the processes that compute for a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.boundary import public_class
from chroma_nb.display.base import Displayed
from chroma_nb.errors import NotSupportedError
from chroma_nb.lazy import lazily

if TYPE_CHECKING:
    from chroma_nb.client.client import ClientAPI
    from chroma_nb.tasks.report import WorkersReport
    from chroma_nb.widgets import WorkersWidget


@public_class
class ClientWorkers(Displayed):
    """The processes that compute for a store, with ``Settings(api="celery")``.

    Args:
        client: The client of the store.
    """

    _view = "client workers"

    def __init__(self, client: ClientAPI) -> None:
        self._client = client

    def __repr__(self) -> str:
        return "ClientWorkers()" if self._client.api.workers is None else repr(self.report())

    @property
    def are_there(self) -> bool:
        """Whether the store is one that workers compute for; not whether there are any at the moment."""
        return self._client.api.workers is not None

    def report(self) -> WorkersReport:
        """Return who is there, what they are at, and what has failed, as far as it is known. Waits for nobody.

        Raises:
            NotSupportedError: Workers do not compute for this store.
        """
        workers = self._client.api.workers
        if workers is None:
            raise NotSupportedError(
                "Workers do not compute for this store. Open it with Settings(api='celery', celery_broker='amqp://...'); see "
                "docs/scaling.md."
            )
        return workers.report()

    def widget(self, *, refresh_seconds: float = 1.0) -> WorkersWidget:
        """Return a live panel of the report.

        Args:
            refresh_seconds: How often it looks for changes, at least 0.5.

        Raises:
            NotSupportedError: Workers do not compute for this store.
        """
        panel: WorkersWidget = lazily("chroma_nb.widgets", "WorkersWidget")(
            self, refresh_seconds=refresh_seconds
        )
        return panel
