"""Files of two stores that began as copies of one backup, mixed in one folder: never read as if they belonged together."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xxhash

import chroma_nb
from chroma_nb.db.commit_file import ANY_LOG, CommitFile
from chroma_nb.errors import StoreCorruptError

if TYPE_CHECKING:
    from pathlib import Path

DIMENSION = 8

#: Opens the store and adds records. Arguments: the folder, the mark of the records, how many, "close" or "kill".
WORK = f"""
import os, sys, numpy as np, chroma_nb
path, mark, n, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
seed = sum(map(ord, mark))
client = chroma_nb.PersistentClient(path, chroma_nb.Settings(graph_min_records=100, progress=False))
notes = client.get_or_create_collection("notes", embedding_function=None)
ids = [f"{{mark}}-{{i}}" for i in range(n)]
vectors = np.random.default_rng(seed).standard_normal((n, {DIMENSION})).astype(np.float32)
notes.add(ids=ids, embeddings=vectors, documents=ids)
if end == "kill":
    os._exit(0)
notes.build_index()
notes.query(query_embeddings=vectors[:1], n_results=1)
client.close()
"""


def work(path: Path, mark: str, n: int, end: str = "close") -> None:
    subprocess.run([sys.executable, "-c", WORK, str(path), mark, str(n), end], check=True)


def vectors_of(mark: str, n: int) -> np.ndarray:
    seed = sum(map(ord, mark))
    return np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)


def opened(path: Path) -> Any:
    settings = chroma_nb.Settings(graph_min_records=100, progress=False)
    return chroma_nb.PersistentClient(path, settings)


@pytest.mark.parametrize("n", [20, 300])
def test_derived_files_of_records_that_a_backup_has_undone_are_not_used(
    tmp_path: Path, n: int
) -> None:
    """A backup without derived files is put back, and other records are added than before."""
    path, backup = tmp_path / "store", tmp_path / "backup"
    work(path, "monday", n)
    shutil.copytree(path, backup, ignore=shutil.ignore_patterns("indexes"))
    work(path, "wrong", n)
    shutil.copytree(path / "indexes", tmp_path / "indexes")
    for name in ("records.duckdb", "commits"):
        shutil.copy(backup / name, path / name)
    shutil.rmtree(path / "vectors")
    shutil.copytree(backup / "vectors", path / "vectors")
    work(path, "right", n, "kill")
    # There are as many records, labels and commits as before, and the snapshot and graph are those of "wrong".
    shutil.rmtree(path / "indexes")
    shutil.copytree(tmp_path / "indexes", path / "indexes")
    with opened(path) as client:
        notes = client.get_collection("notes", embedding_function=None)
        found = notes.query(query_embeddings=vectors_of("right", n), n_results=1)["ids"]
        assert [one for (one,) in found] == [f"right-{i}" for i in range(n)]
        notes.build_index()
        found = notes.query(query_embeddings=vectors_of("right", n), n_results=1)["ids"]
        assert [one for (one,) in found] == [f"right-{i}" for i in range(n)]
        assert notes.get(ids=["right-3"])["documents"] == ["right-3"]
        assert not notes.get(ids=["wrong-3"])["ids"]


def test_an_older_database_under_a_newer_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    work(path, "first", 20)
    shutil.copy(path / "records.duckdb", tmp_path / "older")
    work(path, "second", 20)
    shutil.copy(path / "records.duckdb", tmp_path / "right")
    work(path, "third", 20, "kill")
    assert (path / "records.duckdb.wal").stat().st_size
    shutil.copy(tmp_path / "older", path / "records.duckdb")
    before = {one: one.read_bytes() for one in path.rglob("*") if one.is_file()}
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match="not the one that its log"):
            opened(path)
    for one, data in before.items():
        assert one.name == "lock" or one.read_bytes() == data
    shutil.copy(tmp_path / "right", path / "records.duckdb")
    with opened(path) as client:
        assert client.check().is_whole
        assert client.get_collection("notes", embedding_function=None).count() == 60


def test_an_older_database_with_its_commits_under_a_newer_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    work(path, "first", 20)
    for name in ("records.duckdb", "commits"):
        shutil.copy(path / name, tmp_path / name)
    work(path, "second", 20)
    work(path, "third", 20, "kill")
    for name in ("records.duckdb", "commits"):
        shutil.copy(tmp_path / name, path / name)
    with pytest.raises(StoreCorruptError, match="Records would be missing"):
        opened(path)


@pytest.mark.parametrize("end", ["close", "kill"])
def test_an_older_log_beside_a_newer_database_is_refused(tmp_path: Path, end: str) -> None:
    """DuckDB would read it into the database once more, and its records would be there twice."""
    path = tmp_path / "store"
    log = path / "records.duckdb.wal"
    work(path, "first", 20)
    work(path, "second", 20, "kill")
    shutil.copy(log, tmp_path / "older")
    with opened(path) as client:
        client.get_collection("notes", embedding_function=None)
    if end == "kill":
        work(path, "third", 20, "kill")
        shutil.copy(log, tmp_path / "right")
    shutil.copy(tmp_path / "older", log)
    with pytest.raises(StoreCorruptError, match="there twice"):
        opened(path)
    if end == "kill":
        shutil.copy(tmp_path / "right", log)
    else:
        log.unlink()
    with opened(path) as client:
        assert client.check().is_whole
        n = client.get_collection("notes", embedding_function=None).count()
        assert n == (60 if end == "kill" else 40)


def test_an_older_version_of_the_file_of_commits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "store"
    work(path, "first", 20, "kill")
    noted = CommitFile(str(path / "commits")).read()
    assert noted is not None
    assert noted.header
    assert noted.log.n_bytes
    body = struct.pack("<8sQQ", b"CNBCOMM\x01", noted.number, noted.header)
    whole = body + struct.pack("<Q", xxhash.xxh3_64_intdigest(body))
    (path / "commits").write_bytes(whole)
    assert CommitFile(str(path / "commits")).read() == noted._replace(log=ANY_LOG)
    with opened(path) as client:
        assert client.get_collection("notes", embedding_function=None).count() == 20


def test_a_log_that_is_deleted_while_the_store_is_open_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with opened(path) as client:
        notes = client.create_collection("notes", embedding_function=None)
        for i in range(5):
            notes.add(ids=[str(i)], embeddings=[[1.0, float(i)]])
        (path / "records.duckdb.wal").unlink()
        notes.add(ids=["more"], embeddings=[[2.0, 2.0]])
        (path / "records.duckdb.wal").unlink(missing_ok=True)
    with opened(path) as client:
        notes = client.get_collection("notes", embedding_function=None)
        assert notes.count() == 6
        assert client.check().is_whole


def test_a_log_that_grows_is_written_into_the_database(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with opened(path) as client:
        notes = client.create_collection("notes", embedding_function=None)
        for i in range(12):
            ids = [f"{i}-{one}" for one in range(1_000)]
            documents = [one * 300 for one in ids]
            notes.add(ids=ids, embeddings=np.ones((1_000, 2)), documents=documents)
        log = path / "records.duckdb.wal"
        assert not log.exists() or log.stat().st_size < 20 << 20
        assert (path / "records.duckdb").stat().st_size > 1 << 20
        assert notes.count() == 12_000
