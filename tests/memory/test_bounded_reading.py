"""Reading what is not loaded: the columns that are asked for, in pieces that fit, by sizes that are known already."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import pytest

import chroma_nb
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.base import TextSizes
from chroma_nb.db.record_table import RecordTable, key_columns, measure
from chroma_nb.db.sql.frame import read_frame
from chroma_nb.errors import MemoryBudgetError
from tests.memory.fakes import tight
from tests.stores import private_settings
from tests.support.database_file import edited_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1_000_000
MIB = 1 << 20


# -- RecordTable ------------------------------------------------------------------------------


@pytest.fixture
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """A table of ten records, of which `document` and `metadata` cannot be read."""
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute(
            "CREATE TABLE plain AS SELECT i AS label, i AS sequence, 'id' || i AS id, 'u' || i AS uri "
            "FROM range(10) t(i)"
        )
        connection.execute(
            "CREATE VIEW records AS SELECT label, sequence, id, uri, error('document was read') AS document, "
            "error('metadata was read') AS metadata FROM plain"
        )
        yield connection


@pytest.mark.parametrize("each", [10, 10_000_000], ids=["short texts", "long texts"])
@pytest.mark.parametrize("labels", [range(10), (0, 9)], ids=["a range", "some"])
def test_only_the_columns_that_are_asked_for_are_read(
    cursor: duckdb.DuckDBPyConnection, each: int, labels: Any
) -> None:
    sizes = TextSizes(10, 10 * each, 10 * each, 10 * each, 10 * each, 4 * each)
    table = RecordTable(cursor, "records", sizes, 32 * MIB)
    wanted = np.array(labels, dtype=np.int64)
    assert table.is_large(["id"]) == (each > 10)
    found = list(table.fetch(wanted, ["id", "uri"], MIB))
    assert [one for rows in found for one in rows.ids] == [f"id{label}" for label in labels]
    assert [one for rows in found for one in rows.uris] == [f"u{label}" for label in labels]
    assert [rows.documents for rows in found] == [[]] * len(found)
    with pytest.raises(duckdb.Error, match="document was read"):
        list(table.fetch(wanted, ["id", "document"], MIB))


def test_a_column_counts_only_where_it_is_asked_for() -> None:
    sizes = TextSizes(10, 100, 10_000_000, 0, 1_000)
    table = RecordTable(None, "records", sizes, 32 * MIB)  # type: ignore[arg-type]
    assert table.is_large()
    assert not table.is_large(["id", "metadata"])
    assert table.row_bytes(["id"]) < 1_000 < 1_000_000 < table.row_bytes(["id", "document"])


@pytest.mark.parametrize("each", [10, 1_000, 1_000_000])
@pytest.mark.parametrize("room", [1, 4_000, MIB, 1 << 30])
def test_every_record_comes_once_whatever_the_room(
    cursor: duckdb.DuckDBPyConnection, each: int, room: int
) -> None:
    sizes = TextSizes(10, 10 * each, 0, 0, 0)
    table = RecordTable(cursor, "plain", sizes, 32 * MIB)
    for labels in (range(10), [0, 1, 2, 7, 9], [3], [], [5, 100, 101]):
        wanted = np.array(labels, dtype=np.int64)
        pieces = list(table.fetch(wanted, ["id"], room))
        found = [int(label) for rows in pieces for label in rows.labels]
        assert sorted(found) == [label for label in labels if label < 10]
        assert [one for rows in pieces for one in rows.ids] == [f"id{label}" for label in found]
        most = max(1, room // table.row_bytes(["id"]))
        assert all(len(rows) <= most for rows in pieces)


# -- sizes of texts ---------------------------------------------------------------------------


class Spy:
    """Stands for a cursor, and keeps what is asked."""

    def __init__(self, cursor: Any, asked: list[str]) -> None:
        self._cursor = cursor
        self._asked = asked

    def execute(self, query: str, *given: Any) -> Any:
        self._asked.append(query)
        return self._cursor.execute(query, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a store's DuckDB from now on."""
    from chroma_nb.db.duckdb.connection import DuckDBConnection

    queries: list[str] = []
    reading = DuckDBConnection.reading

    @contextlib.contextmanager
    def spied(self: DuckDBConnection) -> Iterator[Any]:
        with reading(self) as cursor:
            yield Spy(cursor, queries)

    monkeypatch.setattr(DuckDBConnection, "reading", spied)
    return queries


def sizes_of(client: Any, docs: Any) -> TextSizes:
    return client.api.db.text_sizes(docs.id)  # type: ignore[no-any-return]


def measured(client: Any, docs: Any) -> TextSizes:
    """Return the sizes by reading every text."""
    db = client.api.db
    with db._database.reading() as cursor:
        return measure(cursor, db._database.entry(docs.id).table)


def measures(asked: list[str], docs: Any) -> list[str]:
    """Return the queries that measured this collection; another test's store may still be compacting in the background."""
    return [query for query in asked if "sum(strlen" in query and docs.id.hex in query]


def fill(client: Any, n: int = 20, start: int = 0) -> Any:
    docs = client.get_or_create_collection("docs", embedding_function=None)
    docs.add(
        ids=[f"id{row}" for row in range(start, start + n)],
        embeddings=np.ones((n, 3), np.float32),
        documents=[None if row % 5 == 4 else "é" * row for row in range(start, start + n)],
        uris=["file:///é"] * n,
        metadatas=[{"key": row} for row in range(start, start + n)],
    )
    return docs


def reopened(path: Path) -> Any:
    settings = chroma_nb.Settings(progress=False, fsync=False, compact_ratio=0.01)
    return chroma_nb.PersistentClient(path, settings)


def test_sizes_are_right_after_every_write_and_no_text_is_read_for_them(
    tmp_path: Path, asked: list[str]
) -> None:
    with reopened(tmp_path) as client:
        docs = fill(client)
        first = sizes_of(client, docs)
        assert first == measured(client, docs)
        assert first.documents == sum(2 * row for row in range(20) if row % 5 != 4)
        fill(client, 600, start=20)
        assert sizes_of(client, docs) == measured(client, docs)
        asked.clear()
        before = sizes_of(client, docs)
        docs.get(limit=3)
        docs.query(query_embeddings=[[1.0, 1.0, 1.0]], n_results=3)
    with reopened(tmp_path) as client:
        docs = client.get_collection("docs", embedding_function=None)
        assert sizes_of(client, docs) == before
        docs.get(where={"key": {"$lt": 7}})
        assert list(docs.peek(3)["ids"]) == ["id0", "id1", "id2"]
        assert measures(asked, docs) == []


def test_what_was_replaced_or_deleted_is_counted_for_a_while_and_never_less_than_there_is(
    tmp_path: Path, asked: list[str]
) -> None:
    with reopened(tmp_path) as client:
        docs = fill(client, 100)
        asked.clear()
        docs.upsert(ids=["id1"], embeddings=[[1.0] * 3], documents=["x" * 1_000])
        docs.update(ids=["id2"], embeddings=[[2.0] * 3], documents=["y" * 2_000])
        docs.delete(ids=[f"id{row}" for row in range(50, 100)])
        noted = sizes_of(client, docs)
        assert measures(asked, docs) == []
        right = measured(client, docs)
        assert right.n_records == 50 < noted.n_records
        assert noted.documents >= right.documents
        assert noted.longest >= right.longest >= 2_000
        # Of very many that are not there any more it is worth a look, once.
        asked.clear()
        for _ in range(15):
            docs.upsert(
                ids=[f"n{row}" for row in range(100)],
                embeddings=np.ones((100, 3)),
                documents=["z"] * 100,
            )
        assert sizes_of(client, docs).n_records <= 1.1 * 150 + 1_000 < 50 + 15 * 100
        # Once for each table: a compaction that comes in between makes a new one.
        measured_tables = [query.partition('FROM "')[2] for query in measures(asked, docs)]
        assert measured_tables
        assert len(measured_tables) == len(set(measured_tables))
        client.api.segments.compact(docs.id)
        sizes_of(client, docs)
        asked.clear()
        sizes_of(client, docs)
        assert measures(asked, docs) == []


def test_sizes_are_right_after_a_compaction(tmp_path: Path, asked: list[str]) -> None:
    with reopened(tmp_path) as client:
        docs = fill(client, 3_000)
        docs.delete(ids=[f"id{row}" for row in range(2_500)])
        client.api.segments.compact(docs.id)
        asked.clear()
        assert sizes_of(client, docs) == measured(client, docs)
        right = sizes_of(client, docs)
        assert right.n_records == 500
    with reopened(tmp_path) as client:
        docs = client.get_collection("docs", embedding_function=None)
        assert docs.count() == 500
        assert sizes_of(client, docs) == right == measured(client, docs)


@pytest.mark.parametrize("stored", ["NULL", "'[1, 7, 7, 7, 7, 7, 7]'"], ids=["none", "another's"])
def test_sizes_that_an_older_version_has_not_noted_are_measured_once(
    tmp_path: Path, asked: list[str], stored: str
) -> None:
    with reopened(tmp_path) as client:
        docs = fill(client, 100)
        right = measured(client, docs)
    with edited_database(tmp_path) as connection:
        connection.execute(f"UPDATE collections SET text_sizes = {stored}")
    asked.clear()
    with reopened(tmp_path) as client:
        docs = client.get_collection("docs", embedding_function=None)
        for _ in range(3):
            assert sizes_of(client, docs) == right
        assert len(measures(asked, docs)) == 1
        # The next write notes them down.
        fill(client, 1, start=100)
        right = measured(client, docs)
    asked.clear()
    with reopened(tmp_path) as client:
        assert sizes_of(client, docs) == right
        assert measures(asked, docs) == []


# -- long texts -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_bytes"), [(3_000, 60_000), (300, MB)])
def test_long_texts_go_in_and_come_out(tmp_path: Path, n: int, n_bytes: int) -> None:
    """Some 200 to 300 MB of texts under a budget of 50 MB."""
    pytest.importorskip("pyarrow")
    settings = chroma_nb.Settings(progress=False, fsync=False, memory_budget="50 MB")
    vectors = np.random.default_rng(3).standard_normal((n, 16), dtype=np.float32)

    def text(row: int) -> str:
        return f"document {row}: " + chr(97 + row % 26) * n_bytes

    def check(docs: Any) -> None:
        assert docs.count() == n
        assert docs.query(query_embeddings=vectors[17], n_results=2)["documents"][0][0] == text(17)
        assert docs.get(ids=[f"id{n - 1}"])["documents"] == [text(n - 1)]
        assert docs.get(limit=1, offset=5)["documents"] == [text(5)]
        assert docs.peek(2)["ids"] == ["id0", "id1"]
        words: Any = {"$contains": "document 123:"}
        assert docs.get(where_document=words, include=[])["ids"] == ["id123"]
        pattern: Any = {"$regex": "^document 12[0-9]: "}
        assert len(docs.get(where_document=pattern, include=[])["ids"]) == 10
        assert docs.get(where={"row": {"$lt": 3}}, include=[])["ids"] == ["id0", "id1", "id2"]

    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        docs = client.create_collection("docs", embedding_function=None)
        step = n // 6
        for start in range(0, n, step):
            rows = range(start, start + step)
            docs.add(
                ids=[f"id{row}" for row in rows],
                embeddings=vectors[start : start + step],
                documents=[text(row) for row in rows],
                metadatas=[{"row": row} for row in rows],
            )
        check(docs)
        assert docs.export(tmp_path / "docs.parquet") == n
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        check(client.get_collection("docs", embedding_function=None))
        assert client.memory.report().used <= 50 * MB
        client.delete_collection("docs")
        again = client.import_(tmp_path / "docs.parquet", "again")
        check(again)


def test_ids_are_read_without_the_texts_beside_them() -> None:
    """80 MB of texts; DuckDB has 12 MB of memory and no more."""
    with chroma_nb.EphemeralClient(
        private_settings(progress=False, memory_budget="1 MB", duckdb_memory_limit="12 MB")
    ) as client:
        docs = client.create_collection("docs", embedding_function=None)
        for start in range(0, 4_000, 200):
            docs.add(
                ids=[f"id{row}" for row in range(start, start + 200)],
                embeddings=np.ones((200, 2), np.float32),
                documents=[f"{row:020000}" for row in range(start, start + 200)],
            )
        assert docs.get(include=[])["ids"] == [f"id{row}" for row in range(4_000)]
        assert docs.get(include=["metadatas"])["metadatas"] == [None] * 4_000


# -- answers of SQL ---------------------------------------------------------------------------


class Answer:
    """Stands for a cursor that has executed a query, and counts how many rows are asked for at a time."""

    description = (("text",), ("list",))

    def __init__(self, n_rows: int, n_bytes: int) -> None:
        self._left = n_rows
        self._n_bytes = n_bytes
        self.asked: list[int] = []

    def fetchmany(self, n: int) -> list[tuple[str, list[int]]]:
        self.asked.append(n)
        n = min(n, self._left)
        self._left -= n
        return [("x" * self._n_bytes, [1])] * n

    def fetch_df_chunk(self, n_chunks: int) -> pd.DataFrame:
        return pd.DataFrame(self.fetchmany(2_048 * n_chunks), columns=["text", "list"])[["text"]]


@pytest.mark.parametrize("kind", ["rows", "arrays"])
def test_rows_of_an_answer_are_fetched_by_their_bytes(kind: str) -> None:
    types = ["VARCHAR", "INTEGER[]"] if kind == "rows" else ["VARCHAR"]
    short, long = Answer(50_000, 10), Answer(8_000, 50_000)
    for answer in (short, long):
        answer_of: Any = answer
        if kind == "arrays":
            answer.description = (("text",),)  # type: ignore[assignment]
        assert len(read_frame(answer_of, types, lambda: None)) > 0
    # One of DuckDB's chunks first, of which nothing is known yet.
    assert short.asked[0] == long.asked[0] == 2_048
    assert short.asked[1] >= 16_000
    least = 2_048 if kind == "arrays" else 1
    assert max(long.asked[1:]) <= max(least, 16 * MIB // 50_000)


# -- writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [100, 600], ids=["lists", "arrays"])
def test_a_write_that_is_too_large_for_the_database_says_so_and_leaves_nothing(
    tmp_path: Path, n: int
) -> None:
    """DuckDB does nothing more in a transaction that has failed, and says this instead of why."""
    settings = chroma_nb.Settings(progress=False, fsync=False, duckdb_memory_limit="12 MB")
    with chroma_nb.PersistentClient(tmp_path, settings) as client:
        docs = fill(client)
        large = ["x" * (60 * MB // n)] * n
        ids = [f"large{row}" for row in range(n)]
        with pytest.raises(MemoryBudgetError, match="would need more than"):
            docs.add(ids=ids, embeddings=np.ones((n, 3)), documents=large)
        assert docs.count() == 20
        docs.add(ids=ids, embeddings=np.ones((n, 3)), documents=ids)
        assert docs.get(ids=ids[-1:])["documents"] == ids[-1:]


@pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB 1.3 takes more to read the log")
def test_a_log_of_long_texts_stays_where_there_is_no_memory_to_write_it_into_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, size = 60, 1_000_000
    script = (
        "import os, chroma_nb, numpy as np\n"
        "from chroma_nb.db.duckdb import inserts, store\n"
        # As an older chroma_nb has written them: many long texts in the 2,048 rows that a checkpoint handles at a time.
        "inserts.padding_rows, store.WRITES_PADDING = np.zeros_like, False\n"
        f"client = chroma_nb.PersistentClient({str(tmp_path)!r}, chroma_nb.Settings(progress=False))\n"
        "docs = client.create_collection('docs', embedding_function=None)\n"
        f"for row in range({n}):\n"
        f"    text = chr(97 + row % 26) * {size}\n"
        "    docs.add(ids=[str(row)], embeddings=np.ones((1, 2), np.float32), documents=[text])\n"
        "    if row == 40:\n"
        "        client.api.db._database._checkpoint()\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    log = tmp_path / "records.duckdb.wal"
    assert log.stat().st_size > size
    tight(monkeypatch, 5 * MIB)
    few = chroma_nb.Settings(progress=False, duckdb_memory_limit="5 MB")
    with chroma_nb.PersistentClient(str(tmp_path), few) as client:
        assert log.stat().st_size > size
        docs = client.get_collection("docs", embedding_function=None)
        assert docs.count() == n
        monkeypatch.undo()
        assert docs.get(ids=["59"])["documents"] == [chr(97 + 59 % 26) * size]


# -- filters on long metadata -----------------------------------------------------------------


def test_a_filter_on_wide_metadata_answers_with_little_memory() -> None:
    settings = private_settings(
        progress=False, memory_budget="0", threads=2, duckdb_memory_limit="24 MB"
    )
    n_records, step = 2_000, 500
    with chroma_nb.EphemeralClient(settings) as client:
        wide = client.create_collection("wide", embedding_function=None)
        for start in range(0, n_records, step):
            wide.add(
                ids=[f"r{i}" for i in range(start, start + step)],
                embeddings=np.zeros((step, 1), dtype=np.float32),
                metadatas=[
                    {f"k{j}": i * (j + 1) for j in range(200)} for i in range(start, start + step)
                ],
            )
        client.memory.unload_all()
        where: Any = {"$and": [{"k0": {"$gte": 1_500}}, {"k1": {"$lt": 3_010}}]}
        assert wide.get(where=where, limit=3, include=[])["ids"] == ["r1500", "r1501", "r1502"]
        assert wide.delete(where=where)["deleted"] == 5
        assert wide.count() == n_records - 5


METADATAS: list[dict[str, Any] | None] = [
    None,
    {"n": 1},
    {"n": 1.0, "a/b~c": "x"},
    {"n": 2**62 + 1},
    {"n": -0.5, "flag": True, "words": ["x", "y"]},
    {"n": "1", "flag": False, "numbers": [1.5, 2.5]},
    {"numbers": [1, 2**60], "day": "2024-02-29T12:00:00Z", 'quoted "key" \\': 1e300},
]


@pytest.mark.parametrize(
    "where",
    [
        {"n": {"$gte": 1}},
        {"n": {"$ne": 1}},
        {"n": {"$in": [1, 2**62 + 1]}},
        {"n": "1"},
        {"flag": {"$ne": True}},
        {"a/b~c": "x"},
        {'quoted "key" \\': {"$gt": 1.0}},
        {"words": {"$contains": "y"}},
        {"numbers": {"$not_contains": 2.5}},
        {"numbers": {"$contains": 2**60}},
        {"$or": [{"flag": False}, {"missing": {"$gt": 1}}, {"n": {"$lt": 0}}]},
    ],
    ids=str,
)
def test_a_filter_in_ranges_of_labels_finds_what_it_finds_in_one(where: Any) -> None:
    from chroma_nb.filters.expression import field_conditions
    from chroma_nb.filters.parsing import parse_where
    from chroma_nb.filters.sql import DuckDBDialect, compile_sql

    expression = parse_where(where)
    assert expression is not None
    condition, values = compile_sql(expression, DuckDBDialect())
    keys = list(dict.fromkeys(leaf.key for leaf in field_conditions(expression)))
    long = TextSizes(7, 0, 0, 0, 7 * 300_000)
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute(
            "CREATE TABLE t (label BIGINT, sequence BIGINT, id VARCHAR, document VARCHAR, uri VARCHAR, metadata VARCHAR)"
        )
        for label, metadata in enumerate(METADATAS):
            text = None if metadata is None else json.dumps(metadata)
            connection.execute(
                "INSERT INTO t VALUES (?, ?, ?, NULL, NULL, ?)", [label, -label, str(label), text]
            )
        whole = connection.execute(
            f"SELECT label FROM t WHERE {condition} ORDER BY sequence", values
        ).fetchall()
        table = RecordTable(connection, "t", long, 8 * MIB)
        assert table.is_large_for(condition, keys)
        condition, values = compile_sql(expression, DuckDBDialect(key_columns(keys)))
        found = table.select(condition, values, 0, len(METADATAS), keys)
    assert found.tolist() == [label for (label,) in whole]
    assert 0 < len(found) < len(METADATAS)


def test_a_filter_on_a_hundred_keys_takes_few_statements() -> None:
    from chroma_nb.filters.parsing import parse_where
    from chroma_nb.filters.sql import DuckDBDialect, compile_sql

    keys = [f"key_{place}" for place in range(100)]
    expression = parse_where({"$and": [{key: {"$gte": 0}} for key in keys]})
    assert expression is not None
    condition, values = compile_sql(expression, DuckDBDialect(key_columns(keys)))
    n = 1_000
    statements = []
    with contextlib.closing(duckdb.connect()) as connection:
        text = json.dumps(dict.fromkeys(keys, 1), separators=(",", ":"))
        connection.execute(
            "CREATE TABLE t AS SELECT i AS label, i AS sequence, i::VARCHAR AS id, NULL::VARCHAR AS document, "
            "NULL::VARCHAR AS uri, ? AS metadata FROM range(?) AS r(i)",
            [text, n],
        )

        class Counted:
            def execute(self, *arguments: Any) -> Any:
                statements.append(arguments[0])
                return connection.execute(*arguments)

        cursor: Any = Counted()
        table = RecordTable(cursor, "t", TextSizes(n, 0, 0, 0, n * len(text)), 32 * MIB)
        assert table.select(condition, values, 0, n, keys).tolist() == list(range(n))
    # The metadata is parsed once for all keys: once for each would be 30 rows at a time.
    assert len(statements) <= 8


def test_a_short_text_beside_very_long_ones_is_read_with_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = chroma_nb.Settings(progress=False, fsync=False, memory_budget="100 MB")
    with chroma_nb.PersistentClient(tmp_path, settings) as client:
        docs = client.create_collection("docs", embedding_function=None)
        texts = ["short"] * 3_000 + ["y" * 20 * MB] * 3
        for start in range(0, len(texts), 3_000):
            piece = texts[start : start + 3_000]
            docs.add(
                ids=[f"i{row}" for row in range(start, start + len(piece))],
                embeddings=np.ones((len(piece), 3)),
                documents=piece,
            )
        client.memory.unload_all()
        tight(monkeypatch, 8 * MIB)
        assert docs.get(ids=["i5"])["documents"] == ["short"]
