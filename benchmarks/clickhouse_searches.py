"""Searches of a collection that does not fit into memory: ``python -m benchmarks.clickhouse_searches [N]``.

They are made in ClickHouse, and beside it from DuckDB's file of vectors. ``--url http://HOST:PORT/DATABASE`` has the
collection in a server, which may hold a graph, too; ``python -m tests.support.clickhouse_front FOLDER PORT`` is one for
that. ``--data FILE.npy`` has embeddings, shape (n, dimension); without it they are random, around some centres.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from typing import Any

import numpy as np

import chroma_nb
from benchmarks.clickhouse import DIMENSION, seconds
from chroma_nb.index import exact
from chroma_nb.settings import Settings

KINDS = ("persistent_duckdb", "clickhouse")
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


def main(n: int, data: str | None, url: str) -> None:
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=100_000)
    parser.add_argument("--data")
    parser.add_argument("--url", default="")
    asked = parser.parse_args()
    main(asked.n, asked.data, asked.url)
