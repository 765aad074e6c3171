"""Metadata keys and their summaries at any size, whole or in pieces: the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from chroma_nb.db import _fields
from chroma_nb.wire.fields import fields_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

PLENTY = 1 << 30


def filled(limit: str, metadatas: str) -> Any:
    """Return a database whose table of records has these metadata: (label, JSON) of a query."""
    connection = duckdb.connect(config={"memory_limit": limit, "threads": 2})
    connection.execute(
        f"CREATE TABLE records AS SELECT label, metadata::VARCHAR AS metadata FROM ({metadatas})"
    )
    return connection


@pytest.fixture
def mixed() -> Iterator[Any]:
    """Three thousand records of a few kinds, labels with gaps."""
    connection = filled(
        "200 MB",
        """SELECT 3 * i AS label, CASE WHEN i % 7 = 0 THEN NULL ELSE json_object(
          'n', i, 'few', i % 3, 'real', i / 4, 'flag', i % 2 = 0, 'text', 'text ' || i, 'list', [i],
          'both', CASE WHEN i % 2 = 0 THEN to_json(i % 5) ELSE to_json('x') END,
          'key ' || (i % 300), 1) END AS metadata FROM range(3000) t(i)""",
    )
    yield connection
    connection.close()


@pytest.mark.parametrize("limit", [10_000, 200_000])
def test_a_table_in_pieces_is_described_like_the_whole(mixed: Any, limit: int) -> None:
    conditions: list[str] = []
    assert not _fields._by_pieces(mixed, "records", PLENTY, list, conditions.append)
    assert conditions == [""]
    assert _fields._by_pieces(mixed, "records", limit, conditions.clear, conditions.append)
    assert len(conditions) > 2
    keys = _fields.metadata_keys(mixed, "records", PLENTY)
    assert len(keys) == 307
    assert keys == sorted(keys)
    assert _fields.metadata_keys(mixed, "records", limit) == keys
    whole = _fields.describe(mixed, "records", 5, PLENTY)
    assert len(whole) == 200
    assert _fields.describe(mixed, "records", 5, limit) == whole
    found = {one.key: one for one in whole}
    n = 3_000 - 429
    assert [one.key for one in whole[:7]] == ["both", "few", "flag", "list", "n", "real", "text"]
    assert found["both"].kinds == ("str", "int")
    assert found["both"].n_distinct == 6
    assert found["both"].values == []
    assert sorted(value for value, _ in found["few"].values) == [0, 1, 2]
    assert (found["list"].kinds, found["list"].n_distinct) == (("list",), 0)
    assert (found["n"].minimum, found["n"].maximum, found["n"].n_records) == (1, 2_999, n)
    assert (found["real"].minimum, found["real"].maximum) == (0.25, 749.75)
    assert mixed.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchall() == [
        (0,)
    ]


@pytest.mark.parametrize("place", ["everywhere", "where nobody looked"])
def test_records_of_thousands_of_keys_fit_into_little_memory(place: str) -> None:
    wide = "i % 400 BETWEEN 50 AND 150" if place != "everywhere" else "true"
    n = 400 if place == "everywhere" else 2_000
    connection = filled(
        "70 MB",
        f"""SELECT i AS label, CASE WHEN {wide} THEN
          '{{' || array_to_string([format('"key {{:04d}}":{{}}', k, i % 10) FOR k IN range(2000)], ',') || '}}'
          ELSE '{{"small":1}}' END AS metadata FROM range({n}) t(i)""",
    )
    keys = _fields.metadata_keys(connection, "records", 70 << 20)
    assert len(keys) == 2_000 + (place != "everywhere")
    found = _fields.describe(connection, "records", 20, 70 << 20)
    assert len(found) == 200
    by_key = {one.key: one for one in found}
    assert by_key["key 0007"].n_distinct == 10
    connection.close()


def test_no_records_have_no_keys() -> None:
    connection = filled("100 MB", "SELECT i AS label, NULL AS metadata FROM range(0) t(i)")
    assert _fields.metadata_keys(connection, "records", PLENTY) == []
    assert _fields.describe(connection, "records", 20, PLENTY) == []
    connection.execute("INSERT INTO records VALUES (4, NULL)")
    assert _fields.metadata_keys(connection, "records", PLENTY) == []
    assert _fields.describe(connection, "records", 20, PLENTY) == []
    connection.close()


def test_an_older_servers_summary_is_read() -> None:
    old: dict[str, Any] = {
        "key": "n",
        "kinds": ["int"],
        "n_records": 9,
        "minimum": 1,
        "maximum": 9,
        "n_distinct": 9,
        "values": [],
    }
    counted = {**old, "n_distinct": 1, "values": [[7, 9]]}
    lists = {**old, "n_distinct": 0}
    newer = {**old, "is_estimate": False, "something new": 1}
    found = fields_from_json([old, counted, lists, newer])
    assert [one.is_estimate for one in found] == [True, False, False, False]
    assert found[1].values == [(7, 9)]


def test_a_record_that_is_written_meanwhile_is_counted_once(
    mixed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is written again gets a new label, behind all others."""
    before = _fields.describe(mixed, "records", 5, 10_000)
    writer = mixed.cursor()
    parameters = _fields._key_parameters
    label = 0

    def write_meanwhile(keys: list[str]) -> list[list[str]]:
        nonlocal label
        label += 3
        writer.execute("UPDATE records SET label = ? WHERE label = ?", [9_000 + label, label])
        return parameters(keys)

    monkeypatch.setattr(_fields, "_key_parameters", write_meanwhile)
    assert _fields.describe(mixed, "records", 5, 10_000) == before
    assert label > 3
