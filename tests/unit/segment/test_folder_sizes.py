"""`FolderSizes`: which files count, and when the folder is read again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from chroma_nb.segment.folder_sizes import FolderSizes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Not random: the names of tests have them.
NOTES, OTHER = UUID(int=1 << 100), UUID(int=2 << 100)


def put(folder: Path, name: str, n_bytes: int) -> None:
    (folder / name).write_bytes(bytes(n_bytes))


def settle(folder: Path) -> None:
    """Have the folder's last change lie an hour back."""
    changed = os.stat(folder).st_mtime - 3_600
    os.utime(folder, (changed, changed))


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were read."""
    found: list[str] = []
    scandir = os.scandir

    def counted(folder: str) -> Iterator[os.DirEntry[str]]:
        found.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counted)
    return found


def test_files_are_added_up_by_collection_and_generation(tmp_path: Path) -> None:
    for name, n_bytes in (
        (f"{NOTES}.0.segment", 1),
        (f"{NOTES}.0.hnswlib.graph", 10),
        (f"{NOTES}.0.hnswlib.graph.json", 100),
        (f"{NOTES}.1.segment", 1_000),
        (f"{OTHER}.0.segment", 10_000),
    ):
        put(tmp_path, name, n_bytes)
    assert FolderSizes(str(tmp_path)).by_collection() == {
        (NOTES.int, 0): 111,
        (NOTES.int, 1): 1_000,
        (OTHER.int, 0): 10_000,
    }


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "read.me.first",
        f"{NOTES}",
        f"{NOTES}.segment",
        f"{NOTES}.x.segment",
        "..a",
        "ü.1.x",
    ],
)
def test_a_file_of_another_name_is_no_collections(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, 5)
    assert FolderSizes(str(tmp_path)).by_collection() == {}


def test_a_file_that_is_renamed_or_deleted_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, f"{NOTES}.0.segment", 1)
    put(tmp_path, f"{OTHER}.0.segment", 1)
    scandir = os.scandir

    def late(folder: str) -> Iterator[os.DirEntry[str]]:
        entries = scandir(folder)
        (tmp_path / f"{OTHER}.0.segment").unlink()
        return entries

    monkeypatch.setattr(os, "scandir", late)
    # Whether a listing that has begun still has the deleted name is up to the system.
    assert FolderSizes(str(tmp_path)).by_collection() == {(NOTES.int, 0): 1}


def test_a_settled_folder_is_read_once(tmp_path: Path, scans: list[str]) -> None:
    sizes = FolderSizes(str(tmp_path))
    put(tmp_path, f"{NOTES}.0.segment", 1)
    settle(tmp_path)
    assert sizes.by_collection() == sizes.by_collection() == {(NOTES.int, 0): 1}
    assert len(scans) == 1
    put(tmp_path, f"{OTHER}.0.segment", 1)
    assert set(sizes.by_collection()) == {(NOTES.int, 0), (OTHER.int, 0)}
    assert len(scans) == 2


def test_a_folder_that_has_just_changed_is_read_each_time(tmp_path: Path, scans: list[str]) -> None:
    sizes = FolderSizes(str(tmp_path))
    put(tmp_path, f"{NOTES}.0.segment", 1)
    changed = os.stat(tmp_path)
    sizes.by_collection()
    # A second change within one step of the file system's clock.
    put(tmp_path, f"{OTHER}.0.segment", 1)
    os.utime(tmp_path, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert set(sizes.by_collection()) == {(NOTES.int, 0), (OTHER.int, 0)}
    assert len(scans) == 2


def test_a_clock_that_is_ahead_keeps_nothing(tmp_path: Path, scans: list[str]) -> None:
    sizes = FolderSizes(str(tmp_path))
    ahead = os.stat(tmp_path).st_mtime + 3_600
    os.utime(tmp_path, (ahead, ahead))
    assert sizes.by_collection() == sizes.by_collection() == {}
    assert len(scans) == 2


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderSizes(str(tmp_path / UUID(int=0).hex)).by_collection()
