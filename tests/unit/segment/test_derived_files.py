"""`DerivedFiles`: where they are, and when they go."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from chroma_nb.db import PersistentDuckDB
from chroma_nb.segment.derived_files import DerivedFiles
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB
from chroma_nb.types import CollectionInfo
from tests.unit.segment.conftest import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chroma_nb.db.base import DB


def create(db: DB, name: str) -> uuid.UUID:
    info = CollectionInfo(uuid.uuid4(), name, "default_tenant", "default_database", CONFIGURATION)
    db.create_collection(info)
    return info.id


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
