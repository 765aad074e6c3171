"""Embedding functions: what is stored, which one embeds, what conflicts; section 9.

The functions live in conftest.py (`toys`). No model is ever loaded here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

TOY = {"type": "known", "name": "contract_toy", "config": {"scale": 2.0}}


def stored(collection: Any) -> Any:
    return collection.configuration_json["embedding_function"]


def vectors(collection: Any) -> Any:
    return collection.get(include=["embeddings"])["embeddings"].tolist()


# -- the protocol --------------------------------------------------------------------------------


def test_defaults_of_the_base_class(toys: Any) -> None:
    toy = toys.Toy()
    assert toy.default_space() == "l2"
    assert set(toy.supported_spaces()) == {"l2", "cosine", "ip"}
    assert toy.is_legacy() is False
    assert toy.validate_config_update({}, {}) is None
    assert toy.validate_config({}) is None
    assert [e.tolist() for e in toy.embed_query(["abc"])] == [[3.0, 1.0]]


def test_results_become_float32_arrays(toys: Any) -> None:
    """Subclasses return lists; callers of the function get validated arrays."""
    result = toys.Toy()(["abc", "xaa"])
    assert [type(e) for e in result] == [np.ndarray, np.ndarray]
    assert [e.dtype for e in result] == [np.float32, np.float32]
    assert [e.tolist() for e in result] == [[3.0, 1.0], [3.0, 2.0]]


def test_a_function_that_returns_nonsense(lib: Any, client: Any) -> None:
    class Nonsense(lib.EmbeddingFunction):
        def __init__(self) -> None: ...

        def __call__(self, input: Any) -> Any:
            return ["x" for _ in input]

        @staticmethod
        def name() -> str:
            return "contract_nonsense"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Nonsense()

    collection = client.create_collection("docs", embedding_function=Nonsense())
    with pytest.raises(ValueError, match="Expected embeddings to be a list of floats or ints"):
        collection.add(ids="a", documents="x")
    assert collection.count() == 0


def test_a_function_that_returns_too_few(lib: Any, client: Any) -> None:
    class Short(lib.EmbeddingFunction):
        def __init__(self) -> None: ...

        def __call__(self, input: Any) -> Any:
            return [[1.0, 2.0]]

        @staticmethod
        def name() -> str:
            return "contract_short"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Short()

    collection = client.create_collection("docs", embedding_function=Short())
    with pytest.raises(Exception):  # noqa: B017, PT011 - chromadb: whatever its engine says
        collection.add(ids=["a", "b"], documents=["x", "y"])
    assert collection.count() == 0


@pytest.mark.usefixtures("legacy_warnings")
def test_the_signature_is_checked(client: Any, toys: Any) -> None:
    with pytest.raises(ValueError, match=r"Expected EmbeddingFunction.__call__ to have the follow"):
        client.create_collection("docs", embedding_function=toys.WrongSignature())


@pytest.mark.beyond_chroma("a class is needed; advice: a function is one, too")
@pytest.mark.usefixtures("legacy_warnings")
def test_a_function_of_texts_is_an_embedding_function(client: Any) -> None:
    notes = client.create_collection(
        "docs", embedding_function=lambda texts: [[float(len(text)), 1.0] for text in texts]
    )
    notes.add(ids=["a", "b"], documents=["x", "xxx"])
    assert notes.query(query_texts="xxxx", n_results=1)["ids"] == [["b"]]


@pytest.mark.quirk(
    "the collection is made before its function is checked; advice: check first", by="client"
)
@pytest.mark.usefixtures("legacy_warnings")
def test_a_wrong_signature_creates_nothing(client: Any, toys: Any) -> None:
    with pytest.raises(ValueError, match="Expected EmbeddingFunction"):
        client.create_collection("docs", embedding_function=toys.WrongSignature())
    assert client.count_collections() == 0


# -- what is stored ------------------------------------------------------------------------------


def test_a_known_function_is_stored_by_name_and_config(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Toy(2.0))
    for handle in (collection, client.get_collection("docs")):
        assert stored(handle) == TOY
        built = handle.configuration["embedding_function"]
        assert isinstance(built, toys.Toy)
        assert built.scale == 2.0


def test_a_function_in_the_configuration(client: Any, toys: Any) -> None:
    collection = client.create_collection(
        "docs", configuration={"embedding_function": toys.Toy(2.0)}
    )
    assert stored(collection) == TOY
    collection.add(ids="a", documents="aa")
    assert vectors(collection) == [[4.0, 4.0]]


def test_creating_registers_the_class(lib: Any, client: Any, toys: Any) -> None:
    del toys.functions.known_embedding_functions["contract_toy"]
    client.create_collection("docs", embedding_function=toys.Toy(2.0))
    client.get_collection("docs").add(ids="a", documents="aa")
    assert vectors(client.get_collection("docs")) == [[4.0, 4.0]]


def test_a_plain_class_is_stored_as_legacy(client: Any, toys: Any) -> None:
    with pytest.warns(DeprecationWarning, match="Plain"):
        collection = client.create_collection("docs", embedding_function=toys.Plain())
    assert stored(collection) == {"type": "legacy"}
    collection.add(ids="a", documents="abc")
    assert vectors(collection) == [[3.0, 1.0]]


@pytest.mark.quirk(
    "AttributeError: no attribute 'embed_query'; advice: it is optional, call instead", by="client"
)
@pytest.mark.usefixtures("legacy_warnings")
def test_a_plain_class_embeds_queries(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Plain())
    collection.add(ids="a", documents="abc")
    assert collection.query(query_texts="abc")["distances"] == [[0.0]]


@pytest.mark.usefixtures("legacy_warnings")
def test_no_function(client: Any) -> None:
    assert stored(client.create_collection("one", embedding_function=None)) is None
    two = client.create_collection(
        "two", embedding_function=None, configuration={"hnsw": {"space": "ip"}}
    )
    assert stored(two) == {"type": "legacy"}
    assert two.configuration["embedding_function"] is None


def test_nothing_given_is_the_default(client: Any) -> None:
    collection = client.create_collection("docs")
    assert stored(collection)["name"] == "default"
    assert stored(collection)["type"] == "known"
    assert stored(client.get_or_create_collection("docs"))["name"] == "default"


def test_stored_functions_survive_reopening(persistent_store: Any, toys: Any) -> None:
    with persistent_store.open() as client:
        collection = client.create_collection("docs", embedding_function=toys.Toy(2.0))
        collection.add(ids="a", documents="aa")
    with persistent_store.open() as client:
        again = client.get_collection("docs")
        assert stored(again) == TOY
        again.add(ids="b", documents="xxx")
        assert vectors(again) == [[4.0, 4.0], [6.0, 0.0]]


# -- which one embeds ----------------------------------------------------------------------------


def test_add_update_upsert_query_embed(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Toy())
    collection.add(ids=["a", "b"], documents=["aaa", "xx"])
    assert vectors(collection) == [[3.0, 3.0], [2.0, 0.0]]
    collection.update(ids="a", documents="ya")
    assert vectors(collection) == [[2.0, 1.0], [2.0, 0.0]]
    collection.upsert(ids=["b", "c"], documents=["a", "bbbb"])
    assert vectors(collection) == [[2.0, 1.0], [1.0, 1.0], [4.0, 0.0]]
    found = collection.query(query_texts=["bbbb", "a"], n_results=1)
    assert found["ids"] == [["c"], ["b"]]
    assert found["distances"] == [[0.0], [0.0]]
    assert toys.Toy.calls[:3] == [["aaa", "xx"], ["ya"], ["a", "bbbb"]]


def test_given_embeddings_win_over_documents(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Toy())
    collection.add(ids=["a", "b"], embeddings=[[9.0, 9.0], [8.0, 8.0]], documents=["aaa", None])
    collection.update(ids="a", embeddings=[7.0, 7.0], documents="zz")
    assert vectors(collection) == [[7.0, 7.0], [8.0, 8.0]]
    found = collection.query(query_embeddings=[8.0, 8.0], query_texts="zz", n_results=1)
    assert found["ids"] == [["b"]]
    assert toys.Toy.calls == []


def test_an_update_without_documents_embeds_nothing(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Toy())
    collection.add(ids="a", documents="aaa")
    toys.Toy.calls.clear()
    collection.update(ids="a", metadatas={"k": 1})
    assert toys.Toy.calls == []
    assert vectors(collection) == [[3.0, 3.0]]


def test_the_persisted_function_is_used_by_a_bare_handle(client: Any, toys: Any) -> None:
    client.create_collection("docs", embedding_function=toys.Toy(2.0))
    for handle in (
        client.get_collection("docs"),
        client.get_collection("docs", embedding_function=None),
        client.get_or_create_collection("docs"),
        next(c for c in client.list_collections() if c.name == "docs"),
        client.get_collection_by_id(client.get_collection("docs").id),
    ):
        handle.upsert(ids="a", documents="aa")
        assert vectors(handle) == [[4.0, 4.0]]
        assert handle.query(query_texts="aa")["distances"] == [[0.0]]


def test_the_handles_own_function_comes_first(client: Any, toys: Any) -> None:
    """Same name, other config on get: the handle uses the new one, the stored config stays."""
    client.create_collection("docs", embedding_function=toys.Toy(2.0))
    handle = client.get_collection("docs", embedding_function=toys.Toy(3.0))
    handle.add(ids="a", documents="aa")
    assert vectors(handle) == [[6.0, 6.0]]
    assert stored(handle) == TOY
    assert stored(client.get_collection("docs")) == TOY


def test_queries_use_embed_query(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Asymmetric())
    collection.add(ids="a", documents="aa")
    assert vectors(collection) == [[2.0, 2.0]]
    assert collection.query(query_texts="aa")["distances"] == [[2 * 98.0**2]]
    bare = client.get_collection("docs")
    assert bare.query(query_texts="aa")["distances"] == [[2 * 98.0**2]]


@pytest.mark.usefixtures("legacy_warnings")
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c: c.add(ids="a", documents="x"), id="add"),
        pytest.param(lambda c: c.upsert(ids="a", documents="x"), id="upsert"),
        pytest.param(lambda c: c.update(ids="a", documents="x"), id="update"),
        pytest.param(lambda c: c.query(query_texts="x"), id="query"),
    ],
)
def test_without_a_function_there_is_one_clear_error(legacy: Any, call: Any) -> None:
    with pytest.raises(ValueError, match="You must provide an embedding function to compute"):
        call(legacy)
    assert legacy.count() == 0


@pytest.mark.quirk(
    "falls back to the default model and downloads it; advice: the same clear error", by="both"
)
def test_none_means_none(create: Any) -> None:
    with pytest.raises(ValueError, match="You must provide an embedding function to compute"):
        create(embedding_function=None).add(ids="a", documents="x")


@pytest.mark.usefixtures("legacy_warnings")
def test_a_function_for_a_collection_without_one(client: Any, legacy: Any, toys: Any) -> None:
    handle = client.get_collection("legacy", embedding_function=toys.Toy())
    handle.add(ids="a", documents="aa")
    assert vectors(handle) == [[2.0, 2.0]]
    assert stored(client.get_collection("legacy")) == {"type": "legacy"}


def test_a_function_for_a_collection_made_with_none(client: Any, create: Any, toys: Any) -> None:
    create("docs")
    handle = client.get_collection("docs", embedding_function=toys.Toy())
    handle.add(ids="a", documents="aa")
    assert vectors(handle) == [[2.0, 2.0]]


@pytest.mark.quirk(
    "AttributeError: 'Plain' object has no attribute 'name'; a plain class is fine", by="client"
)
@pytest.mark.usefixtures("legacy_warnings")
def test_a_plain_class_reopens_its_collection(client: Any, toys: Any) -> None:
    client.create_collection("docs", embedding_function=toys.Plain())
    for handle in (
        client.get_collection("docs", embedding_function=toys.Plain()),
        client.get_or_create_collection("docs", embedding_function=toys.Plain()),
    ):
        handle.upsert(ids="a", documents="abc")
        assert vectors(handle) == [[3.0, 1.0]]


# -- functions that cannot be built --------------------------------------------------------------


def test_an_unknown_name_is_an_error_only_when_needed(client: Any, toys: Any) -> None:
    client.create_collection("docs", embedding_function=toys.Toy()).add(ids="a", documents="aa")
    del toys.functions.known_embedding_functions["contract_toy"]
    handle = client.get_collection("docs")
    assert handle.count() == 1
    assert handle.get()["documents"] == ["aa"]
    assert handle.query(query_embeddings=[2.0, 2.0])["ids"] == [["a"]]
    assert [c.name for c in client.list_collections()] == ["docs"]
    message = (
        "Embedding function contract_toy not found. Add @register_embedding_function decorator"
    )
    with pytest.raises(ValueError, match=message):
        handle.query(query_texts="aa")
    with pytest.raises(ValueError, match=message):
        handle.add(ids="b", documents="b")
    # who brings the function can go on
    own = client.get_collection("docs", embedding_function=toys.Toy())
    assert own.query(query_texts="aa")["distances"] == [[0.0]]


def test_a_config_that_cannot_be_built(client: Any, toys: Any) -> None:
    client.create_collection("docs", embedding_function=toys.Toy())

    class Broken(toys.Toy):  # type: ignore[name-defined, misc]
        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            raise RuntimeError("no key")

    toys.functions.known_embedding_functions["contract_toy"] = Broken
    handle = client.get_collection("docs")
    assert handle.count() == 0
    message = "Could not build embedding function contract_toy from config .*no key"
    with pytest.raises(ValueError, match=message):
        handle.add(ids="a", documents="x")


@pytest.mark.quirk("the configuration cannot be read; advice: show what is recorded", by="client")
def test_a_function_that_is_not_known_is_shown_as_recorded(client: Any, toys: Any) -> None:
    client.create_collection("docs", embedding_function=toys.Toy(2.0))
    del toys.functions.known_embedding_functions["contract_toy"]
    handle = client.get_collection("docs")
    recorded = {"type": "known", "name": "contract_toy", "config": {"scale": 2.0}}
    assert handle.configuration["embedding_function"] == recorded
    assert handle.configuration["hnsw"]["space"] == "l2"
    assert handle.get_model()["configuration_json"]["embedding_function"] == recorded


# -- conflicts -----------------------------------------------------------------------------------


def test_two_functions_at_creation(client: Any, toys: Any) -> None:
    message = (
        "Multiple embedding functions provided. Please provide only one. Embedding function "
        "conflict: contract_toy vs contract_other_toy"
    )
    with pytest.raises(ValueError, match=message):
        client.create_collection(
            "docs",
            embedding_function=toys.Toy(),
            configuration={"embedding_function": toys.OtherToy()},
        )
    assert client.count_collections() == 0


def test_one_function_given_twice_at_creation(client: Any, toys: Any) -> None:
    collection = client.create_collection(
        "docs",
        embedding_function=toys.Toy(1.0),
        configuration={"embedding_function": toys.Toy(2.0)},
    )
    assert stored(collection) == TOY


def test_another_function_on_get(client: Any, toys: Any) -> None:
    known = client.create_collection("docs", embedding_function=toys.Toy(2.0))
    message = (
        "An embedding function already exists in the collection configuration, and a new one is "
        "provided. If this is intentional, please embed documents separately. Embedding function "
        "conflict: new: contract_other_toy vs persisted: contract_toy"
    )
    other = toys.OtherToy()
    with pytest.raises(ValueError, match=message):
        client.get_collection("docs", embedding_function=other)
    with pytest.raises(ValueError, match=message):
        client.get_or_create_collection("docs", embedding_function=other)
    with pytest.raises(ValueError, match=message):
        client.get_collection_by_id(known.id, embedding_function=other)
    assert stored(client.get_collection("docs")) == TOY


def test_a_collection_of_the_default_model_refuses_another(client: Any, toys: Any) -> None:
    client.create_collection("docs")
    with pytest.raises(ValueError, match="new: contract_toy vs persisted: default"):
        client.get_collection("docs", embedding_function=toys.Toy())


def test_the_default_never_conflicts(lib: Any, client: Any, toys: Any) -> None:
    default = toys.functions.DefaultEmbeddingFunction()
    assert default.name() == "default"
    client.create_collection("docs", embedding_function=toys.Toy(2.0))
    handle = client.get_collection("docs", embedding_function=default)
    handle.add(ids="a", documents="aa")
    assert vectors(handle) == [[4.0, 4.0]]


def test_modify_the_function(client: Any, toys: Any) -> None:
    collection = client.create_collection("docs", embedding_function=toys.Toy(1.0))
    message = r"Cannot update embedding function: incompatible types \(contract_toy vs contract_oth"
    with pytest.raises(ValueError, match=message):
        collection.modify(configuration={"embedding_function": toys.OtherToy()})
    collection.modify(configuration={"embedding_function": toys.Toy(2.0)})
    assert stored(collection) == TOY
    bare = client.get_collection("docs")
    assert stored(bare) == TOY
    bare.add(ids="a", documents="aa")
    assert vectors(bare) == [[4.0, 4.0]]


def refused_change(client: Any, toys: Any) -> Any:
    """Modify a collection to a config that validate_config_update refuses."""

    class Strict(toys.Toy):  # type: ignore[name-defined, misc]
        def validate_config_update(self, old: dict[str, Any], new: dict[str, Any]) -> None:
            if old != new:
                raise ValueError("the scale stays")

        @staticmethod
        def name() -> str:
            return "contract_strict"

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Strict(config["scale"])

    collection = client.create_collection("docs", embedding_function=Strict(1.0))
    with pytest.raises(ValueError, match="the scale stays"):
        collection.modify(configuration={"embedding_function": Strict(2.0)})
    return collection


def test_modify_asks_the_function(client: Any, toys: Any) -> None:
    refused_change(client, toys)


@pytest.mark.quirk("asks after the store has written the change; advice: ask first", by="client")
def test_a_refused_change_is_not_stored(client: Any, toys: Any) -> None:
    collection = refused_change(client, toys)
    assert stored(collection)["config"] == {"scale": 1.0}
    assert stored(client.get_collection("docs"))["config"] == {"scale": 1.0}


# -- images and uris -----------------------------------------------------------------------------


def test_images_are_embedded(lib: Any, client: Any) -> None:
    class Brightness(lib.EmbeddingFunction):
        def __init__(self) -> None: ...

        def __call__(self, input: Any) -> Any:
            return [[float(np.mean(image)), 1.0] for image in input]

        @staticmethod
        def name() -> str:
            return "contract_brightness"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Brightness()

    collection = client.create_collection("docs", embedding_function=Brightness())
    dark, light = np.zeros((2, 2)), np.ones((2, 2))
    collection.add(ids=["d", "l"], images=[dark, light])
    assert vectors(collection) == [[0.0, 1.0], [1.0, 1.0]]
    assert collection.query(query_images=[light], n_results=1)["ids"] == [["l"]]
    collection.update(ids="d", images=[light])
    assert vectors(collection) == [[1.0, 1.0], [1.0, 1.0]]

    class Loader:
        def __call__(self, uris: Any) -> list[Any]:
            return [np.full((2, 2), float(uri)) for uri in uris]

    by_uri = client.get_collection("docs", Brightness(), Loader())
    by_uri.add(ids="u", uris=["5"])
    assert by_uri.query(query_uris=["5"], n_results=1, include=["uris"])["uris"] == [["5"]]
    with pytest.raises(ValueError, match="You must set a data loader on the collection if loading"):
        collection.add(ids="v", uris=["6"])
