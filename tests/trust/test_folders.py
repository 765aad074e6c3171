"""Opening a folder that somebody else has made writes, empties and deletes nothing outside of it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

import chroma_nb as chroma
from chroma_nb.errors import InvalidArgumentError, StoreCorruptError

if TYPE_CHECKING:
    from pathlib import Path


def make_store(path: Path) -> Path:
    with chroma.PersistentClient(path, chroma.Settings(graph_min_records=10)) as client:
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids=[str(n) for n in range(50)], embeddings=[[float(n), 1.0] for n in range(50)])
        docs.build_index()
        docs.unload()
    return path


def state(folder: Path) -> dict[str, bytes | None]:
    """Return the content of everything below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "name", ["lock", "records.duckdb", "records.duckdb.wal", "vectors", "indexes"]
)
def test_a_link_in_place_of_a_part_is_refused(tmp_path: Path, name: str) -> None:
    store, home = make_store(tmp_path / "store"), tmp_path / "home"
    home.mkdir()
    (home / "precious.txt").write_text("x")
    victim = home if name in ("vectors", "indexes") else home / "precious.txt"
    part = store / name
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
    part.symlink_to(victim)
    before = state(home)
    with pytest.raises(InvalidArgumentError, match=f"{name}' is a link to '{victim}'"):
        chroma.PersistentClient(store)
    assert state(home) == before
    assert part.is_symlink()


@pytest.mark.parametrize("folder", ["vectors", "indexes"])
def test_a_link_in_place_of_a_collections_file_is_refused(tmp_path: Path, folder: str) -> None:
    store, victim = make_store(tmp_path / "store"), tmp_path / "precious.f32"
    for one in (store / folder).iterdir():
        victim.write_bytes(one.read_bytes())
        before = victim.read_bytes()
        one.rename(tmp_path / "kept")
        one.symlink_to(victim)
        with pytest.raises(InvalidArgumentError, match="is a link to"):
            chroma.PersistentClient(store)
        assert victim.read_bytes() == before
        one.unlink()
        (tmp_path / "kept").rename(one)
    with chroma.PersistentClient(store) as client:
        assert client.get_collection("docs", embedding_function=None).count() == 50


@pytest.mark.parametrize("name", ["lock", "records.duckdb", "vectors/a.f32"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path / "store")
    (store / name).unlink(missing_ok=True)
    os.mkfifo(store / name)
    with pytest.raises(InvalidArgumentError, match="is no file"):
        chroma.PersistentClient(store)


def test_a_file_of_another_program_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("the combination is 1234")
    with pytest.raises(InvalidArgumentError, match="lock' is a file that holds something else"):
        chroma.PersistentClient(tmp_path)
    assert (tmp_path / "lock").read_text() == "the combination is 1234"


@pytest.mark.parametrize("name", ["lock", "commits"])
def test_a_folder_in_place_of_a_file_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    store = make_store(tmp_path / "store")
    (store / name).unlink()
    (store / name).mkdir()
    with pytest.raises(InvalidArgumentError, match=f"{name}' is a folder, not a file"):
        chroma.PersistentClient(store)


@pytest.mark.parametrize("text", ["", "\0" * 100, '{"pi', '{"pid": 1, "program": "x"}'])
def test_a_lock_file_that_a_crash_has_left_can_be_opened(tmp_path: Path, text: str) -> None:
    store = make_store(tmp_path / "store")
    (store / "lock").write_text(text)
    with chroma.PersistentClient(store) as client:
        assert client.count_collections() == 1


def test_files_of_others_in_the_store_are_not_deleted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    for folder in ("vectors", "indexes"):
        (store / folder / "notes.txt").write_text("mine")
    chroma.PersistentClient(store).close()
    for folder in ("vectors", "indexes"):
        assert (store / folder / "notes.txt").read_text() == "mine"


def test_a_link_to_a_whole_store_can_be_opened(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    (tmp_path / "link").symlink_to(store)
    with chroma.PersistentClient(tmp_path / "link") as client:
        assert client.count_collections() == 1


@pytest.mark.parametrize("name", ["records.duckdb", "records.duckdb.wal", "lock", "commits"])
def test_a_part_with_a_second_name_is_refused(tmp_path: Path, name: str) -> None:
    """Two folders that share their files, as `cp -l` and some backups make them, would change each other."""
    store, other = make_store(tmp_path / "store"), tmp_path / "other"
    if name.endswith("wal"):
        # A log that a killed process has left.
        (store / name).write_bytes(b"")
    shutil.copytree(store, other)
    (other / name).unlink()
    os.link(store / name, other / name)
    before = state(store)
    with pytest.raises(InvalidArgumentError, match=rf"{name}' has a second name .* \(cp -r\)"):
        chroma.PersistentClient(other)
    assert state(store) == before
    shutil.copytree(other, tmp_path / "copy")
    with chroma.PersistentClient(tmp_path / "copy") as client:
        assert client.get_collection("docs", embedding_function=None).count() == 50


@pytest.mark.parametrize("n_bytes", [10, 100_000])
def test_vectors_with_a_second_name_are_not_written_to(tmp_path: Path, n_bytes: int) -> None:
    store, victim = make_store(tmp_path / "store"), tmp_path / "precious.txt"
    victim.write_bytes(b"x" * n_bytes)
    (vectors,) = (store / "vectors").iterdir()
    vectors.unlink()
    os.link(victim, vectors)
    with chroma.PersistentClient(store) as client:
        docs = client.get_collection("docs", embedding_function=None)
        with pytest.raises(StoreCorruptError, match="has a second name"):
            docs.add(ids=["new"], embeddings=[[1.0, 2.0]])
        assert docs.count() == 50
    assert victim.read_bytes() == b"x" * n_bytes


def test_vectors_that_two_folders_share_are_read(tmp_path: Path) -> None:
    store, other = make_store(tmp_path / "store"), tmp_path / "other"
    shutil.copytree(store, other)
    (name,) = os.listdir(store / "vectors")
    (other / "vectors" / name).unlink()
    os.link(store / "vectors" / name, other / "vectors" / name)
    with chroma.PersistentClient(other) as client:
        docs = client.get_collection("docs", embedding_function=None)
        assert docs.query(query_embeddings=[[7.0, 1.0]], n_results=1)["ids"] == [["7"]]
        assert client.check().is_whole
