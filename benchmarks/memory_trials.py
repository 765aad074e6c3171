"""Try chroma_nb in processes with little memory: ``python -m benchmarks.memory_trials``.

Each trial is a fresh process in a cgroup of its own, with a store that was made beforehand, without the limit.
It has to give the right answer, or to refuse before memory runs out. If the kernel kills it, it has failed.
``--only M1,M5`` or ``--only M5-ids-TEXT`` chooses, ``--stores FOLDER`` keeps the stores for the next run.

* `memory_trial_cases`: the trials; `memory_trial_budgets` and `memory_trial_servers` have some of them
* `memory_trial_stage`: what a trial is given, and how answers are checked
* `memory_trial_stores`: the stores
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory_limit import Limit, forget_files, limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.memory_trial_stage import Trial

MB = 1_000_000
MODULE = "benchmarks.memory_trials"
#: Outcomes that are not a failure.
GOOD = ("right", "refused", "skipped")
#: Characters of `Row.seen` in the table; the JSON file has all of it.
SHOWN = 150


@dataclass
class Row:
    """The outcome of a trial."""

    trial: str
    case: str
    limit_mb: int
    #: "right", "refused", "skipped", "wrong", "killed", "error" or "timeout".
    outcome: str
    #: The most that the cgroup held, file cache included; None where there is no cgroup.
    peak_mb: int | None
    seconds: float
    #: What the trial saw, or why it failed, in words.
    seen: str


def run(
    trial: Trial, stores: Path, engine: str, *, module: str = MODULE, cold_files: bool = False
) -> Row:
    """Run one trial in a process of its own.

    Args:
        trial: The trial.
        stores: The folder with the prepared stores.
        engine: The engine of graphs, or the store of `memory_peers`.
        module: The module to start with ``--child``.
        cold_files: Drop the store's files from the system's cache first.
    """
    with contextlib.ExitStack() as stack:
        # A trial gets a copy of the store: it writes to it, and graphs are built in the background.
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=stores, prefix="trial-")))
        shutil.copytree(stores / trial.store, work / "store")
        if cold_files:
            forget_files(work / "store")
        group = stack.enter_context(limit(trial.limit_mb * MB)) if trial.limit_mb else None
        log = work / "log.jsonl"
        command = [sys.executable, "-m", module, "--child", trial.name]
        command += ["--engine", engine, "--stores", str(stores), "--work", str(work)]
        started = time.perf_counter()
        if trial.server:
            ended, server_died = _with_server(trial, work, group, command, engine)
        else:
            ended, server_died = _wait([*under(group), *command], trial.seconds), False
        row = _judge(trial, ended, log, group, server_died)
        row.seconds = round(time.perf_counter() - started, 1)
        return row


def under(group: Limit | None) -> tuple[str, ...]:
    """Return the beginning of a command line that puts what follows it under the limit."""
    if group is None:
        return ()
    if group.folder is None:
        return ("sh", "-c", 'ulimit -d "$0"; exec "$@"', str(group.size // 1024))
    return ("sh", "-c", 'echo $$ > "$0"; exec "$@"', str(group.folder / "cgroup.procs"))


def _with_server(
    trial: Trial, work: Path, group: Limit | None, command: list[str], engine: str
) -> tuple[tuple[int | None, str], bool]:
    """Run a server under the limit, and the trial as its client without one; return `_wait`, and if the server died."""
    from benchmarks.servers import running, start_ours

    server = start_ours(
        work,
        *("--path", str(work / "store"), "--log-level", "warning"),
        under=under(group),
        CHROMA_NB_INDEX_ENGINE=engine,
    )
    with running(server):
        ended = _wait([*command, "--url", server.url], trial.seconds)
        return ended, server.process.poll() is not None


def _wait(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Return a process's exit status (None: it took too long) and the end of its stderr."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, said = process.communicate(timeout=seconds)
        return process.returncode, said.decode(errors="replace")[-2_000:]
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""


def _judge(
    trial: Trial,
    ended: tuple[int | None, str],
    log: Path,
    group: Limit | None,
    server_died: bool,
) -> Row:
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    last = lines[-1] if lines else {}
    status, said = ended
    outcome, seen = last.get("outcome", ""), last.get("seen", "")
    step = next(
        (f"after: {one['step']}" for one in reversed(lines) if "step" in one), "in the first step"
    )
    if server_died or status == -signal.SIGKILL or (group is not None and group.kills()):
        outcome, seen = "killed", f"{step}. {seen}".strip()
    elif status is None:
        outcome, seen = "timeout", step
    elif not outcome:
        outcome, seen = "error", f"{step}. {said}"
    peak = group.peak() if group is not None else None
    rounded = None if peak is None else round(peak / MB)
    return Row(trial.name, trial.case, trial.limit_mb, outcome, rounded, 0.0, seen)


def _child(options: argparse.Namespace) -> int:
    """Run a trial in this process, and write its steps and its outcome to the log file."""
    from benchmarks.memory_trial_cases import TRIALS
    from benchmarks.memory_trial_stage import Stage, find
    from chroma_nb.errors import MemoryBudgetError

    trial = find(options.child, TRIALS)
    original = options.stores / trial.store
    stage = Stage(options.work, options.engine, original, options.url, (MemoryBudgetError,))
    stage.finish(trial)
    return 0


def prepare(trials: list[Trial], stores: Path, engine: str, *, module: str = MODULE) -> None:
    """Make the stores that the trials need and that are missing, each in a process of its own."""
    from benchmarks.memory_trial_stores import is_prepared

    for name in dict.fromkeys(one.store for one in trials):
        if not is_prepared(stores / name):
            started = time.perf_counter()
            command = [sys.executable, "-m", module, "--prepare", name]
            subprocess.run([*command, "--engine", engine, "--stores", str(stores)], check=True)
            say(f"store {name}: made in {time.perf_counter() - started:.0f} s")


def table(rows: list[Row]) -> str:
    """Return the rows as a table in plain text."""
    heads = ("trial", "limit, MB", "outcome", "peak, MB", "seconds", "seen")
    lines = [heads] + [
        (
            row.trial,
            str(row.limit_mb or "-"),
            row.outcome,
            "-" if row.peak_mb is None else str(row.peak_mb),
            f"{row.seconds:.1f}",
            short(row.seen),
        )
        for row in rows
    ]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        )
        for line in lines
    )


def short(text: str) -> str:
    """Return a text on one line, cut to `SHOWN` characters."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def say(text: str) -> None:
    """Print progress to stderr; stdout has the table alone."""
    print(text, file=sys.stderr, flush=True)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory_trials", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", default="", help="cases or trials, separated by commas")
    parser.add_argument("--engine", choices=("turbovec", "usearch", "hnswlib"), default="turbovec")
    parser.add_argument("--stores", type=Path, help="folder that keeps the stores")
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    parser.add_argument(
        "--cold-files", action="store_true", help="drop the store's files from the system's cache"
    )
    parser.add_argument("--list", action="store_true", help="print the trials and end")
    for name in ("--child", "--prepare", "--url"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(given)


@contextlib.contextmanager
def folder_of(stores: Path | None, engine: str) -> Iterator[Path]:
    """Give the folder of the stores: one for each engine, as their graphs differ. Temporary for None."""
    if stores is None:
        with tempfile.TemporaryDirectory(prefix="memory-trials-") as made:
            yield Path(made)
        return
    folder = stores / engine
    folder.mkdir(parents=True, exist_ok=True)
    yield folder.resolve()


def main(given: list[str] | None = None) -> list[Row]:
    """Run the chosen trials, and print the outcomes."""
    from benchmarks.memory_trial_cases import TRIALS
    from benchmarks.memory_trial_stage import chosen

    options = arguments(given)
    trials = chosen(options.only, TRIALS)
    if options.list:
        print("\n".join(f"{one.name}  {one.limit_mb or '-'} MB, {one.store}" for one in trials))
        return []
    rows: list[Row] = []
    with folder_of(options.stores, options.engine) as stores:
        prepare(trials, stores, options.engine)
        for trial in trials:
            rows.append(run(trial, stores, options.engine, cold_files=options.cold_files))
            say(f"{trial.name}: {rows[-1].outcome} ({rows[-1].seconds} s)")
            if options.json:
                found: list[dict[str, Any]] = [asdict(row) for row in rows]
                options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(rows))
    return rows


def _begin() -> int:
    options = arguments()
    if options.child:
        return _child(options)
    if options.prepare:
        from benchmarks.memory_trial_stores import prepare as prepare_store

        prepare_store(options.stores / options.prepare, options.engine)
        return 0
    return int(any(row.outcome not in GOOD for row in main()))


if __name__ == "__main__":
    sys.exit(_begin())
