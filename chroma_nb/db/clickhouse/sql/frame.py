"""`read_frame`: an answer as a pandas DataFrame, no digit lost.

It comes as Arrow. Where Arrow does not say of which type of ClickHouse's a column is, ClickHouse is asked (DESCRIBE, which
computes scalar subqueries once more), and what Arrow has no type for comes as Python's values, in a second run.
"""

from __future__ import annotations

import datetime
import itertools
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from chroma_nb.db.clickhouse.connection import rows_of
from chroma_nb.db.column_names import distinct_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

#: Types that need nothing of ClickHouse's own: what they are in Arrow says all.
_PLAIN = re.compile(r"(Nullable\()?(U?Int(8|16|32|64)|Interval\w+|Float(32|64)|Bool|String)\)?")
_MOMENT = re.compile(r"(?:Nullable\()?DateTime(?:\('(?P<zone>[^']*)'\))?\)?")
_LAST_INT64 = 2**63


class Answers(Protocol):
    """What gives answers: `Session`."""

    def table(self, sql: str) -> pa.Table:
        """Return an answer as Arrow."""

    def columns(self, sql: str) -> tuple[tuple[str, ...], list[Any]]:
        """Return an answer as names and columns of Python's values."""


def read_frame(answers: Answers, sql: str) -> pd.DataFrame:
    """Run a statement and return its answer."""
    import pandas as pd

    table = answers.table(sql)
    types: dict[int, str] = {}
    unsure = [place for place, one in enumerate(table.schema) if _is_unsure(one.type)]
    if unsure:
        said = [kind for _, kind, *_ in rows_of(answers.table(f"DESCRIBE TABLE ({sql})"))]
        types = {place: said[place] for place in unsure}
    names = distinct_names(table.column_names)
    columns: Iterable[Any]
    if all(_PLAIN.fullmatch(kind) or _MOMENT.fullmatch(kind) for kind in types.values()):
        columns = (_column(table.column(n), types.get(n, "")) for n in range(table.num_columns))
    else:
        _, found = answers.columns(sql)
        columns = (_of_values(list(values)) for values in found)
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def _is_unsure(kind: pa.DataType) -> bool:
    """Say whether several types of ClickHouse's come as this one."""
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return any(_is_unsure(kind.field(n).type) for n in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_unsure(kind.value_type)
    return (
        kind in (pa.uint32(), pa.int8(), pa.int16())
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


# -- columns of Arrow -------------------------------------------------------------------------


def _column(column: pa.ChunkedArray, of_type: str) -> Any:
    kind = column.type
    moment = _MOMENT.fullmatch(of_type)
    if moment is not None:
        return _moments(column.cast(pa.int64()).cast(pa.timestamp("s", tz=moment["zone"] or "UTC")))
    if pa.types.is_boolean(kind):
        return _booleans(column)
    if pa.types.is_integer(kind):
        return _integers(column)
    if pa.types.is_floating(kind):
        return column.cast(pa.float64()).to_numpy()
    if pa.types.is_timestamp(kind):
        return _moments(column)
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).to_numpy().astype("datetime64[s]")
    if pa.types.is_decimal(kind):
        return _decimals(column.to_pylist())
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return _objects(_vectors(column))
    return _objects(column.to_pylist())


def _booleans(column: pa.ChunkedArray) -> Any:
    import pandas as pd

    if column.null_count:
        return pd.array(column.to_pylist(), dtype="boolean")
    return np.array(column.to_pylist(), dtype=bool)


def _integers(column: pa.ChunkedArray) -> Any:
    import pandas as pd
    import pyarrow.compute as pc

    is_large = pa.types.is_uint64(column.type) and (pc.max(column).as_py() or 0) >= _LAST_INT64
    whole = column if is_large else column.cast(pa.int64())
    dtype = np.uint64 if is_large else np.int64
    if not column.null_count:
        return whole.to_numpy().astype(dtype, copy=False)
    gaps = column.is_null().to_numpy()
    return pd.arrays.IntegerArray(whole.fill_null(0).to_numpy().astype(dtype), gaps)


def _moments(column: pa.ChunkedArray) -> Any:
    return column.to_pandas()


def _decimals(values: list[Decimal | None]) -> Any:
    """Return floats where none loses a digit."""
    for value in values:
        if value is not None and Decimal(repr(float(value))) != value:
            return _objects(values)
    return np.array([None if value is None else float(value) for value in values], dtype=np.float64)


def _vectors(column: pa.ChunkedArray) -> list[Any]:
    """Return lists of floats as arrays."""
    found: list[Any] = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy()
        found += [flat[start:stop].copy() for start, stop in itertools.pairwise(offsets)]
    return found


def _objects(values: Sequence[Any]) -> Any:
    import pandas as pd

    # One by one, as numpy would make one array of lists of one length; an explicit dtype keeps None for a missing text.
    made = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        made[place] = value
    return pd.Series(made, dtype=object)


# -- columns of Python's values ---------------------------------------------------------------


def _of_values(values: list[Any]) -> Any:
    kinds = {type(value) for value in values} - {type(None)}
    convert = _CONVERT.get(kinds.pop()) if len(kinds) == 1 else None
    return _objects(values) if convert is None else convert(values)


def _whole(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    if min(known) < -_LAST_INT64 or max(known) >= _LAST_INT64:
        return _objects(values)
    return _integers(pa.chunked_array([pa.array(values, pa.int64())]))


def _reals(values: list[Any]) -> Any:
    return np.array(values, dtype=np.float64)


def _truths(values: list[Any]) -> Any:
    return _booleans(pa.chunked_array([pa.array(values, pa.bool_())]))


def _times(values: list[Any]) -> Any:
    import pandas as pd

    return pd.to_datetime(pd.Series(values, dtype=object))


def _dates(values: list[Any]) -> Any:
    return np.array(values, dtype="datetime64[D]").astype("datetime64[s]")


_CONVERT: dict[type, Callable[[list[Any]], Any]] = {
    int: _whole,
    float: _reals,
    bool: _truths,
    Decimal: _decimals,
    datetime.datetime: _times,
    datetime.date: _dates,
}
