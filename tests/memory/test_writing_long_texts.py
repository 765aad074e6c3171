"""A write takes the memory that it needs before it begins: it is refused in time, and the way out works."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import chroma_nb
from chroma_nb.db.base import RecordRows
from chroma_nb.db.row_pieces import row_pieces
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory import preflight
from tests.memory.fakes import FakeMachine, tight
from tests.stores import private_settings

if TYPE_CHECKING:
    from pathlib import Path

MB = 1_000_000


def long_texts(n: int) -> list[str]:
    return [f"{row} " + "lorem ipsum " * 83_000 for row in range(n)]


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
@pytest.mark.parametrize("in_folder", [True, False], ids=["in a folder", "in memory"])
def test_a_write_that_does_not_fit_is_refused_before_it_begins_and_fits_in_the_parts_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, in_folder: bool
) -> None:
    settings = private_settings(**({"path": str(tmp_path / "store")} if in_folder else {}))
    ids, vectors, texts = [str(row) for row in range(12)], np.ones((12, 2)), long_texts(12)
    with chroma_nb.Client(settings) as client:
        docs = client.create_collection("docs", embedding_function=None)
        if method == "update":
            docs.add(ids=ids, embeddings=vectors)
        count = docs.count()
        with monkeypatch.context() as patch:
            tight(patch, 18 * MB)
            write = getattr(docs, method)
            with pytest.raises(MemoryBudgetError, match="Writing 12 records") as refused:
                write(ids=ids, embeddings=vectors, documents=texts)
            assert docs.count() == count
            found = re.search(r"write them in parts of (\d+)", str(refused.value))
            assert found is not None
            step = int(found[1])
            for start in range(0, 12, step):
                part = slice(start, start + step)
                write(ids=ids[part], embeddings=vectors[part], documents=texts[part])
        assert docs.get(ids=ids, include=["documents"])["documents"] == texts


def test_pieces_of_texts_cover_all_rows_in_order_and_are_small() -> None:
    texts: list[str | None] = ["é" * length for length in (1, 5, 0, 30, 2, 2, 2, 2)]
    n = len(texts)
    numbers = np.arange(n)
    rows = RecordRows(numbers, numbers, ["a"] * n, texts, [None] * n, [None] * n)
    pieces = list(row_pieces(rows.text_bytes, 3, 20))
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(n))
    sizes = [int(rows.text_bytes[piece].sum()) for piece in pieces]
    assert all(
        size <= 20 or piece.stop - piece.start == 1
        for size, piece in zip(sizes, pieces, strict=True)
    )
    assert len(pieces) == 4


def test_an_sql_answer_of_long_texts_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chroma_nb.Client(private_settings(path=str(tmp_path / "store"))) as client:
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(
            ids=[str(row) for row in range(12)],
            embeddings=np.ones((12, 2)),
            documents=long_texts(12),
        )
        with monkeypatch.context() as patch:
            patch.setattr(preflight, "MACHINE", FakeMachine(60 * MB))
            with pytest.raises(MemoryBudgetError, match="An answer of 12 rows"):
                client.sql("SELECT * FROM docs -- all of them")
            assert len(client.sql("SELECT id FROM docs")) == 12
            assert len(client.sql("SELECT * FROM docs LIMIT $n", {"n": 2})) == 2
        assert len(client.sql("SELECT * FROM docs")) == 12


_UNDER_A_LIMIT = """
import resource, sys
import chroma_nb
docs = chroma_nb.Client(sys.argv[1]).create_collection("docs", embedding_function=None)
texts = [f"{row} " + "lorem ipsum " * 83_000 for row in range(60)]
import psutil
# Less than a copy of the texts is left.
limit = psutil.Process().memory_info().data + 50_000_000
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    docs.add(ids=[str(row) for row in range(60)], embeddings=[[1.0, 2.0]] * 60, documents=texts)
except MemoryError as error:
    print(type(error).__name__, error)
print(docs.count())
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA counts what is allocated on Linux alone"
)
def test_a_limit_of_the_process_is_named_as_well(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_A_LIMIT, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.startswith("MemoryBudgetError Writing 60 records")
    assert done.stdout.endswith("\n0\n")
