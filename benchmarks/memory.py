"""Measure chroma_nb and chromadb where memory is short: ``python -m benchmarks.memory``.

Both fill a store with ten collections. Fresh processes under ever smaller limits then query them in
turn: who survives, and with what latency? Beside that: what unloading a collection gives back, and
what loading one again costs.

``python -m benchmarks.memory_peers`` puts more questions to chroma_nb, chromadb, LanceDB and zvec, each
under a limit; ``python -m benchmarks.memory_trials`` tries chroma_nb alone with all that is known to be hard.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import memory_data, memory_report
from benchmarks.data import cache_folder
from benchmarks.machine import machine
from benchmarks.memory_child import ENGINES
from benchmarks.memory_limit import Limit, forget_files, limit

#: The figures of the last full run, and their plot.
RESULTS = Path(__file__).parent / "memory_results.json"
PLOT = Path("docs/images/memory.png")
MB = 1e6
LIMITS = (600, 400, 300, 200)
#: For the few small collections of `--quick`: most of it is code.
QUICK_LIMITS = (200, 130)
SAMPLE = 0.02
#: A process that writes no line for so long is stopped.
STUCK = 45.0
#: Filling a store writes a line per collection only.
STUCK_WRITING = 300.0
FRESH_PROCESSES = 5
NO_CGROUP = "no cgroup could be made here: RLIMIT_DATA is used instead"


@dataclass
class Run:
    """What a child left behind."""

    code: int
    lines: list[dict[str, Any]]
    error: str
    stuck: bool = False
    #: (seconds, RSS in bytes), sampled from outside.
    samples: list[tuple[float, int]] = field(default_factory=list)
    peak_rss: int = 0

    def values(self, key: str) -> list[Any]:
        """Return a key's value in each line that has it."""
        return [line[key] for line in self.lines if key in line]


class Benchmark:
    """One run; `results` fills up as it goes."""

    def __init__(self, plan: memory_data.Plan, work: Path, options: argparse.Namespace) -> None:
        self.plan = plan
        self.results: dict[str, Any] = {"notes": [], "survival": [], "unload": [], "latency": []}
        self._work = work
        self._data = work / "data"
        self._options = options
        absent = {name: importlib.util.find_spec(name) is None for name in ENGINES[:-1]}
        self._engines = [name for name in ENGINES if not absent.get(name)]
        #: The two of the limits: chromadb, and chroma_nb as it comes.
        self._pair = [n for n in ("chromadb", options.engine) if n in self._engines]
        for name in (n for n in ENGINES if n not in self._engines):
            self.note(f"{memory_report.label(name)}: {name} is not installed")

    def note(self, text: str) -> None:
        """Add a line for under the tables, once, without anybody's folders."""
        text = text.replace(str(self._work), "FOLDER")
        if text not in self.results["notes"]:
            self.results["notes"].append(text)

    def run(self) -> None:
        """Measure everything."""
        self._data.mkdir(exist_ok=True)
        _say("data")
        self.results["data"] = memory_data.prepare(
            self._data, self.plan, self._options.data, made_up=self._options.quick
        )
        self.results["plan"] = asdict(self.plan)
        parts = [name for name in self._pair if self._fill(name, "parts")]
        ladder = [name for name in self._engines if self._fill(name, "ladder")]
        for size in self._options.limits:
            for name in parts:
                self._survive(name, size)
        for name in ladder:
            for size in self.plan.ladder[1:]:
                self._unload(name, size)
        for name in ladder:
            self._latency(name)

    def _store(self, engine: str, kind: str) -> Path:
        return self._work / f"{engine}-{kind}"

    def _fill(self, engine: str, kind: str) -> bool:
        """Write a store, unless an earlier run with the same `--work` did."""
        store = self._store(engine, kind)
        mark = store.with_suffix(".json")
        wanted = json.dumps([self.results["data"], asdict(self.plan), _version(engine)])
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
            return True
        _say(f"writing {kind}: {memory_report.label(engine)}")
        shutil.rmtree(store, ignore_errors=True)
        done = self._child("write", engine, kind, ["--kind", kind], patience=STUCK_WRITING)
        if done.error:
            self.note(f"{memory_report.label(engine)}, writing: {done.error}")
            return False
        mark.write_text(wanted, encoding="utf-8")
        return True

    def _child(
        self,
        task: str,
        engine: str,
        kind: str,
        more: list[str],
        *,
        under: Limit | None = None,
        patience: float = STUCK,
    ) -> Run:
        """Run one task in a fresh process, and sample its memory from outside."""
        import psutil

        store, log = self._store(engine, kind), self._work / "child.jsonl"
        if self._options.cold_files and store.is_dir():
            forget_files(store)
        log.write_text("")
        command = [sys.executable, "-m", "benchmarks.memory_child", task, *more]
        for name, value in (("engine", engine), ("data", self._data), ("store", store)):
            command += [f"--{name}", str(value)]
        command += ["--log", str(log), *(under.arguments() if under else [])]
        done = Run(0, [], "")
        with (self._work / "stderr.txt").open("w+", encoding="utf-8") as stderr:
            start = moved = time.monotonic()
            process = subprocess.Popen(command, stdout=stderr, stderr=stderr)
            try:
                watched, written = psutil.Process(process.pid), 0
                while process.poll() is None:
                    now = time.monotonic()
                    try:
                        rss = watched.memory_info().rss
                    except psutil.Error:  # it has just ended
                        continue
                    if rss:  # nothing is left of a process that is being killed
                        done.samples.append((now - start, rss))
                    done.peak_rss = max(done.peak_rss, rss, _high_water(process.pid))
                    size = log.stat().st_size
                    if size != written:
                        moved, written = now, size
                    if now - moved > patience:
                        done.stuck = True
                        process.kill()
                    time.sleep(SAMPLE)
            finally:
                process.kill()
                process.wait()
            stderr.seek(0)
            last = stderr.read().strip().splitlines()[-1:]
        done.code = process.returncode
        done.lines = _lines(log)
        if not done.values("done"):
            said = last[0].removeprefix("memory_child: ") if last else f"exit code {done.code}"
            said = f"no answer for {patience:.0f} s" if done.stuck else said
            done.error = _shorten((done.values("error") or [said])[0])
        return done

    def _survive(self, engine: str, megabytes: int) -> None:
        _say(f"{megabytes} MB: {memory_report.label(engine)}")
        with limit(int(megabytes * MB)) as under:
            done = self._child("visit", engine, "parts", [], under=under)
            peak, kills, kind = under.peak(), under.kills(), under.kind
        self.results["limit_kind"] = kind
        if kind == "RLIMIT_DATA":
            self.note(NO_CGROUP)
        plan = self.plan
        first, later = done.values("first_ms"), done.values("later_ms")
        # In the first round everything is loaded; later on, what was evicted since.
        cold, again = first[: plan.collections], first[plan.collections :]
        visits = list(zip(done.values("round"), done.values("collection"), strict=False))
        self.results["survival"].append(
            {
                "engine": engine,
                "limit_mb": megabytes,
                "outcome": _outcome(done, kills, visits, plan),
                "survived": not done.error,
                "killed": kills > 0 or (done.code == -9 and not done.stuck),
                "exit_code": done.code,
                "visits": len(first),
                "correct": sum(done.values("correct")),
                "answers": len(first) * plan.queries,
                "asked": plan.collections * plan.rounds * plan.queries,
                "first_p50_ms": _quantile(first, 0.5),
                "first_p95_ms": _quantile(first, 0.95),
                "cold_p50_ms": _quantile(cold, 0.5),
                "cold_p95_ms": _quantile(cold, 0.95),
                "again_p50_ms": _quantile(again, 0.5),
                "again_p95_ms": _quantile(again, 0.95),
                "later_p50_ms": _quantile([t for times in later for t in times], 0.5),
                "opened_s": next(iter(done.values("at")), None),
                "seconds": done.samples[-1][0] if done.samples else None,
                "peak_cgroup_mb": None if peak is None else peak / MB,
                "peak_rss_mb": done.peak_rss / MB,
                "samples": _thin(done.samples),
            }
        )

    def _unload(self, engine: str, size: int) -> None:
        _say(f"unload {size:,}: {memory_report.label(engine)}")
        done = self._child("unload", engine, "ladder", ["--collection", f"size-{size}"])
        if done.error:
            self.note(f"{memory_report.label(engine)}, unload of {size:,}: {done.error}")
            return
        states = {line["state"]: line for line in done.lines if "state" in line}
        row: dict[str, Any] = {"engine": engine, "records": size}
        for state, line in states.items():
            row[f"{state}_mb"] = line["rss"] / MB
            row[f"{state}_file_mb"] = line["file"] / MB
        row["fell_mb"] = row["loaded_mb"] - row["unloaded_mb"]
        if engine != "chromadb":
            row["accounted_mb"] = states["loaded"]["accounted"] / MB
            row["freed_mb"] = states["unloaded"]["freed"] / MB
            row["fell_share"] = row["fell_mb"] / row["freed_mb"] if row["freed_mb"] else None
        self.results["unload"].append(row)

    def _latency(self, engine: str) -> None:
        _say(f"latency: {memory_report.label(engine)}")
        row: dict[str, Any] = {"engine": engine}
        fresh = [self._child("first", engine, "ladder", []) for _ in range(FRESH_PROCESSES)]
        for done in fresh:
            if done.error:
                self.note(f"{memory_report.label(engine)}, first answer: {done.error}")
        for key, name in (("first_ms", "fresh_ms"), ("warm_ms", "warm_ms")):
            values = [value for done in fresh for value in done.values(key)]
            row[name] = _quantile(values, 0.5)
        if engine != "chromadb":
            done = self._child("reload", engine, "ladder", [])
            if done.error:
                self.note(f"{memory_report.label(engine)}, loading again: {done.error}")
            for key in ("unloaded_ms", "warm_ms", "evicting_ms"):
                row[key] = next(iter(done.values(key)), row.get(key))
        self.results["latency"].append(row)


def _outcome(done: Run, kills: int, visits: list[tuple[int, int]], plan: memory_data.Plan) -> str:
    if not done.error:
        return "survived"
    turn, number = visits[-1] if visits else (0, 0)
    where = f"at collection {number} of {plan.collections}" if number else "while opening"
    where += f" in round {turn}" if turn > 1 else ""
    if kills or (done.code == -9 and not done.stuck):
        return f"killed by the kernel {where}"
    return f"{done.error}, {where}" if done.stuck else f"fails {where}: {done.error}"


def _lines(log: Path) -> list[dict[str, Any]]:
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # half a line: it was killed while it wrote
            break
    return found


def _high_water(pid: int) -> int:
    """Return the most RSS a process ever had, where Linux says it."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _thin(samples: list[tuple[float, int]], most: int = 600) -> list[tuple[float, float]]:
    """Return (seconds, MB) of so many samples at most, each the highest of its neighbours."""
    step = max(1, -(-len(samples) // most))
    kept = [max(samples[i : i + step], key=lambda s: s[1]) for i in range(0, len(samples), step)]
    return [(round(at, 3), round(rss / MB, 2)) for at, rss in kept]


def _quantile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _shorten(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _version(engine: str) -> str:
    """Return the version that an engine's store was written with."""
    parts = ["chromadb"] if engine == "chromadb" else ["chroma-nb", engine]
    found = []
    for name in parts:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # the engine `exact` is no package
            continue
    return ", ".join(found)


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--limits", help="MB, a comma list (default: 600,400,300,200)")
    parser.add_argument("--quick", action="store_true", help="small, made-up data; writes no files")
    parser.add_argument("--engine", choices=ENGINES[1:], help="chroma_nb's, under the limits")
    parser.add_argument("--data", type=Path, help="folder of prepared embeddings")
    parser.add_argument("--work", type=Path, help="folder for the stores, kept and used again")
    parser.add_argument(
        "--cold-files", action="store_true", help="drop the stores from the file cache before use"
    )
    parser.add_argument("--json", type=Path, help=f"file of the results (default: {RESULTS.name})")
    parser.add_argument("--plot", type=Path, help=f"file of the plot (default: {PLOT})")
    parser.add_argument("--markdown", type=Path, help="file for the tables that are printed")
    options = parser.parse_args(given)
    try:
        listed = [int(part) for part in options.limits.split(",")] if options.limits else []
        if any(size <= 0 for size in listed):
            raise ValueError
    except ValueError:
        parser.error(f"--limits must be numbers of MB like 600,400, got {options.limits!r}")
    options.limits = listed or list(QUICK_LIMITS if options.quick else LIMITS)
    if options.engine is None:
        options.engine = "hnswlib" if importlib.util.find_spec("hnswlib") else "usearch"
    if options.data and not options.data.is_dir():
        parser.error("--data names no folder")
    if options.cold_files and not hasattr(os, "posix_fadvise"):
        parser.error("--cold-files: this system cannot be asked for that")
    if not options.quick:
        options.json, options.plot = options.json or RESULTS, options.plot or PLOT
    return options


def main(given: list[str] | None = None) -> dict[str, Any]:
    """Run, print the tables, and write the files."""
    options = arguments(given)
    plan = memory_data.QUICK if options.quick else memory_data.Plan()
    # Not /tmp in a full run: where that is in RAM, the stores would count as memory.
    parent = options.work or (None if options.quick else cache_folder())
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    work = options.work or Path(tempfile.mkdtemp(prefix="memory-", dir=parent))
    start = time.monotonic()
    try:
        benchmark = Benchmark(plan, work.resolve(), options)
        benchmark.run()
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    results = benchmark.results
    results["minutes"] = (time.monotonic() - start) / 60
    results["machine"] = machine()
    names = [_version(name) for name in ENGINES[:-1]]
    results["versions"] = ", ".join(dict.fromkeys(", ".join(n for n in names if n).split(", ")))
    results["quick"], results["cold_files"] = options.quick, options.cold_files
    print(memory_report.text(results))
    _write(results, options)
    return results


def _write(results: dict[str, Any], options: argparse.Namespace) -> None:
    for path in (options.json, options.markdown, options.plot):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(memory_report.text(results), encoding="utf-8")
    if options.plot:
        try:
            from benchmarks.memory_plot import plot

            plot(results, options.plot)
        except ImportError:
            _say("matplotlib is not installed: the plot is not written")


def broken(results: dict[str, Any]) -> list[str]:
    """Return what says that the benchmark or chroma_nb is broken; to be killed is a result."""
    found = [note for note in results["notes"] if "chroma_nb" in note and "installed" not in note]
    for row in results["survival"]:
        if row["engine"] == "chromadb":
            continue
        if not (row["survived"] or row["killed"]) or row["correct"] < 0.95 * row["answers"]:
            found.append(f"{row['limit_mb']} MB: {row['outcome']}, {row['correct']} correct")
    return found


if __name__ == "__main__":
    sys.exit(1 if broken(main()) else 0)
