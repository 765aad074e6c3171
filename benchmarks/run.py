"""Measure chroma_nb beside its peers: ``python -m benchmarks.run``.

Each engine runs in a fresh process of its own. The processes live side by side and are asked in
turn, a few queries at a time and in a different order each round, so that a machine that gets
slower or faster on the way does so for everybody.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import data as benchmark_data
from benchmarks import report
from benchmarks.child import Spec, serve, write_data
from benchmarks.engines import ENGINES, engine_class
from benchmarks.engines.base import BATCH
from benchmarks.machine import machine
from benchmarks.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: A whole ingest that took longer than this is not repeated.
SLOW_INGEST = 45.0
#: A call of many queries is not asked of engines slower than this; they get `FEW` queries.
SLOW_QUERY_MS = 50.0
FEW = 20
ROUNDS = 5


class ChildError(Exception):
    """The child answered with an error, or not at all."""


class Child:
    """The parent's end of one engine's process."""

    def __init__(self, name: str, spec: Spec) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, spec), daemon=True)
        self._process.start()
        other.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the child's answer.

        Raises:
            ChildError: It failed, cannot do this, or died.
        """
        try:
            self._connection.send((command, arguments))
            status, result = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise ChildError(f"died (exit code {self._process.exitcode})") from None
        if status == "ok":
            return result
        raise ChildError(result if status == "unsupported" else f"fails: {_shorten(result)}")

    def close(self) -> None:
        """Close the engine and end the process."""
        with contextlib.suppress(ChildError):
            self.ask("close")
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


class Benchmark:
    """One run over several engines; `figures` and `notes` fill up as it goes."""

    def __init__(self, names: list[str], dataset: Any, work: Path, options: Any) -> None:
        self.names = names
        self.dataset = dataset
        self.figures: dict[str, dict[str, float]] = {name: {} for name in names}
        self.notes: dict[str, dict[str, str]] = {name: {} for name in names}
        self._work = work
        self._options = options
        self._truth = Truth(dataset)
        self._children: dict[str, Child] = {}
        self._turn = 0
        self._data = work / "data"
        self._data.mkdir()
        write_data(self._data, dataset)

    def run(self) -> None:
        """Measure everything."""
        try:
            self._imports()
            self._ingest()
            self._memory()
            self._queries()
            self._get_all()
            self._add_one()
        finally:
            for child in self._children.values():
                child.close()

    def _order(self, names: Iterable[str]) -> list[str]:
        """Return the names, beginning with another one each time."""
        listed = list(names)
        self._turn += 1
        shift = self._turn % max(len(listed), 1)
        return listed[shift:] + listed[:shift]

    def _start(self, name: str, purpose: str) -> Child:
        folder = self._work / f"{name}-{purpose}"
        folder.mkdir()
        spec = Spec(name, self._data, folder, len(self.dataset), self._options.threads)
        child = Child(name, spec)
        child.ask("start")
        return child

    def _try(self, row: str, name: str, command: str, **arguments: Any) -> Any:
        """Ask a child; on an error note it in the row and return None."""
        try:
            return self._children[name].ask(command, **arguments)
        except ChildError as error:
            self.notes[name].setdefault(row, str(error))
            return None

    def _imports(self) -> None:
        _say("imports")
        times: dict[tuple[str, str], list[float]] = {}
        for turn in range(self._options.rounds + 1):
            for name in self._order(self.names):
                folder = self._work / f"{name}-first-{turn}"
                try:
                    one = import_seconds(engine_class(name).module)
                    two = first_answer_seconds(name, folder, self._data)
                except subprocess.CalledProcessError as error:
                    self.notes[name]["first"] = "fails: " + _shorten(error.stderr[-100:])
                    continue
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                if turn:  # the first one fills the file cache
                    times.setdefault((name, "import"), []).append(one)
                    times.setdefault((name, "first"), []).append(two)
        for (name, key), seconds in times.items():
            self.figures[name][key] = statistics.median(seconds)

    def _ingest(self) -> None:
        """Fill the stores: once in the processes that stay, more often in ones that don't."""
        times: dict[str, list[dict[str, Any]]] = {name: [] for name in self.names}
        for name in list(self.names):
            _say(f"add and build: {name}")
            try:
                child = self._children[name] = self._start(name, "main")
                times[name].append(child.ask("ingest"))
            except ChildError as error:
                self._drop(name, str(error))
        for turn in range(1, self._options.repeats):
            for name in self._order(self._children):
                if _total(times[name][0]) > SLOW_INGEST:
                    continue
                _say(f"add and build, once more: {name}")
                times[name] += self._ingest_apart(name, f"again-{turn}")
        batched: dict[str, list[float]] = {}
        for turn in range(self._options.repeats):
            for name in self._order(self._children):
                if engine_class(name).batch or not engine_class(name).is_store:
                    continue
                _say(f"add in batches: {name}")
                for one in self._ingest_apart(name, f"batch-{turn}", batch=BATCH, build=False):
                    batched.setdefault(name, []).append(len(self.dataset) / one["add_s"])
        for name, rates in batched.items():
            self.figures[name]["add_batches"] = statistics.median(rates)
        for name in self._children:
            self._ingest_figures(name, times[name])

    def _ingest_apart(self, name: str, purpose: str, **arguments: Any) -> list[dict[str, Any]]:
        child: Child | None = None
        try:
            child = self._start(name, purpose)
            return [child.ask("ingest", **arguments)]
        except ChildError as error:
            self.notes[name].setdefault("ingest", str(error))
            return []
        finally:
            if child:
                child.close()
            shutil.rmtree(self._work / f"{name}-{purpose}", ignore_errors=True)

    def _ingest_figures(self, name: str, times: list[dict[str, Any]]) -> None:
        count, figures = len(self.dataset), self.figures[name]
        figures["add"] = count / statistics.median(t["add_s"] for t in times)
        if engine_class(name).batch and engine_class(name).is_store:
            figures["add_batches"] = figures["add"]
        in_add = engine_class(name).builds_in_add
        graphs = [t["add_s"] if in_add else t["build_s"] for t in times]
        if None not in graphs:
            figures["graph"] = count / statistics.median(graphs)
            figures["complete"] = count / statistics.median(_total(t) for t in times)
        else:
            self.notes[name]["graph"] = self.notes[name]["complete"] = "no graph"
        if not all(t["last_found"] for t in times):
            self.notes[name]["add"] = "the last record was not found after adding"

    def _drop(self, name: str, reason: str) -> None:
        self.notes[name]["engine"] = reason
        self.figures[name].clear()
        child = self._children.pop(name, None)
        if child:
            child.close()

    def _memory(self) -> None:
        _say("memory")
        for name in self._children:
            answer = self._try("memory", name, "memory")
            if answer:
                self.figures[name]["memory"] = answer["growth"]
                self.figures[name]["memory_trimmed"] = answer["growth_trimmed"]
                self.figures[name]["memory_file"] = answer["growth_file"]
                self.figures[name]["memory_code"] = answer["code"]

    def _queries(self) -> None:
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        many: dict[str, list[tuple[float, float]]] = {}
        options = self._options
        for turn in range(options.rounds):
            for kind, total in (
                ("plain", options.queries),
                ("shard", options.queries // 5),
                ("contains", options.queries // 5),
            ):
                count = total // options.rounds
                for name in self._order(self._children):
                    if kind in self.notes[name]:
                        continue
                    _say(f"queries, round {turn + 1}, {kind}: {name}")
                    first = turn * count
                    answer = self._try(
                        kind, name, "query", kind=kind, first=first, count=count, budget=8.0
                    )
                    if answer:
                        recalls = self._recalls(kind, first, answer["ids"])
                        found.setdefault((name, kind), []).extend(
                            zip(answer["times"], recalls, strict=True)
                        )
            for name in self._order(self._children):
                if "many" in self.notes[name] or (name, "plain") not in found:
                    continue
                slow = statistics.median(t for t, _ in found[name, "plain"]) * 1e3 > SLOW_QUERY_MS
                count = FEW if slow else options.queries // 2
                answer = self._try("many", name, "many", count=count)
                if answer:
                    recall = statistics.fmean(self._recalls("plain", 0, answer["ids"]))
                    many.setdefault(name, []).append((count / answer["seconds"], recall))
        for (name, kind), pairs in found.items():
            times = sorted(t * 1e3 for t, _ in pairs)
            figures = self.figures[name]
            figures[kind] = statistics.median(times)
            figures[f"{kind}_p95"] = times[min(len(times) - 1, int(len(times) * 0.95))]
            figures[f"{kind}_recall"] = statistics.fmean(r for _, r in pairs)
            figures[f"{kind}_count"] = len(times)
        for name, rates in many.items():
            self.figures[name]["many"] = statistics.median(rate for rate, _ in rates)
            self.figures[name]["many_recall"] = statistics.fmean(recall for _, recall in rates)

    def _recalls(self, kind: str, first: int, answers: list[list[Any]]) -> Iterator[float]:
        for number, found in enumerate(answers, first):
            yield self._truth.recall(kind, number, found)

    def _get_all(self) -> None:
        times: dict[str, list[float]] = {}
        for _ in range(min(3, self._options.rounds)):
            for name in self._order(self._children):
                if "get_all" in self.notes[name]:
                    continue
                _say(f"get everything: {name}")
                answer = self._try("get_all", name, "get_all")
                if answer and answer["count"] != len(self.dataset):
                    self.notes[name]["get_all"] = f"returns {answer['count']:,} records"
                elif answer:
                    times.setdefault(name, []).append(answer["seconds"])
        for name, seconds in times.items():
            self.figures[name]["get_all"] = statistics.median(seconds)

    def _add_one(self) -> None:
        """Last, because it changes the stores."""
        times: dict[str, list[float]] = {}
        count = self._options.queries // 5 // self._options.rounds
        for turn in range(self._options.rounds):
            for name in self._order(self._children):
                if "add_one" in self.notes[name]:
                    continue
                _say(f"one record, round {turn + 1}: {name}")
                answer = self._try("add_one", name, "add_one", first=turn * count, count=count)
                times.setdefault(name, []).extend(answer or [])
        for name, seconds in times.items():
            if seconds:
                self.figures[name]["add_one"] = statistics.median(seconds) * 1e3

    def results(self) -> dict[str, Any]:
        """Return everything as plain data, for the report."""
        vectors = self.dataset.vectors
        return {
            "data": self.dataset.name,
            "records": len(self.dataset),
            "dimensions": int(vectors.shape[1]),
            "queries": self._options.queries,
            "shard_share": self._truth.share("shard"),
            "contains_share": self._truth.share("contains"),
            "record_mb": self.dataset.record_bytes() / 1e6,
            "vector_mb": vectors.nbytes / 1e6,
            "threads": self._options.threads,
            "quick": self._options.quick,
            "machine": machine(),
            "engines": {
                name: {
                    "label": engine_class(name).label,
                    "versions": engine_class(name).versions(),
                    "figures": self.figures[name],
                    "notes": self.notes[name],
                }
                for name in self.names
            },
        }


def import_seconds(module: str) -> float:
    """Return how long a fresh interpreter takes to import a module."""
    code = (
        "import time; start = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def first_answer_seconds(name: str, folder: Path, data: Path) -> float:
    """Return the time from `import` to the first answer of a new store, in a fresh interpreter."""
    code = (
        "import sys, time; from pathlib import Path; "
        "from benchmarks.child import first_answer; "
        "print(first_answer(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(folder), str(data)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _total(one: dict[str, Any]) -> float:
    """Return the seconds until everything was added and the graph, if any, complete."""
    return float(one["add_s"] + (one["build_s"] or 0.0))


def _shorten(text: str, limit: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure chroma_nb beside its peers."
    )
    benchmark_data.add_arguments(parser)
    parser.add_argument(
        "--engines", default=",".join(ENGINES), help=f"a comma list of: {', '.join(ENGINES)}"
    )
    parser.add_argument("--queries", type=int, default=benchmark_data.QUERIES)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3, help="of what is fast to fill")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the queries")
    parser.add_argument("--work", type=Path, help="folder for the stores while they are measured")
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds on made-up data; writes no page"
    )
    parser.add_argument(
        "--output", type=Path, help="folder of the page (default: docs), its plot and results.json"
    )
    options = parser.parse_args(given)
    unknown = [e for e in options.engines.split(",") if e not in ENGINES]
    if unknown:
        parser.error(f"unknown engine {unknown[0]!r}; there are {', '.join(ENGINES)}")
    if options.quick:
        options.records, options.queries, options.repeats, options.rounds = 6_000, 100, 1, 2
    return options


def main(given: list[str] | None = None) -> dict[str, Any]:
    """Run, print the table, and write the page."""
    options = arguments(given)
    chosen = options.engines.split(",")
    if options.quick:
        dataset = benchmark_data.synthetic(options.records, options.queries)
    else:
        dataset = benchmark_data.load(
            options.records, options.data, options.wordnet, options.minilm
        )
    absent = {name: engine_class(name).missing() for name in chosen}
    present = [name for name in chosen if not absent[name]]
    parent = options.work or (None if options.quick else benchmark_data.cache_folder())
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        benchmark = Benchmark(present, dataset, work, options)
        start = time.monotonic()
        benchmark.run()
        results = benchmark.results()
        results["minutes"] = (time.monotonic() - start) / 60
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for name in chosen:
        if absent[name]:
            results["engines"][name] = {
                "label": engine_class(name).label,
                "versions": "",
                "figures": {},
                "notes": {"engine": "not installed"},
            }
    results["engines"] = {name: results["engines"][name] for name in ENGINES if name in chosen}
    results["command"] = command_line(sys.argv[1:] if given is None else given)
    print(report.text(results))
    output = options.output or (None if options.quick else Path("docs"))
    if output:
        report.write(results, output)
        saved = options.output / "results.json" if options.output else report.RESULTS
        saved.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def command_line(given: list[str]) -> str:
    """Return the command as the page shows it: nobody's folders are anybody else's business."""
    shown = ["python -m benchmarks.run"]
    folders = ("--data", "--wordnet", "--minilm", "--work", "--output")
    for number, word in enumerate(given):
        option, equals, _ = word.partition("=")
        if equals and option in folders:
            word = f"{option}=FOLDER"
        elif number and given[number - 1] in folders:
            word = "FOLDER"
        shown.append(word)
    return " ".join(shown)


def broken(results: dict[str, Any]) -> list[str]:
    """Return what should have been measured and was not: the benchmark or chroma_nb is broken."""
    found = []
    for name, engine in results["engines"].items():
        for row, note in engine["notes"].items():
            bad = note.startswith(("fails", "died", "the last record", "returns"))
            if bad and (row == "engine" or name.startswith("chroma_nb")):
                found.append(f"{name}, {row}: {note}")
    return found


if __name__ == "__main__":
    sys.exit(1 if broken(main()) else 0)
