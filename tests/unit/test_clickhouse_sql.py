"""`client.sql()` over a store in ClickHouse: what it answers, what it refuses, and what stops it."""

from __future__ import annotations

import contextlib
import datetime
import json
import signal
import threading
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chroma_nb
from chroma_nb.errors import InternalError, InvalidArgumentError, MemoryBudgetError
from tests.support.clickhouse import (
    HAS_CLICKHOUSE,
    NO_CLICKHOUSE,
    URL,
    Front,
    at_clickhouse,
    let_go,
)
from tests.support.metadata_values import BIG, metadata_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)
PLACES = ["in this process", "in a server"]
#: For what depends on the query alone.
in_one_place = pytest.mark.parametrize("place", PLACES[bool(URL) :][:1], indirect=True)
in_a_server = pytest.mark.parametrize("place", PLACES[1:], indirect=True)

DOCS: list[dict[str, Any] | None] = [
    {"n": 1, "pos": "noun", "tags": ["x", "y"], "big": BIG, "f": 0.5, "ok": True, "version": 9},
    {"n": 2, "pos": "verb", "counts": [1, 2], "shares": [0.5], "flags": [True], "mixed": ["a"]},
    {"n": 3, "pos": "noun", "big": -7, "number": BIG, "mixed": 1, "some": 2, "shares": [1.0]},
    {"number": 0.25, "some": 2.5, "mixed": [1.0, 2.0], "id": "key", "metadata.id": "other"},
    None,
]


def make(client: Any, name: str, metadatas: list[dict[str, Any] | None]) -> Any:
    collection = client.create_collection(name, embedding_function=None)
    ids = [f"r{row}" for row in range(len(metadatas))]
    vectors = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
    documents = [f"text {row}" if row else None for row in range(len(ids))]
    collection.add(ids=ids, embeddings=vectors, metadatas=metadatas, documents=documents)
    return collection


@pytest.fixture(scope="module", params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[chroma_nb.Settings]:
    let_go()
    folder = tmp_path_factory.mktemp("sql")
    common = chroma_nb.Settings(path=str(folder / "store"), progress=False, allow_reset=True)
    if request.param == "in this process":
        if URL:
            pytest.skip("about a store in this process")
        yield common.replace(db="clickhouse")
    elif URL:
        yield at_clickhouse(common)
    else:
        front = Front(folder / "engine")
        yield chroma_nb.Settings(
            db="clickhouse",
            clickhouse_url=f"{front.url}/default",
            progress=False,
            allow_reset=True,
        )
        front.kill()


@pytest.fixture(scope="module")
def client(place: chroma_nb.Settings) -> Iterator[Any]:
    """One client for all tests; they leave it as it was."""
    with chroma_nb.Client(place) as client:
        client.reset()
        make(client, "docs", DOCS)
        make(client, "Docs", [{"k": "upper"}])
        for name in ("my-coll", "select", "odd.name"):
            make(client, name, [{"age": 7}])
        # Another tenant's, another database's, and tables that are not ours at all.
        api = client.api
        api.create_tenant("theirs")
        api.create_database("theirs", "theirs")
        api.create_database("theirs", client.tenant)
        for tenant in ("theirs", client.tenant):
            info = api.create_collection(
                "hidden",
                {"hnsw": {"space": "l2"}},
                {"about": "SECRET"},
                get_or_create=False,
                tenant=tenant,
                database="theirs",
            )
            records = chroma_nb.types.RecordBatch(
                ["SECRET"], np.ones((1, 2), dtype=np.float32), ["SECRET"], None, [{"s": "SECRET"}]
            )
            api.add(info.id, records, tenant=tenant, database="theirs")
        command = api.db._connection.command
        for table in ("orders", "n", "pos"):
            command(f"CREATE TABLE {table} (secret String) ENGINE = MergeTree ORDER BY secret")
            command(f"INSERT INTO {table} VALUES ('SECRET')")
        yield client
        for table in ("orders", "n", "pos"):
            command(f"DROP TABLE {table}")


def refusal(client: Any, query: str, parameters: Any = None) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        client.sql(query, parameters)
    return str(caught.value)


# -- what it answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT id, n FROM docs WHERE n > 1 ORDER BY n", [["r1", 2], ["r2", 3]]),
        ("FROM docs SELECT n WHERE n = 2", [[2]]),
        ("WITH d AS (SELECT n FROM docs) SELECT sum(n) FROM d", [[6]]),
        ("WITH d AS (SELECT n FROM docs), e AS (SELECT * FROM d) SELECT max(n) FROM e", [[3]]),
        ("WITH 2 AS least SELECT count() FROM docs WHERE n >= least", [[2]]),
        ("WITH (SELECT max(n) FROM docs) AS most SELECT id FROM docs WHERE n = most", [["r2"]]),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM t WHERE i < 3) SELECT * FROM t ORDER BY i",
            [[1], [2], [3]],
        ),
        (
            "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) SELECT max(i) FROM t",
            [[3]],
        ),
        ("WITH t AS (SELECT 'r1' AS i) SELECT id FROM docs WHERE id IN t", [["r1"]]),
        ("WITH t AS (SELECT 1 AS i) SELECT i FROM t UNION ALL SELECT i FROM t", [[1], [1]]),
        ("SELECT 1 UNION SELECT 1", [[1]]),
        ("SELECT id FROM docs WHERE id IN (SELECT id FROM docs WHERE n = 3)", [["r2"]]),
        ("SELECT id FROM docs WHERE n IN (1, 3) ORDER BY id", [["r0"], ["r2"]]),
        (
            "SELECT id, rank() OVER (ORDER BY n) AS r FROM docs WHERE n < 3 ORDER BY id",
            [["r0", 1], ["r1", 2]],
        ),
        (
            "SELECT sum(n) OVER w AS s FROM docs WHERE n < 3 WINDOW w AS (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
            "ORDER BY s",
            [[1], [3]],
        ),
        ("SELECT * EXCEPT (id) FROM (SELECT id, n FROM docs WHERE n = 1)", [[1]]),
        ("SELECT COLUMNS('^n$') FROM docs WHERE n = 2", [[2]]),
        ("SELECT * APPLY (x -> x + 1) FROM (SELECT n FROM docs WHERE n = 2)", [[3]]),
        ("SELECT * REPLACE (n + 1 AS n) FROM (SELECT n FROM docs WHERE n = 2)", [[3]]),
        ("SELECT id FROM docs WHERE has(tags, 'y')", [["r0"]]),
        ("SELECT arraySum(counts) FROM docs WHERE notEmpty(counts)", [[3]]),
        ("SELECT t FROM docs ARRAY JOIN tags AS t ORDER BY t", [["x"], ["y"]]),
        ("SELECT arrayMap(i -> i + n, counts) FROM docs WHERE n = 2", [[[3, 4]]]),
        ("SELECT docs.n FROM docs WHERE docs.id = 'r0'", [[1]]),
        ("SELECT d.n FROM docs AS d WHERE d.id = 'r0'", [[1]]),
        ("SELECT a.n FROM docs AS a JOIN docs AS b ON a.n = b.n WHERE b.pos = 'verb'", [[2]]),
        ("SELECT b.n FROM docs AS a LEFT JOIN docs AS b ON a.n = b.n + 1 WHERE a.n = 1", [[None]]),
        (
            "SELECT pos, count() AS c FROM docs GROUP BY pos HAVING c > 1 ORDER BY pos",
            [["noun", 2], [None, 2]],
        ),
        (
            "SELECT pos, count() FROM docs GROUP BY ALL ORDER BY ALL LIMIT 2",
            [["noun", 2], ["verb", 1]],
        ),
        ("SELECT countIf(n > 1), sum(n) FILTER (WHERE n > 1) FROM docs", [[2, 5]]),
        ("SELECT count(DISTINCT pos), uniqExact(pos), count(*) FROM docs", [[2, 2, 5]]),
        ("SELECT quantile(0.5)(n) FROM docs", [[2.0]]),
        ("SELECT COUNT(*), Sum(n), MAX(n) FROM docs", [[5, 6, 3]]),
        ("SELECT CASE WHEN n = 1 THEN 'a' ELSE 'b' END FROM docs WHERE n = 2", [["b"]]),
        ("SELECT n = 1 ? 'a' : 'b' FROM docs WHERE n = 2", [["b"]]),
        ("SELECT JSONExtractString(metadata, 'pos') FROM docs WHERE n = 2", [["verb"]]),
        ("SELECT age FROM `my-coll`", [[7]]),
        ('SELECT age FROM "select"', [[7]]),
        ('SELECT "odd.name".age FROM "odd.name"', [[7]]),
        ("SELECT k FROM Docs", [["upper"]]),
        ("SELECT `metadata.id`, `metadata.id (2)` FROM docs WHERE id = 'r3'", [["other", "key"]]),
        ("SELECT number FROM numbers(2)", [[0], [1]]),
        ("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v ORDER BY 1", [[1, "a"], [2, "b"]]),
        ("SELECT n FROM docs WHERE version = 9 -- a comment\n", [[1]]),
        ("SELECT n FROM docs ORDER BY n DESC NULLS LAST LIMIT 1 OFFSET 1;", [[2]]),
        ("SELECT id FROM docs ORDER BY id LIMIT 1 BY pos", [["r0"], ["r1"], ["r3"]]),
        ("SELECT 1 WHERE 1 NOT IN (SELECT n FROM docs)", []),
        ("SELECT id FROM docs EXCEPT SELECT id FROM docs WHERE n > 1 ORDER BY id", None),
        ("SELECT (SELECT max(n) FROM docs) + 1", [[4]]),
        ("SELECT exists(SELECT 1 FROM docs WHERE n = 9)", [[0]]),
        ("SELECT n::String FROM docs WHERE n = 1", [["1"]]),
        ("SELECT toStartOfMonth(toDate('2024-02-29'))", [[pd.Timestamp("2024-02-01")]]),
    ],
)
def test_what_reads_works(client: Any, query: str, answer: list[Any] | None) -> None:
    frame = client.sql(query)
    if answer is not None:
        found = frame.astype(object).where(frame.notna(), None).values.tolist()
        assert found == answer


def test_values_keep_kind_and_digits(client: Any) -> None:
    frame = client.sql("SELECT * FROM docs ORDER BY id")
    types = client.sql("DESCRIBE docs").set_index("name").type.to_dict()
    assert types == {
        "id": "String",
        **dict.fromkeys(("document", "uri", "metadata"), "Nullable(String)"),
        **dict.fromkeys(("n", "big", "version"), "Nullable(Int64)"),
        **dict.fromkeys(
            ("pos", "mixed", "number", "metadata.id", "metadata.id (2)"), "Nullable(String)"
        ),
        **dict.fromkeys(("f", "some"), "Nullable(Float64)"),
        "ok": "Nullable(Bool)",
        "tags": "Array(String)",
        "counts": "Array(Int64)",
        "shares": "Array(Float64)",
        "flags": "Array(Bool)",
        "embedding": "Array(Float32)",
    }
    assert frame.big.dtype == "Int64"
    assert frame.big.tolist()[:3] == [BIG, pd.NA, -7]
    assert frame.ok.dtype == "boolean"
    assert frame.f.tolist()[0] == 0.5
    assert [json.loads(value) for value in frame.number.dropna()] == [BIG, 0.25]
    assert frame.some.tolist()[2:4] == [2.0, 2.5]
    assert frame.mixed.tolist() == [None, '["a"]', "1", "[1.0,2.0]", None]
    assert frame.tags.tolist()[:2] == [["x", "y"], []]
    assert [list(one) for one in frame.shares[1:3]] == [[0.5], [1.0]]
    assert frame.document.tolist()[:2] == [None, "text 1"]
    assert [json.loads(one) for one in frame.metadata.dropna()] == DOCS[:4]
    assert frame.metadata.tolist()[4] is None
    assert "embedding" not in frame.columns


def test_embeddings_are_there_where_they_are_named(client: Any) -> None:
    frame = client.sql("SELECT *, embedding FROM docs ORDER BY id")
    assert frame.columns.tolist().count("embedding") == 1
    assert frame.embedding[1].dtype == np.float32
    assert np.stack(frame.embedding.tolist()).tolist() == [[2.0 * n, 2.0 * n + 1] for n in range(5)]
    nearest = client.sql(
        "SELECT id, L2Distance(embedding, $q) AS d FROM docs ORDER BY d LIMIT 1", {"q": [4.0, 5.5]}
    )
    assert nearest.values.tolist() == [["r2", 0.5]]


def test_an_embedding_stays_where_the_rest_of_a_record_changes(client: Any) -> None:
    made = make(client, "changed", [{"n": row} for row in range(4)])
    try:
        made.update(ids=["r1"], metadatas=[{"n": 11}])
        made.update(ids=["r1", "r3"], metadatas=[{"n": 12}, {"n": 13}])
        made.update(ids=["r2"], embeddings=[[7.0, 7.0]])
        made.delete(ids=["r0"])
        made.add(ids=["r4"], embeddings=[[8.0, 8.0]])
        frame = client.sql("SELECT id, n, embedding FROM changed ORDER BY id")
        assert frame.id.tolist() == ["r1", "r2", "r3", "r4"]
        assert frame.n.tolist() == [12, 2, 13, pd.NA]
        expected = made.get(include=["embeddings"])
        in_order = dict(zip(expected["ids"], expected["embeddings"].tolist(), strict=True))
        assert [one.tolist() for one in frame.embedding] == [in_order[one] for one in frame.id]
        assert client.sql("SELECT count() AS n FROM changed").n.tolist() == [4]
        client.api.db.compact(made.id)
        assert client.sql("SELECT id, n, embedding FROM changed ORDER BY id").id.tolist() == [
            *("r1", "r2", "r3", "r4")
        ]
    finally:
        client.delete_collection("changed")


def test_an_empty_collection_is_a_table(client: Any) -> None:
    client.create_collection("empty", embedding_function=None)
    try:
        frame = client.sql("SELECT *, embedding FROM empty")
        assert frame.columns.tolist() == [*("id", "document", "uri", "metadata", "embedding")]
        assert len(frame) == 0
        assert client.sql("SELECT count() AS n FROM empty").n.tolist() == [0]
    finally:
        client.delete_collection("empty")


def test_types_of_clickhouse_keep_their_values(client: Any) -> None:
    frame = client.sql(
        "SELECT toDateTime('2024-02-29 12:30:00', 'UTC') AS at, toDateTime64('2024-02-29 12:30:00.000001', 6, 'UTC') AS fine, "
        "toDate('2024-02-29') AS day, toDecimal64('1.5', 3) AS short, toDecimal128('0.10000000000000000001', 20) AS long, "
        "toUInt32(7) AS small, count() AS n, 18446744073709551615 AS large FROM docs"
    )
    assert frame["at"].tolist() == [pd.Timestamp("2024-02-29 12:30:00", tz="UTC")]
    assert frame.fine.tolist() == [pd.Timestamp("2024-02-29 12:30:00.000001", tz="UTC")]
    assert frame.day.tolist() == [pd.Timestamp("2024-02-29")]
    assert frame.short.tolist() == [1.5]
    assert frame.long.tolist() == [Decimal("0.10000000000000000001")]
    assert (frame.small.dtype, frame.n.dtype, frame.large.dtype) == ("int64", "int64", "uint64")
    assert frame.large.tolist() == [2**64 - 1]
    exotic = client.sql(
        "SELECT toInt128(5) AS i, toInt256('123456789012345678901234567890') AS j, toUUID('61f0c404-5cb3-11e7-907b-"
        "a6006ad3dba0') AS u, toIPv4('1.2.3.4') AS ip, CAST('a', 'Enum8(''a'' = 1)') AS e, map('a', 1) AS m, (1, 'a') AS t, "
        "toDate('2024-02-29') AS d, 'x' AS s, true AS b, 0.5 AS f, NULL AS nothing"
    )
    assert exotic.i.tolist() == [5]
    assert exotic.j.tolist() == [123456789012345678901234567890]
    assert exotic.u.tolist() == [uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0")]
    assert [str(one) for one in exotic.ip] == ["1.2.3.4"]
    assert (exotic.e[0], exotic.m[0], tuple(exotic.t[0])) == ("a", {"a": 1}, (1, "a"))
    assert exotic.d.tolist() == [pd.Timestamp("2024-02-29")]
    assert (exotic.s[0], exotic.b[0], exotic.f[0], exotic.nothing[0]) == ("x", True, 0.5, None)
    twice = client.sql("SELECT 1 AS a, 2 AS b UNION ALL SELECT 3, 4").to_dict("list")
    assert {key: sorted(values) for key, values in twice.items()} == {"a": [1, 3], "b": [2, 4]}


def test_columns_without_a_value_have_a_type(client: Any) -> None:
    assert client.sql("SELECT n FROM docs WHERE n = 99").n.dtype == "int64"
    nothing = client.sql("SELECT big, ok, f FROM docs WHERE n = 2")
    assert [str(dtype) for dtype in nothing.dtypes] == ["Int64", "boolean", "float64"]


# Keys that a quoted name, a text or a name of the store's own table could trip over.
KEYS = st.text(
    st.sampled_from("aAÄ.'\"`\\/~ \0*%-\n[]$"), min_size=1, max_size=3
) | st.sampled_from(
    ["id", "ID", "metadata", "embedding", "uri", "kind", "label", "stamp", "select", "metadata.id"]
)
METADATA = metadata_of(KEYS)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.none() | METADATA, min_size=1, max_size=4))
def test_every_key_is_what_get_says(client: Any, rows: list[dict[str, Any] | None]) -> None:
    from chroma_nb.db.clickhouse.literals import identifier

    collection = make(client, "Made", rows)
    try:
        stored = [metadata or {} for metadata in collection.get()["metadatas"]]
        keys = {key for metadata in stored for key in metadata}
        starred = client.sql("SELECT * FROM Made ORDER BY id")
        types = client.sql("DESCRIBE Made").set_index("name").type
        assert len(starred.columns) == 4 + len(keys)
        others = [name for name in starred.columns[4:] if name not in keys]
        for key in keys:
            name = key
            if key in ("id", "document", "uri", "metadata", "embedding"):
                (name,) = [one for one in others if one.startswith(f"metadata.{key}")]
            shown = identifier(name)
            one = client.sql(f"SELECT {shown} AS value FROM Made ORDER BY id")
            for found in (one["value"], starred[name]):
                for metadata, value in zip(stored, found.tolist(), strict=True):
                    assert_same(metadata.get(key), value, types[name])
    finally:
        client.delete_collection("Made")


def assert_same(expected: Any, value: Any, kind: str) -> None:
    if expected is None:
        assert (list(value) == []) if kind.startswith("Array") else pd.isna(value)
    elif kind.startswith("Array"):
        assert list(value) == expected
    elif kind == "Nullable(String)" and not (isinstance(expected, str) and value == expected):
        assert (type(json.loads(value)), json.loads(value)) == (type(expected), expected)
    else:
        assert value == expected
        if kind != "Nullable(Float64)":
            assert isinstance(value, type(expected))


# -- parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "comes"),
    [
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (0.1, 0.1),
        (5e-324, 5e-324),
        (float("inf"), float("inf")),
        (True, True),
        (np.str_("x"), "x"),
        ("'; DROP TABLE docs; -- \\ \n\0 ?", "'; DROP TABLE docs; -- \\ \n\0 ?"),
        (BIG, BIG),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (2**100, 2**100),
        (Decimal("1.25"), 1.25),
        (pd.Timestamp("2024-02-29 12:00", tz="UTC"), pd.Timestamp("2024-02-29 12:00", tz="UTC")),
        (datetime.date(2024, 2, 29), pd.Timestamp("2024-02-29")),
        ([np.int64(1), 2], [1, 2]),
        ([0.1, 2], [0.1, 2.0]),
        (np.array([0.1, 0.2]), [0.1, 0.2]),
        (["a", "'"], ["a", "'"]),
        ([True, False], [True, False]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_parameters_come_as_they_are(client: Any, given_: Any, comes: Any) -> None:
    for query, parameters in (
        ("SELECT ? AS p", [given_]),
        ("SELECT $1 AS p", (given_,)),
        ("SELECT $p AS p", {"p": given_}),
    ):
        (found,) = client.sql(query, parameters).p.tolist()
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == comes


def test_parameters_in_a_query(client: Any) -> None:
    assert client.sql("SELECT id FROM docs WHERE n > ? AND pos = ?", [1, "noun"]).id.tolist() == [
        "r2"
    ]
    assert client.sql("SELECT id FROM docs WHERE id IN $ids", {"ids": ["r1", "?"]}).id.tolist() == [
        "r1"
    ]
    assert client.sql("SELECT id FROM docs WHERE n = {n:Int64}", {"n": 2}).id.tolist() == ["r1"]
    marks = "SELECT '?' AS a, `?`.x AS b, ? AS c FROM (SELECT 1 AS x) AS `?` -- ?\n /* ? */"
    assert client.sql(marks, ["c"]).values.tolist() == [["?", 1, "c"]]
    for gap in (None, pd.NaT, pd.NA):
        assert client.sql("SELECT isNull(?) AS p", [gap]).p.tolist() == [1]


@pytest.mark.parametrize(
    ("query", "parameters", "says"),
    [
        ("SELECT ?", 5, r"list \(for \? and \$1\) or a dict"),
        ("SELECT $1", [], "parameter \\$1, and none is given"),
        ("SELECT ?", [1, 2], "does not have: \\$2"),
        ("SELECT $p", {"q": 1}, "parameter \\$p"),
        ("SELECT $p", {"p": [1, "a"]}, "several kinds"),
        ("SELECT $p", {"p": [2**53 + 1, 2.5]}, "9007199254740993"),
        ("SELECT $p", {"p": object()}, "object"),
        ("SELECT * FROM {t:Identifier}", {"t": "orders"}, "client.sql"),
        ("SELECT {t:Identifier} FROM docs", {"t": "n"}, "no names as parameters"),
        ("SELECT * FROM $t", {"t": "orders"}, "no collection"),
    ],
)
def test_parameters_that_cannot_be_used(
    client: Any, query: str, parameters: Any, says: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        client.sql(query, parameters)


# -- what it refuses --------------------------------------------------------------------------------

STATEMENTS = [
    "",
    "DELETE FROM docs",
    "DROP TABLE docs",
    "DROP TABLE orders",
    "TRUNCATE TABLE orders",
    "INSERT INTO orders VALUES ('x')",
    "INSERT INTO FUNCTION file('stolen.csv') SELECT 1",
    "ALTER TABLE orders DELETE WHERE 1",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE FUNCTION f AS x -> x",
    "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 'orders')) LAYOUT(FLAT()) LIFETIME(1)",
    "OPTIMIZE TABLE orders FINAL",
    "RENAME TABLE orders TO x",
    "ATTACH TABLE x",
    "DETACH TABLE orders",
    "SYSTEM SHUTDOWN",
    "SYSTEM RELOAD CONFIG",
    "KILL QUERY WHERE 1",
    "BACKUP TABLE orders TO Disk('d', 'x')",
    "GRANT ALL ON *.* TO default",
    "CREATE USER u",
    "SET max_threads = 1",
    "USE system",
    "CHECK TABLE orders",
    "EXCHANGE TABLES orders AND n",
    "SHOW DATABASES",
    "SHOW TABLES FROM system",
    "SHOW TABLES LIKE '%'",
    "SHOW CREATE TABLE orders",
    "SHOW PROCESSLIST",
    "SHOW GRANTS",
    "EXPLAIN SYNTAX SELECT 1",
    "EXPLAIN AST SELECT 1",
    "EXPLAIN QUERY TREE SELECT * FROM orders",
    "EXPLAIN PIPELINE SELECT 1",
    "EXPLAIN ESTIMATE SELECT * FROM orders",
    "EXPLAIN PLAN actions = 1 SELECT 1",
    "EXPLAIN INSERT INTO orders VALUES ('x')",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE orders",
    "/* SELECT */ DROP TABLE orders",
    "SELECT 1 INTO OUTFILE 'stolen.csv'",
    "SELECT 1 FORMAT CSV",
    "SELECT 1 SETTINGS max_threads = 1",
    "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "SELECT 1 FORMAT CSV SETTINGS readonly = 0",
    "SELECT 1 PARALLEL WITH SELECT 2",
    "WITH x AS (SELECT 1) INSERT INTO orders SELECT * FROM x",
    "DESCRIBE orders",
    "DESCRIBE TABLE file('secret.csv')",
    "DESCRIBE docs; DROP TABLE orders",
    "DESCRIBE docs SETTINGS readonly = 0",
    "EXISTS TABLE orders",
    "WATCH orders",
    "SELEC id",
]


def everything(client: Any) -> Any:
    """Return the content of the tables that are not ours, and the names of all."""
    db = client.api.db
    tables = db._connection.rows(
        "SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    return tables, db._connection.rows("SELECT * FROM orders")


@in_one_place
def test_what_cannot_be_read_is_said_with_its_place_and_not_with_the_grammar(client: Any) -> None:
    said = refusal(client, "SELECT n FROM docs WHERE (n > 1")
    assert "cannot be read" in said
    assert "failed at position" in said
    assert "Expected one of" not in said
    assert len(said) < 400


@in_one_place
@pytest.mark.parametrize("query", STATEMENTS)
def test_what_is_no_question_is_refused(client: Any, query: str) -> None:
    before = everything(client)
    said = refusal(client, query)
    assert "SECRET" not in said
    assert "client.sql()" in said or "cannot be read" in said or "no collection 'orders'" in said
    assert everything(client) == before


#: What stands where a table does.
SOURCES = [
    "orders",
    "`orders`",
    '"orders"',
    "default.orders",
    "`default`.`orders`",
    "hidden",
    "theirs.hidden",
    "chroma_nb_catalogue",
    "{catalogue}",
    "{table}",
    "system.one",
    "system.tables",
    "system.users",
    "system.processes",
    "system.query_log",
    "system.settings",
    "information_schema.tables",
    "INFORMATION_SCHEMA.TABLES",
    "file('secret.csv')",
    "file('/etc/passwd', LineAsString)",
    "url('http://127.0.0.1:1/', LineAsString)",
    "s3('http://127.0.0.1:1/b/*')",
    "hdfs('hdfs://127.0.0.1:1/x')",
    "azureBlobStorage('x', 'y', 'z')",
    "deltaLake('http://127.0.0.1:1/b')",
    "iceberg('http://127.0.0.1:1/b')",
    "remote('127.0.0.1', default.orders)",
    "remote('127.0.0.1', numbers(1))",
    "remoteSecure('127.0.0.1', default.orders)",
    "cluster('default', default.orders)",
    "clusterAllReplicas('default', system.one)",
    "merge('default', '.*')",
    "merge('.*')",
    "mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "sqlite('x.db', 't')",
    "mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a Int8')",
    "redis('127.0.0.1:1', 'k', 'k String')",
    "jdbc('x', 'y', 'z')",
    "odbc('x', 'y', 'z')",
    "executable('id', LineAsString, 'a String')",
    "dictionary('d')",
    "input('a Int8')",
    "generateRandom('a Int8')",
    "null('a Int8')",
    "format(CSV, '1')",
    "values('a Int8 DEFAULT file(\\'secret.csv\\')', 1)",
    "view(SELECT * FROM orders)",
    "view(SELECT 1)",
    "viewIfPermitted(SELECT secret FROM orders ELSE null('secret String'))",
    "viewExplain('EXPLAIN', '', (SELECT * FROM orders))",
    "(EXPLAIN SELECT * FROM orders)",
    "loop(orders)",
    "mergeTreeIndex('default', 'orders')",
    "mergeTreeProjection('default', 'orders', 'p')",
    "mergeTreeParts('default', 'orders')",
    "timeSeriesData('orders')",
    "fuzzQuery('SELECT 1')",
    "fuzzJSON('{{}}')",
    "Python('client')",
    "python('client')",
    "docs FINAL",
    "docs SAMPLE 1/10",
    "docs GLOBAL JOIN docs AS d ON true",
    "(SELECT * FROM orders)",
    "docs, orders",
    "docs JOIN orders ON true",
    "(WITH t AS (SELECT 1) SELECT * FROM t), t",
    "(WITH orders AS (SELECT 1) SELECT * FROM orders), orders",
]


@in_one_place
@pytest.mark.parametrize("source", SOURCES)
def test_nothing_but_collections_is_a_table(client: Any, source: str) -> None:
    from chroma_nb.db.clickhouse.catalogue import _CATALOGUE

    db = client.api.db
    own = db._entry(client.get_collection("docs", embedding_function=None).id).table
    named = source.format(catalogue=_CATALOGUE, table=own)
    for query in (
        f"SELECT * FROM {named}",
        f"FROM {named} SELECT *",
        f"SELECT (SELECT count() FROM {named})",
        f"SELECT 1 IN (SELECT 1 FROM {named})",
        f"WITH x AS (SELECT * FROM {named}) SELECT * FROM x",
        f"WITH x AS (SELECT * FROM {named}) SELECT 1",
        f"SELECT 1 UNION ALL SELECT 1 FROM {named}",
        f"SELECT n FROM docs ORDER BY (SELECT count() FROM {named})",
        f"SELECT n FROM docs LIMIT (SELECT count() FROM {named})",
        f"SELECT n FROM docs LIMIT 1 BY (SELECT count() FROM {named})",
        f"SELECT n FROM docs GROUP BY n HAVING (SELECT count() FROM {named}) > 0",
        f"SELECT * REPLACE ((SELECT count() FROM {named}) AS n) FROM docs",
        f"SELECT * APPLY (x -> (SELECT count() FROM {named})) FROM docs",
        f"SELECT arrayMap(x -> (SELECT count() FROM {named}), [1])",
        f"SELECT sum(n) OVER (ORDER BY (SELECT count() FROM {named})) FROM docs",
        f"SELECT n FROM docs WINDOW w AS (PARTITION BY (SELECT count() FROM {named}))",
        f"SELECT n FROM docs ORDER BY n WITH FILL FROM (SELECT count() FROM {named})",
        f"SELECT quantile((SELECT count() FROM {named}))(n) FROM docs",
        f"SELECT t FROM docs ARRAY JOIN (SELECT [count()] FROM {named}) AS t",
        f"SELECT 1 FROM docs AS a JOIN docs AS b ON (SELECT count() FROM {named}) = 1",
        f"SELECT * FROM numbers((SELECT count() FROM {named}))",
        f"SELECT exists(SELECT 1 FROM {named})",
        f"SELECT 1 = ANY(SELECT 1 FROM {named})",
        f"DESCRIBE (SELECT * FROM {named})",
        f"EXPLAIN SELECT * FROM {named}",
    ):
        assert "SECRET" not in refusal(client, query).replace(query, ""), query


@pytest.mark.parametrize(
    "name",
    [
        "user",
        "USER",
        "currentUser",
        "CURRENT_USER",
        "session_user",
        "database",
        "SCHEMA",
        "now",
        "today",
    ],
)
def test_a_function_without_brackets_is_no_column(client: Any, name: str) -> None:
    for query in (
        f"SELECT {name}",
        f"SELECT {name} FROM docs",
        f"SELECT n FROM docs WHERE {name} = 'default'",
        f"SELECT n FROM docs WHERE n IN (SELECT length({name}))",
        f"WITH {name} AS who SELECT who FROM docs",
        f"SELECT (SELECT 1 AS {name}), {name}",
    ):
        assert f"no column '{name}'" in refusal(client, query), query


def test_a_key_that_is_named_like_a_function_is_a_column(client: Any) -> None:
    named = client.create_collection("named", embedding_function=None)
    named.add(ids=["a"], embeddings=[[1.0, 0.0]], metadatas=[{"user": "me", "n": 1}])
    assert client.sql("SELECT user FROM named WHERE user = 'me'").user.tolist() == ["me"]
    assert client.sql("SELECT named.user FROM named JOIN docs ON named.n = docs.n").shape[1] == 1
    assert len(client.sql("SELECT CURRENT_DATE AS d, CURRENT_TIMESTAMP AS t, now() AS n")) == 1
    client.delete_collection("named")


FUNCTIONS = [
    "file('/etc/passwd')",
    "FILE('/etc/passwd')",
    "`file`('/etc/passwd')",
    "\"file\"('/etc/passwd')",
    "hostName()",
    "hostname()",
    "FQDN()",
    "currentUser()",
    "user()",
    "USER()",
    "currentDatabase()",
    "database()",
    "currentProfiles()",
    "getSetting('max_threads')",
    "getServerSetting('max_connections')",
    "getMacro('x')",
    "getServerPort('http_port')",
    "getClientHTTPHeader('Authorization')",
    "globalVariable('x')",
    "version()",
    "uptime()",
    "tcpPort()",
    "serverUUID()",
    "queryID()",
    "connectionId()",
    "timezone()",
    "sleep(1)",
    "sleepEachRow(1)",
    "throwIf(1)",
    "dictGet('d', 'a', 1)",
    "dictGetOrNull('d', 'a', 1)",
    "dictHas('d', 1)",
    "joinGet('orders', 'secret', 1)",
    "joinGet(default.orders, 'secret', 1)",
    "hasColumnInTable('default', 'orders', 'secret')",
    "catboostEvaluate('model', 1)",
    "evalMLMethod(1, 2)",
    "regionToName(1)",
    "addressToLine(1)",
    "addressToSymbol(1)",
    "filesystemAvailable()",
    "showCertificate()",
    "zookeeperSessionUptime()",
    "generateSerialID('x')",
    "transactionID()",
    "aiGenerate('x')",
    "aiEmbed('x')",
    "formatQuery('SELECT 1')",
    "parseQueryToJSON('SELECT 1')",
    "fuzzQuery('SELECT 1')",
    "formatRow('CSV', 1)",
    "arrayReduce('aggThrow(1)', [1])",
    "initializeAggregation('sum', 1)",
    "flameGraph(1)",
    "estimateCompressionRatio(n)",
    "__actionName(1, 'x')",
    "_CAST(1, 'String')",
    "my_own_function(1)",
    "executable('id')",
    "encrypt('aes-256-ofb', 'x', 'k')",
    "structureToCapnProtoSchema('a Int8')",
    "displayName()",
    "errorCodeToName(1)",
    "blockNumber()",
    "sumState(n)",
    "sumMerge(n)",
]


@in_one_place
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_that_look_elsewhere_are_refused(client: Any, function: str) -> None:
    for query in (
        f"SELECT {function} FROM docs",
        f"SELECT n FROM docs WHERE {function} = ''",
        f"WITH {function} AS x SELECT 1",
        f"SELECT arrayMap(x -> {function}, [1])",
        f"SELECT {function} IN (1)",
        f"SELECT 1 IN (1, {function})",
        f"SELECT * FROM numbers(length({function}))",
        f"SELECT * REPLACE ({function} AS n) FROM docs",
        f"SELECT COLUMNS('n') APPLY (x -> {function}) FROM docs",
        f"SELECT n FROM docs ORDER BY {function}",
        f"SELECT n FROM docs LIMIT {function}",
        f"SELECT quantile({function})(n) FROM docs",
        f"EXPLAIN SELECT {function}",
        f"DESCRIBE (SELECT {function})",
    ):
        said = refusal(client, query)
        assert "root:" not in said
        assert "may not be used here" in said or "cannot be read" in said, query


@in_one_place
@pytest.mark.parametrize(
    ("query", "says"),
    [
        # A set is named as a table is.
        ("SELECT 'SECRET' IN orders", "Behind IN"),
        ("SELECT in('SECRET', orders)", "Behind IN"),
        ("SELECT 'SECRET' IN (orders)", "Behind IN"),
        ("SELECT 'SECRET' NOT IN orders", "Behind IN"),
        ("SELECT 'SECRET' GLOBAL IN orders", "may not be used here"),
        ("SELECT 'SECRET' IN default.orders", "Behind IN"),
        ("SELECT nullIn('SECRET', orders)", "Behind IN"),
        ("SELECT inIgnoreSet('SECRET', orders)", "may not be used here"),
        # Keys that are called as tables are.
        ("SELECT 'SECRET' IN n FROM docs", "has(n, value)"),
        ("SELECT 'SECRET' IN pos FROM docs", "has(pos, value)"),
        ("SELECT 1 IN docs", "IN (SELECT id FROM docs)"),
        ("SELECT orders IN ('SECRET')", "Unknown expression"),
        ("SELECT default.orders IN ('SECRET')", "Unknown expression"),
        # What WITH makes is there where it is seen.
        ("WITH orders AS (SELECT * FROM orders) SELECT * FROM orders", "no collection 'orders'"),
        ("WITH x AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT 1", "no collection"),
        ("SELECT (WITH orders AS (SELECT 1) SELECT 1), 'SECRET' IN orders", "Behind IN"),
        (
            "SELECT 1 UNION ALL (WITH orders AS (SELECT 1) SELECT 1) UNION ALL SELECT * FROM orders",
            "",
        ),
        ("WITH docs AS (SELECT 1) SELECT * FROM docs", "Give the table another name"),
        # A lambda with a name would be called in place of the functions that choose the records.
        ("WITH (x, y) -> 1 AS lessOrEquals SELECT * FROM docs", "lambda has a name"),
        ("SELECT (x -> 1) AS notIn, id FROM docs", "lambda has a name"),
        ("SELECT arrayMap((x -> 1) AS equals, [1]), id FROM docs", "lambda has a name"),
        ("SELECT * APPLY hostName FROM docs", "may not be used here"),
        ("SELECT * APPLY (file) FROM docs", "may not be used here"),
        ("SELECT * APPLY (quantile(0.5)) APPLY (hostName) FROM docs", "may not be used here"),
        ("SELECT * FROM docs PREWHERE n = 1", "Write WHERE"),
        ("SELECT * FROM docs FINAL", "FINAL"),
        ("SELECT 1 \0 DROP", "NUL"),
        ("SELECT '\ud800'", "not valid text"),
        ("SELECT * FROM dosc", "Did you mean 'docs'"),
        ("SELECT * FROM 'x.parquet'", ""),
        ("SELECT * FROM `x.parquet`", "client.import_(path)"),
        ("SELECT * FROM df", "collection.from_pandas(df)"),
        ("SELECT odd.age FROM odd.name", 'is quoted: "odd.name"'),
        ("SELECT nn FROM docs", "Did you mean 'n'"),
        ("SELECT pos FROM (SELECT n FROM docs)", "has no column 'pos'"),
        ("SELECT n FROM docs WHERE pos = noun", "each collection is a view: 'docs'"),
        ("SELECT CAST(assumeNotNull(pos), 'Int64') FROM docs WHERE pos = 'noun'", "noun"),
        ("SELECT CAST(n, 'Int64') FROM docs", "NULL"),
    ],
)
def test_what_is_refused_says_what_to_do(client: Any, query: str, says: str) -> None:
    said = refusal(client, query)
    assert says in said
    assert "SECRET" not in said.replace(query, "")
    assert "chroma_nb_sql_" not in said


def test_a_query_that_is_no_text_is_refused(client: Any) -> None:
    assert "as a str" in refusal(client, None)  # type: ignore[arg-type]
    assert "as a str" in refusal(client, b"SELECT 1")  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [300, 20_000])
def test_a_query_that_is_nested_deeply_is_answered_or_refused(client: Any, depth: int) -> None:
    for query in ("(" * depth + "1" + ")" * depth, "abs(" * depth + "1" + ")" * depth):
        with contextlib.suppress(InvalidArgumentError):
            client.sql(f"SELECT {query}")
    assert client.sql("SELECT 1 AS one").one.tolist() == [1]


def test_show_tables_lists_the_collections_of_one_database(client: Any) -> None:
    assert client.sql("SHOW TABLES").name.tolist() == [
        *("Docs", "docs", "my-coll", "odd.name", "select")
    ]
    theirs = chroma_nb.Client(client.get_settings(), database="theirs")
    with theirs:
        assert theirs.sql("SHOW TABLES").name.tolist() == ["hidden"]
        assert theirs.sql("SELECT s FROM hidden").s.tolist() == ["SECRET"]
        refusal(theirs, "SELECT * FROM docs")


def test_explain_names_collections(client: Any) -> None:
    said = "\n".join(client.sql("EXPLAIN SELECT n FROM docs WHERE n > 1")["explain"])
    assert "docs" in said
    assert "chroma_nb_" not in said


def test_too_many_columns_for_a_star_are_refused(client: Any) -> None:
    made = make(
        client, "wide", [{f"k{n}": n for n in range(1_300)}, {f"l{n}": n for n in range(800)}]
    )
    try:
        assert "2,100 metadata keys" in refusal(client, "SELECT * FROM wide")
        assert client.sql("SELECT k7, l9 FROM wide ORDER BY id").k7.tolist() == [7, pd.NA]
    finally:
        client.delete_collection(made.name)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE orders",
        "INSERT INTO orders VALUES ('x')",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
        "INSERT INTO FUNCTION file('stolen.csv', CSV, 'a Int8') VALUES (1)",
    ],
)
def test_what_gets_past_the_check_still_does_no_harm(
    client: Any, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    from chroma_nb.db.clickhouse.sql import query as query_module
    from chroma_nb.db.clickhouse.sql.tree import Query

    before = everything(client)
    monkeypatch.setattr(query_module._Query, "_read", lambda *_: {})
    monkeypatch.setattr(query_module._Query, "_checked", lambda *_: (Query({}), statement))
    with pytest.raises((InvalidArgumentError, InternalError)):
        client.sql("SELECT 1")
    assert everything(client) == before


def test_the_text_that_is_run_is_checked_once_more(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if ClickHouse wrote a tree in another way than it reads it."""
    from chroma_nb.db.clickhouse.sql import query as query_module

    for written in ("SELECT * FROM orders", "SELECT file('/etc/passwd')", "SELECT 1 FORMAT CSV"):
        monkeypatch.setattr(query_module._Query, "_written", lambda *_, said=written: said)
        refusal(client, "SELECT 1")


# -- what stops it ----------------------------------------------------------------------------------

RUNAWAY = "SELECT count() FROM numbers(1000000000000000) WHERE cityHash64(number) = 1"


def running(client: Any) -> bool:
    db = client.api.db
    return bool(db._sql and db._sql[0]._open) and bool(
        db._connection.rows(
            "SELECT 1 AS one FROM system.processes WHERE startsWith(query, 'SELECT count() FROM numbers(')"
        )
    )


def test_an_interrupt_ends_a_query(client: Any) -> None:
    has_ended = threading.Event()
    wanted = threading.Event()

    def stop(*_: object) -> None:
        if wanted.is_set():
            wanted.clear()
            raise KeyboardInterrupt

    def interrupt() -> None:
        wait_until(lambda: running(client))
        while not has_ended.is_set():
            wanted.set()
            signal.raise_signal(signal.SIGINT)
            has_ended.wait(10)

    before = signal.signal(signal.SIGINT, stop)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.sql(RUNAWAY)
    finally:
        has_ended.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: not running(client))
    wait_until(lambda: not client.api.db._sql[0]._open)
    assert client.sql("SELECT count() AS n FROM docs").n.tolist() == [len(DOCS)]


def of_its_own(place: chroma_nb.Settings, seconds: float) -> chroma_nb.Settings:
    """Return settings of the same place as another store, as clients with equal addresses share one."""
    return place.replace(clickhouse_url=f"{place.clickhouse_url}?", timeout_seconds=seconds)


@in_a_server
def test_a_query_of_a_server_has_a_limit_of_time(client: Any, place: chroma_nb.Settings) -> None:
    with (
        chroma_nb.Client(of_its_own(place, 2.0)) as hasty,
        pytest.raises(InvalidArgumentError, match=r"longer than the 1 seconds.*timeout_seconds"),
    ):
        hasty.sql(RUNAWAY)


def test_an_answer_or_a_query_too_large_for_the_memory_is_refused(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse.sql import session

    monkeypatch.setattr(session.WORKSPACE, "free", lambda: 4 << 20)
    with pytest.raises(MemoryBudgetError, match=r"does not fit.*LIMIT"):
        client.sql("SELECT number, toString(number) FROM numbers(1000000)")
    assert client.sql("SELECT count() AS n FROM numbers(1000000)").n.tolist() == [1_000_000]
    monkeypatch.setattr(session, "_LEAST_MEMORY", 16 << 20)
    monkeypatch.setattr(session, "_SERVER_MEMORY", 16 << 20)
    monkeypatch.setattr(client.api.db.sql_sessions, "_server_memory", None)
    with pytest.raises(MemoryBudgetError, match=r"too little memory for this query.*LIMIT"):
        client.sql("SELECT length(groupArray(number)) FROM numbers(100000000)")
    client.api.db.sql_sessions._server_memory = None


@in_a_server
def test_closing_ends_a_query(place: chroma_nb.Settings, client: Any) -> None:
    own = chroma_nb.Client(of_its_own(place, 90.0))
    said: list[BaseException] = []

    def ask() -> None:
        try:
            own.sql(RUNAWAY)
        except BaseException as error:
            said.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: running(own))
    own.close()
    thread.join(60)
    assert [type(error) for error in said] == [InternalError]
    assert "closed" in str(said[0])


def test_queries_of_many_threads_are_answered(client: Any) -> None:
    answers: list[Any] = []

    def ask(number: int) -> None:
        for _ in range(3):
            frame = client.sql("SELECT n + $1 AS m, embedding FROM docs WHERE n = 1", [number])
            answers.append((number, int(frame.m[0]) - 1, frame.embedding[0].tolist()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted((n, n, [0.0, 1.0]) for n in range(4) for _ in range(3))


def test_a_query_goes_on_where_a_collection_is_compacted_meanwhile(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse.sql import query as query_module

    made = make(client, "moving", [{"n": row} for row in range(4)])
    made.delete(ids=["r0"])
    real, moves = query_module.read_frame, iter([True, False])

    def move_first(*given: Any) -> Any:
        if next(moves, False):
            old = client.api.db.newest_view(made.id).log.table
            client.api.db.compact(made.id)
            client.api.db._connection.command(f"DROP TABLE IF EXISTS {old}")
        return real(*given)

    try:
        monkeypatch.setattr(query_module, "read_frame", move_first)
        assert client.sql("SELECT n FROM moving ORDER BY n").n.tolist() == [1, 2, 3]
    finally:
        client.delete_collection("moving")
    assert "no collection 'moving'" in refusal(client, "SELECT n FROM moving")


def test_a_query_waits_for_no_other_call(client: Any) -> None:
    """The store answers while a query runs."""
    ended = threading.Event()

    def ask() -> None:
        with contextlib.suppress(BaseException):
            client.sql(RUNAWAY)
        ended.set()

    threading.Thread(target=ask).start()
    wait_until(lambda: running(client))
    assert client.get_collection("docs", embedding_function=None).count() == len(DOCS)
    assert not ended.is_set()
    for session in list(client.api.db._sql[0]._open):
        session.interrupt()
    assert ended.wait(60)


def test_a_server_that_is_too_old_is_told(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from chroma_nb.db.clickhouse.sql import query as query_module
    from chroma_nb.db.clickhouse.sql.errors import QueryError

    def unknown(*_: Any) -> None:
        raise QueryError(46, "Function with name `parseQueryToJSON` does not exist")

    monkeypatch.setattr(query_module._Query, "_parsed", unknown)
    with pytest.raises(NotImplementedError, match=r"ClickHouse 26\.8 or later"):
        client.sql("SELECT 1")


def test_the_list_of_functions_has_those_that_there_are(client: Any) -> None:
    """A name that ClickHouse does not have is a slip."""
    from chroma_nb.db.clickhouse.sql import allowed

    there = {
        name for (name,) in client.api.db._connection.rows("SELECT name FROM system.functions")
    }
    listed = {
        word.removesuffix("~") for word in f"{allowed._FUNCTIONS} {allowed._AGGREGATES}".split()
    }
    assert len(listed) > 1_000
    assert listed - there <= {"caseWithExpression", "exists", "grouping", "lambda"}
