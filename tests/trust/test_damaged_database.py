"""A store that opens, and whose database has a block that cannot be read: who asks is told, and can save the rest."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb import cli
from chroma_nb.errors import StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Ids that fill blocks of their own, so that nothing else is damaged with them.
N, ID_BYTES = 3_000, 150
#: Of a file of DuckDB's, in bytes.
HEADERS, BLOCK = 3 * 4_096, 262_144


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a snapshot, in which the ids of the collection notes cannot be read from the database."""
    path = tmp_path / "store"
    with chroma.PersistentClient(path) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=[secrets.token_hex(ID_BYTES) for _ in range(N)],
            embeddings=[[float(i), 1.0] for i in range(N)],
            documents=[f"note {i}" for i in range(N)],
        )
        client.create_collection("other", embedding_function=None).add(ids="a", embeddings=[1.0])
        table = f"records_{notes.id.hex}_0"
        client.memory.load("notes")
        notes.unload()
    damage(path, table, "id")
    return path


def damage(store: Path, table: str, column: str) -> None:
    """Flip a bit in the first block that a column of a table is in."""
    with duckdb.connect(str(store / "records.duckdb"), read_only=True) as connection:
        used = connection.execute(
            f"SELECT block_id FROM pragma_storage_info('{table}') "
            f"WHERE column_name = '{column}' AND segment_type != 'VALIDITY' AND block_id >= 0"
        ).fetchall()
    with (store / "records.duckdb").open("r+b") as file:
        at = HEADERS + used[0][0] * BLOCK + BLOCK // 2
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))


READS: dict[str, Callable[[Any], object]] = {
    "everything": lambda client: client["notes"].get(),
    "by id": lambda client: client["notes"].get(ids=["a"]),
    "by document": lambda client: client["notes"].get(where_document={"$contains": "note 1"}),
    "a part": lambda client: client["notes"].get(limit=5),
    "deleting": lambda client: client["notes"].delete(ids=["a"]),
    "sql": lambda client: client.sql("SELECT max(id) FROM notes"),
}


@pytest.mark.parametrize("read", READS)
def test_whoever_reads_what_is_damaged_is_told_so(store: Path, read: str) -> None:
    with chroma.PersistentClient(store) as client:
        with pytest.raises(StoreCorruptError, match=r"memory\.load"):
            READS[read](client)
        assert client["other"].get()["ids"] == ["a"]


def test_a_collection_with_a_snapshot_can_be_saved(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    assert cli.main(["check", str(store)]) == 3
    assert "client.memory.load(name)" in capsys.readouterr().out
    with chroma.PersistentClient(store) as client:
        assert [one.is_whole for one in client.check().collections] == [False, True]
        client.memory.load("notes")
        assert client["notes"].export(tmp_path / "saved.parquet") == N
    with chroma.PersistentClient(tmp_path / "new") as client:
        saved = client.import_(tmp_path / "saved.parquet", name="notes")
        assert saved.get()["documents"] == [f"note {i}" for i in range(N)]


def test_a_write_that_meets_damage_is_not_to_be_repeated(tmp_path: Path) -> None:
    with chroma.PersistentClient(tmp_path) as client:
        for name in ("notes", "other"):
            large = client.create_collection(name, embedding_function=None)
            large.add(
                ids=[secrets.token_hex(ID_BYTES) for _ in range(N)],
                embeddings=np.zeros((N, 128), dtype=np.float32),
            )
    damage(tmp_path, "vector_sums", "sums")
    with chroma.PersistentClient(tmp_path) as client:
        with pytest.raises(StoreCorruptError, match="Nothing of this call was kept") as caught:
            client.delete_collection("notes")
        assert "epeat" not in str(caught.value)
        assert client["notes"].count() == N
