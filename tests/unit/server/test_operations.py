"""What a server does for each operation, in words of the store; tests/server/test_operations.py has the table."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import (
    AuthorizationError,
    BatchSizeExceededError,
    ChromaAuthError,
    InvalidArgumentError,
    NotFoundError,
    NotSupportedError,
)
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.operations import HANDLERS, Call
from chroma_nb.types import RecordBatch
from chroma_nb.wire.requests import (
    CollectionChanges,
    Delete,
    Fields,
    Get,
    Name,
    NewCollection,
    Query,
    Target,
    Write,
)

if TYPE_CHECKING:
    from chroma_nb.api.base import API

PLACE = Target("default_tenant", "default_database")
VECTORS = np.eye(3, dtype=np.float32)


class Asked:
    """Asks the handlers of operations by name."""

    def __init__(self, api: API, **values: Any) -> None:
        self.api = api
        self.settings = chroma_nb.Settings(**values)

    def __call__(
        self,
        operation: str,
        request: Any = None,
        target: Target = PLACE,
        identity: Identity = ANONYMOUS,
    ) -> Any:
        return HANDLERS[operation](Call(self.api, self.settings, identity, target, request))


@pytest.fixture
def asked(api: API) -> Asked:
    """A store that is empty."""
    api.reset()
    return Asked(api, server_max_batch_size=3, server_max_results=10)


@pytest.fixture
def notes(asked: Asked) -> Target:
    """A collection of three records."""
    info = asked("create_collection", NewCollection("notes", None, None, get_or_create=False))
    target = dataclasses.replace(PLACE, collection_id=info.id)
    asked("add", Write(RecordBatch(["a", "b", "c"], VECTORS, ["x", "y", "z"])), target)
    return target


NOWHERE = dataclasses.replace(PLACE, collection_id=uuid.UUID(int=1))


def test_records_are_written_and_found(asked: Asked, notes: Target) -> None:
    assert asked("count", None, notes) == 3
    found = asked("query", Query(VECTORS[:1], 2), notes)
    assert found.ids[0][0] == "a"
    assert asked("get", Get(ids=["b"]), notes).documents == ["y"]


def test_no_results_are_asked_of_a_collection_that_exists(asked: Asked, notes: Target) -> None:
    found = asked("query", Query(VECTORS, 0, include=("documents", "embeddings")), notes)
    assert found.ids == [[], [], []]
    assert (found.documents, found.distances) == ([[], [], []], None)
    with pytest.raises(NotFoundError):
        asked("query", Query(VECTORS, 0), NOWHERE)


@pytest.mark.parametrize("operation", ["add", "update", "upsert"])
def test_nothing_is_written_to_a_collection_that_exists(
    asked: Asked, notes: Target, operation: str
) -> None:
    asked(operation, Write(RecordBatch([])), notes)
    with pytest.raises(NotFoundError):
        asked(operation, Write(RecordBatch([])), NOWHERE)


def test_more_than_one_request_may_hold_is_refused(asked: Asked, notes: Target) -> None:
    many = RecordBatch(list("defg"), np.zeros((4, 3), np.float32))
    with pytest.raises(BatchSizeExceededError):
        asked("add", Write(many), notes)
    asked.settings = chroma_nb.Settings(server_max_results=5)
    for operation in ("query", "explain"):
        with pytest.raises(InvalidArgumentError, match="server_max_results"):
            asked(operation, Query(VECTORS, 100), notes)
    assert asked("count", None, notes) == 3


def test_what_is_included_is_known(asked: Asked, notes: Target) -> None:
    for request in (Get(include=["data"]), Query(VECTORS, 1, include=["x" * 1_000])):
        operation = "get" if isinstance(request, Get) else "query"
        with pytest.raises(
            InvalidArgumentError, match="Expected include item to be one of"
        ) as caught:
            asked(operation, request, notes)
        assert len(str(caught.value)) < 300


def test_a_delete_says_which_records(asked: Asked, notes: Target) -> None:
    assert asked("delete", Delete(), notes) == 0
    with pytest.raises(InvalidArgumentError, match="Either ids or where"):
        asked("delete", Delete(ids=[]), notes)
    with pytest.raises(InvalidArgumentError, match="limit can only"):
        asked("delete", Delete(ids=["a"], limit=1), notes)
    assert asked("delete", Delete(ids=["a"]), notes) == 1
    assert asked("count", None, notes) == 2


def test_changes_of_nothing_return_the_collection_as_it_is(asked: Asked, notes: Target) -> None:
    assert asked("modify", CollectionChanges(), notes).name == "notes"
    assert asked("modify", CollectionChanges(name="others"), notes).name == "others"
    with pytest.raises(ValueError, match="name"):
        asked("modify", CollectionChanges(name="?"), notes)


def test_a_request_that_names_no_collection_is_refused(asked: Asked) -> None:
    with pytest.raises(InvalidArgumentError, match="names its collection by the id"):
        asked("count")


def test_a_collection_is_found_by_its_id_alone(asked: Asked, notes: Target) -> None:
    asked("load", None, notes)
    alone = Target(collection_id=notes.collection_id)
    assert asked("unload_v1", None, alone) > 0
    assert asked("unload_v1", None, dataclasses.replace(alone, database=PLACE.database)) == 0
    with pytest.raises(NotFoundError):
        asked("unload_v1", None, Target(collection_id=NOWHERE.collection_id))


def test_an_id_alone_does_not_lead_to_another_tenant(asked: Asked, notes: Target) -> None:
    stranger = Identity("eve", ("others",))
    with pytest.raises(NotFoundError):
        asked("unload_v1", None, Target(collection_id=notes.collection_id), stranger)
    with pytest.raises(ChromaAuthError):
        asked("unload_v1", None, notes, stranger)


def test_a_reset_has_to_be_allowed(asked: Asked) -> None:
    with pytest.raises(AuthorizationError, match="--allow-reset"):
        asked("reset")


def test_a_caller_learns_who_it_is_taken_for(asked: Asked) -> None:
    found = asked("get_user_identity", identity=Identity("ada", ("acme", "others")))
    assert tuple(found) == ("ada", "acme", ["*"])
    found = asked("get_user_identity")
    assert tuple(found) == ("", "default_tenant", ["default_database"])


def test_a_client_learns_the_limits(asked: Asked) -> None:
    info = asked("get_max_batch_size")
    assert (info.name, info.max_records) == ("chroma_nb", 3)
    assert info.max_body > 0


def test_the_values_of_a_key_are_counted_up_to_a_limit(asked: Asked, notes: Target) -> None:
    asked("update", Write(RecordBatch(["a"], metadatas=[{"n": 1}])), notes)
    (field,) = asked("describe_fields", Fields(10**9), notes)
    assert (field.key, field.values) == ("n", [(1, 1)])
    assert asked("metadata_keys", None, notes) == ["n"]


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("attach_function", NotSupportedError),
        ("get_attached_function", NotFoundError),
        ("detach_function", NotFoundError),
    ],
)
def test_what_chromas_clients_alone_ask_for(
    asked: Asked, operation: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        asked(operation, Name("f"))
