"""Embeddings as a column, and that a query sees one moment."""

from __future__ import annotations

import importlib.util
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.db.sql import query as query_module
from chroma_nb.db.sql import vectors as vectors_module
from chroma_nb.db.vector_file import VectorFile
from chroma_nb.errors import InternalError
from tests.unit.sql.conftest import make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_embeddings_come_when_they_are_named(client: Any) -> None:
    assert "embedding" not in client.sql("SELECT * FROM docs")
    assert list(client.sql("SELECT *, embedding FROM docs")).count("embedding") == 1
    assert "embedding_1" not in client.sql("SELECT *, embedding FROM docs")
    make(client, "numbered", [{"embedding_1": 7}])
    try:
        starred = client.sql("SELECT *, embedding FROM numbered")
        assert starred.embedding_1.tolist() == [7]
        assert starred.embedding[0].tolist() == [0.0, 1.0]
        assert starred.shape == (1, 6)
    finally:
        client.delete_collection("numbered")
    described = client.sql("DESCRIBE docs").set_index("column_name").column_type
    assert described["embedding"] == "FLOAT[2]"
    query = "SELECT id FROM docs ORDER BY array_distance(embedding, $q::FLOAT[2]) LIMIT 1"
    assert client.sql(query, {"q": np.array([4.1, 5.2], dtype=np.float32)}).id.tolist() == ["r2"]
    assert client.sql("SELECT EMBEDDING FROM docs").embedding[3].dtype == np.float32


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "through pyarrow"])
def test_embeddings_are_read_where_they_are_wanted(
    client: Any, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    if many:
        pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    monkeypatch.setattr(vectors_module, "_MANY_RECORDS", 0 if many else 1 << 60)
    read: list[int] = []
    plain = vectors_module.QueryVectors.many

    def counted(self: Any, labels: Any) -> Any:
        read.append(len(labels))
        return plain(self, labels)

    monkeypatch.setattr(vectors_module.QueryVectors, "many", counted)
    n = 300
    made = client.create_collection("vectors", embedding_function=None)
    try:
        vectors = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
        made.add(ids=[f"{row}" for row in range(n)], embeddings=vectors)
        made.update(ids=["5"], embeddings=[[9.0, 9.0, 9.0]])
        vectors[5] = 9.0
        frame = client.sql("SELECT id, embedding FROM vectors ORDER BY hash(id)")
        order = frame.id.astype(int).to_numpy()
        assert np.array_equal(np.stack(frame.embedding.tolist()), vectors[order])
        read.clear()
        for query in ("SELECT count(*) FROM vectors", "SELECT id FROM vectors", "FROM vectors"):
            client.sql(query)
        assert read == []
        client.sql("SELECT embedding FROM vectors WHERE id = '100'")
        client.sql("SELECT embedding FROM vectors LIMIT 1")
        assert sum(read) < n
        total = client.sql("SELECT sum(embedding[1]) AS s FROM vectors")["s"][0]
        assert total == pytest.approx(float(vectors[:, 0].sum()), rel=1e-4)
    finally:
        client.delete_collection("vectors")


def test_pyarrow_may_be_installed_while_the_store_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    monkeypatch.setattr(vectors_module, "_MANY_RECORDS", 0)
    plain = importlib.util.find_spec

    def without_pyarrow(name: str, *rest: Any) -> Any:
        return None if name == "pyarrow" else plain(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", without_pyarrow)
        client = chroma_nb.PersistentClient(tmp_path / "store")
    with client:
        make(client, "docs", [{"n": 1}])
        assert client.sql("SELECT embedding FROM docs").embedding[0].tolist() == [0.0, 1.0]


def test_a_collection_without_vectors_has_none(client: Any) -> None:
    client.create_collection("empty", embedding_function=None)
    try:
        assert client.sql("SELECT embedding FROM empty").shape == (0, 1)
        assert client.sql("SELECT * FROM empty").shape == (0, 4)
    finally:
        client.delete_collection("empty")


@pytest.fixture
def between(client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something once, while a query has begun and has made no view yet."""

    def use(action: Callable[[], None]) -> None:
        plain = query_module._Query._view
        todo = [action]

        def view(self: Any, *args: Any) -> Any:
            if todo:
                todo.pop()()
            return plain(self, *args)

        monkeypatch.setattr(query_module._Query, "_view", view)

    return use


def test_a_query_sees_one_moment(client: Any, between: Any) -> None:
    one, other = (
        client.create_collection(name, embedding_function=None) for name in ("one", "other")
    )
    try:

        def write() -> None:
            for each in (one, other):
                each.add(ids=["new"], embeddings=[[1.0]], metadatas=[{"key": 1}])

        query = "SELECT (SELECT count(*) FROM one) AS a, (SELECT count(*) FROM other) AS b"
        between(write)
        assert client.sql(query).values.tolist() == [[0, 0]]
        assert client.sql(query).values.tolist() == [[1, 1]]
        assert client.sql("SELECT key FROM one").key.tolist() == [1]
    finally:
        client.delete_collection("one")
        client.delete_collection("other")


def test_a_query_begins_anew_when_its_collection_is_compacted(client: Any, between: Any) -> None:
    made = make(client, "compacted", [{"n": row} for row in range(8)])
    try:
        made.delete(ids=["r0", "r3"])
        between(lambda: client.api.db.compact(made.id))
        frame = client.sql("SELECT n, embedding FROM compacted ORDER BY n")
        assert frame.n.tolist() == [1, 2, 4, 5, 6, 7]
        assert [vector.tolist() for vector in frame.embedding] == [
            [2.0 * n, 2.0 * n + 1] for n in frame.n
        ]
    finally:
        client.delete_collection("compacted")


def test_vectors_of_a_compacted_collection_are_not_taken_for_the_new_ones(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(client, "compacted", [{"n": row} for row in range(8)])
    made.delete(ids=["r0", "r3"])
    plain_begin, plain_read = query_module._Query._begin, VectorFile.read
    begun: list[int] = []
    todo = [client.api.db.compact]

    def begin(self: Any, *args: Any) -> None:
        begun.append(1)
        plain_begin(self, *args)

    def read(self: Any, labels: Any) -> Any:
        vectors = plain_read(self, labels)
        if todo:
            # DuckDB's thread waits here, as it would for the disk.
            thread = threading.Thread(target=todo.pop(), args=[made.id])
            thread.start()
            thread.join()
        return vectors

    monkeypatch.setattr(query_module._Query, "_begin", begin)
    monkeypatch.setattr(VectorFile, "read", read)
    try:
        frame = client.sql("SELECT n, embedding FROM compacted ORDER BY n")
        assert [vector.tolist() for vector in frame.embedding] == [
            [2.0 * n, 2.0 * n + 1] for n in (1, 2, 4, 5, 6, 7)
        ]
        assert len(begun) == 2
    finally:
        client.delete_collection("compacted")


def test_a_collection_that_is_rewritten_all_the_time_is_named(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.api.db, "is_at", lambda *_: False)
    with pytest.raises(InternalError, match="rewritten 5 times"):
        client.sql("SELECT embedding FROM docs")
