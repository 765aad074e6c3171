"""What makes copies of records (exports, tables, maps, checks) takes no more memory than it has reckoned with."""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api import copying
from chroma_nb.api.copying import pieces_by_id
from chroma_nb.api.scanning import COPIES, PIECE_BYTES
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory import preflight
from chroma_nb.plotting.projection import project, projection_bytes
from chroma_nb.segment.snapshot import is_damaged, save_snapshot
from chroma_nb.transfer.stores import place_of
from tests.memory.fakes import MIB, FakeMachine, tight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = "x" * MIB
N_SHORT, N_LONG = 300, 40


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A store of texts of 1 MiB, with short ones before them in another collection."""
    settings = chroma_nb.Settings(progress=False, fsync=False)
    with chroma_nb.PersistentClient(tmp_path_factory.mktemp("long") / "s", settings) as client:
        for name, n_short in (("long", 0), ("mixed", N_SHORT)):
            texts = ["short"] * n_short + [LONG] * N_LONG
            client.create_collection(name, embedding_function=None).add(
                ids=[f"{row:04}" for row in range(len(texts))],
                embeddings=np.ones((len(texts), 2), np.float32),
                documents=texts,
                metadatas=[{"row": row} for row in range(len(texts))],
            )
        yield client


def place(client: Any, name: str) -> Any:
    return place_of(client.get_collection(name, embedding_function=None))


def bytes_of_pieces(source: Any) -> list[int]:
    return [sum(map(len, piece.documents)) for piece in source.scan()]


def traced(call: Callable[[], object]) -> int:
    """Return the most bytes that a call held."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_pieces_of_long_texts_are_small_from_the_first(client: Any) -> None:
    found = bytes_of_pieces(place(client, "long"))
    assert sum(found) == N_LONG * MIB
    assert COPIES * max(found) <= PIECE_BYTES


def test_a_piece_whose_records_are_longer_than_others_fits_with_its_copies(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tight(monkeypatch, 24 * MIB)
    found = bytes_of_pieces(place(client, "mixed"))
    assert sum(found) == N_LONG * MIB + N_SHORT * len("short")
    assert COPIES * max(found) <= 24 * MIB


def test_where_no_sizes_are_known_one_record_is_read_first(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying.Place, "record_bytes", lambda _: None)
    source = place(client, "long")
    pieces = pieces_by_id(source, source.get(include=()).ids)
    found = [sum(map(len, piece.documents or ())) for piece in pieces]
    assert found[0] == MIB
    assert COPIES * max(found) <= PIECE_BYTES


def test_a_record_that_does_not_fit_is_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tight(monkeypatch, 2 * MIB)
    with pytest.raises(MemoryBudgetError, match=r"^A copy of the record '0000'"):
        bytes_of_pieces(place(client, "long"))


@pytest.mark.parametrize("where", [None, {"row": {"$gte": 0}}], ids=["all", "some"])
def test_a_table_of_long_texts_is_refused(
    client: Any, where: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    docs = client.get_collection("long", embedding_function=None)
    monkeypatch.setattr(preflight, "MACHINE", FakeMachine((N_LONG + 8) * MIB))
    with pytest.raises(MemoryBudgetError, match=rf"^to_arrow\(\) of {N_LONG} records"):
        docs.to_arrow(where=where)


def test_pandas_itself_needs_room_beside_the_answer(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    docs = client.get_collection("long", embedding_function=None)
    found = docs.get(include=[])
    monkeypatch.setattr(preflight, "MACHINE", FakeMachine(20 * MIB))
    monkeypatch.delitem(sys.modules, "pandas")
    for call in (docs.to_pandas, found.to_pandas):
        with pytest.raises(MemoryBudgetError, match=r"^Importing pandas"):
            call()
    assert "pandas" not in sys.modules


def test_a_frame_of_many_columns_is_refused(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    wide = client.get_or_create_collection("wide", embedding_function=None)
    n = 1_000
    wide.add(
        ids=[str(row) for row in range(n)],
        embeddings=np.ones((n, 1), np.float32),
        metadatas=[{f"key {row}": row} for row in range(n)],
    )
    monkeypatch.setattr(preflight, "MACHINE", FakeMachine(20 * MIB))
    with pytest.raises(MemoryBudgetError, match=r"^A table of 1,000 rows and 1,007 columns"):
        wide.to_pandas()
    assert wide.get().to_pandas().shape[0] == n


def test_a_snapshot_is_checked_in_pieces(tmp_path: Path) -> None:
    prefix = str(tmp_path / "one")
    assert save_snapshot(prefix, 1, {"texts": bytearray(20 * MIB), "none": bytearray()})
    looked: list[int] = []
    assert traced(lambda: looked.append(is_damaged(prefix, looked.append) == "")) < 4 * MIB
    assert looked[0] > 20 * MIB
    assert looked[1]
    path = tmp_path / "one.segment"
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert is_damaged(prefix, looked.append) == str(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert is_damaged(prefix, looked.append) == str(path)


@pytest.mark.parametrize(("n", "dimension"), [(800, 4_096), (1_500, 1_025), (10_000, 256)])
def test_a_projection_takes_what_is_said(n: int, dimension: int) -> None:
    embeddings = np.random.default_rng(1).standard_normal((n, dimension), dtype=np.float32)
    assert traced(lambda: project(embeddings)) <= projection_bytes(n, dimension, "pca")
    assert projection_bytes(n, dimension, "pca") < embeddings.nbytes
