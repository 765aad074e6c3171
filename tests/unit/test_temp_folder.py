"""`TempFolder`: nothing is left, whatever happens to the process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import chroma_nb
from chroma_nb.db.temp_folder import TempFolder
from chroma_nb.errors import InternalError

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


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "lock").write_text("")
    (tmp_path / "chroma-nb-link").symlink_to(home)
    TempFolder(str(tmp_path)).close()
    assert (home / "lock").exists()


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


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    settings = chroma_nb.Settings(temp_path=str(tmp_path / "none"))
    with pytest.raises(InternalError, match=r"none'.*Settings\.temp_path"):
        chroma_nb.EphemeralClient(settings)
