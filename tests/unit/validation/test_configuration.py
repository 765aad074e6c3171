"""Configurations of collections: new, changed, and read from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb import validation
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.index.base import GraphParameters

DEFAULTS = {
    "space": "l2",
    "ef_construction": 100,
    "ef_search": 100,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}


@pytest.mark.parametrize(
    ("configuration", "metadata", "changes"),
    [
        (None, None, {}),
        ({}, {"topic": "x"}, {}),
        ({"hnsw": None, "spann": None}, None, {}),
        ({"hnsw": {"space": "ip", "ef_search": 7}}, None, {"space": "ip", "ef_search": 7}),
        (
            {"hnsw": {"num_threads": 2, "batch_size": 5}},
            None,
            {"num_threads": 2, "batch_size": 5},
        ),
        (None, {"hnsw:num_threads": 2}, {"num_threads": 2}),
        ({"spann": {"space": "cosine", "search_nprobe": 5}}, None, {"space": "cosine"}),
        (
            None,
            {"hnsw:space": "cosine", "hnsw:M": 5, "hnsw:search_ef": 7, "hnsw:construction_ef": 9},
            {"space": "cosine", "max_neighbors": 5, "ef_search": 7, "ef_construction": 9},
        ),
        ({"hnsw": {"space": "ip"}}, {"hnsw:space": "cosine"}, {"space": "ip"}),
        (None, {"hnsw:resize_factor": 2}, {"resize_factor": 2.0}),
    ],
    ids=repr,
)
def test_configurations(configuration: Any, metadata: Any, changes: dict[str, Any]) -> None:
    result = validation.created_configuration(configuration, metadata, "l2")
    assert repr(result) == repr({"hnsw": {**DEFAULTS, **changes}, "spann": None})


@pytest.mark.parametrize(
    ("configuration", "metadata", "text"),
    [
        ({"hnsw": {}, "spann": {}}, None, "hnsw and spann cannot both be provided"),
        ({"hnsw": {"space": "bad"}}, None, "one of l2, cosine, ip, got bad"),
        ({"hnsw": {"bad": 1}}, None, "unknown field `bad`"),
        ({"hnsw": 5}, None, "hnsw to be a dict, got 5"),
        ({"spann": {"bad": 1}}, None, "Unknown spann field 'bad'"),
        ({"hnsw": {"ef_search": -1}}, None, "ef_search to be a positive int, got -1"),
        ({"hnsw": {"ef_search": True}}, None, "ef_search to be a positive int, got True"),
        ({"hnsw": {"resize_factor": "x"}}, None, "resize_factor to be a positive number"),
        ({"typo": {}}, None, "Unknown configuration field 'typo'"),
        (5, None, "Expected configuration to be a dict, got 5"),
        (None, {"hnsw:space": "bad"}, "Failed to parse hnsw parameters from segment metadata"),
        (None, {"hnsw:M": "x"}, "Failed to parse hnsw parameters from segment metadata"),
        (None, {"hnsw:typo": 1}, "Failed to parse hnsw parameters from segment metadata"),
    ],
    ids=repr,
)
def test_bad_configurations(configuration: Any, metadata: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        validation.created_configuration(configuration, metadata, "l2")
    assert text in str(caught.value)


def test_changes_of_a_configuration() -> None:
    recorded = validation.created_configuration(None, None, "cosine")
    changed = validation.updated_configuration(recorded, {"hnsw": {"ef_search": 5}})
    assert changed["hnsw"] == {**recorded["hnsw"], "ef_search": 5}
    assert recorded["hnsw"]["ef_search"] == 100
    assert validation.updated_configuration(recorded, {}) == recorded
    for change, text in (
        ({"hnsw": {"space": "l2"}}, "unknown field `space`"),
        ({"spann": {"ef_search": 5}}, "Trying to update SPANN config but schema has HNSW"),
        ({"hnsw": {"ef_search": 0}}, "positive int"),
        (5, "Expected configuration to be a dict"),
    ):
        with pytest.raises(ValueError, match=text):
            validation.updated_configuration(recorded, change)


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"a": float("inf")}, "embedding_function.config.a to be finite, got inf"),
        ({"a": [{"b": float("nan")}]}, "embedding_function.config.a.b to be finite, got nan"),
        ({"a": 10**30}, "an integer of 64 bits, got 1000000000000000000000000000000"),
        ({"a": 10**5_000}, "an integer of 64 bits, got one of 16,610 bits"),
        ({"a": -(2**63) - 1}, "an integer of 64 bits"),
        ({"a": "\ud800"}, "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        ({1: "a"}, "keys of embedding_function.config to be texts, got '1'"),
        ({"a": {1, 2}}, "a text, a number, a list or an object, got a set"),
        (_nested(100), "at most 64 levels"),
        ({"k" * 10**6: {"k" * 10**6: float("inf")}}, "to be finite"),
    ],
    ids=[
        "inf",
        "nan",
        "1e30",
        "digits",
        "int64",
        "text",
        "key",
        "key type",
        "set",
        "deep",
        "long",
    ],
)
def test_what_is_recorded_of_a_function_can_be_given_back_to_everybody(
    config: Any, text: str
) -> None:
    function = {"type": "known", "name": "x", "config": config}
    checks: list[tuple[Any, Any]] = [
        (validation.check_recorded_function, function),
        (validation.recorded_configuration, {"embedding_function": function}),
    ]
    for check, given in checks:
        with pytest.raises(InvalidArgumentError) as caught:
            check(given)
        assert text in str(caught.value)
        assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize("name", [{}, {"name": None}, {"name": 3}, {"config": {}}])
def test_a_known_function_has_a_name(name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="to have a name"):
        validation.check_recorded_function({"type": "known", **name})
    assert validation.check_recorded_function({"type": "legacy"}) == {"type": "legacy"}


def test_what_json_holds_is_recorded_as_it_is() -> None:
    config = {"a": [None, True, -(2**63), 2**63 - 1, 1e308, "ä\0", {}], "b": _nested(20)}
    function = {"type": "known", "name": "x", "config": config}
    assert validation.check_recorded_function(function) == function


@pytest.mark.parametrize("key", ["ef_search", "resize_factor", "max_neighbors"])
@pytest.mark.parametrize("value", [10**400, 10**5_000], ids=["400 digits", "5,000 digits"])
def test_numbers_of_a_configuration_have_an_end(key: str, value: int) -> None:
    for odd in (value, float("inf"), float("nan")):
        with pytest.raises(InvalidArgumentError, match=f"Expected {key} to be a positive"):
            validation.created_configuration({"hnsw": {key: odd}}, None, "l2")


@pytest.mark.parametrize("links", [1, 10_001, 2**31])
def test_links_that_no_graph_can_have_are_refused_before_anything_is_made(links: int) -> None:
    text = rf"Expected max_neighbors to be a positive int from 2 to 10,000, got {links}: "
    given = {"hnsw": {"max_neighbors": links}}
    for check in (
        lambda: validation.created_configuration(given, None, "l2"),
        lambda: validation.created_configuration(None, {"hnsw:M": links}, "l2"),
        lambda: validation.recorded_configuration(given),
    ):
        with pytest.raises(InvalidArgumentError, match=text):
            check()
    for most in (2, 10_000):
        made = validation.created_configuration({"hnsw": {"max_neighbors": most}}, None, "l2")
        assert made["hnsw"]["max_neighbors"] == most


@pytest.mark.parametrize("odd", [0, -1, float("inf"), float("nan"), True, "1 h", 10**400])
def test_a_ttl_is_a_number_that_is_more_than_0_and_finite(odd: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Expected a TTL in seconds"):
        validation.check_ttl(odd)
    assert validation.check_ttl(10**30) == 1e30
    assert validation.check_ttl(None) is None


@pytest.mark.parametrize(
    ("key", "most"),
    [("ef_construction", 1_000_000), ("ef_search", 1_000_000), ("num_threads", 1_024)],
)
def test_numbers_that_take_time_without_end_are_refused(key: str, most: int) -> None:
    validation.created_configuration({"hnsw": {key: most}}, None, "l2")
    for value in (most + 1, 2**62):
        with pytest.raises(InvalidArgumentError, match=f"{key}.*at most {most:,}"):
            validation.created_configuration({"hnsw": {key: value}}, None, "l2")
        with pytest.raises(InvalidArgumentError, match=f"at most {most:,}"):
            validation.recorded_configuration({"hnsw": {key: value}})


def test_numbers_that_older_versions_took_are_replaced_where_a_graph_is_built() -> None:
    parameters = GraphParameters("l2", 2, ef_construction=2**62, ef_search=-5)
    assert (parameters.ef_construction, parameters.ef_search) == (1_000_000, 1)
