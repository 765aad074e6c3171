"""Several queries that find the same records: their texts are made once, as they are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.workspace import WORKSPACE
from tests.memory.fakes import MIB, tight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N = 100
QUERIES = np.ones((20, 2), dtype=np.float32)


@pytest.fixture
def docs(tmp_path: Path) -> Iterator[Any]:
    settings = chroma_nb.Settings(progress=False, fsync=False)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(
            ids=[str(row) for row in range(N)],
            embeddings=np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32),
            documents=["x" * 20_000 + str(row) for row in range(N)],
            metadatas=[{"row": row} for row in range(N)],
        )
        yield docs


@pytest.mark.parametrize("is_loaded", [True, False])
def test_queries_share_the_texts_that_they_find(
    docs: Any, is_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_loaded:
        # Nothing fits: it is answered from the disk.
        monkeypatch.setattr(
            "chroma_nb.segment.resident_set.ResidentSet.reserve", lambda *_, **__: False
        )
    tight(monkeypatch, 8 * MIB)
    found = docs.query(query_embeddings=QUERIES, n_results=N)
    texts = [text for row in found["documents"] for text in row]
    assert len(texts) == 20 * N
    assert len({id(text) for text in texts}) == N
    assert all(
        text == "x" * 20_000 + name
        for names, row in zip(found["ids"], found["documents"], strict=True)
        for name, text in zip(names, row, strict=True)
    )
    # Each with a dict of its own, which its reader may change.
    assert len({id(one) for row in found["metadatas"] for one in row}) == 20 * N


def test_an_answer_that_becomes_json_counts_a_text_for_each_query(
    docs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tight(monkeypatch, 30 * MIB)
    docs.query(query_embeddings=QUERIES, n_results=N)
    with WORKSPACE.holding_answers(1.0), pytest.raises(MemoryBudgetError):
        docs.query(query_embeddings=QUERIES, n_results=N)
