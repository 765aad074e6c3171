"""`RecordTexts.at`, and what a reader says of the size of an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db.base import RecordRows
from chroma_nb.memory.sizes import objects_bytes
from chroma_nb.segment.base import MetadataReader, RecordTexts, VectorReader
from chroma_nb.segment.loaded import LoadedMetadata

if TYPE_CHECKING:
    from collections.abc import Sequence


def reader_of(documents: Sequence[str | None], metadatas: Sequence[Any]) -> MetadataReader:
    n = len(documents)
    found = LoadedMetadata(lambda _: np.empty(0, dtype=np.int64), lambda _: True)
    rows = RecordRows(
        np.arange(n),
        np.arange(n),
        [f"id{label}" for label in range(n)],
        list(documents),
        [None] * n,
        [one and json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in metadatas],
    )
    found.load(rows, n)
    return found


def answer(reader: MetadataReader, labels: Any, include: Sequence[str]) -> int:
    """Return the bytes of the objects of an answer, texts that it has in common counted each time."""
    found = reader.read(labels, include)
    columns = (found.ids, found.documents, found.uris, found.metadatas)
    return sum(objects_bytes(column) for column in columns if column is not None)


def test_records_at_positions() -> None:
    texts = RecordTexts(["a", "b"], ["A", None], None, [{"n": [1]}, None])
    found = texts.at([1, 0, 0])
    assert (found.ids, found.documents, found.uris) == (["b", "a", "a"], [None, "A", "A"], None)
    assert found.metadatas == [None, {"n": [1]}, {"n": [1]}]
    _, first, second = found.metadatas
    assert first is not None
    assert second is not None
    second["n"].append(2)
    assert first == {"n": [1]}, "each answer's metadata is its own, lists in it included"
    assert texts.at([]) == RecordTexts([], [], None, [])


@pytest.mark.parametrize("text", ["", "plain ascii", "ünï" * 50, "\U0001f98a" * 300])
def test_an_answer_of_like_records_takes_what_was_estimated(text: str) -> None:
    n = 200
    reader = reader_of([text] * n, [{"n": label, "text": text} for label in range(n)])
    for include in ([], ["documents"], ["documents", "metadatas", "uris"]):
        labels = np.arange(n)
        real = answer(reader, labels, include)
        assert real * 0.9 <= reader.answer_bytes(labels, include) <= real * 1.3 + 64 * n


def test_a_long_text_among_short_ones_is_counted_once() -> None:
    n = 100
    reader = reader_of(["short"] * (n - 1) + ["x" * 1_000_000], [None] * n)
    labels = np.arange(n)
    assert 1_000_000 <= reader.answer_bytes(labels, ["documents"]) < 3_000_000
    assert reader.answer_bytes(labels[:-1], ["documents"]) < 50_000


def test_metadata_of_repeated_records_is_counted_each_time_and_texts_once() -> None:
    reader = reader_of(["d" * 10_000], [{"m": "m" * 10_000}])
    once, often = np.zeros(1, dtype=np.int64), np.zeros(50, dtype=np.int64)
    for name, times in (("documents", 1), ("metadatas", 50)):
        ratio = reader.answer_bytes(often, [name]) / reader.answer_bytes(once, [name])
        assert times * 0.9 <= ratio <= times * 1.2


def test_no_records_take_nothing() -> None:
    reader = reader_of([], [])
    assert reader.answer_bytes(np.empty(0, dtype=np.int64), ["documents", "metadatas"]) == 0


@pytest.mark.parametrize("half", [MetadataReader, VectorReader])
def test_a_half_that_lacks_a_method_cannot_be_made(half: Any) -> None:
    with pytest.raises(TypeError, match="abstract"):
        half()
