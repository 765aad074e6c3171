"""Reads the metadata of stored records, which is JSON text that somebody else may have written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import StoreCorruptError
from chroma_nb.texts import parsed_together
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_metadata(text: str | None) -> dict[str, Any] | None:
    """Return a record's metadata.

    Raises:
        StoreCorruptError: The text is no JSON object, or too deeply nested to be read.
    """
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreCorruptError(
            f"The metadata of a record is stored as {brief(text)!r}, and not as a JSON object. client.check() names the "
            "records whose metadata cannot be read; get(include=[...]) without metadatas still has their documents. "
            "Restore the store from a backup, or write these records again with upsert()."
        )
    return found


def read_metadatas(texts: Sequence[str | None]) -> list[dict[str, Any] | None]:
    """Return the metadata of many records; see `read_metadata`."""
    found = parsed_together(texts)
    if found is not None and {*map(type, found)} <= {dict, type(None)}:
        return found
    return [read_metadata(text) for text in texts]
