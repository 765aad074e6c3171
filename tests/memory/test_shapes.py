"""Records of any shape, where a few megabytes are free: the same answers as where there is plenty."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import chroma_nb
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.workspace import WORKSPACE
from tests.memory.fakes import MIB, tight
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("pyarrow")

EVERYTHING = ["embeddings", "documents", "metadatas", "uris"]
#: What the embeddings of an example take at most; and so many texts of it are long.
MOST_BYTES = 2 * MIB
LONG_TEXTS = 3
WORDS = ("needle", "héllo", "x", "🧵 ", "hay ")


@dataclass
class Shape:
    """What the records of an example look like."""

    n: int
    dimension: int
    #: Different embeddings: the fewer, the more ties.
    n_different: int
    #: Bytes of the longest texts, about.
    longest: int
    n_keys: int
    space: str
    budget: str
    #: Bytes that are free.
    free: int
    #: Whether collections may be loaded.
    loads: bool
    seed: int


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    dimension = draw(st.sampled_from([1, 2, 3, 64, 384, 1_536, 4_096]) | st.integers(1, 4_096))
    n = draw(st.integers(1, min(400, MOST_BYTES // (4 * dimension))))
    return Shape(
        n=n,
        dimension=dimension,
        n_different=draw(st.integers(1, n)),
        longest=draw(st.sampled_from([1, 100, 5_000, 100_000, 2_000_000])),
        n_keys=draw(st.sampled_from([0, 1, 20, 200])),
        space=draw(st.sampled_from(["l2", "cosine", "ip"])),
        budget=draw(st.sampled_from(["0 MB", "1 MB", "400 MB"])),
        free=draw(st.sampled_from([6 * MIB, 16 * MIB])),
        loads=draw(st.booleans()),
        seed=draw(st.integers(0, 1_000)),
    )


def records_of(shape: Shape) -> dict[str, Any]:
    rng = np.random.default_rng(shape.seed)
    different = rng.standard_normal((shape.n_different, shape.dimension), dtype=np.float32)
    long = set(rng.integers(0, shape.n, LONG_TEXTS).tolist())

    def text(row: int) -> str | None:
        if row % 7 == 6:
            return None
        word = WORDS[row % len(WORDS)]
        n_bytes = shape.longest if row in long else min(shape.longest, 200)
        return f"{row} " + word * (n_bytes // len(word.encode()))

    def value(row: int, key: int) -> Any:
        return [row % 5, row / 3, f"v{row % 3}", row % 2 == 0][key % 4]

    return {
        "ids": [f"id{row}" for row in range(shape.n)],
        "embeddings": different[rng.integers(0, shape.n_different, shape.n)],
        "documents": [text(row) for row in range(shape.n)],
        "metadatas": [
            {f"k{key}": value(row, key) for key in range(shape.n_keys) if (row + key) % 9} or None
            for row in range(shape.n)
        ],
        "uris": [None if row % 3 else f"file:///{row}" for row in range(shape.n)],
    }


def plain(found: Any) -> Any:
    """Return an answer as values that can be compared, to the last bit."""

    def simple(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.astype(np.float32).tobytes()
        if isinstance(value, list):
            return [simple(one) for one in value]
        return value

    return {
        name: simple(found[name]) for name in ("ids", *EVERYTHING, "distances") if name in found
    }


def get(docs: Any, **conditions: Any) -> list[Any]:
    """Return records one by one, all at once where that is not refused."""
    ids = docs.get(include=[], **conditions)["ids"]
    with contextlib.suppress(MemoryBudgetError):
        whole = docs.get(include=EVERYTHING, **conditions)
        assert whole["ids"] == ids
        return [
            plain({name: whole[name][row : row + 1] for name in ("ids", *EVERYTHING)})
            for row in range(len(ids))
        ]
    return [
        plain(docs.get(include=EVERYTHING, limit=1, offset=row, **conditions))
        for row in range(len(ids))
    ]


def answers(docs: Any, shape: Shape, queries: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is asked, and the answer."""
    yield "count", docs.count()
    yield "get", get(docs)
    wanted: dict[str, Any] = {"include": ["distances", "metadatas"]}
    yield "query", plain(docs.query(query_embeddings=queries, n_results=min(20, shape.n), **wanted))
    yield (
        "one query",
        plain(docs.query(query_embeddings=queries[:1], n_results=1, include=["documents"])),
    )
    words: Any = {"$contains": "needle"}
    yield "get by words", get(docs, where_document=words)
    yield (
        "query by words",
        plain(docs.query(query_embeddings=queries, n_results=5, where_document=words, **wanted)),
    )
    for where in ({"k0": {"$gte": 3}}, {"k2": "v1"}, {"k199": {"$ne": True}}):
        conditions: Any = where
        yield str(where), docs.get(where=conditions, include=[])["ids"]
        yield (
            f"query {where}",
            plain(docs.query(query_embeddings=queries, n_results=5, where=conditions, **wanted)),
        )


def settings_for(shape: Shape) -> chroma_nb.Settings:
    return private_settings(
        progress=False, memory_budget=shape.budget, graph_min_records=10**9, fsync=False
    )


def add(client: Any, name: str, shape: Shape) -> Any:
    docs = client.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"space": shape.space}}
    )
    # Uris beside documents are taken where the embeddings are given.
    docs.add(**records_of(shape))
    return docs


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(shapes())
@example(Shape(5, 1, 1, 2_000_000, 0, "l2", "0 MB", 6 * MIB, False, 0))
def test_a_few_megabytes_change_no_answer(shape: Shape) -> None:
    queries = np.random.default_rng(shape.seed + 1).standard_normal(
        (5, shape.dimension), dtype=np.float32
    )
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as client:
        expected = list(answers(add(client, "docs", shape), shape, queries))
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patched,
        chroma_nb.PersistentClient(Path(folder) / "store", settings_for(shape)) as client,
    ):
        tight(patched, shape.free)
        patched.setattr(PRESSURE, "watch", lambda: None)
        patched.setattr(PRESSURE, "reserve", lambda: 16 * MIB if shape.loads else 64 * MIB)
        docs = add(client, "docs", shape)
        path = Path(folder) / "docs.parquet"
        assert docs.export(path) == shape.n
        again = client.import_(path, "again")
        for one in (docs, again):
            one.unload()
            for (what, right), (_, found) in zip(
                expected, answers(one, shape, queries), strict=True
            ):
                assert found == right, what
        assert WORKSPACE.used == 0
