"""Distances: the same to the last bit whatever answers, and right to float32's ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chroma_nb as chroma
from chroma_nb.index import ENGINES, exact, load_engine

if TYPE_CHECKING:
    from pathlib import Path

SPACES = ("l2", "cosine", "ip")
N, DIMENSION = 3_000, 24


def engines() -> list[str]:
    found = []
    for name in ENGINES:
        try:
            load_engine(name)
            found.append(name)
        except ImportError:
            continue
    return found


def truth(space: str, query: list[float], vector: list[float]) -> float:
    """By Python's own floats, exact products and all."""
    q, x = (np.array(one, dtype=np.float32).astype(np.longdouble) for one in (query, vector))
    if space == "l2":
        value = ((q - x) ** 2).sum()
    else:
        value = 1 - (q * x).sum()
        if space == "cosine":
            scale = np.sqrt((q * q).sum() * (x * x).sum())
            value = 1 - (q * x).sum() / scale if scale > 0 else np.longdouble(1)
    limit = float(np.finfo(np.float32).max)
    return float(min(max(value, -limit), limit))


#: Values from float32's ends, and between.
values = st.sampled_from(
    [0.0, 1.0, -1.0, 0.5, 1e-30, -1e-30, 1e-38, 1e-45, 3e38, -3e38, 1e20, -1e19, 1e-20, 3.4e38]
)
vectors = st.lists(values, min_size=2, max_size=2)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SPACES), vectors, st.lists(vectors, min_size=1, max_size=8))
def test_the_nearest_is_found_to_float32s_ends(
    space: Any, query: list[float], rows: list[list[float]]
) -> None:
    """Warnings are errors here: NumPy's of overflow would be seen."""
    expected = np.array([truth(space, query, row) for row in rows])
    queries = np.array([query], dtype=np.float32)
    matrix = np.array(rows, dtype=np.float32)
    found = exact.search(space, queries, matrix, len(rows))
    assert np.isfinite(found.distances).all()
    np.testing.assert_allclose(found.distances[0], np.sort(expected), rtol=2e-6, atol=2e-7)
    (nearest,) = exact.search(space, queries, matrix, 1).labels[0]
    assert exact.distances(space, queries[0], matrix)[nearest] == found.distances[0, 0]


@pytest.mark.parametrize("engine", ["exact", *engines()])
def test_very_short_and_very_long_vectors(engine: str) -> None:
    """Cosine of [1e-30, 0] and [1, 0] is 0; [3e38, 3e38] has a length that float32 has not."""
    rows = np.random.default_rng(0).standard_normal((600, 2)).astype(np.float32)
    rows[0], rows[1] = [1e-30, 0.0], [3e38, 3e38]
    with chroma.Client(chroma.Settings(index_engine=engine, graph_min_records=100)) as client:
        notes = client.create_collection(
            "notes", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        notes.add(ids=[str(n) for n in range(600)], embeddings=rows)
        notes.build_index()
        found = notes.query(query_embeddings=[[1.0, 0.0]], ids=["0", "1"])
        assert found["distances"][0] == pytest.approx([0.0, 1 - 0.5**0.5], abs=1e-6)
        short = notes.query(query_embeddings=[[1e-30, 0.0]], n_results=600)
        same = notes.query(query_embeddings=[[1.0, 0.0]], n_results=600)
        assert short["distances"][0][0] == 0.0
        assert short["distances"][0] == pytest.approx(same["distances"][0], abs=1e-6)
        client.delete_collection("notes")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("engine", engines())
def test_a_distance_does_not_depend_on_what_answers(
    engine: str, space: str, tmp_path: Path
) -> None:
    """By a graph, by a scan in memory, from the disk: the same bits for the same record."""
    random = np.random.default_rng(3)
    rows = random.standard_normal((N, DIMENSION)).astype(np.float32)
    queries = random.standard_normal((40, DIMENSION)).astype(np.float32)
    chosen = chroma.Settings(
        index_engine=engine, graph_min_records=500, memory_budget="100 MB", progress=False
    )
    with chroma.PersistentClient(tmp_path / "store", chosen) as client:
        notes = client.create_collection(
            "notes", embedding_function=None, configuration={"hnsw": {"space": space}}
        )
        notes.add(ids=[str(n) for n in range(N)], embeddings=rows)
        exactly = {
            (row, one): distance
            for row, query in enumerate(queries)
            for one, distance in zip(
                *(part[0] for part in _asked(notes, query[None], N)), strict=True
            )
        }
        notes.build_index()
        assert notes.explain(query_embeddings=queries[:1])["engine"] == engine
        _check(notes, queries, exactly)
        for row in range(5):
            _check(notes, queries[row : row + 1], exactly, first=row)
        notes.add(ids=["tail"], embeddings=rows[:1] + 3)
        _check(notes, queries, exactly)
        notes.unload()
        client.memory.budget = "20 kB"
        assert notes.explain(query_embeddings=queries[:1])["answered_from"] == "disk"
        _check(notes, queries, exactly)


def _asked(notes: Any, queries: Any, n: int) -> tuple[Any, Any]:
    found = notes.query(query_embeddings=queries, n_results=n, include=["distances"])
    return found["ids"], found["distances"]


def _check(
    notes: Any, queries: Any, exactly: dict[tuple[int, str], float], *, first: int = 0
) -> None:
    ids, distances = _asked(notes, queries, 10)
    for row, (some, near) in enumerate(zip(ids, distances, strict=True), start=first):
        assert near == sorted(near)
        for one, distance in zip(some, near, strict=True):
            if one != "tail":
                assert distance == exactly[row, one]
