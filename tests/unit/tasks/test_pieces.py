"""How texts are cut into pieces: bounded in number and in bytes, and none is left out."""

from __future__ import annotations

import pytest

pytest.importorskip("celery")

import itertools

from chroma_nb.tasks.messages import PIECE_BYTES, PIECE_TEXTS, text_bytes
from chroma_nb.tasks.pieces import _cut


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000])
def test_short_texts_go_by_their_number(n: int) -> None:
    found = [(one.start, one.stop) for one in _cut(["x"] * n, PIECE_TEXTS)]
    assert found[0][0] == 0
    assert found[-1][1] == n
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    assert all(stop - start <= PIECE_TEXTS for start, stop in found)


def test_long_texts_go_by_their_bytes_and_larger_ones_alone() -> None:
    texts = ["a" * (3 << 20), "b" * (3 << 20), "c" * (9 << 20), "d", "ü" * (1 << 20), "e"]
    found = [(one.start, one.stop) for one in _cut(texts, PIECE_TEXTS)]
    assert found == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    for start, stop in found:
        assert stop - start == 1 or sum(map(text_bytes, texts[start:stop])) <= PIECE_BYTES
