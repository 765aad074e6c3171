"""Measure reading while graphs are built: ``python -m benchmarks.reading``.

A collection's first graph is built beside it, and when more is added it grows in the background. One
thread reads all the time, one call after the other: queries, gets and what a notebook shows. Each engine
has a process and stores of its own. What a call takes is held against the same call in the same store
when nothing is built.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks import data
from benchmarks.machine import machine
from benchmarks.saying import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.data import Dataset

ENGINES = ("hnswlib", "usearch")
K = 10
#: Calls of the short operations for each round of the others.
ROUND = 5
SHORT = ("query", "query, where", "get(limit=5)", "get_indexing_status()")
#: So many records are left for later: a graph does not grow by less.
_TAIL = 1_000
#: What is promised of the 99th percentile while something is built.
MOST_MS = 50.0
MOST_RATIO = 5.0
#: What is measured while something is built -> the same store at rest.
COMPARED = {
    "growing": "quiet, all",
    "first build": "quiet, no graph",
    "another is built": "quiet, all",
    "writing while growing": "writing",
}
RESULTS = Path(__file__).parent / "reading_results.json"

Times = dict[str, list[float]]
Calls = dict[str, "Callable[[], Any]"]


def calls_of(client: Any, collection: Any, records: Dataset) -> Calls:
    """Return what a notebook does with a store, by name."""
    queries = records.queries
    turns = iter(range(sys.maxsize))
    result = collection.query(query_embeddings=queries[0], n_results=K)

    def query() -> Any:
        row = next(turns) % len(queries)
        return collection.query(query_embeddings=queries[row], n_results=K)

    def filtered() -> Any:
        row = next(turns) % len(queries)
        where = {"shard": row % data.SHARDS}
        return collection.query(query_embeddings=queries[row], n_results=K, where=where)

    return {
        "query": query,
        "query, where": filtered,
        "get(limit=5)": lambda: collection.get(limit=5),
        "get_indexing_status()": collection.get_indexing_status,
        "client, shown": client._repr_html_,
        "collection, shown": collection._repr_html_,
        "client.memory, shown": client.memory._repr_html_,
        "collection.fields, shown": collection.fields._repr_html_,
        "a result, shown": result._repr_html_,
        "get_indexing_status(), shown": lambda: collection.get_indexing_status()._repr_html_(),
    }


class Phases:
    """Calls in turn during one phase after the other, and keeps what they took."""

    def __init__(self, engine: str, pause: float) -> None:
        self._pause = pause
        self.found: dict[str, Any] = {
            "engine": engine,
            "seconds": {},
            "others": {},
            "unavailable": {},
            "calls": {},
        }

    def run(self, phase: str, calls: Calls, go_on: Callable[[], bool]) -> None:
        """Call everything in turn as long as there is reason to."""
        times: Times = {name: [] for name in calls}
        unavailable = 0
        started, others = time.perf_counter(), _others()
        while go_on():
            for name, call in calls.items():
                for _ in range(ROUND if name in SHORT else 1):
                    if self._pause:
                        time.sleep(self._pause)
                    before = time.perf_counter()
                    answer = call()
                    times[name].append((time.perf_counter() - before) * 1e3)
                    unavailable += isinstance(answer, str) and "Unavailable" in answer
        self.note(phase, time.perf_counter() - started, _others() - others)
        self.found["unavailable"][phase] = unavailable
        self.found["calls"][phase] = {name: _summary(each) for name, each in times.items()}

    def note(self, phase: str, seconds: float, others: float) -> None:
        """Keep how long something took, and what other processes had of the cores meanwhile."""
        self.found["seconds"][phase] = seconds
        share = others / seconds / (psutil.cpu_count() or 1)
        self.found["others"][phase] = max(0.0, share)
        say(
            f"{self.found['engine']}: {phase}: {seconds:.1f} s ({share:.0%} of the cores by others)"
        )


def _others() -> float:
    """Return the seconds that other processes have computed."""
    everybody = psutil.cpu_times()
    return sum(everybody) - everybody.idle - getattr(everybody, "iowait", 0.0) - time.process_time()


def _summary(times: list[float]) -> dict[str, float]:
    if not times:
        return {}
    p50, p99 = np.percentile(times, (50, 99))
    return {"n": len(times), "p50": float(p50), "p99": float(p99), "max": max(times)}


def _for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def _behind(collection: Any, by: int = 0) -> Callable[[], bool]:
    return lambda: collection.get_indexing_status().num_unindexed_ops > by


def _create(client: Any, name: str) -> Any:
    configuration = {"hnsw": {"space": "cosine"}}
    return client.create_collection(name, embedding_function=None, configuration=configuration)


def _add(collection: Any, records: Dataset, rows: slice, mark: str = "") -> None:
    collection.add(
        ids=[one + mark for one in records.ids[rows]],
        embeddings=records.vectors[rows],
        documents=records.documents[rows],
        metadatas=records.metadatas[rows],
    )


def measure(engine: str, records: Dataset, quiet: float, pause: float) -> dict[str, Any]:
    """Measure one engine in this process.

    Args:
        engine: ``hnswlib`` or ``usearch``.
        records: The first half is there at first, the second is added.
        quiet: Seconds for which the store at rest is read.
        pause: Seconds between two calls.
    """
    import chroma_nb

    half = len(records) // 2
    first, second = slice(0, half), slice(half, None)
    phases = Phases(engine, pause)
    settings = chroma_nb.Settings(index_engine=engine, graph_min_records=1_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "read"
        with chroma_nb.PersistentClient(path, chroma_nb.Settings(index_engine="exact")) as client:
            glosses = _create(client, "glosses")
            _add(glosses, records, first)
            calls = calls_of(client, glosses, records)
            phases.run("quiet, no graph", calls, _for_seconds(quiet))
        with chroma_nb.PersistentClient(path, settings) as client:
            glosses = client.get_collection("glosses", embedding_function=None)
            calls = calls_of(client, glosses, records)
            phases.run("first build", calls, _behind(glosses))
            phases.run("quiet, half", calls, _for_seconds(quiet))
            _add(glosses, records, second)
            phases.run("growing", calls, _behind(glosses))
            phases.run("quiet, all", calls, _for_seconds(quiet))
            other = _create(client, "other")
            _add(other, records, first)
            phases.run("another is built", calls, _behind(other))
        with chroma_nb.PersistentClient(Path(folder) / "written", settings) as client:
            glosses = _create(client, "glosses")
            for phase, rows in (("first build, not read", first), ("growing, not read", second)):
                _add(glosses, records, rows)
                started, others = time.perf_counter(), _others()
                while _behind(glosses)():
                    time.sleep(0.02)
                phases.note(phase, time.perf_counter() - started, _others() - others)
            writes = iter(range(sys.maxsize))

            def write() -> None:
                number = next(writes)
                row = number % len(records)
                _add(glosses, records, slice(row, row + 1), f"-{number}")

            phases.run("writing", {"add of one record": write}, _for_seconds(quiet / 2))
            _add(glosses, records, first, "-more")
            # A build waits for a pause between writes.
            time.sleep(0.4)
            phases.run(
                "writing while growing", {"add of one record": write}, _behind(glosses, _TAIL)
            )
    return phases.found


def table(found: dict[str, Any]) -> str:
    """Return one engine's figures as tables in Markdown."""
    lines = []
    for phase, quiet in COMPARED.items():
        pairs = [(found["calls"][quiet][name], one) for name, one in found["calls"][phase].items()]
        names = list(found["calls"][phase])
        if not all(one for _, one in pairs):
            lines.append(
                f"\n**{found['engine']}, {phase}**: over before everything was called once."
            )
            continue
        took = f"{found['seconds'][phase]:.1f} s"
        others = max(found["others"][phase], found["others"][quiet])
        lines += [
            f"\n**{found['engine']}, {phase}** ({took}), against {quiet}; "
            f"others had {others:.0%} of the cores; {found['unavailable'][phase]} displays unavailable\n",
            "| ms | quiet p50 | p99 | max | then p50 | p99 | max | p99, ratio | calls |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for name, (a, b) in zip(names, pairs, strict=True):
            ratio = b["p99"] / a["p99"]
            kept = b["p99"] <= MOST_MS and ratio <= MOST_RATIO
            figures = [f"{one[what]:.2f}" for one in (a, b) for what in ("p50", "p99", "max")]
            cells = [name, *figures, f"{ratio:.1f}" if kept else f"**{ratio:.1f}**", f"{b['n']:,}"]
            lines.append(f"| {' | '.join(cells)} |")
    half = found["calls"]["quiet, half"]
    figures = [f"{name} {one['p50']:.2f} / {one['p99']:.2f}" for name, one in half.items()]
    lines.append(f"\nQuiet, with half of the records, p50 / p99 in ms: {', '.join(figures)}.")
    alone = [f"{name} {found['seconds'][name]:.1f} s" for name in found["seconds"] if "not" in name]
    lines.append(f"\nBuilding alone: {', '.join(alone)}.")
    return "\n".join(lines)


def page(results: list[dict[str, Any]]) -> str:
    """Return what docs/benchmarks.md shows: all calls while a graph grows, and the rest in short."""
    engines = [found["engine"] for found in results]
    heads = [f"{name} quiet p50 / p99 | growing p50 / p99 / max | ratio" for name in engines]
    lines = [f"| ms | {' | '.join(heads)} |", "| --- |" + " ---: | ---: | ---: |" * len(engines)]
    for name in results[0]["calls"]["growing"]:
        cells = []
        for found in results:
            a, b = (found["calls"][phase][name] for phase in ("quiet, all", "growing"))
            cells += [
                f"{a['p50']:.2f} / {a['p99']:.2f}",
                f"{b['p50']:.2f} / {b['p99']:.2f} / {b['max']:.1f}",
                f"{b['p99'] / a['p99']:.1f}",
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"\n| p99, ms: quiet, then, ratio | {' | '.join(engines)} |")
    lines.append("| --- |" + " ---: |" * len(engines))
    for phase, quiet in COMPARED.items():
        for name in results[0]["calls"][phase]:
            if phase == "growing" or not (name in SHORT[:3] or "add" in name):
                continue
            cells = []
            for found in results:
                a, b = (found["calls"][one][name]["p99"] for one in (quiet, phase))
                cells.append(f"{a:.2f}, {b:.2f}, {b / a:.1f}")
            lines.append(f"| {phase}: {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    """Measure every engine in a process of its own, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_arguments(parser)
    parser.set_defaults(records=40_000)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--seconds", type=float, default=8.0, help="how long a quiet store is read")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two calls")
    parser.add_argument("--quick", action="store_true", help="few made-up records, little time")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = sys.argv[1:] if given is None else given
    options = parser.parse_args(arguments)
    if options.one:
        if options.quick:
            records, seconds = data.synthetic(6_000), 0.5
        else:
            records = data.load(options.records, options.data, options.wordnet, options.minilm)
            seconds = options.seconds
        found = measure(options.engines, records, seconds, options.pause)
        print(json.dumps({**found, "records": len(records), "data": records.name}))
        return
    results = []
    for engine in options.engines.split(","):
        command = [sys.executable, "-m", "benchmarks.reading", *arguments, "--one"]
        command += ["--engines", engine]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout))
        print(table(results[-1]), flush=True)
    if not options.quick:
        print(page(results))
        RESULTS.write_text(json.dumps({"machine": machine(), "engines": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
