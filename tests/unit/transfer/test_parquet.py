"""Parquet files out and in."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import chroma_nb
from chroma_nb import transfer
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.errors import InvalidArgumentError
from tests.unit.transfer.records import content

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")


def test_a_file_comes_back_as_it_was(client: Any, notes: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.parquet"
    assert notes.export(file) == 3
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as other:
        other.reset()
        again = other.import_(file)
        assert (again.name, again.metadata) == ("notes", {"about": "tests"})
        assert again.configuration_json == notes.configuration_json
        assert content(again) == content(notes)
        # Once more: what is there stays.
        assert other.import_(file).count() == 3
        assert other.import_(file, "other-name").count() == 3
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["notes.parquet"]


def test_an_empty_collection_comes_back_too(client: Any, tmp_path: Path) -> None:
    empty = client.create_collection("empty", embedding_function=None)
    assert empty.export(tmp_path / "empty.parquet") == 0
    assert client.import_(tmp_path / "empty.parquet", "again").count() == 0


def test_many_records_go_in_pieces(client: Any, tmp_path: Path) -> None:
    n = 2 * transfer.PIECE_RECORDS + 17
    many = client.create_collection("many", embedding_function=None)
    vectors = np.random.default_rng(0).standard_normal((n, 4)).astype(np.float32)
    many.add(ids=[f"id {i}" for i in range(n)], embeddings=vectors)
    assert many.export(tmp_path / "many.parquet") == n
    again = client.import_(tmp_path / "many.parquet", "again")
    got = again.get(include=["embeddings"])
    assert got["ids"] == [f"id {i}" for i in range(n)]
    np.testing.assert_array_equal(got["embeddings"], vectors)
    assert len(many.to_pandas()) == n


def test_what_differs_from_record_to_record_is_written_without_a_dictionary(
    client: Any, tmp_path: Path
) -> None:
    """It would be megabytes more in memory, of the writer and of a reader, whatever the size of a piece."""
    n, dimension = 2_000, 256
    many = client.create_collection("many", embedding_function=None)
    vectors = np.random.default_rng(0).standard_normal((n, dimension)).astype(np.float32)
    many.add(ids=[f"id {i}" for i in range(n)], embeddings=vectors, documents=["the same"] * n)
    many.export(tmp_path / "many.parquet")
    assert (tmp_path / "many.parquet").stat().st_size < 1.1 * vectors.nbytes
    groups = pq.ParquetFile(tmp_path / "many.parquet").metadata
    columns = [groups.row_group(0).column(at) for at in range(groups.num_columns)]
    kinds = {one.path_in_schema.partition(".")[0]: one.has_dictionary_page for one in columns}
    assert kinds == {
        **dict.fromkeys(("id", "document", "embedding"), False),
        **dict.fromkeys(("uri", "metadata"), True),
    }


def test_an_interrupted_export_leaves_nothing(notes: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*args: Any) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(transfer.export, "RecordBatches", fail)
    with pytest.raises(KeyboardInterrupt):
        notes.export(tmp_path / "half.parquet")
    assert [one.name for one in tmp_path.iterdir()] == ["store"]


def test_a_pyarrow_that_knows_no_checksums_is_refused_by_its_version(
    client: Any, notes: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pa, "__version__", "14.0.2")
    for call in (notes.export, client.import_):
        with pytest.raises(ImportError, match=r"pyarrow 15 or newer.* 14\.0\.2 is installed"):
            call(tmp_path / "notes.parquet")
    assert not list(tmp_path.glob("*.parquet"))


def damaged(file: Path) -> None:
    """Flip a bit of an embedding in an export of [[1, 2], ...]: the checksum of its page is wrong then."""
    data = bytearray(file.read_bytes())
    data[data.index(np.array([1, 2], np.float32).tobytes()) + 3] ^= 1
    file.write_bytes(data)


def test_an_import_that_is_refused_makes_and_deletes_nothing(
    client: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Somebody else may be using a collection of that name by then."""
    source = client.create_collection("source", embedding_function=None)
    source.add(ids=["a"], embeddings=[[1.0, 2.0]])
    source.export(tmp_path / "file.parquet")
    damaged(tmp_path / "file.parquet")
    made = []
    create = client.api.create_collection
    monkeypatch.setattr(
        client.api,
        "create_collection",
        lambda *given, **named: made.append(given) or create(*given, **named),
    )
    with pytest.raises(InvalidArgumentError, match=r"checksum|CRC"):
        client.import_(tmp_path / "file.parquet", "notes")
    assert made == []


def test_an_export_is_on_the_disk_before_it_takes_the_place_of_an_older_one(
    notes: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    done: list[str] = []

    def noting(name: str) -> Any:
        work = getattr(os, name)
        return lambda *given: done.append(name) or work(*given)

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(name))
    notes.export(tmp_path / "notes.parquet")
    # The file, its name, and the folder that has it.
    assert done == ["fsync", "replace", "fsync"]


def test_another_parquet_file_is_refused_with_the_way_out(client: Any, tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InvalidArgumentError, match="from_arrow"):
        client.import_(tmp_path / "other.parquet")


def test_without_pyarrow_the_extra_is_named() -> None:
    script = (
        "import sys\nsys.modules['pyarrow'] = None\n"
        "import chroma_nb\n"
        "notes = chroma_nb.Client().create_collection('notes', embedding_function=None)\n"
        "try:\n    notes.export('x.parquet')\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert 'pip install "chroma-nb[arrow]"' in done.stdout, done.stderr


def test_a_file_without_records_is_read(client: Any, notes: Any, tmp_path: Path) -> None:
    """pyarrow writes a row group without rows then, whose pages are nowhere."""
    notes.export(tmp_path / "notes.parquet")
    table = pq.read_table(tmp_path / "notes.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    assert client.import_(tmp_path / "none.parquet", "none").count() == 0
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "other.parquet")
    with pytest.raises(InvalidArgumentError, match="from_arrow"):
        client.import_(tmp_path / "other.parquet")


@pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB before 2.0 imports pandas itself")
def test_files_and_tables_of_arrow_go_out_and_in_without_pandas(tmp_path: Path) -> None:
    """pyarrow imports it for many of its own conversions: 46 MB, where an import may be what just fits."""
    code = """
import sys
import chroma_nb

settings = chroma_nb.Settings(progress=False)
with chroma_nb.PersistentClient(sys.argv[1], settings) as client:
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        documents=["x", None, "x"],
        metadatas=[{"n": 1, "tags": ["p", "q"]}, None, {"n": 2.5}],
    )
    notes.export(sys.argv[1] + "/notes.parquet")
    for on_conflict in ("skip", "replace"):
        client.import_(sys.argv[1] + "/notes.parquet", "again", on_conflict=on_conflict)
    other = client.create_collection("other", embedding_function=None)
    other.from_arrow(notes.to_arrow())
    other.from_arrow(notes.to_arrow(batches=True), on_conflict="replace")
    with chroma_nb.EphemeralClient(settings) as memory:
        client.copy_to(memory)
    assert client.get_collection("again", embedding_function=None).get() == notes.get() == other.get()
print("pandas" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_forked_child_can_read_files_whatever_other_threads_were_doing() -> None:
    from chroma_nb import forked
    from chroma_nb.transfer import parquet_reader

    held = parquet_reader._POOL.lock
    assert parquet_reader._POOL.__init__ in forked._calls  # type: ignore[misc]
    with held:
        parquet_reader._POOL.__init__()  # type: ignore[misc]
        assert parquet_reader._POOL.lock is not held
