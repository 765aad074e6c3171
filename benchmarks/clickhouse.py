"""The ClickHouse store, in this process, beside DuckDB's: ``python -m benchmarks.clickhouse [N]``.

Both do the same in turns, so ratios hold on a busy machine; of each figure the best of the rounds counts.

``--searches`` measures the searches of a collection that does not fit into memory instead: in ClickHouse, and beside it from
DuckDB's file of vectors. ``--url http://HOST:PORT/DATABASE`` has the collection in a server, which may hold a graph, too;
``python -m tests.support.clickhouse_front FOLDER PORT`` is one for that. ``--data FILE.npy`` has embeddings, shape (n,
dimension); without it they are random, around some centres.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from chroma_nb.index import exact
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


#: Searches for which the median is taken, and records that each is to find.
SEARCHES, WANTED = 50, 10
#: Of the records these match, one in so many.
FILTERS = {"": 1, ", where 1 in 10 match": 10, ", where 1 in 100 match": 100}
#: No collection fits into it.
NO_MEMORY = "100 kB"


def clustered(n: int) -> np.ndarray:
    """Return embeddings around 1,000 centres: float32, shape (n, DIMENSION)."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1_000, DIMENSION), dtype=np.float32)
    found = rng.standard_normal((n, DIMENSION), dtype=np.float32)
    return found + centres[rng.integers(0, 1_000, n)]


def searched(
    notes: Any, queries: np.ndarray, vectors: np.ndarray, every: int
) -> tuple[float, float, float]:
    """Return the least and the median of a search's milliseconds, and the recall."""
    where = None if every == 1 else {f"in{every}": 0}
    labels = None if every == 1 else np.arange(0, len(vectors), every)
    nearest = exact.search("cosine", queries, vectors, WANTED, labels=labels).labels
    took, n_found = [], 0
    for query, wanted in zip(queries, nearest, strict=True):
        started = time.perf_counter()
        found = notes.query(query_embeddings=query, n_results=WANTED, where=where, include=[])
        took.append(1000 * (time.perf_counter() - started))
        n_found += len({f"id-{label}" for label in wanted.tolist()}.intersection(found["ids"][0]))
    return min(took), statistics.median(took), n_found / (WANTED * len(queries))


def searches(n: int, data: str | None, url: str) -> None:
    """Print what searches take of a collection that does not fit into memory."""
    given = clustered(n + SEARCHES) if data is None else np.load(data).astype(np.float32)
    vectors, queries = given[: min(n, len(given) - SEARCHES)], given[-SEARCHES:]
    n = len(vectors)
    metadatas: Any = [{"in10": row % 10, "in100": row % 100} for row in range(n)]
    print(
        f"{n:,} records of {vectors.shape[1]} dimensions: the quickest of {SEARCHES}, the median, recall"
    )
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            at_server = bool(url) and kind == "clickhouse"
            place = {"clickhouse_url": url} if at_server else {"path": folder}
            settings = Settings(db=kind, progress=False, memory_budget=NO_MEMORY, **place)
            with chroma_nb.Client(settings) as client:
                notes = client.create_collection(
                    "searched", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
                )
                ids = [f"id-{row}" for row in range(n)]
                notes.add(ids=ids, embeddings=vectors, metadatas=metadatas)
            # What the writer has kept of the vectors is gone.
            with chroma_nb.Client(settings) as client:
                notes = client.get_collection("searched", embedding_function=None)
                first = 1000 * seconds(partial(notes.query, query_embeddings=queries[0]))
                report(kind, "the first search", first, first)
                for name, every in FILTERS.items():
                    report(kind, f"exact{name}", *searched(notes, queries, vectors, every))
                if at_server:
                    took = seconds(notes.build_index)
                    print(f"{kind:18} building the graph: {took:.1f} s, {n / took:,.0f} rows/s")
                    for name, every in FILTERS.items():
                        how = notes.explain(
                            query_embeddings=queries[0],
                            where={f"in{every}": 0} if every > 1 else None,
                        )
                        found = searched(notes, queries, vectors, every)
                        report(kind, f"{how['strategy']}{name}", *found)
                client.delete_collection("searched")


def report(kind: str, what: str, least: float, median: float, recall: float = 1.0) -> None:
    """Print one figure."""
    print(f"{kind:18} {what:62} {least:9.1f} ms {median:9.1f} ms {recall:7.3f}")


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=100_000)
    parser.add_argument("--searches", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--url", default="")
    asked = parser.parse_args()
    if asked.searches:
        searches(asked.n, asked.data, asked.url)
    else:
        main(asked.n)
