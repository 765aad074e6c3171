"""Messages to clients do not say where the server's folders are."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import chroma_nb
from chroma_nb.server.hidden_paths import HiddenPaths

if TYPE_CHECKING:
    from pathlib import Path


def hidden(path: Path | str, **values: str) -> HiddenPaths:
    return HiddenPaths(chroma_nb.Settings(path=str(path), **values))


def test_a_folder_is_cut_and_the_name_of_the_file_stays(tmp_path: Path) -> None:
    message = f"{tmp_path / 'store' / 'chroma.duckdb'} is damaged"
    assert hidden(tmp_path / "store").cut(message) == f"...{os.sep}chroma.duckdb is damaged"


def test_the_longest_folder_is_cut_first(tmp_path: Path) -> None:
    inner = tmp_path / "store" / "work"
    paths = hidden(tmp_path / "store", temp_path=str(inner))
    assert paths.cut(f"in {inner}.") == "in ...."


def test_a_link_hides_the_folder_behind_it_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    paths = hidden(tmp_path / "link")
    assert paths.cut(f"{tmp_path / 'real'} {tmp_path / 'link'}") == "... ..."


def test_the_systems_folder_for_temporary_files_is_hidden(tmp_path: Path) -> None:
    folder = tempfile.gettempdir()
    assert hidden(tmp_path).cut(f"{folder}/x") == ".../x"


def test_the_root_of_the_file_system_is_no_folder_to_hide() -> None:
    assert hidden(os.sep).cut("a/b") == "a/b"
