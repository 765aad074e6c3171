"""`TempFolder`: nothing is left, whatever happens to the process."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import chroma_nb
from chroma_nb.db import temp_folder
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.db.temp_folder import TempFolder
from chroma_nb.errors import InternalError, StoreLockedError

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, sys
import numpy as np
import chroma_nb
settings = chroma_nb.Settings(temp_path=sys.argv[1], graph_min_records=10)
client = chroma_nb.EphemeralClient(settings)
docs = client.create_collection("docs", embedding_function=None)
docs.add(ids=[str(n) for n in range(500)], embeddings=np.eye(500, 8))
docs.build_index()
docs.unload()
print(sum(len(files) for _, _, files in os.walk(sys.argv[1])), flush=True)
os.kill(os.getpid(), 9)
"""


def test_it_goes_with_what_is_in_it(tmp_path: Path) -> None:
    folder = TempFolder(str(tmp_path))
    with open(os.path.join(folder.path, "derived"), "w") as file:
        file.write("x")
    folder.close()
    folder.close()
    assert os.listdir(tmp_path) == []


def test_what_a_killed_kernel_leaves_the_next_one_removes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    assert int(done.stdout) > 1, "a saved graph and the lock"
    assert len(os.listdir(tmp_path)) == 1
    TempFolder(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []


def test_what_others_use_or_made_stays(tmp_path: Path) -> None:
    used = TempFolder(str(tmp_path))
    foreign = tmp_path / "chroma-nb-notes"
    foreign.mkdir()
    (tmp_path / "chroma-nb.txt").write_text("mine")
    TempFolder(str(tmp_path)).close()
    assert os.path.isdir(used.path)
    assert sorted(os.listdir(tmp_path)) == sorted(
        [os.path.basename(used.path), "chroma-nb-notes", "chroma-nb.txt"]
    )
    used.close()


def killed_at_once(parent: Path) -> Path:
    """Return a folder that a killed process left."""
    folder = TempFolder(str(parent))
    folder.on_fork()
    return type(parent)(folder.path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    killed_at_once(tmp_path).rename(home)
    (tmp_path / "chroma-nb-link").symlink_to(home)
    TempFolder(str(tmp_path)).close()
    assert (home / "temporary.lock").exists()


def test_a_store_of_such_a_name_stays(tmp_path: Path) -> None:
    path = tmp_path / "chroma-nb-mine"
    with chroma_nb.PersistentClient(path) as client:
        client.create_collection("docs", embedding_function=None).add(ids=["a"], embeddings=[[1]])
    TempFolder(str(tmp_path)).close()
    with chroma_nb.PersistentClient(path) as client:
        assert client.get_collection("docs", embedding_function=None).get()["ids"] == ["a"]


@pytest.mark.parametrize("name", ["notes.txt", "records.duckdb", "duckdb/notes.txt", "deep/notes"])
def test_a_folder_with_anything_else_in_it_stays_as_it_is(tmp_path: Path, name: str) -> None:
    left = killed_at_once(tmp_path)
    derived = left / "0b5ad6e5-3ff4-4a6e-9c26-0a9ce1a9d3a1.1.segment"
    derived.write_text("x")
    mine = left / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    TempFolder(str(tmp_path)).close()
    assert mine.read_text() == "mine"
    assert derived.exists()
    mine.unlink()
    if mine.parent.name == "deep":
        mine.parent.rmdir()
    TempFolder(str(tmp_path)).close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
def test_a_lock_that_leads_elsewhere_is_left_alone(tmp_path: Path, how: str) -> None:
    victim = tmp_path / "victim"
    for text in ("precious", "", '{"pid": 1}'):
        victim.write_text(text)
        trap = tmp_path / "chroma-nb-trap"
        trap.mkdir()
        getattr(trap / "temporary.lock", how)(victim)
        TempFolder(str(tmp_path)).close()
        assert victim.read_text() == text
        assert (trap / "temporary.lock").exists()
        (trap / "temporary.lock").unlink()
        trap.rmdir()


def test_a_pipe_for_a_lock_keeps_nobody_waiting(tmp_path: Path) -> None:
    trap = tmp_path / "chroma-nb-trap"
    trap.mkdir()
    os.mkfifo(trap / "temporary.lock")
    TempFolder(str(tmp_path)).close()
    assert trap.exists()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives files away")
def test_what_another_user_made_is_left_alone(tmp_path: Path) -> None:
    trap = killed_at_once(tmp_path)
    os.chown(trap, 12_345, 12_345)
    TempFolder(str(tmp_path)).close()
    assert trap.exists()


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = TempFolder(str(tmp_path))
    assert os.stat(folder.path).st_mode & 0o077 == 0
    folder.close()


def test_one_that_is_swept_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    class Swept(StoreLock):
        def __init__(self, path: str, *, create: bool = True) -> None:
            super().__init__(path, create=create)
            if not taken:
                taken.append(os.path.dirname(path))
                shutil.rmtree(taken[0])

    monkeypatch.setattr(temp_folder, "StoreLock", Swept)
    folder = TempFolder(str(tmp_path))
    assert os.path.isdir(folder.path)
    assert taken[0] != folder.path
    folder.close()


def test_two_stores_of_a_process_have_two_folders(tmp_path: Path) -> None:
    """DuckDB's temporary files of two instances would have the same names."""
    first = chroma_nb.EphemeralClient(chroma_nb.Settings(temp_path=str(tmp_path)))
    second = chroma_nb.PersistentClient(
        tmp_path / "store", chroma_nb.Settings(temp_path=str(tmp_path))
    )
    assert len([name for name in os.listdir(tmp_path) if name.startswith("chroma-nb-")]) == 2
    first.close()
    second.close()
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks(tmp_path: Path) -> None:
    first, second = TempFolder(str(tmp_path)), TempFolder(str(tmp_path))
    assert os.path.isdir(first.path), "what cannot be known to be free is left alone"
    for each in (first, second):
        each.close()
    assert os.listdir(tmp_path) == []


def test_too_many_open_files_are_no_lack_of_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> StoreLock:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(temp_folder, "StoreLock", fail)
    with pytest.raises(InternalError, match="Close some"):
        TempFolder(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    settings = chroma_nb.Settings(temp_path=str(tmp_path / "none"))
    with pytest.raises(InternalError, match=r"none'.*Settings\.temp_path"):
        chroma_nb.EphemeralClient(settings)


def test_it_is_made_again_where_something_tidied_it_away(tmp_path: Path) -> None:
    folder = TempFolder(str(tmp_path))
    path = folder.path
    shutil.rmtree(path)
    assert folder.path == path
    assert os.stat(path).st_mode & 0o777 == 0o700
    os.mkdir(tmp_path / "others")
    TempFolder(str(tmp_path)).close()
    assert os.path.isdir(path), "it is locked again, and no left-over"
    # Some remove the old files alone, such as the marker.
    for name in os.listdir(path):
        if os.path.isfile(os.path.join(path, name)):
            os.unlink(os.path.join(path, name))
    with pytest.raises(FileNotFoundError):
        StoreLock(os.path.join(path, "temporary.lock"), create=False)
    assert folder.path == path
    with pytest.raises(StoreLockedError):
        StoreLock(os.path.join(path, "temporary.lock"), create=False)
    folder.close()
    assert folder.path == path
    assert os.listdir(tmp_path) == ["others"]


def test_what_another_put_in_its_place_is_not_used(tmp_path: Path) -> None:
    folder = TempFolder(str(tmp_path))
    path = folder.path
    shutil.rmtree(path)
    (tmp_path / "anothers").mkdir()
    os.symlink(tmp_path / "anothers", path)
    with pytest.raises(InternalError, match=r"was removed, and cannot be made again: .*a link"):
        _ = folder.path
    assert os.listdir(tmp_path / "anothers") == []
    os.unlink(path)
    assert folder.path == path
    folder.close()


def tidy_away(folder: Path) -> None:
    """Remove a folder, in which a builder may write a file at the same time."""
    while True:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
            return


def test_stores_in_memory_go_on_after_their_folder_was_tidied_away(tmp_path: Path) -> None:
    """In every client, as those of one place share it; spilling, saving graphs and new collections as well."""
    settings = chroma_nb.Settings(temp_path=str(tmp_path), graph_min_records=10)
    with chroma_nb.EphemeralClient(settings) as client:
        notes = client.create_collection("tidied", embedding_function=None)
        notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
        tidy_away(next(tmp_path.glob("chroma-nb-*")))
        notes.add(ids=[str(i) for i in range(50)], embeddings=[[1.0, i] for i in range(50)])
        tidy_away(next(tmp_path.glob("chroma-nb-*")))
        notes.build_index()
        notes.unload()
        assert len(list(tmp_path.glob("chroma-nb-*/*.*"))) > 1, "the graph is saved"
        tidy_away(next(tmp_path.glob("chroma-nb-*")))
        with chroma_nb.EphemeralClient(settings) as other:
            more = other.create_collection("tidied_too", embedding_function=None)
            more.add(ids=["b"], embeddings=[[1.0]])
            other.delete_collection("tidied_too")
        assert notes.query(query_embeddings=[[1.0, 7.0]], n_results=1)["ids"] == [["7"]]
        client.delete_collection("tidied")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_is_forked_while_the_folder_is_made_does_not_hold_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another thread, at the worst moment: the lock is made, and nobody has it yet."""
    children: list[int] = []
    waiting, end = os.pipe()
    ready, told = os.pipe()
    init = StoreLock.__init__

    def forking(self: StoreLock, path: str, *, create: bool = True) -> None:
        init(self, path, create=create)
        pid = os.fork()
        if not pid:
            os.close(end)
            os.write(told, b"1")
            os.read(waiting, 1)
            os._exit(0)
        children.append(pid)
        os.read(ready, 1)

    monkeypatch.setattr(StoreLock, "__init__", forking)
    try:
        folder = TempFolder(str(tmp_path))
        monkeypatch.setattr(StoreLock, "__init__", init)
        marker = os.path.join(folder.path, "temporary.lock")
        folder._lock.release()  # as the end of the parent would
        StoreLock(marker, create=False).release()
        folder.close()
    finally:
        os.close(end)
        for pid in children:
            os.waitpid(pid, 0)
        for one in (waiting, ready, told):
            os.close(one)
    assert len(children) == 1
