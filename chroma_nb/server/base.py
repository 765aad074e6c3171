"""`Server`: serves an `API` to other processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from chroma_nb.api.base import API


class Server(ABC):
    """Serves any API, a local or a remote one.

    Args:
        api: What answers.
        settings: `server_*`; None takes those in force.
        release: Called once when the server has stopped; None closes the API.
    """

    def __init__(
        self,
        api: API,
        settings: Settings | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        self.api = api
        self.settings = Settings() if settings is None else settings
        self._release = api.close if release is None else release

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach the server once it runs."""

    @abstractmethod
    def listen(self) -> None:
        """Take the address, so that `url` is known and nobody else has it.

        Raises:
            InvalidArgumentError: It is taken, or not this machine's.
        """

    @abstractmethod
    def run(self) -> None:
        """Serve until `stop` is called or the process is told to end."""

    @abstractmethod
    def start(self) -> str:
        """Serve in a thread of its own, and return the URL once requests are answered.

        Raises:
            InternalError: It did not start.
        """

    @abstractmethod
    def stop(self) -> None:
        """Take no more requests, finish those under way, and let go of the API. May be called twice."""

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
