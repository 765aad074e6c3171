"""Chroma's `create_batches`. Here `add` takes any number of records; code that splits goes on working."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class _HasBatchSize(Protocol):
    def get_max_batch_size(self) -> int: ...


def create_batches(
    api: _HasBatchSize,
    ids: Sequence[str],
    embeddings: Any = None,
    metadatas: Any = None,
    documents: Any = None,
    uris: Any = None,
) -> list[tuple[Any, ...]]:
    """Split records into batches of at most `api.get_max_batch_size()`.

    Args:
        api: A client.
        ids: n ids.
        embeddings: n vectors, or None.
        metadatas: n dicts, or None.
        documents: n texts, or None.
        uris: n texts, or None.

    Returns:
        One `(ids, embeddings, metadatas, documents)` per batch, in Chroma's order; with `uris` as a fifth
        element where they are given. A part that is None is None in each batch.
    """
    parts: tuple[Any, ...] = (ids, embeddings, metadatas, documents)
    if uris is not None:
        parts = (*parts, uris)
    size = api.get_max_batch_size()
    if len(ids) <= size:
        return [parts]
    return [
        tuple(None if part is None else part[start : start + size] for part in parts)
        for start in range(0, len(ids), size)
    ]
