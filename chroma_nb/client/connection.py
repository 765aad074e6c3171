"""`Connection`: a client's hold on an open store."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from chroma_nb import stores
from chroma_nb.errors import InternalError
from chroma_nb.unpicklable import Unpicklable

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.settings import Settings


class Connection(Unpicklable):
    """A client's hold on an open store, which counts its clients.

    Args:
        settings: Which store, and how it is opened.
    """

    _api: API | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            stores.connect(settings, self._keep)
        except BaseException:
            # Interrupted, and open all the same.
            self.close()
            raise

    def _keep(self, store: stores.Store) -> None:
        # A store is closed when nobody can reach it any more. One in memory stays: another client of
        # this process may come back to it, as with Chroma.
        self._finalizer = weakref.finalize(self, stores.dropping(), store)
        self._finalizer.atexit = False
        if store.outlives_clients:
            self._finalizer.detach()
        self._store, self._api = store, store.api

    @property
    def api(self) -> API:
        """The store's API."""
        if self._api is None:
            raise InternalError("This client is closed. Open a new one to go on.")
        return self._api

    # Chroma's names of what is behind a client; other code stops and looks up stores by them.
    @property
    def _system(self) -> System:
        return System(self._settings, self.close)

    @property
    def _identifier(self) -> str:
        return self._settings.place

    @property
    def _server(self) -> API:
        return self.api

    def close(self) -> None:
        """Let go of the store; the last client of a store closes it. Closing twice is allowed."""
        if self._api is not None:
            stores.release(self._store, self._let_go)

    def _let_go(self) -> bool:
        was_held = self._api is not None
        self._api = None
        self._finalizer.detach()
        return was_held


class System:
    """Chroma's `client._system`, as far as other code uses it: to close the store, and to ask for settings."""

    def __init__(self, settings: Settings, close: Callable[[], None]) -> None:
        self.settings = settings
        self._close = close

    def start(self) -> None:
        """Do nothing: a store is open from the beginning."""

    def stop(self) -> None:
        """Close the client."""
        self._close()
