"""`TextPool` against a plain dict, whatever the texts."""

from __future__ import annotations

from itertools import product
from zlib import crc32

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_nb.segment.text_pool import TextPool

texts = st.one_of(st.none(), st.text(alphabet="ab\0ü😀 ", max_size=5))
histories = st.lists(
    st.lists(
        st.tuples(st.integers(0, 30), texts), min_size=1, max_size=8, unique_by=lambda t: t[0]
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(histories, st.text(alphabet="ab\0ü😀 ", min_size=1, max_size=2))
def test_it_is_a_dict_of_texts(history: list[list[tuple[int, str | None]]], needle: str) -> None:
    pool, expected = TextPool(hashed=True), {}
    for changes in history:
        labels = np.array([label for label, _ in changes])
        pool.resize(int(labels.max()) + 1)
        pool.put(labels, [text for _, text in changes])
        expected.update(dict(changes))
    everything = np.arange(len(pool))
    assert pool.get(everything) == [expected.get(label) for label in range(len(pool))]
    found = [label for label, text in sorted(expected.items()) if text and needle in text]
    assert np.flatnonzero(pool.contains(needle)).tolist() == found
    assert pool.present().tolist() == [expected.get(i) is not None for i in range(len(pool))]
    assert pool.nbytes > 0


def test_ids_are_found_one_by_one_and_all_at_once() -> None:
    pool = TextPool(hashed=True)
    pool.resize(1_000)
    pool.put(np.arange(1_000), [f"id {i}" for i in range(1_000)])
    alive = np.ones(1_000, dtype=bool)
    alive[5] = False
    assert pool.find(["id 7", "nope", "id 5"], alive).tolist() == [7, -1, -1]
    many = [f"id {i}" for i in range(999, -1, -1)] + ["nope"]
    expected = [i if alive[i] else -1 for i in range(999, -1, -1)] + [-1]
    assert pool.find(many, alive).tolist() == expected


def test_no_texts_can_be_made_that_all_have_one_hash() -> None:
    # Two words of one CRC-32 and one length, so that it is the same after either.
    texts = ["".join(words) for words in product(("plumless", "buckeroo"), repeat=6)]
    assert len({crc32(text.encode()) for text in texts}) == 1
    pools = [TextPool(hashed=True) for _ in range(2)]
    hashes = []
    for pool in pools:
        pool.resize(len(texts))
        pool.put(np.arange(len(texts)), texts)
        hashes.append(pool.sections()["hashes"])
        assert len(np.unique(hashes[-1])) > len(texts) - 2
    # Who has seen the hashes of one pool knows nothing of another's.
    assert not np.array_equal(*hashes)


def test_a_pool_that_was_saved_finds_its_texts() -> None:
    pool = TextPool(hashed=True)
    pool.resize(50)
    pool.put(np.arange(50), [f"id {i}" for i in range(50)])
    saved = {name: bytearray(piece) for name, piece in pool.sections().items()}
    restored = TextPool.restore(saved)
    assert restored.find(["id 7", "nope"], np.ones(50, dtype=bool)).tolist() == [7, -1]
    restored.resize(51)
    restored.put(np.array([50]), ["new"])
    wanted = ["new", *(f"id {i}" for i in range(50))]
    assert restored.find(wanted, np.ones(51, dtype=bool)).tolist() == [50, *range(50)]


def test_labels_are_split_by_the_bytes_of_their_texts() -> None:
    pool = TextPool()
    pool.resize(6)
    pool.put(np.arange(5), ["aa", "é", "x" * 50, None, ""])
    labels = np.array([0, 1, 2, 3, 4, 5])
    pieces = [piece.tolist() for piece in pool.split(labels, 10)]
    assert pieces == [[0, 1], [2, 3, 4], [5]]
    assert list(pool.split(labels[:0], 10)) == []
    assert [piece.tolist() for piece in pool.split(labels, 1 << 20)] == [labels.tolist()]
