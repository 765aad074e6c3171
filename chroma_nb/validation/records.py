"""The arguments of `add`, `upsert` and `update`: what is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import with_way_out
from chroma_nb.types import RecordBatch
from chroma_nb.validation.embeddings import check_embeddings, without_tensors
from chroma_nb.validation.ids import check_ids
from chroma_nb.validation.lists import as_list, in_a_list
from chroma_nb.validation.metadata import check_metadatas
from chroma_nb.validation.texts import check_column
from chroma_nb.words import brief

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Given:
    """The checked arguments of a call that writes.

    Attributes:
        batch: The records.
        to_embed: Documents or images, one for each record: the embedding function gets them if `batch` has no
            embeddings.
    """

    batch: RecordBatch
    to_embed: list[Any] | None = None


def check_on_conflict(on_conflict: Any) -> None:
    """Refuse everything but the three ways to treat ids that exist.

    Raises:
        ValueError: It is not "skip", "error" or "replace".
    """
    if on_conflict not in ("skip", "error", "replace"):
        raise ValueError(
            f"Expected on_conflict to be 'skip', 'error' or 'replace', got {brief(on_conflict)!r}"
        )


def check_insert(
    ids: Any,
    embeddings: Any,
    metadatas: Any,
    documents: Any,
    images: Any,
    uris: Any,
    *,
    upsert: bool = False,
) -> Given:
    """Check the arguments of `add` and `upsert`.

    Args:
        ids: One id or n.
        embeddings: As for `check_embeddings`, shape (n, dimension), or None.
        metadatas: n dicts or None.
        documents: n texts or None.
        images: n arrays or None.
        uris: n texts or None.
        upsert: The call is `upsert`, in which uris alone cannot be embedded.

    Raises:
        ValueError: As in Chroma: lengths that differ, nothing to embed, values of the wrong kind.
    """
    given = _check_records(ids, embeddings, metadatas, documents, images, uris, gaps=False)
    if given.batch.embeddings is None:
        sources = {"documents": documents, "images": images}
        if not upsert:
            sources["uris"] = uris
        if sum(source is not None for source in sources.values()) != 1:
            raise with_way_out(
                ValueError(f"Exactly one of {', '.join(sources)} must be provided"),
                "Give documents=[...], which are embedded, or embeddings=[...] of your own.",
            )
        texts = given.batch.documents
        if texts is not None and None in texts:
            raise with_way_out(
                ValueError("Expected document to be a str, got None"),
                f"The record at position {list(texts).index(None)} has nothing to embed: leave it out, or "
                "give its embedding.",
            )
    return given


def check_update(
    ids: Any, embeddings: Any, metadatas: Any, documents: Any, images: Any, uris: Any
) -> Given:
    """Check the arguments of `update`: those of `check_insert`, where None leaves a value as it is."""
    return _check_records(ids, embeddings, metadatas, documents, images, uris, gaps=True)


def _check_records(
    ids: Any,
    embeddings: Any,
    metadatas: Any,
    documents: Any,
    images: Any,
    uris: Any,
    *,
    gaps: bool,
) -> Given:
    """Check the arguments that all writing calls have; with `gaps`, rows of `embeddings` may be None."""
    ids, metadatas, documents, uris = map(as_list, (ids, metadatas, documents, uris))
    if embeddings is not None:
        embeddings = without_tensors(embeddings)
    given = {
        "ids": ids,
        "metadatas": metadatas,
        "documents": documents,
        "images": images,
        "uris": uris,
    }
    empty = [name for name, values in given.items() if isinstance(values, list) and not values]
    if empty and not (isinstance(embeddings, list) and not embeddings):
        raise ValueError(f"Non-empty lists are required for {empty}")
    vectors: NDArray[np.float32] | None = None
    embedded: NDArray[np.bool_] | None = None
    if embeddings is not None:
        if gaps and isinstance(embeddings, list) and any(row is None for row in embeddings):
            vectors, embedded = _with_gaps(embeddings)
        else:
            vectors = check_embeddings(embeddings)
    columns = {
        "ids": in_a_list(ids),
        "embeddings": embeddings if vectors is None and embeddings is not None else vectors,
        "metadatas": in_a_list(metadatas),
        "documents": in_a_list(documents),
        "images": in_a_list(images),
        "uris": in_a_list(uris),
    }
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"Unequal lengths for fields: {text}")
    batch = RecordBatch(
        ids=check_ids(columns["ids"]),
        embeddings=vectors,
        documents=None if documents is None else check_column(columns["documents"], "document"),
        uris=None if uris is None else check_column(columns["uris"], "uri"),
        metadatas=None if metadatas is None else check_metadatas(columns["metadatas"]),
        embedded=embedded,
    )
    for image in columns["images"] or []:
        if not isinstance(image, np.ndarray):
            raise ValueError(f"Expected image to be a numpy array, got {brief(image)}")
    to_embed = columns["images"] if images is not None else batch.documents
    return Given(batch, None if to_embed is None else list(to_embed))


def _with_gaps(
    embeddings: list[Any],
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    """Check n embeddings of which some are None.

    Returns:
        Shape (n, dimension), float32, zeros where there is none; and shape (n,), bool: is there one? Both are
        None if all n are.
    """
    given = np.array([row is not None for row in embeddings])
    if not given.any():
        return None, None
    rows = check_embeddings([row for row in embeddings if row is not None])
    vectors = np.zeros((len(embeddings), rows.shape[1]), dtype=np.float32)
    vectors[given] = rows
    return vectors, given
