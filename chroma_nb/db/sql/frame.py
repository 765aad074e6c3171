"""`read_frame`: the rows of an answer as a pandas DataFrame, no digit lost, and no more than fits.

DuckDB's own ``df()`` turns integers with gaps, large integers and decimals into floats. Here integers and
truth values with gaps take pandas' dtypes that have them, and what no dtype holds is kept as Python's own
objects. Pyarrow, which would bring such types along, is not needed.
"""

from __future__ import annotations

import datetime
import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.chunks import CHUNK_ROWS
from chroma_nb.db.column_names import distinct_names
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.preflight import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb
    import pandas as pd
    from numpy.typing import NDArray

#: Types that come as arrays, ten times as fast as rows. Integers beside gaps come as floats.
_AS_ARRAYS = re.compile(
    r"VARCHAR|JSON|BOOLEAN|FLOAT|DOUBLE|U?(TINYINT|SMALLINT|INTEGER)|BIGINT|(FLOAT|DOUBLE)\[\d+\]"
)
_INTEGER = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_REAL = re.compile(r"FLOAT|DOUBLE|DECIMAL\(.*\)")
#: What to do about an answer that is too large.
WAYS_OUT = (
    "ask for fewer rows (LIMIT) or for fewer columns",
    "let SQL count or add up instead",
)
_VECTOR = re.compile(r"(FLOAT|DOUBLE)\[(\d+)\]")
#: Integers below this are exact as floats.
_EXACT = 2**53
#: Microseconds of an array have 64 bits.
_LONGEST_SPAN = datetime.timedelta(microseconds=2**63 - 1)
#: Rows that are fetched together at most, and numbers in their vectors at most (16 MB of floats).
#: Chosen, not measured.
_ROWS, _NUMBERS = 20_000, 4_000_000
#: How much an answer may grow before the free memory is looked at again: `require` ignores smaller needs.
_STEP_BYTES = 16 << 20
#: Values that are measured to estimate the size of a column of objects. Chosen, not measured.
_SAMPLE = 64


class _InexactError(Exception):
    """The answer has integers that would lose digits as arrays."""


def read_frame(
    cursor: duckdb.DuckDBPyConnection,
    types: Sequence[str] | None,
    execute_again: Callable[[], object],
) -> pd.DataFrame:
    """Read the answer of a cursor to its end.

    Args:
        cursor: It has executed a query.
        types: DuckDB's types of the columns; None where they are not known.
        execute_again: Executes the query once more. It is called where arrays turn out to lose digits, which only
            the values show.

    Raises:
        MemoryBudgetError: The machine has not enough memory for it.
    """
    if types is not None and _come_as_arrays(types):
        try:
            return _frame(cursor, types, as_arrays=True)
        except _InexactError:
            execute_again()
    return _frame(cursor, types, as_arrays=False)


def _come_as_arrays(types: Sequence[str]) -> bool:
    return all(_AS_ARRAYS.fullmatch(kind) for kind in types)


def _frame(
    cursor: duckdb.DuckDBPyConnection, types: Sequence[str] | None, *, as_arrays: bool
) -> pd.DataFrame:
    import pandas as pd

    names = distinct_names([column[0] for column in cursor.description or ()])
    kinds = list(types) if types is not None else [""] * len(names)
    meter = _Meter()
    columns = _read_arrays(cursor, kinds, meter) if as_arrays else _read_rows(cursor, kinds, meter)
    return pd.DataFrame(
        {name: _as_series(values) for name, values in zip(names, columns, strict=True)}
    )


def _as_series(values: Any) -> Any:
    import pandas as pd

    # An explicit dtype keeps None for a missing text: pandas 3 would make it NaN.
    is_object = isinstance(values, np.ndarray) and values.dtype.kind == "O"
    return pd.Series(values, dtype=object if is_object else None)


class _Meter:
    """Looks at what is free while an answer grows."""

    def __init__(self) -> None:
        self._bytes = 0
        self._rows = 0
        self._next = _STEP_BYTES

    def rows_at_once(self, types: Sequence[str]) -> int:
        """Return how many rows to fetch next: few at first, then as many as `_STEP_BYTES` are enough for."""
        if not self._rows:
            return min(CHUNK_ROWS, _rows_at_once(types))
        each = max(1, self._bytes // self._rows)
        return max(1, min(_STEP_BYTES // each, _rows_at_once(types)))

    def add(self, n_rows: int, n_bytes: int) -> None:
        self._rows += n_rows
        self._bytes += n_bytes
        if self._bytes < self._next:
            return
        self._next = self._bytes + max(_STEP_BYTES, self._bytes // 4)
        try:
            # As much again is needed, as the pieces are joined in the end.
            require(
                self._bytes,
                f"An answer of more than {self._rows:,} rows",
                *WAYS_OUT,
            )
        except MemoryBudgetError as error:
            raise MemoryBudgetError(
                error.message().replace(
                    "Nothing was allocated", "The rows read so far were discarded"
                ),
                need=error.need,
                free=error.free,
            ) from None


# -- as arrays --------------------------------------------------------------------------------


def _read_arrays(
    cursor: duckdb.DuckDBPyConnection, types: Sequence[str], meter: _Meter
) -> list[Any]:
    import pandas as pd

    pieces: list[list[NDArray[Any]]] = [[] for _ in types]

    def n_chunks() -> int:
        return max(1, meter.rows_at_once(types) // CHUNK_ROWS)

    while len(frame := cursor.fetch_df_chunk(n_chunks())):
        for place, kind in enumerate(types):
            values = frame.iloc[:, place].to_numpy()
            if _INTEGER.fullmatch(kind):
                values = _integers_of_piece(values)
            elif _REAL.fullmatch(kind):
                values = values.astype(np.float64)
            elif _VECTOR.fullmatch(kind):
                values = _objects([_as_vector(value) for value in values])
            elif values.dtype.kind == "O" and (gaps := pd.isna(values)).any():
                values = np.where(gaps, None, values)
            pieces[place].append(values)
        meter.add(len(frame), sum(_size_of(column[-1]) for column in pieces))
    columns = []
    for place, kind in enumerate(types):
        # One column after the other: so only one at a time is in memory twice.
        columns.append(_join(pieces[place], kind))
        pieces[place] = []
    return columns


def _as_vector(value: Any) -> Any:
    """Return an array, or None for a gap; a gap within it is NaN."""
    if isinstance(value, np.ma.MaskedArray):
        return np.asarray(value.filled(np.nan))
    return value if isinstance(value, np.ndarray) else None


def _integers_of_piece(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    present = values[~np.isnan(values)]
    if len(present) and np.abs(present).max() >= _EXACT:
        raise _InexactError
    return values


def _join(pieces: list[NDArray[Any]], kind: str) -> Any:
    import pandas as pd

    if not pieces:
        return _nothing(0, kind)
    whole = np.concatenate(pieces)
    if _INTEGER.fullmatch(kind) and whole.dtype != np.int64:
        # Pieces without gaps may hold integers that a float does not: so each piece is converted by itself.
        gaps = np.isnan(whole)
        exact = np.concatenate(
            [np.where(np.isnan(piece), 0, piece).astype(np.int64) for piece in pieces]
        )
        return pd.arrays.IntegerArray(exact, gaps)
    if kind == "BOOLEAN" and whole.dtype != bool:
        return pd.array(whole.tolist(), dtype="boolean")
    return whole


# -- as rows ----------------------------------------------------------------------------------


def _read_rows(cursor: duckdb.DuckDBPyConnection, types: Sequence[str], meter: _Meter) -> list[Any]:
    columns: list[list[Any]] = [[] for _ in types]
    while rows := cursor.fetchmany(meter.rows_at_once(types)):
        found = list(zip(*rows, strict=True))
        for column, values, kind in zip(columns, found, types, strict=True):
            column.extend(_plain(values, kind))
        meter.add(len(rows), sum(_size_of(values) for values in found))
    out = []
    for place, kind in enumerate(types):
        out.append(_column(columns[place], kind))
        columns[place] = []
    return out


def _plain(values: Sequence[Any], kind: str) -> Sequence[Any]:
    """Return values of one column with vectors as arrays, and other arrays as lists."""
    vector = _VECTOR.fullmatch(kind)
    if vector:
        dtype = np.float32 if vector[1] == "FLOAT" else np.float64
        return [None if value is None else np.array(value, dtype=dtype) for value in values]
    if any(type(value) is tuple for value in values):
        return [list(value) if type(value) is tuple else value for value in values]
    return values


def _column(values: list[Any], kind: str) -> Any:
    """Return the column of a DataFrame: an array of the dtype that loses nothing."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return _nothing(len(values), kind)
    convert = _CONVERT.get(kinds.pop()) if len(kinds) == 1 else None
    return _objects(values) if convert is None else convert(values)


def _nothing(n_rows: int, kind: str) -> Any:
    import pandas as pd

    if _INTEGER.fullmatch(kind):
        return (
            np.zeros(0, dtype=np.int64) if not n_rows else pd.array([None] * n_rows, dtype="Int64")
        )
    if kind == "BOOLEAN":
        return np.zeros(0, dtype=bool) if not n_rows else pd.array([None] * n_rows, dtype="boolean")
    if _REAL.fullmatch(kind):
        return np.full(n_rows, np.nan)
    if kind.startswith(("TIMESTAMP", "DATE")) and "ZONE" not in kind:
        return np.full(n_rows, "NaT", dtype="datetime64[us]")
    return _objects([None] * n_rows)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _integers(values: list[int | None]) -> Any:
    import pandas as pd

    present = [value for value in values if value is not None]
    low, high = min(present), max(present)
    if low >= -(2**63) and high < 2**63:
        dtype: Any = np.int64
    elif low >= 0 and high < 2**64:
        dtype = np.uint64
    else:
        return _objects(values)
    if len(present) == len(values):
        return np.array(values, dtype=dtype)
    gaps = np.array([value is None for value in values])
    return pd.arrays.IntegerArray(np.array([value or 0 for value in values], dtype=dtype), gaps)


def _booleans(values: list[bool | None]) -> Any:
    import pandas as pd

    if None in values:
        return pd.array(values, dtype="boolean")
    return np.array(values, dtype=bool)


def _reals(values: list[float | None]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _decimals(values: list[Decimal | None]) -> NDArray[Any]:
    """Return floats where these give every digit back, as with 1.5; else the decimals."""
    for value in values:
        if value is not None and Decimal(repr(float(value))) != value:
            return _objects(values)
    return np.array([None if value is None else float(value) for value in values], dtype=np.float64)


def _moments(values: list[datetime.datetime | None]) -> Any:
    import pandas as pd

    if all(value is None or value.tzinfo is None for value in values):
        return np.array(values, dtype="datetime64[us]")
    return pd.Series(values)


def _dates(values: list[datetime.date | None]) -> NDArray[Any]:
    return np.array(values, dtype="datetime64[D]").astype("datetime64[s]")


def _spans(values: list[datetime.timedelta | None]) -> NDArray[Any]:
    if any(value is not None and abs(value) > _LONGEST_SPAN for value in values):
        return _objects(values)
    return np.array(values, dtype="timedelta64[us]")


_CONVERT: dict[type, Callable[[list[Any]], Any]] = {
    int: _integers,
    bool: _booleans,
    float: _reals,
    Decimal: _decimals,
    datetime.datetime: _moments,
    datetime.date: _dates,
    datetime.timedelta: _spans,
}


# -- sizes ------------------------------------------------------------------------------------


def n_numbers(types: Sequence[str]) -> int:
    """Return how many numbers the embeddings of a row with columns of these types have."""
    return sum(int(vector[2]) for kind in types if (vector := _VECTOR.fullmatch(kind)))


def _rows_at_once(types: Sequence[str]) -> int:
    return max(1, min(_ROWS, _NUMBERS // max(1, n_numbers(types))))


def _size_of(values: Any) -> int:
    """Return about how much memory a column takes."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.nbytes
    n = len(values)
    sample = values[:: max(1, n // _SAMPLE)]
    return n * sum(8 + _size_of_one(value) for value in sample) // max(1, len(sample))


def _size_of_one(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes + 112
    if isinstance(value, list | tuple):
        return sys.getsizeof(value) + sum(map(_size_of_one, value[:_SAMPLE])) * len(value) // max(
            1, len(value[:_SAMPLE])
        )
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(_size_of_one, value.values()))
    return sys.getsizeof(value)
