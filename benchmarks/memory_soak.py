"""Do anything, for an hour, within little memory: ``python -m benchmarks.memory_soak --minutes 60``.

One process in a cgroup of its own has two stores, eight threads that write, ask, copy, load and unload at random,
and arrays of its own that grow and shrink beside them. It has to live, every answer has to be right, and every
refusal true. ``--seed`` does the same again, as far as threads do. A failure leaves a file with what happened last.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks.memory_limit import Limit, limit
from benchmarks.memory_trials import under

MB = 1_000_000
#: Lines of the log that a failure leaves: calls begin and end, so two for each.
KEPT_LINES = 2_000
#: Seconds that starting, and comparing everything in the end, may take beside the work itself.
BESIDE = 1_800.0


def soak(
    minutes: float, limit_mb: int, seed: int, engine: str, failures: Path
) -> tuple[dict[str, Any], list[str]]:
    """Run it in a process of its own; return what was found, and what should not have been.

    Args:
        minutes: How long.
        limit_mb: Of the process's memory.
        seed: Of what is left to chance.
        engine: Of graphs.
        failures: Where a failure leaves its file.
    """
    with tempfile.TemporaryDirectory(prefix="memory-soak-") as name, limit(limit_mb * MB) as group:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.memory_soak", "--child", name]
        command += ["--minutes", str(minutes), "--seed", str(seed), "--engine", engine]
        started = time.perf_counter()
        status, said = _wait([*under(group), *command], 60 * minutes + BESIDE)
        found: dict[str, Any] = {"done": {}, "refused": {}, "seconds": {}, "problems": []}
        if (folder / "found.json").is_file():
            found = json.loads((folder / "found.json").read_text())
        found["all seconds"] = round(time.perf_counter() - started, 1)
        found["peak"], found["limit"] = group.peak(), group.kind
        problems = _problems(found, status, said, group)
        if problems:
            kept = failures / f"memory_soak_{engine}_{seed}.txt"
            heads = [f"--seed {seed} --engine {engine} --limit {limit_mb} --minutes {minutes}"]
            kept.write_text("\n\n".join([*heads, *problems, _last_lines(folder)]) + "\n")
            print(f"what happened last: {kept}", file=sys.stderr)
    return found, problems


def _wait(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Return a process's status (None: it took too long) and the end of what it said."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        said = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[1].decode(errors="replace")[-20_000:]
    return process.returncode, said.decode(errors="replace")[-20_000:]


def _problems(found: dict[str, Any], status: int | None, said: str, group: Limit) -> list[str]:
    problems = list(found["problems"])
    if group.kills() or status == -signal.SIGKILL:
        problems.append("killed by the kernel")
    elif status is None:
        problems.append("it did not come to an end")
    elif status or "records" not in found:
        problems.append(f"ended with {status}: {said}")
    return problems


def _last_lines(folder: Path) -> str:
    path = folder / "operations.log"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, maxlen=KEPT_LINES))


def table(found: dict[str, Any]) -> str:
    """Return what was found as text."""
    kinds = sorted({*found["done"], *found["refused"]})
    rows = [
        (
            kind,
            f"{found['done'].get(kind, 0):,}",
            f"{found['refused'].get(kind, 0):,}",
            f"{found['seconds'].get(kind, 0):,.1f}",
        )
        for kind in kinds
    ]
    done, refused = sum(found["done"].values()), sum(found["refused"].values())
    rows.append(("all", f"{done:,}", f"{refused:,}", f"{found['all seconds']:,.1f}"))
    lines = [("operation", "done", "refused", "seconds"), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    peak = "not known" if found["peak"] is None else f"{found['peak'] / MB:,.0f} MB"
    text.append(f"\npeak {peak} ({found['limit']}, file cache included)")
    if "records" in found:
        recall = ", ".join(f"{value:.4f} ({what})" for what, value in found["recall"].items())
        arrays = found["most_arrays"] / MB
        text.append(
            f"{found['records']:,} records; recall {recall}; own arrays to {arrays:,.0f} MB"
        )
    return "\n".join(text)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory_soak", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--limit", type=int, default=300, help="MB (10^6 bytes)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("turbovec", "usearch", "hnswlib"), default="turbovec")
    parser.add_argument("--failures", type=Path, default=Path(), help="folder for their files")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run it, and print what became of it."""
    options = arguments(given)
    if options.child:
        from benchmarks.memory_soak_work import work

        work(options.child, options.seed, options.engine, 60 * options.minutes)
        return 0
    found, problems = soak(
        options.minutes, options.limit, options.seed, options.engine, options.failures
    )
    print(table(found))
    for problem in problems:
        print(f"\nFAILED: {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
