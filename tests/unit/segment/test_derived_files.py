"""`DerivedFiles`: where they are, and when they go."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chroma_nb.db import PersistentDuckDB
from chroma_nb.errors import ConflictError, InternalError
from chroma_nb.segment.derived_files import DerivedFiles
from chroma_nb.segment.manager import SegmentManager
from chroma_nb.segment.writer import Writer
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB
from chroma_nb.types import RecordBatch
from tests.unit.segment.conftest import create

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def put(derived: DerivedFiles, name: str) -> str:
    path = os.path.join(derived.folder, name)
    with open(path, "wb") as file:
        file.write(b"derived")
    return path


@pytest.fixture
def in_folder(tmp_path: Path) -> Iterator[PersistentDuckDB]:
    with PersistentDuckDB(Settings(path=str(tmp_path / "store"), progress=False)) as db:
        yield db


def test_a_store_without_a_folder_gets_a_temporary_one(tmp_path: Path) -> None:
    db = SharedMemoryDB(Settings())
    collection = create(db, "notes")
    derived = DerivedFiles(db, str(tmp_path))
    derived.remove([collection])
    assert os.listdir(tmp_path) == [], "made when it is first needed"
    path = derived.prefix(collection)
    assert os.path.dirname(os.path.dirname(path)) == str(tmp_path)
    assert os.path.basename(path) == f"{collection}.0"
    put(derived, f"{collection}.0.segment")
    assert derived.sizes([collection]) == [0], "it goes with the process"
    derived.close()
    derived.close()
    assert os.listdir(tmp_path) == []


def test_files_go_with_their_collection_or_generation(in_folder: PersistentDuckDB) -> None:
    derived = DerivedFiles(in_folder, "")
    notes, other = create(in_folder, "notes"), create(in_folder, "other")
    assert derived.folder == os.path.join(in_folder.path, "indexes")
    assert derived.prefix(notes, 7) == os.path.join(derived.folder, f"{notes}.7")
    names = [f"{notes}.0.segment", f"{notes}.3.segment", f"{other}.0.segment"]
    for name in names:
        put(derived, name)
    assert derived.sizes([notes, other, uuid.uuid4()]) == [7, 7, 0]
    derived.remove_earlier(notes)
    assert sorted(os.listdir(derived.folder)) == sorted([names[0], names[2]])
    derived.remove([other, uuid.uuid4()])
    assert os.listdir(derived.folder) == [names[0]]


def test_what_nobody_names_is_removed_once(in_folder: PersistentDuckDB) -> None:
    derived = DerivedFiles(in_folder, "")
    notes = create(in_folder, "notes")
    kept = [f"{notes}.0.segment", "a file of somebody else's.txt"]
    for name in (*kept, f"{notes}.1.segment", f"{uuid.uuid4()}.0.hnswlib.graph"):
        put(derived, name)
    derived.remove_unnamed()
    assert sorted(os.listdir(derived.folder)) == sorted(kept)
    late = put(derived, f"{uuid.uuid4()}.0.segment")
    derived.remove_unnamed()
    assert os.path.exists(late), "it has looked already"


@pytest.mark.parametrize(
    ("error", "is_removed"),
    [(KeyboardInterrupt, True), (InternalError, True), (ConflictError, False)],
)
def test_a_change_that_fails_may_have_left_files(
    in_folder: PersistentDuckDB, error: type[BaseException], is_removed: bool
) -> None:
    derived = DerivedFiles(in_folder, "")
    derived.remove_unnamed()
    left = put(derived, f"{uuid.uuid4()}.0.segment")
    with pytest.raises(error), derived.looking_again():
        raise error("it was committed all the same, or not at all")
    derived.remove_unnamed()
    assert os.path.exists(left) is not is_removed


@pytest.mark.parametrize("name", ["delete_collection", "compact"])
def test_files_go_also_where_the_commit_came_before_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = Settings(path=str(tmp_path), progress=False, index_engine="none")
    db = PersistentDuckDB(settings)
    segments = SegmentManager(db, lambda: None, settings)
    writer = Writer(db, segments)
    notes, other = create(db, "notes"), create(db, "other")
    change = getattr(db, name)

    def changed(collection_id: uuid.UUID) -> None:
        change(collection_id)
        raise InternalError("All of this call is there, and may not outlive a power cut.")

    def write(collection: uuid.UUID) -> None:
        embeddings = np.ones((1, 3), dtype=np.float32)
        writer.write(collection, RecordBatch(["a"], embeddings=embeddings), "skip")

    def delete(collection_id: uuid.UUID) -> None:
        segments.delete_collections([collection_id], lambda: db.delete_collection(collection_id))

    try:
        write(notes)
        put(segments.residents.derived, f"{notes}.0.segment")
        monkeypatch.setattr(db, name, changed)
        called = segments.compact if name == "compact" else delete
        with pytest.raises(InternalError, match="power cut"):
            called(notes)
        write(other)
        assert os.listdir(segments.residents.derived.folder) == []
    finally:
        segments.close()
        db.close()


def test_a_folder_that_somebody_has_removed_is_made_again(in_folder: PersistentDuckDB) -> None:
    derived = DerivedFiles(in_folder, "")
    notes = create(in_folder, "notes")
    put(derived, f"{notes}.0.segment")
    assert derived.sizes([notes]) == [7]
    shutil.rmtree(os.path.join(in_folder.path, "indexes"))
    assert derived.sizes([notes]) == [0]
    put(derived, f"{notes}.0.segment")
    assert derived.sizes([notes]) == [7]


def test_a_folder_that_cannot_be_made_again_holds_nothing(in_folder: PersistentDuckDB) -> None:
    derived = DerivedFiles(in_folder, "")
    notes = create(in_folder, "notes")
    folder = derived.folder
    os.rmdir(folder)
    with open(folder, "wb"):
        pass  # a file in its place
    assert derived.sizes([notes]) == [0]
    derived.remove([notes])
