"""One filter, three ways: the NumPy mask, DuckDB's SQL, and plain Python as the referee.

Conditions made with `K` are filters like others; here they come as their JSON form.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from chroma_nb.filters.expression import (
    And,
    DocumentContains,
    DocumentMatches,
    Expression,
    IdAmong,
    Or,
)
from chroma_nb.filters.mask import compile_mask
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.filters.sql import DuckDBDialect, compile_sql
from chroma_nb.segment.metadata_column import MetadataColumn
from chroma_nb.segment.text_pool import TextPool
from chroma_nb.testing import matches

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = [
    "a",
    "b",
    "a/b",
    "~",
    "ü",
    "0",
    "with space",
    'quo"te',
    "do.t",
    "back\\slash",
    "'",
    "nu\0l",
    "?",
]
INTS = [0, 1, -1, 2, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, 1.5, -1.0, 2.0**53, 1e300, 2.0**63, 5e-324, -0.5]
TEXTS = [
    "",
    "x",
    "X",
    "1",
    "true",
    "ü/~",
    "it's",
    '"',
    "\\",
    "ab%_c",
    "null",
    "\n",
    "😀",
    "\0",
    "\\u0000",
]

#: Dates in all of ISO's forms, ends of the calendar, and texts that are nearly one.
DATES = [
    "2024-05-01",
    "2024-05-01T00:00:00",
    "2024-05-01T00:00",
    "2024-05-01 00",
    "2024-05-01T02:00:00+02:00",
    "2024-04-30T23:59:59.999999999Z",
    "2024-05-01T00:00:00.000000001-00:00",
    "1969-12-31T23:59:59.5",
    "1583-01-01",
    "0001-01-01",
    "9999-12-31T23:59:59-23:59",
]
NEARLY_DATES = [
    "2024-02-30",
    "0000-01-01",
    "2024-5-1",
    "2024-05-01T24:00",
    "2024-05-01\n",
    "2024-05-01T00:00:00.1234567891",
    "2024-05-01T00:00:60",
    "20240501",
    "２０２４-05-01",
    "x2024-05-01",
]
IDS = ["r0", "r1", "r2", "r3", "R1", "", "no one"]

scalars = st.one_of(
    st.sampled_from([*DATES, *NEARLY_DATES]),
    st.sampled_from(INTS),
    st.sampled_from(FLOATS),
    st.sampled_from(TEXTS),
    st.booleans(),
)
lists = st.one_of(
    *(
        st.lists(values, min_size=1, max_size=3)
        for values in (
            st.sampled_from(INTS),
            st.sampled_from(FLOATS),
            st.sampled_from(TEXTS),
            st.booleans(),
        )
    )
)
metadatas = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(KEYS), st.one_of(scalars, lists), min_size=1, max_size=4),
)
documents = st.one_of(st.none(), st.text(alphabet="ab%_é \n", max_size=6))
rows = st.lists(st.tuples(metadatas, documents), min_size=1, max_size=12)

numbers = st.one_of(st.sampled_from(INTS), st.sampled_from(FLOATS), st.just(float("inf")))
leaves = st.one_of(
    st.builds(
        lambda k, op, v: {k: {op: v}},
        st.sampled_from(KEYS),
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        st.sampled_from(DATES),
    ),
    st.builds(
        lambda op, v: {"#id": {op: v}}, st.sampled_from(["$eq", "$ne"]), st.sampled_from(IDS)
    ),
    st.builds(
        lambda op, v: {"#id": {op: v}},
        st.sampled_from(["$in", "$nin"]),
        st.lists(st.sampled_from(IDS), min_size=1, max_size=3),
    ),
    st.builds(
        lambda op, v: {"#document": {op: v}},
        st.sampled_from(["$contains", "$not_contains", "$regex", "$not_regex"]),
        st.text(alphabet="ab_é ", min_size=1, max_size=2),
    ),
    st.builds(lambda k, v: {k: v}, st.sampled_from(KEYS), scalars),
    st.builds(
        lambda k, op, v: {k: {op: v}},
        st.sampled_from(KEYS),
        st.sampled_from(["$eq", "$ne"]),
        scalars,
    ),
    st.builds(
        lambda k, op, v: {k: {op: v}},
        st.sampled_from(KEYS),
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        numbers,
    ),
    st.builds(
        lambda k, op, v: {k: {op: v}},
        st.sampled_from(KEYS),
        st.sampled_from(["$in", "$nin"]),
        lists,
    ),
    st.builds(
        lambda k, op, v: {k: {op: v}},
        st.sampled_from(KEYS),
        st.sampled_from(["$contains", "$not_contains"]),
        scalars,
    ),
)
wheres = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda op, parts: {op: parts},
        st.sampled_from(["$and", "$or"]),
        st.lists(inner, min_size=2, max_size=3),
    ),
    max_leaves=5,
)
where_documents = st.builds(
    lambda op, text: {op: text},
    st.sampled_from(["$contains", "$not_contains"]),
    st.text(alphabet="ab%_é \n", min_size=1, max_size=3),
)


def moment(text: str) -> int | None:
    """Nanoseconds since 1970, by pandas where it reaches so far, by hand at the ends of the calendar."""
    if text not in DATES:
        return None
    if text[:4] in ("0001", "9999"):
        ends = {"0001-01-01": -62_135_596_800, "9999-12-31T23:59:59-23:59": 253_402_387_139}
        return ends[text] * 10**9
    stamp = pd.Timestamp(text)
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    seconds = (stamp.tz_localize(None).floor("s") - pd.Timestamp(1970, 1, 1)) // pd.Timedelta("1s")
    return seconds * 10**9 + stamp.microsecond * 1_000 + stamp.nanosecond


class Reader:
    """What a loaded segment gives to the mask compiler."""

    def __init__(self, table: list[tuple[Any, Any]]) -> None:
        self.table = table
        self.documents = TextPool()
        self.documents.resize(len(table))
        self.documents.put(np.arange(len(table)), [document for _, document in table])

    def match(self, leaf: Any) -> np.ndarray:
        key = leaf.key
        found = [
            row for row, (metadata, _) in enumerate(self.table) if metadata and key in metadata
        ]
        values = [self.table[row][0][key] for row in found]
        column = MetadataColumn.build(len(self.table), np.array(found, dtype=np.int64), values)
        return column.match(leaf)

    def document_contains(self, text: str) -> np.ndarray:
        return self.documents.contains(text)

    def document_matches(self, pattern: str) -> np.ndarray:
        return np.array(
            [
                document is not None and re.search(pattern, document) is not None
                for _, document in self.table
            ]
        )

    def ids_among(self, ids: Any) -> np.ndarray:
        return np.array([f"r{row}" in ids for row in range(len(self.table))])


@cache
def connect() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@pytest.fixture(scope="module", autouse=True)
def disconnect() -> Iterator[None]:
    yield
    connect().close()
    connect.cache_clear()


def by_sql(expression: Expression, table: list[tuple[Any, Any]]) -> list[bool]:
    connection = connect()
    connection.execute(
        "CREATE OR REPLACE TABLE records (row INTEGER, id VARCHAR, metadata VARCHAR, "
        "document VARCHAR)"
    )
    connection.executemany(
        "INSERT INTO records VALUES (?, ?, ?, ?)",
        [
            [
                *(row, f"r{row}"),
                None if metadata is None else json.dumps(metadata, ensure_ascii=False),
                document,
            ]
            for row, (metadata, document) in enumerate(table)
        ],
    )
    condition, parameters = compile_sql(expression, DuckDBDialect())
    query = f"SELECT ({condition}) FROM records ORDER BY row"
    found = connection.execute(query, parameters).fetchall()
    return [value for (value,) in found]


def check(expression: Expression, table: list[tuple[Any, Any]]) -> None:
    note(repr(expression))
    expected = [matches(expression, f"r{at}", *row, moment) for at, row in enumerate(table)]
    assert compile_mask(expression, Reader(table)).tolist() == expected
    assert by_sql(expression, table) == expected


@settings(max_examples=200, deadline=None)
@given(rows, wheres)
def test_where(table: list[tuple[Any, Any]], where: dict[str, Any]) -> None:
    expression = parse_where(where)
    assert expression is not None
    check(expression, table)


@settings(max_examples=60, deadline=None)
@given(rows, where_documents)
def test_where_document(table: list[tuple[Any, Any]], where_document: dict[str, Any]) -> None:
    expression = parse_where_document(where_document)
    assert expression is not None
    check(expression, table)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.one_of(st.none(), scalars, lists)), max_size=60),
    wheres,
)
def test_a_column_kept_up_to_date_equals_one_made_anew(
    changes: list[tuple[int, Any]], where: dict[str, Any]
) -> None:
    """Sparse columns, dense ones, and the way from one to the other."""
    n_labels = 401
    values: dict[int, Any] = {}
    kept = MetadataColumn.build(n_labels, np.empty(0, dtype=np.int64), [])
    for label, value in changes:
        if value is None:
            values.pop(label, None)
            kept.clear(np.array([label]))
        else:
            values[label] = value
            kept.set(label, value)
    labels = np.array(sorted(values), dtype=np.int64)
    anew = MetadataColumn.build(n_labels, labels, [values[label] for label in labels.tolist()])

    def leaves_of(expression: Expression) -> list[Any]:
        if isinstance(expression, And | Or):
            return [leaf for child in expression.children for leaf in leaves_of(child)]
        return [expression]

    for leaf in leaves_of(parse_where(where)):
        if isinstance(leaf, IdAmong | DocumentContains | DocumentMatches):
            continue
        assert kept.match(leaf).tolist() == anew.match(leaf).tolist()
    assert kept.nbytes > 0
