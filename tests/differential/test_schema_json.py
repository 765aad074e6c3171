"""The same schema in chromadb and in chroma_nb: the same JSON, the same calls refused, and each reads the other's."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip(
    "chromadb", reason='chromadb is not installed: pip install "chroma-nb[differential]"'
)
import chromadb
import chromadb.api.types as theirs
import chromadb.execution.expression as their_expressions
from chromadb.utils import embedding_functions as their_functions

import chroma_nb
import chroma_nb.api.types as ours
from chroma_nb.utils import embedding_functions as our_functions

pytestmark = [
    pytest.mark.differential,
    # Chroma's own classes say it of themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

FUNCTIONS = {id(ours): our_functions, id(theirs): their_functions}
KEYS = st.sampled_from(["a", "b", "", "$x", "#document", "#embedding", "#x", ("key", "a"), None])
HNSW = st.fixed_dictionaries(
    {}, optional={"ef_search": st.integers(1, 99), "resize_factor": st.floats(1, 2)}
)
SPANN = st.fixed_dictionaries(
    {}, optional={"search_nprobe": st.integers(1, 99), "quantize": st.none()}
)
CONFIGS = st.one_of(
    st.none(),
    st.sampled_from(["Fts", "StringInverted", "IntInverted", "FloatInverted", "BoolInverted"]).map(
        lambda name: (name, {})
    ),
    st.tuples(
        st.just("Vector"),
        st.fixed_dictionaries(
            {},
            optional={
                "space": st.sampled_from(["l2", "cosine", "ip", None]),
                "embedding_function": st.none(),
                "source_key": st.sampled_from(["#document", "a", ("key", "a")]),
                "hnsw": HNSW.map(lambda fields: ("Hnsw", fields)),
                "spann": SPANN.map(lambda fields: ("Spann", fields)),
            },
        ),
    ),
    st.tuples(
        st.just("SparseVector"),
        st.fixed_dictionaries(
            {},
            optional={
                "source_key": st.sampled_from(["#document", "a", ("key", "a")]),
                "bm25": st.booleans(),
                "embedding_function": st.just("bm25"),
            },
        ),
    ),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["create_index", "delete_index"]), CONFIGS, KEYS), max_size=5
)


def _value(package: Any, value: Any) -> Any:
    if value == "bm25":
        return FUNCTIONS[id(package)].ChromaBm25EmbeddingFunction(avg_doc_length=7)
    if not isinstance(value, tuple):
        return value
    name, fields = value
    if name == "key":
        return (chroma_nb if package is ours else chromadb).K(fields)
    made = {field: _value(package, one) for field, one in fields.items()}
    return getattr(package, f"{name}IndexConfig")(**made)


def _schema(package: Any, steps: Any) -> tuple[Any, list[bool]]:
    """Return a schema, and which of the calls were refused."""
    schema = package.Schema()
    refused = []
    for method, config, key in steps:
        made = _value(package, config)
        # Chroma 1.5.9 has one sparse index in a collection; here, and in what comes after it, each key may have one.
        if made is not None and config[0] == "SparseVector" and method == "create_index":
            name = key if isinstance(key, str) or key is None else key[1]
            if any(one.sparse_vector and other != name for other, one in schema.keys.items()):
                continue
        try:
            assert getattr(schema, method)(made, _value(package, key)) is schema
        except ValueError:
            refused.append(True)
        else:
            refused.append(False)
    return schema, refused


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_schemas(steps: Any) -> None:
    mine, refused = _schema(ours, steps)
    other, expected = _schema(theirs, steps)
    assert refused == expected
    assert mine.serialize_to_json() == other.serialize_to_json()
    json.dumps(mine.serialize_to_json(), allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_each_reads_what_the_other_wrote(steps: Any) -> None:
    written = _schema(ours, steps)[0].serialize_to_json()
    assert theirs.Schema.deserialize_from_json(written).serialize_to_json() == written
    read = ours.Schema.deserialize_from_json(written)
    assert read.serialize_to_json() == written
    assert read == _schema(ours, steps)[0]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"defaults": {}},
        {"keys": {"a": {}}},
        {"keys": {"a": {"string": {}}}},
        {"keys": {"a": {"#string": {}, "foo": 1}}},
        {"cmek": {"gcp": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}},
        {"foo": 1},
    ],
)
def test_json_that_says_little_is_read_alike(data: Any) -> None:
    read = [one.Schema.deserialize_from_json(data).serialize_to_json() for one in (ours, theirs)]
    assert read[0] == read[1]


class Unfit:
    """No embedding function: it wants more than a list of texts."""

    def __call__(self, texts: Any, more: Any) -> Any:
        return texts


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("Vector", {"space": "x"}, "space"),
        ("Vector", {"foo": 1}, "not permitted"),
        ("Vector", {"embedding_function": 5}, "(?i)embedding.?function"),
        ("Vector", {"source_key": 5}, "source_key must be str or Key"),
        ("Vector", {"source_key": "#embedding"}, "source_key cannot begin with '#'"),
        ("Vector", {"hnsw": 5}, "hnsw"),
        ("Hnsw", {"foo": 1}, "'foo' is not a valid field"),
        ("Hnsw", {"ef_search": "many"}, "ef_search"),
        ("Hnsw", {"ef_search": 1.5}, "ef_search"),
        ("Spann", {"foo": 1}, "'foo' is not a valid field"),
        ("SparseVector", {"embedding_function": Unfit()}, "__call__"),
        ("SparseVector", {"bm25": "maybe"}, "bm25"),
        ("SparseVector", {"source_key": "#x"}, "source_key cannot begin with '#'"),
        ("Fts", {"a": 1}, "not permitted"),
        ("StringInverted", {"a": 1}, "not permitted"),
    ],
)
def test_a_config_that_means_nothing_is_refused_in_the_same_words(
    name: str, fields: Any, words: str
) -> None:
    for package in (theirs, ours):
        with pytest.raises(ValueError, match=words):
            getattr(package, f"{name}IndexConfig")(**fields)


@pytest.mark.parametrize(
    ("method", "config", "key", "words"),
    [
        ("create", "Vector", "#embedding", "Cannot create index on special key '#embedding'"),
        ("create", "StringInverted", "#document", "Cannot create index on special key '#document'"),
        ("create", "StringInverted", "#embedding", "Cannot create index on special key '#embed"),
        ("create", "StringInverted", "#a", "key cannot begin with '#'"),
        ("create", "Fts", "a", "FTS index can only be enabled on #document key"),
        ("create", "SparseVector", None, "Sparse vector index must be created on a specific key"),
        ("create", "Vector", "a", "Vector index cannot be enabled on specific keys"),
        ("create", None, "a", "Cannot enable all index types for key 'a'"),
        ("create", None, None, "Cannot enable all index types globally"),
        ("delete", "StringInverted", "#embedding", "Cannot modify #embedding"),
        ("delete", "StringInverted", "#document", "Cannot delete index on special key '#document'"),
        ("delete", "Fts", None, "Deleting FTS index is only supported on #document key"),
        ("delete", "Fts", "a", "Deleting FTS index is only supported on #document key"),
        ("delete", "Vector", None, "Deleting vector index is not currently supported"),
        ("delete", "SparseVector", "a", "Deleting sparse vector index is not currently supported"),
        ("delete", None, "a", "Cannot disable all index types for key 'a'"),
        ("delete", None, None, "Cannot disable all indexes"),
    ],
)
def test_an_index_that_cannot_be_is_refused_in_the_same_words(
    method: str, config: str | None, key: str | None, words: str
) -> None:
    for package in (theirs, ours):
        made = None if config is None else getattr(package, f"{config}IndexConfig")()
        with pytest.raises(ValueError, match=words):
            getattr(package.Schema(), f"{method}_index")(config=made, key=key)


def test_a_config_dumps_its_fields() -> None:
    dumped = []
    for package in (theirs, ours):
        config = package.VectorIndexConfig(
            space="cosine",
            embedding_function=None,
            hnsw=package.HnswIndexConfig(ef_search=7, resize_factor=1.5),
        )
        sparse = package.SparseVectorIndexConfig(source_key="title", bm25=True)
        dumped.append(
            [
                config.model_dump(),
                config.model_dump(exclude_none=True),
                sparse.model_dump(exclude_none=True),
                package.FtsIndexConfig().model_dump(),
            ]
        )
    assert dumped[0] == dumped[1]
    assert dumped[1][1] == {"space": "cosine", "hnsw": {"ef_search": 7, "resize_factor": 1.5}}


def test_every_name_has_chromas_import_path() -> None:
    for module in ("expression", "expression.operator", "expression.plan"):
        mine = importlib.import_module(f"chroma_nb.execution.{module}")
        other = importlib.import_module(f"chromadb.execution.{module}")
        names = ["Search"] if module.endswith("plan") else their_expressions.__all__
        assert [name for name in names if hasattr(other, name) and not hasattr(mine, name)] == []
    for name in dir(theirs):
        wanted = name.endswith(("IndexConfig", "IndexType", "ValueType")) or name in (
            "Cmek",
            "CmekProvider",
            "DOCUMENT_KEY",
            "EMBEDDING_KEY",
            "ReadLevel",
            "SPARSE_VECTOR_TYPE_VALUE",
            "Schema",
            "SparseEmbeddingFunction",
            "SparseVector",
            "SparseVectors",
            "TYPE_KEY",
            "ValueTypes",
        )
        assert not wanted or hasattr(ours, name), name
        assert not wanted or not hasattr(chromadb, name) or hasattr(chroma_nb, name), name
    importlib.import_module("chroma_nb.base_types").SparseVector([1], [1.0])


def test_the_package_has_every_name_that_chromas_shows() -> None:
    for name in chromadb.__all__:
        other, mine = getattr(chromadb, name), getattr(chroma_nb, name)
        assert isinstance(mine, type) == isinstance(other, type), name
        if isinstance(other, type):
            assert mine.__name__ == other.__name__, name
    headers = [[one.value for one in each.TokenTransportHeader] for each in (chromadb, chroma_nb)]
    assert headers[0] == headers[1]
