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
#: Walks that run at the same time.
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


def begin_walk(shim: Path, folder: Path, mode: str, numbers: list[int]) -> subprocess.Popen[str]:
    (folder / "disk").mkdir(parents=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "FAULT_FOLDER": str(folder / "disk"),
        # One thread each, as processes are forked and two walks run at the same time.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.trust.every_system_call.walk", str(folder), mode]
    return subprocess.Popen(
        [*command, *map(str, numbers)],
        env=environment,
        cwd=HERE.parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_walk(walk: subprocess.Popen[str], timeout: float) -> tuple[int, list[dict[str, Any]]]:
    """Return how many calls an unbroken scenario has, and the cases."""
    try:
        said, errors = walk.communicate(timeout=timeout)
    finally:
        walk.kill()
    assert walk.returncode == 0, errors[-6000:]
    count, *cases = map(json.loads, said.splitlines())
    return count, cases


@pytest.fixture(scope="module")
def count(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many calls an unbroken scenario has: a few more or less each time, as some come in the background."""
    found, _ = end_walk(begin_walk(shim, tmp_path_factory.mktemp("count"), "kill", []), 120)
    assert found > 150, "the shim sees hardly a call"
    return found


@pytest.mark.parametrize("mode", list(MODES))
def test_a_store_outlives_every_broken_system_call(
    tmp_path: Path, shim: Path, count: int, mode: str, request: pytest.FixtureRequest
) -> None:
    numbers = list(range(1, count + 1))
    if not request.config.getoption("all"):
        # The same sample in every run, so that a change of the code does not fail by chance.
        numbers = random.Random(mode).sample(numbers, SAMPLE)
    walks = [begin_walk(shim, tmp_path / f"{n}", mode, numbers[n::BESIDE]) for n in range(BESIDE)]
    cases = [case for walk in walks for case in end_walk(walk, 60 + 10 * len(numbers))[1]]
    n_fired, n_kills = (sum(case[what] for case in cases) for what in ("fired", "kills"))
    print(f"{mode}: {len(cases)} of {count} calls, {n_fired} broken, {n_kills} kills")
    wrong = [case for case in cases if case["wrong"]]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(
        f"{mode} at call {case['n']}: {''.join(case['wrong'])}" for case in wrong[:5]
    )
    assert [case["n"] for case in cases] == [n for k in range(BESIDE) for n in numbers[k::BESIDE]]
    # On a full disk calls that take no space succeed, so these could not be broken.
    could = [case for case in cases if mode != "ENOSPC once" or case["met"] != 1]
    assert len(could) > len(cases) / 2, f"{mode}: hardly a call takes space"
    # Some calls come in the background, so a scenario may have a few less than were counted.
    missed = [case["n"] for case in could if not case["fired"]]
    assert len(missed) <= max(1, len(could) // 20), f"{mode}: nothing was broken at calls {missed}"
    assert mode not in KILLS or sum(case["kills"] for case in cases) >= len(cases)
