"""The inverted index of a loaded collection, and the look at all records of one that is not: as the plain referee says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chroma_nb import SparseVector
from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.workspace import WORKSPACE, Grant
from chroma_nb.segment import sparse_index, sparse_scores
from chroma_nb.segment.loaded import LoadedMetadata
from chroma_nb.segment.sparse_index import SparseIndexes
from chroma_nb.segment.stored import StoredMetadata
from chroma_nb.segment.text_pool import TextPool
from chroma_nb.special_keys import DOCUMENT_KEY
from tests.unit.segment.conftest import Store

BM25 = ChromaBm25EmbeddingFunction()

# -- the referee --------------------------------------------------------------------------------


def referee(
    records: dict[str, SparseVector | None], query: SparseVector, *, idf: bool
) -> dict[str, np.float32]:
    """Return the distance of each record that shares an index with the query, one number after the other."""
    n_with = {
        index: sum(vector is not None and index in vector.indices for vector in records.values())
        for index in query.indices
    }
    found = {}
    for id_, vector in records.items():
        values = dict(zip(vector.indices, vector.values, strict=True)) if vector else {}
        total = 0.0
        for index, weight in zip(query.indices, query.values, strict=True):
            if index in values:
                n_t = n_with[index]
                rare = math.log1p((len(records) - n_t + 0.5) / (n_t + 0.5)) if idf else 1.0
                total += weight * rare * float(np.float32(values[index]))
        if set(values) & set(query.indices):
            with np.errstate(over="ignore"):
                found[id_] = np.float32(1.0 - total)
    return found


def answers(
    store: Store, reader: Any, key: str, query: SparseVector, *, idf: bool, ids: list[str] | None
) -> dict[str, np.float32]:
    mask = reader.mask(None, ids)
    found = reader.sparse_distances(key, query, idf=idf, mask=mask)
    assert (found.dtype, found.shape) == (np.float32, (reader.n_labels,))
    labels = np.flatnonzero(~np.isnan(found))
    return dict(zip(reader.read(labels, ()).ids, found[labels], strict=True))


WORDS = ["apple", "apples", "Pear", "the", "plum", "quince", "ÉTÉ", "x"]
DOCUMENTS = st.none() | st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -2.5, 0.1, 1e-30, 3e38, -3e38, 7.25])
VECTORS = st.dictionaries(st.sampled_from([0, 1, 2, 5, 2**32 - 1]), NUMBERS, max_size=4).map(
    lambda one: SparseVector(sorted(one), [one[index] for index in sorted(one)])
)
METADATA = st.none() | st.fixed_dictionaries(
    {}, optional={"sp": st.none() | VECTORS, "k": st.sampled_from(['{"sp":1}', "sp"])}
)
IDS = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=5, unique=True)
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["skip", "merge", "upsert"]), IDS, st.randoms(use_true_random=False)),
    st.tuples(st.just("delete"), IDS, st.none()),
    st.tuples(st.sampled_from(["compact", "unload", "check"]), st.none(), st.none()),
)


@pytest.fixture(params=["large pieces", "small pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "small pieces":
        monkeypatch.setattr(sparse_index, "_PIECE_BYTES", 30)
        monkeypatch.setattr(sparse_index, "BUILD_BYTES", 1 << 20)
        monkeypatch.setattr(sparse_scores, "_FEW_TERMS", 0)
        monkeypatch.setattr(sparse_scores, "_TOGETHER_ENTRIES", 3)


@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_distances_are_the_referees_whatever_happened_before(
    tmp_path_factory: pytest.TempPathFactory, pieces: None, data: Any
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    kept: dict[str, tuple[str | None, SparseVector | None]] = {}
    try:
        for step in range(data.draw(st.integers(1, 7))):
            what, ids, _ = data.draw(OPERATIONS)
            if what == "delete":
                store.writer.delete(store.id, None, ids=ids, limit=None)
                for one in ids:
                    kept.pop(one, None)
            elif what == "compact":
                store.segments.compact(store.id)
            elif what == "unload":
                store.segments.unload(store.id)
            elif what != "check":
                _write(store, kept, what, ids, data, step)
            _compare(store, kept, data)
    finally:
        store.close()


def _write(
    store: Store, kept: dict[str, Any], what: str, ids: list[str], data: Any, step: int
) -> None:
    if what == "merge":
        ids = [one for one in ids if one in kept]
    if not ids:
        return
    documents = [data.draw(DOCUMENTS) for _ in ids]
    metadatas = [data.draw(METADATA) for _ in ids]
    embeddings = None
    if what != "merge" or data.draw(st.booleans()):
        embeddings = np.full((len(ids), 2), step, dtype=np.float32)
    plain = [
        one and {k: v.to_dict() if isinstance(v, SparseVector) else v for k, v in one.items()}
        for one in metadatas
    ]
    columns = {"documents": documents, "metadatas": [one or None for one in plain]}
    store.write(
        *ids, existing="merge" if what == "upsert" else what, embeddings=embeddings, **columns
    )
    for id_, document, metadata in zip(ids, documents, metadatas, strict=True):
        if what == "skip" and id_ in kept:
            continue
        old_document, old_vector = kept.get(id_, (None, None))
        vector = (metadata or {}).get("sp", old_vector)
        kept[id_] = (old_document if document is None else document, vector)


def _compare(store: Store, kept: dict[str, Any], data: Any) -> None:
    idf = data.draw(st.booleans())
    ids = data.draw(st.none() | IDS)
    words = BM25([data.draw(DOCUMENTS) or "apple"])[0]
    vectors = {
        DOCUMENT_KEY: (
            {one: BM25([text])[0] if text else None for one, (text, _) in kept.items()},
            words,
        ),
        "sp": ({one: vector for one, (_, vector) in kept.items()}, data.draw(VECTORS)),
        "nobody": (dict.fromkeys(kept), SparseVector([1], [1.0])),
    }
    with store.segments.present(store.id) as segment:
        for key, (records, query) in vectors.items():
            wanted = referee(records, query, idf=idf)
            if ids is not None:
                wanted = {one: value for one, value in wanted.items() if one in ids}
            for reader in (segment.metadata, StoredMetadata(store.db, store.id)):
                found = answers(store, reader, key, query, idf=idf, ids=ids)
                assert found == wanted, (type(reader).__name__, key)


# -- the index itself ---------------------------------------------------------------------------


def pool_of(documents: list[str | None]) -> TextPool:
    pool = TextPool()
    pool.resize(len(documents))
    pool.put(np.arange(len(documents)), documents)
    return pool


class Room:
    """Says how much may be held, and keeps count."""

    def __init__(self, most: int = 1 << 40) -> None:
        self.most = most
        self.held = 0

    def __call__(self, n_bytes: int) -> bool:
        if n_bytes > 0 and self.held + n_bytes > self.most:
            return False
        self.held += n_bytes
        return True


def many(n: int) -> list[str | None]:
    rng = np.random.default_rng(5)
    return [" ".join(f"word{one}" for one in rng.integers(0, 500, 8)) for _ in range(n)]


def search(
    indexes: SparseIndexes, pool: TextPool, alive: Any = None, text: str = "word7 word8"
) -> Any:
    alive = np.ones(len(pool), dtype=bool) if alive is None else alive
    return indexes.distances(DOCUMENT_KEY, BM25([text])[0], pool, alive, idf=True, mask=None)


def test_what_is_held_is_what_was_asked_for() -> None:
    room = Room()
    indexes, pool = SparseIndexes(room), pool_of(many(3_000))
    search(indexes, pool)
    assert room.held == indexes.nbytes > 3_000
    for start in range(0, 3_000, 300):
        labels = np.arange(start, start + 300)
        pool.put(labels, many(3_300)[-300:])
        indexes.changed(labels, np.empty(0, np.int64), 3_000)
        found = search(indexes, pool)
        assert room.held == indexes.nbytes
    assert np.array_equal(found, search(SparseIndexes(Room()), pool), equal_nan=True)
    assert indexes.nbytes < 1.5 * fresh_bytes(pool)


def fresh_bytes(pool: TextPool) -> int:
    fresh = SparseIndexes(Room())
    search(fresh, pool)
    return fresh.nbytes


def test_where_there_is_no_room_all_records_are_looked_at() -> None:
    pool = pool_of(many(3_000))
    wanted = search(SparseIndexes(Room()), pool)
    room = Room(most=10_000)
    indexes = SparseIndexes(room)
    for _ in range(2):
        assert np.array_equal(search(indexes, pool), wanted, equal_nan=True)
        assert (room.held, indexes.nbytes, indexes.keys) == (0, 0, frozenset())
    room.most = 1 << 40
    assert np.array_equal(search(indexes, pool), wanted, equal_nan=True)
    assert room.held == indexes.nbytes > 0, "there is room now"


def test_where_there_is_no_room_any_more_the_index_is_given_up() -> None:
    pool = pool_of(many(3_000))
    room = Room()
    indexes = SparseIndexes(room)
    search(indexes, pool)
    room.most = room.held
    pool.resize(9_000)
    labels = np.arange(3_000, 9_000)
    pool.put(labels, many(6_000))
    indexes.changed(labels, np.empty(0, np.int64), 9_000)
    room.held = room.most = indexes.nbytes
    found = search(indexes, pool)
    assert (room.held, indexes.nbytes) == (0, 0)
    assert np.array_equal(found, search(SparseIndexes(Room()), pool), equal_nan=True)


def test_with_little_memory_postings_stay_apart_and_say_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = pool_of(many(4_000))
    wanted = search(SparseIndexes(Room()), pool)
    monkeypatch.setattr(WORKSPACE, "take", lambda n_bytes: Grant(min(n_bytes, 40_000)))
    monkeypatch.setattr(sparse_index, "_PIECE_BYTES", 4_000)
    indexes = SparseIndexes(Room())
    assert np.array_equal(search(indexes, pool), wanted, equal_nan=True)
    assert len(indexes._indexes[DOCUMENT_KEY].parts) > 10


def test_an_interrupt_leaves_the_index_and_the_account_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, room = pool_of(many(1_000)), Room()
    indexes = SparseIndexes(room)
    wanted = search(indexes, pool)
    held = room.held
    indexes.changed(np.arange(500), np.empty(0, np.int64), 1_000)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sparse_index, "entries_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(indexes, pool)
    assert room.held == held
    assert np.array_equal(search(indexes, pool), wanted, equal_nan=True)


def test_records_without_texts_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, calls = pool_of([None] * 5_000), []
    read = sparse_index.entries_of
    monkeypatch.setattr(sparse_index, "entries_of", lambda *some: calls.append(1) or read(*some))
    found = search(SparseIndexes(Room()), pool)
    assert np.isnan(found).all()
    assert len(calls) < 5


def test_forgotten_indexes_are_made_again() -> None:
    pool = pool_of(many(100))
    indexes = SparseIndexes(Room())
    wanted = search(indexes, pool)
    indexes.forget(but=frozenset({DOCUMENT_KEY}))
    assert indexes.keys == {DOCUMENT_KEY}
    indexes.forget()
    assert indexes.keys == frozenset()
    assert np.array_equal(search(indexes, pool), wanted, equal_nan=True)


# -- in a collection ----------------------------------------------------------------------------


def test_a_query_that_is_none_is_refused(store: Store) -> None:
    store.write("a")
    with store.segments.present(store.id) as segment:
        for reader in (segment.metadata, StoredMetadata(store.db, store.id)):
            for query in (
                SparseVector([1], [math.nan]),
                SparseVector([1], [1e39]),
                SparseVector([2**32], [1.0]),
            ):
                with pytest.raises(InvalidArgumentError, match="sparse query"):
                    reader.sparse_distances("sp", query, idf=False, mask=None)


def test_an_empty_collection_has_no_distances(store: Store) -> None:
    for reader in (StoredMetadata(store.db, store.id), LoadedMetadata(lambda _: None, Room())):  # type: ignore[arg-type, return-value]
        found = reader.sparse_distances(DOCUMENT_KEY, BM25(["a fox"])[0], idf=True, mask=None)
        assert found.shape == (0,)


def test_the_index_is_in_the_ledger_and_in_the_report(store: Store) -> None:
    texts = many(2_000)
    store.write(*map(str, range(2_000)), embeddings=store.vectors(2_000), documents=texts)
    ledger = store.segments.residents.ledger
    with store.segments.present(store.id) as segment:
        before = ledger.held(store.id)
        segment.metadata.sparse_distances(DOCUMENT_KEY, BM25(["word7"])[0], idf=True, mask=None)
        parts = segment.parts()
    assert parts["sparse"] == ledger.held(store.id) - before > 10_000
    assert sum(parts.values()) == ledger.held(store.id)
    store.write(
        *map(str, range(2_000, 2_500)), embeddings=store.vectors(500), documents=texts[:500]
    )
    with store.segments.present(store.id) as segment:
        segment.metadata.sparse_distances(DOCUMENT_KEY, BM25(["word7"])[0], idf=True, mask=None)
        assert segment.resident_bytes == ledger.held(store.id)
    store.segments.unload(store.id)
    assert ledger.held(store.id) == 0
