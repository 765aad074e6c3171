"""Records in and out: pandas, Arrow, Parquet, and from one store to another.

Everything here goes by bounded pieces through what every client offers, so it works for any of them.
Moving many records is resumable: each piece is one atomic add, and running the same call again goes on
where it stopped, as ids that are there are skipped.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.copying import PIECE_RECORDS, Place, copy_records
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.extras import require_extra
from chroma_nb.memory.preflight import require
from chroma_nb.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from chroma_nb.client import ClientAPI
    from chroma_nb.collection import Collection
    from chroma_nb.types import OnConflict, Where, WhereDocument

_EVERYTHING = ["documents", "metadatas", "embeddings", "uris"]
#: Key of our description in a Parquet file's own metadata.
_DESCRIPTION = b"chroma_nb"
FORMAT_VERSION = 1
_NAMES = {
    "id": ("id", "ids"),
    "document": ("document", "documents", "text"),
    "embedding": ("embedding", "embeddings", "vector"),
    "uri": ("uri", "uris"),
}


# -- pandas -----------------------------------------------------------------------------------


def add_frame(
    collection: Collection,
    frame: pd.DataFrame,
    *,
    id: str | None = None,
    document: str | None = None,
    embedding: str | None = None,
    metadata: Sequence[str] | None = None,
    on_conflict: OnConflict = "skip",
) -> None:
    """Add the rows of a data frame.

    Args:
        collection: Where to.
        frame: One row per record. Missing values (None, NaN, NaT) are left out of the metadata.
        id: The column of ids; None takes ``id``, else the index where it is named or not 0, 1, 2 ...,
            else makes random ones.
        document: The column of documents; None takes ``document`` or ``text`` where there is one.
        embedding: The column of embeddings; None takes ``embedding`` where there is one.
        metadata: The metadata columns; None takes all others.
        on_conflict: As in `Collection.add`.

    Raises:
        InvalidArgumentError: A column that is named is not there, or there is nothing to embed.
    """
    names = {"id": id, "document": document, "embedding": embedding, "uri": None}
    columns = {part: _column(frame.columns, part, name) for part, name in names.items()}
    used = {name for name in columns.values() if name is not None}
    chosen = [name for name in frame.columns if name not in used] if metadata is None else metadata
    for name in chosen:
        if name not in frame.columns:
            raise _no_column(name, frame.columns)
    if columns["document"] is None and columns["embedding"] is None:
        raise InvalidArgumentError(
            f"The table has neither a document nor an embedding column (columns: "
            f"{', '.join(map(str, frame.columns))}). Say which it is: document='...'."
        )
    with _bar(collection, len(frame), f"Adding to {collection.name}") as bar:
        for start in range(0, len(frame), PIECE_RECORDS):
            piece = frame.iloc[start : start + PIECE_RECORDS]
            collection.add(
                ids=_frame_ids(piece, columns["id"], frame),
                documents=_objects(piece, columns["document"]),
                embeddings=_frame_embeddings(piece, columns["embedding"]),
                uris=_objects(piece, columns["uri"]),
                metadatas=_frame_metadatas(piece, chosen),
                on_conflict=on_conflict,
            )
            bar.update(len(piece))


def _column(columns: Any, part: str, name: str | None) -> Any:
    if name is not None:
        if name not in columns:
            raise _no_column(name, columns)
        return name
    return next((known for known in _NAMES[part] if known in columns), None)


def _no_column(name: Any, columns: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"The table has no column {name!r}. It has: {', '.join(map(str, columns))}."
    )


def _frame_ids(piece: pd.DataFrame, column: Any, frame: pd.DataFrame) -> list[str]:
    import pandas as pd

    if column is not None:
        return [str(value) for value in piece[column].tolist()]
    index = frame.index
    if index.name is not None or not isinstance(index, pd.RangeIndex):
        return [str(value) for value in piece.index.tolist()]
    return [str(uuid.uuid4()) for _ in range(len(piece))]


def _objects(piece: pd.DataFrame, column: Any) -> list[Any] | None:
    if column is None:
        return None
    missing = piece[column].isna().tolist()
    values = piece[column].tolist()
    return [None if gone else value for value, gone in zip(values, missing, strict=True)]


def _frame_embeddings(piece: pd.DataFrame, column: Any) -> Any:
    if column is None:
        return None
    return [np.asarray(value, dtype=np.float32) for value in piece[column].tolist()]


def _frame_metadatas(piece: pd.DataFrame, columns: Sequence[Any]) -> list[Any] | None:
    if not len(columns):
        return None
    values: dict[str, list[Any]] = {}
    for column in columns:
        series = piece[column]
        missing = [
            False if isinstance(value, list | np.ndarray) else bool(gone)
            for value, gone in zip(series.tolist(), series.isna().tolist(), strict=True)
        ]
        values[str(column)] = [
            None if gone else _plain(value)
            for value, gone in zip(series.tolist(), missing, strict=True)
        ]
    out: list[Any] = []
    for row in range(len(piece)):
        metadata = {key: column[row] for key, column in values.items() if column[row] is not None}
        out.append(metadata or None)
    return out


def _plain(value: Any) -> Any:
    """Return a metadata value: dates become ISO texts, arrays become lists."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return value.tolist() or None
    if isinstance(value, list) and not value:
        return None
    return value


# -- Arrow ------------------------------------------------------------------------------------


def _pyarrow(needed_by: str) -> Any:
    return require_extra("pyarrow", extra="arrow", needed_by=needed_by)


#: Id, document and metadata of a record that is a sentence.
_TYPICAL_RECORD_BYTES = 300


def collection_to_arrow(
    collection: Collection, where: Where | None = None, where_document: WhereDocument | None = None
) -> Any:
    """Return records as a `pyarrow.Table`.

    Columns: id (string), document (string), uri (string), metadata (string, JSON), embedding
    (fixed-size list of float32). The schema's metadata holds the collection's name and configuration.
    """
    pa = _pyarrow("Collection.to_arrow()")
    if where is None and where_document is None:
        n = collection.count()
        require(
            n * (2 * 4 * _dimension(collection) + _TYPICAL_RECORD_BYTES),
            f"to_arrow() of {n:,} records",
            "write them to a file, which goes piece by piece: collection.export(path)",
            "choose some: to_arrow(where=...)",
        )
    pieces = list(_arrow_pieces(pa, collection, where, where_document))
    schema = _arrow_schema(pa, collection)
    return pa.Table.from_batches(pieces, schema=schema)


def _dimension(collection: Collection) -> int:
    first = collection.get(limit=1, include=["embeddings"])["embeddings"]
    return int(first.shape[1]) if len(first) else 0


def _arrow_schema(pa: Any, collection: Collection) -> Any:
    description = {
        "format": FORMAT_VERSION,
        "name": collection.name,
        "metadata": collection.metadata,
        "configuration": collection.configuration_json,
    }
    texts = [pa.field(name, pa.string()) for name in ("id", "document", "uri", "metadata")]
    vector = pa.field("embedding", pa.list_(pa.float32(), _dimension(collection)))
    return pa.schema([*texts, vector], metadata={_DESCRIPTION: json.dumps(description).encode()})


def _arrow_pieces(
    pa: Any, collection: Collection, where: Where | None, where_document: WhereDocument | None
) -> Iterator[Any]:
    schema = _arrow_schema(pa, collection)
    dimension = schema.field("embedding").type.list_size
    for records in _pieces(collection, where, where_document):
        flat = np.ascontiguousarray(records["embeddings"], dtype=np.float32).ravel()
        metadatas = [
            None if metadata is None else json.dumps(metadata, ensure_ascii=False)
            for metadata in records["metadatas"]
        ]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension)
        texts = [records["ids"], records["documents"], records["uris"], metadatas]
        columns = [pa.array(column, type=pa.string()) for column in texts]
        yield pa.record_batch([*columns, vectors], schema=schema)


def _pieces(
    collection: Collection,
    where: Where | None = None,
    where_document: WhereDocument | None = None,
) -> Iterator[Any]:
    """Yield a collection's records with everything that is in them, in storage order."""
    offset = 0
    while True:
        records = collection.get(
            where=where,
            where_document=where_document,
            limit=PIECE_RECORDS,
            offset=offset,
            include=_EVERYTHING,
        )
        if not records["ids"]:
            return
        yield records
        offset += len(records["ids"])


def add_arrow(
    collection: Collection,
    table: Any,
    *,
    id: str | None = None,
    document: str | None = None,
    embedding: str | None = None,
    metadata: Sequence[str] | None = None,
    on_conflict: OnConflict = "skip",
) -> None:
    """Add the rows of a `pyarrow.Table` (or RecordBatch).

    A table of `collection_to_arrow` comes back as it was; of any other, the columns are taken as
    `add_frame` takes a frame's.
    """
    pa = _pyarrow("Collection.from_arrow()")
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if _description(table.schema) is None:
        add_frame(
            collection,
            table.to_pandas(),
            id=id,
            document=document,
            embedding=embedding,
            metadata=metadata,
            on_conflict=on_conflict,
        )
        return
    with _bar(collection, table.num_rows, f"Adding to {collection.name}") as bar:
        for batch in table.to_batches(max_chunksize=PIECE_RECORDS):
            _add_batch(collection, batch, on_conflict)
            bar.update(batch.num_rows)


def _add_batch(collection: Collection, batch: Any, on_conflict: OnConflict) -> None:
    if not batch.num_rows:
        return
    vectors = batch.column("embedding")
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    metadatas = [
        None if text is None else json.loads(text) for text in batch.column("metadata").to_pylist()
    ]
    collection.add(
        ids=batch.column("id").to_pylist(),
        embeddings=np.ascontiguousarray(flat.reshape(batch.num_rows, -1), dtype=np.float32),
        documents=batch.column("document").to_pylist(),
        uris=batch.column("uri").to_pylist(),
        metadatas=metadatas,
        on_conflict=on_conflict,
    )


def _description(schema: Any) -> dict[str, Any] | None:
    text = (schema.metadata or {}).get(_DESCRIPTION)
    if text is None:
        return None
    description: dict[str, Any] = json.loads(text)
    return description


# -- Parquet ----------------------------------------------------------------------------------


def export_collection(collection: Collection, path: str | os.PathLike[str]) -> int:
    """Write a collection to a Parquet file, complete or not at all.

    Any Parquet reader can open it: columns as in `collection_to_arrow`.

    Returns:
        Records written.
    """
    pa = _pyarrow("Collection.export()")
    import pyarrow.parquet as parquet

    path = os.fspath(path)
    temporary = f"{path}.part"
    written = 0
    total = collection.count()
    try:
        with (
            parquet.ParquetWriter(temporary, _arrow_schema(pa, collection)) as writer,
            _bar(collection, total, f"Exporting {collection.name}") as bar,
        ):
            for piece in _arrow_pieces(pa, collection, None, None):
                writer.write_batch(piece)
                written += piece.num_rows
                bar.update(piece.num_rows)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return written


def import_collection(
    client: ClientAPI,
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    on_conflict: OnConflict = "skip",
) -> Collection:
    """Read a file that `export_collection` wrote into a collection, made if it is missing.

    Args:
        client: Where to.
        path: The Parquet file.
        name: The collection's name; None takes the one in the file.
        on_conflict: As in `Collection.add`; with "skip" an interrupted import is run again and goes on.

    Raises:
        InvalidArgumentError: The file is not one of ours.
    """
    _pyarrow("client.import_()")
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(os.fspath(path)) as file:
        description = _description(file.schema_arrow)
        if description is None or description.get("format") != FORMAT_VERSION:
            raise InvalidArgumentError(
                f"{os.fspath(path)!r} was not written by Collection.export(). For any other Parquet "
                "file: collection.from_pandas(pandas.read_parquet(path))."
            )
        collection = _like(
            client,
            name or description["name"],
            description["configuration"],
            description["metadata"],
        )
        with _bar(collection, file.metadata.num_rows, f"Importing {collection.name}") as bar:
            for batch in file.iter_batches(batch_size=PIECE_RECORDS):
                _add_batch(collection, batch, on_conflict)
                bar.update(batch.num_rows)
    return collection


# -- from one store to another ------------------------------------------------------------------


def copy_collections(
    source: ClientAPI, target: ClientAPI, names: Sequence[str] | None = None
) -> dict[str, int]:
    """Copy collections; those that exist in the target get the records that they lack.

    Returns:
        Name -> records that the collection has in the target afterwards.
    """
    chosen = [collection.name for collection in source.list_collections()]
    if names is not None:
        chosen = list(names)
    return {
        name: copy_collection(
            source.get_collection(name, embedding_function=None), target, name
        ).count()
        for name in chosen
    }


def copy_collection(source: Collection, target: ClientAPI, name: str) -> Collection:
    """Copy one collection, its configuration and metadata included; see `copy_collections`."""
    copy = _like(target, name, source.configuration_json, source.metadata)
    with _bar(source, source.count(), f"Copying {source.name}") as bar:
        copy_records(_place(source), _place(copy), bar.update)
    return copy


def _place(collection: Collection) -> Place:
    api = collection._client.api
    return Place(api, collection.id, collection.tenant, collection.database)


def _like(
    client: ClientAPI, name: str, configuration: dict[str, Any], metadata: dict[str, Any] | None
) -> Collection:
    """Return the collection of that name, made with this configuration as it stands if missing."""
    from chroma_nb.collection import Collection
    from chroma_nb.validation import check_collection_name

    check_collection_name(name)
    info = client.api.create_collection(
        name,
        configuration,
        metadata,
        get_or_create=True,
        tenant=client.tenant,
        database=client.database,
    )
    return Collection(client, info)


def _bar(collection: Collection, total: int, desc: str) -> Any:
    enabled = collection._client.get_settings().progress
    return progress_bar(total, desc, unit="record", enabled=enabled)
