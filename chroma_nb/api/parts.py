"""Parts of a write that is too large for one request, and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.errors import BatchSizeExceededError
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chroma_nb.errors import ChromaError


def rows_of(batch: RecordBatch, rows: slice) -> RecordBatch:
    """Return a part of a batch; its arrays are views."""

    def part(values: Any) -> Any:
        return None if values is None else values[rows]

    return RecordBatch(
        batch.ids[rows],
        part(batch.embeddings),
        part(batch.documents),
        part(batch.uris),
        part(batch.metadatas),
        part(batch.embedded),
    )


def too_large(error: ChromaError, one: str) -> BatchSizeExceededError:
    """Return the error for one record that is more than a request may hold."""
    return BatchSizeExceededError(
        f"{error} That was one record alone, {one[:80]!r}: make it smaller, or raise the limit there (a proxy "
        "may have its own, such as nginx's client_max_body_size)."
    )


def half_written(error: ChromaError, done: int, total: int) -> ChromaError:
    """Return the same error, with the number of records that were written before it."""
    error.args = (
        f"{error.message()} The first {done:,} of {total:,} records of this call are written; the call may "
        "be repeated.",
        *error.args[1:],
    )
    return error


def without_none(
    metadatas: Sequence[Mapping[str, Any] | None],
) -> list[dict[str, Any] | None]:
    """Return metadata without the keys whose value is None."""
    out: list[dict[str, Any] | None] = []
    for metadata in metadatas:
        kept = {key: value for key, value in (metadata or {}).items() if value is not None}
        out.append(kept or None)
    return out
