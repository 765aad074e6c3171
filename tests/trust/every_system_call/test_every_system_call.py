"""Whichever system call kills the process or fails: all acknowledged records are there, and the store can be used.

`scenario.py` has the operations on the store, `walk.py` runs them and breaks one call each time, and `shim.c` is the
library that breaks it. A sample by default, ``--all`` for every call in every mode.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.trust.every_system_call.walk import KILLS, MODES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="a preloaded shim in this form is Linux's"),
]

HERE = Path(__file__).parent
#: Calls of the sample, for each mode.
SAMPLE = 8
#: Walks that run at the same time where every call is broken. For a sample, starting a second takes longer than it saves.
BESIDE = 2


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on this system: no system call can be broken")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-o",
        str(library),
        str(HERE / "shim.c"),
        "-ldl",
    ]
    subprocess.run(command, check=True, timeout=60)
    return library


def begin_walk(shim: Path, folder: Path, mode: str) -> subprocess.Popen[str]:
    (folder / "disk").mkdir(parents=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "FAULT_FOLDER": str(folder / "disk"),
        # One thread each, as processes are forked and two walks run at the same time.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "errors").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.trust.every_system_call.walk", str(folder), mode],
            env=environment,
            cwd=HERE.parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def calls_of(walk: subprocess.Popen[str], folder: Path) -> int:
    """How many calls an unbroken scenario has: a few more or less each time, as some come in the background."""
    assert walk.stdout is not None
    said = walk.stdout.readline()
    assert said, (folder / "errors").read_text()[-6000:]
    count = int(said)
    assert count > 150, "the shim sees hardly a call"
    return count


def break_calls(walk: subprocess.Popen[str], numbers: list[int]) -> None:
    assert walk.stdin is not None
    walk.stdin.write(" ".join(map(str, numbers)) + "\n")
    walk.stdin.flush()


def end_walk(walk: subprocess.Popen[str], folder: Path, timeout: float) -> list[dict[str, Any]]:
    """Return the cases."""
    said, _ = walk.communicate(timeout=timeout)
    assert walk.returncode == 0, (folder / "errors").read_text()[-6000:]
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("mode", list(MODES))
def test_a_store_outlives_every_broken_system_call(
    tmp_path: Path, shim: Path, mode: str, request: pytest.FixtureRequest
) -> None:
    everything = bool(request.config.getoption("all"))
    folders = [tmp_path / f"{n}" for n in range(BESIDE if everything else 1)]
    with ExitStack() as ended:
        walks = [ended.enter_context(begin_walk(shim, folder, mode)) for folder in folders]
        for walk in walks:
            # The process is waited for after this.
            ended.callback(walk.kill)
        count = max(calls_of(*one) for one in zip(walks, folders, strict=True))
        numbers = list(range(1, count + 1))
        if not everything:
            # One from each part of the scenario, and about the same calls in every run, also where a change of the code
            # has made a few more or less of them.
            rng = random.Random(mode)
            numbers = [1 + int((part + rng.random()) / SAMPLE * count) for part in range(SAMPLE)]
        parts = [numbers[n :: len(walks)] for n in range(len(walks))]
        for walk, part in zip(walks, parts, strict=True):
            break_calls(walk, part)
        cases = [
            case
            for walk, folder, part in zip(walks, folders, parts, strict=True)
            for case in end_walk(walk, folder, 60 + 20 * len(part))
        ]
    n_fired, n_kills = (sum(case[what] for case in cases) for what in ("fired", "kills"))
    print(f"{mode}: {len(cases)} of {count} calls, {n_fired} broken, {n_kills} kills")
    wrong = [case for case in cases if case["wrong"]]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(
        f"{mode} at call {case['n']}: {''.join(case['wrong'])}" for case in wrong[:5]
    )
    assert [case["n"] for case in cases] == [n for part in parts for n in part]
    # On a full disk calls that take no space succeed, so these could not be broken.
    could = [case for case in cases if mode != "ENOSPC once" or case["met"] != 1]
    assert len(could) > len(cases) / 2, f"{mode}: hardly a call takes space"
    # Some calls come in the background, so a scenario may have a few less than were counted.
    missed = [case["n"] for case in could if not case["fired"]]
    assert len(missed) <= max(1, len(could) // 20), f"{mode}: nothing was broken at calls {missed}"
    assert mode not in KILLS or sum(case["kills"] for case in cases) >= len(cases)
