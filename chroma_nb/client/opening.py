"""`Client`, `EphemeralClient`, `PersistentClient`, `AdminClient`: Chroma's ways to open a store."""

from __future__ import annotations

import os

from chroma_nb import factories
from chroma_nb.api_names import LOCAL_API
from chroma_nb.boundary import public_call
from chroma_nb.client.admin import AdminClientAPI
from chroma_nb.client.client import ClientAPI
from chroma_nb.client.places import two_places, with_path
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.settings import Settings
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

#: Where `PersistentClient` keeps a store that is given no path, as Chroma's does.
_CHROMA_PATH = "./chroma"


@public_call
def Client(
    target: Settings | str | os.PathLike[str] | None = None,
    tenant: str | Settings = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    settings: Settings | None = None,
    path: str | os.PathLike[str] | None = None,
) -> ClientAPI:
    """Open a store: in memory, or in a folder where a path is given; see `ClientAPI`.

    Args:
        target: A folder, or `Settings`. None is a store in memory (or what the environment says).
        tenant: The tenant; `Settings` are accepted in its place.
        database: The database.
        settings: `Settings`, beside a folder or alone.
        path: A folder; the same as `target`.
    """
    given = [one for one in (target, tenant, settings) if isinstance(one, Settings)]
    if isinstance(tenant, Settings):
        tenant = DEFAULT_TENANT
    if len(given) > 1:
        raise InvalidArgumentError("Expected settings once, got them twice.")
    if target is not None and not isinstance(target, Settings):
        if path is not None:
            raise two_places(os.fspath(target), os.fspath(path))
        path = target
    return ClientAPI(given[0] if given else None, tenant, database, path=path)


@public_call
def EphemeralClient(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """Open the store in memory that clients of these settings share in this process."""
    chosen = factories.get_settings() if settings is None else settings
    for name in ("path", "url"):
        if chosen.gives(name):
            raise InvalidArgumentError(
                f"EphemeralClient() is a store in memory, and the settings name a place: "
                f"{name}={chosen.shown(name)!r}. Use chroma_nb.Client(settings), or leave it out."
            )
    return ClientAPI(chosen.replace(api=_near_api(chosen), is_persistent=False), tenant, database)


@public_call
def PersistentClient(
    path: str | os.PathLike[str] = _CHROMA_PATH,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """Open the store in a folder, which is made when it is missing.

    Args:
        path: The folder. None, an empty text and a variable of the environment that is not set are
            refused: what was added to a store in memory would be lost.
        settings: Everything else.
        tenant: The tenant.
        database: The database.
    """
    chosen = factories.get_settings() if settings is None else settings
    if path == _CHROMA_PATH and chosen.gives("path"):
        path = chosen.path
    return ClientAPI(with_path(chosen, path), tenant, database)


@public_call
def AdminClient(settings: Settings | None = None) -> AdminClientAPI:
    """Open a store to manage its tenants and databases."""
    return AdminClientAPI(settings)


def _near_api(settings: Settings) -> str:
    """Return the API that answers in this process, also where the environment names a server."""
    return LOCAL_API if settings.is_remote else settings.api
