"""Ctrl-C anywhere in a call over ClickHouse leaves the store usable and nothing half-written.

``clickhouse_interrupting.py`` runs the cases. A sample of the places by default, ``--all`` for every fifth one.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.servers import running, start_clickhouse
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, URL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE),
    pytest.mark.skipif(bool(URL), reason="the engine is in a process of the tests"),
]

#: Places in a sample, and about how many a call has. What ClickHouse's client does is no place: it is done in another thread.
SAMPLE = 12
PLACES = {"add": 1_700, "upsert": 1_900, "query": 700, "get": 1_100, "catch up": 2_000}


@pytest.mark.parametrize("is_far", [False, True], ids=["in this process", "at a server"])
@pytest.mark.parametrize("call", list(PLACES))
def test_ctrl_c_in_a_call_leaves_the_store_usable(
    tmp_path: Path, call: str, is_far: bool, request: pytest.FixtureRequest
) -> None:
    numbers = ["1:100000:5"]
    if not request.config.getoption("all"):
        chosen = random.Random(call).sample(range(1, PLACES[call]), SAMPLE)
        numbers = [str(n) for n in sorted(chosen)]

    def run(url: str) -> list[dict[str, object]]:
        arguments = [str(tmp_path), url, call, *numbers]
        done = subprocess.run(
            [sys.executable, "-m", "tests.durability.clickhouse_interrupting", *arguments],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=3_600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    if is_far:
        with running(start_clickhouse(tmp_path)) as engine:
            cases = run(f"{engine.url}/default")
    else:
        cases = run("")
    wrong = [case for case in cases if case["wrong"]]
    assert not wrong, json.dumps(wrong[:5], indent=1)
    assert sum(case["ended"] == "KeyboardInterrupt: " for case in cases) >= SAMPLE // 3
