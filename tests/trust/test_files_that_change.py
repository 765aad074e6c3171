"""Vector files, links and arrays that are changed while a store is open."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.db.block_sums import rows_per_block
from chroma_nb.db.vector_file import HEADER_BYTES
from chroma_nb.errors import InternalError, StoreCorruptError

if TYPE_CHECKING:
    from pathlib import Path

DIMENSION, N = 32, 2_000


def rows(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)


def opened(path: Path) -> Any:
    return chroma_nb.PersistentClient(path, chroma_nb.Settings(progress=False))


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with opened(tmp_path / "store") as client:
        notes = client.create_collection("notes", embedding_function=None)
        ids = [f"n{i}" for i in range(N)]
        notes.add(ids=ids, embeddings=rows(), documents=ids)
        # Now every block was checked.
        notes.query(query_embeddings=rows(1), n_results=1)
        notes.get(include=["embeddings"])
        yield client


def vector_file(client: Any) -> Path:
    from pathlib import Path

    (found,) = Path(client.api.db.path, "vectors").iterdir()
    return found


READS = {
    "query": lambda notes: notes.query(query_embeddings=rows(1), n_results=3),
    "get": lambda notes: notes.get(include=["embeddings"]),
    "compact": lambda notes: (
        notes.delete(ids=[f"n{i}" for i in range(N - 5)]),
        notes.api.db.compact(notes.id),
    ),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("change", ["cut", "shorter copy", "other rows"])
def test_a_file_that_is_rewritten_in_place_is_damaged(client: Any, change: str, read: str) -> None:
    notes = client.get_collection("notes", embedding_function=None)
    path = vector_file(client)
    data = path.read_bytes()
    other = data[:HEADER_BYTES] + rows(seed=9).tobytes()
    with path.open("r+b") as file:
        if change == "other rows":
            file.write(other)
        else:
            file.truncate(HEADER_BYTES + 4 * DIMENSION * 100)
    if change == "shorter copy":
        path.write_bytes(other[: HEADER_BYTES + 4 * DIMENSION * 700])
    with pytest.raises(StoreCorruptError, match="are not as they were written"):
        READS[read](notes)
    # With its old bytes the file is whole again.
    path.write_bytes(data)
    found = notes.get(ids=[f"n{N - 1}"], include=["embeddings"])["embeddings"]
    assert np.array_equal(found[0], rows()[N - 1])
    assert client.check().is_whole


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("put", ["link", "pipe"])
def test_what_is_put_in_the_place_of_a_file_is_left_alone(
    client: Any, tmp_path: Path, put: str
) -> None:
    notes = client.get_collection("notes", embedding_function=None)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious" * 2_000)
    path = vector_file(client)
    indexes = path.parent.parent / "indexes"
    prefix = path.name.removesuffix(".f32")
    places = [indexes / f"{prefix}.segment.new", indexes / f"{prefix}.segment"]
    places += [
        indexes / f"{prefix}.hnswlib.graph{end}" for end in ("", ".new", ".json", ".json.new")
    ]
    places += [
        indexes / f"{prefix}.usearch.graph{end}" for end in ("", ".new", ".json", ".json.new")
    ]
    shutil.copy(path, tmp_path / "kept")
    for place in (*places, path):
        place.unlink(missing_ok=True)
        place.symlink_to(victim) if put == "link" else os.mkfifo(place)
    notes.unload()
    with pytest.raises(StoreCorruptError):
        notes.add(ids=["more"], embeddings=rows(1))
    with pytest.raises(StoreCorruptError):
        notes.query(query_embeddings=rows(1), n_results=1)
    assert victim.read_bytes() == b"precious" * 2_000
    path.unlink()
    shutil.copy(tmp_path / "kept", path)
    notes.build_index()
    assert notes.query(query_embeddings=rows(), n_results=1)["ids"][7] == ["n7"]
    assert victim.read_bytes() == b"precious" * 2_000


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_process_without_a_free_descriptor_gets_an_error_of_ours(client: Any) -> None:
    import resource

    notes = client.get_collection("notes", embedding_function=None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(InternalError, match="could not be read"):
            notes.get(include=["embeddings"])
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(notes.get(include=["embeddings"])["embeddings"]) == N


def test_an_array_that_changes_while_it_is_added_is_stored_whole(tmp_path: Path) -> None:
    path = tmp_path / "store"
    array = rows(20_000)
    going = True

    def refill() -> None:
        rng = np.random.default_rng(5)
        while going:
            array[rng.integers(0, len(array))] = rng.standard_normal(DIMENSION)

    with opened(path) as client:
        notes = client.create_collection("notes", embedding_function=None)
        thread = threading.Thread(target=refill)
        thread.start()
        try:
            notes.add(ids=[str(i) for i in range(len(array))], embeddings=array)
        finally:
            going = False
            thread.join()
    with opened(path) as client:
        assert client.check().is_whole
        found = client.get_collection("notes", embedding_function=None)
        assert len(found.get(include=["embeddings"])["embeddings"]) == len(array)


@pytest.mark.parametrize("dimension", [32, 256])
def test_a_file_whose_time_changes_keeps_its_checksums(tmp_path: Path, dimension: int) -> None:
    """Backup programs and network drives may set a file's time without a change of its bytes."""
    path, n_rows = tmp_path / "store", rows_per_block(4 * dimension)
    vectors = np.random.default_rng(1).standard_normal((4 * n_rows, dimension)).astype(np.float32)
    ids = [str(i) for i in range(len(vectors))]
    sizes = [n_rows // 2, n_rows - n_rows // 2, 3, n_rows, n_rows - 3, 1]
    start = 0
    with opened(path) as client:
        notes = client.create_collection("notes", embedding_function=None)
        for n in sizes:
            piece = slice(start, start + n)
            notes.add(ids=ids[piece], embeddings=vectors[piece])
            start += n
            (file,) = (path / "vectors").iterdir()
            os.utime(file)
        assert client.check().is_whole
    with opened(path) as client:
        found = client.get_collection("notes", embedding_function=None).get(include=["embeddings"])
        assert np.array_equal(found["embeddings"], vectors[:start])
        assert client.check().is_whole


def test_a_client_goes_on_after_its_folder_could_not_be_read_for_a_moment(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = client.get_collection("notes", embedding_function=None)

    def stale(*_: object, **__: object) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr("chroma_nb.db.duckdb.folder_database.os.lstat", stale)
        notes.count()
    assert notes.count() == N
