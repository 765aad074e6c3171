"""Schemas: which indexes a collection has, what it is filtered by, and what is made of a configuration beside one."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import pytest

VECTORS = [[1.0, 0.0], [0.0, 1.0]]


def keys(collection: Any) -> set[str]:
    return set(collection.schema.serialize_to_json()["keys"])


def vector(collection: Any) -> dict[str, Any]:
    schema = collection.schema.serialize_to_json()
    found = schema["keys"]["#embedding"]["float_list"]["vector_index"]
    by_default = schema["defaults"]["float_list"]["vector_index"]
    assert (found["enabled"], by_default["enabled"]) == (True, False)
    assert {**by_default["config"], "source_key": "#document"} == found["config"]
    return found["config"]


@pytest.fixture
def off(lib: Any) -> Any:
    """A schema that switches off texts under "s" and the documents."""
    schema = lib.Schema().delete_index(config=lib.StringInvertedIndexConfig(), key="s")
    return schema.delete_index(config=lib.FtsIndexConfig(), key=lib.K.DOCUMENT)


@pytest.fixture
def filled(create: Any, off: Any) -> Any:
    collection = create("off", schema=off)
    metadatas = [{"s": "x", "i": 1}, {"s": "y", "t": "u"}]
    collection.add(
        ids=["a", "b"], embeddings=VECTORS, metadatas=metadatas, documents=["red", "blue"]
    )
    return collection


# -- made and given back -------------------------------------------------------------------------


def test_every_collection_has_a_schema(client: Any, create: Any, lib: Any) -> None:
    create("without")
    create("with", schema=lib.Schema())
    for name in ("without", "with"):
        schema = client.get_collection(name, embedding_function=None).schema
        json = schema.serialize_to_json()
        assert set(json["keys"]) == {"#document", "#embedding"}
        string = json["keys"]["#document"]["string"]
        assert string["fts_index"] == {"enabled": True, "config": {}}
        assert string["string_inverted_index"] == {"enabled": False, "config": {}}
        for kind in ("int", "float", "bool"):
            assert json["defaults"][kind] == {
                f"{kind}_inverted_index": {"enabled": True, "config": {}}
            }
        sparse = json["defaults"]["sparse_vector"]["sparse_vector_index"]
        assert (sparse["enabled"], sparse["config"]["bm25"]) == (False, False)
        config = vector(client.get_collection(name, embedding_function=None))
        assert (config["space"], config["hnsw"]["ef_search"]) == ("l2", 100)


def test_the_schema_says_the_distance_and_the_graph(client: Any, create: Any, lib: Any) -> None:
    hnsw = lib.HnswIndexConfig(ef_search=33, max_neighbors=8, num_threads=3, batch_size=10)
    made = lib.Schema().create_index(lib.VectorIndexConfig(space="cosine", hnsw=hnsw))
    for collection in (create("docs", schema=made), client.get_collection("docs")):
        config = vector(collection)
        assert config["space"] == "cosine"
        assert {name: config["hnsw"][name] for name in ("ef_search", "max_neighbors")} == {
            "ef_search": 33,
            "max_neighbors": 8,
        }
        assert (config["hnsw"]["num_threads"], config["hnsw"]["batch_size"]) == (3, 10)
        assert config["hnsw"]["sync_threshold"] == 1000
        recorded = collection.configuration_json["hnsw"]
        assert (recorded["space"], recorded["ef_search"]) == ("cosine", 33)
    collection.add(ids=["a", "b"], embeddings=[[1.0, 0.0], [3.0, 0.0]])
    assert collection.query(query_embeddings=[[2.0, 0.0]])["distances"] == [[0.0, 0.0]]


def test_the_function_of_a_schema_embeds(client: Any, create: Any, lib: Any, toys: Any) -> None:
    made = lib.Schema().create_index(lib.VectorIndexConfig(embedding_function=toys.Toy(2.0)))
    docs = client.create_collection("docs", schema=made)
    docs.add(ids=["a"], documents=["aa"])
    assert docs.get(include=["embeddings"])["embeddings"].tolist() == [[4.0, 4.0]]
    assert docs.query(query_texts=["aa"])["distances"] == [[0.0]]
    recorded = docs.configuration_json["embedding_function"]
    assert (recorded["name"], recorded["config"]) == ("contract_toy", {"scale": 2.0})


def test_none_as_the_function_of_a_schema(create: Any, lib: Any, client: Any) -> None:
    made = lib.Schema().create_index(lib.VectorIndexConfig(space="ip", embedding_function=None))
    docs = create("docs", schema=made)
    assert docs.configuration_json["embedding_function"] == {"type": "legacy"}
    assert vector(docs)["embedding_function"] == {"type": "legacy"}


def test_a_schema_outlives_the_process(persistent_store: Any, off: Any) -> None:
    client = persistent_store.open()
    docs = client.create_collection("docs", schema=off, embedding_function=None)
    docs.add(ids=["a"], embeddings=[[1.0, 0.0]], metadatas=[{"n": 1}])
    before = client.get_collection("docs").schema.serialize_to_json()
    persistent_store.close()
    again = persistent_store.open().get_collection("docs", embedding_function=None)
    assert again.schema.serialize_to_json() == before
    assert keys(again) == {"#document", "#embedding", "s", "n"}


def test_what_is_done_to_a_schema_that_was_read_changes_nothing(create: Any, off: Any) -> None:
    docs = create("docs", schema=off)
    docs.schema.keys.clear()
    off.keys.clear()
    assert keys(docs) == {"#document", "#embedding", "s"}


# -- metadata keys -------------------------------------------------------------------------------


def test_metadata_keys_are_discovered(client: Any, create: Any) -> None:
    docs = create("docs")
    metadata = {"i": 1, "arr": ["p"], "b": True, "f": 0.5}
    docs.add(ids=["a"], embeddings=VECTORS[:1], metadatas=[metadata])
    # The handle is of the moment when it was made.
    assert keys(docs) == {"#document", "#embedding"}
    found = client.get_collection("docs", embedding_function=None)
    assert keys(found) == {"#document", "#embedding", "i", "arr", "b", "f"}
    json = found.schema.serialize_to_json()["keys"]
    assert json["i"] == {"int": {"int_inverted_index": {"enabled": True, "config": {}}}}
    assert set(json["arr"]) == {"string"}
    assert set(json["b"]) == {"bool"}
    docs.update(ids=["a"], metadatas=[{"i": "one", "late": 1}])
    docs.upsert(ids=["b"], embeddings=VECTORS[1:], metadatas=[{"later": 1}])
    docs.delete(ids=["a", "b"])
    found = client.get_collection("docs", embedding_function=None)
    assert keys(found) == {"#document", "#embedding", "i", "arr", "b", "f", "late", "later"}
    assert set(found.schema.serialize_to_json()["keys"]["i"]) == {"int", "string"}
    listed = client.list_collections()
    assert [keys(one) for one in listed] == [keys(found)]


def test_a_discovered_key_has_the_defaults_of_its_time(client: Any, create: Any, lib: Any) -> None:
    docs = create("docs", schema=lib.Schema().delete_index(lib.IntInvertedIndexConfig()))
    docs.add(ids=["a"], embeddings=VECTORS[:1], metadatas=[{"i": 1, "s": "x"}])
    json = client.get_collection("docs", embedding_function=None).schema.serialize_to_json()
    assert json["keys"]["i"]["int"]["int_inverted_index"]["enabled"] is False
    assert json["keys"]["s"]["string"]["string_inverted_index"]["enabled"] is True


# -- filters by what is not indexed --------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        {"s": "x"},
        {"s": {"$ne": "x"}},
        {"s": {"$in": ["x", "z"]}},
        {"s": {"$nin": ["x"]}},
        {"$or": [{"i": 1}, {"$and": [{"t": "u"}, {"s": "x"}]}]},
    ],
)
def test_a_filter_by_a_key_that_is_not_indexed(filled: Any, errors: Any, where: Any) -> None:
    says = "Cannot filter using metadata key 's' with type 'Str' because indexing is disabled"
    for ask in (
        lambda: filled.get(where=where),
        lambda: filled.query(query_embeddings=[[1.0, 0.0]], where=where),
        lambda: filled.delete(where=where),
    ):
        with pytest.raises(errors.InvalidArgumentError, match=says):
            ask()
    assert filled.get()["metadatas"] == [{"s": "x", "i": 1}, {"s": "y", "t": "u"}]


def test_the_type_of_what_is_compared_with_decides(filled: Any) -> None:
    assert filled.get(where={"s": 1.5})["ids"] == []
    assert filled.get(where={"t": "u"})["ids"] == ["b"]
    assert filled.get(where={"i": 1})["ids"] == ["a"]


@pytest.mark.parametrize(
    "condition",
    [{"$contains": "red"}, {"$not_contains": "red"}, {"$regex": "r.d"}, {"$not_regex": "r.d"}],
)
def test_documents_that_are_not_indexed(filled: Any, errors: Any, condition: Any) -> None:
    says = "Cannot filter using full-text search because FTS indexing is disabled"
    for ask in (
        lambda: filled.get(where_document=condition),
        lambda: filled.query(query_embeddings=[[1.0, 0.0]], where_document=condition),
        lambda: filled.delete(where_document={"$or": [condition, condition]}),
    ):
        with pytest.raises(errors.InvalidArgumentError, match=says):
            ask()
    assert filled.get()["documents"] == ["red", "blue"]


def test_a_collection_without_records_refuses_as_well(create: Any, off: Any, errors: Any) -> None:
    docs = create("docs", schema=off)
    with pytest.raises(errors.InvalidArgumentError, match="indexing is disabled"):
        docs.get(where={"s": "x"})


def test_what_is_not_indexed_is_written_and_deleted_by_id(filled: Any) -> None:
    filled.update(ids=["a"], metadatas=[{"s": "z"}], documents=["green"], embeddings=VECTORS[:1])
    filled.delete(ids=["b"])
    assert filled.get()["metadatas"] == [{"s": "z", "i": 1}]
    assert filled.get()["documents"] == ["green"]


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ("StringInvertedIndexConfig", "x"),
        ("IntInvertedIndexConfig", 1),
        ("FloatInvertedIndexConfig", 0.5),
        ("BoolInvertedIndexConfig", True),
    ],
)
def test_a_type_that_is_switched_off_for_all_keys(
    create: Any, lib: Any, errors: Any, config: str, value: Any
) -> None:
    kind = getattr(lib, config)
    docs = create("docs", schema=lib.Schema().delete_index(kind()).create_index(kind(), "on"))
    docs.add(ids=["a"], embeddings=VECTORS[:1], metadatas=[{"k": value, "on": value}])
    docs.update(ids=["a"], documents=["text"], embeddings=VECTORS[:1])
    for key in ("k", "unknown"):
        with pytest.raises(errors.InvalidArgumentError, match=f"key '{key}' with type"):
            docs.get(where={key: value})
    assert docs.get(where={"on": value})["ids"] == ["a"]
    assert docs.get(where_document={"$contains": "ex"})["ids"] == ["a"]


# -- a schema and a configuration ----------------------------------------------------------------


@pytest.mark.usefixtures("legacy_warnings")
@pytest.mark.parametrize(
    "beside",
    [
        {"configuration": {"hnsw": {"space": "cosine"}}},
        {"configuration": {"hnsw": {"ef_search": 7}}},
        {"metadata": {"hnsw:space": "cosine"}},
        "toy",
    ],
)
def test_both_say_something(create: Any, lib: Any, toys: Any, errors: Any, beside: Any) -> None:
    made = lib.Schema().create_index(lib.StringInvertedIndexConfig(), "a")
    if beside == "toy":
        beside = {"embedding_function": toys.Toy()}
    with pytest.raises(errors.InvalidArgumentError, match="Cannot set both collection config"):
        create("docs", schema=made, **beside)


@pytest.mark.usefixtures("legacy_warnings")
def test_beside_a_default_schema_the_configuration_counts(
    client: Any, create: Any, lib: Any, toys: Any
) -> None:
    docs = create(
        "docs", schema=lib.Schema(), configuration={"hnsw": {"space": "ip", "ef_search": 7}}
    )
    assert (vector(docs)["space"], vector(docs)["hnsw"]["ef_search"]) == ("ip", 7)
    toy = client.create_collection("toy", schema=lib.Schema(), embedding_function=toys.Toy())
    assert toy.configuration_json["embedding_function"]["name"] == "contract_toy"
    # How many threads a graph has is not looked at.
    hnsw = lib.HnswIndexConfig(num_threads=3, ef_search=100)
    threads = lib.Schema().create_index(lib.VectorIndexConfig(hnsw=hnsw))
    both = create("both", schema=threads, configuration={"hnsw": {"space": "ip"}})
    assert vector(both)["space"] == "ip"
    assert create("none", schema=lib.Schema()).configuration_json["embedding_function"] is None


def test_a_schema_whose_function_is_the_default_records_it(create: Any, lib: Any) -> None:
    docs = create("docs", schema=lib.Schema().create_index(lib.IntInvertedIndexConfig(), "a"))
    recorded = docs.configuration_json["embedding_function"]
    assert (recorded["type"], recorded["name"]) == ("known", "default")


def test_a_collection_that_exists_keeps_its_schema(
    client: Any, create: Any, lib: Any, off: Any, errors: Any
) -> None:
    create("docs", schema=off)
    other = lib.Schema().create_index(lib.IntInvertedIndexConfig(), "a")
    found = client.get_or_create_collection("docs", schema=other, embedding_function=None)
    assert keys(found) == {"#document", "#embedding", "s"}
    # What is ignored is checked all the same.
    with pytest.raises(errors.InvalidArgumentError, match="Cannot set both"):
        client.get_or_create_collection(
            "docs", schema=other, metadata={"hnsw:space": "cosine"}, embedding_function=None
        )


@pytest.mark.usefixtures("legacy_warnings")
def test_modify_keeps_the_schema_and_changes_the_graph_in_it(client: Any, filled: Any) -> None:
    hnsw = {"ef_search": 55, "num_threads": 2, "batch_size": 7, "sync_threshold": 9}
    filled.modify(name="renamed", configuration={"hnsw": hnsw})
    found = client.get_collection("renamed", embedding_function=None)
    for handle in (filled, found):
        assert {name: vector(handle)["hnsw"][name] for name in hnsw} == hnsw
    filled.modify(metadata={"k": 1})
    assert vector(filled)["hnsw"]["num_threads"] == 2
    assert keys(found) == {"#document", "#embedding", "s", "i", "t"}


def test_a_collection_that_is_made_again_has_a_new_schema(client: Any, filled: Any) -> None:
    client.delete_collection("off")
    again = client.create_collection("off", embedding_function=None)
    assert keys(again) == {"#document", "#embedding"}


# -- what is no schema ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda lib, one: one.defaults.float_list.vector_index.__setattr__("enabled", True),
        lambda lib, one: one.defaults.string.fts_index.__setattr__("enabled", True),
        lambda lib, one: one.defaults.sparse_vector.sparse_vector_index.__setattr__("enabled", 1),
        lambda lib, one: one.keys.__setitem__("#x", one.keys["#document"]),
        lambda lib, one: one.keys.__setitem__("a", one.keys["#embedding"]),
        lambda lib, one: one.keys.__setitem__("a", one.keys["#document"]),
        lambda lib, one: one.keys.__setitem__("#document", one.keys["#embedding"]),
        lambda lib, one: one.create_index(
            lib.VectorIndexConfig(hnsw=lib.HnswIndexConfig(sync_threshold=1))
        ),
        lambda lib, one: one.create_index(
            lib.VectorIndexConfig(hnsw=lib.HnswIndexConfig(), spann=lib.SpannIndexConfig())
        ),
        lambda lib, one: one.set_cmek(lib.Cmek.gcp("x")),
    ],
)
def test_a_schema_with_an_index_where_none_can_be(
    create: Any, lib: Any, refused: Any, change: Any
) -> None:
    schema = lib.Schema()
    change(lib, schema)
    with pytest.raises(refused, match=r"\w"):
        create("docs", schema=schema)


@pytest.mark.parametrize("json", [{}, {"keys": {"a": {}}}, {"keys": {"#embedding": {}}}])
def test_a_schema_that_says_nothing_has_the_defaults(create: Any, lib: Any, json: Any) -> None:
    docs = create("docs", schema=lib.Schema.deserialize_from_json(json))
    docs.add(ids=["a"], embeddings=VECTORS[:1], metadatas=[{"n": 1}], documents=["text"])
    assert docs.get(where={"n": 1}, where_document={"$contains": "tex"})["ids"] == ["a"]
    assert vector(docs)["space"] == "l2"


def test_a_schema_is_no_dict(create: Any, lib: Any) -> None:
    with pytest.raises((AttributeError, ValueError), match=r"\w"):
        create("docs", schema={"keys": {}})


@pytest.mark.quirk("Chroma's local stores have no sparse vectors", by="server")
def test_an_index_of_sparse_vectors(client: Any, create: Any, lib: Any) -> None:
    config = lib.SparseVectorIndexConfig(bm25=True)
    create("docs", schema=lib.Schema().create_index(config, "sp"))
    found = client.get_collection("docs", embedding_function=None).schema
    index = found.keys["sp"].sparse_vector.sparse_vector_index
    assert (index.enabled, index.config.bm25) == (True, True)


# -- sparse vectors of documents -----------------------------------------------------------------


@pytest.fixture
def lengths(lib: Any) -> Any:
    """A sparse embedding function: a text becomes its length."""
    functions = importlib.import_module(f"{lib.__name__}.utils.embedding_functions")

    @functions.register_sparse_embedding_function
    class Lengths(lib.SparseEmbeddingFunction[Any]):  # type: ignore[misc, name-defined]
        calls: ClassVar[list[list[str]]] = []

        # Abstract in Chroma's base class.
        def __init__(self) -> None:
            pass

        def __call__(self, input: Any) -> Any:
            type(self).calls.append(list(input))
            return [lib.SparseVector([len(text)], [1.0]) for text in input]

        @staticmethod
        def name() -> str:
            return "contract_lengths"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: Any) -> Any:
            return Lengths()

    return Lengths


@pytest.fixture
def of_texts(create: Any, lib: Any, lengths: Any) -> Any:
    config = lib.SparseVectorIndexConfig(source_key=lib.K.DOCUMENT, embedding_function=lengths())
    of_title = lib.SparseVectorIndexConfig(source_key="title", embedding_function=lengths())
    schema = lib.Schema().create_index(config, "sp")
    if lib.__name__ != "chromadb":
        schema.create_index(of_title, "of title")
    return create("texts", schema=schema)


def sparse(collection: Any, key: str = "sp") -> list[Any]:
    """Return for each record: the index of its sparse vector, or "none" where it has none."""
    found = [(metadata or {}).get(key) for metadata in collection.get()["metadatas"]]
    return ["none" if vector is None else vector.indices for vector in found]


NO_SPARSE = pytest.mark.quirk("Chroma's local stores have no sparse vectors", by="server")


@NO_SPARSE
def test_documents_are_made_into_sparse_vectors(of_texts: Any, lib: Any, lengths: Any) -> None:
    own = lib.SparseVector([99], [1.0])
    metadatas = [{"sp": own}, {"k": 1}, None, {"sp": None, "k": 2}, {"k": 3}]
    before = [None if one is None else dict(one) for one in metadatas]
    of_texts.add(
        ids=list("abcde"),
        embeddings=[[1.0, 0.0]] * 5,
        documents=["xx", "yyy", "", "z", None],
        metadatas=metadatas,
    )
    assert sparse(of_texts) == [[99], [3], [0], "none", "none"]
    assert [one and one.get("k") for one in of_texts.get()["metadatas"]] == [None, 1, None, 2, 3]
    # What is the caller's stays so, and the texts are embedded in one call.
    assert metadatas == before
    assert lengths.calls == [["yyy", ""]]


@NO_SPARSE
def test_documents_without_metadata(of_texts: Any) -> None:
    of_texts.add(ids=["a", "b"], embeddings=VECTORS, documents=["xx", "yyy"])
    of_texts.add(ids=["c"], embeddings=VECTORS[:1], metadatas=[{"k": 1}])
    of_texts.add(ids=["d"], embeddings=VECTORS[:1])
    assert sparse(of_texts) == [[2], [3], "none", "none"]


@NO_SPARSE
def test_a_document_that_changes_is_made_into_a_new_vector(of_texts: Any, lengths: Any) -> None:
    of_texts.add(ids=["a", "b"], embeddings=VECTORS, documents=["xx", "yyy"])
    of_texts.update(ids=["a"], documents=["xxxx"], embeddings=VECTORS[:1])
    of_texts.upsert(ids=["b", "c"], documents=["y", "zzzzz"], embeddings=VECTORS)
    assert sparse(of_texts) == [[4], [1], [5]]
    n_calls = len(lengths.calls)
    of_texts.update(ids=["a"], metadatas=[{"k": 1}])
    of_texts.update(ids=["b"], embeddings=VECTORS[:1])
    assert sparse(of_texts) == [[4], [1], [5]]
    assert len(lengths.calls) == n_calls


@NO_SPARSE
def test_another_client_makes_them_as_well(client: Any, of_texts: Any) -> None:
    found = client.get_collection("texts", embedding_function=None)
    found.add(ids=["a"], embeddings=VECTORS[:1], documents=["xx"])
    assert sparse(of_texts) == [[2]]


@NO_SPARSE
@pytest.mark.quirk("1.5.9 has one sparse index in a collection", by="client")
def test_vectors_of_a_metadata_field(of_texts: Any) -> None:
    of_texts.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.0]] * 3,
        metadatas=[{"title": "abc"}, {"title": 7}, {"k": 1}],
    )
    assert sparse(of_texts, "of title") == [[3], "none", "none"]
    of_texts.update(ids=["a", "c"], metadatas=[{"title": "ab"}, {"title": "abcd"}])
    assert sparse(of_texts, "of title") == [[2], "none", [4]]
    assert sparse(of_texts) == ["none"] * 3


@NO_SPARSE
@pytest.mark.beyond_chroma("a vector that goes with its text")
def test_a_vector_goes_with_the_text_that_it_was_made_of(of_texts: Any, lib: Any) -> None:
    metadatas = [{"title": "abc", "k": one} for one in range(5)]
    of_texts.add(ids=list("abcde"), embeddings=[[1.0, 0.0]] * 5, metadatas=metadatas)
    own = lib.SparseVector([99], [1.0])
    of_texts.update(
        ids=list("abcd"),
        metadatas=[{"title": None}, {"title": 7}, {"title": None, "of title": own}, {"k": 9}],
    )
    assert sparse(of_texts, "of title") == ["none", "none", [99], [3], [3]]
    assert [one["k"] for one in of_texts.get()["metadatas"]] == [0, 1, 2, 9, 4]
    of_texts.upsert(ids=["e", "f"], embeddings=VECTORS, metadatas=[{"title": None}, {"title": 5}])
    assert sparse(of_texts, "of title")[4:] == ["none", "none"]
    found = of_texts.search(lib.Search(rank=lib.Knn("abc", key="of title")))
    assert found["ids"] == [["d"]]
    # An update takes no document away, and so no vector of one.
    of_texts.update(ids=["d"], documents=["xx"], embeddings=VECTORS[:1])
    of_texts.update(ids=["d", "e"], documents=[None, "y"], embeddings=VECTORS)
    assert sparse(of_texts)[3:5] == [[2], [1]]


@NO_SPARSE
def test_a_function_that_returns_too_few(of_texts: Any, lengths: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(lengths, "__call__", lambda self, input: [])
    with pytest.raises(ValueError, match=r"(?i)sparse"):
        of_texts.add(ids=["a", "b"], embeddings=VECTORS, documents=["xx", "yyy"])
    assert of_texts.count() == 0


# -- copies --------------------------------------------------------------------------------------


@pytest.mark.beyond_chroma("copy_to")
def test_a_schema_is_copied_to_any_store(client: Any, lib: Any, off: Any, tmp_path: Any) -> None:
    hnsw = lib.HnswIndexConfig(ef_search=33)
    config = lib.VectorIndexConfig(space="cosine", hnsw=hnsw, embedding_function=None)
    with lib.connect(tmp_path / "source") as source:
        docs = source.create_collection("docs", schema=off.create_index(config))
        docs.add(ids=["a"], embeddings=VECTORS[:1], metadatas=[{"s": "x", "i": 1}])
        source.copy_to(client)
        copy = client.get_collection("docs")
        assert keys(copy) == {"#document", "#embedding", "s", "i"}
        assert (vector(copy)["space"], vector(copy)["hnsw"]["ef_search"]) == ("cosine", 33)
        with pytest.raises(lib.errors.InvalidArgumentError, match="indexing is disabled"):
            copy.get(where={"s": "x"})
        # And back.
        source.delete_collection("docs")
        client.copy_to(source)
        again = source.get_collection("docs")
        assert again.schema.serialize_to_json()["keys"] == copy.schema.serialize_to_json()["keys"]
        assert again.configuration_json["hnsw"] == copy.configuration_json["hnsw"]
        assert again.get(where={"i": 1})["metadatas"] == [{"s": "x", "i": 1}]
