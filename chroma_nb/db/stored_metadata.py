"""The metadata of stored records, which is JSON text: writes it, and reads what somebody else may have written."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from chroma_nb.compact_json import json_text, parsed_together
from chroma_nb.errors import StoreCorruptError
from chroma_nb.search.sparse import StoredVector
from chroma_nb.texts import Texts
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Metadata that is only checked is parsed in parts of about this many bytes of JSON.
_CHECK_BYTES = 1 << 20
#: Stands for a sparse vector, which has its text already; each process has its own.
_PLACE = secrets.token_hex(16)
_WRITTEN_PLACE = json_text(_PLACE)


def metadata_json(metadata: Mapping[str, Any]) -> str | None:
    """Return a record's metadata as compact JSON text; a key whose value is None is one to leave out.

    Raises:
        ValueError: A number is not finite.
    """
    if None in metadata.values():
        metadata = {key: value for key, value in metadata.items() if value is not None}
    if not metadata:
        return None
    vectors = [value for value in metadata.values() if type(value) is StoredVector]
    if not vectors:
        return json_text(metadata)
    places = {
        key: _PLACE if type(value) is StoredVector else value for key, value in metadata.items()
    }
    text, *others = json_text(places).split(_WRITTEN_PLACE)
    for vector, other in zip(vectors, others, strict=True):
        text += vector.json + other
    return text


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
    found = parsed_together(texts) if len(texts) > 1 else None
    if found is not None and {*map(type, found)} <= {dict, type(None)}:
        return found
    return [read_metadata(text) for text in texts]


def check_metadatas(texts: Sequence[str | None]) -> None:
    """Check that metadata can be read, as whoever gets it would.

    Raises:
        StoreCorruptError: One is no JSON object.
    """
    if isinstance(texts, Texts):
        start = 0
        while start < len(texts):
            end = int(texts.offsets.searchsorted(texts.offsets[start] + _CHECK_BYTES))
            stop = min(max(end, start + 1), len(texts))
            read_metadatas(texts[start:stop].to_list())
            start = stop
        return
    start = n_bytes = 0
    for at, text in enumerate(texts):
        n_bytes += len(text or "")
        if n_bytes > _CHECK_BYTES or at == len(texts) - 1:
            read_metadatas(texts[start : at + 1])
            start, n_bytes = at + 1, 0
