"""The ClickHouse store beside DuckDB's: ``python -m benchmarks.clickhouse [N]``.

In this process, and at a server: the engine behind the tests' front, in a process of its own. All do the same in turns,
so ratios hold on a busy machine; of each figure the best of the rounds counts, which is the median of its calls.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from benchmarks.servers import running, start_clickhouse
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIMENSION = 384
ROUNDS = 3
KINDS = ("DuckDB", "ClickHouse", "at a server")


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextlib.contextmanager
def settings_of(kind: str, folder: str) -> Iterator[Settings]:
    """Yield the settings of a new store."""
    chosen = Settings(
        db="persistent_duckdb" if kind == "DuckDB" else "clickhouse",
        path=f"{folder}/store",
        temp_path=folder,
        progress=False,
        index_engine="exact",
        idle_unload_seconds=0,
    )
    if kind != "at a server":
        yield chosen
        return
    with running(start_clickhouse(Path(folder))) as engine:
        yield chosen.replace(clickhouse_url=f"{engine.url}/default")


def measure(settings: Settings, n: int, vectors: np.ndarray) -> dict[str, float]:
    """Return the figures of one store: rows/s, and milliseconds."""
    found: dict[str, float] = {}
    ids = [f"id-{row}" for row in range(n)]
    texts = [f"document {row} with some words that are its own {row * 7919}" for row in range(n)]
    metadatas: Any = [{"n": row, "tag": f"t{row % 10}"} for row in range(n)]
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

    def load() -> None:
        client.memory.load("notes")
        notes.query(query_embeddings=vectors[0], n_results=10)

    for name in ("loading from what was saved, and a query, ms", "loading cold, and a query, ms"):
        with chroma_nb.Client(settings) as client:
            notes = client.get_collection("notes", embedding_function=None)
            found[name] = 1000 * seconds(load)
        # What is made of the records, which a server keeps for as long as it runs.
        shutil.rmtree(f"{settings.path}/indexes", ignore_errors=True)
    return found


def main(n: int = 100_000) -> None:
    vectors = np.random.default_rng(0).standard_normal((n, DIMENSION)).astype(np.float32)
    figures: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder, settings_of(kind, folder) as settings:
                figures[kind].append(measure(settings, n, vectors))
    print(f"{n:,} records of {DIMENSION} dimensions, best of {ROUNDS}")
    print(f"{'':46}", *(f"{kind:>12}" for kind in KINDS), f"{'ratios':>12}")
    for name in figures[KINDS[0]][0]:
        best = max if "rows/s" in name else min
        ours, *others = (best(one[name] for one in figures[kind]) for kind in KINDS)
        ratios = (f"{other / ours:6.2f}" for other in others)
        print(f"{name:46}", *(f"{value:12,.1f}" for value in (ours, *others)), *ratios)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
