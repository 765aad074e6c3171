"""Collections copied from one store to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from tests.stores import private_settings
from tests.support.database_file import edited_database
from tests.unit.transfer.records import content

if TYPE_CHECKING:
    from pathlib import Path


def test_collections_are_copied_to_another_store_and_back(client: Any, notes: Any) -> None:
    client.create_collection("second", embedding_function=None)
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as other:
        other.reset()
        assert client.copy_to(other) == {"notes": 3, "second": 0}
        copy = other.get_collection("notes", embedding_function=None)
        assert content(copy) == content(notes)
        assert copy.configuration_json == notes.configuration_json
        notes.delete(ids=["a"])
        assert other.copy_to(client, ["notes"]) == {"notes": 3}
    assert notes.get()["ids"] == ["b", "c", "a"]


def test_a_fork_is_a_copy(client: Any, notes: Any) -> None:
    fork = notes.fork("forked")
    fork.delete(ids=["a"])
    assert (fork.name, fork.count(), notes.count()) == ("forked", 2, 3)


def test_a_fork_that_fails_says_what_it_leaves_and_the_same_call_goes_on(client: Any) -> None:
    many = client.create_collection("many", embedding_function=None)
    many.add(ids=[f"{n}" for n in range(200)], embeddings=np.zeros((200, 2), np.float32))

    def stop(_: int) -> None:
        raise chroma_nb.errors.InternalError("stopped")

    where_to = {"tenant": client.tenant, "database": client.database}
    with pytest.raises(chroma_nb.errors.InternalError) as error:
        client.api.fork(many.id, "forked", on_progress=stop, **where_to)
    there = client.get_collection("forked", embedding_function=None).count()
    assert 0 < there < 200
    said = str(error.value)
    assert said.startswith(f"The copy [forked] is unfinished: {there} of 200 records are in it.")
    assert "Run the same call again" in said
    assert said.endswith(": stopped")
    assert content(many.fork("forked")) == content(many)


def test_a_copy_to_another_store_that_fails_says_what_it_leaves_and_the_same_call_goes_on(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = client.create_collection("many", embedding_function=None)
    many.add(ids=[f"{n}" for n in range(200)], embeddings=np.zeros((200, 2), np.float32))
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as other:
        other.reset()
        add, calls = other.api.add, []

        def stops(*arguments: Any, **named: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise chroma_nb.errors.InternalError("stopped")
            return add(*arguments, **named)

        monkeypatch.setattr(other.api, "add", stops)
        with pytest.raises(chroma_nb.errors.InternalError) as error:
            client.copy_to(other, ["many"])
        copy = other.get_collection("many", embedding_function=None)
        there = copy.count()
        assert 0 < there < 200
        said = str(error.value)
        assert said.startswith(
            f"The copy [many] is unfinished: {there} of 200 records were copied."
        )
        assert said.endswith(": stopped")
        assert client.copy_to(other, ["many"]) == {"many": 200}
        assert content(copy) == content(many)


def test_a_fork_adds_to_no_other_collection(client: Any, notes: Any) -> None:
    other = client.create_collection("other", embedding_function=None)
    alike = client.create_collection(
        "alike",
        metadata=notes.metadata,
        embedding_function=None,
        configuration={"hnsw": {"space": "cosine"}},
    )
    alike.add(ids=["a"], embeddings=[[1.0, 0.1]], documents=["another"])
    for name in ("other", "alike", "notes"):
        with pytest.raises(chroma_nb.errors.UniqueConstraintError, match="no copy of"):
            notes.fork(name)
    assert (other.count(), alike.count(), notes.count()) == (0, 1, 3)


def test_a_store_in_which_a_function_has_no_name_is_copied_no_further_than_that(
    tmp_path: Path,
) -> None:
    """Earlier versions recorded what a client of the server's said, as it was."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        for name in ("notes", "others"):
            client.create_collection(name, embedding_function=None)
    with edited_database(path) as con:
        con.execute(
            """UPDATE collections SET configuration = replace(configuration, '"embedding_function": null', """
            """'"embedding_function": {"type": "known"}') WHERE name = 'notes'"""
        )
        (changed,) = con.execute(
            "SELECT count(*) FROM collections WHERE configuration LIKE '%known%'"
        ).fetchone()
        assert changed == 1
    with chroma_nb.Client(path) as client, chroma_nb.EphemeralClient(private_settings()) as other:
        with pytest.raises(InvalidArgumentError, match="to have a name"):
            client.copy_to(other, ["notes"])
        assert client.copy_to(other, ["others"]) == {"others": 0}


def test_a_copy_that_meets_damage_names_the_way_without_it(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = client.create_collection("many", embedding_function=None)
    many.add(ids=[f"{n}" for n in range(200)], embeddings=np.zeros((200, 2), np.float32))
    with chroma_nb.EphemeralClient(private_settings()) as other:
        add = other.api.add

        def damaged(*given: Any, **named: Any) -> None:
            add(*given, **named)
            # As reading the next piece would.
            monkeypatch.setattr(other.api, "add", fail)

        def fail(*_: Any, **__: Any) -> None:
            raise chroma_nb.errors.StoreCorruptError("damaged")

        monkeypatch.setattr(other.api, "add", damaged)
        with pytest.raises(chroma_nb.errors.StoreCorruptError) as error:
            client.copy_to(other, ["many"])
    said = str(error.value)
    assert "Run the same call again" not in said
    assert "client['many'].export(path, skip_damaged=True)" in said
