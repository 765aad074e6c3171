"""Configuration of a collection: section 8 of the contract."""

from __future__ import annotations

from typing import Any

import pytest

DEFAULTS = {
    "space": "l2",
    "ef_construction": 100,
    "ef_search": 100,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}


def hnsw(collection: Any) -> dict[str, Any]:
    return collection.configuration_json["hnsw"]


# -- create --------------------------------------------------------------------------------------


def test_defaults(create: Any) -> None:
    collection = create()
    assert {key: hnsw(collection)[key] for key in DEFAULTS} == DEFAULTS
    assert collection.configuration_json["spann"] is None
    assert {key: collection.configuration["hnsw"][key] for key in DEFAULTS} == DEFAULTS


@pytest.mark.usefixtures("legacy_warnings")
@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_space(client: Any, create: Any, space: str) -> None:
    collection = create("docs", configuration={"hnsw": {"space": space}})
    for handle in (collection, client.get_collection("docs")):
        assert hnsw(handle) == {**DEFAULTS, "space": space}
    # LangChain reads it this way
    assert (collection.configuration.get("hnsw") or {}).get("space") == space
    assert collection.metadata is None


def test_everything(client: Any, create: Any) -> None:
    create(
        "docs",
        configuration={
            "hnsw": {
                "space": "cosine",
                "ef_construction": 50,
                "max_neighbors": 8,
                "ef_search": 20,
                "num_threads": 1,
                "batch_size": 10,
                "sync_threshold": 20,
                "resize_factor": 1.3,
            }
        },
    )
    found = hnsw(client.get_collection("docs", embedding_function=None))
    assert {key: found[key] for key in DEFAULTS} == {
        "space": "cosine",
        "ef_construction": 50,
        "ef_search": 20,
        "max_neighbors": 8,
        "resize_factor": 1.3,
        "sync_threshold": 20,
    }


def test_the_callers_configuration_is_left_alone(create: Any) -> None:
    configuration = {"hnsw": {"space": "ip"}}
    create(configuration=configuration)
    assert configuration == {"hnsw": {"space": "ip"}}


def test_the_configuration_is_a_copy(client: Any, create: Any) -> None:
    create("docs").configuration_json["hnsw"]["space"] = "cosine"
    assert hnsw(client.get_collection("docs"))["space"] == "l2"


@pytest.mark.filterwarnings("ignore:spann is for Chroma's cloud")
def test_spann_becomes_hnsw_of_the_same_space(create: Any) -> None:
    collection = create(configuration={"spann": {"space": "cosine", "search_nprobe": 8}})
    assert hnsw(collection)["space"] == "cosine"
    assert collection.configuration_json["spann"] is None


def test_hnsw_and_spann_together(client: Any, create: Any) -> None:
    with pytest.raises(ValueError, match="hnsw and spann cannot both be provided"):
        create(configuration={"hnsw": {"space": "l2"}, "spann": {"space": "l2"}})
    assert client.count_collections() == 0


@pytest.mark.parametrize(
    "configuration",
    [
        {"hnsw": {"space": "manhattan"}},
        {"hnsw": {"spce": "cosine"}},
        {"hnsw": {"ef_search": "many"}},
        {"spann": {"space": "manhattan"}},
    ],
    ids=str,
)
def test_bad_configuration(client: Any, errors: Any, create: Any, configuration: Any) -> None:
    with pytest.raises((errors.InvalidArgumentError, ValueError, TypeError)):
        create(configuration=configuration)
    assert client.count_collections() == 0


# -- the legacy form -----------------------------------------------------------------------------

LEGACY = {
    "hnsw:space": "ip",
    "hnsw:construction_ef": 33,
    "hnsw:M": 8,
    "hnsw:search_ef": 44,
    "hnsw:num_threads": 1,
    "hnsw:batch_size": 50,
    "hnsw:sync_threshold": 500,
    "hnsw:resize_factor": 1.5,
}


def test_legacy_metadata_is_honoured_and_kept(client: Any, create: Any) -> None:
    create("docs", metadata={**LEGACY, "topic": "x"})
    collection = client.get_collection("docs", embedding_function=None)
    found = hnsw(collection)
    assert {key: found[key] for key in DEFAULTS} == {
        "space": "ip",
        "ef_construction": 33,
        "ef_search": 44,
        "max_neighbors": 8,
        "resize_factor": 1.5,
        "sync_threshold": 500,
    }
    assert collection.metadata == {**LEGACY, "topic": "x"}
    collection.add(ids="a", embeddings=[1.0, 2.0])
    assert collection.query(query_embeddings=[2.0, 1.0])["distances"] == [[-3.0]]


def test_explicit_configuration_beats_metadata(create: Any) -> None:
    collection = create(metadata={"hnsw:space": "ip"}, configuration={"hnsw": {"space": "cosine"}})
    assert hnsw(collection)["space"] == "cosine"
    assert collection.metadata == {"hnsw:space": "ip"}


def test_a_bad_space_in_metadata(client: Any, errors: Any, create: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="Failed to parse hnsw parameters from"):
        create(metadata={"hnsw:space": "manhattan"})
    assert client.count_collections() == 0


# -- the space of an embedding function ----------------------------------------------------------


def test_the_functions_space_is_the_default(client: Any, toys: Any) -> None:
    make = client.create_collection
    assert hnsw(make("one", embedding_function=toys.OnlyCosine()))["space"] == "cosine"
    partly = make(
        "two", embedding_function=toys.OnlyCosine(), configuration={"hnsw": {"ef_search": 5}}
    )
    assert (hnsw(partly)["space"], hnsw(partly)["ef_search"]) == ("cosine", 5)
    assert hnsw(make("three", embedding_function=toys.Toy()))["space"] == "l2"


@pytest.mark.parametrize(
    "options",
    [{"configuration": {"hnsw": {"space": "l2"}}}, {"metadata": {"hnsw:space": "l2"}}],
    ids=["configuration", "metadata"],
)
def test_an_unsupported_space_warns(client: Any, toys: Any, options: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="pace l2 is not supported by contract_only_cosine"):
        collection = client.create_collection(
            "docs", embedding_function=toys.OnlyCosine(), **options
        )
    assert hnsw(collection)["space"] == "l2"


# -- modify --------------------------------------------------------------------------------------

CHANGES = {
    "ef_search": 50,
    "num_threads": 2,
    "batch_size": 7,
    "sync_threshold": 99,
    "resize_factor": 1.1,
}


@pytest.mark.usefixtures("legacy_warnings")
def test_modify(client: Any, create: Any) -> None:
    collection = create("docs", configuration={"hnsw": {"space": "cosine"}})
    assert collection.modify(configuration={"hnsw": dict(CHANGES)}) is None
    for handle in (collection, client.get_collection("docs")):
        found = hnsw(handle)
        assert (found["ef_search"], found["sync_threshold"]) == (50, 99)
        assert (found["resize_factor"], found["space"]) == (1.1, "cosine")


@pytest.mark.usefixtures("legacy_warnings")
@pytest.mark.parametrize("name", CHANGES)
def test_modify_leaves_the_rest(create: Any, name: str) -> None:
    collection = create(configuration={"hnsw": {"space": "cosine", "ef_search": 21}})
    collection.modify(configuration={"hnsw": {name: CHANGES[name]}})
    found = {key: hnsw(collection)[key] for key in DEFAULTS}
    expected = {**DEFAULTS, "space": "cosine", "ef_search": 21}
    if name in DEFAULTS:  # the others are accepted and not echoed
        expected[name] = CHANGES[name]
    assert found == expected


@pytest.mark.usefixtures("legacy_warnings")
@pytest.mark.parametrize(
    "change",
    [
        {"hnsw": {"space": "l2"}},
        {"hnsw": {"ef_construction": 7}},
        {"hnsw": {"nope": 7}},
        {"hnsw": {"ef_search": 7}, "spann": {"ef_search": 7}},
    ],
    ids=str,
)
def test_what_cannot_be_modified(client: Any, refused: Any, create: Any, change: Any) -> None:
    collection = create("docs", configuration={"hnsw": {"space": "cosine"}})
    with pytest.raises(refused):
        collection.modify(configuration=change)
    for handle in (collection, client.get_collection("docs")):
        assert {key: hnsw(handle)[key] for key in DEFAULTS} == {**DEFAULTS, "space": "cosine"}


@pytest.mark.usefixtures("legacy_warnings")
def test_a_spann_change_on_hnsw(create: Any, refused: Any) -> None:
    collection = create(configuration={"hnsw": {"space": "cosine"}})
    with pytest.raises(refused, match="Trying to update SPANN config but schema has HNSW"):
        collection.modify(configuration={"spann": {"search_nprobe": 7}})


@pytest.mark.usefixtures("legacy_warnings")
def test_modify_survives_reopening(persistent_store: Any) -> None:
    with persistent_store.open() as client:
        collection = client.create_collection(
            "docs", embedding_function=None, configuration={"hnsw": {"space": "ip"}}
        )
        collection.modify("renamed", {"z": 1}, {"hnsw": {"ef_search": 77}})
    with persistent_store.open() as client:
        again = client.get_collection("renamed", embedding_function=None)
        assert again.metadata == {"z": 1}
        assert (hnsw(again)["ef_search"], hnsw(again)["space"]) == (77, "ip")
