"""However a process is forked, and however it ends: nothing is lost, and the next open works.

A sample of the cases by default, ``--all`` for every one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import chroma_nb as chroma

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system"),
]

WAYS = ["fork", "fork_in_a_thread", "multiprocessing", "pool"]
ENDS = ["nothing", "leave", "drop", "close", "use", "open_again", "open_own", "embed"]
#: A pool's worker that leaves is replaced for ever, by Python.
CASES = [(way, end) for way in WAYS for end in ENDS if (way, end) != ("pool", "leave")]


def sampled() -> list[tuple[str, str, str]]:
    """Return cases, always the same ones, that have every way and every end twice, and both moods."""
    rng = random.Random(1)
    ends = rng.sample(ENDS, len(ENDS))
    chosen = []
    for turn in range(2):
        for n, end in enumerate(ends):
            way = WAYS[(n + turn) % len(WAYS)]
            if (way, end) in CASES:
                chosen.append((way, end, ["quiet", "busy"][(n // len(WAYS) + turn) % 2]))
    return chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases = sampled()
    if metafunc.config.getoption("all"):
        cases = [(*case, is_busy) for case in CASES for is_busy in ("quiet", "busy")]
    metafunc.parametrize(("way", "end", "is_busy"), cases)


def test_a_forked_child_costs_the_parent_nothing(
    tmp_path: Path, way: str, end: str, is_busy: str
) -> None:
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("forking.py"), store, way, end, is_busy],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = done.stdout.split("\n")
    assert "status 0" in lines, (done.stderr, lines[-3:])
    written = {line for line in lines if line and not line.startswith(("-", "status"))}
    deleted = {line[1:] for line in lines if line.startswith("-")}
    with chroma.PersistentClient(store) as client:
        found = client.get_collection("notes", embedding_function=None).get()
    assert set(found["ids"]) == written - deleted
    assert found["documents"] == found["ids"]
    assert "Traceback" not in done.stderr
