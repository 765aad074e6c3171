"""What can be made of the records that are selected on a map."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from chroma_nb.api.copying import pieces_by_id
from chroma_nb.errors import InvalidArgumentError, NotFoundError
from chroma_nb.progress import progress_bar
from chroma_nb.transfer.stores import like, place_of
from chroma_nb.types import RecordBatch
from chroma_nb.widgets.asking import WRITTEN_IDS
from chroma_nb.widgets.formulas import no_formula

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from chroma_nb.collection.collection import Collection


def filter_code(ids: Sequence[str]) -> str:
    """Return the call that asks a question of these records alone, as code."""
    if not ids:
        return ""
    written = repr(list(ids)) if len(ids) <= WRITTEN_IDS else "live.selected_ids"
    return f'collection.query(query_texts="...", ids={written})'


def set_metadata(collection: Collection, ids: Sequence[str], key: str, value: Any) -> int:
    """Give records a metadata value; what else is in their metadata stays.

    Returns:
        How many records.

    Raises:
        InvalidArgumentError: Nothing is selected, or no metadata can have this key or value.
    """
    _check_some(ids)
    step = place_of(collection).ids_at_once
    with _bar(collection, len(ids), "Setting metadata of", "changed") as bar:
        for start in range(0, len(ids), step):
            part = list(ids[start : start + step])
            collection.update(ids=part, metadatas=[{key: value} for _ in part])
            bar.update(len(part))
    return len(ids)


def copy_to(collection: Collection, ids: Sequence[str], name: str) -> Collection:
    """Copy records into a new collection of the same configuration and schema.

    A copy that fails or is stopped leaves no collection.

    Raises:
        InvalidArgumentError: Nothing is selected, or no collection can have this name.
        UniqueConstraintError: The name is taken.
    """
    _check_some(ids)
    made = like(
        collection.client,
        name,
        collection.configuration_json,
        collection.metadata,
        collection.get_model().schema,
        is_new=True,
    )
    source, target = place_of(collection), place_of(made)
    try:
        with _bar(collection, len(ids), "Copying from", "copied") as bar:
            for found in pieces_by_id(source, list(ids)):
                batch = RecordBatch(
                    found.ids, found.embeddings, found.documents, found.uris, found.metadatas
                )
                target.api.add(target.collection_id, batch, on_conflict="skip", **target.where_to)
                bar.update(len(found.ids))
    except BaseException:
        _take_back(made)
        raise
    return made


def _take_back(made: Collection) -> None:
    """Delete a collection that was made here, and no other one that has got its name meanwhile.

    A collection is deleted by its name, and renamed by its id. So it gets a name that nobody else has.
    """
    with contextlib.suppress(NotFoundError):
        own_name = f"unfinished-{made.id}"
        made.modify(name=own_name)
        made.client.delete_collection(own_name)


def to_csv(collection: Collection, ids: Sequence[str], path: str | os.PathLike[str]) -> int:
    """Write records to a CSV file: id, document, and a column for each metadata key. One that exists is replaced.

    A text that a spreadsheet would take for a formula gets an apostrophe before it. Numbers stay numbers.

    Returns:
        Records written.

    Raises:
        InvalidArgumentError: Nothing is selected.
    """
    _check_some(ids)
    frame = collection.get(ids=list(ids)).to_pandas(max_columns=None)
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        frame[name] = frame[name].map(_cell)
    frame.rename(columns=no_formula).to_csv(path, index=False)
    return len(frame)


def _cell(value: Any) -> Any:
    return no_formula(value) if isinstance(value, str) else value


def _check_some(ids: Sequence[str]) -> None:
    if not ids:
        raise InvalidArgumentError(
            "No record is selected. Select some on the map, or set selected_ids."
        )


def _bar(collection: Collection, n: int, doing: str, did: str) -> Any:
    enabled = collection.client.get_settings().progress
    return progress_bar(n, f"{doing} {collection.name}", did=did, enabled=enabled)
