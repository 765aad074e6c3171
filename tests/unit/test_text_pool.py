"""`TextPool` against a plain dict, whatever the texts."""

from __future__ import annotations

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
