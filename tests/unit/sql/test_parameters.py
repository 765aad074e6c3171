"""Values for ?, $1 and $name."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.sql.conftest import BIG, refusal


@pytest.mark.parametrize(
    ("given_", "comes"),
    [
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (BIG, BIG),
        (pd.Timestamp("2024-02-29 12:00"), pd.Timestamp("2024-02-29 12:00")),
        (np.datetime64("2024-02-29T12:00"), pd.Timestamp("2024-02-29 12:00")),
        (datetime.date(2024, 2, 29), pd.Timestamp("2024-02-29")),
        (pd.Timedelta(seconds=3), pd.Timedelta(seconds=3)),
        ([np.int64(1), 2], [1, 2]),
        (np.array([1, 2]), [1, 2]),
    ],
)
def test_parameters_may_be_of_numpys_and_pandas_kinds(client: Any, given_: Any, comes: Any) -> None:
    assert client.sql("SELECT ? AS p", [given_]).p.tolist() == [comes]
    assert client.sql("SELECT $p AS p", {"p": given_}).p.tolist() == [comes]
    assert client.sql("SELECT $1 AS p", (given_,)).p.tolist() == [comes]


def test_parameters_that_are_none_or_cannot_be_used(client: Any) -> None:
    for gap in (None, pd.NaT, pd.NA):
        assert client.sql("SELECT ? IS NULL AS p", [gap]).p.tolist() == [True]
    assert client.sql("SELECT n FROM docs WHERE n = ANY(?)", [[1, 3]]).n.tolist() == [1, 3]
    named = "PIVOT (SELECT pos, n FROM docs WHERE n < $n) ON pos USING count(*)"
    assert list(client.sql(named, {"n": 2})) == ["n", "noun"]
    assert "list (for ? and $1) or a dict" in refusal(client, "SELECT ?", 5)
    assert "microsecond" in refusal(client, "SELECT ?", [pd.Timestamp(1)])
    refusal(client, "SELECT ?", [])
    refusal(client, "SELECT ?", [1, 2])
