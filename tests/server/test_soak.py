"""Mixed load, evictions and kills, for a while; `benchmarks.soak` does it for long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.soak import Soak, broken

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_nothing_is_lost_under_load(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.flight")
    found = Soak(tmp_path, n_clients=16, seconds=15.0, kills=2).run()
    problems = broken(found)
    assert not problems, json.dumps(found, indent=1)
    assert found["done"]["query"] > 100
    assert found["done"]["add"] > 20
    assert found["done"]["broken"] > 0
