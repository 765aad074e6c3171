"""`Server`: serves an `API` to other processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from chroma_nb.api.base import API


#: How long requests under way may take after a server was told to stop, seconds.
LAST_SECONDS = 30


class Server(ABC):
    """Serves any API, a local or a remote one.

    Args:
        api: The store.
        settings: `server_*` are used; None is `Settings()`, which reads environment variables.
        release: Called once when the server has stopped; None closes `api`.
    """

    #: It serves Arrow Flight, too, at `Settings.server_flight_port`.
    has_flight_port: ClassVar[bool] = False

    def __init__(
        self,
        api: API,
        settings: Settings | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        self.api = api
        self.settings = Settings() if settings is None else settings
        self._release = api.close if release is None else release

    @classmethod
    def check_settings(cls, settings: Settings) -> None:
        """Check the settings before a store or a port is opened.

        A transport of its own calls this one and checks what only it uses: a certificate, say.

        Raises:
            InvalidArgumentError: A setting cannot be used, or the address is public and there is no authentication.
            ImportError: A package that the server needs is not installed.
        """
        from chroma_nb.server.settings_check import check_server_settings

        check_server_settings(settings, has_flight_port=cls.has_flight_port)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach the server once it runs."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address at which it answers: `url`, and those of other protocols beside it."""
        return (self.url,)

    @abstractmethod
    def listen(self) -> None:
        """Open the port, so that `url` is known and no other process can take it.

        Raises:
            InvalidArgumentError: The address is taken, or is not one of this machine.
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

    @property
    def is_held(self) -> bool:
        """Whether the end of the process would wait for clients, although the server has stopped."""
        return False

    @abstractmethod
    def stop(self) -> None:
        """Take no more requests, finish those under way, and release the API. May be called twice."""

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
