"""What a server makes of the schema of any client, and a client of the schema of any server."""

from __future__ import annotations

import copy
import json
import re
import uuid
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chroma_nb import Schema, display
from chroma_nb.collection.handle import CollectionHandle
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.schema_json import (
    HNSW_DEFAULTS,
    complete,
    discovered,
    for_copy,
    is_gcp_key,
    stated,
    with_extra,
    wrong_form,
)
from chroma_nb.validation import checked_schema, reconciled
from chroma_nb.wire.answers import UNUSABLE, AnswerError
from chroma_nb.wire.collections import collection_from_json

GCP_PARTS = ("/locations/", "/keyRings/", "/cryptoKeys/")
PLAIN = {"hnsw": dict(HNSW_DEFAULTS), "spann": None, "embedding_function": None}


def index(config: Any = None, enabled: Any = True) -> dict[str, Any]:
    return {"enabled": enabled, "config": {} if config is None else config}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (5, "expected an object"),
        ({"keys": 5}, "expected keys to be an object"),
        ({"keys": {"a": 5}}, "expected a to be an object"),
        ({"keys": {"a": {"texts": {}}}}, "unknown type 'texts' in a"),
        ({"keys": {"a": {"string": {"vector_index": {}}}}}, "unknown index a.string.vector_index"),
        ({"keys": {"a": {"int": {"int_inverted_index": 5}}}}, "to be an object, got 5"),
        ({"keys": {"a": {"int": {"int_inverted_index": index(enabled=1)}}}}, "true or false"),
        ({"keys": {"a": {"int": {"int_inverted_index": index({"k": 1})}}}}, "unknown field 'k'"),
        ({"keys": {"#x": {}}}, "reserved"),
        ({"keys": {"#document": {"int": {}}}}, "values of type string alone"),
        ({"keys": {"#embedding": {"string": {}}}}, "values of type float_list alone"),
        ({"keys": {"a": {"float_list": {"vector_index": index()}}}}, "on #embedding alone"),
        ({"keys": {"a": {"string": {"fts_index": index()}}}}, "on #document alone, not on 'a'"),
        ({"keys": {"#document": {"string": {"string_inverted_index": index()}}}}, "cannot be"),
        ({"defaults": {"float_list": {"vector_index": index()}}}, "cannot be enabled by default"),
        ({"defaults": {"sparse_vector": {"sparse_vector_index": index()}}}, "by default"),
        ({"defaults": {"string": {"fts_index": index()}}}, "by default"),
        (
            {"keys": {"#embedding": {"float_list": {"vector_index": index({"source_key": "a"})}}}},
            "made of #document alone, not of 'a'",
        ),
        (
            {"keys": {"a": {"sparse_vector": {"sparse_vector_index": index({"source_key": "b"})}}}},
            "no embedding function that can be recorded",
        ),
        (
            {
                "keys": {
                    "a": {"sparse_vector": {"sparse_vector_index": index({"source_key": "#b"})}}
                }
            },
            "begins with '#'",
        ),
        (
            {"keys": {"a": {"sparse_vector": {"sparse_vector_index": index({"bm25": 1})}}}},
            "to be of bool, got 1",
        ),
        ({"cmek": {"gcp": "x"}}, "cmek has to name"),
        ({"cmek": {"aws": "projects/a/locations/b/keyRings/c/cryptoKeys/d"}}, "cmek has to name"),
        ({"keys": {"\ud800": {}}}, "Unicode"),
        ({"keys": {str(number): {} for number in range(10_001)}}, "at most 10,000 keys"),
    ],
)
def test_what_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        reconciled(PLAIN, schema)


@given(st.lists(st.sampled_from(["projects/", *GCP_PARTS, "a", "/", "\n", ""]), max_size=9))
@example(["projects/", "a", *(one for part in GCP_PARTS for one in (part, "a"))])
@example(["projects/", *(one for part in GCP_PARTS for one in (part, part, "a"))])
def test_a_key_of_googles_has_the_form_that_chroma_wants(parts: list[str]) -> None:
    name = "".join(parts)
    wanted = re.fullmatch("projects/.+/locations/.+/keyRings/.+/cryptoKeys/.+", name)
    assert is_gcp_key(name) == (wanted is not None)


def test_a_long_text_that_is_no_key_of_googles_is_refused_at_once() -> None:
    # Whoever tries all places of each part does not come to an end.
    name = "projects/" + "/locations/a/keyRings/a" * 40_000
    with pytest.raises(InvalidArgumentError, match="cmek has to name"):
        reconciled(PLAIN, {"cmek": {"gcp": name}})


def test_both_spellings_of_chromas_server_are_read() -> None:
    told = {"a": {"int": {"int_inverted_index": index(enabled=False)}}}
    other = {"a": {"#int": {"int_inverted_index": index(enabled=False)}}}
    assert checked_schema({"keys": told}) == checked_schema({"key_overrides": other})


@pytest.mark.parametrize(
    "hnsw",
    [{"ef_search": 0}, {"batch_size": 1}, {"sync_threshold": 1}, {"max_neighbors": "x"}, {"k": 1}],
)
def test_a_graph_that_cannot_be_built(hnsw: Any) -> None:
    vectors = {"vector_index": index({"hnsw": hnsw})}
    with pytest.raises(InvalidArgumentError, match="Invalid HNSW configuration"):
        reconciled(PLAIN, {"keys": {"#embedding": {"float_list": vectors}}})
    # No graph is made with this one. It would be stored, and no client could read it.
    vectors = {"vector_index": index({"hnsw": hnsw}, enabled=False)}
    with pytest.raises(InvalidArgumentError, match="Invalid HNSW configuration"):
        reconciled(PLAIN, {"defaults": {"float_list": vectors}, "keys": {"a": {}}})


NAMES = [
    "defaults",
    "keys",
    "#embedding",
    "#document",
    "a",
    "string",
    "float_list",
    "sparse_vector",
    "int",
    "vector_index",
    "fts_index",
    "int_inverted_index",
    "sparse_vector_index",
    "enabled",
    "config",
    "source_key",
    "hnsw",
    "spann",
    "cmek",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a", "l2", "#document"]),
    lambda parts: (
        st.dictionaries(
            st.sampled_from(NAMES),
            parts,
            max_size=3,
        )
        | st.lists(parts, max_size=2)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_anything_is_refused_by_name_or_becomes_a_schema(given_: Any) -> None:
    try:
        configuration, beyond = reconciled(copy.deepcopy(PLAIN), given_)
    except InvalidArgumentError:
        return
    _is_usable(configuration, beyond)


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
def test_anything_that_is_stored_or_answered_can_be_used_or_is_known_to_be_wrong(
    given_: Any,
) -> None:
    if wrong_form(given_) == "":
        _is_usable(PLAIN, stated(given_))


def _is_usable(configuration: Any, beyond: Any) -> None:
    assert wrong_form(beyond or {}) == ""
    whole = complete(configuration, beyond)
    assert complete(configuration, stated(whole)) == whole
    if set(whole.get("cmek", {})) <= {"gcp"}:
        # Another provider may come with a later Chroma: such a schema can be had, and its key not be read.
        Schema.deserialize_from_json(json.loads(json.dumps(whole)))
    more = discovered(beyond, [{"a": 1, "new": "x"}, None])
    assert set(complete(configuration, more)["keys"]) == {*whole["keys"], "a", "new"}
    extra = complete(configuration, with_extra(beyond, {"num_threads": 7}))
    config = extra["keys"]["#embedding"]["float_list"]["vector_index"]["config"]
    assert config["hnsw"]["num_threads"] == 7
    for_copy(configuration, beyond)


def test_another_servers_schema_is_checked() -> None:
    answer: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": "docs",
        "configuration_json": PLAIN,
        "tenant": "t",
        "database": "d",
        "schema": complete(PLAIN),
    }
    assert collection_from_json(answer).schema is None
    assert collection_from_json({**answer, "schema": None}).schema is None
    for wrong in (5, {"keys": 5}, {"keys": {"a": {"string": {"fts_index": {"enabled": 1}}}}}):
        with pytest.raises(AnswerError, match="schema"):
            collection_from_json({**answer, "schema": wrong})


def test_a_distributed_chroma_has_its_own_index() -> None:
    spann = {"space": "cosine", "search_nprobe": 64}
    answer: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": "docs",
        "configuration_json": {"hnsw": None, "spann": spann, "embedding_function": None},
        "tenant": "t",
        "database": "d",
    }
    vectors = collection_from_json(answer).serialized_schema["keys"]["#embedding"]["float_list"]
    config = vectors["vector_index"]["config"]
    assert (config["spann"], config["space"]) == ({"search_nprobe": 64}, "cosine")
    assert "hnsw" not in config


def _described(hnsw: Any, config: Any = None, spann: Any = None) -> Any:
    """Return a collection as a server describes it."""
    schema = complete(PLAIN)
    if config is not None:
        schema["keys"]["#embedding"]["float_list"]["vector_index"]["config"] = config
    answer: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": "docs",
        "configuration_json": {"hnsw": hnsw, "spann": spann},
        "tenant": "t",
        "database": "d",
        "schema": schema,
    }
    return CollectionHandle(cast("Any", None), collection_from_json(answer))


@pytest.mark.parametrize(
    ("hnsw", "says"),
    [
        ({"space": "l2", "ef_search": "many"}, "ef_search.*'many'"),
        ({"space": "l2", "ef_search": [1]}, "ef_search"),
        ({"space": "l2", "resize_factor": True}, "resize_factor"),
        ({"space": "l2", "self": 1}, "'self'"),
        ({"space": "l2", "of a later Chroma": 1}, "'of a later Chroma'"),
    ],
)
def test_a_graph_with_numbers_that_are_none_is_named(hnsw: Any, says: str) -> None:
    docs = _described(hnsw)
    with pytest.raises(InternalError, match=rf"schema of collection \[docs\].*{says}"):
        docs.schema  # noqa: B018
    vectors = docs.get_model().serialized_schema["keys"]["#embedding"]["float_list"]
    assert hnsw.items() <= {"space": "l2", **vectors["vector_index"]["config"]["hnsw"]}.items()
    with pytest.raises(InternalError, match="quantum"):
        _described(None, spann={"quantum": 1}).schema  # noqa: B018


@settings(max_examples=400, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
@pytest.mark.filterwarnings("ignore:The schema records")
def test_a_schema_that_a_server_describes_is_shown_or_refused_by_name(
    hnsw: Any, config: Any, spann: Any
) -> None:
    graph = {**hnsw, "space": "l2"} if isinstance(hnsw, dict) else hnsw
    try:
        schema = _described(graph, config, spann).schema
    except (*UNUSABLE, InternalError):
        return
    page = display.html(schema)
    assert page is not None
    assert len(page.encode()) <= 1 << 16
