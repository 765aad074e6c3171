"""What a regular expression may cost is known before it is evaluated, and evaluating many documents can be ended."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb.db.duckdb import records
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.filters.pattern_parts import count_parts
from chroma_nb.filters.regex import rust_regex_to_re2
from tests.stores import private_settings

#: 1,501 parts: 20 s for each megabyte of the letter a.
EVIL = "(a?){500}a{500}b"
ORDINARY = (
    r"\d{4}-\d{2}-\d{2}",
    r"[a-z]{1,64}@",
    "(foo|bar){0,10}",
    r"(?i)\bsea\b.*fish",
    r"\w+@\w+",
)


@pytest.mark.parametrize(
    ("pattern", "n_parts"),
    [
        ("", 0),
        ("abc", 3),
        ("a*b+c?", 3),
        (r"\d{4}-\d{2}-\d{2}", 10),
        ("[a-z]{1,64}@", 65),
        ("a{3,}", 4),
        ("a{0}", 1),
        ("a{,5}", 5),
        ("(ab){2}", 6),
        ("(?:ab){2}", 6),
        ("(?P<name>ab){2}", 6),
        ("(?i)a", 2),
        (EVIL, 1_501),
        ("((a{1,30}){1,30}){1,30}", 27_930),
        ("[]a]{3}", 3),
        ("[^]a]{3}", 3),
        ("[[:alpha:]]{3}", 3),
        (r"[\]]{3}", 3),
        (r"\x{41}{5}", 5),
        (r"\x41{5}", 5),
        (r"\p{Greek}{5}", 5),
        (r"\pL{5}", 5),
        (r"\{{5}", 5),
        ("a{5}{5}", 25),
    ],
)
def test_parts_are_counted_with_their_repetitions(pattern: str, n_parts: int) -> None:
    assert count_parts(pattern) == n_parts


@pytest.mark.parametrize("pattern", ["(", ")", "[", "[^", "\\", "{5}", "a{", "(?", "(?P<a", "a{5"])
def test_what_cannot_be_read_is_counted_all_the_same(pattern: str) -> None:
    assert count_parts(pattern) >= 0


@pytest.mark.parametrize("piece", ["[:", "[[:", "(?P<", r"\p{", "a{", "(", "[a]", r"\x{"])
def test_counting_takes_time_in_proportion(piece: str) -> None:
    """Twenty times as long for ten times the length would be too much, four hundred is what backtracking takes."""
    before = time.process_time()
    count_parts(piece * 20_000)
    assert time.process_time() - before < 5


@pytest.fixture
def notes() -> Any:
    with chroma.Client(private_settings()) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=["a", "b"], embeddings=[[1.0]] * 2, documents=["a" * 1_000_000, "foo 2026-01-02"]
        )
        yield notes


@pytest.mark.parametrize("unloaded", [False, True])
@pytest.mark.parametrize(
    "filters",
    [
        {"where_document": {"$regex": EVIL}},
        {"where_document": {"$not_regex": EVIL}},
        {"where": {"#document": {"$regex": EVIL}}},
        {"where_document": {"$or": [{"$regex": "a{400}"}, {"$regex": "b{400}"}]}},
        {"where_document": {"$regex": ".*a" + "." * 900 + "b"}},
    ],
)
def test_what_would_run_for_minutes_is_refused(notes: Any, filters: Any, unloaded: bool) -> None:
    for call in (
        notes.get,
        notes.delete,
        lambda **filters: notes.query(query_embeddings=[1.0], **filters),
        lambda **filters: notes.explain(query_embeddings=[1.0], **filters),
    ):
        if unloaded:
            notes.unload()
        with pytest.raises(InvalidArgumentError, match=r"Settings\.max_pattern_work") as refused:
            call(**filters)
        assert "1,000,000 bytes" in str(refused.value)
        assert "500,000,000" in str(refused.value)
    assert notes.count() == 2


def test_ordinary_patterns_pass(notes: Any) -> None:
    for pattern in ORDINARY:
        notes.get(where_document={"$regex": pattern})
    assert notes.get(where_document={"$regex": ORDINARY[0]})["ids"] == ["b"]


def test_it_is_the_longest_document_that_counts(notes: Any) -> None:
    """Not other texts, and not one that was deleted."""
    notes.delete(ids=["a"])
    notes.add(
        ids=["c"], embeddings=[[1.0]], documents=["aab"], metadatas=[{"long": "a" * 1_000_000}]
    )
    assert notes.get(where_document={"$regex": EVIL})["ids"] == []
    assert notes.get(where_document={"$regex": "(a?){500}a{2}b"})["ids"] == ["c"]


def test_the_limit_is_a_setting() -> None:
    with chroma.Client(private_settings(max_pattern_work=30)) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a"], embeddings=[[1.0]], documents=["ten bytes."])
        assert notes.get(where_document={"$regex": "t.n"})["ids"] == ["a"]
        with pytest.raises(InvalidArgumentError, match=r"has 4 parts .* has 10 bytes"):
            notes.get(where_document={"$regex": "te.."})


def many(client: Any) -> Any:
    notes = client.create_collection("notes", embedding_function=None)
    n = 300
    notes.add(
        ids=[str(i) for i in range(n)],
        embeddings=np.ones((n, 2), dtype=np.float32),
        documents=[None if i % 7 == 0 else "x" * (i * 37 % 101) + f" {i}" for i in range(n)],
        metadatas=[{"n": i % 3} for i in range(n)],
    )
    notes.update(ids=["5", "50"], embeddings=np.ones((2, 2), dtype=np.float32))
    notes.delete(ids=[str(i) for i in range(100, 140)])
    return notes


def test_documents_in_many_pieces_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    filters: list[dict[str, Any]] = [
        {"where_document": {"$regex": pattern}}
        for pattern in (r"x{50} \d", r"[13]$", "none", rust_regex_to_re2(r"\d{3}"))
    ]
    filters += [{"where": {"n": 1}, **one} for one in filters]
    filters += [{"where_document": {"$not_regex": "x{10}"}, "limit": 20, "offset": 3}]
    with chroma.Client(private_settings()) as client:
        notes = many(client)
        for unload in (True, False):
            with monkeypatch.context() as patch:
                expected = [notes.get(**one)["ids"] for one in filters]
                patch.setattr(records, "_PIECE_WORK", 2_000)
                for one, ids in zip(filters, expected, strict=True):
                    if unload:
                        notes.unload()
                    assert notes.get(**one)["ids"] == ids
            assert any(expected)
            notes.query(query_embeddings=[1.0, 1.0])


def test_between_two_pieces_a_closing_store_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_PIECE_WORK", 2_000)
    monkeypatch.setattr(records.StoredRecords, "is_closing", True)
    with chroma.Client(private_settings()) as client:
        notes = many(client)
        with pytest.raises(InternalError, match="is being closed"):
            notes.get(where_document={"$regex": "x{50}"})
