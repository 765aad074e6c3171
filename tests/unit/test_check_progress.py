"""`client.check()`: its progress bar counts all that is read, derived files included."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb as chroma
from chroma_nb.db.vector_file import HEADER_BYTES
from chroma_nb.progress import progress_bar

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_derived_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    totals: list[int] = []

    def counted(total: int, *given: Any, **named: Any) -> Any:
        totals.append(total)
        return progress_bar(total, *given, **named)

    monkeypatch.setattr("chroma_nb.segment.checking.progress_bar", counted)
    with chroma.Client(chroma.Settings(path=str(tmp_path), graph_min_records=100)) as client:
        notes = client.create_collection("notes")
        vectors = np.random.default_rng(0).standard_normal((300, 8), dtype=np.float32)
        notes.add(ids=[str(n) for n in range(300)], embeddings=vectors)
        notes.build_index()
        notes.unload()
        derived = sum(os.path.getsize(file) for file in (tmp_path / "indexes").iterdir())
        assert derived > 0
        client.check()
    assert totals == [HEADER_BYTES + vectors.nbytes + derived]
