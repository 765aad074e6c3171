"""Two servers over one ClickHouse under load, while they and the engine are killed; `benchmarks.soak --clickhouse` does it for long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.soak import Soak, broken
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, URL

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE),
    pytest.mark.skipif(bool(URL), reason="fills a database of its own"),
]


def test_nothing_is_lost_over_two_servers(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.flight")
    found = Soak(tmp_path, n_clients=8, seconds=20.0, kills=3, n_servers=2).run()
    problems = broken(found)
    assert not problems, json.dumps(found, indent=1)
    assert found["done"]["query"] > 20
    assert found["done"]["add"] > 5
    assert found["done"]["broken"] > 0
