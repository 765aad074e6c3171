"""A client of two servers over one store, each call at the next of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chroma_nb.api.base import API


class Alternating:
    """An API, each call of which goes to the next of several.

    What is read from a scan comes from the server that it was begun at.
    """

    def __init__(self, *apis: API) -> None:
        self._apis = apis
        self._next = itertools.cycle(apis)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._apis[0], name)
        if not callable(found):
            return found
        return lambda *given, **named: getattr(next(self._next), name)(*given, **named)


def alternate(client: Any, other: Any) -> Any:
    """Have each call of a client go to the next of the servers of two clients."""
    client._api = Alternating(client.api, other.api)
    return client
