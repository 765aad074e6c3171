"""The ClickHouse store, in this process, beside DuckDB's: ``python -m benchmarks.clickhouse [N]``.

Both do the same in turns, so ratios hold on a busy machine; of each figure the best of the rounds counts.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

DIMENSION = 384
ROUNDS = 3
KINDS = ("persistent_duckdb", "clickhouse")


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(kind: str, folder: str, n: int, vectors: np.ndarray) -> dict[str, float]:
    """Return the figures of one store: rows/s, and milliseconds."""
    found: dict[str, float] = {}
    ids = [f"id-{row}" for row in range(n)]
    texts = [f"document {row} with some words that are its own {row * 7919}" for row in range(n)]
    metadatas: Any = [{"n": row, "tag": f"t{row % 10}"} for row in range(n)]
    settings = Settings(
        db=kind, path=folder, progress=False, index_engine="exact", idle_unload_seconds=0
    )
    with chroma_nb.Client(settings) as client:
        notes = client.create_collection("notes", embedding_function=None)
        took = seconds(
            lambda: notes.add(ids=ids, embeddings=vectors, documents=texts, metadatas=metadatas)
        )
        found["add, rows/s"] = n / took
        one = [
            1000
            * seconds(
                lambda at=at: notes.upsert(ids=[f"one-{at}"], embeddings=vectors[at : at + 1])
            )
            for at in range(50)
        ]
        found["a commit of one record, ms"] = statistics.median(one)
        asked = [
            1000 * seconds(lambda at=at: notes.query(query_embeddings=vectors[at], n_results=10))
            for at in range(50)
        ]
        found["a query of a loaded collection, ms"] = statistics.median(asked)
        notes.unload()
        filtered = seconds(lambda: notes.get(where={"n": {"$lt": 100}}, include=[]))
        found["a filter of one that is not loaded, ms"] = 1000 * filtered
    with chroma_nb.Client(settings) as client:
        notes = client.get_collection("notes", embedding_function=None)
        found["loading, ms"] = 1000 * seconds(lambda: client.memory.load("notes"))
    return found


def main(n: int = 100_000) -> None:
    vectors = np.random.default_rng(0).standard_normal((n, DIMENSION)).astype(np.float32)
    figures: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError):
                figures[kind].append(measure(kind, folder, n, vectors))
    print(f"{n:,} records of {DIMENSION} dimensions, best of {ROUNDS}: DuckDB, ClickHouse, ratio")
    for name in figures[KINDS[0]][0]:
        best = max if "rows/s" in name else min
        ours, theirs = (best(one[name] for one in figures[kind]) for kind in KINDS)
        print(f"{name:42} {ours:12,.1f} {theirs:12,.1f} {theirs / ours:8.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
