"""Records, matches and pieces of scans as Arrow batches. For each kind its two directions stand together; no end trusts the other.

A column that is missing was not given, or not asked for. Embeddings are lists of float32: written with a fixed size (which
`flight.as_answer` takes away, as all answers of a stream have one schema), and read with or without. Metadata are JSON texts.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from chroma_nb.api.base import Matches, Records
from chroma_nb.api.scanning import ScanPiece
from chroma_nb.compact_json import parsed_together
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.wire.answers import AnswerError, read_metadatas
from chroma_nb.wire.arrow_columns import (
    from_numbers,
    from_texts,
    from_vectors,
    is_given,
    to_numbers,
    to_texts,
    too_much_text,
)
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from chroma_nb.texts import Texts
    from chroma_nb.types import RecordBatch

#: Name of a column -> the part of an answer, and the name in `include`.
PARTS = {
    "embedding": "embeddings",
    "document": "documents",
    "uri": "uris",
    "metadata": "metadatas",
}


# -- embeddings -----------------------------------------------------------------------------------


def variable_lists(flat: pa.Array, n_rows: int) -> pa.Array:
    """Return embeddings, one after the other, as lists whose type does not say their length.

    Args:
        flat: All numbers, float32.
        n_rows: How many embeddings there are.
    """
    dimension = len(flat) // n_rows if n_rows else 0
    return pa.ListArray.from_arrays(
        from_numbers(np.arange(n_rows + 1, dtype=np.int32) * np.int32(dimension)), flat
    )


def from_lists(
    column: Any, what: str, refuse: Callable[[str], Exception]
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return embeddings, shape (n, dimension) and float32, and which are given: shape (n,), None where all are.

    Args:
        column: An Arrow array of lists of numbers, all of one length.
        what: What it is, for the error.
        refuse: Makes the error of a sentence.
    """
    kind = column.type
    if not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        raise refuse(f"Expected {what} to be lists of float32, got {kind}"[:300])
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise refuse(f"Expected {what} to be lists of float32, got {kind}"[:300])
    given = None if not column.null_count else is_given(column)
    present = column if given is None else column.drop_null()
    values = present.flatten()
    if values.null_count:
        raise refuse(f"Expected {what} without missing numbers")
    n_rows = len(present)
    dimension = len(values) // n_rows if n_rows else 0
    if n_rows > 1 and not pa.types.is_fixed_size_list(kind):
        lengths = np.diff(to_numbers(present.offsets))
        if not (lengths == dimension).all():
            raise refuse(
                f"Expected {what} of one length, got {lengths.min():,} to {lengths.max():,} numbers"
            )
    with np.errstate(over="ignore"):
        rows = to_numbers(values).astype(np.float32, copy=False).reshape(n_rows, dimension)
    if given is None:
        return rows, None
    everything = np.zeros((len(column), dimension), dtype=np.float32)
    everything[given] = rows
    return everything, given


# -- records to write -------------------------------------------------------------


def write_records(records: RecordBatch, given: NDArray[np.bool_] | None = None) -> pa.RecordBatch:
    """Return the records of a write as they are sent.

    Args:
        records: The records.
        given: Which embeddings are given: shape (n,), bool; None is all.
    """
    columns = {"id": from_texts(records.ids)}
    if records.embeddings is not None:
        columns["embedding"] = from_vectors(records.embeddings, given)
    for name, values in (("document", records.documents), ("uri", records.uris)):
        if values is not None:
            columns[name] = from_texts(values)
    if records.metadatas is not None:
        columns["metadata"] = _json_texts(records.metadatas)
    return pa.RecordBatch.from_pydict(columns)


def read_batch(table: Any) -> dict[str, Any]:
    """Return the columns of records that were sent: ``ids``, ``embeddings``, ``documents``, ``uris`` and ``metadatas``.

    ``embeddings`` is an array of shape (n, dimension), float32, or a list in which None stands for a missing one.

    Raises:
        InvalidArgumentError: A column is missing, unknown, or of another type.
    """
    known = ("id", *PARTS)
    for name in table.schema.names:
        if name not in known:
            raise InvalidArgumentError(
                f"Unknown column {str(name)[:80]!r}. Expected {', '.join(known)}: metadata is one column of JSON texts"
            )
    if len(set(table.schema.names)) < len(table.schema.names):
        raise InvalidArgumentError("Expected each column once")
    if "id" not in table.schema.names:
        raise InvalidArgumentError("Expected a column 'id' of texts")
    found: dict[str, Any] = {"ids": _texts(table.column("id"), "id", InvalidArgumentError)}
    if None in found["ids"]:
        raise InvalidArgumentError(
            f"Expected IDs to be texts, got None in row {found['ids'].index(None)}"
        )
    for name in ("document", "uri"):
        found[PARTS[name]] = None
        if name in table.schema.names:
            found[PARTS[name]] = _texts(table.column(name), name, InvalidArgumentError)
    found["metadatas"] = None
    if "metadata" in table.schema.names:
        texts = _texts(table.column("metadata"), "metadata", InvalidArgumentError)
        together = parsed_together(texts)
        if together is None or not {*map(type, together)} <= {dict, type(None)}:
            together = [_metadata(text, row) for row, text in enumerate(texts)]
        found["metadatas"] = [one or None for one in together]
    found["embeddings"] = None
    if "embedding" in table.schema.names:
        column = _one_array(table.column("embedding"))
        vectors, given = from_lists(column, "embeddings", InvalidArgumentError)
        found["embeddings"] = vectors
        if given is not None:
            rows = zip(vectors, given.tolist(), strict=True)
            found["embeddings"] = [row if there else None for row, there in rows]
    return found


def _metadata(text: str | None, row: int) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not isinstance(value, dict):
        raise InvalidArgumentError(
            f"Expected metadata to be JSON objects, got {text[:80]!r} in row {row}"
        )
    return value or None


# -- answers --------------------------------------------------------------------------------------


def read_records(batches: Iterable[Any], include: Sequence[str]) -> Records:
    """Return an answer to `get`.

    Args:
        batches: One, or several with some of the records each.
        include: What was asked for.

    Raises:
        AnswerError, or another `ValueError`: It is none.
    """
    asked = [(name, part) for name, part in PARTS.items() if part in include]
    ids: list[str] = []
    columns: dict[str, list[Any]] = {part: [] for _, part in asked}
    for batch in batches:
        ids += _ids(batch)
        for name, part in asked:
            columns[part].append(_part(batch, name))
    found = Records(ids)
    for part, pieces in columns.items():
        if part == "embeddings":
            # The caller's own: Arrow's memory cannot be written to.
            found.embeddings = np.concatenate(pieces)
        else:
            setattr(found, part, list(itertools.chain.from_iterable(pieces)))
    return found


def write_matches(matches: Matches) -> pa.RecordBatch:
    """Return an answer to `query` as it is sent: the matches of all queries, one below the other."""
    sizes = [len(ids) for ids in matches.ids]
    columns = {
        "query": from_numbers(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)),
        "id": from_texts(one for ids in matches.ids for one in ids),
    }
    if matches.distances is not None:
        flat = np.array([one for row in matches.distances for one in row], dtype=np.float32)
        columns["distance"] = from_numbers(flat)
    if matches.embeddings is not None:
        some = [rows for rows in matches.embeddings if len(rows)]
        vectors = np.concatenate(some) if some else np.empty((0, 1), np.float32)
        columns["embedding"] = from_vectors(vectors)
    for name, rows in (("document", matches.documents), ("uri", matches.uris)):
        if rows is not None:
            columns[name] = from_texts(one for row in rows for one in row)
    if matches.metadatas is not None:
        columns["metadata"] = _json_texts([one for row in matches.metadatas for one in row])
    return pa.RecordBatch.from_pydict(columns)


def read_matches(table: Any, include: Sequence[str], n_queries: int) -> Matches:
    """Return an answer to `query`.

    Raises:
        AnswerError: It is none, or one to another number of queries.
    """
    ids = _ids(table)
    numbers = _column(table, "query")
    if not pa.types.is_int32(numbers.type) or numbers.null_count:
        raise AnswerError("'query' has something else than the numbers of queries")
    queries = to_numbers(numbers)
    if len(queries) and (
        queries[0] < 0 or queries[-1] >= n_queries or (np.diff(queries) < 0).any()
    ):
        raise AnswerError(f"'query' has other numbers than those of {n_queries:,} queries")
    ends = np.searchsorted(queries, np.arange(n_queries + 1)).tolist()

    def split(values: Any) -> list[Any]:
        return [values[start:end] for start, end in itertools.pairwise(ends)]

    found = Matches(split(ids))
    if "distances" in include:
        distances = _column(table, "distance")
        if not pa.types.is_float32(distances.type) or distances.null_count:
            raise AnswerError("'distance' has something else than float32")
        found.distances = split(to_numbers(distances).tolist())
    for name, part in PARTS.items():
        if part in include:
            values = _part(table, name)
            # The caller's own: Arrow's memory cannot be written to.
            setattr(found, part, split(values.copy() if name == "embedding" else values))
    return found


# -- pieces of scans ------------------------------------------------------------------------------


def records_schema(dimension: int, include: Sequence[str] | None = None) -> pa.Schema:
    """Return the schema of records as they are sent: those of the pieces of a scan.

    Args:
        dimension: Floats of an embedding.
        include: What there is beside the id; None is everything.
    """
    kinds = dict.fromkeys(PARTS, pa.string())
    kinds["embedding"] = pa.list_(pa.float32(), dimension)
    given = [name for name, part in PARTS.items() if include is None or part in include]
    return pa.schema([("id", pa.string()), *((name, kinds[name]) for name in given)])


def write_piece(piece: ScanPiece) -> pa.RecordBatch:
    """Return records that are columns as they are sent: a piece of a scan, or an answer to `get`."""
    columns = {"id": from_texts(piece.ids)}
    for name, part in PARTS.items():
        column = getattr(piece, part)
        if column is not None:
            columns[name] = from_vectors(column) if name == "embedding" else from_texts(column)
    return pa.RecordBatch.from_pydict(columns)


def read_piece(table: Any, include: Sequence[str], dimension: int) -> ScanPiece:
    """Return a piece of a scan.

    Args:
        table: The batch.
        include: What was asked for.
        dimension: Floats of an embedding.

    Raises:
        AnswerError: It is none.
    """
    ids = _packed(_column(table, "id"), "id", AnswerError)
    if ids.given is not None:
        raise AnswerError("'id' has something else than texts")
    piece = ScanPiece(ids)  # type: ignore[arg-type]
    for name, part in PARTS.items():
        if part not in include:
            continue
        column = _column(table, name)
        if name != "embedding":
            setattr(piece, part, _packed(column, name, AnswerError))
            continue
        piece.embeddings = _vectors(column)
        if piece.ids and piece.embeddings.shape[1] != dimension:
            raise AnswerError(
                f"'embedding' has {piece.embeddings.shape[1]:,} numbers, not {dimension:,}"
            )
    # Whoever gets the texts writes them to a file as they are.
    read_metadatas(list(piece.metadatas or ()))
    return piece


def _json_texts(values: Sequence[Mapping[str, Any] | None]) -> pa.Array:
    return from_texts(None if one is None else dumps(one).decode() for one in values)


def _ids(table: Any) -> list[str]:
    ids = _texts(_column(table, "id"), "id", AnswerError)
    if None in ids:
        raise AnswerError("'id' has something else than texts")
    return ids


def _part(table: Any, name: str) -> Any:
    column = _column(table, name)
    if name == "embedding":
        return _vectors(column)
    texts = _texts(column, name, AnswerError)
    return read_metadatas(texts) if name == "metadata" else texts


def _vectors(column: Any) -> NDArray[np.float32]:
    vectors, given = from_lists(column, "'embedding'", AnswerError)
    if given is not None:
        raise AnswerError("'embedding' has missing ones")
    return vectors if len(vectors) else np.empty((0, 0), np.float32)


def _column(table: Any, name: str) -> Any:
    found = table.schema.get_all_field_indices(name)
    if len(found) != 1:
        raise AnswerError(f"no column {name!r}")
    return _one_array(table.column(found[0]))


def _one_array(column: Any) -> Any:
    """Return a column, which may be in chunks, as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    whole = column.combine_chunks()
    # pyarrow gives chunks again where the texts are too long for one array.
    if isinstance(whole, pa.ChunkedArray):
        raise too_much_text()
    return whole


def _is_text(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _texts(column: Any, name: str, refuse: Callable[[str], Exception]) -> list[Any]:
    try:
        return _packed(column, name, refuse).to_list()
    except UnicodeDecodeError:
        # Arrow does not look whether what calls itself UTF-8 is that.
        raise refuse(f"Column {name!r} has texts that are not UTF-8") from None


def _packed(column: Any, name: str, refuse: Callable[[str], Exception]) -> Texts:
    if not _is_text(column.type):
        raise refuse(f"Expected column {name!r} to be texts, got {column.type}"[:300])
    return to_texts(_one_array(column))
