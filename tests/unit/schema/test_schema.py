"""`Schema`: which calls are refused, and how it is read from JSON."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import chroma_nb
from chroma_nb import K, Schema, display
from chroma_nb.schema import (
    BoolInvertedIndexConfig,
    FtsIndexConfig,
    HnswIndexConfig,
    IntInvertedIndexConfig,
    SpannIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)
from chroma_nb.utils.embedding_functions import ChromaBm25EmbeddingFunction


@pytest.mark.parametrize("method", ["create_index", "delete_index"])
@pytest.mark.parametrize(
    ("config", "key", "says"),
    [
        (None, None, "Must specify either config or key"),
        (None, "a", "all index types for key 'a'"),
        (StringInvertedIndexConfig(), "#embedding", "#embedding"),
        (StringInvertedIndexConfig(), "#document", "Only FtsIndexConfig is allowed"),
        (
            StringInvertedIndexConfig(),
            K.SCORE,
            "got '#score'",
        ),
        (StringInvertedIndexConfig(), 5, r"Expected key to be a str or K\(\.\.\.\), got 5"),
        (FtsIndexConfig(), None, "on #document key"),
        (FtsIndexConfig(), "a", "on #document key"),
        (VectorIndexConfig(), "a", "Vector index cannot|Deleting vector index"),
        (SparseVectorIndexConfig(), None, "must be created on a specific key|Deleting sparse"),
        (HnswIndexConfig(), None, r"VectorIndexConfig\(hnsw=HnswIndexConfig\(\.\.\.\)\)"),
        ({"space": "l2"}, "a", "Expected the config of an index"),
    ],
)
def test_calls_that_are_refused(method: str, config: Any, key: Any, says: str) -> None:
    schema = Schema()
    with pytest.raises(ValueError, match=says):
        getattr(schema, method)(config, key)
    assert schema == Schema()


def test_a_source_needs_a_function() -> None:
    with pytest.raises(ValueError, match="embedding_function must also be provided"):
        Schema().create_index(SparseVectorIndexConfig(source_key=K.DOCUMENT), "sp")


def test_each_call_returns_the_schema_and_changes_what_it_names() -> None:
    schema = Schema()
    assert schema.create_index(IntInvertedIndexConfig(), K("year")) is schema
    assert schema.delete_index(StringInvertedIndexConfig(), "year") is schema
    schema.delete_index(BoolInvertedIndexConfig()).delete_index(FtsIndexConfig(), K.DOCUMENT)
    year = schema.keys["year"]
    assert year.int_value.int_inverted_index.enabled
    assert not year.string.string_inverted_index.enabled
    assert year.boolean is None
    assert not schema.defaults.boolean.bool_inverted_index.enabled
    assert not schema.keys["#document"].string.fts_index.enabled


def test_several_keys_may_have_sparse_vectors() -> None:
    bm25 = ChromaBm25EmbeddingFunction()
    config = SparseVectorIndexConfig(source_key=K.DOCUMENT, embedding_function=bm25, bm25=True)
    schema = Schema().create_index(config, "words").create_index(SparseVectorIndexConfig(), "p")
    made = schema.keys["words"].sparse_vector.sparse_vector_index.config
    assert (made.embedding_function, made.source_key, made.bm25) == (bm25, "#document", True)
    assert Schema.deserialize_from_json(schema.serialize_to_json()) == schema


def test_what_was_given_to_one_schema_does_not_change_another() -> None:
    schema = Schema()
    json = schema.serialize_to_json()
    json["defaults"]["string"].clear()
    json["keys"].clear()
    assert schema == Schema()
    assert Schema() == Schema()
    Schema().keys.clear()
    assert Schema().keys


@pytest.mark.parametrize(
    "recorded",
    [
        {"type": "known", "name": "nobody", "config": {}},
        {"type": "known"},
        {"type": "known", "name": "chroma_bm25", "config": {"k": "many"}},
    ],
)
def test_a_function_that_cannot_be_built_is_none_with_a_warning(recorded: Any) -> None:
    json = Schema().create_index(SparseVectorIndexConfig(), "sp").serialize_to_json()
    json["keys"]["sp"]["sparse_vector"]["sparse_vector_index"]["config"] = {
        "embedding_function": recorded
    }
    json["keys"]["#embedding"]["float_list"]["vector_index"]["config"] = {
        "embedding_function": {"type": "legacy"}
    }
    with pytest.warns(UserWarning, match="cannot be built here"):
        schema = Schema.deserialize_from_json(json)
    assert schema.keys["sp"].sparse_vector.sparse_vector_index.config.embedding_function is None


@pytest.mark.parametrize(
    "json",
    [
        5,
        {"defaults": 5},
        {"keys": 5},
        {"keys": {"a": 5}},
        {"keys": {"a": {"string": 5}}},
        {"keys": {"a": {"string": {"fts_index": 5}}}},
        {"keys": {"#embedding": {"float_list": {"vector_index": {"config": 5}}}}},
        {"keys": {"#embedding": {"float_list": {"vector_index": {"config": {"space": 5}}}}}},
        {"keys": {"#embedding": {"float_list": {"vector_index": {"config": {"hnsw": 5}}}}}},
        {"cmek": {"aws": "x"}},
    ],
)
def test_what_is_no_schema_is_refused(json: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Schema.deserialize_from_json(json)


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        (VectorIndexConfig, {"spaec": "l2"}, "'spaec' is not a valid field.*Did you mean space"),
        (VectorIndexConfig, {"space": "euclid"}, "l2, cosine, ip, got 'euclid'"),
        (VectorIndexConfig, {"embedding_function": 5}, "cannot be called"),
        (VectorIndexConfig, {"source_key": K.SCORE}, "cannot begin with '#', got '#score'"),
        (
            HnswIndexConfig,
            {"ef_search": True},
            "Expected ef_search of HnswIndexConfig to be an int",
        ),
        (HnswIndexConfig, {"resize_factor": "x"}, "to be a number, got 'x'"),
        (SpannIndexConfig, {"search_nprobe": 1.5}, "to be an int, got 1.5"),
        (FtsIndexConfig, {"a": 1}, "It has no fields"),
        (SparseVectorIndexConfig, {"bm25": "yes"}, "to be a bool, got 'yes'"),
    ],
)
def test_configs_that_are_refused(kind: Any, fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind(**fields)


def test_configs_are_compared_by_what_they_say() -> None:
    assert HnswIndexConfig(ef_search=5) == HnswIndexConfig(ef_search=5)
    assert HnswIndexConfig(ef_search=5) != HnswIndexConfig(ef_search=6)
    assert FtsIndexConfig() != StringInvertedIndexConfig()
    assert repr(SparseVectorIndexConfig(bm25=True)) == (
        "SparseVectorIndexConfig(embedding_function=None, source_key=None, bm25=True)"
    )
    # What Chroma's classes take and forget.
    SpannIndexConfig(quantize=None)
    SparseVectorIndexConfig(algorithm="wand")


def test_making_a_schema_warns_of_nothing_and_loads_no_model() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json = chroma_nb.Schema().serialize_to_json()
    assert json["keys"]["#embedding"]["float_list"]["vector_index"]["config"] == {
        "embedding_function": {"type": "known", "name": "default", "config": {}},
        "source_key": "#document",
        "space": "l2",
    }


class Odd:
    """A function whose name is hostile, or cannot be had."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def name(self) -> str:
        if isinstance(self._name, Exception):
            raise self._name
        return str(self._name)

    def __call__(self, input: Any) -> Any:
        return [[1.0]] * len(input)


def test_a_schema_says_what_is_on_and_what_embeds() -> None:
    schema = Schema().create_index(VectorIndexConfig(space="ip", hnsw=HnswIndexConfig(ef_search=7)))
    bm25 = ChromaBm25EmbeddingFunction()
    schema.create_index(SparseVectorIndexConfig(bm25, "a text", bm25=True), key="sp")
    schema.delete_index(StringInvertedIndexConfig(), key="a text")
    lines = {one.key: str(one) for one in schema.lines()}
    assert lines == {
        "#embedding": "embeddings by default of #document (ip, ef_search=7)",
        "#document": "full text",
        "sp": "sparse vectors by chroma_bm25 of a text (bm25)",
        "a text": "no index",
        None: "texts, whole numbers, floats, bools",
    }
    for said in (repr(schema), display.text(schema), display.html(schema) or ""):
        for word in ("#embedding", "chroma_bm25", "a text", "ef_search=7", "any other key"):
            assert word in said
    off = [one.off for one in schema.lines() if one.key == "a text"]
    assert off == [["texts"]]


def test_a_schema_is_shown_whatever_somebody_has_put_there() -> None:
    evil = "<script>alert(1)</script>\x1b[31m"
    schema = Schema()
    for at in range(10_000):
        schema.create_index(StringInvertedIndexConfig(), key=f"{evil}{at}")
    for function in (Odd(evil), Odd(ValueError("no name")), Odd("n" * 10**6)):
        schema.create_index(SparseVectorIndexConfig(function, evil), key=evil)
        page = display.html(schema)
        assert page is not None
        assert len(page.encode()) <= 1 << 16
        assert "<script" not in page
        for text in (repr(schema), display.text(schema)):
            assert "\x1b" not in text
            assert len(text) < 5_000
    assert "10,003 keys" in display.text(schema)
    broken: Any = Schema()
    broken.keys["a"], broken.keys[5], broken.defaults = 5, Schema, None
    broken.keys["#embedding"].float_list.vector_index.config = None
    assert "#document" in repr(broken)
    broken.keys = None
    assert display.html(broken)


def test_a_function_is_built_once_for_all_that_records_it() -> None:
    built: list[Any] = []

    @chroma_nb.utils.embedding_functions.register_embedding_function
    class Counted(chroma_nb.EmbeddingFunction[Any]):
        def __call__(self, input: Any) -> Any:
            return [[1.0] for _ in input]

        @staticmethod
        def name() -> str:
            return "schema_counted"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: Any) -> Any:
            built.append(config)
            return Counted()

    schema = Schema().create_index(VectorIndexConfig(embedding_function=Counted()))
    assert Schema.deserialize_from_json(schema.serialize_to_json()) == schema
    assert built == [{}]


def test_a_schema_that_somebody_has_filled_with_something_else_is_a_value_error() -> None:
    for part in ("defaults", "keys"):
        schema: Any = Schema()
        setattr(schema, part, {"a": 5} if part == "keys" else 5)
        with pytest.raises(ValueError, match="Expected ValueTypes"):
            schema.serialize_to_json()
