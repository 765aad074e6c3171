"""`StoredMetadata` and `LoadedMetadata`: the same answers, from the DB and from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.filters.expression import And, Compare, DocumentContains, DocumentMatches, IdAmong
from chroma_nb.segment.loaded import LoadedMetadata
from chroma_nb.segment.stored import StoredMetadata
from tests.unit.segment.conftest import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.segment.base import MetadataReader


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with the records "a" to "d", of which "b" was deleted and "a" got another vector: label 4."""
    store = Store(tmp_path_factory.mktemp("store"))
    store.write(
        *"abcd",
        embeddings=store.vectors(4),
        documents=["Apple", "bee", "ünï \U0001f98a", None],
        uris=["u:a", None, None, None],
        metadatas=[{"n": 1}, {"n": 2}, {"n": 3, "l": ["x"]}, None],
    )
    store.write("a", existing="merge", embeddings=store.vectors(1))
    store.writer.delete(store.id, None, ids=["b"], limit=None)
    yield store
    store.close()


@pytest.fixture(params=[LoadedMetadata, StoredMetadata])
def reader(written: Store, request: pytest.FixtureRequest) -> MetadataReader:
    if request.param is StoredMetadata:
        return StoredMetadata(written.db, written.id)
    segment = written.slot().segment
    assert isinstance(segment.metadata, LoadedMetadata)
    return segment.metadata


def labels(*numbers: int) -> Any:
    return np.array(numbers, dtype=np.int64)


def test_how_many_there_are(reader: MetadataReader) -> None:
    assert (reader.n_labels, reader.n_live) == (5, 3)
    assert reader.longest >= len("Apple") + len("a") + len("u:a") + len('{"n":1}')


def test_ids_are_found(reader: MetadataReader) -> None:
    assert reader.find(["d", "nobody", "a", "b", "d"]).tolist() == [3, -1, 4, -1, 3]
    assert reader.find([]).tolist() == []


def test_records_are_in_storage_order(reader: MetadataReader) -> None:
    assert reader.select().tolist() == [4, 2, 3], "a keeps its place"
    assert reader.select(limit=1, offset=1).tolist() == [2]
    assert reader.select(limit=0).tolist() == reader.select(offset=9).tolist() == []
    assert reader.select(ids=["d", "a", "d", "b", "nobody"]).tolist() == [4, 3]
    places = reader.sequences()
    assert places is not None
    assert np.argsort(places[[2, 3, 4]]).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (Compare("n", "$gte", 2), ["c"]),
        (Compare("n", "$eq", 1, negated=True), ["c", "d"]),
        (DocumentContains("\U0001f98a"), ["c"]),
        (DocumentContains("e", negated=True), ["c", "d"]),
        (DocumentMatches("^[A-Z]"), ["a"]),
        (And((IdAmong(("a", "b", "c")), Compare("n", "$lt", 3))), ["a"]),
        (Compare("nobody has it", "$eq", True), []),
    ],
)
def test_a_filter_matches_the_same(
    reader: MetadataReader, expression: Any, expected: list[str]
) -> None:
    found = reader.select(expression)
    assert reader.read(found, []).ids == expected
    mask = reader.mask(expression, None)
    assert mask is not None
    assert np.flatnonzero(mask).tolist() == sorted(found.tolist())
    mask = reader.mask(expression, ["c"])
    assert mask is not None
    assert np.flatnonzero(mask).tolist() == [label for label in found if label == 2]


def test_what_was_deleted_is_masked(reader: MetadataReader) -> None:
    mask = reader.mask(None, None)
    assert mask is not None
    assert mask.tolist() == [False, False, True, True, True]


def test_records_are_read_as_they_were_asked_for(reader: MetadataReader) -> None:
    found = reader.read(labels(3, 4, 2, 4), ["metadatas", "documents", "uris", "distances"])
    assert found.ids == ["d", "a", "c", "a"]
    assert found.documents == [None, "Apple", "ünï \U0001f98a", "Apple"]
    assert found.uris == [None, "u:a", None, "u:a"]
    assert found.metadatas == [None, {"n": 1}, {"n": 3, "l": ["x"]}, {"n": 1}]
    assert found.metadatas[1] is not found.metadatas[3]
    found = reader.read(labels(4), [])
    assert (found.ids, found.documents, found.uris, found.metadatas) == (["a"], None, None, None)
    assert reader.read(labels(), ["documents", "metadatas"]).documents == []


def test_an_update_starts_from_what_the_db_holds(reader: MetadataReader) -> None:
    found = reader.stored(labels(4, 2), ["document", "metadata"])
    assert found.labels.tolist() == [4, 2]
    assert found.sequences.tolist() == [0, 2]
    assert (found.documents, found.uris) == (["Apple", "ünï \U0001f98a"], [])
    assert found.metadatas == ['{"n":1}', '{"n":3,"l":["x"]}']


def test_the_size_of_texts_is_at_least_about_right(reader: MetadataReader) -> None:
    chosen = labels(2, 3, 4)
    # Exact in memory; by the average of all that were ever written in the DB.
    real = 3 + len("Apple") + len("ünï \U0001f98a".encode())
    assert real / 2 <= reader.text_bytes(chosen, ["documents"]) <= 2 * real
    assert reader.text_bytes(chosen, []) == 3
    assert reader.text_bytes(labels(), ["documents", "uris", "metadatas"]) == 0
