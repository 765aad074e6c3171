"""Anything at random in a process of little memory: it lives, every answer is right, every refusal true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.memory_limit import limit
from benchmarks.memory_soak import soak, table

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_MB = 300
#: Of the clock: a slow machine does less meanwhile, and nothing has to be done so many times.
MINUTES = 3.0


@pytest.mark.slow
@pytest.mark.own_process
def test_three_minutes_of_anything_in_three_hundred_megabytes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with limit(LIMIT_MB * 1_000_000) as group:
        if group.folder is None:
            pytest.skip("no control group can be made here")
    found, problems = soak(MINUTES, LIMIT_MB, seed=1, engine="turbovec", failures=tmp_path)
    print(table(found))
    kept = "\n".join(one.read_text() for one in tmp_path.glob("memory_soak_*.txt"))
    assert not problems, kept[-20_000:]
    assert sum(found["done"].values()) > 0
