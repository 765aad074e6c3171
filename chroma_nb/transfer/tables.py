"""`Table`: rows of pandas, Polars or Arrow, read alike."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.lazy import is_installed
from chroma_nb.transfer.decoded import cells, row_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


#: How pyarrow names the column of an index that has no name.
_UNNAMED = "__index_level_"


class Table(ABC):
    """Columns of equal length, read in pieces of rows. A missing value is None."""

    #: The columns' names, as they are there.
    columns: Sequence[Any]
    n_rows: int
    #: Those of the columns that are the index of a frame that the table was made of. They are no metadata, unless somebody names
    #: them.
    index_columns: Sequence[Any] = ()
    #: How rows without a value in a column are left out, for messages; ``{}`` is the column.
    drop_missing = "frame.dropna(subset=[{}])"
    #: How the first of the rows is kept that are alike in a column. By that column alone: lists cannot be compared so.
    keep_first = "frame.drop_duplicates({})"

    @abstractmethod
    def cells(self, column: Any, start: int, stop: int) -> list[Any]:
        """Return the cells start .. stop - 1 of a column, of Python's own kinds where there are such."""

    def row_bytes(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return the decoded bytes of the rows start .. stop - 1, shape (stop - start,), int64; None if nothing is encoded."""
        return None

    @property
    def held_bytes(self) -> int:
        """Bytes that hold the table; asked where rows have to be decoded."""
        return 0

    def index(self) -> list[Any] | None:
        """Return what names the rows, None where nothing does."""
        return None

    @property
    def index_may_count(self) -> bool:
        """Whether the index is of integers without a name: it may only count the rows of some other frame."""
        return False

    @property
    def keys(self) -> dict[Any, str]:
        """Column -> the metadata key that it was made of, where that is known."""
        return {}


def table_of(data: Any) -> Table:
    """Return a table of whatever holds one.

    Raises:
        InvalidArgumentError: It holds none.
    """
    if any(base.__module__.startswith("pandas.") for base in type(data).__mro__):
        return PandasTable(data)
    module = type(data).__module__.partition(".")[0]
    if module == "polars" and type(data).__name__ in ("DataFrame", "LazyFrame"):
        return PolarsTable(data)
    if module == "pyarrow":
        return ArrowTable(data)
    if type(data).__name__ == "DuckDBPyRelation" and is_installed("pyarrow"):
        # As a pandas frame its large integers and Decimals would be floats.
        return ArrowTable(data.to_arrow_table())
    # The methods of cuDF, DuckDB's relations and Dask.
    for method in ("to_pandas", "df", "compute"):
        if hasattr(data, method):
            return table_of(getattr(data, method)())
    raise InvalidArgumentError(
        f"Expected a table (a pandas or Polars DataFrame, or one of Arrow), got {type(data).__name__}. Rows as "
        "dicts become one with pandas.DataFrame(rows)."
    )


class PandasTable(Table):
    """A pandas DataFrame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.columns = list(frame.columns)
        self.n_rows = len(frame)

    def cells(self, column: Any, start: int, stop: int) -> list[Any]:
        series = self._frame[column].iloc[start:stop]
        missing = series.isna().tolist()
        return [None if gone else one for one, gone in zip(series.tolist(), missing, strict=True)]

    def index(self) -> list[Any] | None:
        """Return the index, unless it has no name and counts the rows from 0, in whatever order."""
        import pandas as pd

        index = self._frame.index
        if isinstance(index, pd.MultiIndex):
            raise InvalidArgumentError(
                f"The frame's index has {index.nlevels} levels, and an id is one text. Use "
                "frame.reset_index(), and say which column has the ids: id='...'."
            )
        if self.index_may_count and not index.hasnans and _count_rows(index.to_numpy()):
            return None
        missing = index.isna().tolist()
        return [None if gone else one for one, gone in zip(index.tolist(), missing, strict=True)]

    @property
    def index_may_count(self) -> bool:
        import pandas as pd

        index = self._frame.index
        return index.name is None and bool(pd.api.types.is_integer_dtype(index))

    @property
    def keys(self) -> dict[Any, str]:
        # What `to_pandas` notes down.
        noted = self._frame.attrs.get("chroma_nb")
        return dict(noted) if isinstance(noted, dict) else {}


class PolarsTable(Table):
    """A Polars DataFrame or LazyFrame."""

    drop_missing = "frame.drop_nulls({})"
    keep_first = "frame.unique({}, keep='first', maintain_order=True)"

    def __init__(self, frame: Any) -> None:
        self._frame = frame.collect() if hasattr(frame, "collect") else frame
        self.columns = list(self._frame.columns)
        self.n_rows = int(self._frame.height)

    def cells(self, column: Any, start: int, stop: int) -> list[Any]:
        series = self._frame.get_column(column).slice(start, stop - start)
        return _of_polars(series, series.dtype)


def _of_polars(series: Any, dtype: Any) -> list[Any]:
    """Return a Polars Series as a list; nanoseconds as pandas has them, as Python's kinds would cut them."""
    inner = getattr(dtype, "inner", None)
    if inner is not None and getattr(inner, "time_unit", None) == "ns":
        return [None if one is None else _of_polars(one, inner) for one in series]
    found: list[Any] = series.to_list() if getattr(dtype, "time_unit", None) != "ns" else []
    if len(found) == len(series):
        return found
    import pandas as pd

    zone = getattr(dtype, "time_zone", None)
    for count in series.to_physical().to_list():
        if count is None:
            found.append(None)
        elif "Duration" in type(dtype).__name__:
            found.append(pd.Timedelta(count, unit="ns"))
        else:
            moment = pd.Timestamp(count, unit="ns", tz=None if zone is None else "UTC")
            found.append(moment if zone is None else moment.tz_convert(zone))
    return found


def cells_of(table: Any, column: str) -> list[Any]:
    """Return a column of a pyarrow Table as a list.

    Raises:
        InvalidArgumentError: It has dates that Python cannot hold, or is nested too deeply.
        MemoryBudgetError: There is no room for it.
    """
    try:
        found = cells(table.column(column))
    except RecursionError:
        raise _too_deep(column) from None
    except (OverflowError, ValueError) as error:
        raise InvalidArgumentError(
            f"Column {column!r} cannot be read: {error}. Dates are from year 1 to 9999; make others a text first. "
            "Nothing was added."
        ) from None
    return found


def table_row_bytes(table: Any) -> NDArray[np.int64]:
    """Return the decoded bytes of each row of a pyarrow Table of n rows, shape (n,), int64.

    Raises:
        InvalidArgumentError: A column's type is nested too deeply.
    """
    sizes = np.zeros(table.num_rows, np.int64)
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            sizes += row_bytes(column)
        except RecursionError:
            raise _too_deep(name) from None
    return sizes


def _too_deep(column: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"Column {column!r} is nested too deeply to be read. Leave it out: table.drop_columns([{column!r}]). "
        "Nothing was added."
    )


class _Range(NamedTuple):
    """A RangeIndex of pandas."""

    rows: range
    has_name: bool


def _index_of(schema: Any) -> list[str | _Range]:
    """Return the index of the frame that a table was made of, level by level: its column, or a range that is not stored."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        levels = noted.get("index_columns", [])
        found = [
            _Range(range(one["start"], one["stop"], one["step"]), one.get("name") is not None)
            if isinstance(one, dict)
            else str(one)
            for one in levels
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # Somebody else's metadata.
        return []
    return [one for one in found if isinstance(one, _Range) or one in schema.names]


def _count_rows(numbers: Any) -> bool:
    """Say whether n integers are 0 .. n - 1, in whatever order."""
    return bool((np.sort(numbers) == np.arange(len(numbers))).all())


class ArrowTable(Table):
    """A pyarrow Table, RecordBatch or RecordBatchReader."""

    drop_missing = "table.filter(table[{}].is_valid())"
    keep_first = "table.to_pandas().drop_duplicates({})"

    def __init__(self, table: Any) -> None:
        import pyarrow as pa

        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        elif hasattr(table, "read_all"):
            table = table.read_all()
        elif not isinstance(table, pa.Table):
            raise InvalidArgumentError(
                f"Expected a pyarrow Table, RecordBatch or RecordBatchReader, got {type(table).__name__}."
            )
        self.table = table
        self.columns = list(table.column_names)
        self.n_rows = int(table.num_rows)
        self._index = _index_of(table.schema)
        self.index_columns = [one for one in self._index if isinstance(one, str)]

    def row_bytes(self, start: int, stop: int) -> NDArray[np.int64]:
        return table_row_bytes(self.table.slice(start, stop - start))

    @property
    def held_bytes(self) -> int:
        return int(self.table.get_total_buffer_size())

    def cells(self, column: Any, start: int, stop: int) -> list[Any]:
        return cells_of(self.table.slice(start, stop - start), column)

    def index(self) -> list[Any] | None:
        """Return the index of the frame that the table was made of, as `PandasTable.index` does."""
        if len(self._index) > 1:
            raise InvalidArgumentError(
                f"The table was made of a pandas frame whose index has {len(self._index)} levels "
                f"({', '.join(map(str, self.index_columns))}), and an id is one text. Say which column has the ids: id='...'."
            )
        for one in self._index:
            if isinstance(one, str):
                found = self.cells(one, 0, self.n_rows)
                may_count = self.index_may_count and None not in found
                return None if may_count and _count_rows(found) else found
            # A RangeIndex is not stored, and of another length it is that of the frame before rows were left out.
            if len(one.rows) == self.n_rows and (one.has_name or not _count_rows(one.rows)):
                return list(one.rows)
        return None

    @property
    def index_may_count(self) -> bool:
        import pyarrow as pa

        if len(self._index) != 1:
            return False
        (one,) = self._index
        if isinstance(one, str):
            is_whole = pa.types.is_integer(self.table.schema.field(one).type)
            return one.startswith(_UNNAMED) and is_whole
        return not one.has_name
