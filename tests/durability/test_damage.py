"""Damaged and missing files: derived ones are made again; lost records raise an error."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import StoreCorruptError, VersionMismatchError
from chroma_nb.segment.snapshot import FORMAT_VERSION
from tests.support.database_file import edited_database

if TYPE_CHECKING:
    from pathlib import Path

DIMENSION = 24


def settings() -> chroma_nb.Settings:
    return chroma_nb.Settings(graph_min_records=100)


def make_store(path: Path, n: int = 600) -> np.ndarray:
    vectors = np.random.default_rng(3).standard_normal((n, DIMENSION)).astype(np.float32)
    with chroma_nb.PersistentClient(path, settings()) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=[str(i) for i in range(n)], embeddings=vectors)
        notes.build_index()
    return vectors


def graph_files(path: Path) -> list[Path]:
    found = sorted(file for file in (path / "indexes").iterdir() if ".graph" in file.name)
    assert len(found) == 2, found
    return found


def check_answers(path: Path, vectors: np.ndarray) -> None:
    with chroma_nb.PersistentClient(path, settings()) as client:
        notes = client.get_collection("notes", embedding_function=None)
        found = notes.query(query_embeddings=vectors[:50], n_results=1)
        assert [ids[0] for ids in found["ids"]] == [str(i) for i in range(50)]
        notes.build_index()
        assert notes.get_indexing_status().num_unindexed_ops == 0
        assert notes.explain(query_embeddings=vectors[0])["n_indexed"] == len(vectors)


def test_a_saved_graph_is_opened_and_not_built(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = make_store(tmp_path)
    written = [file.stat().st_mtime_ns for file in graph_files(tmp_path)]
    with chroma_nb.PersistentClient(tmp_path, settings()) as client:
        notes = client.get_collection("notes", embedding_function=None)
        assert notes.explain(query_embeddings=vectors[0])["n_indexed"] == len(vectors)
    assert [file.stat().st_mtime_ns for file in graph_files(tmp_path)] == written


@pytest.mark.parametrize(
    "damage",
    ["truncated", "flipped", "longer", "empty", "garbage", "bad header", "older", "stale", "gone"],
)
def test_a_damaged_snapshot_is_not_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = make_store(tmp_path)
    (snapshot,) = (tmp_path / "indexes").glob("*.segment")
    data = snapshot.read_bytes()
    after_header = data.index(b"\n") + 1
    if damage == "truncated":
        snapshot.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        snapshot.write_bytes(data[:-9] + bytes([data[-9] ^ 0xFF]) + data[-8:])
    elif damage == "longer":
        snapshot.write_bytes(data + b"more")
    elif damage == "empty":
        snapshot.write_bytes(b"")
    elif damage == "garbage":
        snapshot.write_bytes(b"\xff" * len(data))
    elif damage == "bad header":
        # The checksum is right, and the number of sections is not.
        version = json.loads(data[9:after_header])["version"]
        header = json.dumps({"format": FORMAT_VERSION, "version": version, "sections": 3}).encode()
        snapshot.write_bytes(b"%08x %s\n" % (crc32(header), header) + data[after_header:])
    elif damage == "older":
        snapshot.write_bytes(b'{"format": 1, "version": 1, "sections": 3}\n' + data[after_header:])
    elif damage == "gone":
        snapshot.unlink()
    else:
        # The collection was written to by a process that was killed before it could write a new snapshot.
        with chroma_nb.PersistentClient(tmp_path, settings()) as client:
            notes = client.get_collection("notes", embedding_function=None)
            notes.update(ids=["0"], documents=["new"], embeddings=[vectors[0]])
        (snapshot,) = (tmp_path / "indexes").glob("*.segment")
        snapshot.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="chroma_nb"):
        check_answers(tmp_path, vectors)
    if damage == "stale":
        with chroma_nb.PersistentClient(tmp_path, settings()) as client:
            notes = client.get_collection("notes", embedding_function=None)
            assert notes.query(query_embeddings=vectors[:1], n_results=1)["documents"] == [["new"]]
    loud = ("truncated", "flipped", "longer", "bad header")
    if damage in loud:
        assert "cannot be used" in caplog.text
    assert caplog.text.count("WARNING") <= 1


@pytest.mark.parametrize(
    "damage",
    [
        "truncated",
        "flipped",
        "empty",
        "garbage",
        "no graph",
        "no description",
        "bad description",
        "nothing",
    ],
)
def test_a_damaged_graph_is_built_again_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = make_store(tmp_path)
    graph, description = sorted(graph_files(tmp_path), key=lambda file: file.suffix == ".json")
    data = graph.read_bytes()
    if damage == "truncated":
        graph.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        graph.write_bytes(data[:900] + bytes([data[900] ^ 0xFF]) + data[901:])
    elif damage == "empty":
        graph.write_bytes(b"")
    elif damage == "garbage":
        graph.write_bytes(b"\xff" * len(data))
    elif damage in ("no graph", "nothing"):
        graph.unlink()
    if damage in ("no description", "nothing"):
        description.unlink()
    elif damage == "bad description":
        description.write_text("{]")
    with caplog.at_level(logging.WARNING, logger="chroma_nb"):
        check_answers(tmp_path, vectors)
    assert ("built again" in caplog.text) == (damage != "nothing")


def test_a_missing_vector_file_is_an_error(tmp_path: Path) -> None:
    make_store(tmp_path)
    for file in (tmp_path / "vectors").iterdir():
        file.unlink()
    with chroma_nb.PersistentClient(tmp_path) as client:
        notes = client.get_collection("notes", embedding_function=None)
        with pytest.raises(StoreCorruptError, match="missing"):
            notes.query(query_embeddings=[[0.0] * DIMENSION])


def test_a_short_vector_file_is_an_error(tmp_path: Path) -> None:
    make_store(tmp_path)
    for file in (tmp_path / "vectors").iterdir():
        file.write_bytes(file.read_bytes()[:-4])
    with chroma_nb.PersistentClient(tmp_path) as client:
        notes = client.get_collection("notes", embedding_function=None)
        with pytest.raises(StoreCorruptError, match="cut short"):
            notes.query(query_embeddings=[[0.0] * DIMENSION])


def test_a_store_of_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    make_store(tmp_path)
    with edited_database(tmp_path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format_version'")
    before = (tmp_path / "records.duckdb").read_bytes()
    with pytest.raises(VersionMismatchError, match="format 99"):
        chroma_nb.PersistentClient(tmp_path)
    assert (tmp_path / "records.duckdb").read_bytes() == before
    # The lock was released, as the error is the same.
    with pytest.raises(VersionMismatchError):
        chroma_nb.PersistentClient(tmp_path)


def test_orphans_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    vectors = make_store(tmp_path)
    orphan = tmp_path / "vectors" / "00000000-0000-0000-0000-000000000000.0.f32"
    orphan.write_bytes(b"left behind")
    check_answers(tmp_path, vectors)
    with chroma_nb.PersistentClient(tmp_path, settings()) as client:
        client.get_collection("notes", embedding_function=None).modify(metadata={"a": 1})
    assert not orphan.exists()
