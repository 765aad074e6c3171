"""Names of collections, tenants and databases."""

from __future__ import annotations

import ipaddress
from typing import Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.types import COLLECTION_NAME
from chroma_nb.validation.texts import check_texts
from chroma_nb.words import brief


def check_collection_name(name: Any) -> None:
    """Refuse a name that no collection can have.

    Raises:
        InvalidArgumentError: Not 3 to 512 characters from [a-zA-Z0-9._-], not a letter or digit at both ends,
            two periods in a row, or an IP address.
        ValueError: Not a str.
    """
    if not isinstance(name, str):
        raise ValueError(f"Expected name to be a str, got {brief(name)}")
    if not COLLECTION_NAME.fullmatch(name):
        raise InvalidArgumentError(
            "Validation error: name: Expected a name containing 3-512 characters from "
            "[a-zA-Z0-9._-], starting and ending with a character in [a-zA-Z0-9]. "
            f"Got: {brief(name if name.isprintable() else ascii(name)[1:-1])}"
        )
    if ".." in name:
        raise InvalidArgumentError(
            "Validation error: name: Expected a name that does not contains two consecutive periods "
            f"(..). Got {name}"
        )
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return
    raise InvalidArgumentError(
        f"Validation error: name: Expected a name that is not a valid ip address. Got {name}"
    )


#: Characters of a tenant's or a database's name, as many as a collection's may have.
_MOST_CHARACTERS = 512


def check_new_name(name: str, what: str) -> None:
    """Refuse a long name for a new tenant or database: the names of all are in memory while the store is open.

    Args:
        name: The name, which has passed the other checks.
        what: "tenant" or "database".

    Raises:
        InvalidArgumentError: It is longer than a collection's name may be.
    """
    if len(name) > _MOST_CHARACTERS:
        raise InvalidArgumentError(
            f"{what.capitalize()} name must be at most {_MOST_CHARACTERS} characters long, got {len(name):,} "
            f"({brief(name)!r}). Choose a shorter one."
        )


def check_tenant_name(name: Any) -> None:
    """Refuse a tenant's name as `check_database_name` does."""
    _check_short_name(name, "tenant")


def check_database_name(name: Any) -> None:
    """Refuse a database's name that cannot be one.

    Raises:
        InvalidArgumentError: Shorter than 3 characters, or not encodable as UTF-8.
        ValueError: Not a str.
    """
    _check_short_name(name, "database")


def _check_short_name(name: Any, what: str) -> None:
    if not isinstance(name, str):
        raise ValueError(f"Expected {what} name to be a str, got {brief(name)}")
    if len(name) < 3:
        raise InvalidArgumentError(
            f"{what.capitalize()} name must be at least 3 characters long, got {brief(name)!r}"
        )
    check_texts([name], f"{what} name")
