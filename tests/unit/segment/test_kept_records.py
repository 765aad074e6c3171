"""Records in a temporary file: they come back as they were, in any order, and the file is gone with the object."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chroma_nb.segment.kept_records import KeptRecords

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [("a", "ä" * 1_000, None, None), ("b", None, "uri", '{"n":1}'), ("c", "", None, None)]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_records_come_back_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    kept = KeptRecords(str(tmp_path), 2)
    first = kept.put(TEXTS[:1], VECTORS[:1])
    places = np.concatenate([first, kept.put(TEXTS[1:], VECTORS[1:])])
    texts, vectors = kept.get(places[[2, 0, 1]])
    assert texts == [list(TEXTS[row]) for row in (2, 0, 1)]
    assert np.array_equal(vectors, VECTORS[[2, 0, 1]])
    written = sum(len(json.dumps(one)) for one in TEXTS) + VECTORS.nbytes
    assert kept.size(places) == written


def test_without_embeddings_there_are_none(tmp_path: Path) -> None:
    kept = KeptRecords(str(tmp_path), 0)
    texts, vectors = kept.get(kept.put(TEXTS, None))
    assert texts == [list(one) for one in TEXTS]
    assert vectors.shape == (3, 0)


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    kept = KeptRecords(str(tmp_path), 2)
    kept.put(TEXTS, VECTORS)
    assert list(tmp_path.iterdir()) == []
    fd = kept._fd
    del kept
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
