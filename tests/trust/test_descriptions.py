"""Long descriptions of collections: they are refused, whichever way they come, and a store that has some still opens."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb as chroma
from chroma_nb.errors import InvalidArgumentError
from tests.stores import private_settings

if TYPE_CHECKING:
    from pathlib import Path

_LONG = {"k": "x" * 1_100_000}
_FUNCTION = {
    "hnsw": {"space": "l2"},
    "embedding_function": {"type": "known", "name": "mine", "config": _LONG},
}


def test_a_long_description_is_refused_when_a_collection_is_made_or_changed() -> None:
    with chroma.Client(private_settings()) as client:
        with pytest.raises(InvalidArgumentError, match=r"1\.0 MB.*max_description"):
            client.create_collection("notes", embedding_function=None, metadata=_LONG)
        assert client.count_collections() == 0
        notes = client.create_collection("notes", embedding_function=None, metadata={"k": "v"})
        with pytest.raises(InvalidArgumentError, match="max_description"):
            notes.modify(metadata=_LONG)
        assert notes.metadata == {"k": "v"}
        with pytest.raises(InvalidArgumentError, match=r"Most of it is the configuration"):
            client.api.create_collection(
                "others",
                _FUNCTION,
                None,
                get_or_create=False,
                tenant=client.tenant,
                database=client.database,
            )


def test_names_of_tenants_and_databases_are_limited(tmp_path: Path) -> None:
    settings = chroma.Settings(path=str(tmp_path))
    with chroma.Client(settings=settings):
        admin = chroma.AdminClient(settings)
        for make in (admin.create_tenant, admin.create_database):
            make("n" * 512)
            with pytest.raises(InvalidArgumentError, match=r"at most 512 characters.*513"):
                make("n" * 513)


def test_a_long_description_in_a_file_is_refused(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with chroma.Client(private_settings()) as client:
        notes = client.create_collection("notes", embedding_function=None, metadata={"k": "v"})
        notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
        notes.export(tmp_path / "notes.parquet")
        table = parquet.read_table(tmp_path / "notes.parquet")
        about = dict(table.schema.metadata)
        [key] = [one for one in about if b"chroma" in one and b"crc" not in one]
        said = json.loads(about[key])
        about[key] = json.dumps({**said, "metadata": _LONG}).encode()
        about[b"chroma_nb_crc32"] = str(zlib.crc32(about[key])).encode()
        parquet.write_table(table.replace_schema_metadata(about), tmp_path / "long.parquet")
        with pytest.raises(InvalidArgumentError, match="max_description"):
            client.import_(tmp_path / "long.parquet", name="long")
        assert [one.name for one in client.list_collections()] == ["notes"]


def test_a_store_with_long_descriptions_opens_and_they_can_be_deleted(tmp_path: Path) -> None:
    # Older versions took descriptions of any size. Together they are more than DuckDB may use.
    n, limit = 5, "64 MB"
    free: dict[str, Any] = {"path": str(tmp_path), "max_description": "1 GB"}
    with chroma.Client(settings=chroma.Settings(**free)) as client:
        kept = client.create_collection("kept", embedding_function=None)
        kept.add(ids=["a"], embeddings=[[1.0, 2.0]], documents=["precious"])
        for i in range(n):
            client.create_collection(
                f"long{i}", embedding_function=None, metadata={"k": "x" * 20_000_000}
            )
    narrow: dict[str, Any] = {"path": str(tmp_path), "duckdb_memory_limit": limit}
    for i in range(n):
        with chroma.Client(settings=chroma.Settings(**narrow)) as client:
            kept = client.get_collection("kept", embedding_function=None)
            assert kept.get()["documents"] == ["precious"]
            assert client.count_collections() == 1 + n - i
            client.delete_collection(f"long{i}")
    with chroma.Client(tmp_path) as client:
        assert [one.name for one in client.list_collections()] == ["kept"]
