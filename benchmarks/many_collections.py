"""Thousands of small collections under a memory limit: ``python -m benchmarks.many_collections``.

Each has 5 records of dimension 64 with a document and two metadata keys. A store of its own process creates
them one after the other; what a creation, a report, a new budget, opening and closing take is printed, with the
memory of the process and the peak of its control group. `--code DIR` measures another checkout of chroma_nb.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS, DIMENSION = 5, 64
#: A creation's time is the median of so many around it.
AROUND = 50
MB = 1e6
#: What is done to each kind of store, each part in a process of its own.
PARTS = {"folder": ("folder", "again"), "memory": ("memory",)}


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def rss() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / MB)


def open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


class Child:
    """The measured process: it says each figure as soon as it has it, as the kernel may end it."""

    def __init__(self, kind: str, n: int, path: str) -> None:
        import numpy as np

        import chroma_nb

        self.chroma = chroma_nb
        self.settings = chroma_nb.Settings(progress=False)
        self.kind, self.n, self.path = kind, n, path
        self.vectors = np.random.default_rng(0).random((RECORDS, DIMENSION), dtype=np.float32)

    def say(self, name: str, value: float) -> None:
        print(json.dumps([name, value]), flush=True)

    def open(self) -> Any:
        if self.kind == "memory":
            return self.chroma.EphemeralClient(self.settings)
        return self.chroma.PersistentClient(self.path, self.settings)

    def create(self, client: Any, number: int) -> None:
        collection = client.create_collection(f"small-{number:06d}", embedding_function=None)
        collection.add(
            ids=[f"id-{row}" for row in range(RECORDS)],
            embeddings=self.vectors,
            documents=[f"document {row} of collection {number}" for row in range(RECORDS)],
            metadatas=[{"kind": "small", "number": row} for row in range(RECORDS)],
        )

    def run(self) -> None:
        client = self.open()
        marks = {one for one in (AROUND, 1_000, self.n) if one <= self.n}
        times: list[float] = []
        for number in range(self.n):
            times.append(timed(lambda number=number: self.create(client, number)))  # type: ignore[misc]
            if number + 1 in marks:
                self.say(f"create {number + 1}", statistics.median(times[-AROUND:]))
            if number % 100 == 99:
                self.say("created", number + 1)
        self.say("longest create", max(times))
        self.say("all created", sum(times))
        self.say("open files", open_files())
        self.say("rss", rss())
        self.say("report", statistics.median(timed(client.memory.report) for _ in range(5)))
        report = client.memory.report()
        self.say("loaded", sum(one.state == "loaded" for one in report.collections))

        def set_budget(budget: int) -> None:
            client.memory.budget = budget

        self.say("set budget", timed(lambda: set_budget(report.used * 2)))
        self.say("set half", timed(lambda: set_budget(report.used // 2)))
        self.say("list", timed(client.list_collections))
        self.say("close", timed(client.close))

    def run_again(self) -> None:
        """Open the store in a new process, as after a restart of the kernel."""
        opened: list[Any] = []
        self.say("open", timed(lambda: opened.append(self.open())))
        (client,) = opened
        collection = client.get_collection(f"small-{self.n // 2:06d}", embedding_function=None)
        vector = self.vectors[0].tolist()
        found: list[Any] = []
        self.say(
            "query",
            timed(
                lambda: found.append(collection.query(query_embeddings=vector, n_results=RECORDS))
            ),
        )
        assert found[0]["ids"][0][0] == "id-0", found
        self.say("count", client.count_collections())
        self.say("create one more", timed(lambda: self.create(client, self.n)))
        self.say("rss, opened again", rss())
        client.close()


def measure(kind: str, n: int, size: int, code: Path) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS[kind]:
            outcome = _in_a_process(found, part, ["-n", str(n), "--path", folder], size, code)
            found["outcome"] = outcome
            if outcome != "survived":
                break
    return found


def _in_a_process(
    found: dict[str, float | str], part: str, arguments: list[str], size: int, code: Path
) -> str:
    """Fill in what one process under the limit says, and return how it ended."""
    from benchmarks.memory_limit import limit

    with limit(size) as group:
        command = [sys.executable, __file__, "--child", part, *arguments]
        if group.folder is not None:
            command += group.arguments()
        else:
            print("No control group can be made here: the figures are without a limit.")
        environment = {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        for line in done.stdout.splitlines():
            with contextlib.suppress(ValueError):
                name, value = json.loads(line)
                found[name] = value
        found[f"peak, {part}"] = (group.peak() or 0) / MB
        if group.kills():
            return f"{part}: killed by the kernel"
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["failed"])[-1][:100]
    return "survived"


ROWS = (
    "outcome",
    "created",
    f"create {AROUND}",
    "create 1000",
    "create N",
    "longest create",
    "all created",
    "report",
    "set budget",
    "set half",
    "list",
    "close",
    "open",
    "query",
    "create one more",
    "loaded",
    "open files",
    "rss",
    "rss, opened again",
    "peak, folder",
    "peak, again",
    "peak, memory",
)


def table(columns: dict[str, dict[str, float | str]], n: int) -> str:
    """Return the figures as a table: times in ms, memory in MB."""

    def cell(found: dict[str, float | str], row: str) -> str:
        value = found.get(f"create {n}" if row == "create N" else row, "-")
        return value if isinstance(value, str) else f"{value:,.1f}".removesuffix(".0")

    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for row in ROWS:
        cells = [cell(found, row) for found in columns.values()]
        name = f"create {n:,}" if row == "create N" else row
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the collections")
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--limit", type=int, default=300_000_000, help="bytes")
    parser.add_argument("--kinds", nargs="+", default=["folder", "memory"])
    parser.add_argument("--code", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    parser.add_argument("--cgroup-procs", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        if given.cgroup_procs:
            Path(given.cgroup_procs).write_text(str(os.getpid()))
        child = Child(given.child, given.n, given.path)
        child.run_again() if given.child == "again" else child.run()
        return
    n = given.n // 5 if given.quick else given.n
    columns = {kind: measure(kind, n, given.limit, given.code) for kind in given.kinds}
    print(table(columns, n))


if __name__ == "__main__":
    main()
