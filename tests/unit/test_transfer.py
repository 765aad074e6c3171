"""Records in and out: pandas, Arrow, Parquet, SQL, and from one store to another."""

from __future__ import annotations

import datetime
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import chroma_nb
from chroma_nb import transfer
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")

EVERYTHING = ["documents", "metadatas", "embeddings", "uris"]


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        yield client


@pytest.fixture
def notes(client: Any) -> Any:
    notes = client.create_collection(
        "notes",
        embedding_function=None,
        metadata={"about": "tests"},
        configuration={"hnsw": {"space": "cosine"}},
    )
    notes.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.1], [0.1, 1.0], [2.0, 2.0]],
        documents=["alpha <b>", None, "gamma 'ü'"],
        metadatas=[{"n": 1, "f": 0.5, "tags": ["x", "y"], "id": "mine"}, None, {"n": 2, "b": True}],
        uris=["file://a", None, None],
    )
    return notes


def content(collection: Any) -> str:
    return repr(collection.get(include=EVERYTHING))


# -- pandas -----------------------------------------------------------------------------------


def test_results_become_flat_tables(notes: Any) -> None:
    frame = notes.to_pandas()
    assert list(frame.columns) == ["id", "document", "n", "f", "tags", "metadata.id", "b", "uri"]
    assert frame["id"].tolist() == ["a", "b", "c"]
    found = notes.query(query_embeddings=[[1.0, 0.0], [0.0, 1.0]], n_results=2)
    frame = found.to_pandas()
    assert list(frame.columns)[:5] == ["query", "rank", "id", "distance", "document"]
    assert frame[["query", "rank", "id"]].values.tolist() == [
        [0, 1, "a"],
        [0, 2, "c"],
        [1, 1, "b"],
        [1, 2, "c"],
    ]
    assert found.to_pandas(query=1)["id"].tolist() == ["b", "c"]
    assert notes.get(where={"n": 99}).to_pandas().empty


def test_a_frame_goes_in(client: Any) -> None:
    frame = pd.DataFrame(
        {
            "text": ["one", "two", None],
            "embedding": [[1.0, 0.0], np.array([0.0, 1.0]), [1.0, 1.0]],
            "n": [1.0, np.nan, 3.0],
            "when": [datetime.datetime(2024, 1, 2), pd.NaT, pd.Timestamp("2024-05-06")],
            "tags": [["x"], [], None],
        },
        index=pd.Index(["a", "b", "c"], name="key"),
    )
    notes = client.create_collection("frames", embedding_function=None).from_pandas(frame)
    got = notes.get(include=EVERYTHING)
    assert got["ids"] == ["a", "b", "c"]
    assert got["documents"] == ["one", "two", None]
    assert got["metadatas"] == [
        {"n": 1.0, "when": "2024-01-02T00:00:00", "tags": ["x"]},
        None,
        {"n": 3.0, "when": "2024-05-06T00:00:00"},
    ]
    # The same frame again changes nothing, as the ids are there.
    before = content(notes)
    notes.from_pandas(frame)
    assert content(notes) == before


def test_columns_are_chosen_and_wrong_ones_named(client: Any) -> None:
    frame = pd.DataFrame(
        {"key": [7, 8], "body": ["x", "y"], "v": [[1.0], [2.0]], "keep": [1, 2], "drop": [3, 4]}
    )
    notes = client.create_collection("frames", embedding_function=None)
    notes.from_pandas(frame, id="key", document="body", embedding="v", metadata=["keep"])
    assert notes.get(include=["metadatas"])["metadatas"] == [{"keep": 1}, {"keep": 2}]
    assert notes.get()["ids"] == ["7", "8"]
    with pytest.raises(InvalidArgumentError, match=r"no column 'bodi'.*key, body"):
        notes.from_pandas(frame, document="bodi")
    with pytest.raises(InvalidArgumentError, match="neither a document nor an embedding"):
        notes.from_pandas(frame)


# -- Arrow and Parquet ------------------------------------------------------------------------


def test_an_arrow_table_comes_back_as_it_was(client: Any, notes: Any) -> None:
    table = notes.to_arrow()
    assert table.num_rows == 3
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    copy = client.create_collection("copy", embedding_function=None).from_arrow(table)
    assert content(copy) == content(notes)
    plain = pa.table({"id": ["p"], "document": ["text"], "embedding": [[1.0, 2.0]], "n": [5]})
    copy.from_arrow(plain)
    assert copy.get(ids=["p"])["metadatas"] == [{"n": 5}]


def test_a_file_comes_back_as_it_was(client: Any, notes: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.parquet"
    assert notes.export(file) == 3
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as other:
        other.reset()
        again = other.import_(file)
        assert (again.name, again.metadata) == ("notes", {"about": "tests"})
        assert again.configuration_json == notes.configuration_json
        assert content(again) == content(notes)
        # Once more: what is there stays.
        assert other.import_(file).count() == 3
        assert other.import_(file, "other-name").count() == 3
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["notes.parquet"]


def test_an_empty_collection_comes_back_too(client: Any, tmp_path: Path) -> None:
    empty = client.create_collection("empty", embedding_function=None)
    assert empty.export(tmp_path / "empty.parquet") == 0
    assert client.import_(tmp_path / "empty.parquet", "again").count() == 0


def test_many_records_go_in_pieces(client: Any, tmp_path: Path) -> None:
    n = 2 * transfer.PIECE_RECORDS + 17
    many = client.create_collection("many", embedding_function=None)
    vectors = np.random.default_rng(0).standard_normal((n, 4)).astype(np.float32)
    many.add(ids=[f"id {i}" for i in range(n)], embeddings=vectors)
    assert many.export(tmp_path / "many.parquet") == n
    again = client.import_(tmp_path / "many.parquet", "again")
    got = again.get(include=["embeddings"])
    assert got["ids"] == [f"id {i}" for i in range(n)]
    np.testing.assert_array_equal(got["embeddings"], vectors)
    assert len(many.to_pandas()) == n


def test_an_interrupted_export_leaves_nothing(notes: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*args: Any) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(transfer.arrow, "_arrow_pieces", fail)
    with pytest.raises(KeyboardInterrupt):
        notes.export(tmp_path / "half.parquet")
    assert [one.name for one in tmp_path.iterdir()] == ["store"]


def test_another_parquet_file_is_refused_with_the_way_out(client: Any, tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InvalidArgumentError, match="from_arrow"):
        client.import_(tmp_path / "other.parquet")


def test_without_pyarrow_the_extra_is_named() -> None:
    script = (
        "import sys\nsys.modules['pyarrow'] = None\n"
        "import chroma_nb\n"
        "notes = chroma_nb.Client().create_collection('notes', embedding_function=None)\n"
        "try:\n    notes.export('x.parquet')\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert 'pip install "chroma-nb[arrow]"' in done.stdout, done.stderr


# -- copies -----------------------------------------------------------------------------------


def test_collections_are_copied_to_another_store_and_back(client: Any, notes: Any) -> None:
    client.create_collection("second", embedding_function=None)
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as other:
        other.reset()
        assert client.copy_to(other) == {"notes": 3, "second": 0}
        copy = other.get_collection("notes", embedding_function=None)
        assert content(copy) == content(notes)
        assert copy.configuration_json == notes.configuration_json
        notes.delete(ids=["a"])
        assert other.copy_to(client, ["notes"]) == {"notes": 3}
    assert notes.get()["ids"] == ["b", "c", "a"]


def test_a_fork_is_a_copy(client: Any, notes: Any) -> None:
    fork = notes.fork("forked")
    fork.delete(ids=["a"])
    assert (fork.name, fork.count(), notes.count()) == ("forked", 2, 3)


def test_a_fork_that_fails_says_what_it_leaves_and_the_same_call_goes_on(client: Any) -> None:
    many = client.create_collection("many", embedding_function=None)
    many.add(ids=[f"{n}" for n in range(200)], embeddings=np.zeros((200, 2), np.float32))

    def stop(_: int) -> None:
        raise chroma_nb.errors.InternalError("stopped")

    where_to = {"tenant": client.tenant, "database": client.database}
    with pytest.raises(chroma_nb.errors.InternalError) as error:
        client.api.fork(many.id, "forked", on_progress=stop, **where_to)
    there = client.get_collection("forked", embedding_function=None).count()
    assert 0 < there < 200
    said = str(error.value)
    assert said.startswith(f"The copy [forked] is unfinished: {there} of 200 records are in it.")
    assert "Run the same call again" in said
    assert said.endswith(": stopped")
    assert content(many.fork("forked")) == content(many)


def test_a_copy_to_another_store_that_fails_says_what_it_leaves_and_the_same_call_goes_on(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = client.create_collection("many", embedding_function=None)
    many.add(ids=[f"{n}" for n in range(200)], embeddings=np.zeros((200, 2), np.float32))
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as other:
        other.reset()
        add, calls = other.api.add, []

        def stops(*arguments: Any, **named: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise chroma_nb.errors.InternalError("stopped")
            return add(*arguments, **named)

        monkeypatch.setattr(other.api, "add", stops)
        with pytest.raises(chroma_nb.errors.InternalError) as error:
            client.copy_to(other, ["many"])
        copy = other.get_collection("many", embedding_function=None)
        there = copy.count()
        assert 0 < there < 200
        said = str(error.value)
        assert said.startswith(
            f"The copy [many] is unfinished: {there} of 200 records were copied."
        )
        assert said.endswith(": stopped")
        assert client.copy_to(other, ["many"]) == {"many": 200}
        assert content(copy) == content(many)


def test_a_fork_adds_to_no_other_collection(client: Any, notes: Any) -> None:
    other = client.create_collection("other", embedding_function=None)
    alike = client.create_collection(
        "alike",
        metadata=notes.metadata,
        embedding_function=None,
        configuration={"hnsw": {"space": "cosine"}},
    )
    alike.add(ids=["a"], embeddings=[[1.0, 0.1]], documents=["another"])
    for name in ("other", "alike", "notes"):
        with pytest.raises(chroma_nb.errors.UniqueConstraintError, match="no copy of"):
            notes.fork(name)
    assert (other.count(), alike.count(), notes.count()) == (0, 1, 3)


# -- SQL --------------------------------------------------------------------------------------


def test_sql_reads_collections_as_views(client: Any, notes: Any) -> None:
    frame = client.sql("SELECT id, n, f, b, document FROM notes ORDER BY id")
    assert frame["id"].tolist() == ["a", "b", "c"]
    assert client.sql("SELECT sum(n) AS total FROM notes")["total"].tolist() == [3]
    assert client.sql("SELECT id FROM notes WHERE b").id.tolist() == ["c"]
    assert client.sql("SELECT id FROM notes WHERE n > ? AND f IS NULL", [1]).id.tolist() == ["c"]
    assert client.sql("SELECT metadata->>'n' AS n FROM notes WHERE id = 'a'").n.tolist() == ["1"]
    other = client.create_collection("odd.name-1", embedding_function=None)
    other.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"w": "x", "k'e\"y": 3}])
    joined = 'SELECT notes.id, o.w, o."k\'e""y" AS k FROM notes JOIN "odd.name-1" o USING (id)'
    assert client.sql(joined).values.tolist() == [["a", "x", 3]]
    notes.add(ids=["d"], embeddings=[[1.0, 1.0]], metadatas=[{"n": 10}])
    assert client.sql("SELECT max(n) AS n FROM notes").n.tolist() == [10]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM notes",
        "DROP VIEW notes",
        "INSERT INTO tenants VALUES ('x')",
        "UPDATE collections SET name = 'x'",
        "SET threads = 1",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "ATTACH 'other.duckdb'",
        "SELECT 1; SELECT 2",
        "CREATE TABLE x (a INTEGER)",
        "",
    ],
)
def test_sql_does_nothing_but_read(client: Any, notes: Any, query: str) -> None:
    before = content(notes)
    with pytest.raises(InvalidArgumentError, match=r"one SELECT"):
        client.sql(query)
    assert content(notes) == before


def test_a_wrong_query_says_what_there_is(client: Any, notes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"each collection is a view: 'notes'"):
        client.sql("SELECT * FROM nots")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        client.sql("SELEC id")
