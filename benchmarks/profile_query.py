"""Where the time of one query goes: ``python -m benchmarks.profile_query``.

Two views of the same queries: the median beside that of the bare graph, which says how much is
ours; and the functions in which the profiler saw the time, which says where.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data as benchmark_data
from benchmarks.data import SHARDS, WORDS, Dataset
from benchmarks.engines import engine_class
from benchmarks.engines.base import Engine, Payload
from benchmarks.rows import RAW

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("plain", "shard", "contains")


def fill(name: str, dataset: Dataset, folder: Path, threads: int) -> Engine:
    """Return an engine that holds the data set and whose graph is complete."""
    folder.mkdir()
    engine = engine_class(name)(folder, dataset.vectors.shape[1], threads)
    engine.open(len(dataset))
    engine.add(Payload(dataset.ids, dataset.vectors, dataset.documents, dataset.metadatas))
    if not engine.builds_in_add:
        engine.build()
    return engine


def asker(engine: Engine, kind: str, dataset: Dataset) -> Callable[[int], Any]:
    """Return the function that asks query number i."""
    queries = dataset.queries
    if kind == "plain":
        return lambda i: engine.query(queries[i])
    if kind == "shard":
        return lambda i: engine.query_shard(queries[i], i % SHARDS)
    return lambda i: engine.query_contains(queries[i], WORDS[i % len(WORDS)])


def median_ms(ask: Callable[[int], Any], count: int) -> float:
    """Return the median of `count` queries in milliseconds."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        ask(number)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def profiled(ask: Callable[[int], Any], count: int, lines: int) -> str:
    """Return the profiler's list of the functions that took longest themselves."""
    profiler = cProfile.Profile()
    profiler.enable()
    for number in range(count):
        ask(number)
    profiler.disable()
    shown = io.StringIO()
    stats = pstats.Stats(profiler, stream=shown).strip_dirs()
    stats.sort_stats("tottime").print_stats(lines)
    listed = [line for line in shown.getvalue().splitlines() if line.strip()]
    return "\n".join(listed[2:])


def main() -> None:
    """Fill a store, ask, and print both views."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_query", description="Where a query's time goes."
    )
    benchmark_data.add_arguments(parser)
    parser.add_argument("--engine", default="chroma_nb", choices=list(RAW))
    parser.add_argument("--kind", default="plain", choices=KINDS)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--lines", type=int, default=20, help="of the profiler's list")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="6,000 made-up records")
    given = parser.parse_args()
    if given.quick:
        dataset = benchmark_data.synthetic(6_000, given.queries)
    else:
        dataset = benchmark_data.load(given.records, given.data, given.wordnet, given.minilm)
    count = min(given.queries, len(dataset.queries))
    with tempfile.TemporaryDirectory() as folder:
        engine = fill(given.engine, dataset, Path(folder) / "store", given.threads)
        ask = asker(engine, given.kind, dataset)
        median_ms(ask, min(count, 50))
        own = median_ms(ask, count)
        print(f"{engine.label}, {given.kind} query, median of {count:,}: {own:.3f} ms")
        if given.kind == "plain":
            raw = fill(RAW[given.engine], dataset, Path(folder) / "raw", given.threads)
            floor = median_ms(asker(raw, "plain", dataset), count)
            print(
                f"{raw.label}: {floor:.3f} ms, so {own - floor:.3f} ms ({own / floor:.2f}x) is ours"
            )
        print(
            f"\nThe profiler's view of {count:,} queries (it makes Python look slower than it is):"
        )
        print(profiled(ask, count, given.lines))
        engine.close()


if __name__ == "__main__":
    main()
