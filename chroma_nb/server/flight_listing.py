"""Flights: each collection is one. Its descriptor is its path (tenant, database, name); its ticket is a scan of all of it.

A ticket is no permission: `DoGet` asks again who may read. It names the collection, not a version, so what is read is the
collection as it is when the reading begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.types import DEFAULT_TENANT
from chroma_nb.wire.arrow import records_schema
from chroma_nb.wire.flight import Command
from chroma_nb.wire.requests import Name, Page, Target
from chroma_nb.wire.text import NoJsonError, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from chroma_nb.server.auth import Identity
    from chroma_nb.types import CollectionInfo
    from chroma_nb.wire.requests import Request

    #: Carries out an operation and returns what it answers.
    Ask = Callable[[str, Target, Request | None], Any]

#: Flight sends a list of flights as a whole, so it has an end.
_MOST_FLIGHTS = 10_000
_PAGE = 1_000
#: Criteria have a tenant and a database.
_MOST_VALUES = 8


def read_criteria(criteria: bytes, identity: Identity) -> tuple[list[str], str | None]:
    """Return the tenants whose flights are listed, and the database; None is all of theirs.

    Args:
        criteria: JSON: ``{"tenant": ..., "database": ...}``, each may be missing. Without a tenant they are those that the
            caller's credential names, and the default tenant of a caller who may use all.
        identity: The caller.

    Raises:
        InvalidArgumentError: They are none.
    """
    try:
        found = loads(criteria or b"{}", _MOST_VALUES)
    except (NoJsonError, ValueError):
        found = None
    if (
        not isinstance(found, dict)
        or not found.keys() <= {"tenant", "database"}
        or not all(isinstance(one, str) for one in found.values())
    ):
        raise InvalidArgumentError(
            f'Expected criteria such as {{"tenant": "default_tenant", "database": "default_database"}}, got '
            f"{criteria[:80]!r}"
        )
    tenants = [DEFAULT_TENANT] if identity.is_admin else list(identity.tenants)
    return [found["tenant"]] if "tenant" in found else tenants, found.get("database")


def flights(ask: Ask, tenants: list[str], database: str | None) -> Iterator[fl.FlightInfo]:
    """Yield the flights of tenants.

    Raises:
        InvalidArgumentError: There are too many.
    """
    n_flights = 0
    for tenant in tenants:
        for place in _databases(ask, tenant) if database is None else [database]:
            for info in _pages(ask, "list_collections", Target(tenant, place)):
                n_flights += 1
                if n_flights > _MOST_FLIGHTS:
                    raise InvalidArgumentError(
                        f"More than {_MOST_FLIGHTS:,} flights: name a tenant and a database as criteria, ask for the flight of "
                        "one path, or for the operation list_collections in pages"
                    )
                yield _flight(ask, info, tenant, place)


def flight_of_path(ask: Ask, path: list[bytes]) -> fl.FlightInfo:
    """Return the flight of a path.

    Raises:
        InvalidArgumentError: It is none.
        NotFoundError: There is no such collection.
    """
    try:
        tenant, database, name = (part.decode() for part in path)
    except ValueError:
        raise InvalidArgumentError(
            f"Expected a path of tenant, database and the collection's name, got {path!r:.200}"
        ) from None
    info = ask("get_collection", Target(tenant, database), Name(name))
    return _flight(ask, info, tenant, database)


def _flight(ask: Ask, info: CollectionInfo, tenant: str, database: str) -> fl.FlightInfo:
    target = Target(tenant, database, info.id)
    place = {"tenant": tenant, "database": database, "collection_id": str(info.id)}
    ticket = fl.Ticket(Command("scan", place, {}, {}).to_bytes())
    return fl.FlightInfo(
        records_schema(info.dimension or 0),
        fl.FlightDescriptor.for_path(tenant, database, info.name),
        # Without an address: it is read where it was asked for.
        [fl.FlightEndpoint(ticket, [])],
        ask("count", target, None),
        -1,
    )


def _databases(ask: Ask, tenant: str) -> Iterator[str]:
    found: Iterator[tuple[UUID, str]] = _pages(ask, "list_databases", Target(tenant))
    for _, name in found:
        yield name


def _pages(ask: Ask, operation: str, target: Target) -> Iterator[Any]:
    offset = 0
    while True:
        page = ask(operation, target, Page(_PAGE, offset))
        yield from page
        offset += len(page)
        if len(page) < _PAGE:
            return
