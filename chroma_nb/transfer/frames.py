"""`add_frame`: the rows of a table of any kind become records."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import DuplicateIDError, InvalidArgumentError, MemoryBudgetError, with_way_out
from chroma_nb.suggest import did_you_mean
from chroma_nb.transfer.cells import MetadataCells, as_id
from chroma_nb.transfer.decoded import Expansion
from chroma_nb.transfer.pieces import Rows, Window, add_pieces, known_ids
from chroma_nb.transfer.stores import place_of
from chroma_nb.transfer.tables import Table, table_of
from chroma_nb.types import OTHER_METADATA
from chroma_nb.validation import check_embeddings, check_ids, check_metadatas, check_on_conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.collection.collection import Collection
    from chroma_nb.transfer.report import TransferReport
    from chroma_nb.types import OnConflict

#: Columns that are found by their names.
_NAMES = {
    "id": ("id", "ids"),
    "document": ("document", "documents", "text"),
    "embedding": ("embedding", "embeddings", "vector"),
    "uri": ("uri", "uris"),
}
#: The columns of an export.
_EXPORTED = {"id", "document", "uri", "metadata", "embedding"}
#: Those without which a table is not taken for one of ours.
_KEPT = {"id", "metadata"}
#: Where ids come from, in words.
_INDEX = "the frame's index"
_CONTENT = "made of the rows' content, as there is no id column"
_PART = {False: "document", True: "uri"}
_DIGEST_BYTES = 16
_HASH = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")
_UUID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")
#: Records whose ids show how a collection's records are named.
_LOOKED_AT = 8


def add_frame(
    collection: Collection,
    frame: Any,
    *,
    id: str | None = None,
    document: str | None = None,
    embedding: str | None = None,
    metadata: Sequence[str] | None = None,
    on_conflict: OnConflict = "skip",
) -> TransferReport:
    """Add the rows of a table: a pandas or Polars DataFrame, or one of Arrow.

    Everything that can be refused is looked at before the first record is written.

    Args:
        collection: Where to.
        frame: One row per record. Missing values (None, NaN, NaT, null) and empty lists are left out of the
            metadata; dates, durations and UUIDs become text, Decimals floats. The report says how many.
        id: The column of ids; None takes ``id``, else the index where it has a name or does not count from 0,
            else a hash of each row's content. So the same table again adds nothing twice, in whatever order
            its rows come, and a row that was changed is a new record where it has no id of its own.
            An index of integers without a name may count the rows of another frame (a piece of a file, a
            filtered frame). So its rows get hashes where the collection has one of them already, and an id
            that exists with other content is an error.
            A frame that is a whole export of chroma_nb's is taken as such: its ``metadata`` column is read.
        document: The column of documents; None takes ``document`` or ``text`` where there is one.
        embedding: The column of embeddings; None takes ``embedding`` where there is one.
        metadata: The metadata columns; None takes all others.
        on_conflict: As in `Collection.add`.

    Returns:
        What was added, skipped, changed and left out.

    Raises:
        InvalidArgumentError: A column that is named is not there, there is nothing to embed, or a cell
            cannot be stored; the row and the column are named. Nothing was written.
        DuplicateIDError: Two rows have the same id. Nothing was written.
    """
    started = time.monotonic()
    check_on_conflict(on_conflict)
    rows = FrameRows(table_of(frame), id, document, embedding, metadata)
    rows.settle_ids(collection, on_conflict)
    report = add_pieces(collection, rows, on_conflict)
    rows.describe(report)
    report.seconds = time.monotonic() - started
    return report


class FrameRows(Rows):
    """The rows of a table, as pieces of records.

    Args:
        table: The table.
        id: The columns, as for `add_frame`.
        document: Likewise.
        embedding: Likewise.
        metadata: Likewise.
    """

    def __init__(
        self,
        table: Table,
        id: str | None,
        document: str | None,
        embedding: str | None,
        metadata: Sequence[str] | None,
    ) -> None:
        self._table = table
        self.n_rows = table.n_rows
        self._expansion = Expansion("The table", table.held_bytes)
        _check_names(table.columns)
        self._id = self._column("id", id)
        self._document = self._column("document", document)
        self._embedding = self._column("embedding", embedding)
        self._uri = self._column("uri", None)
        self._packed = self._find_packed(metadata)
        parts = (self._id, self._document, self._embedding, self._uri)
        # What was not found is None, which may be a column's name as well.
        used = {one for one in parts if one is not None}.union(table.index_columns)
        chosen = [one for one in table.columns if one not in used] if metadata is None else metadata
        if isinstance(chosen, str):
            chosen = [chosen]
        for name in chosen:
            self._require(name)
        if self._packed is not None:
            chosen = []
        keys = {column: table.keys.get(column, str(column)) for column in chosen}
        _check_keys(keys)
        self._cells = {column: MetadataCells(key) for column, key in keys.items()}
        if self._document is None and self._embedding is None:
            raise InvalidArgumentError(
                "The table has neither a document nor an embedding column (columns: "
                f"{_listed(table.columns)}). Say which it is: document='...'."
            )
        self._ids_from = ""
        self._dimension: int | None = None
        self.ids = self._find_ids()

    def _column(self, part: str, name: str | None) -> Any:
        if name is not None:
            self._require(name)
            return name
        free = [one for one in self._table.columns if one not in self._table.keys]
        return next((known for known in _NAMES[part] if known in free), None)

    def _require(self, name: Any) -> None:
        if name not in self._table.columns:
            hint = did_you_mean(name, map(str, self._table.columns), " Did you mean {!r}?")
            raise InvalidArgumentError(
                f"The table has no column {name!r}.{hint} It has: {_listed(self._table.columns)}."
            )

    def _find_packed(self, metadata: Sequence[str] | None) -> str | None:
        """Return the column that holds whole metadata as JSON, in a table that `to_arrow` or `export` made.

        pandas and DuckDB do not keep an Arrow table's description, so such a table is known by its columns, of which some may
        be left out, and by its cells.
        """
        there = set(self._table.columns)
        if metadata is not None or self._table.keys or not _KEPT <= there <= _EXPORTED:
            return None
        cells = self._table.cells("metadata", 0, self.n_rows)
        # With all the columns it is ours. Of others the cells have to be as we write them: anybody may call a column so.
        is_ours = _is_json_object if there == _EXPORTED else _is_written_metadata
        return "metadata" if all(one is None or is_ours(one) for one in cells) else None

    # -- ids ----------------------------------------------------------------------------------

    def _find_ids(self) -> list[str]:
        if self._id is not None:
            given: list[Any] | None = self._table.cells(self._id, 0, self.n_rows)
            self._ids_from = f"the column {self._id!r}"
        else:
            given = self._table.index()
            self._ids_from = _INDEX
        if given is None:
            self._ids_from = _CONTENT
            return self._content_ids()
        where = "the index" if self._id is None else f"column {self._id!r}"
        ids = []
        for row, cell in enumerate(given):
            try:
                ids.append(as_id(cell))
            except ValueError as error:
                raise InvalidArgumentError(
                    f"Row {row:,}, {where}: {error}. Give every row an id, or say which column has them: "
                    "id='...'."
                ) from None
        try:
            return check_ids(ids) if ids else ids
        except DuplicateIDError as error:
            keep_first = self._table.keep_first.format(repr(self._id))
            way_out = (
                f"{_rows_alike(ids)} Where whole rows are repeated, keep the first of them: {keep_first}; else say which "
                "column has unique ids: id='...'."
            )
            if self._id is None:
                way_out = (
                    "They are the frame's index, which repeats where frames were joined with pandas.concat: "
                    "use frame.reset_index(drop=True), or say id='...'."
                )
            raise with_way_out(error, way_out) from None

    def settle_ids(self, collection: Collection, on_conflict: OnConflict) -> None:
        """Decide whether an index of integers without a name has ids, or only counts rows.

        Raises:
            InvalidArgumentError: An id is there with other content, and would be skipped. Or none is there, and the collection's
                records are named by their content, as those of the frame's first piece are.
        """
        if self._ids_from != _INDEX or not self._table.index_may_count:
            return
        by_content = self._content_ids()
        if known_ids(collection, by_content):
            self.ids, self._ids_from = by_content, _CONTENT
            return
        known = known_ids(collection, self.ids)
        if self.ids and not known and _are_named_by_content(collection):
            raise InvalidArgumentError(
                f"The frame's index (from {self.ids[0]}) may only count the rows of a larger frame, and the collection's records are "
                "named by their content, so the same rows would get other ids here than with the whole frame. For names by content "
                "use frame.reset_index(drop=True); where the index has the ids, name it: frame.rename_axis('id'). Nothing was added."
            )
        for start, stop, _ in self.windows() if known and on_conflict == "skip" else ():
            rows = [row for row in range(start, stop) if self.ids[row] in known]
            if rows:
                self._check_same(collection, rows)

    def _check_same(self, collection: Collection, rows: list[int]) -> None:
        """Raise where a record of the collection is another than the row of its id."""
        at_once = place_of(collection).ids_at_once
        if len(rows) > at_once:
            for start in range(0, len(rows), at_once):
                self._check_same(collection, rows[start : start + at_once])
            return
        documents, uris = self._texts(rows)
        metadatas = self._metadatas(rows, counted=False)
        parts = {"documents": documents, "uris": uris, "metadatas": metadatas}
        try:
            there = collection.get(ids=[self.ids[row] for row in rows], include=list(parts))
        except MemoryBudgetError:
            # The collection's records may be larger than these rows.
            if len(rows) == 1:
                raise
            half = len(rows) // 2
            self._check_same(collection, rows[:half])
            self._check_same(collection, rows[half:])
            return
        place = {one: at for at, one in enumerate(there["ids"])}
        for at, row in enumerate(rows):
            other = place.get(self.ids[row])
            for name, mine in parts.items():
                theirs = there[name]
                if other is None or mine is None or theirs is None:
                    continue
                if _by_value(mine[at]) != _by_value(theirs[other]):
                    raise InvalidArgumentError(
                        f"Row {row:,} has the id {self.ids[row]!r} from the frame's index, and collection "
                        f"{collection.name!r} has another record of that id. An index without a name often "
                        "counts the rows of one file or frame. For new records use "
                        "frame.reset_index(drop=True), or say which column has the ids: id='...'; to write "
                        "over the others: on_conflict='replace'. Nothing was added."
                    )

    def _content_ids(self) -> list[str]:
        """Return a hash of each row's content: the same row has the same id the next time."""
        seen: Counter[str] = Counter()
        ids = []
        for start, stop, _ in self.windows():
            rows = range(start, stop)
            documents, uris = self._texts(rows)
            vectors = self._vectors(rows)
            metadatas = self._metadatas(rows, counted=False)
            for at in range(len(rows)):
                content = [
                    None if part is None else _by_value(part[at])
                    for part in (documents, uris, metadatas)
                ]
                text = json.dumps(
                    content, sort_keys=True, ensure_ascii=False, separators=(",", ":")
                )
                digest = hashlib.blake2b(
                    text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES
                )
                if vectors is not None:
                    digest.update(vectors[at].tobytes())
                name = digest.hexdigest()
                seen[name] += 1
                # Rows that are alike stay as many records as there are rows.
                ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
        return ids

    # -- pieces -------------------------------------------------------------------------------

    def window(self, start: int, n_bytes: int) -> Window:
        most = super().window(start, n_bytes)
        sizes = self._table.row_bytes(start, most.stop)
        if sizes is None:
            return most
        n_rows, n_bytes = self._expansion.rows_within(start, sizes, n_bytes)
        return Window(start, start + n_rows, n_bytes)

    def piece(self, rows: Sequence[int], *, counted: bool = True) -> dict[str, Any]:
        documents, uris = self._texts(rows)
        return {
            "documents": documents,
            "uris": uris,
            "embeddings": self._vectors(rows),
            "metadatas": self._metadatas(rows, counted=counted),
        }

    def _chosen(self, column: Any, rows: Sequence[int]) -> list[Any]:
        """Return the cells of some rows, which lie close to each other, in rising order."""
        if not rows:
            return []
        start, stop = rows[0], rows[-1] + 1
        cells = self._table.cells(column, start, stop)
        return cells if len(rows) == stop - start else [cells[row - start] for row in rows]

    def _texts(self, rows: Sequence[int]) -> tuple[list[Any] | None, list[Any] | None]:
        found: list[list[Any] | None] = []
        for column in (self._document, self._uri):
            cells = None if column is None else self._chosen(column, rows)
            for row, cell in zip(rows, cells or (), strict=False):
                if cell is None and column == self._document and self._embedding is None:
                    way_out = self._table.drop_missing.format(repr(column))
                    reason = f"there is no document to embed. Leave such rows out first: {way_out}"
                    raise self._bad_cell(row, column, reason)
                if cell is not None and not isinstance(cell, str):
                    reason = (
                        f"expected a text, got {str(cell)[:80]!r} ({type(cell).__name__}). Make it one: "
                        f"frame[{column!r}].astype(str), or rename the column if it is no {_PART[column == self._uri]}"
                    )
                    raise self._bad_cell(row, column, reason)
                if cell is not None and not _is_unicode(cell):
                    reason = (
                        "the text has half of a surrogate pair, which no file or server can hold. Repair it: "
                        "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
                    )
                    raise self._bad_cell(row, column, reason)
            found.append(cells)
        return found[0], found[1]

    def _vectors(self, rows: Sequence[int]) -> NDArray[np.float32] | None:
        """Return the embeddings of the rows, shape (n, dimension), float32; None if there is no such column."""
        if self._embedding is None:
            return None
        cells = self._chosen(self._embedding, rows)
        vectors: NDArray[np.float32] | None = None
        # If one cannot be used, `_find_bad_vector` says which.
        with contextlib.suppress(ValueError, TypeError):
            vectors = check_embeddings([np.asarray(cell) for cell in cells])
        if vectors is None or self._dimension not in (None, vectors.shape[1]):
            self._find_bad_vector(cells, rows)
        elif self._dimension is None:
            self._dimension = int(vectors.shape[1])
        return vectors

    def _find_bad_vector(self, cells: list[Any], rows: Sequence[int]) -> None:
        """Raise the error for the first embedding that cannot be used."""
        for row, cell in zip(rows, cells, strict=True):
            if cell is None:
                raise self._bad_cell(row, self._embedding, "the embedding is missing")
            if isinstance(cell, str):
                reason = (
                    f"expected numbers, got the text {cell[:40]!r}. Read it first, with json.loads"
                )
                raise self._bad_cell(row, self._embedding, reason)
            try:
                vector = check_embeddings([np.asarray(cell)])
            except (ValueError, TypeError) as error:
                raise self._bad_cell(row, self._embedding, str(error)) from None
            if self._dimension is None:
                self._dimension = int(vector.shape[1])
            if vector.shape[1] != self._dimension:
                reason = f"it has {vector.shape[1]} dimensions, those before have {self._dimension}"
                raise self._bad_cell(row, self._embedding, reason)

    def _metadatas(
        self, rows: Sequence[int], *, counted: bool = True
    ) -> list[dict[str, Any] | None] | None:
        """Return the rows' metadata; what changes on the way is `counted` for the report."""
        if self._packed is not None:
            return [_unpacked(cell) for cell in self._chosen(self._packed, rows)]
        if not self._cells:
            return None
        out: list[dict[str, Any]] = [{} for _ in rows]
        for column, kept in self._cells.items():
            cells = kept if counted else MetadataCells(kept.key)
            for at, cell in enumerate(self._chosen(column, rows)):
                if column == OTHER_METADATA and self._table.keys and isinstance(cell, dict):
                    # What `to_pandas(max_columns=...)` found no column for.
                    out[at].update(cell)
                    continue
                try:
                    value = cells.value(cell)
                except (ValueError, TypeError) as error:
                    raise self._bad_cell(rows[at], column, str(error)) from None
                if value is not None:
                    out[at][cells.key] = value
        return [one or None for one in out]

    def _bad_cell(self, row: int, column: Any, reason: str) -> InvalidArgumentError:
        name = f" (id {self.ids[row][:80]!r})" if hasattr(self, "ids") else ""
        return InvalidArgumentError(
            f"Row {row:,}{name}, column {column!r}: {reason.rstrip('.')}. Nothing was added."
        )

    def describe(self, report: TransferReport) -> None:
        """Say in a report where the ids are from, and what changed on the way in."""
        report.ids = self._ids_from
        for column, cells in self._cells.items():
            cells.describe(report, str(column))


def _are_named_by_content(collection: Collection) -> bool:
    """Say whether a collection's first records have ids as `_content_ids` makes them, and not random ones of that length."""
    ids = collection.get(limit=_LOOKED_AT, include=[])["ids"]
    # A random UUID has a 4 and one of 8, 9, a, b where a hash has any digit.
    return all(map(_HASH.fullmatch, ids)) and not all(map(_UUID.fullmatch, ids))


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_json_object(cell: Any) -> bool:
    return isinstance(_unpacked(cell), dict)


def _is_written_metadata(cell: Any) -> bool:
    """Say whether a cell is what a record's metadata is stored as: JSON without spaces, of values that metadata has."""
    found = _unpacked(cell)
    if not isinstance(found, dict) or not found or None in found.values():
        return False
    try:
        check_metadatas([found])
    except (ValueError, TypeError):
        return False
    # With all keys once, and numbers as they are written.
    return bool(json.dumps(found, ensure_ascii=False, separators=(",", ":")) == cell)


def _unpacked(cell: Any) -> Any:
    """Return what a cell of JSON text holds, None where it is none."""
    try:
        return json.loads(cell) if isinstance(cell, str) else None
    except (ValueError, RecursionError):
        return None


def _by_value(value: Any) -> Any:
    """Return a value in which equal numbers are the same.

    A column of integers becomes one of floats when a row without a value is added.
    """
    if isinstance(value, dict):
        return {key: _by_value(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_by_value(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rows_alike(ids: Sequence[str]) -> str:
    first: dict[str, int] = {}
    for row, one in enumerate(ids):
        if one in first:
            return f"Rows {first[one]:,} and {row:,} have the id {one[:80]!r}."
        first[one] = row
    return ""


def _check_keys(keys: dict[Any, str]) -> None:
    """Refuse columns that cannot be metadata keys, and two columns that would be one."""
    columns: dict[str, Any] = {}
    for column, key in keys.items():
        if key in columns:
            raise InvalidArgumentError(
                f"The columns {columns[key]!r} and {column!r} would both be the metadata key {key!r}. Rename or drop "
                "one of them; nothing was added."
            )
        columns[key] = column
        try:
            check_metadatas([{key: True}])
        except ValueError as error:
            raise InvalidArgumentError(
                f"Column {column!r}: {str(error).rstrip('.')}. Rename it, or leave it out: metadata=[...] names the columns "
                "to keep. Nothing was added."
            ) from None


def _check_names(columns: Sequence[Any]) -> None:
    """Refuse columns whose names are the same once they are metadata keys."""
    counts = Counter(map(str, columns))
    if any(isinstance(column, tuple) for column in columns):
        raise InvalidArgumentError(
            "The table's columns have several levels. Make one of them: "
            "frame.columns = ['_'.join(map(str, column)) for column in frame.columns]."
        )
    twice = [name for name, n in counts.items() if n > 1]
    if twice:
        raise InvalidArgumentError(
            f"The table has {counts[twice[0]]} columns named {twice[0]!r}, and a record has one value for a key. "
            "Rename them; nothing was added."
        )


def _listed(columns: Sequence[Any]) -> str:
    some = ", ".join(map(str, list(columns)[:30]))
    return some + (", ..." if len(columns) > 30 else "")
