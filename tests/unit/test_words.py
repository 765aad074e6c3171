"""Numbers, types and values in messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import chroma_nb
from chroma_nb.errors import ChromaError
from chroma_nb.words import brief, counted, with_article
from tests.stores import private_settings


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (12_345, "12,345 records")]
)
def test_a_noun_is_in_the_plural_unless_there_is_one(n: int, text: str) -> None:
    assert counted(n, "record") == text


def test_types_have_their_article() -> None:
    assert [with_article(kind) for kind in (int, list, object)] == ["an int", "a list", "an object"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "... (201 characters)"),
        ([1], "[1]"),
        (Path("folder"), "folder"),
        (True, "True"),
        (10**200, "1" + "0" * 199 + "... (201 characters)"),
        (10**5_000, "one of 16,610 bits"),
        (-(10**5_000), "one of 16,610 bits"),
        ([10**5_000], "a list with an integer of thousands of digits in it"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else type(value).__name__,
)
def test_values_are_shortened(value: Any, text: str) -> None:
    assert brief(value) == text


def test_quotes_where_they_are_wanted() -> None:
    assert brief("x", quoted=True) == "'x'"
    assert brief("x" * 9, 5, quoted=True) == "'xxxx... (11 characters)"


HUGE = 10**5_000


@pytest.mark.parametrize(
    "call",
    [
        lambda notes, huge: notes.query(query_embeddings=[1.0], n_results=-huge),
        lambda notes, huge: notes.get(where=[huge]),
        lambda notes, huge: notes.get(where={"k": {"$foo": huge}}),
        lambda notes, huge: notes.get(where_document={huge: "x"}),
        lambda notes, huge: notes.add(
            ids=["a"], embeddings=[[1.0]], metadatas=[{"k": {"x": huge}}]
        ),
        lambda notes, huge: notes._client.sql("SELECT ?", [huge]),
        lambda notes, huge: notes._client.sql("SELECT ?", huge),
        lambda notes, huge: notes._client.sql(huge),
        lambda notes, huge: notes._client.get_collection(huge),
        lambda notes, huge: notes._client.memory.estimate(-huge, 3),
        lambda notes, huge: chroma_nb.Client(huge),
        lambda notes, huge: chroma_nb.Settings(server_port=huge),
        lambda notes, huge: chroma_nb.Settings(server_port=-huge),
        lambda notes, huge: chroma_nb.Settings(progress=huge),
        lambda notes, huge: chroma_nb.Settings(memory_budget=huge),
    ],
)
def test_an_integer_that_python_does_not_write_out(call: Any) -> None:
    """The error is about the argument, and not that its message cannot be written."""
    with chroma_nb.EphemeralClient(private_settings()) as client:
        notes = client.create_collection("notes", embedding_function=None)
        with pytest.raises((ValueError, TypeError, ChromaError)) as caught:
            call(notes, HUGE)
        assert "Exceeds the limit" not in str(caught.value)
        assert len(str(caught.value)) < 1_000
