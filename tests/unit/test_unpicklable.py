"""What belongs to one process says so when it is sent to another."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import chroma_nb as chroma
from tests.stores import private_settings


@pytest.fixture
def client() -> Any:
    return chroma.EphemeralClient(private_settings())


@pytest.mark.parametrize("how", [pickle.dumps, copy.deepcopy])
@pytest.mark.parametrize("what", ["collection", "client", "admin", "async client"])
def test_pickling_says_what_to_do_instead(client: Any, what: str, how: Any) -> None:
    things = {
        "collection": lambda: client.create_collection("pickled", embedding_function=None),
        "client": lambda: client,
        "admin": lambda: chroma.AdminClient(),
        "async client": lambda: chroma.AsyncClientAPI(client),
    }
    try:
        with pytest.raises(
            TypeError, match=r"objects cannot be pickled.*chroma_nb\.connect\(url\)"
        ):
            how(things[what]())
    finally:
        if what == "collection":
            client.delete_collection("pickled")


def test_a_shallow_copy_is_the_same_collection(client: Any) -> None:
    notes = client.create_collection("copied", embedding_function=None)
    try:
        notes.add(ids="a", embeddings=[1.0])
        assert copy.copy(notes).count() == 1
        assert copy.copy(notes) == notes
    finally:
        client.delete_collection("copied")
