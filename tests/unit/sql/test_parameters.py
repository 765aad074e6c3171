"""Values for ?, $1 and $name."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.metadata_values import BIG
from tests.unit.sql.conftest import make, refusal


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


MOMENT = datetime.datetime(2024, 2, 29)


@pytest.mark.parametrize(
    ("given_", "kinds"),
    [
        ([2**53 + 1, 2.5], "9007199254740993"),
        ([[2**53 + 1], [2.5]], "9007199254740993"),
        ([{"a": 2**53 + 1}, {"a": 2.5}], "9007199254740993"),
        ({"a": [True, 5]}, "bools, integers"),
        ([True, 5], "bools, integers"),
        (np.array([True, 5], dtype=object), "bools, integers"),
        ([None, 0.5, False], "bools, floats"),
        ([1, "a"], "integers, texts"),
        ([1, [1]], "integers, lists"),
        ([MOMENT.date(), MOMENT], "date values, datetime values"),
        ([1, Decimal(1)], "Decimal values, integers"),
    ],
)
def test_a_list_of_several_kinds_is_refused_where_one_kind_cannot_hold_it(
    client: Any, given_: Any, kinds: str
) -> None:
    for query, parameters in (("SELECT ?", [given_]), ("SELECT $p", {"p": given_})):
        said = refusal(client, query, parameters)
        assert kinds in said
        assert "Give " in said


def test_lists_that_lose_nothing_come_as_they_are(client: Any) -> None:
    for given_ in (
        [1, None, 2.5],
        [BIG, None, -BIG],
        [],
        [None],
        ["a", np.str_("b")],
        [[1], [], [0.5]],
    ):
        assert client.sql("SELECT ? AS p", [given_]).p.tolist() == [given_]
    both = [Decimal(2**53 + 1), Decimal("2.5")]
    assert client.sql("SELECT unnest(?) AS p", [both]).p.tolist() == both


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 2**70])
def test_an_integer_that_some_versions_round_is_given_as_a_text(client: Any, value: int) -> None:
    for parameter in (value, [value, 1], {"a": value}):
        assert "CAST(? AS HUGEINT)" in refusal(client, "SELECT ?", [parameter])
    assert client.sql("SELECT CAST(? AS HUGEINT) AS p", [str(value)]).p.tolist() == [value]
    assert client.sql("SELECT ? AS p", [2**64 - 1]).p.tolist() == [2**64 - 1]


def test_the_ways_out_of_comparisons_that_round_are_exact(client: Any) -> None:
    rows: list[dict[str, Any] | None] = [{"m": 2.0**53, "n": 2**53 + 1}, {"m": 1.5, "n": 0.5}]
    made = make(client, "rounded", rows)
    try:
        query = "SELECT id FROM rounded WHERE m = ? AND CAST(m AS HUGEINT) = ?"
        assert client.sql(query, [2**53 + 1] * 2).id.tolist() == []
        assert client.sql(query, [2**53] * 2).id.tolist() == ["r0"]
        for value, ids in ((2**53, []), (2**53 + 1, ["r0"])):
            assert client.sql("SELECT id FROM rounded WHERE n = ?", [value]).id.tolist() == ids
    finally:
        client.delete_collection(made.name)
    shown = client.sql("SELECT CAST(INTERVAL 1 MONTH AS VARCHAR), CAST(DATE 'infinity' AS VARCHAR)")
    assert shown.values.tolist() == [["1 month", "infinity"]]
