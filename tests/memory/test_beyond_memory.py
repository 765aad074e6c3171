"""A collection that may not be loaded is answered from disk: exactly, and in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N, DIMENSION = 12_000, 96


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((150, DIMENSION)) * 0.6
    points = centres[rng.integers(0, 150, N)] + rng.standard_normal((N, DIMENSION)) * 0.5
    return points.astype(np.float32)


@pytest.fixture(params=["ephemeral", "persistent"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    settings = chroma_nb.Settings(memory_budget="1 MB", temp_path=str(tmp_path))
    path = tmp_path / "store" if request.param == "persistent" else None
    with chroma_nb.Client(settings, path=path) as client:
        yield client


def nearest(vectors: np.ndarray, query: np.ndarray, k: int, rows: np.ndarray) -> list[str]:
    distances = ((vectors[rows] - query) ** 2).sum(axis=1)
    return [f"id{row}" for row in rows[np.argsort(distances, kind="stable")[:k]]]


def test_a_data_set_larger_than_the_budget_is_added_and_answered_exactly(
    client: Any, vectors: np.ndarray
) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    for start in range(0, N, 2_000):
        rows = range(start, start + 2_000)
        notes.add(
            ids=[f"id{row}" for row in rows],
            embeddings=vectors[start : start + 2_000],
            documents=[f"document {row} {'even' if row % 2 == 0 else 'odd'}" for row in rows],
            metadatas=[{"third": row % 3} for row in rows],
        )
    report = client.memory.report()
    assert report.used <= report.budget == 1_000_000
    assert report.collections[0].state == "on disk"
    assert notes.count() == N
    explained = notes.explain(query_embeddings=vectors[0])
    assert explained["answered_from"] == "disk"
    assert "do not fit" in explained["held_because"]

    everything = np.arange(N)
    thirds = everything[everything % 3 == 1]
    both = thirds[thirds % 2 == 0]
    for row in range(0, N, 1_999):
        query = vectors[row] + np.float32(0.05)
        found = notes.query(query_embeddings=query, n_results=5)
        assert found["ids"][0] == nearest(vectors, query, 5, everything)
        assert found["documents"][0][0].startswith(f"document {found['ids'][0][0][2:]} ")
        where: dict[str, Any] = {"query_embeddings": query, "n_results": 5, "where": {"third": 1}}
        assert notes.query(**where)["ids"][0] == nearest(vectors, query, 5, thirds)
        where["where_document"] = {"$contains": "even"}
        assert notes.query(**where)["ids"][0] == nearest(vectors, query, 5, both)
    several = notes.query(query_embeddings=vectors[:300], n_results=1)
    assert [ids[0] for ids in several["ids"]] == [f"id{row}" for row in range(300)]
    # A record that answers many queries is read once.
    all_of_them = notes.query(query_embeddings=vectors[:30], n_results=N)
    assert all(sorted(ids) == sorted(all_of_them["ids"][0]) for ids in all_of_them["ids"])
    assert all_of_them["documents"][29][0].startswith("document 29 ")
    chosen = notes.get(ids=["id7", "id11999"], include=["embeddings"])["embeddings"]
    np.testing.assert_array_equal(chosen, vectors[[7, 11_999]])

    assert notes.delete(where={"third": 0}) == {"deleted": N // 3}
    notes.update(ids=["id1"], embeddings=[vectors[2]], documents=["moved"])
    assert notes.count() == N - N // 3
    kept = everything[everything % 3 != 0]
    found = notes.query(query_embeddings=vectors[3], n_results=4)
    assert found["ids"][0] == nearest(vectors, vectors[3], 4, kept)
    assert set(notes.query(query_embeddings=vectors[2], n_results=2)["ids"][0]) == {"id1", "id2"}


def test_what_cannot_fit_is_refused_with_the_ways_out(client: Any, vectors: np.ndarray) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=[str(row) for row in range(N)], embeddings=vectors)
    client.memory.budget = 500_000
    for attempt in (
        lambda: client.memory.load("notes"),
        lambda: client.memory.pin("notes"),
        notes.build_index,
    ):
        with pytest.raises(MemoryBudgetError, match=r"Ways out: .*; or .*") as caught:
            attempt()
        assert caught.value.need > caught.value.budget == 500_000
        assert isinstance(caught.value, MemoryError)
    assert not client.memory.report().collections[0].pinned
    # The way out that is named works.
    client.memory.budget = caught.value.need
    assert client.memory.load("notes") <= client.memory.budget
    with pytest.raises(MemoryBudgetError, match="The smallest index of collection"):
        notes.build_index()
    client.memory.budget = "1 GB"
    notes.build_index()
    assert notes.explain(query_embeddings=vectors[0])["strategy"] in ("codes", "graph")


def test_a_database_without_memory_says_so_and_goes_on(tmp_path: Path) -> None:
    settings = chroma_nb.Settings(duckdb_memory_limit="12 MB")
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a"], embeddings=[[1.0, 2.0]], documents=["kept"])
        with pytest.raises(MemoryBudgetError, match="duckdb_memory_limit"):
            # One value, which cannot be spread over temporary files.
            client.sql("SELECT list(i) FROM range(5000000) numbers(i)")
        assert notes.get()["documents"] == ["kept"]
        assert notes.query(query_embeddings=[[1.0, 2.0]], n_results=1)["ids"] == [["a"]]


SCRIPT = """
import json, resource, sys
import numpy as np, psutil
import chroma_nb

path, n, dimension = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
settings = chroma_nb.Settings(memory_budget=0, index_engine="exact", progress=False)
with chroma_nb.PersistentClient(path, settings) as client:
    notes = client.create_collection("notes", embedding_function=None)
    for start in range(0, n, 5_000):
        notes.add(
            ids=[f"id{i}" for i in range(start, start + 5_000)],
            embeddings=rng.standard_normal((5_000, dimension), dtype=np.float32),
            documents=[f"document {i}" for i in range(start, start + 5_000)],
            metadatas=[{"n": i % 10} for i in range(start, start + 5_000)],
        )
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = peak()
    queries = rng.standard_normal((50, dimension), dtype=np.float32)
    notes.query(query_embeddings=queries, n_results=10)
    notes.query(query_embeddings=queries[:2], n_results=10, where={"n": {"$lt": 5}})
    notes.get(where={"n": 3}, limit=100)
    notes.delete(where={"n": 4})
    print(json.dumps({"grew": peak() - before, "used": client.memory.report().used,
                      "count": notes.count()}))
"""


def test_answers_from_disk_take_bounded_memory(tmp_path: Path) -> None:
    n, dimension = 60_000, 384
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "store"), str(n), str(dimension)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["used"] == 0
    assert found["count"] == n - n // 10
    # 92 MB of vectors were compared. The products of 50 queries with all of them take 12 MB.
    assert found["grew"] < 45e6, found


# -- smaller forms -----------------------------------------------------------------------------------


def recall(notes: Any, vectors: np.ndarray, space: str) -> float:
    rng = np.random.default_rng(9)
    queries = vectors[rng.integers(0, len(vectors), 100)] + np.float32(0.02)
    if space == "cosine":
        norms = np.linalg.norm(vectors, axis=1)
        scores = -(queries @ vectors.T) / norms
    elif space == "ip":
        scores = -(queries @ vectors.T)
    else:
        scores = (vectors**2).sum(axis=1) - 2 * queries @ vectors.T
    truth = np.argsort(scores, axis=1)[:, :10]
    found = notes.query(query_embeddings=queries, n_results=10)["ids"]
    hits = [
        len({f"id{row}" for row in right.tolist()} & set(ids)) / 10
        for right, ids in zip(truth, found, strict=True)
    ]
    return float(np.mean(hits))


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_a_smaller_form_is_taken_where_the_full_one_does_not_fit(
    tmp_path: Path, vectors: np.ndarray, space: str
) -> None:
    pytest.importorskip("hnswlib", reason="the extra 'hnswlib' is not installed")
    n, dimension = 10_000, 384
    rng = np.random.default_rng(5)
    # Real embeddings lie near a few directions; lengths near one, as those of sentence models are.
    basis = rng.standard_normal((60, dimension))
    wide = rng.standard_normal((n, 60)) @ basis + rng.standard_normal((n, dimension)) * 2
    wide = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    settings = chroma_nb.Settings(index_engine="hnswlib", memory_budget="1 GB")
    sizes, forms = {}, {}
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        notes = client.create_collection(
            "notes", embedding_function=None, configuration={"hnsw": {"space": space}}
        )
        notes.add(ids=[f"id{row}" for row in range(n)], embeddings=wide)
        for budget in ("1 GB", "12 MB", "8 MB"):
            # A graph that does not fit is given up with the collection, and a smaller one is built.
            client.memory.budget = budget
            notes.build_index()
            explained = notes.explain(query_embeddings=wide[0])
            form = explained["engine"]
            forms[budget] = form
            sizes[form] = client.memory.report().collections[0].parts["graph"]
            assert client.memory.report().used <= client.memory.budget
            assert explained["strategy"] == "graph"
            assert recall(notes, wide, space) >= 0.98, form
            if form != "hnswlib":
                assert "the full index (hnswlib) takes" in explained["held_because"]
            found = notes.query(query_embeddings=wide[77], n_results=1)
            assert found["ids"] == [["id77"]]
            assert abs(found["distances"][0][0]) < 1e-5
    assert forms == {"1 GB": "hnswlib", "12 MB": "usearch", "8 MB": "usearch-i8"}
    assert sizes["usearch"] <= 0.55 * sizes["hnswlib"]
    assert sizes["usearch-i8"] <= 0.33 * sizes["hnswlib"]
