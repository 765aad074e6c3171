"""Collection as an object: section 4 of the contract without the records themselves."""

from __future__ import annotations

import inspect
import uuid
from typing import Any

import pytest

INSERT = "ids embeddings metadatas documents images uris"
POSITIONS = {
    "count": "read_level",
    "add": INSERT,
    "upsert": INSERT,
    "update": INSERT,
    "get": "ids where limit offset where_document include",
    "peek": "limit",
    "query": (
        "query_embeddings query_texts query_images query_uris ids n_results where where_document "
        "include"
    ),
    "delete": "ids where where_document limit",
    "modify": "name metadata configuration",
    "fork": "new_name",
    "search": "searches read_level",
}
DEFAULTS = {
    "get": {"include": ["metadatas", "documents"], "ids": None, "limit": None, "offset": None},
    "peek": {"limit": 10},
    "query": {"n_results": 10, "include": ["metadatas", "documents", "distances"]},
}


@pytest.mark.parametrize("method", POSITIONS)
def test_positions_of_arguments(lib: Any, method: str) -> None:
    expected = POSITIONS[method].split()
    parameters = list(inspect.signature(getattr(lib.Collection, method)).parameters.values())
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert names[1 : len(expected) + 1] == expected


@pytest.mark.parametrize("method", POSITIONS)
def test_anything_after_chromas_arguments_is_optional(lib: Any, method: str) -> None:
    expected = POSITIONS[method].split()
    required = [
        p.name
        for p in inspect.signature(getattr(lib.Collection, method)).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    assert set(required) <= {"self", *expected}


@pytest.mark.parametrize("method", DEFAULTS)
def test_defaults(lib: Any, method: str) -> None:
    parameters = inspect.signature(getattr(lib.Collection, method)).parameters
    for name, value in DEFAULTS[method].items():
        default = parameters[name].default
        assert (list(default) if isinstance(value, list) else default) == value


def test_positional_calls(create: Any) -> None:
    notes = create()
    notes.add(["a", "b"], [[1.0, 0.0], [0.0, 1.0]], [{"k": 1}, {"k": 2}], ["x", "y"])
    notes.upsert(["a"], [[2.0, 0.0]], [{"k": 3}], ["z"])
    notes.update(["b"], None, [{"k": 4}])
    assert notes.get(["a", "b"], {"k": 3}, 1, 0, {"$contains": "z"}, ["documents"]) == {
        "ids": ["a"],
        "embeddings": None,
        "documents": ["z"],
        "uris": None,
        "included": ["documents"],
        "data": None,
        "metadatas": None,
    }
    assert notes.peek(1)["ids"] == ["a"]
    found = notes.query(
        [[0.0, 1.0]], None, None, None, ["a", "b"], 1, {"k": 4}, None, ["metadatas"]
    )
    assert found["metadatas"] == [[{"k": 4}]]
    notes.delete(["b"], None, None)
    assert notes.get()["ids"] == ["a"]
    notes.modify("renamed", {"m": 1})
    assert (notes.name, notes.metadata) == ("renamed", {"m": 1})


# -- attributes ----------------------------------------------------------------------------------


def test_attributes(client: Any, create: Any) -> None:
    notes = create("notes", metadata={"topic": "x"})
    assert isinstance(notes.id, uuid.UUID)
    assert notes.name == "notes"
    assert notes.metadata == {"topic": "x"}
    assert (notes.tenant, notes.database) == (client.tenant, client.database)
    assert notes.configuration["hnsw"]["space"] == "l2"
    assert notes.configuration.get("spann") is None
    assert notes.configuration_json["hnsw"]["space"] == "l2"


@pytest.mark.parametrize(
    "name", ["id", "name", "metadata", "tenant", "database", "configuration", "configuration_json"]
)
def test_attributes_are_read_only(notes: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(notes, name, "other")


def test_schema_can_be_read(notes: Any) -> None:
    assert hasattr(notes, "schema")


def test_plain_text(notes: Any) -> None:
    assert "Collection(name=notes" in repr(notes)


def test_get_model(notes: Any) -> None:
    model = notes.get_model()
    assert (model.id, model.name) == (notes.id, notes.name)
    assert notes._model.configuration_json == model.configuration_json


def test_equality(client: Any, create: Any) -> None:
    notes = create("notes", metadata={"k": 1})
    same = client.get_collection("notes", embedding_function=None)
    assert same == notes
    assert same == notes
    assert create("other") != notes
    assert notes != "notes"
    assert notes != None  # noqa: E711


@pytest.mark.quirk(
    "a handle made before the first metadata differs in its schema from later ones", by="client"
)
def test_equality_is_not_about_records(client: Any, notes: Any) -> None:
    assert client.get_collection("notes", embedding_function=None) == notes


def test_handles_with_other_embedding_functions_differ(client: Any, toys: Any) -> None:
    client.create_collection("docs", embedding_function=toys.Toy())
    one = client.get_collection("docs", embedding_function=toys.Toy())
    assert client.get_collection("docs", embedding_function=None) != one


@pytest.mark.quirk(
    "the schema builds the stored function anew, so no two handles are ever equal", by="client"
)
def test_handles_with_one_embedding_function_are_equal(client: Any, toys: Any) -> None:
    function = toys.Toy()
    one = client.create_collection("docs", embedding_function=function)
    assert client.get_collection("docs", embedding_function=function) == one


def test_an_empty_collection_is_true(create: Any) -> None:
    """LlamaIndex asks ``if not collection``: an empty one that is false could never be filled."""
    assert bool(create())


# -- count and read levels -----------------------------------------------------------------------


def test_count(lib: Any, notes: Any) -> None:
    assert notes.count() == 3
    assert type(notes.count()) is int
    for level in lib.ReadLevel:
        assert notes.count(read_level=level) == 3
    notes.delete(ids="a")
    assert notes.count() == 2


# -- modify --------------------------------------------------------------------------------------


def test_modify_nothing(notes: Any, client: Any) -> None:
    assert notes.modify() is None
    assert client.get_collection("notes").id == notes.id


def test_rename(client: Any, errors: Any, notes: Any) -> None:
    assert notes.modify(name="renamed") is None
    assert notes.name == "renamed"
    assert notes.count() == 3
    assert client.get_collection("renamed").id == notes.id
    with pytest.raises(errors.NotFoundError):
        client.get_collection("notes")
    client.create_collection("notes", embedding_function=None)  # the old name is free again


def test_rename_to_its_own_name(client: Any, notes: Any) -> None:
    notes.modify(name="notes")
    assert client.get_collection("notes").count() == 3


def test_rename_to_a_bad_name(client: Any, errors: Any, notes: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="3-512 characters"):
        notes.modify(name="a")
    assert notes.name == "notes"
    assert client.get_collection("notes").id == notes.id


def test_rename_to_a_taken_name(client: Any, taken: Any, notes: Any, create: Any) -> None:
    create("taken")
    with pytest.raises(taken):
        notes.modify(name="taken")
    assert notes.name == "notes"
    assert client.get_collection("notes").id == notes.id
    assert client.get_collection("taken").count() == 0


@pytest.mark.quirk(
    "a database message; advice: UniqueConstraintError that says what is taken", by="server"
)
def test_rename_to_a_taken_name_is_a_conflict(errors: Any, notes: Any, create: Any) -> None:
    create("taken")
    with pytest.raises(errors.UniqueConstraintError, match=r"\[taken\] already exists"):
        notes.modify(name="taken")


def test_metadata_is_replaced_whole(client: Any, create: Any) -> None:
    notes = create("notes", metadata={"a": 1, "b": 2})
    notes.modify(metadata={"c": 3})
    assert notes.metadata == {"c": 3}
    assert client.get_collection("notes").metadata == {"c": 3}
    notes.modify(name="other")
    assert notes.metadata == {"c": 3}


def test_bad_metadata_changes_nothing(client: Any, create: Any) -> None:
    notes = create("notes", metadata={"a": 1})
    with pytest.raises(ValueError, match="Expected metadata to be a non-empty dict"):
        notes.modify(metadata={})
    with pytest.raises(ValueError, match="Changing the distance function of a collection once it"):
        notes.modify(metadata={"hnsw:space": "cosine"})
    with pytest.raises(ValueError, match="Expected metadata value to be"):
        notes.modify(metadata={"a": {"b": 1}})
    assert notes.metadata == {"a": 1}
    assert client.get_collection("notes").metadata == {"a": 1}


# -- what only hosted Chroma does ----------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c: c.fork("forked"), id="fork"),
        pytest.param(lambda c: c.fork_count(), id="fork_count"),
        pytest.param(lambda c: c.search([]), id="search"),
    ],
)
def test_what_a_local_store_lacks_says_so_or_works(notes: Any, lacking: Any, call: Any) -> None:
    """Upstream raises NotImplementedError; a store that has the operation just answers."""
    try:
        call(notes)
    except lacking as error:
        assert str(error)  # noqa: PT017


@pytest.mark.quirk("NotImplementedError in process; the four fields are the wire's", by="server")
def test_indexing_status(notes: Any) -> None:
    status = notes.get_indexing_status()
    assert status.num_indexed_ops + status.num_unindexed_ops == status.total_ops
    assert status.total_ops >= 3
    assert 0.0 <= status.op_indexing_progress <= 1.0
