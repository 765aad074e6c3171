"""How large the description of a collection may be: its names, metadata, configuration and schema.

All descriptions of a store are in memory as long as it is open, and are read when it is opened. So one of 20 MB costs
everybody who uses the store, whoever made it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.sizes import format_bytes, utf8_length

if TYPE_CHECKING:
    from chroma_nb.types import CollectionInfo


def check_description(
    info: CollectionInfo, most: int, before: CollectionInfo | None = None
) -> CollectionInfo:
    """Return a collection's description, of which a store takes at most `most` bytes.

    Args:
        info: The new description.
        most: `Settings.max_description`, bytes.
        before: The present one, which an older version may have made larger: what makes it no larger is allowed.

    Raises:
        InvalidArgumentError: It is larger.
    """
    n_bytes = _description_bytes(info)
    if n_bytes <= most or (before is not None and n_bytes <= _description_bytes(before)):
        return info
    parts = {
        "metadata": _json_bytes(info.metadata),
        "configuration": _json_bytes(info.configuration),
        "schema": _json_bytes(info.schema),
    }
    largest = max(parts, key=lambda part: parts[part])
    raise InvalidArgumentError(
        f"The name, metadata, configuration and schema of collection [{info.name}] have {format_bytes(n_bytes)} together, the limit "
        f"is {format_bytes(most)} (Settings.max_description). Most of it is the {largest}, with "
        f"{format_bytes(parts[largest])}. Store long texts as records, or in files that the metadata names; or raise "
        "the limit where the store is opened."
    )


def _description_bytes(info: CollectionInfo) -> int:
    """Return the bytes of a description, its metadata, configuration and schema as JSON."""
    names = (info.name, info.tenant, info.database)
    return (
        sum(utf8_length(name) for name in names)
        + _json_bytes(info.metadata)
        + _json_bytes(info.configuration)
        + _json_bytes(info.schema)
    )


def _json_bytes(value: object) -> int:
    return 0 if value is None else len(json.dumps(value))
