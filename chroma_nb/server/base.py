"""`Server`: serves an `API` to other processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from chroma_nb.api.base import API


class Server(ABC):
    """Serves any API, a local or a remote one.

    Args:
        api: What answers; the server closes it when it stops.
    """

    def __init__(self, api: API) -> None:
        self.api = api

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach the server once it runs."""

    @abstractmethod
    def run(self) -> None:
        """Serve until `stop` is called or the process is told to end."""

    @abstractmethod
    def stop(self) -> None:
        """Take no more requests, finish those under way, and close the API."""

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
