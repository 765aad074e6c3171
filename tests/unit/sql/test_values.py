"""What SQL can say, and that values keep their type and digits."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chroma_nb.db.sql import frame
from chroma_nb.db.sql.columns import RECORD_COLUMNS, key_expression
from chroma_nb.db.sql.names import fold, sql_identifier
from tests.support.metadata_values import BIG, metadata_of
from tests.unit.sql.conftest import make, refusal


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("FROM docs SELECT n WHERE n > 1 ORDER BY n", [[2], [3]]),
        ("WITH d AS (SELECT n FROM docs) SELECT sum(n) FROM d", [[6]]),
        ("WITH d AS (SELECT n FROM docs), e AS (SELECT * FROM d) SELECT max(n) FROM e", [[3]]),
        (
            "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) FROM t",
            [[1], [2], [3]],
        ),
        ("SELECT id, rank() OVER (ORDER BY n) AS r FROM docs WHERE n < 3", [["r0", 1], ["r1", 2]]),
        ("SELECT * EXCLUDE (id) FROM (SELECT id, n FROM docs WHERE n = 1)", [[1]]),
        ("SELECT COLUMNS('^n$') FROM docs WHERE n = 2", [[2]]),
        ("SELECT column_type FROM (DESCRIBE SELECT n FROM docs)", [["BIGINT"]]),
        ("VALUES (1), (2)", [[1], [2]]),
        ("SELECT id FROM docs WHERE list_contains(tags, 'y')", [["r0"]]),
        ("SELECT list_sum(counts) FROM docs WHERE counts IS NOT NULL", [[3]]),
        ("SELECT t FROM docs, unnest(docs.tags) AS u(t) ORDER BY t", [["x"], ["y"]]),
        ("SELECT id.upper() AS u FROM docs WHERE n = 1", [["R0"]]),
        ("SELECT docs.n FROM docs WHERE docs.id = 'r0'", [[1]]),
        ("SELECT list_transform(counts, lambda i: i + n) FROM docs WHERE n = 2", [[[3, 4]]]),
        ("PIVOT docs ON pos USING sum(n) GROUP BY ok ORDER BY ok", [[True, 1, None], [None, 3, 2]]),
        (
            "PIVOT docs ON pos IN ('noun') USING count(*) GROUP BY ok ORDER BY ok",
            [[True, 1], [None, 1]],
        ),
        ("FROM (PIVOT docs ON n > 1 USING count(*) GROUP BY pos) SELECT true ORDER BY 1", None),
        ("WITH d AS (SELECT pos, n FROM docs) PIVOT d ON pos USING max(n)", [[3, 2]]),
        (
            "WITH d AS (SELECT pos, n FROM docs), p AS (PIVOT d ON pos USING max(n)) SELECT verb FROM p",
            [[2]],
        ),
        ("PIVOT (SELECT pos, n FROM docs -- all\n) ON pos -- each\n USING min(n)", [[1, 2]]),
        ("UNPIVOT (SELECT id, n FROM docs WHERE n = 1) ON n INTO NAME k VALUE v", [["r0", "n", 1]]),
        ("SELECT count(*) FROM docs TABLESAMPLE 3 ROWS", [[3]]),
        ("SELECT id FROM docs LIMIT 2", [["r0"], ["r1"]]),
    ],
)
def test_what_reads_works(client: Any, query: str, answer: list[Any] | None) -> None:
    frame = client.sql(query)
    if answer is not None:
        found = frame.astype(object).where(frame.notna(), None).values.tolist()
        assert found == answer


def test_values_keep_kind_and_digits(client: Any) -> None:
    frame = client.sql("SELECT * FROM docs")
    types = client.sql("DESCRIBE docs").set_index("column_name").column_type.to_dict()
    assert {key: types[key] for key in types if key not in RECORD_COLUMNS} == {
        "n": "BIGINT",
        "pos": "VARCHAR",
        "tags": "VARCHAR[]",
        "big": "BIGINT",
        "f": "DOUBLE",
        "ok": "BOOLEAN",
        "counts": "BIGINT[]",
        "shares": "DOUBLE[]",
        "flags": "BOOLEAN[]",
        "mixed": "JSON",
        "number": "DECIMAL(38,2)",
        "some": "DOUBLE",
    }
    assert frame.big.dtype == "Int64"
    assert frame.big.tolist()[:3] == [BIG, pd.NA, -7]
    assert frame.ok.dtype == "boolean"
    assert frame.f.tolist()[0] == 0.5
    assert frame.number.tolist()[2:4] == [Decimal(BIG), Decimal("0.25")]
    assert frame.some.tolist()[2:4] == [2.0, 2.5]
    assert [json.loads(value) for value in frame.mixed.dropna()] == [["a"], 1, [1, 2]]
    assert frame.tags[0] == ["x", "y"]
    assert frame.shares.tolist()[1:3] == [[0.5], [1.0]]
    assert frame.document.tolist()[:2] == [None, "text 1"]


def test_sums_and_moments_are_exact(client: Any) -> None:
    frame = client.sql(
        "SELECT sum(big) AS total, sum(big) * 100000 AS large, 1.5 AS short, "
        "TIMESTAMP '2024-02-29 12:30:00.000001' AS at, DATE '2024-02-29' AS day, "
        "INTERVAL 90 SECONDS AS span, 18446744073709551615::UBIGINT AS unsigned FROM docs"
    )
    assert frame.total.tolist() == [BIG - 7]
    assert frame.large.tolist() == [(BIG - 7) * 100000]
    assert frame.short.tolist() == [1.5]
    assert frame["at"].tolist() == [pd.Timestamp("2024-02-29 12:30:00.000001")]
    assert frame.day.tolist() == [pd.Timestamp("2024-02-29")]
    assert frame.span.tolist() == [pd.Timedelta(seconds=90)]
    assert frame.unsigned.tolist() == [2**64 - 1]
    # More microseconds than 64 bits hold.
    assert client.sql("SELECT INTERVAL 300000 YEARS AS s").s[0].days == 300_000 * 360
    assert client.sql("SELECT 1 AS a, 2 AS a, 3 AS a_1").to_dict("list") == {
        "a": [1],
        "a_2": [2],
        "a_1": [3],
    }


def test_columns_without_a_value_have_a_type(client: Any) -> None:
    for query in ("SELECT n, f, ok, pos FROM docs WHERE n = 99", "SELECT n FROM docs LIMIT 0"):
        assert client.sql(query).n.dtype == "int64"
    nothing = client.sql("SELECT big, ok, f, pos FROM docs WHERE n = 2")
    assert [str(dtype) for dtype in nothing.drop(columns="pos").dtypes] == [
        *("Int64", "boolean", "float64")
    ]


ARRAYS = (
    "SELECT i AS a, CASE WHEN i % 3 > 0 THEN i END AS b, CASE WHEN i % 2 = 0 THEN 'x' || i END AS s, "
    "CASE WHEN i % 5 > 0 THEN i % 2 = 0 END AS t, i % 2 = 0 AS u, CAST(i * 0.5 AS DOUBLE) AS d, "
    "CAST(CASE WHEN i % 7 > 0 THEN [i, NULL] END AS FLOAT[2]) AS v, to_json(i) AS j, "
    "CAST(NULL AS BIGINT) AS n, CAST(CASE WHEN i % 2 = 0 THEN i % 200 END AS UTINYINT) AS w "
    "FROM range({}) r(i)"
)


@pytest.mark.parametrize("n", [0, 100, 5_000])
def test_an_answer_is_the_same_read_as_arrays_and_as_rows(n: int) -> None:
    with contextlib.closing(duckdb.connect()) as con:
        query = ARRAYS.format(n)
        types = [row[1] for row in con.execute(f"DESCRIBE {query}").fetchall()]
        assert frame._come_as_arrays(types)
        as_arrays = frame._frame(con.execute(query), types, as_arrays=True)
        as_rows = frame._frame(con.execute(query), types, as_arrays=False)
    assert as_arrays.dtypes.to_dict() == as_rows.dtypes.to_dict()
    pd.testing.assert_frame_equal(as_arrays, as_rows)


# Keys with twins, and all that a pointer, a quoted name or a path could trip over.
KEYS = st.text(
    st.sampled_from("aAbBÄä.'\"/~ \0*%-01[]$"), min_size=1, max_size=3
) | st.sampled_from(
    [
        "id",
        "ID",
        "Id",
        "metadata",
        "METADATA",
        "embedding",
        "uri",
        "Document",
        "select",
        "metadata.ID",
    ]
)
# Most keys in a few kinds, so that columns of each type come up.
METADATA = metadata_of(KEYS)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.none() | METADATA, min_size=1, max_size=5))
def test_every_key_is_what_get_says(client: Any, rows: list[dict[str, Any] | None]) -> None:
    collection = make(client, "Made", rows)
    try:
        stored = [metadata or {} for metadata in collection.get()["metadatas"]]
        keys = sorted({key for metadata in stored for key in metadata})
        starred = client.sql("SELECT * FROM Made")
        assert len(starred.columns) == 4 + len(keys)
        for key in keys:
            twins = [one for one in (*RECORD_COLUMNS, *keys) if fold(one) == fold(key)]
            # One's own column, where the key has exactly its name.
            if len(twins) > 1 or key in RECORD_COLUMNS or "\0" in key:
                if key not in RECORD_COLUMNS and "\0" not in key:
                    said = refusal(client, f"SELECT {sql_identifier(key)} FROM Made")
                    assert all(repr(one) in said or one in RECORD_COLUMNS for one in twins)
                shown = key_expression(key).replace("->>", "->")
            else:
                shown = sql_identifier(key)
            frame = client.sql(f"SELECT {shown} AS value FROM Made")
            kind = client.sql(f"DESCRIBE SELECT {shown} AS value FROM Made").column_type[0]
            for metadata, value in zip(stored, frame["value"].tolist(), strict=True):
                assert_same(metadata.get(key), value, kind)
    finally:
        client.delete_collection("Made")


def assert_same(expected: Any, value: Any, kind: str) -> None:
    if expected is None:
        assert not isinstance(value, list)
        assert pd.isna(value)
    elif kind == "JSON":
        assert (type(json.loads(value)), json.loads(value)) == (type(expected), expected)
    elif kind.startswith("DECIMAL"):
        assert Decimal(repr(value) if isinstance(value, float) else value) == Decimal(
            repr(expected)
        )
    else:
        assert value == expected
        if kind not in ("DOUBLE", "DOUBLE[]"):
            assert type(value) is type(expected)


def test_rows_come_in_the_order_of_their_first_insertion(client: Any) -> None:
    made = make(client, "ordered", [{"n": row} for row in range(4)])
    try:
        made.update(ids=["r1", "r0"], metadatas=[{"n": 11}, {"n": 10}])
        assert client.sql("SELECT n FROM ordered").n.tolist() == [10, 11, 2, 3]
        assert client.sql("SELECT id FROM ordered LIMIT 2").id.tolist() == ["r0", "r1"]
        assert client.sql("SELECT list(n) AS l FROM ordered").l[0] == [10, 11, 2, 3]
    finally:
        client.delete_collection("ordered")
