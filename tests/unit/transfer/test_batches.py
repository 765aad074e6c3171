"""`to_arrow(batches=True)`: a reader of one version that others take as it is, and that holds a few megabytes."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError, NotFoundError
from chroma_nb.segment.scans import LocalScan
from chroma_nb.transfer.export_format import RecordBatches
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pa = pytest.importorskip("pyarrow")

N, DIMENSION = 1_000, 8
MB = 1_000_000


@pytest.fixture
def docs() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as client:
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(
            ids=[f"id{row}" for row in range(N)],
            embeddings=np.random.default_rng(0).normal(size=(N, DIMENSION)).astype(np.float32),
            documents=[f"text {row}" for row in range(N)],
            metadatas=[{"n": row, "é": [1.5]} for row in range(N)],
        )
        yield docs


def scans_of(docs: Any) -> int:
    return len(docs.api.segments._slots.get(docs.id).scans or ())


def test_the_batches_are_the_table_of_that_moment(docs: Any) -> None:
    table = docs.to_arrow()
    reader = docs.to_arrow(batches=True)
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.schema.equals(table.schema, check_metadata=True)
    batches = [reader.read_next_batch()]
    assert batches[0].num_rows < N
    docs.delete(ids=[f"id{row}" for row in range(0, N, 2)])
    docs.update(ids=[f"id{row}" for row in range(1, N, 2)], metadatas=[{"n": -1}] * (N // 2))
    docs.api.segments.compact(docs.id)
    batches += list(reader)
    assert pa.Table.from_batches(batches).equals(table)
    assert scans_of(docs) == 0
    assert docs.to_arrow(where={"n": -1}).num_rows == N // 2


def test_others_take_it_as_it_is(docs: Any) -> None:
    import duckdb

    reader = docs.to_arrow(batches=True)
    query = "SELECT count(*), sum(CAST(metadata->>'n' AS INT)), max(len(embedding)) FROM reader"
    assert duckdb.sql(query).fetchall() == [(N, N * (N - 1) // 2, DIMENSION)]
    assert reader.schema.names[0] == "id"
    frame = docs.to_arrow(batches=True).read_pandas()
    assert frame["id"].tolist() == docs.get(include=[])["ids"]
    polars = pytest.importorskip("polars")
    frame = polars.from_arrow(docs.to_arrow(batches=True))
    assert frame["document"].to_list() == docs.get()["documents"]
    with chroma_nb.EphemeralClient(private_settings(progress=False)) as other:
        copy = other.create_collection("copy", embedding_function=None)
        copy.from_arrow(docs.to_arrow(batches=True))
        assert copy.to_arrow().to_pylist() == docs.to_arrow().to_pylist()


@pytest.mark.parametrize("way", ["dropped", "closed", "read"])
def test_one_that_is_not_read_leaves_nothing(docs: Any, way: str) -> None:
    reader = docs.to_arrow(batches=True)
    reader.read_next_batch()
    assert scans_of(docs) == 1
    if way == "closed":
        reader.close()
    elif way == "read":
        reader.read_all()
    del reader
    gc.collect()
    assert scans_of(docs) == 0


def test_a_reader_goes_on_where_an_error_or_an_interrupt_has_stopped_it(
    docs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = docs.to_arrow()
    for error in (KeyboardInterrupt(), MemoryBudgetError("no room now")):
        for part in ((LocalScan, "read"), (RecordBatches, "_batch")):
            reader = docs.to_arrow(batches=True)
            batches = [reader.read_next_batch()]

            def fail(*_: Any, error: BaseException = error) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(*part, fail)
                with pytest.raises((type(error), pa.ArrowException)):
                    reader.read_next_batch()
            batches += list(reader)
            assert pa.Table.from_batches(batches).equals(expected), "not the end of all records"


def test_one_whose_collection_is_deleted_says_so(docs: Any) -> None:
    reader = docs.to_arrow(batches=True)
    reader.read_next_batch()
    docs.client.delete_collection("docs")
    with pytest.raises((NotFoundError, pa.ArrowException), match="does not exist"):
        reader.read_all()


def test_it_holds_a_few_megabytes(docs: Any) -> None:
    for start in range(0, 40_000, 10_000):
        docs.add(
            ids=[f"more{row}" for row in range(start, start + 10_000)],
            embeddings=np.ones((10_000, DIMENSION), np.float32),
            documents=["x" * 2_000] * 10_000,
        )
    tracemalloc.start()
    try:
        n_bytes = sum(batch.nbytes for batch in docs.to_arrow(batches=True))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n_bytes > 80 * MB
    assert held < 32 * MB
