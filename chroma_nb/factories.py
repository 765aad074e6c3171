"""Factories: settings in, implementation out.

`get_api()`, `get_db()`, `get_server()` and `get_embedding_function()` take no argument: what they return follows from
`get_settings()`.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from chroma_nb import stores
from chroma_nb.boundary import public_call
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.implementations import SERVER_IMPLEMENTATIONS, load_implementation
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.db.base import DB
    from chroma_nb.server.base import Server

R = TypeVar("R")

#: What `configure` has set.
_configured: dict[str, Any] = {}


def _argument_free(function: Callable[[], R]) -> Callable[[], R]:
    """Return a factory that says where its settings come from, where somebody gives it some."""
    name = function.__name__

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        if args or kwargs:
            given = [one for one in (*args, *kwargs.values()) if isinstance(one, Settings)]
            fields = [f"{one}=..." for one in kwargs if not isinstance(kwargs[one], Settings)]
            # Without its secrets.
            shown = repr(given[0])[len("Settings(") : -1] if given else ", ".join(fields)
            raise TypeError(
                f"{name}() takes no arguments: it follows the settings of this process. Set them first: "
                f"chroma_nb.configure({shown or '...'}), then chroma_nb.{name}()."
            )
        return function()

    return public_call(call)


@public_call
def configure(**values: Any) -> Settings:
    """Set settings for this process, over the environment; `configure()` alone takes them back.

    Stores that are open stay as they are; the next factory or client follows the new settings.

    Raises:
        ValueError: An unknown setting or a value that cannot be read.
    """
    global _configured
    settings = Settings(**values)
    _configured = values
    return settings


@_argument_free
def get_settings() -> Settings:
    """Return the settings in force: `configure()`, then the environment, then the defaults."""
    return Settings(**_configured)


@_argument_free
def get_api() -> API:
    """Return the `API` that the settings choose; the same one each time."""
    return stores.open_store(get_settings()).api


@_argument_free
def get_db() -> DB:
    """Return the `DB` that the settings choose; the one under `get_api()`.

    Raises:
        InvalidArgumentError: The API of these settings answers from elsewhere and has no DB here.
    """
    store = stores.open_store(get_settings())
    if store.db is None:
        raise InvalidArgumentError(
            f"API {store.settings.api!r} keeps no records in this process, so there is no DB here."
        )
    return store.db


@_argument_free
def get_server() -> Server:
    """Return a new `Server` of the kind that the settings choose, over `get_api()`; it does not run yet.

    Clients of this process may use the same store beside it.
    """
    settings = get_settings()
    kind = server_class(settings)
    kind.check_settings(settings)
    store = stores.open_and_acquire(settings)
    return kind(store.api, settings, partial(stores.release, store))


def server_class(settings: Settings) -> type[Server]:
    """Return the class of `Server` that settings choose.

    Raises:
        InvalidArgumentError: There is none of that name.
    """
    kind: type[Server] = load_implementation("server", settings.server, SERVER_IMPLEMENTATIONS)
    return kind


@_argument_free
def get_embedding_function() -> Any:
    """Return what embeds where nothing else is said: MiniLM, or the model that ships with chroma_nb."""
    from chroma_nb.embedding import resolve_default

    return resolve_default(get_settings())
